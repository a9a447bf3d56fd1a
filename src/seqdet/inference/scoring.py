"""Held-out recordings, a detector run over them, and the scores of what it finds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError
from ..config import DECODING, SHOWN_SCORE, AugmentConfig, RunConfig
from ..data.classes import read_classes, write_classes
from ..data.dataset import FOLDERS, Split
from ..data.detections import event_boxes
from ..data.joining import window_of
from ..data.labels import EVENT_BBOX, LABEL_SUFFIX, write_labels
from ..data.sources import stated_facts
from ..evaluation.breakdown import Bin, Errors, Reliability, breakdowns, events_in_boxes, find_errors, reliability
from ..evaluation.coco import CocoEvaluator, CocoScores, ScoredFrames
from ..evaluation.files import Truth, name_of, split_folder, truth_of
from ..evaluation.protocols import Protocol, find_protocol, join
from ..evaluation.report import finite
from ..loading import describe_split, evaluation_loader, open_split
from ..models.detector import Detector
from ..progress import progress
from ..structures import Boxes, Clip
from .torch_runner import predict

AT_LABELS = "truth", "labelled"
"""Moments of a protocol at which a detector is asked only where somebody looked."""
VIDEO_FRAMES = 96
"""Least frames of every lane that the video shows."""
STILL = "still, s"


def held_out_config(config: RunConfig, dataset: Path | None = None) -> RunConfig:
    """The configuration of a run with its data as they are scored: unchanged, and in another folder if one is given.

    The classes are those that the detector knows by name, if they are all there.

    Args:
        config: of the run.
        dataset: folder of recordings or of tensors; None for those of the run.

    Raises:
        InputError: if there is no such folder, or its classes cannot be read.
    """
    mine = config.data.dataset
    if dataset is not None and not (mine.folder is not None and mine.folder.resolve() == dataset.resolve()):
        if not dataset.is_dir():
            raise InputError(f"{dataset} must be the folder of a dataset, and is none.")
        is_known = set(config.model.classes) <= set(read_classes(dataset))
        classes = config.model.classes if is_known else mine.classes
        mine = replace(mine, folder=dataset, simulate=False, tensors=None, classes=classes)
    return replace(config, data=replace(config.data, dataset=replace(mine, augment=AugmentConfig())))


class HeldOut:
    """A split of the data of a run, open. ``loading.prepare_split`` has made what is to be made.

    Args:
        config: of the run, as ``held_out_config`` gives it.
        split: which part.
        called: the data, where they do not fit.

    Raises:
        InputError: if the data cannot be read, or are none that the detector was made for.
    """

    def __init__(self, config: RunConfig, split: Split, *, called: str = "the data") -> None:
        self.split: Split = split
        self.config = config
        self.source = open_split(config.data, split)
        if self.source.channels != config.model.in_channels or self.source.classes != config.model.classes:
            raise InputError(
                f"{called} must fit the detector, which takes {config.model.in_channels} channels and "
                f"knows {', '.join(config.model.classes)}; got {self.source.channels} channels and "
                f"{', '.join(self.source.classes)}."
            )
        self.known = describe_split(self.source)

    @cached_property
    def names(self) -> list[str]:
        """Of the recordings, as files of detections are named."""
        return [name_of(path) for path in self.known.paths]

    @property
    def titles(self) -> list[str]:
        """What the recordings are called in pictures."""
        return [f"{self.known.kind}{name}" for name in self.names]

    @cached_property
    def truth(self) -> Truth | None:
        """The labels in the files of the split, with the classes of the detector; None where no file has them."""
        if self.known.labels is None:
            return None
        labels = {name: path for name, path in zip(self.names, self.known.labels, strict=True) if path is not None}
        return truth_of(labels, self.known.class_map.found).mapped(self.known.class_map)

    def events(self, truth: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """How many events boxes had inside, as ``events_in_boxes``; None where there are no recordings."""
        dataset = self.config.data.dataset
        if dataset.folder is None:
            return None
        part = split_folder(dataset.folder, FOLDERS[self.split])
        return events_in_boxes(part, truth, size_hw=dataset.size_hw, time_unit=stated_facts(dataset).time_unit)


class LabelledRecordings(NamedTuple):
    """Boxes ``EVENT_BBOX`` and labelled times by the name of the recording, as ``join`` takes them."""

    truth: dict[str, np.ndarray]
    detections: dict[str, np.ndarray]
    labelled_us: dict[str, np.ndarray]


def labelled_recordings(
    truth: Sequence[Boxes],
    detections: Sequence[Boxes],
    recordings: Sequence[int],
    times_us: Sequence[int],
    *,
    scales_xy: Sequence[tuple[float, float]] = (),
) -> LabelledRecordings:
    """The labelled frames of any number of recordings, in any order.

    Args:
        truth: one entry per frame; ignored boxes get a confidence of 0.
        detections: with scores.
        recordings: number of the recording of every frame, which becomes its name.
        times_us: of every frame.
        scales_xy: what pixels are multiplied by, by the number of the recording; 1 if not given.

    Raises:
        InputError: if the lengths differ, detections have no scores, or two frames have one recording and time.
    """
    lengths = {len(truth), len(detections), len(recordings), len(times_us)}
    if len(lengths) > 1:
        raise InputError(f"truth, detections, recordings and times_us must have equal lengths, got {sorted(lengths)}.")
    if any(boxes.scores is None for boxes in detections):
        raise InputError("detections must have scores, got boxes without. Were truth and detections swapped?")
    of_frame, times = np.array(recordings, np.int64), np.array(times_us, np.int64)
    if len(np.unique(np.stack([of_frame, times]), axis=1).T) < len(times):
        raise InputError("frames must be of different times of their recording, got one twice.")
    names = {str(number): number for number in np.unique(of_frame).tolist()}
    tables = []
    for boxes in (truth, detections):
        parts = [
            event_boxes(each, time, scale_xy=scales_xy[number] if scales_xy else (1, 1))
            for each, time, number in zip(boxes, times.tolist(), of_frame.tolist(), strict=True)
        ]
        rows = np.concatenate([np.zeros(0, EVENT_BBOX), *parts])
        owners = np.repeat(of_frame, [len(each) for each in boxes])
        tables.append({name: rows[owners == number] for name, number in names.items()})
    labelled_us = {name: np.sort(times[of_frame == number]) for name, number in names.items()}
    return LabelledRecordings(tables[0], tables[1], labelled_us)


class LabelledFrame(NamedTuple):
    """A labelled frame: number of the recording, and of the window in it; what was found, in pixels of the frame."""

    recording: int
    window: int
    detections: Boxes


class LabelledFrames:
    """Truth and detections of the labelled frames of many clips, those of a recording one after the other.

    Args:
        scales_xy: of each recording, pixels of the sensor across a pixel of a frame; 1 if not given.
    """

    def __init__(self, scales_xy: Sequence[tuple[float, float]] = ()) -> None:
        self.scales_xy = scales_xy
        self._truth: list[Boxes] = []
        self._frames: list[LabelledFrame] = []
        self._times_us: list[int] = []
        self._windows: Counter[int] = Counter()

    def add(self, clip: Clip, detections: Sequence[Boxes]) -> None:
        """Take those of a clip; ``detections`` are T * B entries in (t, b) order."""
        time = len(clip.frames)
        recordings = clip.recordings.tolist()
        self._truth += clip.labelled(clip.boxes)
        self._times_us += clip.end_us.flatten()[clip.is_labelled.flatten()].tolist()
        places = [(number, self._windows[number] + t) for t in range(time) for number in recordings]
        labelled = zip(places, detections, clip.is_labelled.flatten().tolist(), strict=True)
        self._frames += [LabelledFrame(*place, boxes) for place, boxes, wanted in labelled if wanted]
        for number in recordings:
            self._windows[number] += time

    def parts(self) -> LabelledRecordings:
        """The boxes in pixels of the sensor, by the number of the recording."""
        numbers = [each.recording for each in self._frames]
        found = [each.detections for each in self._frames]
        return labelled_recordings(self._truth, found, numbers, self._times_us, scales_xy=self.scales_xy)

    def joined(self, classes: Sequence[str]) -> tuple[ScoredFrames, LabelledRecordings]:
        """All of them as frames of plain COCO, in pixels of the sensor, and the boxes that they come from."""
        parts = self.parts()
        rules = find_protocol("coco")
        frames = join(parts.truth, parts.detections, rules, class_names=classes, labelled_us=parts.labelled_us)
        return frames, parts

    def frames(self) -> list[LabelledFrame]:
        """The labelled frames in the order of those that were joined."""
        order = np.lexsort((self._times_us, [each.recording for each in self._frames]))
        return [self._frames[n] for n in order]


class RecordingDetections:
    """What a detector says, at the times at which a protocol asks.

    Where a protocol scores at labelled times, a labelled time gets the detections of the window that it belongs to by
    the policy and the tolerance of the dataset, as in training; one that belongs to none gets nothing. Where it scores
    elsewhere too, every window gives its detections at its end. A recording without labels gives none.

    Args:
        data: what the detector is run over.
        protocol: the rules.
    """

    def __init__(self, data: HeldOut, protocol: Protocol) -> None:
        self._names = data.names
        self._scales_xy = data.known.scales_xy
        self._times_us = _asked(data) if protocol.moments in AT_LABELS else None
        known = data.names if data.truth is None else data.truth.boxes
        self._found: dict[str, list[np.ndarray]] = {name: [] for name in data.names if name in known}

    def add(self, clip: Clip, detections: Sequence[Boxes]) -> None:
        """Take those of a clip; ``detections`` are T * B entries in (t, b) order."""
        numbers = clip.recordings.tolist() * len(clip.frames)
        ends_us = clip.end_us.flatten().tolist()
        for number, end_us, boxes in zip(numbers, ends_us, detections, strict=True):
            if number >= 0 and end_us > 0 and self._names[number] in self._found:
                times_us = [end_us] if self._times_us is None else self._times_us[number].get(end_us, ())
                scale_xy = self._scales_xy[number]
                tables = [event_boxes(boxes, time_us, scale_xy=scale_xy) for time_us in times_us]
                self._found[self._names[number]] += tables

    def by_recording(self) -> dict[str, np.ndarray]:
        """The detections (N,) ``EVENT_BBOX`` of every recording with labels, by its name, sorted by time."""
        tables = {name: np.concatenate([np.zeros(0, EVENT_BBOX), *parts]) for name, parts in self._found.items()}
        return {name: rows[np.argsort(rows["t"], kind="stable")] for name, rows in tables.items()}


def write_detections(folder: Path, found: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Write the detections as label files, one for each recording, and the names of the classes, to a folder.

    Args:
        folder: which is there.
        found: the detections (N,) ``EVENT_BBOX`` by recording.
        classes: their names.

    Raises:
        InputError: if a file cannot be written.
    """
    write_classes(folder, classes)
    for name, rows in found.items():
        write_labels(folder / f"{name}{LABEL_SUFFIX}", rows)


