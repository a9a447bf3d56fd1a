"""Which cells of a head without anchors learn which boxes, and how sure they are to be: task-aligned assignment."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .boxes import box_iou
from .losses import BACKGROUND, IGNORED_ANCHOR, Targets, in_chunks

SCORE_POWER = 0.5
OVERLAP_POWER = 6.0
"""Of the score and of the overlap in the alignment of a cell with a box. These and the ten cells are YOLOv8's; the
paper has 1, 6 and 13 cells, inside the box alone."""
LEAST_SCORE = 1e-6
LEAST_OVERLAP = 1e-4
"""What lower ones count as, so that some cells are the best also where the head says nothing of a box yet."""
MOST_CELLS = 10
"""Of one box."""
REACH = 1.0
"""A cell whose centre is in a box, or nearer to it than this, in its strides along both axes, may learn it."""
LARGEST_CHUNK = 1 << 21
"""Pairs of cell and box that are looked at together, but for those of one frame, so that memory stays bounded."""


class AlignedCells(NamedTuple):
    """What every cell of F frames learns.

    box: (F, A) int64, the index of a box, ``BACKGROUND`` or ``IGNORED_ANCHOR``.
    quality: (F, A), the score that it is to give the class of that box; 0 without.
    """

    box: Tensor
    quality: Tensor


@torch.no_grad()
def align_cells(xyxy: Tensor, scores: Tensor, *, cells: Tensor, targets: Targets) -> AlignedCells:
    """The box of every cell, by what the head says now (Feng et al., arXiv 2108.07755, section 3.2).

    How well a cell and a box are aligned is the score that the cell gives the class of the box to the power
    ``SCORE_POWER``, times the overlap of its box with that one to the power ``OVERLAP_POWER``. A box takes the
    ``MOST_CELLS`` cells that are aligned best, of those within its ``REACH``; a cell that several take goes to the one
    it overlaps most. The quality of the best aligned cell of a box is the largest overlap with it, that of the others
    as much lower as their alignment; where no predicted box overlaps it, all are 0. A box without area, or out of reach
    of all cells, gets none and teaches nothing. A cell without a box that is within reach of an ignored one is ignored.

    Args:
        xyxy: (F, A, 4) predicted boxes.
        scores: (F, A, K) from 0 to 1, of the classes.
        cells: (A, 3) centre x, centre y and stride in pixels.
        targets: F frames.
    """
    box = torch.full(xyxy.shape[:2], BACKGROUND, device=xyxy.device)
    quality = torch.zeros(xyxy.shape[:2], dtype=xyxy.dtype, device=xyxy.device)
    for part, few in in_chunks(targets, len(cells), LARGEST_CHUNK):
        box[part], quality[part] = _aligned(xyxy[part], scores[part], cells, few)
    return AlignedCells(box, quality)


def _aligned(xyxy: Tensor, scores: Tensor, cells: Tensor, targets: Targets) -> AlignedCells:
    """The same of few frames."""
    centres = cells[:, :2]
    reach = REACH * cells[:, 2:]
    corners = targets.xyxy[:, :, None]
    is_near = ((corners[..., :2] - reach < centres) & (centres < corners[..., 2:] + reach)).all(dim=-1)  # (F, M, A)
    has_area = (targets.xyxy[..., :2] < targets.xyxy[..., 2:]).all(dim=-1)
    overlap = box_iou(targets.xyxy, xyxy)
    of_class = scores.gather(2, targets.labels[:, None].expand(-1, scores.shape[1], -1)).mT
    alignment = (
        of_class.clamp(min=LEAST_SCORE).pow_(SCORE_POWER).mul_(overlap.clamp(min=LEAST_OVERLAP) ** OVERLAP_POWER)
    )
    alignment.masked_fill_(~(is_near & (targets.is_target & has_area)[..., None]), -1)
    best, number = alignment.topk(min(MOST_CELLS, alignment.shape[2]), dim=2)
    takes = torch.zeros_like(is_near).scatter_(2, number, best != -1)  # one that is no number is taken, and so is seen
    is_taken = takes.any(dim=1)
    box = overlap.masked_fill(~takes, -1).argmax(dim=1).masked_fill_(~is_taken, BACKGROUND)
    numbers = torch.arange(corners.shape[1], device=box.device)
    is_own = box[:, None] == numbers[:, None]
    alignment.masked_fill_(~is_own, 0)
    largest = overlap.masked_fill_(~is_own, 0).amax(dim=2, keepdim=True)
    quality = alignment.mul_(largest / alignment.amax(dim=2, keepdim=True).clamp(min=torch.finfo(xyxy.dtype).tiny))
    if targets.is_ignored.any():
        excused = (is_near & targets.is_ignored[..., None]).any(dim=1)
        box.masked_fill_(excused & ~is_taken, IGNORED_ANCHOR)
    return AlignedCells(box, quality.amax(dim=1))
