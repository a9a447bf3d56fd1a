"""Find in a dataset what ruins trainings, before they are run."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..checks import InputError, check_at_least
from ..events.accounts import Account
from ..events.dataset_facts import DatasetFacts
from ..events.files import Recording
from ..events.time_units import Unit
from ..progress import progress
from .audit_events import damaged_frames, watch_recording, watch_tensors
from .audit_findings import Case, Finding, Findings
from .audit_labels import Limits, check_boxes, check_times
from .checking import rate_misfit
from .classes import alike, read_classes
from .dataset import SPLIT_FOLDERS, Entry, content_digest, contents, labels_of, opened, raw_times, sensor_hw
from .labels import CLASSES_FILE, has_odd_score
from .store import TensorFile
from .surveys import has_no_bytes

HOT_SIDE = 12.0
"""Of the box around a hot pixel in a picture."""
__all__ = ["Audit", "Limits", "SplitFacts", "audit"]


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
class Audit:
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


def audit(
    folder: Path,
    limits: Limits | None = None,
    *,
    worst: int = 6,
    size_hw: tuple[int, int] | None = None,
    time_unit: Unit | None = None,
) -> Audit:
    """Look at every recording and every label of a dataset.

    Recordings and tensor files are read from begin to end, which compares the checksums of tensors; memory does not
    grow with their length. What cannot be read is a finding as well.

    Args:
        folder: with train, val and test, or with recordings; also of tensors, the vendor's and RVT's among them.
        limits: from where on something is found.
        worst: at most so many cases of each kind are kept.
        size_hw: height and width of the sensor, for recordings that do not say.
        time_unit: of the times, for recordings that do not say.

    Raises:
        InputError: if there is no such folder, or nothing in it.
    """
    check_at_least(worst, 1, "worst")
    limits, found, findings = limits or Limits(), contents(folder), Findings(worst)
    if not found.entries and not found.orphans:
        raise InputError(f"{folder} must hold recordings or tensor files, in train, val and test, and holds none.")
    classes = _classes(folder, findings)
    findings.add("alike_classes", [Case(None, ", ".join(map(repr, each))) for each in alike(classes) if len(each) > 1])
    splits = {split: SplitFacts() for split in found.splits}
    missing = [split for split in SPLIT_FOLDERS if found.splits != [""] and split not in found.splits]
    findings.add("missing_split", [Case(None, split) for split in missing])
    for split in found.splits:
        if not any(entry.split == split for entry in found.entries):
            findings.add("empty_split", [Case(None, split or str(folder))])
    findings.add("no_recording", [Case(None, str(path.relative_to(folder))) for path in found.orphans])
    digests: dict[str, list[Entry]] = defaultdict(list)
    for entry in progress(found.entries, "looking", unit="recording"):
        splits[entry.split].recordings += 1
        if has_no_bytes(entry.path):
            findings.add("silent", [Case(entry, entry.name)])
            continue
        try:
            with opened(entry, DatasetFacts(size_hw, time_unit)) as source:
                digests[content_digest(entry, source)].append(entry)
                _look(entry, source, limits, findings, splits[entry.split], len(classes))
        except InputError as error:
            findings.add("unreadable", [Case(entry, entry.name, text=str(error))])
    _compare(found.entries, digests, findings)
    _balance(splits, classes, findings)
    _compare_rates(list(splits.values()), findings)
    return Audit(folder, limits, size_hw, classes, splits, findings.sorted(), time_unit)


def _look(
    entry: Entry, source: TensorFile | Recording, limits: Limits, findings: Findings, split: SplitFacts, classes: int
) -> None:
    """Everything about one recording."""
    try:
        boxes, labelled_us = labels_of(entry)
    except InputError as error:
        findings.add("unreadable", [Case(entry, entry.name, text=str(error))])
        return
    _look_at_labels(entry, boxes, labelled_us, findings, split, classes)
    is_tensor = isinstance(source, TensorFile)
    if is_tensor and (damaged := damaged_frames(source)):
        shown = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        text = f"{len(damaged):,} of {len(source):,} ({shown})"
        findings.add("damaged_frames", [Case(entry, entry.name, value=len(damaged), text=text)], count=len(damaged))
        return
    watched = watch_tensors(source, boxes) if is_tensor else watch_recording(source, boxes, limits.window_us)
    split.seconds += (watched.span_us[1] - watched.span_us[0]) / 1e6 if watched.span_us else 0
    if is_tensor:
        findings.add("tensors_only", [Case(entry, entry.name, text=source.description.input.representation)])
        findings.add("no_checksums", [] if source.is_checked else [Case(entry, entry.name)])
    _look_at_losses(entry, watched.account, findings)
    if len(hot := watched.hot_xy()):
        scale = sensor_hw(source) or watched.counts.shape
        places = (hot[:5] + 0.5) * [scale[1] / watched.counts.shape[1], scale[0] / watched.counts.shape[0]]
        text = f"{len(hot):,} ({', '.join(f'{int(x)},{int(y)}' for x, y in places)})"
        around = float(places[0, 0]) - HOT_SIDE / 2, float(places[0, 1]) - HOT_SIDE / 2, HOT_SIDE, HOT_SIDE
        findings.add("hot", [Case(entry, entry.name, None, around, len(hot), text)], count=len(hot))
    if watched.span_us is None:
        findings.add("silent", [Case(entry, entry.name)])
    elif entry.labels is not None:
        is_within = check_times(entry, boxes, labelled_us, watched, limits, findings)
        split.timed += 1
        if misfit := rate_misfit(labelled_us, watched.span_us):
            split.misfits.append(Case(entry, entry.name, value=abs(misfit.reach - 1), text=str(misfit)))
        check_boxes(entry, boxes, watched, sensor_hw(source), is_within, limits, findings)


def _look_at_losses(entry: Entry, account: Account, findings: Findings) -> None:
    """What the reader left out, and what it took numbers for."""
    if account.dropped:
        case = Case(entry, entry.name, value=account.share, text=", ".join(account.reasons()))
        kind = "mostly_lost" if account.is_too_little else "damage"
        findings.add(kind, [case], count=account.dropped.total())
    findings.add("taken", [Case(entry, entry.name, text=note) for note in account.notes])


def _look_at_labels(
    entry: Entry, boxes: np.ndarray, labelled_us: np.ndarray, findings: Findings, split: SplitFacts, classes: int
) -> None:
    """What labels say by themselves, whatever became of their recording."""
    split.labelled += len(labelled_us)
    split.empty += len(np.setdiff1d(labelled_us, boxes["t"]))
    split.boxes.update(Counter(boxes["class_id"].tolist()))
    if entry.labels is None:
        findings.add("no_labels", [Case(entry, entry.name)])
        return
    times = raw_times(entry.labels)
    if back := int((times[1:] < times[:-1]).sum()):
        findings.add("unsorted", [Case(entry, entry.name, value=back, text=f"{back:,} times")])
    scores = boxes["class_confidence"]
    findings.add_boxes("odd_score", entry, boxes, has_odd_score(boxes), values=scores, text="score {:g}")
    is_unknown = boxes["class_id"] >= (classes or np.iinfo(np.uint32).max)
    findings.add_boxes("unknown_class", entry, boxes, is_unknown, values=boxes["class_id"], text="class {:.0f}")


def _classes(folder: Path, findings: Findings) -> tuple[str, ...]:
    """The names of the classes."""
    try:
        return read_classes(folder)
    except InputError as error:
        findings.add("no_classes", [Case(None, CLASSES_FILE, text=str(error))])
        return ()


def _compare(entries: list[Entry], digests: dict[str, list[Entry]], findings: Findings) -> None:
    """Recordings that are there more than once."""
    copies = {}
    for same in digests.values():
        copies.update(dict.fromkeys(same, same[0]))
        others = [each for each in same[1:] if each.split != same[0].split]
        findings.add("same_content", [Case(None, each.name, text=f"as {same[0].name}") for each in others])
        twice = [each for each in same[1:] if each.split == same[0].split]
        findings.add("repeated", [Case(None, each.name, text=f"as {same[0].name}") for each in twice])
    first: dict[str, Entry] = {}
    for entry in entries:
        name = re.sub(r"(_td)?(_\d+_\d+)?(\.\w+)*$", "", entry.path.name)
        other = first.setdefault(name, entry)
        if other.split != entry.split and copies.get(entry, entry) != copies.get(other, other):
            findings.add("same_name", [Case(None, entry.name, text=f"as {other.name}")])


def _compare_rates(splits: list[SplitFacts], findings: Findings) -> None:
    """Recordings whose labels seem to have a wrong rate: an error where they are half of all, as one rate is of all."""
    cases = [case for split in splits for case in split.misfits]
    is_error = 2 * len(cases) >= sum(split.timed for split in splits)
    for case in cases:
        findings.add("label_rate", [case], severity="error" if is_error else None)


def _balance(splits: dict[str, SplitFacts], classes: tuple[str, ...], findings: Findings) -> None:
    """Classes that one split has and another lacks."""
    train = splits.get("train")
    for name, split in splits.items():
        if train is None or name == "train" or not train.boxes or not split.boxes:
            continue
        pairs = (
            ("untrained_class", (name, split), ("train", train)),
            ("unscored_class", ("train", train), (name, split)),
        )
        for kind, (has, there), (lacks, missing) in pairs:
            findings.add(
                kind,
                [
                    Case(None, classes[n], value=there.boxes[n], text=f"{there.boxes[n]:,} in {has}, none in {lacks}")
                    for n in sorted(there.boxes)
                    if n < len(classes) and not missing.boxes[n]
                ],
            )
