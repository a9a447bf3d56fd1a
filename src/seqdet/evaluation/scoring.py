"""Score files of detections under a protocol, and explain what another protocol would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .coco import CocoScores, score_tables
from .frames import Frames, join
from .matching import average_precision
from .protocol import Protocol
from .rows import Recordings

FIGURES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR")
_NO_RULES = ("name", "version", "note", "dataset_classes", "sensor_hw")


@dataclass(frozen=True, kw_only=True)
class Score(CocoScores):
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
class Step:
    """One rule changed on the way from a protocol to another. truth, detections: how many boxes it takes in or out."""

    rule: str
    change: str
    AP: float | None
    truth: int
    detections: int


@dataclass(frozen=True)
class Comparison:
    """Why two protocols give different figures: the first score, and what each rule changes, one after the other."""

    start: Score
    end: Protocol
    steps: tuple[Step, ...]

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


def score(
    truth: Recordings,
    detections: Recordings,
    protocol: Protocol,
    *,
    class_names: Mapping[int, str] | Sequence[str],
    labelled_us: Mapping[str, np.ndarray] | None = None,
) -> Score:
    """The scores under a protocol. Arguments and errors are those of ``join``."""
    return score_frames(join(truth, detections, protocol, class_names=class_names, labelled_us=labelled_us), protocol)


def score_frames(frames: Frames, protocol: Protocol) -> Score:
    """The scores of boxes that were joined under that protocol."""
    coco = score_tables(frames.truth, frames.detections, frames.classes, len(frames.recording_of_frame))
    found = {field.name: getattr(coco, field.name) for field in fields(coco)}
    facts = {"recordings": len(frames.recordings), "dropped": frames.dropped, "notes": frames.notes}
    return Score(**found, protocol=protocol, **facts)


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
    Arguments and errors are those of ``join``.
    """
    given: Any = {"class_names": class_names, "labelled_us": labelled_us}
    frames = join(truth, detections, first, **given)
    start = score_frames(frames, first)
    steps = []
    for rule, changed in _between(first, second):
        last, frames = frames, join(truth, detections, changed, **given)
        counts = (
            len(np.setxor1d(getattr(last, rows), getattr(frames, rows))) for rows in ("truth_rows", "detection_rows")
        )
        steps.append(Step(rule, _change(rule, first, second), average_precision(frames), *counts))
    return Comparison(start, second, tuple(steps))


def figure(value: float | None) -> str:
    """Three decimals, or a dash where there is nothing to score."""
    return "-" if value is None else f"{value:.3f}"


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
