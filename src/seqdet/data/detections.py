"""Detections and tracks in numpy: their tables, the conversions between them, and how far boxes overlap.

``Detections`` has corners and class labels, as ``Boxes`` of torch; ``EVENT_BBOX`` and ``TRACKED_BOX``, rows of files,
have a corner and a size. Without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from ..checks import InputError
from .labels import EVENT_BBOX, are_boxes

if TYPE_CHECKING:
    from ..structures import Boxes

TRACKED_BOX = np.dtype(
    [
        ("t", "<i8"),
        ("x", "<f4"),
        ("y", "<f4"),
        ("w", "<f4"),
        ("h", "<f4"),
        ("class_id", "<u4"),
        ("track_id", "<i4"),
        ("class_confidence", "<f4"),
        ("tracking_confidence", "<f4"),
        ("last_detection_update_time", "<i8"),
        ("nb_detections", "<i4"),
    ],
    align=True,
)
"""One box of one track at one time, 56 bytes: what ``EVENT_BBOX`` says, then how sure the track is, in [0, 1], the
microseconds of its last detection and how many it had. ``class_confidence`` is the score of the last detection.
Fields of ``EventTrackedBox`` in OpenEB (Apache-2.0)."""


class Detections(NamedTuple):
    """The detections of one frame, best first.

    xyxy: (N, 4) float32, pixels of the frame, half open.
    labels: (N,) int64, class indices from 0.
    scores: (N,) float32.
    """

    xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, boxes: Boxes) -> Detections:
        """Those that boxes on any device describe, which have scores."""
        assert boxes.scores is not None
        return cls(*(column.numpy(force=True) for column in (boxes.xyxy, boxes.labels, boxes.scores)))

    def rows(self, time_us: int) -> np.ndarray:
        """(N,) ``EVENT_BBOX`` at one time, of track 0."""
        rows = box_rows(self.xyxy.astype(np.float64), self.labels, time_us)
        rows["class_confidence"] = self.scores
        return rows


def event_boxes(boxes: Boxes, time_us: int, *, scale_xy: tuple[float, float] = (1, 1)) -> np.ndarray:
    """The boxes of a frame as (N,) ``EVENT_BBOX``, their pixels times ``scale_xy``; ignored ones of confidence 0."""
    rows = box_rows(
        boxes.xyxy.double().numpy(force=True) * np.tile(scale_xy, 2), boxes.labels.numpy(force=True), time_us
    )
    rows["class_confidence"] = 1
    if boxes.track_ids is not None:
        rows["track_id"] = boxes.track_ids.numpy(force=True)
    if boxes.is_ignored is not None:
        rows["class_confidence"] = ~boxes.is_ignored.numpy(force=True)
    if boxes.scores is not None:
        rows["class_confidence"] = boxes.scores.float().numpy(force=True)
    return rows


def box_rows(xyxy: np.ndarray, labels: np.ndarray, time_us: int) -> np.ndarray:
    """(N,) ``EVENT_BBOX`` at one time, without identities and scores.

    Args:
        xyxy: (N, 4) pixels.
        labels: (N,) class indices.
        time_us: of all.
    """
    rows = np.zeros(len(xyxy), EVENT_BBOX)
    rows["t"] = time_us
    rows["class_id"] = labels
    for name, column in zip("xywh", (*xyxy[:, :2].T, *(xyxy[:, 2:] - xyxy[:, :2]).T), strict=True):
        rows[name] = column
    return rows


def corners(rows: np.ndarray) -> np.ndarray:
    """(N, 4) float64 x1, y1, x2, y2 of rows with fields x, y, w, h."""
    x, y, w, h = (rows[name].astype(np.float64) for name in ("x", "y", "w", "h"))
    return np.stack([x, y, x + w, y + h], axis=1)


@njit(cache=True, nogil=True)
def overlap(box, other, of_box):
    """Intersection over union of two boxes x1, y1, x2, y2, or over the area of the first; 0 where it is empty."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = (box[2] - box[0]) * (box[3] - box[1])
    whole = area if of_box else area + (other[2] - other[0]) * (other[3] - other[1]) - width * height
    return width * height / whole


def overlaps(first: np.ndarray, second: np.ndarray, *, of_first: bool = False) -> np.ndarray:
    """(N, M) float64 ``overlap`` of rows with fields x, y, w, h; over the areas of the first with ``of_first``."""
    return _overlaps(corners(first), corners(second), of_first)


@njit(cache=True, nogil=True)
def _overlaps(first, second, of_first):
    result = np.zeros((len(first), len(second)))
    for n in range(len(first)):
        for m in range(len(second)):
            result[n, m] = overlap(first[n], second[m], of_first)
    return result


def best_pairs(similarity: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of (N, M) similarities that belong together, best first; each is in one pair at most."""
    rows, columns = np.nonzero((similarity >= least) & (similarity > 0))
    chosen = []
    is_row_taken = np.zeros(len(similarity), bool)
    is_column_taken = np.zeros(similarity.shape[1], bool)
    for k in np.argsort(-similarity[rows, columns], kind="stable"):
        if not is_row_taken[rows[k]] and not is_column_taken[columns[k]]:
            is_row_taken[rows[k]] = is_column_taken[columns[k]] = True
            chosen.append(k)
    return rows[chosen], columns[chosen]


def first_of_close(is_close: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(N,) which are close, by (N, N), to none of those that come before them in order and are such themselves."""
    kept = np.zeros(len(is_close), bool)
    for k in order:
        kept[k] = not is_close[k, kept].any()
    return kept


def best_of_place(boxes: np.ndarray, most: float) -> np.ndarray:
    """Those of (N,) boxes that overlap no better one of any class by more than ``most``: one class for one object."""
    order = np.argsort(-boxes["class_confidence"], kind="stable")
    return boxes[first_of_close(overlaps(boxes, boxes) > most, order)]


def checked_detections(boxes: np.ndarray) -> np.ndarray:
    """``boxes``, which must be detections: rows of ``EVENT_BBOX`` with scores.

    Raises:
        InputError: if they have other fields, or numbers that a detection cannot have.
    """
    if boxes.dtype.names != EVENT_BBOX.names or boxes.ndim != 1:
        raise InputError(f"boxes must be rows with {', '.join(EVENT_BBOX.names or ())}, got {boxes.dtype}.")
    scores = boxes["class_confidence"]
    if not (are_boxes(boxes) & np.isfinite(scores) & (scores >= 0)).all():
        raise InputError("boxes must have finite corners, and sizes and scores of at least 0, got others.")
    return boxes
