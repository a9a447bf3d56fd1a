"""Boxes as the reference has them: arrays of the EventBbox type, rows of numbers, and their coding against anchors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from ..checks import InputError, check_choice, check_shape
from ..config import NO_VOTE
from ..data.labels import EVENT_BBOX as EventBbox
from ..models import single_shot
from ..ops.boxes import box_iou as box_iou
from ..ops.boxes import decode_boxes, detections, encode_boxes, rows_at
from ..ops.losses import match_anchors, pad_targets
from ..structures import Boxes

LABEL_OFFSET = 1
"""Class ids in labels: 0 is background."""
ANCHORS = {"PSEE_ANCHORS": "psee", "COCO_ANCHORS": "coco", "MNIST_ANCHORS": "digits"}
"""Anchor lists by their name in a ``ModelConfig``."""
PRESETS = {theirs: single_shot.PRESETS[ours] for theirs, ours in ANCHORS.items()}
FIELDS = {"labels": "class_id", "scores": "class_confidence", "track_ids": "track_id"}
"""Of the EventBbox type, by the arguments of ``box_vectors_to_bboxes``."""


def box_vectors_to_bboxes(
    boxes: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    scores: Tensor | np.ndarray | None = None,
    track_ids: Tensor | np.ndarray | None = None,
    ts: int = 0,
) -> np.ndarray:
    """The boxes as an EventBbox array (N,).

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        labels: (N,) class ids, written as they are.
        scores: (N,); 1 if None.
        track_ids: (N,); 0 if None.
        ts: microseconds, of all boxes.
    """
    xyxy = _array(boxes)
    check_shape(xyxy, "N 4", "boxes")
    bboxes = np.zeros(len(xyxy), EventBbox)
    bboxes["t"] = ts
    bboxes["x"] = xyxy[:, 0]
    bboxes["y"] = xyxy[:, 1]
    bboxes["w"] = xyxy[:, 2] - xyxy[:, 0]
    bboxes["h"] = xyxy[:, 3] - xyxy[:, 1]
    bboxes["class_confidence"] = 1
    for name, column in (("labels", labels), ("scores", scores), ("track_ids", track_ids)):
        if column is not None:
            values = _array(column)
            check_shape(values, "N", name, N=len(xyxy))
            if name != "scores" and values.size and values.min() < 0:
                raise InputError(f"{name} must be at least 0, got {values.min()}.")
            bboxes[FIELDS[name]] = values
    return bboxes


def bboxes_to_box_vectors(bboxes: Any) -> Any:
    """The inverse: rows (N, 6) float32 of x1, y1, x2, y2, class id, score. Nested lists give nested lists."""
    if isinstance(bboxes, list | tuple):
        return [bboxes_to_box_vectors(each) for each in bboxes]
    columns = (
        *(bboxes["x"], bboxes["y"]),
        *(bboxes["x"] + bboxes["w"], bboxes["y"] + bboxes["h"]),
        *(bboxes["class_id"], bboxes["class_confidence"]),
    )
    return np.stack(columns, axis=-1, dtype=np.float32)


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.numpy(force=True) if isinstance(values, torch.Tensor) else np.asarray(values)


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


class Anchors(nn.Module):
    """Boxes of fixed shapes on the grid of every map; ``anchors(features, x)`` gives (N, 4) in centre form, pixels.

    Args:
        num_levels: maps, finest first.
        anchor_list: a key of ``PRESETS``, or a (ratio, scale) for each anchor of a cell, ratio being height over width;
            a scale of 1 is 4 single_shot.
        variances: divisors of the coded offsets and log sizes.
        fg_iou_threshold: an anchor that overlaps a box by this is responsible for it; every box has its best.
        bg_iou_threshold: an anchor that overlaps no box by this is background; those between are ignored.
    """

    def __init__(
        self,
        num_levels: int = 5,
        anchor_list: str | Sequence[tuple[float, float]] = "PSEE_ANCHORS",
        variances: Sequence[float] = (0.1, 0.2),
        fg_iou_threshold: float = 0.5,
        bg_iou_threshold: float = 0.4,
    ) -> None:
        super().__init__()
        if isinstance(anchor_list, str):
            check_choice(anchor_list, PRESETS, "anchor_list")
            self.preset = PRESETS[anchor_list]
        else:
            self.preset = single_shot.AnchorPreset(4.0, tuple((ratio, scale) for ratio, scale in anchor_list))
        offset, size = variances
        self.num_levels = num_levels
        self.variances = (offset, size)
        self.fg_iou_threshold = fg_iou_threshold
        self.bg_iou_threshold = bg_iou_threshold

    @property
    def num_anchors(self) -> int:
        """Anchors of a cell."""
        return len(self.preset.shapes)

    def forward(self, features: Sequence[Tensor], x: Tensor) -> Tensor:
        """The anchors of ``features``, each (F, C, h, w), of frames ``x`` (..., H, W).

        The stride of a map is the power of two nearest to H / h, so padded frames are no matter.
        """
        if len(features) != self.num_levels:
            raise InputError(f"features must be {self.num_levels} maps, got {len(features)}.")
        strides = [2 ** round(math.log2(x.shape[-2] / feature.shape[-2])) for feature in features]
        sizes = [(feature.shape[-2], feature.shape[-1]) for feature in features]
        return single_shot.Anchors(self.preset, strides)(sizes, features[0].device)

    def encode(
        self, features: Sequence[Tensor], x: Tensor, targets: Sequence[Tensor | np.ndarray]
    ) -> dict[str, Tensor]:
        """What every anchor shall say of F frames.

        Args:
            features: maps, only their sizes count.
            x: frames, only their sides count.
            targets: F entries (n, >= 5): x1, y1, x2, y2, class from 1 on; or EventBbox arrays.

        Returns:
            ``loc`` (F, N, 4), coded boxes, 0 where there is none; ``cls`` (F, N) int64: a class, 0 background,
            -1 ignored.
        """
        if len(targets) != len(features[0]):
            raise InputError(f"targets must be one for each of the {len(features[0])} frames, got {len(targets)}.")
        anchors = self(features, x)
        padded = pad_targets([_boxes(target) for target in targets], anchors.device)
        matched = match_anchors(
            box_convert(anchors, "cxcywh", "xyxy"),
            padded,
            foreground=self.fg_iou_threshold,
            background=self.bg_iou_threshold,
        )
        frame, anchor = (matched >= 0).nonzero(as_tuple=True)
        box = matched[frame, anchor]
        cls = (matched + 1).clamp(max=0)  # background is -1 in a match, ignored -2
        cls[frame, anchor] = padded.labels[frame, box] + LABEL_OFFSET
        loc = anchors.new_zeros(*matched.shape, 4)
        loc[frame, anchor] = encode_boxes(padded.xyxy[frame, box], anchors[anchor], variances=self.variances)
        return {"loc": loc, "cls": cls}

    @torch.no_grad()
    def decode(
        self,
        features: Sequence[Tensor],
        x: Tensor,
        loc_preds: Tensor,
        scores: Tensor,
        batch_size: int,
        score_thresh: float = 0.5,
        nms_thresh: float = 0.5,
        max_boxes_per_input: int = 500,
    ) -> list[list[dict[str, Any]]]:
        """Detections of T * B frames, ``[t][b]``: see ``nested``.

        Args:
            features, x: as in ``encode``.
            loc_preds: (T * B, N, 4) from the head.
            scores: (T * B, N, classes without background), as ``BoxHead.get_scores`` gives them.
            batch_size: B.
            score_thresh: least score.
            nms_thresh: of two boxes of a class that overlap by more, the better stays.
            max_boxes_per_input: the best so many candidates of a frame are looked at.
        """
        deltas = loc_preds.float()
        anchors = self(features, x).to(loc_preds.device)
        found = detections(
            scores.float(),
            lambda places: decode_boxes(rows_at(deltas, places), anchors[places], variances=self.variances),
            size_hw=(x.shape[-2], x.shape[-1]),
            score=score_thresh,
            iou=nms_thresh,
            vote=NO_VOTE,
            candidates=max_boxes_per_input,
            most=max_boxes_per_input,
        )
        return nested(found, batch_size)


def nested(found: Sequence[Boxes], batch_size: int) -> list[list[dict[str, Any]]]:
    """Detections in (t, b) order as ``[t][b]`` dictionaries.

    ``boxes`` (n, 4) x1, y1, x2, y2, ``labels`` (n,) from 1 on, ``scores`` (n,); all None where nothing was found.
    """
    if len(found) % batch_size:
        raise InputError(f"batch_size must divide the {len(found)} frames, got {batch_size}.")
    flat = [
        {"boxes": boxes.xyxy, "labels": boxes.labels + LABEL_OFFSET, "scores": boxes.scores}
        if len(boxes)
        else {"boxes": None, "labels": None, "scores": None}
        for boxes in found
    ]
    return [flat[start : start + batch_size] for start in range(0, len(flat), batch_size)]


def _boxes(target: Tensor | np.ndarray) -> Boxes:
    if not isinstance(target, Tensor | np.ndarray):
        raise InputError(f"targets must be one array a frame, flat in (t, b) order, got a {type(target).__name__}.")
    is_table = isinstance(target, np.ndarray) and target.dtype.names is not None
    rows = torch.as_tensor(bboxes_to_box_vectors(target) if is_table else target)
    if rows.ndim != 2 or rows.shape[1] < 5:
        raise InputError(f"targets must be rows of x1, y1, x2, y2, class, got shape {tuple(rows.shape)}.")
    labels = rows[:, 4].long() - LABEL_OFFSET
    if len(labels) and int(labels.min()) < 0:
        raise InputError("targets must have classes from 1 on: 0 is background.")
    return Boxes(rows[:, :4].float(), labels)
