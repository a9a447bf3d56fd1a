"""The head of YOLOX: what it says, how it is decoded and what it learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional
from torchvision.ops import box_iou

from seqdet.checks import InputError
from seqdet.models.necks import PAFPN
from seqdet.models.yolox import YoloxHead, YoloxOutputs, decoded, paired_iou
from seqdet.ops.losses import pad_targets
from seqdet.ops.simota import assign_cells
from seqdet.structures import Boxes

STRIDES = (8, 16, 32)
SIZE_HW = 64, 96


def make_head(**settings) -> YoloxHead:
    torch.manual_seed(0)
    return YoloxHead((8, 12, 16), STRIDES, width=8, classes=3, **settings)


def make_maps(frames: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = [(SIZE_HW[0] // stride, SIZE_HW[1] // stride) for stride in STRIDES]
    return [torch.randn(frames, c, *size, generator=generator) for c, size in zip((8, 12, 16), sizes, strict=True)]


def make_truth() -> list[Boxes]:
    xyxy = torch.tensor([[10.0, 10, 40, 50], [50, 5, 90, 60], [70, 40, 71, 41]])
    return [Boxes(xyxy, torch.tensor([0, 2, 1])), Boxes.empty()]


def test_cells_are_ordered_by_map_row_and_column():
    outputs = make_head()(make_maps(), SIZE_HW)
    wanted = [
        [(x + 0.5) * stride, (y + 0.5) * stride, stride]
        for stride in STRIDES
        for y in range(64 // stride)
        for x in range(96 // stride)
    ]
    assert outputs.cells.tolist() == wanted
    assert outputs.deltas.shape == (2, len(wanted), 4)
    assert outputs.objectness.shape == (2, len(wanted))
    assert outputs.logits.shape == (2, len(wanted), 3)
    assert outputs.size_hw == SIZE_HW


def test_a_box_is_an_offset_from_the_corner_of_its_cell_and_the_logarithm_of_its_size():
    cells = torch.tensor([[24.0, 8, 16]])  # the corner is at 16, 0
    xyxy = decoded(torch.tensor([[0.25, 0.5, math.log(2), math.log(3)]]), cells)
    assert xyxy[0].tolist() == pytest.approx([20 - 16, 8 - 24, 20 + 16, 8 + 24])


def test_wild_predictions_give_finite_boxes_losses_and_gradients():
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    deltas = outputs.deltas.detach().mul(1e4).requires_grad_()
    losses = head.loss(outputs._replace(deltas=deltas, objectness=outputs.objectness * 1e4), make_truth())
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert deltas.grad.isfinite().all()
    assert decoded(deltas, outputs.cells).isfinite().all()


def test_an_untrained_head_expects_few_objects():
    outputs = make_head().eval()([0 * x for x in make_maps()], SIZE_HW)
    bias = -math.log(99)
    torch.testing.assert_close(make_head().levels[0].classes.bias, torch.full((3,), bias))
    torch.testing.assert_close(make_head().levels[2].objectness.bias, torch.full((1,), bias))
    assert outputs.objectness.sigmoid().max() < 0.1


def test_by_the_rule_product_every_class_of_a_cell_has_objectness_times_class():
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    wanted = outputs.objectness.sigmoid()[..., None] * outputs.logits.sigmoid()
    torch.testing.assert_close(head.scores(outputs), wanted)
    places = torch.tensor([[3, 5], [100, 0]])
    scores = torch.rand(2, 2)
    assert head.final_scores(outputs, places, torch.zeros_like(places), scores) is scores


def test_by_the_rule_class_a_cell_has_one_label_and_its_probability_is_handed_out():
    head = make_head(score_rule="class")
    outputs = head(make_maps(), SIZE_HW)
    scores = head.scores(outputs)
    product = outputs.objectness.sigmoid()[..., None] * outputs.logits.sigmoid()
    best, labels = product.max(dim=-1)
    assert torch.equal(scores.max(dim=-1).values, best)
    assert torch.equal(scores.argmax(dim=-1), labels)
    assert ((scores > 0).sum(dim=-1) == 1).all()
    places = torch.tensor([[3, 5], [100, 0]])
    found = head.final_scores(outputs, places, labels.gather(1, places), best.gather(1, places))
    wanted = outputs.logits.sigmoid().max(dim=-1).values.gather(1, places)
    torch.testing.assert_close(found, wanted)


def test_boxes_are_those_of_the_places_asked_for():
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    places = torch.tensor([[3, 125, 3], [100, 0, 7]])
    whole = decoded(outputs.deltas, outputs.cells)
    assert torch.equal(head.boxes_at(outputs, places), torch.stack([whole[n, places[n]] for n in range(2)]))


def test_losses_are_those_of_the_formulas():
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    truth = make_truth()
    xyxy = decoded(outputs.deltas, outputs.cells)
    made = assign_cells(
        xyxy, outputs.objectness, outputs.logits, cells=outputs.cells, targets=pad_targets(truth, "cpu")
    )
    boxes = classes = 0
    positives = int((made.box >= 0).sum())
    assert positives >= 3
    for n, a in (made.box >= 0).nonzero().tolist():
        box = int(made.box[n, a])
        iou = box_iou(xyxy[n, a][None], truth[n].xyxy[box][None])[0, 0]
        boxes = boxes + 1 - iou**2
        wanted = iou.detach() * functional.one_hot(truth[n].labels[box], 3)
        classes = classes + functional.binary_cross_entropy(outputs.logits[n, a].sigmoid(), wanted, reduction="sum")
    objects = functional.binary_cross_entropy(outputs.objectness.sigmoid(), (made.box >= 0).float(), reduction="sum")
    found = head.loss(outputs, truth)
    wanted = {"boxes": 5 * boxes / positives, "objectness": objects / positives, "classes": classes / positives}
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(
        {name: loss.item() for name, loss in wanted.items()}, rel=1e-5
    )


def test_ignored_boxes_cost_nothing():
    head = make_head()
    outputs = head(make_maps(1), SIZE_HW)
    crowd = Boxes(torch.tensor([[0.0, 0, 96, 64]]), torch.tensor([0]), is_ignored=torch.tensor([True]))
    assert {name: loss.item() for name, loss in head.loss(outputs, [crowd]).items()} == {
        "boxes": 0,
        "objectness": 0,
        "classes": 0,
    }


@pytest.mark.parametrize("truth", [[Boxes.empty(), Boxes.empty()], []])
def test_frames_without_boxes_give_finite_losses_with_gradients(truth):
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    outputs = YoloxOutputs(*(each[: len(truth)] for each in outputs[:3]), outputs.cells, SIZE_HW)
    losses = head.loss(outputs, truth)
    sum(losses.values()).backward()
    assert losses["boxes"].item() == losses["classes"].item() == 0
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())


def test_every_weight_of_head_and_neck_learns():
    neck = PAFPN((8, 12, 16), STRIDES, depth=2)
    head = make_head()
    losses = head.loss(head(neck(make_maps()), SIZE_HW), make_truth())
    sum(losses.values()).backward()
    for part in (neck, head):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_overlaps_of_pairs_are_the_diagonal_of_all():
    corners = torch.rand(20, 2, 2, 2, generator=torch.Generator().manual_seed(0)).sort(dim=2).values
    first, second = corners.flatten(2).unbind(1)[0][:10], corners.flatten(2).unbind(1)[1][:10]
    torch.testing.assert_close(paired_iou(first, second), box_iou(first, second).diagonal())


def test_an_unknown_rule_is_refused():
    with pytest.raises(InputError, match="score_rule must be one of class, product; got 'best'"):
        make_head(score_rule="best")
