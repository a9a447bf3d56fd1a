"""Recordings, and the labels that another tool wrote for them, into the standard layout of a dataset."""

from __future__ import annotations

import filecmp
import json
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import InputError, check_choice
from ..data.checking import label_reach, labels_outside, rate_misfit
from ..data.classes import ClassMap, alike, map_classes, merging, read_classes, write_classes
from ..data.dataset import RECORDINGS, SPLIT_FOLDERS, TEXTS, FoundRecording, find_recordings, recording_files
from ..data.labels import (
    CLASSES_FILE,
    label_path,
    labelled_path,
    read_labelled_us,
    read_labels,
    write_labelled_us,
    write_labels,
)
from ..events.dataset_facts import DatasetFacts, check_facts, keep_facts, read_facts
from ..events.files import open_recording
from ..files import make_folder, replacing
from ..progress import progress
from .files import unpacked
from .options import READERS, ImportOptions, ImportReport
from .parsed import ParsedLabels, sensor_boxes

EARLY = 0.9
"""Labels that end before this part of their recording end early."""
THERE = "{} must not be there yet, and is another one. Name another folder, or delete it first."


def import_labels(source: str, labels: Path, recordings: Path, out: Path, options: ImportOptions) -> ImportReport:
    """Write recordings, hard-linked where that can be, and their labels as a dataset.

    ``out/{train,val,test}/<name>.<ending>``, ``<name>_bbox.npy``, ``<name>_labelled.npy``, the names of the classes,
    and the size of the sensor if it is given, see ``events.dataset_facts``.
    A dataset that is there grows: its classes keep their numbers. What was interrupted goes on: a file that is there
    already must be just what would be written. One recording that cannot be read does not stop the others. Boxes of no
    size, or outside the sensor, are left out; those partly outside stay as they are.

    Args:
        source: one of ``READERS``, the format of the labels.
        labels: a file or a folder. Labels and recordings belong together by their names, see ``first_owner``.
        recordings: a file or a folder.
        out: the folder.
        options: how labels are understood.

    Raises:
        InputError: if a label cannot be understood, something does not pair, or a file is there already.
    """
    check_choice(source, READERS, "source")
    if not labels.exists():
        raise InputError(f"{labels} must be a file or a folder of labels, and does not exist.")
    found = _recordings(recordings, labels)
    with unpacked(labels) as folders:
        parsed = ParsedLabels(labels, [each.place.name for each in found], options.classes, folders)
        module, _, read = READERS[source].partition(".")
        getattr(import_module(f".{module}", __package__), read)(parsed)
        return _write(parsed, found, recordings, out, options)


class _ImportedRecording(NamedTuple):
    """A recording with labels. source: its file. target: where it belongs. boxes: (N,) ``EVENT_BBOX`` with classes of
    the files, kept: those of the dataset. labelled_us: (M,) times at which somebody looked."""

    source: Path
    target: Path
    boxes: np.ndarray
    kept: np.ndarray
    labelled_us: np.ndarray


