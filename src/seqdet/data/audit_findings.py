"""What an audit can find, and where it is worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from .dataset import Entry

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
CASES_OF_ONE = 2
"""Of one recording, so that the worst cases show several."""


class Kind(NamedTuple):
    """A kind of finding: how bad it is, what it is in a few words, and what it means."""

    severity: Severity
    what: str
    meaning: str


KINDS: dict[str, Kind] = {
    "unreadable": Kind("error", "files that cannot be read", "Training stops at them, or leaves them out."),
    "damaged_frames": Kind(
        "error", "frames of tensors that are damaged", "Training stops at them. Delete the file and make it again."
    ),
    "empty_split": Kind("error", "splits without recordings", "Nothing is trained or scored on them."),
    "missing_split": Kind(
        "warning",
        "splits that are not there",
        "Training needs train and val, the score at its end test: import with --ratios, or move recordings.",
    ),
    "silent": Kind(
        "error", "recordings without events", "Training and scoring leave them out, and their labels. Were they cut?"
    ),
    "mostly_lost": Kind(
        "error", "events of recordings of which most cannot be read", "Training refuses them, with the reasons."
    ),
    "no_labels": Kind("warning", "recordings without labels", "They are not trained or scored on."),
    "no_recording": Kind("warning", "label files without a recording", "Was it moved or named otherwise?"),
    "no_classes": Kind("error", "label maps that are missing or damaged", "Classes have no names without it."),
    "alike_classes": Kind(
        "warning",
        "classes that differ by case or blanks alone",
        "They are learnt and scored apart. Merge them: --data.dataset.classes car=Car+car.",
    ),
    "unknown_class": Kind("error", "boxes with a class that the label map lacks", "They cannot be trained on."),
    "untrained_class": Kind("error", "classes to score that training never shows", "Their AP is 0 for certain."),
    "unscored_class": Kind("warning", "classes to train on that val or test lacks", "Nobody sees how well they do."),
    "same_content": Kind(
        "error", "recordings that are in two splits", "The score is that of what was learnt by heart."
    ),
    "repeated": Kind("warning", "recordings that are twice in one split", "They count twice."),
    "same_name": Kind("note", "names that recordings of two splits share", "Are they parts of one recording?"),
    "no_size": Kind("error", "boxes of no size", "Losses become infinite or not a number."),
    "outside_sensor": Kind("error", "boxes outside the sensor", "No event is ever in them. Were x and y swapped?"),
    "corners": Kind(
        "error",
        "label files whose widths and heights look like second corners",
        "Every box is far too large. Were x2, y2 written as w, h?",
    ),
    "partly_outside": Kind("note", "boxes partly outside the sensor", "Detections are cut at its rim; cut these too?"),
    "duplicate": Kind("error", "boxes on another one of the same time", "One of the two is never found."),
    "no_events": Kind(
        "warning",
        "boxes whose object has not sent an event so far",
        "No detector can know of them. Are the labels shifted in time, or made for another sensor size?",
    ),
    "quiet": Kind(
        "note", "boxes without events in their window", "Only memory finds what stands still: train on long clips."
    ),
    "frozen": Kind(
        "warning",
        "tracks that stand still without events for long",
        "The object may have gone while its box stayed.",
    ),
    "label_rate": Kind(
        "warning",
        "recordings whose labels end at half of their time, another simple part or multiple of it, or beyond it",
        "Labels drift away from their objects. Was the label rate another, such as 30 for 60? Import them again.",
    ),
    "outside_time": Kind("warning", "label times outside the recording", "No window shows them. Is the clock another?"),
    "off_grid": Kind("warning", "label times between ends of windows", "The nearest window shows more or less."),
    "unsorted": Kind("warning", "label files that run back in time", "Other readers take the wrong boxes."),
    "odd_score": Kind(
        "warning",
        "boxes with a score that is no share from 0 to 1",
        "They count as labels like any other, also those of -1: only a score of exactly 0 makes a box neither a target "
        "nor an error.",
    ),
    "gap": Kind("warning", "long stretches without labels", "Objects in them are neither learnt nor scored."),
    "tensors_only": Kind(
        "note",
        "recordings as tensors alone, whose events, and labels left out before, cannot be checked",
        "Labelled frames are looked at, and the labels that are still there. Audit the recordings themselves.",
    ),
    "no_checksums": Kind(
        "note",
        "tensor files without checksums",
        "A flipped bit gives other frames without a word. Other tools, and seqdet in its first months, write none.",
    ),
    "hot": Kind("warning", "hot pixels", "They send so much that they hide what is near them."),
    "taken": Kind("note", "recordings whose numbers are taken for something", "See that it is what they mean."),
    "damage": Kind("warning", "damaged events, left out", "Was the recording cut or copied badly?"),
}


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
        self._worst, self._found = worst, dict[str, Finding]()

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
        """Note the boxes that a mask marks; ``values`` say how bad each box is, which ``text`` puts into words."""
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
