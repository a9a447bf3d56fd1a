from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms, box_iou

from seqdet.ops.boxes import grouped_nms, vote_boxes

CROWD = 1200
"""So many boxes that torchvision goes another way."""


def random_boxes(count: int, groups: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centre, size = 200 * torch.rand(count, 2, generator=generator) - 100, 60 * torch.rand(count, 2, generator=generator)
    xyxy = torch.cat([centre - size / 2, centre + size / 2], dim=1)
    return xyxy, torch.rand(count, generator=generator), torch.randint(0, groups, (count,), generator=generator)


@settings(max_examples=40)
@given(
    count=st.integers(0, 60) | st.just(CROWD), groups=st.integers(1, 6), seed=st.integers(0, 2**31), iou=st.floats(0, 1)
)
def test_every_group_is_suppressed_as_if_it_were_alone(count, groups, seed, iou):
    xyxy, scores, group = random_boxes(count, groups, seed)
    kept = grouped_nms(xyxy, scores, group, iou=iou)
    assert kept.dtype == torch.int64
    assert (scores[kept].diff() <= 0).all()
    for number in range(groups):
        (own,) = (group == number).nonzero(as_tuple=True)
        alone = own[batched_nms(xyxy[own].double(), scores[own].double(), torch.zeros_like(own), iou)]
        assert torch.equal(kept[group[kept] == number].sort().values, alone.sort().values)


def test_equal_scores_keep_their_order():
    for count in (50, CROWD):
        xyxy, _, _ = random_boxes(count, count, 0)
        scores = torch.arange(count) % 3 / 4
        kept = grouped_nms(xyxy, scores, torch.arange(count), iou=0.5)
        assert kept.tolist() == sorted(range(count), key=lambda i: -(i % 3))


def test_the_same_box_in_many_frames_stays_in_each():
    xyxy = torch.tensor([[0.0, 0, 100, 100]]).repeat(3000, 1)
    assert len(grouped_nms(xyxy, torch.ones(3000), torch.arange(3000) // 2, iou=0.5)) == 1500


@settings(max_examples=30)
@given(count=st.integers(0, 20), seed=st.integers(0, 2**31), iou=st.sampled_from([0.3, 0.7, 1.1]))
def test_a_box_moves_to_the_weighted_mean_of_its_voters(count, seed, iou):
    voters, scores, labels = random_boxes(count, 2, seed)
    boxes, own = voters[::3], labels[::3]
    moved = vote_boxes(boxes[None], own[None], voters[None], labels[None], scores[None], iou=iou)[0]
    for box, label, got in zip(boxes, own, moved, strict=True):
        says = (box_iou(box[None], voters)[0] >= iou) & (labels == label)
        weight = scores[says] ** 2
        wanted = (weight[:, None] * voters[says]).sum(0) / weight.sum() if len(weight) else box
        torch.testing.assert_close(got, wanted)


def test_a_voter_without_score_is_not_heard_and_a_box_without_voters_stays():
    boxes = torch.tensor([[[0.0, 0, 10, 10]]])
    near = torch.tensor([[[0.0, 0, 10, 9], [0.0, 0, 10, 8]]])
    same = torch.zeros(1, 2, dtype=torch.int64)
    heard = vote_boxes(boxes, same[:, :1], near, same, torch.tensor([[0.5, 0.0]]), iou=0.7)
    assert heard.tolist() == near[:, :1].tolist()
    assert torch.equal(vote_boxes(boxes, same[:, :1], near, same, torch.zeros(1, 2), iou=0.7), boxes)


@pytest.mark.parametrize("score", [0.9, 0.0])
def test_a_voter_that_is_not_a_number_is_not_heard(score):
    boxes = torch.tensor([[[0.0, 0, 10, 10], [50.0, 50, 60, 60]]])
    voters = torch.tensor([[[0.0, 0, 10, 9], [0.0, torch.nan, 10, 10], [0.0, 0, 10, 9]]])
    labels, scores = torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[0.5, score, torch.nan]])
    moved = vote_boxes(boxes, labels[:, :2], voters, labels, scores, iou=0.7)
    assert moved.tolist() == [[voters[0, 0].tolist(), boxes[0, 1].tolist()]]
