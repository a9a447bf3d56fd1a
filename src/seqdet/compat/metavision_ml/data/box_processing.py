"""Boxes as arrays of the EventBbox type, and as plain rows of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....checks import InputError, check_shape
from ....data.labels import EVENT_BBOX as EventBbox

__all__ = ["EventBbox", "bboxes_to_box_vectors", "box_vectors_to_bboxes"]


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
    bboxes["x"], bboxes["y"] = xyxy[:, 0], xyxy[:, 1]
    bboxes["w"], bboxes["h"] = xyxy[:, 2] - xyxy[:, 0], xyxy[:, 3] - xyxy[:, 1]
    bboxes["class_confidence"] = 1
    columns = {"labels": labels, "scores": scores, "track_ids": track_ids}
    fields = {"labels": "class_id", "scores": "class_confidence", "track_ids": "track_id"}
    for name, column in columns.items():
        if column is not None:
            values = _array(column)
            check_shape(values, "N", name, N=len(xyxy))
            if name != "scores" and values.size and values.min() < 0:
                raise InputError(f"{name} must be at least 0, got {values.min()}.")
            bboxes[fields[name]] = values
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
