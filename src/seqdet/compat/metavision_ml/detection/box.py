"""Forms of boxes, and their coding against anchors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torchvision.ops import box_convert

from ....ops.boxes import box_iou, decode_boxes, encode_boxes

__all__ = ["bbox_to_deltas", "box_iou", "deltas_to_bbox", "xywh2xyxy", "xyxy2xywh"]


def xywh2xyxy(xywh: Tensor) -> Tensor:
    """Centre x, centre y, width, height -> x1, y1, x2, y2: (..., 4) -> (..., 4)."""
    return box_convert(xywh, "cxcywh", "xyxy")


def xyxy2xywh(xyxy: Tensor) -> Tensor:
    """x1, y1, x2, y2 -> centre x, centre y, width, height: (..., 4) -> (..., 4)."""
    return box_convert(xyxy, "xyxy", "cxcywh")


def deltas_to_bbox(deltas: Tensor, anchors: Tensor, variances: Sequence[float] = (0.1, 0.2)) -> Tensor:
    """The boxes x1, y1, x2, y2 that deltas describe: (..., N, 4) and (N, 4) in centre form -> (..., N, 4)."""
    offset, scale = variances
    return decode_boxes(deltas, anchors, variances=(offset, scale))


def bbox_to_deltas(boxes: Tensor, anchors: Tensor, variances: Sequence[float] = (0.1, 0.2)) -> Tensor:
    """The inverse: deltas that lead from anchors (N, 4) in centre form to boxes (..., N, 4) x1, y1, x2, y2."""
    offset, scale = variances
    return encode_boxes(boxes, anchors, variances=(offset, scale))
