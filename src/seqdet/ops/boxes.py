"""Overlaps and the coding of boxes against anchors."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_convert

LARGEST_LOG_SCALE = 4.0
"""A decoded box is at most exp(4) = 55 times its anchor, so that a wild prediction cannot overflow."""


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
