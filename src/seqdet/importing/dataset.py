"""Recordings or pictures, and the labels that another tool wrote for them, into the standard layout of a dataset."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import numpy as np

from ..checks import InputError, check_choice
from ..data.classes import ClassMap, alike, map_classes, merging, read_classes, write_classes
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
from ..files import as_on_disk, make_folder, read_npy
from ..pictures.sequence import times_path, write_times
from ..progress import progress
from .files import unpacked
from .kinds import check_kind, kind_of
from .layouts import find_parts
from .links import is_same, link
from .options import READERS, SUFFIXES, ImportOptions, ImportReport, Kind
from .parsed import ParsedLabels
from .pictures import note_background, read_pictures, sources_of
from .recordings import find_labelled, read_recordings
from .splits import splits
from .work import Labelled, Source

THERE = "{} must not be there yet, and is another one. Name another folder, or delete it first."
WRITERS = 16
"""Threads that write: more wait for the disk than there are cores."""
WHAT: dict[Kind, str] = {"events": "recordings", "pictures": "sequences"}
"""What is labelled, in words."""
ONE = {"recordings": "recording", "sequences": "sequence"}
ALIKE = {
    "recordings": "drive.raw and drive.json or drive/000123.txt",
    "sequences": "drive.mp4 and drive.json, or drive_000123.jpg and drive_000123.txt",
}


def import_labels(
    source: str, labels: Path, recordings: Path | None, out: Path, options: ImportOptions
) -> ImportReport:
    """Write recordings or pictures, hard-linked where that can be, and their labels as a dataset.

    ``out/{train,val,test}/<name>.<ending>``, ``<name>_bbox.npy``, ``<name>_labelled.npy``, the names of the classes,
    and the size of the sensor if it is given, see ``events.dataset_facts``. Images are in a folder ``<name>``, and
    when they were taken is in ``<name>_times.npy``.
    A dataset that is there grows: its classes keep their numbers. What was interrupted goes on: a file that is there
    already must be just what would be written. One recording that cannot be read does not stop the others. Boxes of no
    size, or outside the sensor, are left out; those partly outside stay as they are.

    Args:
        source: one of ``READERS``, the format of the labels.
        labels: a file or a folder. Labels and recordings belong together by their names, see ``Owners``.
        recordings: a file or a folder of recordings of events, or of videos and images; that of the labels if not
            given.
        out: the folder.
        options: how labels are understood.

    Raises:
        InputError: if a label cannot be understood, something does not pair, or a file is there already.
    """
    check_choice(source, READERS, "source")
    if not labels.exists():
        raise InputError(f"{labels} must be a file or a folder of labels, and does not exist.")
    if recordings is None and not labels.is_dir():
        raise InputError(
            f"recordings must be named, or a folder that has them beside their labels, got {labels} alone."
        )
    named = as_on_disk(labels if recordings is None else recordings)
    kind = kind_of(named, options.of)
    check_kind(out, kind)
    if kind == "pictures" and (options.size_hw or options.time_unit):
        raise InputError("size_hw and time_unit must be left out for videos and images: these have a size and times.")
    with unpacked(labels) as folders:
        parsed = ParsedLabels(options.classes)
        read = _read_pictures if kind == "pictures" else _read_events
        found = read(source, parsed, labels, named, folders, options)
        return _write(parsed, found, kind, out, options)


def _fill(source: str, parsed: ParsedLabels) -> None:
    """Read labels of a format."""
    module, _, read = READERS[source].partition(".")
    getattr(import_module(f".{module}", __package__), read)(parsed)


def _read_events(
    source: str, parsed: ParsedLabels, labels: Path, named: Path, folders: dict[Path, Path], options: ImportOptions
) -> list[Source]:
    """The recordings in ``named``, whose labels are read."""
    found, owners = find_labelled(named, labels)
    parsed.turn_to(labels, owners, more=list(folders.values()))
    _fill(source, parsed)
    return found


def _read_pictures(
    source: str, parsed: ParsedLabels, labels: Path, named: Path, folders: dict[Path, Path], options: ImportOptions
) -> list[Source]:
    """The sequences of pictures in ``named``, whose labels are read; a split without any label is left out."""
    found = list[Source]()
    parts = find_parts(source, labels, named, options, parsed.told)
    for part in parts:
        sources, owners = sources_of(part)
        ours = [folder for packed, folder in folders.items() if part.labels in (packed, *packed.parents)]
        parsed.turn_to(part.labels, owners, more=ours, top=part.top)
        if len(parts) > 1 and not parsed.has_files(*SUFFIXES[source]):
            parsed.dropped[f"{WHAT['pictures']} of {part.split}, which has no labels"] += len(sources)
            continue
        _fill(source, parsed)
        if part.is_looked_at:
            note_background(parsed, sources)
        if len(parts) > 1 and not any(each.key in parsed.recordings for each in sources) and not parsed.unpaired:
            parsed.dropped[f"{WHAT['pictures']} of {part.split}, which has no labels"] += len(sources)
            continue
        found += sources
    return found


def _write(parsed: ParsedLabels, found: list[Source], kind: Kind, out: Path, options: ImportOptions) -> ImportReport:
    """Write what was read."""
    report = ImportReport(WHAT[kind], told=+parsed.told, dropped=+parsed.dropped)
    found = _paired(found, parsed, options.leave_out, report)
    known = read_classes(out) if (out / CLASSES_FILE).is_file() else ()
    classes = _classes(parsed, known, options)
    report.warnings += _alike(classes, known)
    split_names = splits([each.said for each in found], options, report)
    work = [(each, out / split / each.target) for each, split in zip(found, split_names, strict=True)]
    _check_apart([target for _, target in work])
    for each, target in work:
        if target.exists() and not is_same(each, target):
            raise InputError(THERE.format(target))
    facts = DatasetFacts(*read_facts(out).or_given(options.size_hw, options.time_unit))
    check_facts(out, facts)
    if kind == "pictures":
        labelled = list(read_pictures(work, parsed, options, report))
    else:
        labelled = list(read_recordings(work, parsed, facts, options, report))
    if not labelled:
        raise InputError(report.failed[0])
    kept = [classes.boxes(each.boxes) for each in labelled]
    for each, boxes in zip(labelled, kept, strict=True):
        _check_free(each, boxes)
    _write_all(labelled, kept)
    for each, boxes in zip(labelled, kept, strict=True):
        report.recordings[each.target.parent.name] += 1
        report.labelled += len(each.labelled_us)
        report.empty += len(each.labelled_us) - len(np.unique(boxes["t"]))
        report.boxes.update({name: int((boxes["class_id"] == n).sum()) for n, name in enumerate(classes.names)})
        gone = sum(classes.indices[n] < 0 for n in each.boxes["class_id"].tolist())
        report.dropped += Counter({"boxes of classes that are not kept": gone})
    write_classes(out, classes.names)
    keep_facts(out, facts)
    report.told = +report.told
    report.dropped = +report.dropped
    return report


def _check_apart(targets: list[Path]) -> None:
    """Raise ``InputError`` if two would be written to one place, as of two folders, or a.mp4 and a.avi."""
    places = dict[Path, Path]()
    for target in targets:
        other = places.setdefault(label_path(target), target)
        if other is not target:
            raise InputError(
                f"{other.parent.name} must have one recording of each name, got {other.name} and {target.name}. Rename "
                "one, or import them into different splits."
            )


def _write_all(labelled: list[Labelled], kept: list[np.ndarray]) -> None:
    """Write all, many at once: each waits until its files are on the disk, and a disk takes many together."""
    for folder in {each.target.parent for each in labelled}:
        make_folder(folder)
    with ThreadPoolExecutor(WRITERS) as writers:
        written = [writers.submit(_write_labelled, *each) for each in zip(labelled, kept, strict=True)]
        try:
            for each in progress(written, "writing", unit="recording"):
                each.result()
        except BaseException:
            writers.shutdown(cancel_futures=True)
            raise


def _write_labelled(work: Labelled, boxes: np.ndarray) -> None:
    """Write labels, and then what says that they are whole: the recording itself."""
    labels = label_path(work.target)
    write_labels(labels, boxes)
    write_labelled_us(labels, work.labelled_us)
    if work.times_us is not None:
        write_times(work.target, work.times_us)
    if not work.target.exists():
        link(work.source, work.target)


def _check_free(work: Labelled, boxes: np.ndarray) -> None:
    """Raise ``InputError`` if there are other labels in the place of these."""
    labels = label_path(work.target)
    by_time = boxes[np.argsort(boxes["t"], kind="stable")]
    if labels.exists() and not np.array_equal(read_labels(labels), by_time):
        raise InputError(THERE.format(labels))
    times = labelled_path(labels)
    if times.exists() and not np.array_equal(read_labelled_us(labels, boxes), work.labelled_us):
        raise InputError(THERE.format(times))
    images = times_path(work.target)
    if work.times_us is not None and images.exists() and not np.array_equal(_times_in(images), work.times_us):
        raise InputError(THERE.format(images))


def _times_in(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return read_npy(file)


def _paired(found: list[Source], parsed: ParsedLabels, leave_out: bool, report: ImportReport) -> list[Source]:
    """The recordings that have labels.

    Raises:
        InputError: if there are none; unless ``leave_out``, if any has none, or labels have no recording.
    """
    without = [each.name for each in found if each.key not in parsed.recordings]
    what = report.what
    sentences = [
        f"{len(names):,} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, kind in ((without, f"{what} have no labels"), (parsed.unpaired, f"labels have no {ONE[what]}"))
        if names
    ]
    if sentences and (not leave_out or len(without) == len(found)):
        raise InputError(
            f"labels and {what} must have the same names, and {' and '.join(sentences)}. Name them alike, as in "
            f"{ALIKE[what]}, or leave out what does not pair (--leave-out)."
        )
    report.dropped += Counter(
        {f"{what} without labels": len(without), f"labels without a {ONE[what]}": len(parsed.unpaired)}
    )
    return [each for each in found if each.key in parsed.recordings]


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
