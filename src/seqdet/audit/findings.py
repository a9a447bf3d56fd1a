"""What an audit looks for, what it found, and where that is worst. Without anything that takes time to import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ..checks import check_at_least

if TYPE_CHECKING:
    from ..data.dataset import Entry
    from ..events.time_units import Unit

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
CASES_OF_ONE = 2
"""Of one recording, so that the worst cases show several."""


class FindingKind(NamedTuple):
    """A kind of finding: how bad it is, what it is in a few words, and what it means."""

    severity: Severity
    what: str
    meaning: str


KINDS: dict[str, FindingKind] = {
    "unreadable": FindingKind("error", "files that cannot be read", "Training stops at them, or leaves them out."),
    "damaged_frames": FindingKind(
        "error", "frames of tensors that are damaged", "Training stops at them. Delete the file and make it again."
    ),
    "empty_split": FindingKind("error", "splits without recordings", "Nothing is trained or scored on them."),
    "missing_split": FindingKind(
        "warning",
        "splits that are not there",
        "Training needs train and val, the score at its end test: import with --ratios, or move recordings.",
    ),
    "silent": FindingKind(
        "error", "recordings without events", "Training and scoring leave them out, and their labels. Were they cut?"
    ),
    "mostly_lost": FindingKind(
        "error", "events of recordings of which most cannot be read", "Training refuses them, with the reasons."
    ),
    "no_labels": FindingKind("warning", "recordings without labels", "They are not trained or scored on."),
    "no_recording": FindingKind("warning", "label files without a recording", "Was it moved or named otherwise?"),
    "no_classes": FindingKind("error", "label maps that are missing or damaged", "Classes have no names without it."),
    "alike_classes": FindingKind(
        "warning",
        "classes that differ by case or blanks alone",
        "They are learnt and scored apart. Merge them: --data.dataset.classes car=Car+car.",
    ),
    "unknown_class": FindingKind("error", "boxes with a class that the label map lacks", "They cannot be trained on."),
    "untrained_class": FindingKind("error", "classes to score that training never shows", "Their AP is 0 for certain."),
    "unscored_class": FindingKind(
        "warning", "classes to train on that val or test lacks", "Nobody sees how well they do."
    ),
    "same_content": FindingKind(
        "error", "recordings that are in two splits", "The score is that of what was learnt by heart."
    ),
    "repeated": FindingKind("warning", "recordings that are twice in one split", "They count twice."),
    "same_name": FindingKind("note", "names that recordings of two splits share", "Are they parts of one recording?"),
    "no_size": FindingKind("error", "boxes of no size", "Losses become infinite or not a number."),
    "outside_sensor": FindingKind(
        "error", "boxes outside the sensor", "No event is ever in them. Were x and y swapped?"
    ),
    "corners": FindingKind(
        "error",
        "label files whose widths and heights look like second corners",
        "Every box is far too large. Were x2, y2 written as w, h?",
    ),
    "partly_outside": FindingKind(
        "note", "boxes partly outside the sensor", "Detections are cut at its rim; cut these too?"
    ),
    "duplicate": FindingKind("error", "boxes on another one of the same time", "One of the two is never found."),
    "no_events": FindingKind(
        "warning",
        "boxes whose object has not sent an event so far",
        "No detector can know of them. Are the labels shifted in time, or made for another sensor size?",
    ),
    "quiet": FindingKind(
        "note", "boxes without events in their window", "Only memory finds what stands still: train on long clips."
    ),
    "frozen": FindingKind(
        "warning",
        "tracks that stand still without events for long",
        "The object may have gone while its box stayed.",
    ),
    "label_rate": FindingKind(
        "warning",
        "recordings whose labels end at half of their time, another simple part or multiple of it, or beyond it",
        "Labels drift away from their objects. Was the label rate another, such as 30 for 60? Import them again.",
    ),
    "outside_time": FindingKind(
        "warning", "label times outside the recording", "No window shows them. Is the clock another?"
    ),
    "off_grid": FindingKind("warning", "label times between ends of windows", "The nearest window shows more or less."),
    "unsorted": FindingKind("warning", "label files that run back in time", "Other readers take the wrong boxes."),
    "odd_score": FindingKind(
        "warning",
        "boxes with a score that is no share from 0 to 1",
        "They count as labels like any other, also those of -1: only a score of exactly 0 makes a box neither a target "
        "nor an error.",
    ),
    "gap": FindingKind("warning", "long stretches without labels", "Objects in them are neither learnt nor scored."),
    "tensors_only": FindingKind(
        "note",
        "recordings as tensors alone, whose events, and labels left out before, cannot be checked",
        "Labelled frames are looked at, and the labels that are still there. Audit the recordings themselves.",
    ),
    "no_checksums": FindingKind(
        "note",
        "tensor files without checksums",
        "A flipped bit gives other frames without a word. Other tools, and seqdet in its first months, write none.",
    ),
    "hot": FindingKind("warning", "hot pixels", "They send so much that they hide what is near them."),
    "taken": FindingKind("note", "recordings whose numbers are taken for something", "See that it is what they mean."),
    "damage": FindingKind("warning", "damaged events, left out", "Was the recording cut or copied badly?"),
}


@dataclass(frozen=True)
class Limits:
    """From where on something is found.

    window_us: events of a box are those in this time before its label; windows end at multiples of it.
    tolerance_us: labels may be this far from the end of a window.
    few_events: a box with at most so many events counts as one without; so does one with as few as noise puts there.
    frozen_s: a box may stand still without events for so long.
    gap_s: a recording may be without labels for so long, and for three times the usual step between labels.
    """

    window_us: int = 50_000
    tolerance_us: int = 2_000
    few_events: int = 0
    frozen_s: float = 5.0
    gap_s: float = 2.0

    def __post_init__(self) -> None:
        check_at_least(self.window_us, 1, "window_us")
        for name in ("tolerance_us", "few_events", "frozen_s", "gap_s"):
            check_at_least(getattr(self, name), 0, name)


@dataclass(frozen=True)
class Case:
    """One place where something was found.

    entry: the recording; None for what concerns none. name: of it, or of what it is. time_us: of the label. box: x, y,
    w, h in pixels of the sensor. value: how bad it is. text: in words.
    """

    entry: Entry | None
    name: str
    time_us: int | None = None
    box: tuple[float, float, float, float] | None = None
    value: float = 0
    text: str = ""

    def __str__(self) -> str:
        time = "" if self.time_us is None else f" at {self.time_us / 1e6:.3f} s"
        return f"{self.name}{time}{': ' if self.text else ''}{self.text}"


@dataclass
class Finding:
    """All of one kind. count: how often. recordings: in how many. cases: the worst ones."""

    kind: str
    severity: Severity
    count: int = 0
    recordings: int = 0
    cases: list[Case] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """What, how often and where."""
        where = f" in {self.recordings:,} recording{'s' if self.recordings > 1 else ''}" if self.recordings else ""
        return f"{KINDS[self.kind].what}: {self.count:,}{where}"

    @property
    def meaning(self) -> str:
        """What it does to a training."""
        return KINDS[self.kind].meaning


class Findings:
    """Collects what is found, and of it the ``worst`` cases of each kind."""

    def __init__(self, worst: int) -> None:
        self._worst = worst
        self._found = dict[str, Finding]()

    def add(
        self, kind: str, cases: Sequence[Case], *, count: int | None = None, severity: Severity | None = None
    ) -> None:
        """Note cases of a kind, all of one recording or of none; ``count`` if there are more than are given."""
        if not cases:
            return
        finding = self._found.setdefault(kind, Finding(kind, severity or KINDS[kind].severity))
        if severity is not None:
            finding.severity = SEVERITIES[min(map(SEVERITIES.index, (finding.severity, severity)))]
        finding.count += len(cases) if count is None else count
        finding.recordings += cases[0].entry is not None
        limit = self._worst if cases[0].entry is None else CASES_OF_ONE
        chosen = sorted(cases, key=lambda case: -case.value)[:limit]
        finding.cases = sorted([*finding.cases, *chosen], key=lambda case: -case.value)[: self._worst]

    def add_names(self, kind: str, names: Sequence[str], *, text: str = "") -> None:
        """Note what concerns no recording alone, by its names."""
        self.add(kind, [Case(None, name, text=text) for name in names])

    def add_recording(
        self, kind: str, entry: Entry, *, value: float = 0, text: str = "", count: int | None = None
    ) -> None:
        """Note what is so of a whole recording: how bad it is, in words, and how often it is so."""
        self.add(kind, [Case(entry, entry.name, value=value, text=text)], count=count)

    def add_boxes(
        self,
        kind: str,
        entry: Entry,
        boxes: np.ndarray,
        is_found: np.ndarray,
        *,
        values: np.ndarray | None = None,
        text: str = "{:.2g}",
        severity: Severity | None = None,
    ) -> None:
        """Note the boxes that a mask marks, the worst as cases.

        Args:
            kind: of the finding, a key of ``KINDS``.
            entry: the recording.
            boxes: its labels, (N,) ``EVENT_BBOX``.
            is_found: (N,) bool, the mask.
            values: (N,) how bad each box is; all alike if None.
            text: puts such a value into words, as ``str.format`` does.
            severity: that of the kind if None.
        """
        places = np.flatnonzero(is_found)
        worst = places if values is None else places[np.argsort(-values[places], kind="stable")]
        cases = []
        for n in worst[:CASES_OF_ONE].tolist():
            row = boxes[n]
            value = 0.0 if values is None else float(values[n])
            words = "" if values is None else text.format(value)
            box = float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"])
            cases.append(Case(entry, entry.name, int(row["t"]), box, value, words))
        self.add(kind, cases, count=len(places), severity=severity)

    def sorted(self) -> list[Finding]:
        """The findings, the worst first."""
        kinds = list(KINDS)
        return sorted(self._found.values(), key=lambda each: (SEVERITIES.index(each.severity), kinds.index(each.kind)))


@dataclass
class SplitFacts:
    """What a split holds.

    boxes: by class index. labelled, empty: frames, and those of them without a box. timed: recordings whose labels were
    compared with their time. misfits: those of them whose rate of labels looks wrong.
    """

    recordings: int = 0
    seconds: float = 0
    labelled: int = 0
    empty: int = 0
    boxes: Counter[int] = field(default_factory=Counter)
    timed: int = 0
    misfits: list[Case] = field(default_factory=list)


@dataclass
class AuditResult:
    """What was found. size_hw, time_unit: of the sensor and of the times, as they were given. classes: names, if there
    are some. splits: by name."""

    folder: Path
    limits: Limits
    size_hw: tuple[int, int] | None
    classes: tuple[str, ...]
    splits: dict[str, SplitFacts]
    findings: list[Finding]
    time_unit: Unit | None = None

    def kinds(self, severity: str | None = None) -> set[str]:
        """The kinds that were found, of one severity or of all."""
        return {each.kind for each in self.findings if severity in (None, each.severity)}

    def class_name(self, index: int) -> str:
        """The name of a class, or its number."""
        return self.classes[index] if index < len(self.classes) else f"class {index}"

    def lines(self) -> list[str]:
        """The facts and the findings in words."""
        text = []
        for name, split in self.splits.items():
            counts = ", ".join(f"{self.class_name(n)}: {count:,}" for n, count in sorted(split.boxes.items()))
            frames = f"{split.labelled:,} labelled frames, {split.empty:,} empty ones"
            boxes = f"{split.boxes.total():,} boxes{f' ({counts})' if counts else ''}"
            text.append(f"{name or 'all'}: {split.recordings:,} recordings, {split.seconds:,.0f} s, {frames}, {boxes}")
        for each in self.findings:
            worst = f" (worst: {each.cases[0]})" if each.cases else ""
            text.append(f"{each.severity}: {each.sentence}{worst}")
        return text if self.findings else [*text, "nothing found"]
