"""Boxes that were found, and followed: their tables, how far they overlap, and which belong together."""

from __future__ import annotations

import numpy as np

from ..checks import InputError
from .labels import EVENT_BBOX

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


def overlaps(first: np.ndarray, second: np.ndarray, *, of_first: bool = False) -> np.ndarray:
    """(N, M) float64 intersections of boxes with fields x, y, w, h, over their union; 0 where that is empty.

    Args:
        first: (N,).
        second: (M,).
        of_first: divide by the area of the first instead.
    """
    areas, corners = [], []
    for boxes in (first, second):
        x, y, w, h = (boxes[name].astype(np.float64) for name in ("x", "y", "w", "h"))
        areas.append(w * h)
        corners.append((np.stack([x, y], axis=1), np.stack([x + w, y + h], axis=1)))
    (lows, highs), (other_lows, other_highs) = corners
    sides = np.minimum(highs[:, None], other_highs) - np.maximum(lows[:, None], other_lows)
    both = sides.clip(0).prod(axis=2)
    whole = np.broadcast_to(areas[0][:, None], both.shape) if of_first else areas[0][:, None] + areas[1] - both
    return np.divide(both, whole, out=np.zeros_like(both), where=whole > 0)


def best_pairs(similarity: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of (N, M) similarities that belong together, best first; each is in one pair at most."""
    rows, columns = np.nonzero((similarity >= least) & (similarity > 0))
    chosen, is_row_taken, is_column_taken = [], np.zeros(len(similarity), bool), np.zeros(similarity.shape[1], bool)
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


def checked_boxes(boxes: np.ndarray) -> np.ndarray:
    """``boxes``, which must be detections: rows of ``EVENT_BBOX`` with scores.

    Raises:
        InputError: if they have other fields, or numbers that a detection cannot have.
    """
    if boxes.dtype.names != EVENT_BBOX.names or boxes.ndim != 1:
        raise InputError(f"boxes must be rows with {', '.join(EVENT_BBOX.names or ())}, got {boxes.dtype}.")
    numbers = np.stack([boxes[name] for name in ("x", "y", "w", "h", "class_confidence")])
    if not np.isfinite(numbers).all() or (numbers[2:] < 0).any():
        raise InputError("boxes must have finite corners, and sizes and scores of at least 0, got others.")
    return boxes
