"""Task-aligned assignment against its rules written out with loops, and where it could break."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from seqdet.ops import task_alignment
from seqdet.ops.losses import BACKGROUND, IGNORED_ANCHOR, pad_targets
from seqdet.ops.task_alignment import align_cells
from seqdet.structures import Boxes

from .grids import CLASSES, make_cells, make_predicted, make_truth


def make_outputs(frames: int, cells: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    xyxy = make_predicted(frames, cells, generator)
    return xyxy, torch.rand(frames, len(cells), CLASSES, generator=generator)


def is_within_reach(cell: torch.Tensor, xyxy: torch.Tensor) -> bool:
    return all(xyxy[axis] - cell[2] < cell[axis] < xyxy[axis + 2] + cell[2] for axis in (0, 1))


def written_out(xyxy, scores, cells, truth: Boxes) -> tuple[dict[int, int], dict[int, float]]:
    """Which box each cell of one frame has, and what it is to give its class."""
    overlap = box_iou(truth.xyxy, xyxy)
    takers: dict[int, list[int]] = {}
    alignment = {}
    for b in range(len(truth)):
        for a in range(len(cells)):
            if is_within_reach(cells[a], truth.xyxy[b]):
                alignment[b, a] = float(scores[a, truth.labels[b]] ** 0.5 * (overlap[b, a] + 1e-6) ** 6)
        own = sorted((a for b2, a in alignment if b2 == b), key=lambda a, b=b: -alignment[b, a])
        for a in own[:10]:
            takers.setdefault(a, []).append(b)
    boxes = {a: max(several, key=lambda b: float(overlap[b, a])) for a, several in takers.items()}
    quality = {}
    for a, b in boxes.items():
        mine = [other for other, box in boxes.items() if box == b]
        largest = max(float(overlap[b, other]) for other in mine)
        quality[a] = alignment[b, a] / max(alignment[b, other] for other in mine) * largest
    return boxes, quality


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("chunk", [task_alignment.LARGEST_CHUNK, 1])
def test_it_is_what_its_rules_say(seed, chunk, monkeypatch):
    monkeypatch.setattr(task_alignment, "LARGEST_CHUNK", chunk)
    cells = make_cells()
    counts = (4, 0, 1, 12)
    truth = [make_truth(count, 10 * seed + n) for n, count in enumerate(counts)]
    outputs = make_outputs(len(counts), cells, seed)
    made = align_cells(*outputs, cells=cells, targets=pad_targets(truth, "cpu"))
    for n, boxes in enumerate(truth):
        wanted, qualities = written_out(*(each[n] for each in outputs), cells, boxes)
        assert {a: int(b) for a, b in enumerate(made.box[n]) if b != BACKGROUND} == wanted
        assert {a: float(made.quality[n, a]) for a in wanted} == pytest.approx(qualities, rel=1e-3, abs=1e-6)
        assert float(made.quality[n].sum()) == pytest.approx(sum(qualities.values()), rel=1e-3)


def test_padding_and_other_frames_change_nothing():
    cells = make_cells()
    truth = [make_truth(count, count) for count in (2, 9)]
    outputs = make_outputs(2, cells, 0)
    together = align_cells(*outputs, cells=cells, targets=pad_targets(truth, "cpu"))
    for n in range(2):
        few = pad_targets(truth[n : n + 1], "cpu")
        alone = align_cells(*(each[n : n + 1] for each in outputs), cells=cells, targets=few)
        assert torch.equal(alone.box[0], together.box[n])
        assert torch.equal(alone.quality[0], together.quality[n])


def test_no_boxes_leave_all_cells_to_the_background():
    cells = make_cells()
    made = align_cells(*make_outputs(2, cells, 0), cells=cells, targets=pad_targets([Boxes.empty()] * 2, "cpu"))
    assert (made.box == BACKGROUND).all()
    assert not made.quality.any()
    none = align_cells(*make_outputs(0, cells, 0), cells=cells, targets=pad_targets([], "cpu"))
    assert none.box.shape == (0, len(cells))


def test_every_box_of_one_pixel_finds_cells_within_reach():
    cells = make_cells()
    corners = torch.tensor([[0.0, 0], [40, 21], [95, 63]])
    truth = Boxes(torch.cat([corners, corners + 1], dim=1), torch.zeros(3, dtype=torch.int64))
    made = align_cells(*make_outputs(1, cells, 0), cells=cells, targets=pad_targets([truth], "cpu"))
    for box in range(3):
        found = cells[made.box[0] == box]
        assert len(found)
        assert all(is_within_reach(cell, truth.xyxy[box]) for cell in found)


def test_a_box_without_area_or_outside_all_cells_teaches_nothing():
    cells = make_cells()
    xyxy = torch.tensor([[20.0, 20, 20, 30], [500, 500, 520, 530], [30, 30, 50, 50]])
    truth = Boxes(xyxy, torch.zeros(3, dtype=torch.int64))
    made = align_cells(*make_outputs(1, cells, 0), cells=cells, targets=pad_targets([truth[:2]], "cpu"))
    assert (made.box == BACKGROUND).all()
    assert not made.quality.any()
    made = align_cells(*make_outputs(1, cells, 0), cells=cells, targets=pad_targets([truth], "cpu"))
    assert set(made.box.unique().tolist()) == {BACKGROUND, 2}


def test_ignored_boxes_are_no_targets_and_cells_near_them_are_left_alone():
    cells = make_cells()
    truth = make_truth(9, 3, ignored=True)
    outputs = make_outputs(1, cells, 3)
    made = align_cells(*outputs, cells=cells, targets=pad_targets([truth], "cpu"))
    wanted, _ = written_out(*(each[0] for each in outputs), cells, truth.targets)
    targets = (~truth.is_ignored).nonzero().flatten()
    assert {a: int(b) for a, b in enumerate(made.box[0]) if b >= 0} == {a: int(targets[b]) for a, b in wanted.items()}
    near = torch.tensor([any(is_within_reach(cell, xyxy) for xyxy in truth.xyxy[truth.is_ignored]) for cell in cells])
    excused = made.box[0] == IGNORED_ANCHOR
    assert torch.equal(excused, near & torch.tensor([a not in wanted for a in range(len(cells))]))
    assert excused.any()
    assert not excused.all()


def test_predictions_that_are_no_numbers_end_nothing():
    cells = make_cells()
    outputs = [torch.full_like(each, torch.nan) for each in make_outputs(2, cells, 0)]
    made = align_cells(*outputs, cells=cells, targets=pad_targets([make_truth(5, 0), make_truth(300, 1)], "cpu"))
    assert made.box.shape == (2, len(cells))
