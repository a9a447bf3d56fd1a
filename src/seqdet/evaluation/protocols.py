"""The rules by which boxes are scored, and the frames into which they join the boxes of recordings.

Protocols with a name are those that published figures follow, and plain COCO. A released protocol never changes:
another rule is another version, and its digest stands beside every figure.

Sources: the supplement of the paper on the 1 Mpx data set (https://arxiv.org/abs/2009.13436); the evaluators of the
Prophesee automotive dataset toolbox, of RVT and of HMNet; the documentation of Metavision's ``CocoEvaluator``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from ..checks import InputError, check_at_least, check_range, fit_fields
from ..data.detections import corners
from ..data.labels import EVENT_BBOX, are_boxes, is_ignored
from .coco import FRAME_BOX, ScoredFrames

TIMES = {
    "truth": "at every time with a truth box",
    "any": "at every time with a truth box or a detection",
    "grid": "at whole multiples of a period",
    "labelled": "at every labelled time, also without a box",
}
GEN1_CLASSES = ("car", "pedestrian")
ONE_MEGAPIXEL_CLASSES = ("pedestrian", "two wheeler", "car", "truck", "bus", "traffic sign", "traffic light")

Recordings = Mapping[str, np.ndarray]
"""Boxes (N,) ``EVENT_BBOX`` by the name of the recording, in sensor pixels and microseconds."""
MOST_TIME_US = 1 << 60
ROW = np.dtype([*FRAME_BOX.descr, ("t", np.int64), ("recording", np.int64), ("row", np.int64)])
"""A box. row: its number, counted through all recordings in their order."""
MOST_BOXES = 50_000_000
"""That are joined into frames, one of several frames each time."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How files of boxes become figures. Boxes are filtered, then joined into frames, then scored as COCO does.

    A moment is a time at which a frame is scored. Lengths are in pixels after scaling. Intervals include both ends.
    Labels of confidence 0 are ignored regions (COCO's crowd) in every protocol.
    """

    name: str
    version: int
    note: str = ""
    """What whoever reads a figure should know. The digest leaves it out."""
    classes: tuple[str, ...] | None = None
    """The classes that are scored, by name; boxes of other classes are left out. None: all of the data set."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Classes of the data set that count as another one: from, to."""
    dataset_classes: tuple[str, ...] = ()
    """Names of the class indices where a data set brings no list of its own."""
    sensor_hw: tuple[int, int] | None = None
    """Height and width of the sensor, before scaling. None: of any sensor."""
    scale: float = 1.0
    """Factor on all boxes before they are filtered and sorted by COCO's areas, 32 and 96 pixels squared."""
    clips_truth: bool = False
    """Truth is cut to the sensor first, and left out where nothing remains."""
    skip_us: int = -1
    """Truth and detections at this time or before are left out. -1: none."""
    min_diagonal: float = 0.0
    min_side: float = 0.0
    """Shorter boxes are left out."""
    filters_truth: bool = True
    filters_detections: bool = True
    """Which boxes the least diagonal and side are asked of."""
    moments: Literal["truth", "any", "grid", "labelled"] = "labelled"
    """Where frames are, see ``TIMES``: at times that are left after the filters."""
    period_us: int = 50_000
    """Between two moments of a grid, which starts at 0."""
    before_us: int = 0
    after_us: int = 0
    """A frame has all detections from so long before its moment until so long after; one may be in several frames."""
    truth_tolerance_us: int = 0
    """A frame has all truth up to so long before and after its moment."""
    least_score: float = 0.0
    """Detections below are left out."""
    max_detections: int = 100
    """Of every class and frame only so many count, those of the highest scores. COCO has 100, and so the most here."""
    average_precision: Literal["coco"] = "coco"
    """Mean over IoU 0.50, 0.55, ..., 0.95 and classes of the precision at 101 recalls, as pycocotools has it."""

    def __post_init__(self) -> None:
        fit_fields(self)
        if not re.fullmatch(r"[\w-]+", self.name):
            raise InputError(f"name of a protocol must be letters, digits, - and _, got {self.name!r}.")
        check_at_least(self.version, 1, "version")
        check_range(self, 1e-3, 1e3, "scale")
        check_range(self, 0, 1e6, "min_diagonal", "min_side")
        check_range(self, 0, 10**9, "before_us", "after_us", "truth_tolerance_us")
        check_range(self, -1, 10**12, "skip_us")
        check_range(self, 1000, 10**9, "period_us")
        check_range(self, 0, 1, "least_score")
        check_range(self, 1, 100, "max_detections")
        if self.clips_truth and self.sensor_hw is None:
            raise InputError("sensor_hw must be given where truth is cut to the sensor, got none.")

    @property
    def title(self) -> str:
        """Name and version as ``find_protocol`` takes them."""
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str:
        """Ten hexadecimal digits of the SHA-256 of the rules as canonical JSON: sorted keys, no blanks, ASCII.

        Rules at their defaults are left out, so that a rule that is new in the library leaves old digests as they are.
        """
        values = ((field, getattr(self, field.name)) for field in fields(self) if field.name != "note")
        rules = {field.name: value for field, value in values if value != field.default}
        text = json.dumps(rules, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def lines(self) -> list[str]:
        """The protocol in words, to print beside its figures."""
        whose = " and ".join(name for name in ("truth", "detections") if getattr(self, f"filters_{name}"))
        sizes = f"shorter than {self.min_diagonal:g} px along the diagonal or {self.min_side:g} px along a side"
        rules = [
            f"scored: {', '.join(self.classes or ['all classes of the data set'])}",
            *(f"{old} counts as {new}" for old, new in self.renamed),
            f"sensor: {self.sensor_hw[1]}x{self.sensor_hw[0]}" if self.sensor_hw else "",
            f"boxes scaled by {self.scale:g}" if self.scale != 1 else "",
            "truth cut to the sensor" if self.clips_truth else "",
            f"left out up to {self.skip_us / 1e6:g} s" if self.skip_us >= 0 else "",
            f"left out in {whose}: boxes {sizes}" if whose and (self.min_diagonal or self.min_side) else "",
            f"frames {TIMES[self.moments].replace('a period', f'{self.period_us / 1000:g} ms')}",
            f"with truth up to {self.truth_tolerance_us / 1000:g} ms before and after"
            if self.truth_tolerance_us
            else "",
            f"with detections from {self.before_us / 1000:g} ms before to {self.after_us / 1000:g} ms after",
            f"of score {self.least_score:g} and more" if self.least_score else "",
            f"at most {self.max_detections} of a class in a frame",
            "AP over IoU 0.50:0.05:0.95 at 101 recalls, as pycocotools",
        ]
        text = f"protocol {self.title}, digest {self.digest}: {'; '.join(rule for rule in rules if rule)}."
        return [text, *([self.note] if self.note else [])]


_GEN1 = Protocol(
    name="psee-gen1",
    version=1,
    note="The rules of the papers on Gen1. Detections more often than every 50 ms count as duplicates of each other.",
    classes=GEN1_CLASSES,
    dataset_classes=GEN1_CLASSES,
    sensor_hw=(240, 304),
    skip_us=500_000,
    min_diagonal=30,
    min_side=10,
    moments="truth",
    before_us=50_000,
    after_us=50_000,
)
_1MPX = replace(
    _GEN1,
    name="psee-1mpx",
    note="What is published for 1 Mpx is at half resolution, where sides of 60 and 20 px are 30 and 10. "
    "Trucks, buses, signs and lights are left out.",
    classes=ONE_MEGAPIXEL_CLASSES[:3],
    dataset_classes=ONE_MEGAPIXEL_CLASSES,
    sensor_hw=(720, 1280),
    scale=0.5,
)
_1MPX_FULL = replace(
    _1MPX,
    name="psee-1mpx-full",
    note="AP is that of psee-1mpx; what counts as a small, medium or large box differs.",
    scale=1.0,
    min_diagonal=60,
    min_side=20,
)
_RVT = replace(
    _GEN1,
    name="rvt",
    note="RVT on Gen1. It looks at the windows that end at labels, so only detections within 2 ms of one count.",
    clips_truth=True,
    before_us=2000,
    after_us=2000,
    least_score=0.001,
)
_TOOLBOX = replace(
    _GEN1,
    name="toolbox-legacy",
    note="What the toolbox's own program does on Gen1: it skips 0.1 s instead of 0.5 s and asks for sides of 20 px, "
    "which are meant for 1 Mpx. For old figures only.",
    skip_us=100_000,
    min_side=20,
)
RELEASED = (
    _GEN1,
    _1MPX,
    _1MPX_FULL,
    _TOOLBOX,
    replace(
        _1MPX_FULL,
        name="toolbox-legacy-1mpx",
        note="What the toolbox's own program does on 1 Mpx: it skips 0.1 s instead of 0.5 s, asks for sides of 10 px, "
        "which are meant for Gen1, and scores the first two classes, as car and pedestrian. For old figures only.",
        classes=ONE_MEGAPIXEL_CLASSES[:2],
        skip_us=100_000,
        min_side=10,
    ),
    replace(
        _GEN1,
        name="hmnet",
        note="HMNet on Gen1: a window of 50 ms in all, so 25 ms to each side.",
        before_us=25_000,
        after_us=25_000,
        least_score=0.01,
    ),
    _RVT,
    replace(
        _1MPX,
        name="rvt-1mpx",
        note="RVT on 1 Mpx, at half resolution. It looks at windows that end at labels, so only detections within "
        "2 ms of one count.",
        clips_truth=True,
        before_us=2000,
        after_us=2000,
        least_score=0.001,
    ),
    Protocol(
        name="metavision",
        version=1,
        note="Metavision's CocoEvaluator with its defaults. Truth and detections are both those of a window around "
        "every time that has any, so false alarms count where there is no truth, and a box counts several times.",
        moments="any",
        before_us=40_000,
        after_us=40_000,
        truth_tolerance_us=40_000,
    ),
    Protocol(
        name="coco",
        version=1,
        note="Plain COCO over all labelled times, also those without a box. Nothing is left out.",
    ),
)
PROTOCOLS = {protocol.title: protocol for protocol in RELEASED}
"""By ``name@version``."""


def find_protocol(title: str) -> Protocol:
    """The protocol ``name@version``, or the newest of a name.

    Raises:
        InputError: if there is none; the message lists all.
    """
    versions = {protocol.version: protocol for protocol in RELEASED if protocol.name == title}
    if not versions and title not in PROTOCOLS:
        raise InputError(f"protocol must be one of {', '.join(sorted(PROTOCOLS))}; got {title!r}.")
    return versions[max(versions)] if versions else PROTOCOLS[title]


def scored_labels(
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
    """Rows (N,) ``ROW`` of all recordings, sorted by recording and time, in sensor pixels.

    Args:
        boxes: by recording.
        names: of the recordings, in their order.
        whose: "truth" or "detections".
        label_of: the label of every class index, -1 where it is not scored.

    Raises:
        InputError: if a box has another form, a number that it cannot have, or an unknown class.
    """
    parts = [np.asarray(boxes.get(name, np.zeros(0, EVENT_BBOX))) for name in names]
    if wrong := [name for name, part in zip(names, parts, strict=True) if part.dtype.names != EVENT_BBOX.names]:
        raise InputError(f"{whose} of {some(wrong)} must be boxes with {', '.join(EVENT_BBOX.names or ())}.")
    found = np.concatenate(parts)
    rows = np.zeros(len(found), ROW)
    rows["recording"] = np.repeat(np.arange(len(names)), [len(part) for part in parts])
    rows["row"] = np.arange(len(found))
    rows["t"], rows["scores"] = found["t"], found["class_confidence"]
    rows["xyxy"] = corners(found)
    if whose == "truth":
        rows["is_ignored"] = is_ignored(found)
        rows["scores"] = ~rows["is_ignored"]  # what else labels have as scores says nothing
    is_sound = are_boxes(found) & np.isfinite(rows["scores"]) & (abs(rows["t"]) < MOST_TIME_US)
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
    """The rows that the rules leave, in scaled pixels.

    Args:
        rows: as ``table`` gives them, which change.
        whose: "truth" or "detections".
        protocol: the rules.
        dropped: gets how many were left out, by whose they are and why.
    """
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
    classes, label_of = scored_labels(protocol, class_names)
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