def _write(
    parsed: ParsedLabels, found: list[FoundRecording], named: Path, out: Path, options: ImportOptions
) -> ImportReport:
    """Write what was read; ``named`` is the file or folder of the recordings."""
    report = ImportReport(told=+parsed.told, dropped=+parsed.dropped)
    found = _paired(found, parsed, options.leave_out, report.dropped)
    known = read_classes(out) if (out / CLASSES_FILE).is_file() else ()
    classes = _classes(parsed, known, options)
    report.warnings += _alike(classes, known)
    splits = _splits(found, named, options, report)
    targets = [out / split / each.path.name for each, split in zip(found, splits, strict=True)]
    for each, target in zip(found, targets, strict=True):
        if target.exists() and not _is_same(each.path, target):
            raise InputError(THERE.format(target))
    facts = DatasetFacts(*read_facts(out).or_given(options.size_hw, options.time_unit))
    check_facts(out, facts)
    fit = TimeFit()
    work = list[_ImportedRecording]()
    for each, target in zip(progress(found, "reading", unit="recording"), targets, strict=True):
        try:
            recording = open_recording(each.path, size_hw=facts.size_hw, time_unit=facts.time_unit)
            with recording:
                span_us = recording.span_us()
            if span_us is None:
                raise InputError(f"{each.path} must have events to be labelled, and has none.")
        except InputError as error:
            report.failed.append(str(error))
            continue
        boxes, labelled_us = sensor_boxes(parsed.recordings[each.place.name], recording, span_us, options, report)
        fit.look(each.path.name, labelled_us, span_us)
        work.append(_ImportedRecording(each.path, target, boxes, classes.boxes(boxes), labelled_us))
        _check_free(work[-1])
    fit.tell(report, len(work))
    if not work:
        raise InputError(report.failed[0])
    for each in work:
        _write_recording(each)
        report.recordings[each.target.parent.name] += 1
        report.labelled += len(each.labelled_us)
        report.empty += len(each.labelled_us) - len(np.unique(each.kept["t"]))
        report.boxes.update({name: int((each.kept["class_id"] == n).sum()) for n, name in enumerate(classes.names)})
        gone = sum(classes.indices[n] < 0 for n in each.boxes["class_id"].tolist())
        report.dropped += Counter({"boxes of classes that are not kept": gone})
    write_classes(out, classes.names)
    keep_facts(out, facts)
    return report


def _write_recording(work: _ImportedRecording) -> None:
    """Write the labels of a recording, and then what says that they are whole: the recording itself."""
    make_folder(work.target.parent)
    labels = label_path(work.target)
    write_labels(labels, work.kept)
    write_labelled_us(labels, work.labelled_us)
    if not work.target.exists():
        _link(work.source, work.target)


def _check_free(work: _ImportedRecording) -> None:
    """Raise ``InputError`` if there are other labels in the place of these."""
    labels = label_path(work.target)
    boxes = work.kept
    by_time = boxes[np.argsort(boxes["t"], kind="stable")]
    if labels.exists() and not np.array_equal(read_labels(labels), by_time):
        raise InputError(THERE.format(labels))
    times = labelled_path(labels)
    if times.exists() and not np.array_equal(read_labelled_us(labels, boxes), work.labelled_us):
        raise InputError(THERE.format(times))


@dataclass
class TimeFit:
    """Recordings whose labels do not fit their time, each in words: partly outside of it, ending at a simple part or
    multiple of it, ending early."""

    outside: list[str] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)

    def look(self, name: str, labelled_us: np.ndarray, span_us: tuple[int, int]) -> None:
        """Take note of a recording; arguments as of ``label_reach``."""
        if outside := labels_outside(labelled_us, span_us):
            self.outside.append(f"{name}: {outside.words}")
        elif misfit := rate_misfit(labelled_us, span_us):
            self.misfits.append(f"{name}: {misfit}")
        elif (reach := label_reach(labelled_us, span_us)) and reach.reach < EARLY:
            self.early.append(f"{name}: {reach}")

    def tell(self, report: ImportReport, recordings: int) -> None:
        """Warn of what was found among so many recordings; that labels end early is told alone."""
        if self.outside:
            report.warnings.append(
                f"Warning: the labels of {len(self.outside)} of {recordings} recordings are partly outside their time "
                f"({self.outside[0]}). No window shows those. Is the clock another, or was another --label-rate or "
                "--start-us meant?"
            )
        if 2 * len(self.misfits) >= max(recordings, 1):
            report.warnings.append(
                f"Warning: the labels of {len(self.misfits)} of {recordings} recordings end at a simple part or "
                f"multiple of their time ({self.misfits[0]}). Was another --label-rate meant?"
            )
        if self.early:
            report.told[f"recordings whose labels end early, the first {self.early[0]}"] += len(self.early)


def _recordings(path: Path, labels: Path) -> list[FoundRecording]:
    """The recordings of a file or a folder; in the folder of the labels, and beside others, texts are none."""
    if not path.is_dir():
        return find_recordings([path])
    files = recording_files(path, labels=labels)
    sure = {each.stem for each in files if each.suffix not in TEXTS}
    files = [each for each in files if each.suffix not in TEXTS or each.stem not in sure]
    if not files:
        raise InputError(f"{path} must hold recordings ({' '.join(RECORDINGS)}), got none.")
    return find_recordings(files)


