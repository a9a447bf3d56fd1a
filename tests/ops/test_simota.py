"""SimOTA against its rules written out with loops, and where it could break."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torchvision.ops import box_iou

from seqdet.ops import simota
from seqdet.ops.losses import BACKGROUND, IGNORED_ANCHOR, pad_targets
from seqdet.ops.simota import assign_cells
from seqdet.structures import Boxes

from .grids import CLASSES, make_cells, make_predicted, make_truth


def make_outputs(frames: int, cells: torch.Tensor, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    xyxy = make_predicted(frames, cells, generator)
    objectness = torch.randn(frames, len(cells), generator=generator)
    return xyxy, objectness, torch.randn(frames, len(cells), CLASSES, generator=generator)


def written_out(xyxy, objectness, logits, cells, truth: Boxes) -> tuple[dict[int, int], dict[int, float]]:
    """Which box each cell of one frame has, and with what overlap."""
    centres = (truth.xyxy[:, :2] + truth.xyxy[:, 2:]) / 2
    near = {
        (b, a)
        for b in range(len(truth))
        for a in range(len(cells))
        if all(abs(cells[a, axis] - centres[b, axis]) < 1.5 * cells[a, 2] for axis in (0, 1))
    }
    candidates = sorted({a for _, a in near})
    overlap = box_iou(truth.xyxy, xyxy)
    cost = {}
    for b in range(len(truth)):
        wanted = functional.one_hot(truth.labels[b], CLASSES).float()
        for a in candidates:
            score = (logits[a].sigmoid() * objectness[a].sigmoid()).sqrt()
            classes = functional.binary_cross_entropy(score, wanted, reduction="sum")
            far = 0 if (b, a) in near else 1e6
            cost[b, a] = float(classes - 3 * (overlap[b, a] + 1e-8).log() + far)
    takers: dict[int, list[int]] = {}
    for b in range(len(truth)):
        best = sorted((float(overlap[b, a]) for a in candidates), reverse=True)[:10]
        for a in sorted(candidates, key=lambda a: cost[b, a])[: max(1, int(sum(best)))]:
            takers.setdefault(a, []).append(b)
    boxes = {
        a: min(range(len(truth)), key=lambda b: cost[b, a]) if len(several) > 1 else several[0]
        for a, several in takers.items()
    }
    return boxes, {a: float(overlap[b, a]) for a, b in boxes.items()}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("chunk", [simota.LARGEST_CHUNK, 1])
def test_it_is_what_its_rules_say(seed, chunk, monkeypatch):
    monkeypatch.setattr(simota, "LARGEST_CHUNK", chunk)
    cells = make_cells()
    counts = (4, 0, 1, 12)
    truth = [make_truth(count, 10 * seed + n) for n, count in enumerate(counts)]
    outputs = make_outputs(len(counts), cells, seed)
    made = assign_cells(*outputs, cells=cells, targets=pad_targets(truth, "cpu"))
    for n, boxes in enumerate(truth):
        wanted, overlaps = written_out(*(each[n] for each in outputs), cells, boxes)
        assert {a: int(b) for a, b in enumerate(made.box[n]) if b != BACKGROUND} == wanted
        assert {a: float(made.overlap[n, a]) for a in wanted} == pytest.approx(overlaps, abs=1e-6)
        assert float(made.overlap[n].sum()) == pytest.approx(sum(overlaps.values()), abs=1e-4)


def test_padding_and_other_frames_change_nothing():
    cells = make_cells()
    truth = [make_truth(count, count) for count in (2, 9)]
    outputs = make_outputs(2, cells, 0)
    together = assign_cells(*outputs, cells=cells, targets=pad_targets(truth, "cpu"))
    for n in range(2):
        alone = assign_cells(
            *(each[n : n + 1] for each in outputs), cells=cells, targets=pad_targets(truth[n : n + 1], "cpu")
        )
        assert torch.equal(alone.box[0], together.box[n])


def test_no_boxes_leave_all_cells_to_the_background():
    cells = make_cells()
    made = assign_cells(*make_outputs(2, cells, 0), cells=cells, targets=pad_targets([Boxes.empty()] * 2, "cpu"))
    assert (made.box == BACKGROUND).all()
    assert not made.overlap.any()
    none = assign_cells(*make_outputs(0, cells, 0), cells=cells, targets=pad_targets([], "cpu"))
    assert none.box.shape == (0, len(cells))


def test_every_box_of_one_pixel_finds_a_cell_that_is_near():
    cells = make_cells()
    corners = torch.tensor([[0.0, 0], [40, 21], [95, 63]])
    truth = Boxes(torch.cat([corners, corners + 1], dim=1), torch.zeros(3, dtype=torch.int64))
    made = assign_cells(*make_outputs(1, cells, 0), cells=cells, targets=pad_targets([truth], "cpu"))
    for box in range(3):
        (found,) = cells[made.box[0] == box]
        assert ((found[:2] - corners[box] - 0.5).abs() < 1.5 * found[2]).all()


def test_a_box_without_area_or_outside_all_cells_teaches_nothing():
    cells = make_cells()
    xyxy = torch.tensor([[20.0, 20, 20, 30], [500, 500, 520, 530], [30, 30, 50, 50]])
    truth = Boxes(xyxy, torch.zeros(3, dtype=torch.int64))
    made = assign_cells(*make_outputs(1, cells, 0), cells=cells, targets=pad_targets([truth[:2]], "cpu"))
    assert (made.box == BACKGROUND).all()
    made = assign_cells(*make_outputs(1, cells, 0), cells=cells, targets=pad_targets([truth], "cpu"))
    assert not (made.box == 0).any()
    assert (made.box == 2).any()


def test_ignored_boxes_are_no_targets_and_cells_in_them_are_left_alone():
    cells = make_cells()
    truth = make_truth(9, 3, ignored=True)
    outputs = make_outputs(1, cells, 3)
    made = assign_cells(*outputs, cells=cells, targets=pad_targets([truth], "cpu"))
    wanted, _ = written_out(*(each[0] for each in outputs), cells, truth.targets)
    targets = (~truth.is_ignored).nonzero().flatten()
    assert {a: int(b) for a, b in enumerate(made.box[0]) if b >= 0} == {a: int(targets[b]) for a, b in wanted.items()}
    crowd = truth.xyxy[truth.is_ignored]
    inside = ((crowd[:, None, :2] <= cells[:, :2]) & (cells[:, :2] < crowd[:, None, 2:])).all(-1).any(0)
    assert inside.any()
    assert (made.box[0][inside] != BACKGROUND).all()
    excused = made.box[0] == IGNORED_ANCHOR
    assert excused.any()
    assert not excused.all()


def test_predictions_that_are_no_numbers_end_nothing():
    cells = make_cells()
    outputs = [torch.full_like(each, torch.nan) for each in make_outputs(2, cells, 0)]
    made = assign_cells(*outputs, cells=cells, targets=pad_targets([make_truth(5, 0), make_truth(300, 1)], "cpu"))
    assert made.box.shape == (2, len(cells))
