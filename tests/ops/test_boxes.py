from __future__ import annotations

import math

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.ops.boxes import box_iou, clip_boxes, decode_boxes, encode_boxes

VARIANCES = (0.1, 0.2)


def random_boxes(*shape: int, seed: int = 0, size: float = 100.0) -> torch.Tensor:
    corners = torch.rand(*shape, 2, 2, generator=torch.Generator().manual_seed(seed)) * size
    return torch.cat([corners.amin(-2), corners.amax(-2)], dim=-1)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 20), others=st.integers(0, 20))
def test_iou_is_that_of_torchvision(seed, count, others):
    first, second = random_boxes(count, seed=seed), random_boxes(others, seed=seed + 1)
    torch.testing.assert_close(box_iou(first, second), torchvision.ops.box_iou(first, second))


def test_iou_broadcasts_over_leading_axes():
    anchors, frames = random_boxes(7), random_boxes(2, 3, 5, seed=1)
    overlaps = box_iou(anchors, frames)
    assert overlaps.shape == (2, 3, 7, 5)
    for i in range(2):
        for j in range(3):
            assert torch.equal(overlaps[i, j], box_iou(anchors, frames[i, j]))


def test_boxes_without_area_overlap_nothing_not_even_themselves():
    point, line, turned = [5.0, 5, 5, 5], [0.0, 5, 10, 5], [8.0, 8, 2, 2]
    boxes = torch.tensor([point, line, turned, [0.0, 0, 10, 10]])
    assert box_iou(boxes, boxes).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_boxes_are_coded_as_offset_and_log_size_in_units_of_the_anchor():
    box, anchor = torch.tensor([10.0, 20, 50, 40]), torch.tensor([25.0, 32, 20, 40])
    wanted = [5 / 20 / 0.1, -2 / 40 / 0.1, math.log(40 / 20) / 0.2, math.log(20 / 40) / 0.2]
    assert encode_boxes(box, anchor, variances=VARIANCES).tolist() == pytest.approx(wanted)
    decoded = decode_boxes(torch.tensor([1.0, -1, 0, 5]), anchor, variances=VARIANCES)
    half = 20 * math.e
    assert decoded.tolist() == pytest.approx([27 - 10, 28 - half, 27 + 10, 28 + half])


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31), variance=st.floats(0.05, 2))
def test_decoding_inverts_encoding(seed, variance):
    boxes = random_boxes(4, 30, seed=seed) + torch.tensor([0.0, 0, 1, 1])
    anchors = random_boxes(30, seed=seed + 1) + torch.tensor([0.0, 0, 10, 10])  # as centre and size
    deltas = encode_boxes(boxes, anchors, variances=(variance, 2 * variance))
    assert deltas.shape == boxes.shape
    torch.testing.assert_close(
        decode_boxes(deltas, anchors, variances=(variance, 2 * variance)), boxes, atol=1e-3, rtol=1e-4
    )


def test_a_box_without_area_is_coded_by_finite_numbers():
    anchor = torch.tensor([25.0, 32, 20, 40])
    assert encode_boxes(torch.tensor([10.0, 10, 10, 10]), anchor, variances=VARIANCES).isfinite().all()


def test_wild_deltas_give_finite_boxes_with_finite_gradients():
    deltas = torch.tensor([-1e30, -1e4, 0, 1e4, 1e30])
    deltas = torch.cartesian_prod(deltas, deltas, deltas, deltas).requires_grad_()
    boxes = decode_boxes(deltas, torch.tensor([64.0, 64, 512, 512]), variances=VARIANCES)
    assert boxes.isfinite().all()
    assert (boxes[:, :2] <= boxes[:, 2:]).all()
    boxes.sum().backward()
    assert deltas.grad.isfinite().all()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), height=st.integers(1, 100), width=st.integers(1, 100))
def test_clipping_is_that_of_torchvision_and_leaves_its_input_alone(seed, height, width):
    boxes = random_boxes(3, 10, seed=seed, size=300) - 100
    before = boxes.clone()
    wanted = torchvision.ops.clip_boxes_to_image(boxes, (height, width))
    assert torch.equal(clip_boxes(boxes, (height, width)), wanted)
    assert torch.equal(boxes, before)