def _asked(data: HeldOut) -> list[Mapping[int, Sequence[int]]] | None:
    """For every recording, by the end of a window, the labelled times that belong to it; None: at the end of each."""
    if data.truth is None:
        return None
    rules = data.config.data.dataset
    asked = []
    for name, ends_us in zip(data.names, data.known.ends_us, strict=True):
        times: defaultdict[int, list[int]] = defaultdict(list)
        labelled_us = data.truth.labelled_us.get(name, np.zeros(0, np.int64))
        windows = window_of(labelled_us, ends_us, policy=rules.policy, tolerance_us=rules.tolerance_us)
        for time_us, window in zip(labelled_us.tolist(), windows.tolist(), strict=True):
            if window >= 0:
                times[int(ends_us[window])].append(time_us)
        asked.append(times)
    return asked


class Scored(NamedTuple):
    """What was found in a split.

    scores: plain COCO over the labelled windows, in pixels of the frames. protocol: that of which these are the
    figures too, as all labels count as they are in their files; None if some do not. still: the scores of what has
    stood still, where there are recordings. frames, parts: all labelled windows, in pixels of the sensor;
    labelled_frames: the same, one by one. errors, reliability: of these. detections: (N,) ``EVENT_BBOX`` by recording,
    if a protocol was given. shown: the first clips.
    """

    scores: CocoScores
    protocol: Protocol | None
    still: dict[str, Any]
    frames: ScoredFrames
    parts: LabelledRecordings
    labelled_frames: list[LabelledFrame]
    errors: Errors
    reliability: Reliability
    detections: dict[str, np.ndarray] | None
    shown: list[tuple[Clip, list[Boxes]]]


