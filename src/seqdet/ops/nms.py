"""Keep the best of the boxes that say the same thing."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from .boxes import box_iou


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
