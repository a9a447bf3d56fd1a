"""Boxes of recordings, joined into the frames that a protocol scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ..checks import InputError
from ..data.detections import corners, event_boxes
from ..data.labels import EVENT_BBOX, is_ignored
from ..structures import Boxes
from .coco import FRAME_BOX, ScoredFrames
from .protocols import Protocol

Recordings = Mapping[str, np.ndarray]
"""Boxes (N,) ``EVENT_BBOX`` by the name of the recording, in sensor pixels and microseconds."""
MOST_TIME_US = 1 << 60
ROW = np.dtype([*FRAME_BOX.descr, ("t", np.int64), ("recording", np.int64), ("row", np.int64)])
"""A box. row: its number, counted through all recordings in their order."""
MOST_BOXES = 50_000_000
"""That are joined into frames, one of several frames each time."""


def labels_of(
    protocol: Protocol, class_names: Mapping[int, str] | Sequence[str]
) -> tuple[tuple[str, ...], dict[int, int]]:
    """The names of the labels, and the label of every class index, -1 where it is not scored."""
    names = dict(class_names) if isinstance(class_names, Mapping) else dict(enumerate(class_names))
    renamed = {_key(old): new for old, new in protocol.renamed}
    final = {index: renamed.get(_key(name), name) for index, name in names.items()}
    classes = protocol.classes or tuple(dict.fromkeys(final.values()))
    known = {_key(name) for name in final.values()}
    if missing := [name for name in classes if _key(name) not in known]:
        raise InputError(
            f"{protocol.title} scores {', '.join(classes)}, and the data set has no class {', '.join(missing)} "
            f"but {', '.join(names.values())}. Score it with another protocol, such as coco, or correct its class list."
        )
    place = {_key(name): label for label, name in enumerate(classes)}
    return classes, {index: place.get(_key(name), -1) for index, name in final.items()}


def _key(name: str) -> str:
    """Equal for ``two wheeler``, ``Two-wheeler`` and ``two_wheeler``."""
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


def table(boxes: Recordings, names: Sequence[str], whose: str, label_of: Mapping[int, int]) -> np.ndarray:
    """Rows of all recordings, sorted by recording and time, in sensor pixels."""
    parts = [np.asarray(boxes.get(name, np.zeros(0, EVENT_BBOX))) for name in names]
    if wrong := [name for name, part in zip(names, parts, strict=True) if part.dtype.names != EVENT_BBOX.names]:
        raise InputError(f"{whose} of {some(wrong)} must be boxes with {', '.join(EVENT_BBOX.names or ())}.")
    found = np.concatenate(parts)
    rows = np.zeros(len(found), ROW)
    rows["recording"] = np.repeat(np.arange(len(names)), [len(part) for part in parts])
    rows["row"] = np.arange(len(found))
    rows["t"], rows["scores"] = found["t"], found["class_confidence"]
    rows["xyxy"] = corners(found)
    size = np.stack([found["w"], found["h"]], axis=1)
    if whose == "truth":
        rows["is_ignored"] = is_ignored(found)
        rows["scores"] = ~rows["is_ignored"]  # what else labels have as scores says nothing
    numbers = np.column_stack([rows["xyxy"], rows["scores"]])
    is_sound = np.isfinite(numbers).all(1) & (size >= 0).all(1) & (abs(rows["t"]) < MOST_TIME_US)
    if not is_sound.all():
        bad = found[~is_sound][0]
        raise InputError(f"{whose} of {names[rows[~is_sound][0]['recording']]} must be finite boxes, got {bad}.")
    indices, inverse = np.unique(found["class_id"], return_inverse=True)
    if unknown := [int(index) for index in indices if int(index) not in label_of]:
        raise InputError(
            f"class_id of {whose} must be one of {', '.join(map(str, label_of))}, got {unknown[0]}. "
            "Were they made with another class list?"
        )
    rows["labels"] = np.array([label_of[int(index)] for index in indices], np.int64)[inverse]
    return rows[np.lexsort((rows["t"], rows["recording"]))]


def filtered(rows: np.ndarray, whose: str, protocol: Protocol, dropped: dict[str, int]) -> np.ndarray:
    """The rows that the rules leave, in scaled pixels."""
    is_truth = whose == "truth"
    if is_truth and protocol.clips_truth and protocol.sensor_hw:
        height, width = protocol.sensor_hw
        rows["xyxy"] = np.clip(rows["xyxy"], 0, [width, height, width, height])
    rows["xyxy"] *= protocol.scale
    size = rows["xyxy"][:, 2:] - rows["xyxy"][:, :2]
    rules: dict[str, np.ndarray] = {"of a class that is not scored": rows["labels"] >= 0}
    if protocol.skip_us >= 0:
        rules[f"at {protocol.skip_us / 1e6:g} s or before"] = rows["t"] > protocol.skip_us
    if is_truth and protocol.clips_truth:
        rules["outside of the sensor"] = size.min(1) > 0
    if protocol.filters_truth if is_truth else protocol.filters_detections:
        is_long = (size**2).sum(1) >= protocol.min_diagonal**2
        rules["too small"] = is_long & (size.min(1) >= protocol.min_side)
    if not is_truth:
        rules[f"of a score below {protocol.least_score:g}"] = rows["scores"] >= np.float32(protocol.least_score)
    kept = np.ones(len(rows), bool)
    for why, holds in rules.items():
        dropped[f"{whose} {why}"] = int((kept & ~holds).sum())
        kept &= holds
    return rows[kept]


def some(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def join(
    truth: Recordings,
    detections: Recordings,
    protocol: Protocol,
    *,
    class_names: Mapping[int, str] | Sequence[str],
    labelled_us: Mapping[str, np.ndarray] | None = None,
) -> ScoredFrames:
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
    found = filtered(table(detections, names, "detections", label_of), "detections", protocol, dropped)
    moments = [
        _moments(targets, found, k, (labelled_us or {}).get(name, truth[name]["t"]), protocol)
        for k, name in enumerate(names)
    ]
    around = protocol.truth_tolerance_us
    targets, _ = _joined(targets, moments, around, around, "truth", dropped)
    found, spread = _joined(found, moments, protocol.before_us, protocol.after_us, "detections", dropped)
    found = _best(found, protocol.max_detections, dropped)
    return ScoredFrames(
        truth=targets[list(FRAME_BOX.names or ())].astype(FRAME_BOX),
        detections=found[list(FRAME_BOX.names or ())].astype(FRAME_BOX),
        truth_rows=targets["row"].copy(),
        detection_rows=found["row"].copy(),
        recording_of_frame=np.repeat(np.arange(len(names)), [len(times) for times in moments]),
        recordings=names,
        classes=classes,
        dropped={why: count for why, count in dropped.items() if count},
        notes=tuple(_notes(truth, detections, targets, found, spread, protocol)),
    )


def _moments(
    truth: np.ndarray, detections: np.ndarray, recording: int, labelled_us: np.ndarray, protocol: Protocol
) -> np.ndarray:
    """The times at which a recording is scored, rising. Of a grid those that have a box."""
    first, last = [recording], [recording + 1]
    targets_us, detections_us = (
        rows["t"][slice(*np.searchsorted(rows["recording"], first + last))] for rows in (truth, detections)
    )
    if protocol.moments == "labelled":
        times = np.unique(labelled_us).astype(np.int64)
        return times[times > protocol.skip_us] if protocol.skip_us >= 0 else times
    if protocol.moments == "grid":
        period, around = protocol.period_us, protocol.truth_tolerance_us
        spans = [(targets_us, around, around), (detections_us, protocol.before_us, protocol.after_us)]
        steps = [_range(-((after - t) // period), (t + before) // period) for t, before, after in spans]
        steps = np.unique(np.concatenate(steps))
        return steps[steps >= 0] * period
    return np.unique(targets_us if protocol.moments == "truth" else np.concatenate([targets_us, detections_us]))


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
    lows = np.concatenate(first).astype(np.int64)
    highs = np.concatenate(last).astype(np.int64)
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
    truth: Recordings, detections: Recordings, targets: np.ndarray, found: np.ndarray, spread: int, protocol: Protocol
) -> list[str]:
    notes = []
    if absent := [name for name in truth if name not in detections]:
        notes.append(f"{len(absent)} of {len(truth)} recordings have no detections and count as empty: {some(absent)}.")
    if not (~targets["is_ignored"]).any():
        notes.append(f"No truth box is left to score{' but ignored ones' if len(targets) else ''}.")
    if len(targets) and not len(found) and any(map(len, detections.values())):
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


class LabelledRecordings(NamedTuple):
    """Boxes ``EVENT_BBOX`` and labelled times by the name of the recording, as ``join`` takes them."""

    truth: dict[str, np.ndarray]
    detections: dict[str, np.ndarray]
    labelled_us: dict[str, np.ndarray]


def from_boxes(
    truth: Sequence[Boxes],
    detections: Sequence[Boxes],
    recordings: Sequence[int],
    times_us: Sequence[int],
    *,
    scale_xy: tuple[float, float] = (1, 1),
) -> LabelledRecordings:
    """The labelled frames of any number of recordings, in any order.

    Args:
        truth: one entry per frame; ignored boxes get a confidence of 0.
        detections: with scores.
        recordings: number of the recording of every frame, which becomes its name.
        times_us: of every frame.
        scale_xy: what pixels are multiplied by.

    Raises:
        InputError: if the lengths differ, detections have no scores, or two frames have one recording and time.
    """
    lengths = {len(truth), len(detections), len(recordings), len(times_us)}
    if len(lengths) > 1:
        raise InputError(f"truth, detections, recordings and times_us must be as long, got {sorted(lengths)}.")
    if any(boxes.scores is None for boxes in detections):
        raise InputError("detections must have scores, got boxes without. Were truth and detections swapped?")
    of_frame, times = np.array(recordings, np.int64), np.array(times_us, np.int64)
    if len(np.unique(np.stack([of_frame, times]), axis=1).T) < len(times):
        raise InputError("frames must be of different times of their recording, got one twice.")
    names = {str(number): number for number in np.unique(of_frame).tolist()}
    tables = []
    for boxes in (truth, detections):
        parts = map(partial(event_boxes, scale_xy=scale_xy), boxes, times.tolist())
        rows = np.concatenate([np.zeros(0, EVENT_BBOX), *parts])
        owners = np.repeat(of_frame, [len(each) for each in boxes])
        tables.append({name: rows[owners == number] for name, number in names.items()})
    labelled_us = {name: np.sort(times[of_frame == number]) for name, number in names.items()}
    return LabelledRecordings(tables[0], tables[1], labelled_us)
