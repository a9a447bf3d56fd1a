"""Labels of a recording or of pictures as boxes in microseconds and pixels."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from ..checks import InputError
from ..data.checking import check_clock, check_inside, check_pixels
from ..data.labels import EVENT_BBOX, is_ignored
from ..events.files import Recording
from ..events.time_units import LATEST_US
from .options import ImportOptions, ImportReport
from .parsed import RELATIVE, RecordingLabels

ADVICE = " Give --start-us, and --label-rate where they number frames; name columns of times t_s, t_ms, t_us or t_ns."
FAR_ASPECT = 0.02
"""Frames whose shape differs by this part from what they are of show something else."""
MOST_TRACKS = 1 << 32
MOST = 1 << 24
"""Of the place and the size of a box, and of a score; larger ones are damage, and no numbers that labels hold."""
NOT_STATED = "boxes with a score below 0, as the -1 of MOT: it is not stated, and becomes 1"
SCORED = "boxes with a score between 0 and 1: it is kept, and they are targets like others"
ODD = "boxes with a score above 1: it is kept, though it is no share from 0 to 1"
IGNORED_TOLD = "boxes that are ignored, neither targets nor errors: of a score of 0, difficult, or a crowd"


class Frame(NamedTuple):
    """What boxes lie in. what: a sensor, or a picture. name: whose. size_hw: height and width, if they are known."""

    what: str
    name: str
    size_hw: tuple[int, int] | None


def sensor_boxes(
    labels: RecordingLabels,
    recording: Recording,
    span_us: tuple[int, int],
    options: ImportOptions,
    report: ImportReport,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N,) ``EVENT_BBOX``, sorted by time, and the times (M,) int64 at which the recording is labelled.

    Args:
        labels: as a format has them.
        recording: of events, to which they belong, and the size of whose sensor is asked for.
        span_us: times of its first and of its last event.
        options: which say when frames are, for labels with their numbers.
        report: what is left out, or understood in one way of several, is added.

    Raises:
        InputError: if the times or the size of the frames cannot be known, or do not fit the recording.
    """
    at = np.array(sorted(labels.at), np.int64)
    times = _times(at, labels, options, span_us[1])
    check_clock(times, span_us, labels.source, ADVICE)
    size_hw = recording.size_hw if labels.frame_hw == RELATIVE else recording.stated_size_hw
    return placed_boxes(labels, at, times, Frame("sensor", recording.path.name, size_hw), report), times


def placed_boxes(
    labels: RecordingLabels, at: np.ndarray, times: np.ndarray, frame: Frame, report: ImportReport
) -> np.ndarray:
    """Boxes (N,) ``EVENT_BBOX``, sorted by time, in pixels of what they are of.

    Args:
        labels: as a format has them.
        at: (M,) int64, rising, what the rows are at.
        times: (M,) int64, when that is.
        frame: what the boxes lie in.
        report: what is left out, or understood in one way of several, is added.

    Raises:
        InputError: if they do not fit it, or have numbers that no box has.
    """
    source = labels.source
    boxes = np.zeros(len(labels.rows), EVENT_BBOX)
    rows = np.array([row[1:] for row in labels.rows], np.float64).reshape(-1, 7)
    numbers = np.abs(rows[:, [0, 1, 2, 3, 6]])
    if not (numbers <= MOST).all():
        raise InputError(f"{source} must have places, sizes and scores up to {MOST:,}, got {numbers.max():.3g}.")
    if labels.frame_hw != RELATIVE:
        check_pixels(rows[:, :4], labels.frame_hw or frame.size_hw, source, what=frame.what)
    sides = rows[:, :4] * np.tile(_scale(labels, frame), 2)
    for name, column in zip("xywh", sides.T, strict=True):
        boxes[name] = column
    if frame.size_hw:
        check_inside(boxes, frame.size_hw, source, what=frame.what)
    boxes["t"] = times[np.searchsorted(at, [row[0] for row in labels.rows])] if labels.rows else 0
    tracks = rows[:, 5]
    named = tracks < 0  # see ParsedLabels.identity
    tracks[named] = max(tracks.max(initial=0), 0) - tracks[named]
    if len(rows) and tracks.max() >= MOST_TRACKS:
        raise InputError(f"{source} must have numbers of objects below {MOST_TRACKS}, got {tracks.max():.0f}.")
    for name, column in zip(("class_id", "track_id", "class_confidence"), rows[:, 4:].T, strict=True):
        boxes[name] = column
    has_size = (sides[:, 2] > 0) & (sides[:, 3] > 0)
    is_inside = (sides[:, :2] + sides[:, 2:] > 0).all(axis=1)
    if size_hw := frame.size_hw:
        is_inside &= (sides[:, 0] < size_hw[1]) & (sides[:, 1] < size_hw[0])
    scores = boxes["class_confidence"]
    is_unstated = scores < 0
    is_odd = scores > 1
    scores[is_unstated] = 1
    told = {NOT_STATED: is_unstated, IGNORED_TOLD: is_ignored(boxes), SCORED: (scores > 0) & (scores < 1), ODD: is_odd}
    dropped = {"boxes of no size": ~has_size, f"boxes outside the {frame.what}": has_size & ~is_inside}
    report.told += Counter({what: int(those.sum()) for what, those in told.items()})
    report.dropped += Counter({what: int(those.sum()) for what, those in dropped.items()})
    boxes = boxes[has_size & is_inside]
    return boxes[np.argsort(boxes["t"], kind="stable")]


def _times(at: np.ndarray, labels: RecordingLabels, options: ImportOptions, last_us: int) -> np.ndarray:
    """Microseconds of what ``at`` says."""
    if labels.when == "end":
        return np.full(len(at), last_us)
    rate = options.rate or labels.rate
    frame_us = 1e6 / rate if rate else None
    if labels.when == "us" or (labels.when == "number" and frame_us is None):
        times = at + options.start_us
    elif frame_us is None:
        raise InputError(f"{labels.source} numbers frames. Give --label-rate, how many of them a second has.")
    else:
        times = np.rint((at - (labels.first or 0)) * frame_us) + options.start_us
    if len(times) and np.abs(times).max() > LATEST_US:
        raise InputError(f"{labels.source} must have plausible times, got {np.abs(times).max():.0f} us.")
    return times.astype(np.int64)


def _scale(labels: RecordingLabels, frame: Frame) -> np.ndarray:
    """Pixels for what a box has across and down, (2,)."""
    labelled_hw = labels.frame_hw
    if labelled_hw is None or frame.size_hw is None:
        return np.ones(2)
    scale = np.array(frame.size_hw) / labelled_hw
    if labelled_hw != RELATIVE and abs(scale[0] / scale[1] - 1) > FAR_ASPECT:
        raise InputError(
            f"{labels.source} is about frames of {labelled_hw[1]}x{labelled_hw[0]} pixels, which the {frame.what} of "
            f"{frame.name}, {frame.size_hw[1]}x{frame.size_hw[0]}, does not show whole."
        )
    return scale[::-1]
