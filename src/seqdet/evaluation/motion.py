"""How objects move, by the tracks of their labels: what tells how hard they are to see for an event camera."""

from __future__ import annotations

import numpy as np
from numba import njit

STILL_TOLERANCE = 0.5
"""Pixels by which the centre, the width and the height of a box that stands still may differ."""


def has_tracks(labels: np.ndarray) -> bool:
    """Whether no two labels of one time are of one track, so that the functions here mean something."""
    return len(np.unique(labels[["class_id", "track_id", "t"]])) == len(labels)


def speed(labels: np.ndarray) -> np.ndarray:
    """(N,) float64 speed of the centre of every box in pixels per second, NaN in tracks of one time.

    It is that between the box before and the box after on the track; at its ends between the box and its neighbour.

    Args:
        labels: (N,) ``EVENT_BBOX`` of one recording.
    """
    order, edges = _tracks(labels)
    x, y, t = (column[order] for column in (*_geometry(labels)[:2], labels["t"].astype(np.int64)))
    place = np.arange(len(order))
    before, after = (
        np.maximum(place - 1, edges[:-1][_track_of(edges)]),
        np.minimum(place + 1, edges[1:][_track_of(edges)] - 1),
    )
    seconds = (t[after] - t[before]) / 1e6
    result = np.full(len(labels), np.nan)
    length = np.hypot(x[after] - x[before], y[after] - y[before])
    result[order] = np.divide(length, seconds, out=np.full(len(order), np.nan), where=seconds > 0)
    return result


def still_us(labels: np.ndarray, *, tolerance: float = STILL_TOLERANCE) -> np.ndarray:
    """(N,) int64 microseconds for which the box of every label has stood still; 0 where it moved or is the first.

    A box stands still while it differs by no more than ``tolerance`` from where it came to rest, not just from the
    label before: slow drift is motion.

    Args:
        labels: (N,) ``EVENT_BBOX`` of one recording.
        tolerance: pixels by which the centre and the sizes may differ.
    """
    order, edges = _tracks(labels)
    shape = np.stack(_geometry(labels), 1)[order]
    result = np.zeros(len(labels), np.int64)
    result[order] = _still(shape, labels["t"][order].astype(np.int64), edges, tolerance)
    return result


def quiet_us(labels: np.ndarray, events: np.ndarray, *, least: int = 1) -> np.ndarray:
    """(N,) int64 microseconds since the last label of the same track whose box had events; since its first if none.

    Args:
        labels: (N,) ``EVENT_BBOX`` of one recording.
        events: (N,) how many events were in each box since the label before.
        least: so many of them count as some.
    """
    order, edges = _tracks(labels)
    t = labels["t"][order].astype(np.int64)
    is_start = np.zeros(len(order), bool)
    is_start[edges[:-1]] = True
    last = np.maximum.accumulate(np.where(is_start | (events[order] >= least), np.arange(len(order)), 0))
    result = np.zeros(len(labels), np.int64)
    result[order] = t - t[last]
    return result


def _geometry(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Centre and size as float64: x, y, width, height."""
    x, y, width, height = (labels[name].astype(np.float64) for name in ("x", "y", "w", "h"))
    return x + width / 2, y + height / 2, width, height


def _tracks(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order by track and then time, and where every track starts in it, with the end of the last one."""
    order = np.lexsort((labels["t"], labels["track_id"], labels["class_id"]))
    keys = labels[order][["class_id", "track_id"]]
    return order, np.r_[np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]][: len(keys)]), len(keys)]


def _track_of(edges: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(edges) - 1), np.diff(edges))


@njit(cache=True, nogil=True)
def _still(shape, t, edges, tolerance):
    result = np.zeros(len(t), np.int64)
    for track in range(len(edges) - 1):
        rest = edges[track]
        for n in range(edges[track], edges[track + 1]):
            if np.abs(shape[n] - shape[rest]).max() > tolerance:
                rest = n
            result[n] = t[n] - t[rest]
    return result
