"""The head without anchors that is task-aligned: what it says, how it is decoded and what it learns."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from seqdet.checks import InputError
from seqdet.models.task_aligned import (
    BINS,
    TaskAlignedHead,
    TaskAlignedOutputs,
    decoded,
    distance_loss,
    distances_to,
    mean_distances,
)
from seqdet.ops.losses import pad_targets
from seqdet.ops.task_alignment import align_cells
from seqdet.structures import Boxes

STRIDES = (8, 16, 32)
SIZE_HW = 64, 96


def make_head(**settings) -> TaskAlignedHead:
    torch.manual_seed(0)
    return TaskAlignedHead(8, STRIDES, 3, **{"hidden": 1, "box_weight": 10, **settings})


def make_maps(frames: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(frames, 8, SIZE_HW[0] // s, SIZE_HW[1] // s, generator=generator) for s in STRIDES]


def make_truth() -> list[Boxes]:
    xyxy = torch.tensor([[10.0, 10, 40, 50], [50, 5, 90, 60], [70, 40, 71, 41]])
    return [Boxes(xyxy, torch.tensor([0, 2, 1])), Boxes.empty()]


def certain(distances: list[float]) -> torch.Tensor:
    """Logits of sides that lie at these distances."""
    return 100 * functional.one_hot((4 * (torch.tensor(distances) + 1)).long(), BINS).float().flatten()


def test_cells_are_ordered_by_map_row_and_column():
    outputs = make_head()(make_maps(), SIZE_HW)
    wanted = [
        [(x + 0.5) * stride, (y + 0.5) * stride, stride]
        for stride in STRIDES
        for y in range(64 // stride)
        for x in range(96 // stride)
    ]
    assert outputs.cells.tolist() == wanted
    assert outputs.sides.shape == (2, len(wanted), 4 * BINS)
    assert outputs.logits.shape == (2, len(wanted), 3)
    assert outputs.size_hw == SIZE_HW


def test_a_side_is_the_mean_of_its_distances_in_strides_which_may_lie_behind_the_centre():
    cells = torch.tensor([[24.0, 8, 16]])
    xyxy = decoded(mean_distances(certain([1.25, -1, 3, 8.75])[None]), cells)
    assert xyxy[0].tolist() == pytest.approx([24 - 20, 8 + 16, 24 + 48, 8 + 140])
    between = torch.log(torch.tensor([1e-30] * 4 + [0.25, 0.75] + [1e-30] * (BINS - 6))).repeat(4)
    assert decoded(mean_distances(between[None]), cells)[0].tolist() == pytest.approx([24 - 3, 8 - 3, 24 + 3, 8 + 3])


def test_boxes_are_as_fine_in_mixed_precision():
    sides = torch.randn(40, 4 * BINS, generator=torch.Generator().manual_seed(0))
    cells = torch.tensor([[300.0, 200, 8]]).expand(40, 3)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = decoded(mean_distances(sides), cells)
    assert torch.equal(rounded, decoded(mean_distances(sides), cells))


def test_the_loss_of_a_distance_is_least_where_the_mean_of_two_bins_is_right():
    distances = torch.tensor([[1.3, -0.6, 0.0, 40.0]])
    sides = torch.zeros(1, 4 * BINS, requires_grad=True)
    optimizer = torch.optim.Adam([sides], lr=0.1)
    for _ in range(500):
        optimizer.zero_grad()
        distance_loss(sides, distances).sum().backward()
        optimizer.step()
    xyxy = decoded(mean_distances(sides), torch.tensor([[0.0, 0, 1]]))
    assert xyxy[0].tolist() == pytest.approx([-1.3, 0.6, 0.0, 8.75], abs=0.02)  # beyond all bins: the last
    assert distances_to(torch.tensor([[-1.3, 0.6, 0, 40]]), torch.tensor([[0.0, 0, 1]])).tolist() == distances.tolist()


def test_an_untrained_head_expects_few_objects():
    outputs = make_head()([0 * x for x in make_maps()], SIZE_HW)
    assert outputs.logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.05)


def test_scores_are_probabilities_of_the_classes_and_boxes_those_of_the_places_asked_for():
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    torch.testing.assert_close(head.scores(outputs), outputs.logits.sigmoid())
    places = torch.tensor([[3, 125, 3], [100, 0, 7]])
    whole = decoded(mean_distances(outputs.sides), outputs.cells)
    assert torch.equal(head.boxes_at(outputs, places), torch.stack([whole[n, places[n]] for n in range(2)]))
    scores = torch.rand(2, 3)
    assert head.final_scores(outputs, places, torch.zeros_like(places), scores) is scores


def test_losses_are_those_of_the_formulas():
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    truth = make_truth()
    xyxy = decoded(mean_distances(outputs.sides), outputs.cells)
    made = align_cells(xyxy, outputs.logits.sigmoid(), cells=outputs.cells, targets=pad_targets(truth, "cpu"))
    boxes = sides = 0
    wanted = torch.zeros_like(outputs.logits)
    total = max(1.0, float(made.quality.sum()))
    for n, a in (made.box >= 0).nonzero().tolist():
        box = truth[n].xyxy[made.box[n, a]]
        weight = made.quality[n, a]
        wanted[n, a, truth[n].labels[made.box[n, a]]] = weight
        boxes = boxes + weight * generalized_box_iou_loss(xyxy[n, a], box)
        distances = distances_to(box[None], outputs.cells[a][None])
        sides = sides + weight * distance_loss(outputs.sides[n, a][None], distances)[0]
    assert (wanted > 0).sum() >= 3
    classes = functional.binary_cross_entropy(outputs.logits.sigmoid(), wanted, reduction="sum")
    found = head.loss(outputs, truth)
    expected = {"classes": classes / total, "boxes": 10 * boxes / total, "sides": 3 * sides / total}
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(
        {name: loss.item() for name, loss in expected.items()}, rel=1e-4
    )


def test_the_loss_is_finite_at_no_boxes_hundreds_and_wild_predictions():
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    corners = torch.rand(400, 2) * torch.tensor([90, 60])
    crowd = Boxes(torch.cat([corners, corners + 1], dim=1), torch.zeros(400, dtype=torch.int64))
    for truth in ([Boxes.empty()] * 2, [crowd, Boxes.empty()]):
        for factor in (1, 1e4):
            sides = outputs.sides.detach().mul(factor).requires_grad_()
            wild = outputs._replace(sides=sides, logits=outputs.logits.detach() * factor)
            losses = head.loss(wild, truth)
            sum(losses.values()).backward()
            assert all(loss.isfinite() for loss in losses.values())
            assert sides.grad.isfinite().all()


def test_ignored_boxes_cost_nothing():
    head = make_head()
    outputs = head(make_maps(1), SIZE_HW)
    crowd = Boxes(torch.tensor([[0.0, 0, 96, 64]]), torch.tensor([0]), is_ignored=torch.tensor([True]))
    assert sum(head.loss(outputs, [crowd]).values()).item() == 0


def test_it_learns_boxes_of_every_shape_a_thin_one_between_two_columns_of_cells_too():
    head = make_head()
    outputs = head(make_maps(1), SIZE_HW)
    learnt = {name: torch.zeros_like(getattr(outputs, name)).requires_grad_() for name in ("sides", "logits")}
    truth = [Boxes(torch.tensor([[31.0, 4, 33, 60], [60, 20, 90, 50]]), torch.tensor([0, 1]))]
    optimizer = torch.optim.Adam(learnt.values(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        outputs = outputs._replace(**learnt)
        sum(head.loss(outputs, truth).values()).backward()
        optimizer.step()
    scores = head.scores(outputs)[0]
    for n in range(2):
        best = scores[:, n].argmax()
        assert decoded(mean_distances(outputs.sides), outputs.cells)[0, best].tolist() == pytest.approx(
            truth[0].xyxy[n].tolist(), abs=0.5
        )
        assert scores[best, n] > 0.8


def test_the_truth_must_fit():
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    assert isinstance(outputs, TaskAlignedOutputs)
    with pytest.raises(InputError, match="frames and outputs must have equal lengths"):
        head.loss(outputs, make_truth()[:1])
    with pytest.raises(InputError, match="labels must be 0 to 2"):
        head.loss(outputs, [Boxes(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([3])), Boxes.empty()])


def test_boxes_are_taught_where_the_head_is_sure_of_nothing_and_what_is_no_number_is_seen():
    head = make_head()
    outputs = head(make_maps(), SIZE_HW)
    silent = outputs._replace(logits=torch.full_like(outputs.logits, -200.0))
    assert all(loss > 0 for loss in head.loss(silent, make_truth()).values())
    broken = outputs._replace(sides=torch.full_like(outputs.sides, torch.nan))
    assert not sum(head.loss(broken, make_truth()).values()).isfinite()