def _paired(
    found: list[FoundRecording], parsed: ParsedLabels, leave_out: bool, dropped: Counter[str]
) -> list[FoundRecording]:
    """The recordings that have labels.

    Raises:
        InputError: if there are none; unless ``leave_out``, if any has none, or labels have no recording.
    """
    without = [each.place.name for each in found if each.place.name not in parsed.recordings]
    sentences = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, kind in ((without, "recordings have no labels"), (parsed.unpaired, "labels have no recording"))
        if names
    ]
    if sentences and (not leave_out or len(without) == len(found)):
        raise InputError(
            f"labels and recordings must have the same names, and {' and '.join(sentences)}. Name them alike, as in "
            "drive.raw and drive.json or drive/000123.txt, or leave out what does not pair."
        )
    dropped += Counter({"recordings without labels": len(without), "labels without a recording": len(parsed.unpaired)})
    return [each for each in found if each.place.name in parsed.recordings]


def _classes(parsed: ParsedLabels, known: tuple[str, ...], options: ImportOptions) -> ClassMap:
    """The map to the classes of the dataset: those that it has, and then the new ones."""
    if not parsed.classes:
        raise InputError(f"{parsed.root} must name a class at least. Where no box does, give --classes.")
    chosen = map_classes(parsed.classes, options.keep, others=options.others)
    names = (*known, *(name for name in chosen.names if name not in known))
    indices = tuple(names.index(chosen.names[n]) if n >= 0 else n for n in chosen.indices)
    return ClassMap(chosen.found, names, indices, options.others)


def _alike(classes: ClassMap, known: tuple[str, ...]) -> list[str]:
    """A warning of classes that only case and blanks tell apart, with what merges them; or none."""
    groups = [group for group in alike(classes.names) if len(group) > 1]
    if not groups:
        return []
    wishes = merging(classes, known)
    is_plain = all(each == each.strip() and "," not in each for each in wishes)
    keep = shlex.quote(",".join(wishes) if is_plain else json.dumps(wishes, ensure_ascii=False))
    names = "; ".join(" and ".join(repr(name) for name in group) for group in groups)
    return [f"Warning: classes differ by case or blanks alone: {names}. If they are one, import with --keep {keep}."]


def _splits(found: Sequence[FoundRecording], named: Path, options: ImportOptions, report: ImportReport) -> list[str]:
    """The split of every recording; why it is that one is told.

    Only the folder that was named, and those in it, are asked: what is above it is the user's own order.
    """
    if options.ratios is None:
        splits = []
        for each in found:
            said = _split_of_folder(each.path, named)
            split = options.split or said or "train"
            why = "--split says" if options.split else "their folder says" if said else "no folder says otherwise"
            report.told[f"recordings are of {split}, as {why}"] += 1
            splits.append(split)
        return splits
    report.told[f"recordings are split by --ratios, with the seed {options.seed}"] += len(found)
    ends = np.rint(np.cumsum(options.ratios) / sum(options.ratios) * len(found))
    order = np.random.default_rng(options.seed).permutation(len(found))
    return [SPLIT_FOLDERS[int(np.searchsorted(ends, place, side="right"))] for place in np.argsort(order)]


def _split_of_folder(path: Path, named: Path) -> str | None:
    """The split of which the innermost folder of a recording has the name, from the folder that was named on."""
    if not named.is_dir():
        return None
    top = named.name if named.name not in ("", "..") else named.resolve().name
    return next((part for part in reversed((top, *path.parts[len(named.parts) : -1])) if part in SPLIT_FOLDERS), None)


def _is_same(source: Path, target: Path) -> bool:
    """Whether two recordings are one file, or of the same bytes."""
    return source.samefile(target) or filecmp.cmp(source, target, shallow=False)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where that cannot be."""
    with replacing(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)