def score(detector: Detector, data: HeldOut, *, precision: str, protocol: Protocol | None = None) -> Scored:
    """Run over a split, where there are recordings once more without memory.

    Args:
        detector: the detector.
        data: the split.
        precision: "float32" or "bfloat16" layers.
        protocol: by whose times detections are gathered as files hold them; none are if not given.
    """
    classes = detector.classes
    clip_length = data.config.data.clip_length
    evaluator = CocoEvaluator(classes)
    labelled = LabelledFrames(data.known.scales_xy)
    gathered = RecordingDetections(data, protocol) if protocol else None
    shown: list[tuple[Clip, list[Boxes]]] = []
    for clip, detections in _predicted(detector, data, precision, "evaluating", remembers=True):
        evaluator.add(clip.labelled(clip.boxes), clip.labelled(detections))
        labelled.add(clip, detections)
        if gathered:
            gathered.add(clip, detections)
        if len(shown) * clip_length < VIDEO_FRAMES:
            shown.append((clip, [boxes.above(SHOWN_SCORE) for boxes in detections]))
    frames, parts = labelled.joined(classes)
    return Scored(
        scores=evaluator.compute(),
        protocol=find_protocol("coco") if _is_whole(data, parts) else None,
        still={} if data.truth is None else _still(detector, data, precision, (frames, parts)),
        frames=frames,
        parts=parts,
        labelled_frames=labelled.frames(),
        errors=find_errors(frames, least_score=SHOWN_SCORE),
        reliability=reliability(frames, shown_score=SHOWN_SCORE),
        detections=gathered.by_recording() if gathered else None,
        shown=shown,
    )


