"""Scores by what the objects do: how fast they move, and for how long they have stood still or sent no events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numba import njit

from ..checks import InputError
from ..data.box_events import count_in_recording
from ..data.labels import labels_beside
from ..data.layouts import holds_tensors
from ..data.recordings import recording_files
from ..events.files import open_recording
from ..events.time_units import Unit
from ..progress import progress
from .coco import ScoredFrames, figure, match
from .files import name_of
from .frames import Recordings

STILL_TOLERANCE = 0.5
"""Pixels by which the centre, the width and the height of a box that stands still may differ."""
STILL_S = (0.0, 0.3, np.inf)
QUIET_S = (0.0, 0.3, 1.0, np.inf)
SPEED = (0.0, 1.0, 30.0, 100.0, 300.0, np.inf)
"""Edges of the bins in pixels per second."""


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
    before = np.maximum(place - 1, edges[:-1][_track_of(edges)])
    after = np.minimum(place + 1, edges[1:][_track_of(edges)] - 1)
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


def events_in_boxes(
    folder: Path, truth: Recordings, *, size_hw: tuple[int, int] | None = None, time_unit: Unit | None = None
) -> dict[str, np.ndarray] | None:
    """By recording (N,), how many events were in the box of every label since the labels before; 0 for noise alone.

    Labels of another time count as those before, and at most 2 s of events. Noise is what the quiet parts of the
    recording send, with three standard deviations.

    Args:
        folder: with recordings beside their labels, also in folders below.
        truth: the labels.
        size_hw: of the sensor, for recordings that do not say.
        time_unit: of the times of recordings that do not say.

    Returns:
        None unless there is a recording for all labels.

    Raises:
        InputError: if a recording is damaged.
    """
    labels = [(path, labels_beside(path)) for path in reversed(recording_files(folder))]
    paths = {name_of(found): path for path, found in labels if found is not None}
    if not truth.keys() <= paths.keys() or any(map(holds_tensors, paths.values())):
        return None
    shown = progress(truth.items(), "events in boxes", unit="recording")
    return {name: _counted(paths[name], boxes, size_hw, time_unit) for name, boxes in shown}


def _counted(path: Path, boxes: np.ndarray, size_hw: tuple[int, int] | None, time_unit: Unit | None) -> np.ndarray:
    with open_recording(path, size_hw=size_hw, time_unit=time_unit) as recording:
        found = count_in_recording(recording, boxes, window_us=1)
        areas = boxes["w"].astype(np.float64) * boxes["h"]
        noise = found.noise(areas * found.reach, recording.stated_size_hw or found.counts.shape)
    return np.where(found.before > noise, found.before, 0)


@dataclass(frozen=True)
class Bin:
    """The scores of truth boxes whose value is in [low, high), over all classes that have some; None where none has.

    Other truth boxes are neither targets nor, where they are found, errors, as COCO does with areas. A detection that
    finds no box at all is an error in every bin, for it has no value: the AP of a bin with few boxes suffers more.
    recall50 does not, being the share of the targets that are found at IoU 0.5, by any score.
    """

    low: float
    high: float
    truth_boxes: int
    AP: float | None
    AP50: float | None
    recall50: float | None


def breakdown(frames: ScoredFrames, values: np.ndarray, edges: Sequence[float]) -> list[Bin]:
    """The scores by a value of the truth boxes.

    Args:
        frames: the boxes.
        values: (truth boxes before any was left out,) through all recordings in their order; NaN is in no bin.
        edges: of the bins, rising.

    Raises:
        InputError: if the edges do not rise or a value is missing.
    """
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"edges must be at least 2 and rise, got {tuple(edges)}.")
    if len(frames.truth_rows) and len(values) <= frames.truth_rows.max():
        raise InputError(f"values must be one for every truth box of all recordings, got {len(values)}.")
    of_row = np.asarray(values, np.float64)[frames.truth_rows]
    return [_bin(frames, low, high, ~((of_row >= low) & (of_row < high))) for low, high in pairwise(edges)]


def breakdowns(
    frames: ScoredFrames, truth: Recordings, *, events: Mapping[str, np.ndarray] | None = None
) -> dict[str, list[Bin]]:
    """The scores by speed in sensor pixels per second, by seconds of standing still, and by seconds without events.

    None of them if the labels have no tracks.

    Args:
        frames: the boxes.
        truth: the labels that they were joined from.
        events: by recording (N,), how many events were in the box of every label since the label before; without it
            the last part is missing.
    """
    parts = [truth[name] for name in frames.recordings]
    if not all(map(has_tracks, parts)):
        return {}
    found = {
        "speed, px/s": breakdown(frames, np.concatenate([speed(labels) for labels in parts]), SPEED),
        "still, s": breakdown(frames, np.concatenate([still_us(labels) for labels in parts]) / 1e6, STILL_S),
    }
    if events is not None:
        quiet = [quiet_us(labels, events[name]) for name, labels in zip(frames.recordings, parts, strict=True)]
        found["without events, s"] = breakdown(frames, np.concatenate(quiet) / 1e6, QUIET_S)
    return found


def breakdown_lines(found: Mapping[str, list[Bin]], protocol: str) -> list[str]:
    """One line for every bin; ``protocol`` stands beside the figures."""
    return [
        f"{name} [{each.low:g}, {each.high:g}): AP {figure(each.AP)}  AP50 {figure(each.AP50)}  "
        f"recall at IoU 0.5 {figure(each.recall50)}  ({each.truth_boxes} boxes)  {protocol}"
        for name, bins in found.items()
        for each in bins
    ]


def _bin(frames: ScoredFrames, low: float, high: float, is_left_out: np.ndarray) -> Bin:
    matches = [match(frames, label, is_left_out=is_left_out) for label in range(len(frames.classes))]
    scored = [each for each in matches if each.targets.sum()]
    precision = np.array([each.precision().mean(axis=1) for each in scored])
    recall = [(each.outcomes[0] == 1).sum() / each.targets.sum() for each in scored]
    total = sum(int(each.targets.sum()) for each in matches)
    if not scored:
        return Bin(float(low), float(high), 0, None, None, None)
    return Bin(
        float(low), float(high), total, float(precision.mean()), float(precision[:, 0].mean()), float(np.mean(recall))
    )
