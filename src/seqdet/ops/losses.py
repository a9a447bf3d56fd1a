"""What a head learns: which anchors are responsible for which boxes, and the losses, one per anchor, not yet summed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from ..checks import InputError
from ..structures import Boxes
from .boxes import box_iou

BACKGROUND = -1
IGNORED_ANCHOR = -2
ALPHA = 0.25
GAMMA = 2.0
"""Weight of the positives and focusing exponent of the focal losses (Lin et al., arXiv 1708.02002)."""
LARGEST_CHUNK = 1 << 23
"""Pairs of anchor and box that are looked at together, but for those of one frame, so that memory stays bounded."""


class Targets(NamedTuple):
    """The truth of F frames, padded to the M boxes of the fullest one.

    xyxy: (F, M, 4). labels: (F, M) int64. is_target: (F, M) bool, a box to find. is_ignored: (F, M) bool, a box to
    leave alone. Padding is neither.
    """

    xyxy: Tensor
    labels: Tensor
    is_target: Tensor
    is_ignored: Tensor


def pad_targets(
    frames: Sequence[Boxes], device: torch.device | str, *, classes: int | None = None, outputs: int | None = None
) -> Targets:
    """The boxes of all frames side by side on ``device``: one transfer for each column.

    Coordinates become float32 and labels int64.

    Args:
        frames: the truth.
        device: of the result.
        classes: how many there are; any number if None.
        outputs: of how many frames a head has said something; any number if None.

    Raises:
        InputError: if there are not as many frames as outputs, a coordinate is not finite, a box ends before it starts,
            or a label is that of no class.
    """
    if outputs not in (None, len(frames)):
        raise InputError(f"frames and outputs must have equal lengths, got {len(frames)} and {outputs}.")
    counts = torch.tensor([len(boxes) for boxes in frames])
    most = int(counts.max()) if len(frames) else 0
    present = torch.arange(most) < counts[:, None]
    xyxy = torch.zeros(len(frames), most, 4)
    labels = torch.zeros(len(frames), most, dtype=torch.int64)
    ignored = torch.zeros(len(frames), most, dtype=torch.bool)
    if most:
        xyxy[present] = torch.cat([boxes.xyxy.cpu() for boxes in frames]).float()
        labels[present] = torch.cat([boxes.labels.cpu() for boxes in frames]).long()
        ignored[present] = torch.cat(
            [torch.zeros(len(b), dtype=torch.bool) if b.is_ignored is None else b.is_ignored.cpu() for b in frames]
        )
        _check_truth(xyxy, labels, classes)
    columns = (xyxy, labels, present & ~ignored, ignored)
    return Targets(*(column.to(device, non_blocking=True) for column in columns))


def _check_truth(xyxy: Tensor, labels: Tensor, classes: int | None) -> None:
    infinite = ~xyxy.isfinite().all(dim=-1)
    if infinite.any():
        raise InputError(f"xyxy of the truth must be finite float32, got {xyxy[infinite][0].tolist()}.")
    backward = (xyxy[..., 2:] < xyxy[..., :2]).any(dim=-1)
    if backward.any():
        raise InputError(
            f"xyxy of the truth must have x1 <= x2 and y1 <= y2, got {xyxy[backward][0].tolist()}. "
            "Were x, y, width and height given?"
        )
    unknown = labels < 0 if classes is None else (labels < 0) | (labels >= classes)
    if unknown.any():
        wanted = "at least 0" if classes is None else f"0 to {classes - 1}, as there are {classes} classes"
        raise InputError(f"labels must be {wanted}, got {labels[unknown][0]}.")


def in_chunks(targets: Targets, places: int, most_pairs: int) -> Iterator[tuple[slice, Targets]]:
    """Some frames at a time, and their truth; nothing where no frame has a box.

    Args:
        targets: F frames.
        places: of a frame, each of which makes a pair with each box.
        most_pairs: at a time, but for those of one frame.
    """
    frames, most = targets.labels.shape
    chunk = max(1, most_pairs // max(1, most * places))
    for start in range(0, frames if most else 0, chunk):
        part = slice(start, start + chunk)
        yield part, Targets(*(column[part] for column in targets))


def match_anchors(anchors: Tensor, targets: Targets, *, foreground: float, background: float) -> Tensor:
    """The box of every anchor, for all frames at once: (F, A) int64.

    An entry is the index of a box, ``BACKGROUND`` or ``IGNORED_ANCHOR``. An anchor takes the box it overlaps most if
    their IoU reaches ``foreground``, is background below ``background`` and ignored between. Then every box takes the
    anchor that it overlaps most, however little; where several boxes want the same anchor, the largest overlap wins and
    the others take their next best. A box that overlaps no anchor, or has no area, gets none and teaches nothing. An
    anchor that is background but overlaps an ignored box by ``background`` or more is ignored.

    Args:
        anchors: (A, 4) xyxy.
        targets: F frames.
        foreground, background: IoU thresholds, ``background <= foreground`` and ``foreground`` above 0.
    """
    if not (0 <= background <= foreground <= 1 and foreground > 0):
        raise InputError(
            "IoU thresholds must satisfy 0 <= background <= foreground <= 1 and foreground > 0, "
            f"got {background} and {foreground}."
        )
    matched = torch.full((len(targets.labels), len(anchors)), BACKGROUND, device=anchors.device)
    for part, few in in_chunks(targets, len(anchors), LARGEST_CHUNK):
        matched[part] = _matched(anchors, few, foreground=foreground, background=background)
    return matched


def _matched(anchors: Tensor, targets: Targets, *, foreground: float, background: float) -> Tensor:
    """The box of every anchor of few frames; arguments as for ``match_anchors``."""
    frames, most = targets.labels.shape
    overlaps = anchors.new_empty(frames, len(anchors), most)
    rows = max(1, LARGEST_CHUNK // (8 * frames * most))  # corners take more memory than overlaps
    for start in range(0, len(anchors), rows):
        overlaps[:, start : start + rows] = box_iou(anchors[start : start + rows], targets.xyxy)
    excused = None
    if targets.is_ignored.any():
        excused = ((overlaps >= background) & targets.is_ignored[:, None]).any(dim=2)
    overlaps.masked_fill_(~targets.is_target[:, None], -1)
    best_overlap, best_box = overlaps.max(dim=2)
    matched = best_box.masked_fill(best_overlap < foreground, IGNORED_ANCHOR).masked_fill(
        best_overlap < background, BACKGROUND
    )
    if excused is not None:
        matched.masked_fill_(excused & (matched == BACKGROUND), IGNORED_ANCHOR)
    return _give_every_box_an_anchor(matched, overlaps, targets.is_target)


def _give_every_box_an_anchor(matched: Tensor, overlaps: Tensor, pending: Tensor) -> Tensor:
    """``matched`` with an anchor for every box that overlaps one; ``overlaps`` is used up."""
    numbers = torch.arange(pending.shape[1], device=pending.device)
    while True:
        overlap, wanted = overlaps.max(dim=1)  # (F, M): the best free anchor of each waiting box
        favourite = overlaps.argmax(dim=2)  # (F, A): the box that each anchor would rather have
        wins = pending & (overlap > 0) & (favourite.gather(1, wanted) == numbers)
        if not wins.any():
            return matched
        frame, box = wins.nonzero(as_tuple=True)
        anchor = wanted[frame, box]
        matched[frame, anchor] = box
        pending = pending & ~wins
        overlaps[frame, anchor] = -1
        overlaps.masked_fill_(~pending[:, None], -1)


def softmax_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss over classes that exclude each other, the first being background: (N, 1 + K), (N,) -> (N,).

    ``labels`` are class indices from 0, or -1 for background.
    """
    log_probability = logits.log_softmax(-1).gather(-1, labels[:, None] + 1).squeeze(-1)
    weight = torch.where(labels < 0, 1 - ALPHA, ALPHA)
    return -weight * (1 - log_probability.exp()) ** GAMMA * log_probability


