"""What ``seqdet evaluate`` says about detections by a protocol, be they from files or of a detector."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError, check_at_least
from ..files import write_text
from ..progress import progress
from .breakdown import breakdown_lines, breakdowns, events_in_boxes
from .coco import CocoScores, ScoredFrames, average_precision, coco_scores, figure, match
from .files import Truth, of_classes, read_detections, read_truth, split_folder
from .protocols import Protocol, Recordings, find_protocol, join

FIGURES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR")
_NO_RULES = ("name", "version", "note", "dataset_classes", "sensor_hw")


@dataclass(frozen=True, kw_only=True)
class ProtocolScores(CocoScores):
    """The scores of all recordings under a protocol, by whose areas small, medium and large go.

    dropped: how many boxes are in no frame, by whose they are and why.
    notes: what a reader of the figures must know, in sentences.
    """

    protocol: Protocol
    recordings: int
    dropped: dict[str, int]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The numbers without the curves, ready for JSON."""
        named = {"protocol": self.protocol.title, "digest": self.protocol.digest}
        return super().as_dict() | named | {"notes": list(self.notes)}

    def lines(self) -> list[str]:
        """Every figure with its protocol, then the classes, what was left out, and the protocol in words."""
        figures = "  ".join(f"{name} {figure(getattr(self, name))}" for name in FIGURES)
        classes = (f"{name} {figure(each.AP)} ({each.truth_boxes} boxes)" for name, each in self.per_class.items())
        dropped = ", ".join(f"{count} {why}" for why, count in self.dropped.items())
        return [
            f"{figures}  [{self.protocol.title} {self.protocol.digest}]",
            f"AP by class: {', '.join(classes)}  [{self.protocol.title} {self.protocol.digest}]",
            f"{self.recordings} recordings, {self.frames} frames, {self.truth_boxes} truth boxes, "
            f"{self.detections} detections; left out: {dropped or 'none'}.",
            *(f"Note: {note}" for note in self.notes),
            *self.protocol.lines(),
        ]


@dataclass(frozen=True)
class RuleChange:
    """One rule changed on the way from a protocol to another. truth, detections: how many boxes it takes in or out."""

    rule: str
    change: str
    AP: float | None
    truth: int
    detections: int


@dataclass(frozen=True)
class Comparison:
    """Why two protocols give different figures: the first score, and what each rule changes, one after the other."""

    start: ProtocolScores
    end: Protocol
    steps: tuple[RuleChange, ...]

    def lines(self) -> list[str]:
        """The way from one AP to the other."""
        last = self.start.AP
        lines = [f"{self.start.protocol.title} {self.start.protocol.digest}: AP {figure(last)}"]
        for step in self.steps:
            moved = f"{step.truth} truth boxes and {step.detections} detections in or out"
            lines.append(f"  {step.change}: AP {figure(step.AP)} ({_difference(last, step.AP)}; {moved})")
            last = step.AP
        change = _difference(self.start.AP, last)
        return [*lines, f"{self.end.title} {self.end.digest}: AP {figure(last)} ({change} in all)"]


def score_frames(frames: ScoredFrames, protocol: Protocol) -> ProtocolScores:
    """The scores of boxes that were joined under that protocol."""
    coco = coco_scores(frames)
    return ProtocolScores(
        **{field.name: getattr(coco, field.name) for field in fields(coco)},
        protocol=protocol,
        recordings=len(frames.recordings),
        dropped=frames.dropped,
        notes=frames.notes,
    )


def compare(
    truth: Recordings,
    detections: Recordings,
    first: Protocol,
    second: Protocol,
    *,
    class_names: Mapping[int, str] | Sequence[str],
    labelled_us: Mapping[str, np.ndarray] | None = None,
) -> Comparison:
    """What each rule in which two protocols differ does to the AP, changed one after the other.

    What a rule does can depend on those changed before it; the last AP is that of the second protocol.

    Args:
        truth, detections, class_names, labelled_us: as for ``join``, which raises the same errors.
        first: the protocol to start from.
        second: that to end with.
    """
    frames = join(truth, detections, first, class_names=class_names, labelled_us=labelled_us)
    start = score_frames(frames, first)
    steps = []
    for rule, changed in _between(first, second):
        last = frames
        frames = join(truth, detections, changed, class_names=class_names, labelled_us=labelled_us)
        moved = len(np.setxor1d(last.truth_rows, frames.truth_rows))
        moved_detections = len(np.setxor1d(last.detection_rows, frames.detection_rows))
        change = _change(rule, first, second)
        steps.append(RuleChange(rule, change, average_precision(frames), moved, moved_detections))
    return Comparison(start, second, tuple(steps))


def _between(first: Protocol, second: Protocol) -> Iterator[tuple[str, Protocol]]:
    """Every rule that differs, and the protocol with this and all before of the second."""
    changed = replace(first, sensor_hw=second.sensor_hw or first.sensor_hw)
    for field in fields(Protocol):
        value = getattr(second, field.name)
        if field.name not in _NO_RULES and getattr(changed, field.name) != value:
            changed = replace(changed, **{field.name: value})
            yield field.name, changed


def _change(rule: str, first: Protocol, second: Protocol) -> str:
    return f"{rule} {_spelt(getattr(first, rule))} -> {_spelt(getattr(second, rule))}"


