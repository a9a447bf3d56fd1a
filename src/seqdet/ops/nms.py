"""Keep the best of the boxes that say the same thing."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import batched_nms


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