def sigmoid_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss of one yes or no per class: (N, K), (N,) -> (N,). A label of -1 is background: no to all."""
    wanted = functional.one_hot(labels + 1, logits.shape[-1] + 1)[:, 1:].to(logits.dtype)
    return sigmoid_focal_loss(logits, wanted, ALPHA, GAMMA).sum(-1)


def smooth_l1(deltas: Tensor, wanted: Tensor, *, beta: float = 1 / 9) -> Tensor:
    """Smooth L1 distance of the coded boxes, summed over the four numbers: (N, 4), (N, 4) -> (N,)."""
    return functional.smooth_l1_loss(deltas, wanted, beta=beta, reduction="none").sum(-1)


def giou(xyxy: Tensor, wanted: Tensor) -> Tensor:
    """1 - generalised IoU of the decoded boxes (Rezatofighi et al., arXiv 1902.09630): (N, 4), (N, 4) -> (N,)."""
    return generalized_box_iou_loss(xyxy, wanted)


def per_process(total: float, device: torch.device) -> float:
    """What losses are divided by: the mean of the totals of all processes that train together, of 1 at least in all.

    Args:
        total: the positives of this process, or the sum of their weights.
        device: where processes exchange numbers.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return max(1.0, total)
    every = torch.tensor(float(total), device=device)
    distributed.all_reduce(every)
    return max(1.0, float(every)) / distributed.get_world_size()
