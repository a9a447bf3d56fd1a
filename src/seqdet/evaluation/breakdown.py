"""What lies behind a score: figures by what the objects do, errors by their kind, and precision by score.

What objects do is how fast they move, and for how long they have stood still or sent no events. The kinds of errors are
those of TIDE (Bolya et al. 2020, https://arxiv.org/abs/2008.08115).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from ..checks import InputError
from ..data.box_events import count_in_recording
from ..data.dataset import recording_files
from ..data.detections import overlap
from ..data.labels import labels_beside
from ..data.layouts import holds_tensors
from ..events.files import open_recording
from ..events.time_units import Unit
from ..progress import progress
from .coco import ScoredFrames, figure, match
from .files import name_of
from .protocols import Recordings

STILL_TOLERANCE = 0.5
"""Pixels by which the centre, the width and the height of a box that stands still may differ."""
STILL_S = (0.0, 0.3, np.inf)
QUIET_S = (0.0, 0.3, 1.0, np.inf)
SPEED = (0.0, 1.0, 30.0, 100.0, 300.0, np.inf)
"""Edges of the bins in pixels per second."""
ERROR_KINDS = ("found twice", "wrong class", "badly placed", "wrong class, badly placed", "background")
"""At IoU 0.5 or more with a box of its class that a better detection has, or with one of another class; at 0.1 or more
with a box of its class, or with one of another class; or at less with all."""
TOUCHES = 0.1
FITS = 0.5
SCORE_BINS = 10
"""Of equal width, from 0 to 1, for how reliable scores are."""


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


def quiet_us(labels: np.ndarray, events: np.ndarray) -> np.ndarray:
    """(N,) int64 microseconds since the last label of the same track whose box had events; since its first if none.

    Args:
        labels: (N,) ``EVENT_BBOX`` of one recording.
        events: (N,) how many events were in each box since the label before.
    """
    order, edges = _tracks(labels)
    t = labels["t"][order].astype(np.int64)
    is_start = np.zeros(len(order), bool)
    is_start[edges[:-1]] = True
    last = np.maximum.accumulate(np.where(is_start | (events[order] > 0), np.arange(len(order)), 0))
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


@dataclass(frozen=True, kw_only=True)
class Errors:
    """The errors at IoU 0.5 of detections from a score on, those of each recording in turn, the worst first.

    least_score: of the detections that count.
    missed: rows of the truth that none of them matches, by their area.
    nearest: (missed, ) row of the detection that overlaps each most, of any class; -1 for none.
    nearest_iou: (missed, ) by how much.
    alarms: rows of the detections that match nothing, by their score.
    kinds: (alarms, ) indices into ``ERROR_KINDS``.
    right: how many detections match.
    """

    least_score: float
    missed: np.ndarray
    nearest: np.ndarray
    nearest_iou: np.ndarray
    alarms: np.ndarray
    kinds: np.ndarray
    right: int

    def as_dict(self) -> dict[str, int | float]:
        """How many there are, ready for JSON."""
        counts = np.bincount(self.kinds, minlength=len(ERROR_KINDS)).tolist()
        totals = {"least_score": self.least_score, "right": self.right, "missed": len(self.missed)}
        return totals | dict(zip(ERROR_KINDS, counts, strict=True))


def find_errors(frames: ScoredFrames, *, least_score: float) -> Errors:
    """The errors of the detections whose score is at least ``least_score``.

    Ignored truth is none to miss, and a detection that matches it is no error.
    """
    truth, detections = frames.truth, frames.detections
    is_right, is_wrong = np.zeros(len(detections), bool), np.zeros(len(detections), bool)
    is_found = truth["is_ignored"].copy()
    counts = detections["scores"] >= np.float32(least_score)
    for label in range(len(frames.classes)):
        of_class = match(frames, label)
        is_right[of_class.rows] = of_class.outcomes[0] == 1
        is_wrong[of_class.rows] = of_class.outcomes[0] == 0
        is_found[of_class.owners[counts[of_class.rows] & (of_class.owners >= 0)]] = True
    size = truth["xyxy"][:, 2:] - truth["xyxy"][:, :2]
    missed = _worst(np.flatnonzero(~is_found), size.prod(1), frames.recording_of_frame[truth["frame"]])
    scores = detections["scores"].astype(np.float64)
    recordings = frames.recording_of_frame[detections["frame"]]
    alarms = _worst(np.flatnonzero(is_wrong & counts), scores, recordings)
    targets = truth[~truth["is_ignored"]]
    same, other, _, _ = _best(detections[alarms], targets, len(frames.recording_of_frame))
    _, _, nearest_iou, nearest = _best(truth[missed], detections[counts], len(frames.recording_of_frame))
    return Errors(
        least_score=least_score,
        missed=missed,
        nearest=np.append(np.flatnonzero(counts), -1)[nearest],
        nearest_iou=nearest_iou,
        alarms=alarms,
        kinds=np.select([same >= FITS, other >= FITS, same >= TOUCHES, other >= TOUCHES], range(4), 4),
        right=int((is_right & counts).sum()),
    )


def _worst(rows: np.ndarray, values: np.ndarray, recordings: np.ndarray) -> np.ndarray:
    """The worst row of every recording, then the next of every one, and so on, each time by falling values."""
    order = rows[np.lexsort((-values[rows], recordings[rows]))]
    begins = np.searchsorted(recordings[order], recordings[order])
    return order[np.lexsort((-values[order], np.arange(len(order)) - begins))]


def _best(boxes: np.ndarray, others: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each box the largest IoU with others of its frame and class, of another class, and of any, with its row."""
    edges = np.searchsorted(others["frame"], np.arange(frames + 1))
    xyxy, labels, frame = (np.ascontiguousarray(boxes[name]) for name in ("xyxy", "labels", "frame"))
    other_xyxy, other_labels = (np.ascontiguousarray(others[name]) for name in ("xyxy", "labels"))
    return _largest(xyxy, labels, frame, other_xyxy, other_labels, edges)


