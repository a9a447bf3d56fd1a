"""From labels as a format has them to labels of a recording: microseconds and pixels of its sensor."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from ...checks import InputError
from ...events.files import Recording
from ..checking import check_clock, check_inside, check_pixels
from ..labels import EVENT_BBOX, is_ignored
from .drafts import RELATIVE, Draft
from .options import Imported

ADVICE = " Give --start-us, and --label-rate where they number frames; name columns of times t_s, t_ms, t_us or t_ns."
FAR_ASPECT = 0.02
"""Frames whose shape differs by this part from the sensor's show something else."""
LATEST_US = 1 << 53
MOST_TRACKS = 1 << 32
MOST = 1 << 24
"""Of the place and the size of a box, and of a score; larger ones are damage, and no numbers that labels hold."""
NOT_STATED = "boxes with a score below 0, as the -1 of MOT: it is not stated, and becomes 1"
SCORED = "boxes with a score between 0 and 1: it is kept, and they are targets like others"
ODD = "boxes with a score above 1: it is kept, though it is no share from 0 to 1"
IGNORED_TOLD = "boxes that are ignored, neither targets nor errors: of a score of 0, difficult, or a crowd"


class Clock(NamedTuple):
    """From numbers of frames to times: microseconds of a frame, if they are known, and of the first one."""

    frame_us: float | None
    start_us: int


def placed_labels(
    draft: Draft, recording: Recording, span_us: tuple[int, int], clock: Clock, done: Imported
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N,) ``EVENT_BBOX``, sorted by time, and the times (M,) int64 at which the recording is labelled.

    Args:
        draft: the labels.
        recording: to which they belong, and the size of whose sensor is asked for.
        span_us: times of its first and of its last event.
        clock: for labels with numbers of frames.
        done: what is left out, or understood in one way of several, is added.

    Raises:
        InputError: if the times or the size of the frames cannot be known, or do not fit the recording.
    """
    at = np.array(sorted(draft.at), np.int64)
    times = _times(at, draft, clock, span_us[1])
    check_clock(times, span_us, draft.source, ADVICE)
    boxes = np.zeros(len(draft.rows), EVENT_BBOX)
    rows = np.array([row[1:] for row in draft.rows], np.float64).reshape(-1, 7)
    numbers = np.abs(rows[:, [0, 1, 2, 3, 6]])
    if not (numbers <= MOST).all():
        raise InputError(f"{draft.source} must have places, sizes and scores up to {MOST:,}, got {numbers.max():.3g}.")
    if draft.frame_hw != RELATIVE:
        check_pixels(rows[:, :4], draft.frame_hw or recording.stated_size_hw, draft.source)
    sides = rows[:, :4] * np.tile(_scale(draft, recording), 2)
    for name, column in zip(("x", "y", "w", "h"), sides.T, strict=True):
        boxes[name] = column
    if size_hw := recording.stated_size_hw:
        check_inside(boxes, size_hw, draft.source)
    boxes["t"] = times[np.searchsorted(at, [row[0] for row in draft.rows])] if draft.rows else 0
    tracks = rows[:, 5]
    named = tracks < 0  # see Drafts.identity
    tracks[named] = max(tracks.max(initial=0), 0) - tracks[named]
    if len(rows) and tracks.max() >= MOST_TRACKS:
        raise InputError(f"{draft.source} must have numbers of objects below {MOST_TRACKS}, got {tracks.max():.0f}.")
    boxes["class_id"], boxes["track_id"], boxes["class_confidence"] = rows[:, 4:].T
    has_size = (sides[:, 2] > 0) & (sides[:, 3] > 0)
    is_inside = (sides[:, :2] + sides[:, 2:] > 0).all(axis=1)
    if size_hw:
        is_inside &= (sides[:, 0] < size_hw[1]) & (sides[:, 1] < size_hw[0])
    scores = boxes["class_confidence"]
    is_unstated, is_odd = scores < 0, scores > 1
    scores[is_unstated] = 1
    told = {NOT_STATED: is_unstated, IGNORED_TOLD: is_ignored(boxes), SCORED: (scores > 0) & (scores < 1), ODD: is_odd}
    done.told += Counter({what: int(those.sum()) for what, those in told.items()})
    done.dropped += Counter({"boxes of no size": int((~has_size).sum())})
    done.dropped += Counter({"boxes outside the sensor": int((has_size & ~is_inside).sum())})
    boxes = boxes[has_size & is_inside]
    return boxes[np.argsort(boxes["t"], kind="stable")], times


def _times(at: np.ndarray, draft: Draft, clock: Clock, last_us: int) -> np.ndarray:
    """Microseconds of what ``at`` says."""
    if draft.when == "end":
        return np.full(len(at), last_us)
    frame_us = clock.frame_us or (1e6 / draft.rate if draft.rate else None)
    if draft.when == "us" or (draft.when == "number" and frame_us is None):
        times = at + clock.start_us
    elif frame_us is None:
        raise InputError(f"{draft.source} numbers frames. Give --label-rate, how many of them a second has.")
    else:
        times = np.rint((at - draft.first) * frame_us) + clock.start_us
    if len(times) and np.abs(times).max() > LATEST_US:
        raise InputError(f"{draft.source} must have times that can be, got {np.abs(times).max():.0f} us.")
    return times.astype(np.int64)


def _scale(draft: Draft, recording: Recording) -> np.ndarray:
    """Pixels of the sensor for what a box has across and down, (2,)."""
    if draft.frame_hw is None or (draft.frame_hw != RELATIVE and recording.stated_size_hw is None):
        return np.ones(2)
    scale = np.array(recording.size_hw) / draft.frame_hw
    if draft.frame_hw != RELATIVE and abs(scale[0] / scale[1] - 1) > FAR_ASPECT:
        raise InputError(
            f"{draft.source} is about frames of {draft.frame_hw[1]}x{draft.frame_hw[0]} pixels, which the sensor of "
            f"{recording.path.name}, {recording.size_hw[1]}x{recording.size_hw[0]}, does not show whole."
        )
    return scale[::-1]
