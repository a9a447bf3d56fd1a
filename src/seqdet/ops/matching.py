"""Decide which anchors are responsible for which boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import InputError
from ..structures import Boxes
from .boxes import box_iou

BACKGROUND = -1
IGNORED = -2


class Targets(NamedTuple):
    """The truth of F frames, padded to the M boxes of the fullest one.

    xyxy: (F, M, 4). labels: (F, M) int64. is_target: (F, M) bool, a box to find. is_ignored: (F, M) bool, a box to
    leave alone. Padding is neither.
    """

    xyxy: Tensor
    labels: Tensor
    is_target: Tensor
    is_ignored: Tensor


def pad_targets(frames: Sequence[Boxes], device: torch.device | str) -> Targets:
    """The boxes of all frames side by side on ``device``: one transfer for each column."""
    counts = torch.tensor([len(boxes) for boxes in frames])
    most = int(counts.max()) if len(frames) else 0
    present = torch.arange(most) < counts[:, None]
    xyxy, labels = torch.zeros(len(frames), most, 4), torch.zeros(len(frames), most, dtype=torch.int64)
    ignored = torch.zeros(len(frames), most, dtype=torch.bool)
    if most:
        xyxy[present] = torch.cat([boxes.xyxy.cpu() for boxes in frames])
        labels[present] = torch.cat([boxes.labels.cpu() for boxes in frames])
        ignored[present] = torch.cat(
            [torch.zeros(len(b), dtype=torch.bool) if b.is_ignored is None else b.is_ignored.cpu() for b in frames]
        )
    columns = (xyxy, labels, present & ~ignored, ignored)
    return Targets(*(column.to(device, non_blocking=True) for column in columns))


def match_anchors(anchors: Tensor, targets: Targets, *, foreground: float, background: float) -> Tensor:
    """The box of every anchor, for all frames at once: (F, A) int64.

    An entry is the index of a box, ``BACKGROUND`` or ``IGNORED``. An anchor takes the box it overlaps most if their IoU
    reaches ``foreground``, is background below ``background`` and ignored between. Then every box takes the anchor that
    it overlaps most, however little; where several boxes want the same anchor, the largest overlap wins and the others
    take their next best. An anchor that is background but overlaps an ignored box by ``background`` or more is ignored.

    Args:
        anchors: (A, 4) xyxy.
        targets: F frames.
        foreground, background: IoU thresholds, ``background <= foreground``.
    """
    if not 0 <= background <= foreground <= 1:
        raise InputError(
            f"IoU thresholds must satisfy 0 <= background <= foreground <= 1, got {background} and {foreground}."
        )
    frames, most = targets.labels.shape
    if most == 0:
        return torch.full((frames, len(anchors)), BACKGROUND, device=anchors.device)
    overlaps = box_iou(anchors, targets.xyxy)
    to_targets = overlaps.masked_fill(~targets.is_target[:, None], -1)
    best_overlap, best_box = to_targets.max(dim=2)
    matched = best_box.masked_fill(best_overlap < foreground, IGNORED).masked_fill(
        best_overlap < background, BACKGROUND
    )
    excused = (overlaps.masked_fill(~targets.is_ignored[:, None], -1) >= background).any(dim=2)
    matched.masked_fill_(excused & (matched == BACKGROUND), IGNORED)
    return _give_every_box_an_anchor(matched, to_targets, targets.is_target)


def _give_every_box_an_anchor(matched: Tensor, overlaps: Tensor, pending: Tensor) -> Tensor:
    numbers = torch.arange(pending.shape[1], device=pending.device)
    while True:
        overlap, wanted = overlaps.max(dim=1)  # (F, M): the best free anchor of each waiting box
        favourite = overlaps.argmax(dim=2)  # (F, A): the box that each anchor would rather have
        wins = pending & (overlap >= 0) & (favourite.gather(1, wanted) == numbers)
        if not wins.any():
            return matched
        frame, box = wins.nonzero(as_tuple=True)
        anchor = wanted[frame, box]
        matched[frame, anchor] = box
        pending = pending & ~wins
        overlaps = overlaps.index_put((frame, anchor), overlaps.new_tensor(-1.0)).masked_fill(~pending[:, None], -1)
