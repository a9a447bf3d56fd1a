"""What the queries of RT-DETR learn: which of them finds which box, and the same from boxes with noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_convert

from ..devices import one_thread
from ..ops.assignment import assigned
from ..ops.boxes import box_iou
from ..ops.losses import Targets, giou, per_process

CLASS_COST = 2.0
BOX_COST = 5.0
OVERLAP_COST = 2.0
"""Factors of the costs by which queries and boxes are paired."""
BOX_WEIGHT = 5.0
OVERLAP_WEIGHT = 2.0
"""Factors of the losses; that of the classes is 1."""
FOCAL = (0.25, 2.0)
"""Weight of the positives and exponent in the cost of a class (Lin et al., arXiv 1708.02002)."""
VARIFOCAL = (0.75, 2.0)
"""Weight of the negatives and exponent in the loss of the classes (Zhang et al., arXiv 2008.13367)."""
DENOISING = 100
"""Boxes with noise in a frame: as many copies of all its boxes as do not exceed this; of more boxes, the first."""
LABEL_NOISE = 0.5
"""Twice the share of the copies whose class is drawn anew."""
BOX_NOISE = 1.0
"""Corners of a copy that is to find its box move by up to so many halves of its sides; those of others by up to twice
that, and at least once."""
EXCUSED = 0.5
"""A query without a box, so much of whose box lies in an ignored one, is no error in that class."""


class Noise(NamedTuple):
    """Queries that start from the truth with noise: D of each of F frames, padded.

    labels: (F, D) int64; the number of the classes where there is no query.
    boxes: (F, D, 4), centre x, centre y, width and height as shares of the padded frame.
    mask: (F, D, D + others) bool, which queries they may look at: those of their copy of the truth, and all others.
    box: (F, D) int64, the index of the box to find, -1 for none.
    exists: (F, D) bool.
    """

    labels: Tensor
    boxes: Tensor
    mask: Tensor
    box: Tensor
    exists: Tensor


@one_thread()
def matched_losses(
    logits: Sequence[Tensor], boxes: Sequence[Tensor], targets: Targets, padded_hw: tuple[int, int]
) -> dict[str, Tensor]:
    """The losses of queries that were paired with boxes anew after every layer.

    ``classes`` is the varifocal loss, whose positives want the overlap that they have; ``boxes`` the L1 distance of
    shares of the frame; ``overlaps`` is 1 - generalised IoU. These are of the last layer; ``auxiliary`` is the sum of
    all of the others.

    Args:
        logits: (F, Q, K) after each layer.
        boxes: (F, Q, 4) after each layer, shares of the padded frame.
        targets: F frames; boxes without area are none.
        padded_hw: in pixels.
    """
    layers = len(logits)
    repeated = Targets(*(column.repeat(layers, *[1] * (column.ndim - 1)) for column in targets))
    every_logits = torch.cat(list(logits))
    every_boxes = torch.cat(list(boxes))
    box = match_queries(every_logits, every_boxes, repeated, padded_hw)
    sums = summed_losses(every_logits, every_boxes, box, torch.ones_like(box, dtype=torch.bool), repeated, padded_hw)
    positives = per_process(int(targets.is_target.sum()), every_logits.device)
    by_layer = {name: each.unflatten(0, (layers, -1)).sum(dim=1) / positives for name, each in sums.items()}
    auxiliary = torch.stack([each[:-1].sum() for each in by_layer.values()]).sum()
    return {**{name: each[-1] for name, each in by_layer.items()}, "auxiliary": auxiliary}


@torch.no_grad()
def match_queries(logits: Tensor, boxes: Tensor, targets: Targets, padded_hw: tuple[int, int]) -> Tensor:
    """The index (F, Q) int64 of the box of every query, -1 without: the pairs that cost least together.

    A pair costs the focal loss of the class, the L1 distance and the negative generalised IoU. Where a frame has more
    boxes than queries, some boxes teach nothing.

    Args:
        logits, boxes: (F, Q, K) and (F, Q, 4).
        targets: F frames.
        padded_hw: in pixels.
    """
    box = torch.full(logits.shape[:2], -1, device=logits.device)
    if not targets.is_target.any():
        return box
    chance = logits.sigmoid()
    alpha, gamma = FOCAL
    if_found = -alpha * (1 - chance) ** gamma * (chance + 1e-8).log()
    if_not = -(1 - alpha) * chance**gamma * (1 - chance + 1e-8).log()
    labels = targets.labels[:, None].expand(-1, logits.shape[1], -1)
    cost = CLASS_COST * (if_found - if_not).gather(2, labels)
    cost += BOX_COST * torch.cdist(boxes, as_shares(targets.xyxy, padded_hw), p=1)
    cost -= OVERLAP_COST * pairwise_giou(as_pixels(boxes, padded_hw), targets.xyxy)
    query = torch.from_numpy(assigned(cost.numpy(force=True), targets.is_target.numpy(force=True))).to(box.device)
    frame, number = (query >= 0).nonzero(as_tuple=True)
    box[frame, query[frame, number]] = number
    return box


def summed_losses(
    logits: Tensor, boxes: Tensor, box: Tensor, exists: Tensor, targets: Targets, padded_hw: tuple[int, int]
) -> dict[str, Tensor]:
    """The losses ``classes``, ``boxes`` and ``overlaps`` of every frame (F,), summed over its queries.

    Args:
        logits, boxes: (F, Q, K) and (F, Q, 4).
        box: (F, Q), the index of a box, or -1.
        exists: (F, Q) bool, which queries count.
        targets: F frames.
        padded_hw: in pixels.
    """
    frame, query = (box >= 0).nonzero(as_tuple=True)
    number = box[frame, query]
    wanted = targets.xyxy[frame, number]
    chosen = boxes[frame, query]
    found = as_pixels(chosen, padded_hw)
    alpha, gamma = VARIFOCAL
    with torch.no_grad():
        overlap = box_iou(found[:, None], wanted[:, None]).flatten()
        place = (frame, query, targets.labels[frame, number])
        target = torch.zeros_like(logits).index_put(place, overlap.to(logits.dtype))
        weight = (alpha * logits.sigmoid() ** gamma).index_put(place, overlap.to(logits.dtype))
        weight *= exists[..., None]
        if targets.is_ignored.any():
            weight = weight.masked_fill(_excused(boxes, box, targets, padded_hw, logits.shape[2]), 0)
    classes = functional.binary_cross_entropy_with_logits(logits, target, weight=weight, reduction="none")
    distances = (chosen - as_shares(wanted, padded_hw)).abs().sum(dim=1)
    nothing = logits.new_zeros(len(logits))
    return {
        "classes": classes.sum(dim=(1, 2)),
        "boxes": BOX_WEIGHT * nothing.index_add(0, frame, distances),
        "overlaps": OVERLAP_WEIGHT * nothing.index_add(0, frame, giou(found, wanted)),
    }


def _excused(boxes: Tensor, box: Tensor, targets: Targets, padded_hw: tuple[int, int], classes: int) -> Tensor:
    """Which classes of which queries (F, Q, K) are no errors: without a box, and within an ignored one of the class."""
    found = as_pixels(boxes, padded_hw)
    top_left = torch.maximum(found[:, :, None, :2], targets.xyxy[:, None, :, :2])
    bottom_right = torch.minimum(found[:, :, None, 2:], targets.xyxy[:, None, :, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    area = (found[..., 2:] - found[..., :2]).prod(dim=-1)[..., None]
    inside = (shared >= EXCUSED * area) & (shared > 0) & targets.is_ignored[:, None] & (box < 0)[..., None]
    by_class = functional.one_hot(targets.labels, classes).to(boxes.dtype)
    return inside.to(boxes.dtype) @ by_class > 0


@torch.no_grad()
def noisy_queries(targets: Targets, padded_hw: tuple[int, int], *, classes: int, others: int) -> Noise:
    """Copies of the truth with noise in boxes and classes, half of which are to find their box and half to find none.

    Contrastive denoising (Zhang et al., arXiv 2203.03605, section 3.3). What is drawn comes from torch's own generator
    on the CPU, wherever the truth lies.

    Args:
        targets: F frames.
        padded_hw: in pixels.
        classes: K.
        others: queries beside these.
    """
    device = targets.xyxy.device
    frames = len(targets.labels)
    most = min(DENOISING, int(targets.is_target.sum(dim=1).max())) if targets.is_target.numel() else 0
    copies = DENOISING // most if most else 0
    shape = (frames, copies, 2, most)
    chosen = targets.is_target.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
    labels = targets.labels.gather(1, chosen)[:, None, None].expand(shape)
    exists = targets.is_target.gather(1, chosen)[:, None, None].expand(shape)
    is_negative = torch.arange(2, device=device)[:, None].expand(shape).bool()
    box = chosen[:, None, None].expand(shape).masked_fill(is_negative | ~exists, -1)
    is_other = torch.rand(shape) < LABEL_NOISE / 2
    drawn = torch.randint(classes, shape)
    distance = torch.rand(*shape, 4)
    direction = 2 * torch.randint(2, (*shape, 4)) - 1
    labels = torch.where(is_other.to(device), drawn.to(device), labels).masked_fill(~exists, classes)
    xyxy = targets.xyxy.gather(1, chosen[..., None].expand(-1, -1, 4))[:, None, None]
    half = (xyxy[..., 2:] - xyxy[..., :2]).repeat(1, 1, 1, 1, 2) / 2
    moved = xyxy + BOX_NOISE * half * direction.to(device) * (distance.to(device) + is_negative[..., None])
    height, width = padded_hw
    moved = torch.minimum(moved.clamp(min=0), moved.new_tensor([width, height, width, height]))
    boxes = as_shares(moved, padded_hw).clamp(min=0).masked_fill(~exists[..., None], 0.5)
    copy = torch.arange(copies, device=device).repeat_interleave(2 * most)
    seen = (copy[:, None] == copy) & exists.flatten(1)[:, None]
    mask = functional.pad(seen, (0, others), value=True)
    return Noise(labels.flatten(1), boxes.flatten(1, 3), mask, box.flatten(1), exists.flatten(1))


@one_thread()
def denoising_loss(
    logits: Sequence[Tensor], boxes: Sequence[Tensor], noise: Noise, targets: Targets, padded_hw: tuple[int, int]
) -> Tensor:
    """The sum of all losses of ``noise`` after all layers, divided by the queries that are to find a box.

    Arguments as for ``matched_losses``, of the queries of ``noise``.
    """
    positives = per_process(int((noise.box >= 0).sum()), noise.box.device)
    total = noise.boxes.new_zeros(())
    for layer_logits, layer_boxes in zip(logits, boxes, strict=True):
        sums = summed_losses(layer_logits, layer_boxes, noise.box, noise.exists, targets, padded_hw)
        total = total + torch.stack([each.sum() for each in sums.values()]).sum() / positives
    return total


def as_pixels(boxes: Tensor, padded_hw: tuple[int, int]) -> Tensor:
    """Boxes (..., 4), centre and size as shares of a frame, as xyxy in pixels."""
    height, width = padded_hw
    return box_convert(boxes, "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height])


def as_shares(xyxy: Tensor, padded_hw: tuple[int, int]) -> Tensor:
    """The inverse of ``as_pixels``."""
    height, width = padded_hw
    return box_convert(xyxy / xyxy.new_tensor([width, height, width, height]), "xyxy", "cxcywh")


def pairwise_giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., arXiv 1902.09630): (F, N, 4) and (F, M, 4) xyxy -> (F, N, M)."""
    top_left = torch.minimum(first[:, :, None, :2], second[:, None, :, :2])
    bottom_right = torch.maximum(first[:, :, None, 2:], second[:, None, :, 2:])
    hull = (bottom_right - top_left).prod(dim=-1)
    overlap = box_iou(first, second)
    areas = (first[..., 2:] - first[..., :2]).prod(dim=-1)[:, :, None]
    areas = areas + (second[..., 2:] - second[..., :2]).prod(dim=-1)[:, None]
    union = areas / (1 + overlap)  # as areas = union + intersection
    return overlap - 1 + union / hull.clamp(min=torch.finfo(hull.dtype).tiny)
