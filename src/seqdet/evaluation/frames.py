"""Boxes of recordings, joined into the frames that a protocol scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..checks import InputError
from .coco import FRAME_BOX
from .protocol import Protocol
from .rows import Recordings, filtered, labels_of, some, table

MOST_BOXES = 50_000_000
"""That are joined into frames, one of several frames each time."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What is scored. A box that is in several frames has a row for each.

    truth, detections: tables of ``FRAME_BOX``, sorted by frame, in scaled pixels.
    truth_rows, detection_rows: which box every row is, counted through all recordings in their order.
    recording_of_frame: (F,) index into ``recordings``, rising.
    classes: names of the labels.
    dropped: how many boxes are in no frame, by whose they are and why.
    notes: what a reader of the figures must know, in sentences.
    """

    truth: np.ndarray
    detections: np.ndarray
    truth_rows: np.ndarray
    detection_rows: np.ndarray
    recording_of_frame: np.ndarray
    recordings: tuple[str, ...]
    classes: tuple[str, ...]
    dropped: dict[str, int]
    notes: tuple[str, ...]


def join(
    truth: Recordings,
    detections: Recordings,
    protocol: Protocol,
    *,
    class_names: Mapping[int, str] | Sequence[str],
    labelled_us: Mapping[str, np.ndarray] | None = None,
) -> Frames:
    """The frames of all recordings under a protocol.

    Args:
        truth: the labels; those of confidence 0 are ignored regions.
        detections: a recording that is missing has none.
        protocol: the rules.
        class_names: of the class indices in both.
        labelled_us: times (M,) int64 at which a recording is labelled; those of its boxes where it is not named.

    Raises:
        InputError: if detections are of an unknown recording, a class index has no name, a class of the protocol is
            none of the data set, or a number is none that a box can have.
    """
    if not truth:
        raise InputError("truth must have at least one recording, got none.")
    if unknown := sorted(set(detections) - set(truth)):
        raise InputError(
            f"detections must be of the recordings of the truth ({some(sorted(truth))}), got {some(unknown)}. "
            "Are they of another split?"
        )
    names = tuple(truth)
    classes, label_of = labels_of(protocol, class_names)
    dropped: dict[str, int] = {}
    targets = filtered(table(truth, names, "truth", label_of), "truth", protocol, dropped)
    guesses = filtered(table(detections, names, "detections", label_of), "detections", protocol, dropped)
    moments = [
        _moments(targets, guesses, k, (labelled_us or {}).get(name, truth[name]["t"]), protocol)
        for k, name in enumerate(names)
    ]
    around = protocol.truth_tolerance_us
    targets, _ = _joined(targets, moments, around, around, "truth", dropped)
    guesses, spread = _joined(guesses, moments, protocol.before_us, protocol.after_us, "detections", dropped)
    guesses = _best(guesses, protocol.max_detections, dropped)
    return Frames(
        truth=targets[list(FRAME_BOX.names or ())].astype(FRAME_BOX),
        detections=guesses[list(FRAME_BOX.names or ())].astype(FRAME_BOX),
        truth_rows=targets["row"].copy(),
        detection_rows=guesses["row"].copy(),
        recording_of_frame=np.repeat(np.arange(len(names)), [len(times) for times in moments]),
        recordings=names,
        classes=classes,
        dropped={why: count for why, count in dropped.items() if count},
        notes=tuple(_notes(truth, detections, targets, guesses, spread, protocol)),
    )


def _moments(
    truth: np.ndarray, detections: np.ndarray, recording: int, labelled_us: np.ndarray, protocol: Protocol
) -> np.ndarray:
    """The times at which a recording is scored, rising. Of a grid those that have a box."""
    first, last = [recording], [recording + 1]
    targets, guesses = (
        rows["t"][slice(*np.searchsorted(rows["recording"], first + last))] for rows in (truth, detections)
    )
    if protocol.moments == "labelled":
        times = np.unique(labelled_us).astype(np.int64)
        return times[times > protocol.skip_us] if protocol.skip_us >= 0 else times
    if protocol.moments == "grid":
        period, around = protocol.period_us, protocol.truth_tolerance_us
        spans = [(targets, around, around), (guesses, protocol.before_us, protocol.after_us)]
        steps = [_range(-((after - t) // period), (t + before) // period) for t, before, after in spans]
        steps = np.unique(np.concatenate(steps))
        return steps[steps >= 0] * period
    return np.unique(targets if protocol.moments == "truth" else np.concatenate([targets, guesses]))


def _range(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """All whole numbers from ``first[i]`` to ``last[i]``, one i after the other."""
    counts = np.maximum(last - first + 1, 0)
    total = int(counts.astype(np.float64).sum())
    if total > MOST_BOXES:
        raise InputError(f"boxes must be in few frames each, got {total} in all. Are the times in microseconds?")
    return np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(total)


def _joined(
    rows: np.ndarray, moments: Sequence[np.ndarray], before_us: int, after_us: int, whose: str, dropped: dict[str, int]
) -> tuple[np.ndarray, int]:
    """The rows of every frame, by frame and then time; and how many frames have rows of several times."""
    starts = np.searchsorted(rows["recording"], np.arange(len(moments) + 1))
    first, last = [], []
    for times, start, stop in zip(moments, starts, starts[1:], strict=False):
        t = rows["t"][start:stop]
        first.append(start + np.searchsorted(t, times - before_us, "left"))
        last.append(start + np.searchsorted(t, times + after_us, "right") - 1)
    lows, highs = np.concatenate(first).astype(np.int64), np.concatenate(last).astype(np.int64)
    chosen = _range(lows, highs)
    frame = np.repeat(np.arange(len(lows)), np.maximum(highs - lows + 1, 0))
    is_used = np.zeros(len(rows), bool)
    is_used[chosen] = True
    dropped[f"{whose} at the time of no frame"] = int((~is_used).sum())
    filled = highs > lows
    spread = int((rows["t"][highs[filled]] > rows["t"][lows[filled]]).sum())
    joined = rows[chosen]
    joined["frame"] = frame
    return joined, spread


def _best(rows: np.ndarray, most: int, dropped: dict[str, int]) -> np.ndarray:
    """Of every frame and class the ``most`` rows of the highest scores, in the order that they have."""
    order = np.lexsort((-rows["scores"], rows["labels"], rows["frame"]))
    group = rows[order][["frame", "labels"]]
    begins = np.flatnonzero(np.r_[True, group[1:] != group[:-1]][: len(group)])
    rank = np.arange(len(rows)) - np.repeat(begins, np.diff(np.r_[begins, len(rows)]))
    kept = np.zeros(len(rows), bool)
    kept[order[rank < most]] = True
    dropped[f"detections beyond {most} of a class in a frame"] = int((~kept).sum())
    return rows[kept]


def _notes(
    truth: Recordings, detections: Recordings, targets: np.ndarray, guesses: np.ndarray, spread: int, protocol: Protocol
) -> list[str]:
    notes = []
    if absent := [name for name in truth if name not in detections]:
        notes.append(f"{len(absent)} of {len(truth)} recordings have no detections and count as empty: {some(absent)}.")
    if not (~targets["is_ignored"]).any():
        notes.append(f"No truth box is left to score{' but ignored ones' if len(targets) else ''}.")
    if len(targets) and not len(guesses) and any(map(len, detections.values())):
        notes.append(
            "No detection is in any frame; do their times follow the clock of the recordings, in microseconds?"
        )
    if spread:
        notes.append(f"{spread} frames have detections of several times, which count as duplicates of each other.")
    if protocol.sensor_hw:
        height, width = protocol.sensor_hw
        if any((boxes["x"] >= width).any() or (boxes["y"] >= height).any() for boxes in truth.values()):
            notes.append(f"Truth lies beyond the {width}x{height} pixels of the protocol; is it of another sensor?")
    return notes
