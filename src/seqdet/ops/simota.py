"""Which cells of an anchor-free head are responsible for which boxes: SimOTA."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .boxes import box_iou
from .losses import BACKGROUND, IGNORED_ANCHOR, Targets, in_chunks

RADIUS = 1.5
"""A cell whose centre is nearer than this to that of a box, in strides along both axes, is one of its candidates."""
MOST_CELLS = 10
"""Of one box: as many as the sum of its so many largest overlaps says."""
OVERLAP_COST = 3.0
FAR_COST = 1e6
"""Of a cell that is a candidate of another box only."""
LEAST_LOG = -100.0
"""The logarithm of 0, as torch's binary cross-entropy has it."""
LARGEST_CHUNK = 1 << 21
"""Pairs of cell and box that are looked at together, so that memory stays bounded."""


class CellTargets(NamedTuple):
    """What every cell of F frames learns.

    box: (F, A) int64, the index of a box, ``BACKGROUND`` or ``IGNORED_ANCHOR``.
    overlap: (F, A), IoU of the predicted box with that one; 0 without.
    """

    box: Tensor
    overlap: Tensor


@torch.no_grad()
def assign_cells(xyxy: Tensor, objectness: Tensor, logits: Tensor, *, cells: Tensor, targets: Targets) -> CellTargets:
    """The box of every cell, by what the head says now (Ge et al., arXiv 2107.08430, section 2.1).

    A cell costs a box the cross-entropy of its scores and three times the negative logarithm of its overlap. A box
    takes as many of the cheapest cells as its ten largest overlaps add up to, at least one. A cell that several boxes
    take goes to the box to which it is cheapest. Only candidates of some box are taken, and those of others at a price.
    A box without area, or far from all cells, gets none and teaches nothing. A cell without a box that lies in an
    ignored one, or is its candidate, is ignored.

    All frames are looked at together, in chunks of ``LARGEST_CHUNK`` pairs.

    Args:
        xyxy: (F, A, 4) predicted boxes.
        objectness: (F, A) logits.
        logits: (F, A, K) of the classes.
        cells: (A, 3) centre x, centre y and stride in pixels.
        targets: F frames.
    """
    made = CellTargets(
        torch.full(objectness.shape, BACKGROUND, device=xyxy.device),
        torch.zeros(objectness.shape, dtype=xyxy.dtype, device=xyxy.device),
    )
    for part, few in in_chunks(targets, len(cells), LARGEST_CHUNK):
        _assign(xyxy[part], objectness[part], logits[part], cells, few, CellTargets(*(each[part] for each in made)))
    return made


def _assign(
    xyxy: Tensor, objectness: Tensor, logits: Tensor, cells: Tensor, targets: Targets, made: CellTargets
) -> None:
    """Fill in ``made``, arguments as for ``assign_cells``."""
    centre = (targets.xyxy[..., :2] + targets.xyxy[..., 2:])[:, :, None] / 2
    offset = torch.maximum((cells[:, 0] - centre[..., 0]).abs_(), (cells[:, 1] - centre[..., 1]).abs_())
    is_near = offset < RADIUS * cells[:, 2]  # (F, M, A)
    del offset
    has_area = (targets.xyxy[..., :2] < targets.xyxy[..., 2:]).all(dim=-1)
    is_target = targets.is_target & has_area
    is_candidate = is_near & is_target[..., None]
    any_box = is_candidate.any(dim=1)
    count = int(any_box.sum(dim=1).max())
    if count:
        cell = any_box.byte().argsort(dim=1, descending=True, stable=True)[:, :count]  # (F, U)
        taken = _cheapest(
            xyxy.gather(1, cell[..., None].expand(-1, -1, 4)),
            _class_costs(objectness.gather(1, cell), logits.gather(1, cell[..., None].expand(-1, -1, logits.shape[2]))),
            is_candidate.gather(2, cell[:, None].expand(-1, is_near.shape[1], -1)),
            any_box.gather(1, cell),
            targets._replace(is_target=is_target),
        )
        made.box.scatter_(1, cell, taken.box)
        made.overlap.scatter_(1, cell, taken.overlap)
    if targets.is_ignored.any():
        centres = cells[:, :2]
        inside = (targets.xyxy[:, :, None, :2] <= centres) & (centres < targets.xyxy[:, :, None, 2:])
        excused = ((is_near | inside.all(dim=-1)) & targets.is_ignored[..., None]).any(dim=1)
        made.box.masked_fill_(excused & (made.box == BACKGROUND), IGNORED_ANCHOR)


def _class_costs(objectness: Tensor, logits: Tensor) -> Tensor:
    """Binary cross-entropy of the scores of every cell with each class as the only true one: (F, U, K)."""
    score = (objectness.sigmoid()[..., None] * logits.sigmoid()).sqrt()
    if_true = score.log().clamp(min=LEAST_LOG)
    if_false = (1 - score).log().clamp(min=LEAST_LOG)
    return if_false - if_true - if_false.sum(dim=-1, keepdim=True)


def _cheapest(xyxy: Tensor, class_costs: Tensor, is_candidate: Tensor, exists: Tensor, targets: Targets) -> CellTargets:
    """The boxes of U candidate cells of every frame.

    Args:
        xyxy: (F, U, 4).
        class_costs: (F, U, K).
        is_candidate: (F, M, U), whether the cell is one of the box.
        exists: (F, U), not padding.
        targets: M boxes a frame.
    """
    is_pair = targets.is_target[..., None] & exists[:, None]
    overlap = box_iou(targets.xyxy, xyxy).masked_fill_(~is_pair, 0)
    cost = class_costs.gather(2, targets.labels[:, None].expand(-1, xyxy.shape[1], -1)).mT
    cost = cost - OVERLAP_COST * (overlap + 1e-8).log_()
    cost = cost.add_(~is_candidate, alpha=FAR_COST).masked_fill_(~is_pair, torch.inf)
    most = min(MOST_CELLS, overlap.shape[2])
    wanted = overlap.topk(most, dim=2).values.sum(dim=2).long().clamp_(min=1)
    least, number = cost.topk(most, dim=2, largest=False)
    is_taken = (torch.arange(most, device=cost.device) < wanted[..., None]) & (least < torch.inf)
    takes = torch.zeros_like(is_pair).scatter_(2, number, is_taken)
    takers = takes.sum(dim=1)
    box = torch.where(takers > 1, cost.argmin(dim=1), takes.byte().argmax(dim=1))
    overlap = overlap.gather(1, box[:, None]).squeeze(1)
    return CellTargets(box.masked_fill(takers == 0, BACKGROUND), overlap.masked_fill(takers == 0, 0))
