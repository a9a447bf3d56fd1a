"""Boxes: their overlaps, their coding against anchors, and how what a head says of every anchor becomes detections."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_convert

from ..checks import InputError, check_at_least
from ..structures import Boxes

FinalScores = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From places, labels and scores (F, M), by which detections were chosen, to those that they are handed out with."""
LARGEST_LOG_SCALE = 4.0
"""A decoded box is at most exp(4) = 55 times its anchor, so that a wild prediction cannot overflow."""


def as_ranked(places: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
    """The scores by which detections were chosen, as they are."""
    return scores


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Pairwise intersection over union: (..., N, 4) and (..., M, 4) xyxy -> (..., N, M).

    Leading axes broadcast. Two boxes without area have IoU 0.
    """
    top_left = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    bottom_right = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    intersection = (bottom_right - top_left).clamp_(min=0).prod(-1)
    union = _area(first)[..., :, None] + _area(second)[..., None, :] - intersection
    return intersection / union.clamp_(min=torch.finfo(union.dtype).tiny)


def _area(xyxy: Tensor) -> Tensor:
    return (xyxy[..., 2:] - xyxy[..., :2]).clamp(min=0).prod(-1)


def encode_boxes(xyxy: Tensor, anchors: Tensor, *, variances: tuple[float, float]) -> Tensor:
    """The deltas that lead from anchors to boxes, as in SSD (Liu et al., arXiv 1512.02325, section 2.2).

    ``((centre - anchor centre) / anchor size / variances[0], log(size / anchor size) / variances[1])``.

    Args:
        xyxy: (..., 4) boxes; a side below 1e-3 pixels counts as that.
        anchors: (..., 4) centre x, centre y, width, height in pixels.
        variances: divisors of the offsets and of the log sizes.
    """
    centre, size = box_convert(xyxy, "xyxy", "cxcywh").split(2, dim=-1)
    anchor_centre, anchor_size = anchors.split(2, dim=-1)
    offset = (centre - anchor_centre) / anchor_size / variances[0]
    log_scale = (size.clamp(min=1e-3) / anchor_size).log() / variances[1]
    return torch.cat([offset, log_scale], dim=-1)


def decode_boxes(deltas: Tensor, anchors: Tensor, *, variances: tuple[float, float]) -> Tensor:
    """The boxes (..., 4) xyxy that ``deltas`` (..., 4) describe: the inverse of ``encode_boxes``."""
    offset, log_scale = deltas.split(2, dim=-1)
    anchor_centre, anchor_size = anchors.split(2, dim=-1)
    centre = anchor_centre + offset * variances[0] * anchor_size
    half = anchor_size * (log_scale * variances[1]).clamp(max=LARGEST_LOG_SCALE).exp() / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def clip_boxes(xyxy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """The part of every box (..., 4) that lies within an image of ``size_hw`` pixels."""
    height, width = size_hw
    return torch.minimum(xyxy.clamp(min=0), xyxy.new_tensor([width, height, width, height]))


def detections(
    scores: Tensor,
    boxes_at: Callable[[Tensor], Tensor],
    *,
    size_hw: tuple[int, int],
    score: float,
    iou: float,
    vote: float,
    candidates: int,
    most: int,
    final_scores: FinalScores = as_ranked,
) -> list[Boxes]:
    """The detections of F frames, best score first: threshold, best candidates, suppression within a class, vote.

    Args:
        scores: (F, A, K) of every class at every place.
        boxes_at: gives the boxes (F, M, 4) xyxy at some places (F, M) of every frame.
        size_hw: of the frames in pixels; boxes are clipped to it, and those wholly outside are left out.
        score: least score of a detection.
        iou: of two detections of one class that overlap by more than this, the better stays; 1: both.
        vote: least overlap of the boxes whose mean a detection becomes, see ``vote_boxes``.
        candidates: the best pairs of place and class per frame that suppression looks at.
        most: detections kept per frame.
        final_scores: gives the scores that detections are handed out with.
    """
    check_at_least(score, 0, "score")
    if not 0 <= iou <= 1:
        raise InputError(f"iou must be 0 to 1, got {iou}.")
    check_at_least(vote, 0, "vote")
    check_at_least(candidates, 1, "candidates")
    check_at_least(most, 1, "most")
    frames, _, classes = scores.shape
    best, pair = scores.flatten(1).topk(min(candidates, scores[0].numel() if frames else 0), dim=1)
    most_chosen = int((~(best < score)).sum(dim=1).max()) if frames else 0  # NaN comes first, and is never chosen
    best = best[:, :most_chosen]
    places, labels = places_and_labels(pair[:, :most_chosen], classes)
    found = candidate_boxes(boxes_at(places), labels, best, size_hw=size_hw, score=score)
    frame = torch.arange(frames, device=best.device)[:, None]
    group = (frame * classes + found.labels)[found.is_box]
    survivors = grouped_nms(found.xyxy[found.is_box], found.scores[found.is_box], group, iou=iou)
    kept = torch.zeros_like(found.is_box)
    kept[found.is_box.nonzero()[survivors].unbind(1)] = True
    counts = kept.sum(dim=1).clamp(max=most)
    stays = kept.byte().argsort(dim=1, descending=True, stable=True)[:, : max(counts.tolist(), default=0)]
    is_kept = kept.gather(1, stays)
    xyxy, labels, best = finished(found, places, stays, is_kept, size_hw=size_hw, vote=vote, final_scores=final_scores)
    return [Boxes(xyxy[i, :count], labels[i, :count], best[i, :count]) for i, count in enumerate(counts.tolist())]


class Candidates(NamedTuple):
    """The best pairs of place and class of F frames, best first; what ``is_box`` denies has score and corners 0.

    xyxy: (F, M, 4), clipped to the frame. labels: (F, M). scores: (F, M). is_box: (F, M) bool.
    """

    xyxy: Tensor
    labels: Tensor
    scores: Tensor
    is_box: Tensor


def places_and_labels(pairs: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Of the numbers of pairs in (A, K) of every frame, their places and their labels."""
    return pairs // classes, pairs % classes


def candidate_boxes(
    xyxy: Tensor, labels: Tensor, scores: Tensor, *, size_hw: tuple[int, int], score: float
) -> Candidates:
    """The boxes of the best pairs of place and class, of which those of too low a score and those outside are none.

    Args:
        xyxy: (F, M, 4), which may reach beyond the frames.
        labels: (F, M).
        scores: (F, M), best first.
        size_hw: of the frames in pixels.
        score: least score of a box.
    """
    xyxy = clip_boxes(xyxy, size_hw)
    is_box = (scores >= score) & (xyxy[..., :2] < xyxy[..., 2:]).all(dim=-1)
    # a box of NaN would spoil the others
    return Candidates(xyxy.where(is_box[..., None], 0), labels, scores.where(is_box, 0), is_box)


def finished(
    found: Candidates,
    places: Tensor,
    stays: Tensor,
    is_kept: Tensor,
    *,
    size_hw: tuple[int, int],
    vote: float,
    final_scores: FinalScores,
) -> tuple[Tensor, Tensor, Tensor]:
    """Corners (F, K, 4), labels (F, K) and scores (F, K) of the candidates that stay, best score first.

    Args:
        found: M candidates a frame.
        places: (F, M) of them.
        stays: (F, K) which of them stay, best first.
        is_kept: (F, K) bool; what it denies comes last, and is nothing.
        size_hw: of the frames in pixels.
        vote: boxes are moved by ``vote_boxes`` within the frame.
        final_scores: as for ``detections``.
    """
    labels = found.labels.gather(1, stays)
    scores = found.scores.gather(1, stays)
    xyxy = rows_at(found.xyxy, stays)
    if vote <= 1:
        xyxy = vote_boxes(xyxy, labels, found.xyxy, found.labels, found.scores, iou=vote)
        xyxy = clip_boxes(xyxy, size_hw)  # a mean of equal numbers may be off by its rounding
    final = final_scores(places.gather(1, stays), labels, scores)
    if final is scores:
        return xyxy, labels, scores
    order = _best_first(final.masked_fill(~is_kept, -1))
    return rows_at(xyxy, order), labels.gather(1, order), final.gather(1, order)


def _best_first(scores: Tensor) -> Tensor:
    """The numbers (F, K) of the scores (F, K) of every frame, from the best to the least, equal ones in their order.

    A stable sort, which has no translation to ONNX: the place of each is the number of those before it.
    """
    number = torch.arange(scores.shape[1], device=scores.device)
    mine = scores[:, :, None]
    others = scores[:, None]
    is_before = (others > mine) | ((others == mine) & (number < number[:, None]))
    return torch.zeros_like(scores, dtype=torch.int64).scatter(1, is_before.sum(dim=2), number.expand(scores.shape))


def rows_at(x: Tensor, index: Tensor) -> Tensor:
    """Of (F, N, C) those rows of every frame that (F, M) names."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def grouped_nms(xyxy: Tensor, scores: Tensor, groups: Tensor, *, iou: float) -> Tensor:
    """Indices of the boxes that survive non-maximum suppression within their group, best score first, ties in order.

    One call for any number of groups (frame and class), in float64, so that the result does not depend on what else is
    in the call.

    Args:
        xyxy: (N, 4) boxes.
        scores: (N,).
        groups: (N,) int64 from 0; boxes of different groups never suppress each other.
        iou: a box that overlaps a better one by more than this goes.
    """
    if not len(xyxy):
        return groups
    from_zero = xyxy.double() - xyxy.min()  # batched_nms mixes up the groups of negative coordinates
    kept = batched_nms(from_zero, scores.double(), groups, iou).sort().values
    return kept[scores[kept].argsort(descending=True, stable=True)]


def vote_boxes(
    xyxy: Tensor, labels: Tensor, voters: Tensor, voter_labels: Tensor, scores: Tensor, *, iou: float
) -> Tensor:
    """Every box moved to the mean of the voters of its frame and label that overlap it: (F, K, 4).

    Voters are weighted by their squared scores. A box that no voter overlaps stays where it is. A voter of which a
    number is NaN has no vote.

    Args:
        xyxy: (F, K, 4) boxes of F frames.
        labels: (F, K).
        voters: (F, M, 4).
        voter_labels: (F, M).
        scores: (F, M) of the voters; score 0 has no vote.
        iou: least overlap of a voter; above 1, nobody votes.
    """
    votes = (box_iou(xyxy, voters) >= iou) & (labels[:, :, None] == voter_labels[:, None, :])
    scores, voters = (each.masked_fill(each.isnan(), 0) for each in (scores, voters))  # 0 * NaN would be NaN
    weights = (votes * scores[:, None, :].square()).to(xyxy.dtype)
    total = weights.sum(dim=-1, keepdim=True)
    with torch.autocast(xyxy.device.type, enabled=False):  # bfloat16 is too coarse for pixels
        mean = weights @ voters / total.clamp(min=torch.finfo(total.dtype).tiny)
    return torch.where(total > 0, mean, xyxy)
