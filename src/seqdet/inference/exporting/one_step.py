"""A detector with its decoding as one graph of fixed shapes: what is exported."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from ...models.detector import Detector
from ...ops.boxes import clip_boxes, decode_boxes
from ...ops.nms import vote_boxes

Suppress = Callable[[Tensor, Tensor, float], Tensor]


def survivors(xyxy: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Which boxes non-maximum suppression within a frame and class leaves: (F, M) bool.

    Args:
        xyxy: (F, M, 4) boxes within the frame.
        scores: (F, K, M), of every box in its own class, and 0 in the others; 0 in all: it does not count.
        iou: a box that overlaps a better one of its class by more than this goes.
    """
    best, label = scores.max(dim=1)
    group = label + scores.shape[1] * torch.arange(scores.shape[0])[:, None]
    apart = xyxy.double() + (group * (xyxy.max() + 1).double())[..., None]
    kept = nms(apart.flatten(0, 1), best.double().flatten(), iou)
    return torch.zeros(best.numel(), dtype=torch.bool).index_fill(0, kept, True).view_as(best) & (best > 0)


marked_survivors = torch.library.custom_op("seqdet::survivors", survivors, mutates_args=())
"""The same as one operation, for which ``onnx_survivors`` stands in a file."""
marked_survivors.register_fake(lambda xyxy, scores, iou: xyxy.new_empty(xyxy.shape[:2], dtype=torch.bool))


def onnx_survivors(xyxy: Any, scores: Any, iou: float) -> Any:
    """``survivors`` in the operations of ONNX, which keep frames and classes apart themselves."""
    op: Any = import_module("onnxscript").opset18

    def numbers(*values: int) -> Any:
        return op.Constant(value_ints=values)

    most, threshold = numbers(CANDIDATES), op.Constant(value_floats=[iou])
    kept = op.NonMaxSuppression(xyxy, scores, most, threshold, op.Constant(value_floats=[0.0]))  # frame, class, box
    places = op.Gather(kept, numbers(0, 2), axis=1)
    nothing = op.Expand(numbers(0), op.Shape(xyxy, start=0, end=2))
    return op.Cast(op.ScatterND(nothing, places, op.Expand(numbers(1), op.Shape(places, start=0, end=1))), to=9)


CANDIDATES, MOST = 300, 100
"""Pairs of anchor and class that suppression looks at, and detections of a frame: those of ``Detector.decode``."""


class OneStep(nn.Module):
    """Frames and memory in, detections and memory out.

    Equal to ``Detector.decode`` with its own thresholds, but every frame has ``MOST`` rows: the first ``counts`` are
    detections, the others zeros.

    Args:
        detector: in evaluation mode, on the CPU.
        score: least score of a detection, above 0.
        suppress: ``survivors`` or ``marked_survivors``.

    Shapes:
        frames (B, C, H, W); state, each (B, channels, h, w) float32, zeros for a lane that starts;
        xyxy (B, MOST, 4) float32, labels (B, MOST) int64, scores (B, MOST) float32, counts (B,) int64, the state after,
        and what was decoded: deltas (B, A, 4) and logits (B, A, K or K + 1) float32.
    """

    def __init__(self, detector: Detector, score: float, suppress: Suppress) -> None:
        super().__init__()
        self.detector, self.score, self.suppress = detector, score, suppress

    def forward(self, frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        outputs, after = self.detector(frames[None], state)
        every = self.detector.head.scores(outputs.logits)
        classes = every.shape[2]
        scores, pair = every.flatten(1).topk(CANDIDATES, dim=1)  # the smallest frame has more
        anchor, labels = pair // classes, pair % classes
        deltas, variances = _rows(outputs.deltas, anchor), self.detector.criterion.variances
        xyxy = clip_boxes(decode_boxes(deltas, outputs.anchors[anchor], variances=variances), outputs.size_hw)
        is_box = (scores >= self.score) & (xyxy[..., :2] < xyxy[..., 2:]).all(dim=-1)
        scores, xyxy = scores.where(is_box, 0), xyxy.where(is_box[..., None], 0)  # a box of NaN would spoil the others
        by_class = scores[:, None] * (labels[:, None] == torch.arange(classes)[:, None])
        rank = self.suppress(xyxy, by_class, 0.5) * torch.arange(CANDIDATES, 0, -1)  # 0 where a box goes
        places, stays = rank.topk(MOST, dim=1)
        final = vote_boxes(_rows(xyxy, stays), labels.gather(1, stays), xyxy, labels, scores, iou=0.7)
        is_found = places > 0
        final = clip_boxes(final, outputs.size_hw) * is_found[..., None]
        labels, scores = (each.gather(1, stays) * is_found for each in (labels, scores))
        memory = (each.float() for each in after)
        return final, labels, scores, is_found.sum(dim=1), *memory, outputs.deltas, outputs.logits


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Of (F, N, 4) those rows of every frame that (F, M) names."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))
