"""Keep the best of the boxes that say the same thing."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import nms


def grouped_nms(xyxy: Tensor, scores: Tensor, groups: Tensor, *, iou: float) -> Tensor:
    """Indices of the boxes that survive non-maximum suppression within their group, best score first.

    One call for any number of groups (frame and class): the groups are moved apart, in float64, so that the result
    does not depend on what else is in the call.

    Args:
        xyxy: (N, 4) boxes.
        scores: (N,).
        groups: (N,) int64 from 0; boxes of different groups never suppress each other.
        iou: a box that overlaps a better one by more than this goes.
    """
    if not len(xyxy):
        return groups
    apart = xyxy.double()
    reach = apart.max() - apart.min() + 1
    return nms(apart + (groups * reach)[:, None], scores.double(), iou)