def bins(scored: Scored, data: HeldOut, *, events: bool) -> dict[str, list[dict[str, Any]]]:
    """The scores of the labelled windows by what the objects do, ready for JSON.

    Args:
        scored: what was found.
        data: in which recordings.
        events: read these, where there are some, to score boxes by how long they have had no events.
    """
    names = {data.names[int(number)]: number for number in scored.frames.recordings}
    counts = data.events({name: scored.parts.truth[number] for name, number in names.items()}) if events else None
    by_number = counts and {number: counts[name] for name, number in names.items()}
    found = breakdowns(scored.frames, scored.parts.truth, events=by_number)
    return {name: [finite(asdict(each)) for each in of_name] for name, of_name in found.items()}


def _still(
    detector: Detector, data: HeldOut, precision: str, remembered: tuple[ScoredFrames, LabelledRecordings]
) -> dict[str, Any]:
    """The scores of boxes that have stood still for 0.3 s or more, as they are and without memory."""
    forgotten = LabelledFrames(data.known.scales_xy)
    for clip, detections in _predicted(detector, data, precision, "without memory", remembers=False):
        forgotten.add(clip, detections)
    without = forgotten.joined(detector.classes)
    return {"still": longest_still(*remembered), "still_without_memory": longest_still(*without)}


def longest_still(frames: ScoredFrames, parts: LabelledRecordings) -> dict[str, Any] | None:
    """The scores of what has stood still longest; None if there is none, or no tracks."""
    longest: list[Bin] = breakdowns(frames, parts.truth).get(STILL, [])[-1:]
    return finite(asdict(longest[0])) if longest and longest[0].truth_boxes else None


def _is_whole(data: HeldOut, parts: LabelledRecordings) -> bool:
    """Whether the labelled windows show all labels of the files just as they are, in frames as large as the sensor."""
    if data.truth is None:
        return True
    if any(scale_xy != (1, 1) for scale_xy in data.known.scales_xy):
        return False
    nothing = np.zeros(0, EVENT_BBOX)
    never = np.zeros(0, np.int64)
    for number, name in enumerate(data.names):
        shown = parts.truth.get(str(number), nothing)
        labels = data.truth.boxes.get(name, nothing)
        times = parts.labelled_us.get(str(number), never), data.truth.labelled_us.get(name, never)
        if len(shown) != len(labels) or len(times[0]) != len(times[1]):
            return False
        fields = ("x", "y", "w", "h", "class_id", "class_confidence")
        sides = [np.stack([rows[field] for field in fields]) for rows in (shown, labels)]
        if not np.allclose(*sides, atol=1e-3):
            return False
    return True


def _predicted(
    detector: Detector, data: HeldOut, precision: str, title: str, *, remembers: bool
) -> Iterable[tuple[Clip, list[Boxes]]]:
    clips = evaluation_loader(data.config.data, data.split, source=data.source)
    found = predict(detector, clips, score=DECODING.score, precision=precision, remembers=remembers)
    return progress(found, title, unit="clip", total=len(clips))