@njit(cache=True, nogil=True)
def _largest(boxes, labels, frames, others, other_labels, edges):
    same, other = np.zeros(len(boxes)), np.zeros(len(boxes))
    most = np.zeros(len(boxes))
    row = np.full(len(boxes), -1)
    for n in range(len(boxes)):
        for m in range(edges[frames[n]], edges[frames[n] + 1]):
            iou = overlap(boxes[n], others[m], False)
            if other_labels[m] == labels[n]:
                same[n] = max(same[n], iou)
            else:
                other[n] = max(other[n], iou)
            if iou > most[n]:
                most[n], row[n] = iou, m
    return same, other, most, row


@dataclass(frozen=True)
class ScoreBin:
    """The detections whose score is in [low, high); the last bin has those of score 1 too.

    score: their mean. precision: the share that matches truth of its class at IoU 0.5. Both None where there are none.
    """

    low: float
    high: float
    detections: int
    score: float | None
    precision: float | None


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Precision by score, at IoU 0.5. Detections of ignored truth are left out.

    expected_error: the expected calibration error: the mean distance of precision and score, over the bins, by how many
        detections they have (Guo et al. 2017, https://arxiv.org/abs/1706.04599); None without detections.
    expected_error_shown: the same over those bins alone that begin at ``shown_score`` or above.
    """

    bins: tuple[ScoreBin, ...]
    expected_error: float | None
    shown_score: float
    expected_error_shown: float | None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"bins": [asdict(each) for each in self.bins]}


def reliability(frames: ScoredFrames, *, shown_score: float) -> Reliability:
    """How precise detections are by their score, in ``SCORE_BINS`` of equal width from 0 to 1.

    Most detections have low scores, and an error over all is mostly theirs; another one is over those that are shown.

    Args:
        frames: the boxes.
        shown_score: least score of those that are shown.
    """
    matches = [match(frames, label) for label in range(len(frames.classes))]
    outcomes = np.concatenate([np.zeros(0, np.int8), *(each.outcomes[0] for each in matches)])
    rows = np.concatenate([np.zeros(0, np.int64), *(each.rows for each in matches)])[outcomes >= 0]
    is_right = outcomes[outcomes >= 0] == 1
    scores = frames.detections["scores"][rows].astype(np.float64)
    edges = np.linspace(0, 1, SCORE_BINS + 1).round(12)
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, SCORE_BINS - 1)
    counts = np.bincount(place, minlength=SCORE_BINS)
    sums, hits = np.bincount(place, scores, SCORE_BINS), np.bincount(place, is_right, SCORE_BINS)
    found = tuple(
        ScoreBin(float(edges[n]), float(edges[n + 1]), int(counts[n]), *_means(counts[n], sums[n], hits[n]))
        for n in range(SCORE_BINS)
    )
    gaps = abs(hits - sums)
    is_shown = edges[:-1] >= shown_score - 1e-9
    return Reliability(
        bins=found,
        expected_error=_share(gaps, counts),
        shown_score=shown_score,
        expected_error_shown=_share(gaps[is_shown], counts[is_shown]),
    )


def _means(count: int, *sums: float) -> list[float | None]:
    return [float(each / count) if count else None for each in sums]


def _share(gaps: np.ndarray, counts: np.ndarray) -> float | None:
    return float(gaps.sum() / counts.sum()) if counts.sum() else None