def _spelt(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "all" if value is None else str(value)


def _difference(before: float | None, after: float | None) -> str:
    return "-" if before is None or after is None else f"{round(after - before, 3) + 0.0:+.3f}"


@dataclass(frozen=True)
class Interval:
    """Where 95 % of the resampled figures lie. None where no sample had truth."""

    low: float | None
    high: float | None

    def __str__(self) -> str:
        return f"{figure(self.low)} to {figure(self.high)}"


def bootstrap(frames: ScoredFrames, *, samples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """95 % intervals of AP, AP50 and AP75: the percentiles 2.5 and 97.5 of a bootstrap over recordings.

    A sample draws as many recordings as there are, with replacement, and scores them as if that were the data set.
    Recordings are drawn whole, for the boxes of one are not independent. The matching is done once; a sample only
    weighs its hits and errors, which is the same but for the order among detections of equal score. Samples without
    truth are left out.

    Args:
        frames: the boxes.
        samples: how many.
        seed: of the drawing.

    Raises:
        InputError: if there are fewer than two recordings, between which nothing can vary.
    """
    count = len(frames.recordings)
    if count < 2:
        raise InputError(f"a bootstrap needs at least 2 recordings to draw from, got {count}.")
    check_at_least(samples, 1, "samples")
    matches = [match(frames, label) for label in range(len(frames.classes))]
    drawn = np.random.default_rng(seed).integers(count, size=(samples, count))
    found = np.full((samples, len(matches), 10), np.nan)
    for sample, recordings in enumerate(progress(drawn, "resampling", unit="sample")):
        weights = np.bincount(recordings, minlength=count)
        for label, of_class in enumerate(matches):
            found[sample, label] = of_class.precision(weights).mean(axis=1)
    means = found[~np.isnan(found).all((1, 2))]
    means = np.nanmean(means, 1) if len(means) else np.zeros((0, 10))
    return {"AP": _interval(means.mean(1)), "AP50": _interval(means[:, 0]), "AP75": _interval(means[:, 5])}


def _interval(values: np.ndarray) -> Interval:
    return Interval(*map(float, np.percentile(values, [2.5, 97.5]))) if len(values) else Interval(None, None)


class Verdict(NamedTuple):
    """What there is to say: the lines to print, the protocol and its digest beside every figure; all for JSON."""

    lines: list[str]
    facts: dict[str, Any]


def evaluate_files(
    detections: Path,
    dataset: Path,
    *,
    protocol: str = "coco",
    split: str = "test",
    other: str | None = None,
    samples: int = 0,
    events: bool = True,
    target: Path | None = None,
) -> list[str]:
    """Score files of detections; the lines to print.

    Args:
        detections: file or folder, see ``read_detections``; where the folder lists classes, only these are scored.
        dataset: folder, see ``read_truth``.
        protocol: ``name@version``, or a name, whose newest version it is.
        split: of the dataset.
        other: a protocol whose figure to explain, starting from the first.
        samples: of a bootstrap over recordings for intervals; 0 for none.
        events: read the recordings beside the labels, and score boxes by how long they have had no events.
        target: JSON file for all figures.

    Raises:
        InputError: if a file or a protocol is missing, or they do not belong together.
    """
    rules = find_protocol(protocol)
    second = find_protocol(other) if other else None
    truth = of_classes(read_truth(dataset, split=split, classes=rules.dataset_classes), detections)
    found = read_detections(detections)
    counts = events_in_boxes(split_folder(dataset, split), truth.boxes) if events else None
    verdict = judge(truth, found, rules, other=second, samples=samples, events=counts)
    if target:
        write_text(target, json.dumps(verdict.facts, indent=2) + "\n")
    return verdict.lines


def judge(
    truth: Truth,
    found: Recordings,
    protocol: Protocol,
    *,
    other: Protocol | None = None,
    samples: int = 0,
    events: Mapping[str, np.ndarray] | None = None,
) -> Verdict:
    """Score detections by the name of their recording.

    Args:
        truth: what there is to find.
        found: the detections, of recordings of the truth.
        protocol: the rules.
        other: a protocol whose figure to explain, starting from the first.
        samples: of a bootstrap over recordings for intervals; 0 for none.
        events: by recording (N,), how many events were in every box of the truth since the label before.

    Raises:
        InputError: if truth, detections and protocol do not belong together.
    """
    frames = join(truth.boxes, found, protocol, class_names=truth.class_names, labelled_us=truth.labelled_us)
    score = score_frames(frames, protocol)
    tag = f"[{protocol.title} {protocol.digest}]"
    facts = score.as_dict()
    first, *others = score.lines()
    lines = [first]
    if samples:
        intervals = bootstrap(frames, samples=samples)
        text = "  ".join(f"{name} {interval}" for name, interval in intervals.items())
        lines.append(f"95 % of {samples} resamplings of the recordings: {text}  {tag}")
        facts["intervals"] = {name: asdict(interval) for name, interval in intervals.items()}
    parts = breakdowns(frames, truth.boxes, events=events)
    lines += [others[0], *breakdown_lines(parts, tag), *others[1:]]
    facts["breakdowns"] = {name: [finite(asdict(each)) for each in bins] for name, bins in parts.items()}
    if other:
        comparison = compare(
            truth.boxes, found, protocol, other, class_names=truth.class_names, labelled_us=truth.labelled_us
        )
        lines += comparison.lines()
        facts["comparison"] = {"to": other.title, "digest": other.digest} | {
            "steps": [asdict(step) for step in comparison.steps]
        }
    return Verdict(lines, facts)


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """With None for infinity, which JSON does not know."""
    return {name: None if value == math.inf else value for name, value in values.items()}
