"""Make the tensor files of recordings, for training: complete files or none, in pieces that survive an interruption.

A recording becomes one file, or several parts of bounded length. Each part is made of segments, which are files that
are written at once; what is cut short loses one segment at most. When all segments of a recording are there, they are
joined, without unpacking them, and go to their place with the labels.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from glob import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import InputError, check_at_least, check_choice, check_size
from ..config import TensorConfig
from ..events.accounts import Account, check
from ..events.dataset_facts import DatasetFacts, facts_about
from ..events.tensors import blank_frame
from ..events.time_units import Unit
from ..files import make_folder, write_bytes
from ..locks import alone_in
from ..pictures.sequence import is_sequence
from ..progress import Progress
from .checking import check_labels
from .classes import read_classes
from .dataset import FoundRecording, find_recordings
from .description import Description
from .frames import file_digest, open_reader, windows_of
from .labels import CLASSES_FILE, labels_beside
from .layouts import LAYOUTS, Layout, LayoutName, labels_at
from .processes import Report, each
from .store import COMPRESSIONS, TensorFile, compression_of, join_tensors, write_tensors
from .surveys import SUFFIX, kept_survey, look_through

log = logging.getLogger(__name__)
SEGMENT_WINDOWS = 256  # so many are lost at most when the work is cut short
UNFINISHED = ".unfinished"
"""In the folder of results: what is not complete yet."""


@dataclass(frozen=True)
class PrecomputeConfig:
    """How recordings become tensor files.

    out: folder of the results. tensor: the frames. max_duration_us: longest recording in a file; longer ones become
    several. size_hw: of the sensor, for formats that do not say. layout: a key of ``LAYOUTS``: ours, or RVT's.
    compression: a key of ``COMPRESSIONS``; ``blosc`` for RVT's layout and ``lz4`` for ours if empty. replace_labels:
    let those of the recordings take the place of others, in a folder that seqdet named itself. time_unit: of the
    times, where a format does not say.
    """

    out: Path
    tensor: TensorConfig = field(default_factory=TensorConfig)
    max_duration_us: int | None = None
    size_hw: tuple[int, int] | None = None
    layout: LayoutName = "seqdet"
    compression: str = ""
    replace_labels: bool = False
    time_unit: Unit | None = None

    def __post_init__(self) -> None:
        check_choice(self.layout, LAYOUTS, "layout")
        self.rules.check_tensor(self.tensor)
        check_size(self.size_hw, "size_hw")
        if self.max_duration_us is not None:
            check_at_least(self.max_duration_us, self.tensor.window_us, "max_duration_us")
        check_choice(self.packing, COMPRESSIONS, "compression")
        blank_frame(self.tensor.of_smallest())  # which raises what is wrong with the settings

    @property
    def rules(self) -> Layout:
        """Of the layout."""
        return LAYOUTS[self.layout]

    @property
    def packing(self) -> str:
        """The compression, chosen."""
        return self.compression or self.rules.compression

    @property
    def stated(self) -> DatasetFacts:
        """About the sensor and the clock of recordings."""
        return DatasetFacts(self.size_hw, self.time_unit)


@dataclass
class Outcome:
    """What ``precompute`` did.

    made, found: recordings that were finished, and that were there before. windows, bytes: of those made. accounts:
    what became of the events of each recording, by its name. silent: those without events, of which nothing is made.
    dropped: what else was left out, by reason. failed: for each recording that could not be made, why.
    """

    made: int = 0
    found: int = 0
    windows: int = 0
    bytes: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    silent: list[Path] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The facts in words."""
        text = [f"{self.made} recordings, {self.windows:,} windows, {self.bytes / 1e6:,.1f} MB"]
        if self.found:
            text.append(f"{self.found} recordings were there before")
        if self.silent:
            text.append(f"{len(self.silent)} recordings without events are left out")
        return text + [f"left out: {count:,} {reason}" for reason, count in self.dropped.items()]


def precompute(paths: Sequence[Path], config: PrecomputeConfig, *, workers: int = 1) -> Outcome:
    """Write the tensors of recordings, with their labels beside.

    ``<name>.h5`` (see ``store``) and ``<name>_bbox.npy`` for each recording, ``<name>_<start>_<end>.h5`` for each part
    of a longer one; folders keep their tree and their names of classes. What is finished stays when the work is
    interrupted; started again, it goes on and ends with the same bytes. One bad recording does not stop the others.
    Another command that writes there is waited for.

    Args:
        paths: recordings, and folders of them.
        config: what to make of them.
        workers: processes.

    Raises:
        InputError: if there is nothing to do or the folder cannot be written.
        Stopped: if Ctrl-C was pressed.
    """
    check_at_least(workers, 1, "workers")
    found = find_recordings(paths, pictures=True)
    if config.out.is_dir():  # perhaps complete, and perhaps one that can only be read
        plans = _plan_all(found, config, workers)
        if not plans.missing and _names(paths, config.out) is None:
            return _told(plans, found)
    with alone_in(config.out, waits=True):
        plans = _plan_all(found, config, workers)  # another command may have made some until now
        if (names := _names(paths, config.out)) is not None:
            write_bytes(config.out / CLASSES_FILE, names.read_bytes())
        return _make_all(found, plans, config, workers)


@dataclass
class Plans:
    """What is to be made of all recordings; by their numbers.

    missing: of those of which something is to be made. failed: for each that cannot be made, why. accounts, silent: as
    of ``Outcome``.
    """

    missing: dict[int, RecordingPlan] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    accounts: dict[int, Account] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)


def _plan_all(found: Sequence[FoundRecording], config: PrecomputeConfig, workers: int) -> Plans:
    """Find out what there is to do."""
    plans = Plans()
    with Progress("looking", unit="recording", total=len(found)) as shown:
        planned = each(partial(plan_recording, config=config), found, workers=min(workers, len(found)), shown=shown)
        for n, plan in planned:
            if isinstance(plan, InputError):
                plans.failed[n] = str(plan)
            elif plan is None:
                plans.silent.add(n)
            else:
                if plan.account is not None:
                    plans.accounts[n] = plan.account
                if plan.parts:
                    plans.missing[n] = plan
    return plans


def _told(plans: Plans, found: Sequence[FoundRecording]) -> Outcome:
    """Before anything is made, with a warning about each recording without events."""
    silent = [found[n].path for n in sorted(plans.silent)]
    for path in silent:
        log.warning("%s has no events: it is left out.", path)
    return Outcome(
        found=len(found) - len(plans.missing) - len(plans.failed) - len(plans.silent),
        accounts={str(found[n].place): plans.accounts[n] for n in sorted(plans.accounts)},
        silent=silent,
        failed=[plans.failed[n] for n in sorted(plans.failed)],
    )


def _make_all(found: Sequence[FoundRecording], plans: Plans, config: PrecomputeConfig, workers: int) -> Outcome:
    """Make what is missing; a recording is finished as soon as its last segment is there."""
    outcome = _told(plans, found)
    failed = dict(plans.failed)
    batches = [(n, batch) for n in sorted(plans.missing) for batch in batches_of(plans.missing[n], config)]
    left = Counter(n for n, _ in batches)
    windows = sum(batch.windows for _, batch in batches)
    with Progress("tensors", unit="window", total=windows, stays=bool(batches)) as shown:
        made = each(
            make_segments,
            [batch for _, batch in batches],
            workers=min(workers, max(len(batches), 1)),
            shown=shown,
        )
        for k, failure in made:
            n, batch = batches[k]
            left[n] -= 1
            if failure is not None:
                failed[n] = str(failure)
                continue
            outcome.windows += batch.windows
            if left[n] or n in failed:
                continue
            try:
                size, lost = finish(plans.missing[n], config)
            except InputError as error:
                failed[n] = str(error)
                continue
            outcome.bytes += size
            outcome.dropped += lost
            outcome.made += 1
    outcome.failed = [failed[n] for n in sorted(failed)]
    if not failed:
        shutil.rmtree(config.out / UNFINISHED, ignore_errors=True)
    return outcome


class TensorPart(NamedTuple):
    """Frames [first, stop) of a recording, and the place of their file in the folder of results, without an ending."""

    place: Path
    first: int
    stop: int

    def segments(self, config: PrecomputeConfig) -> list[Segment]:
        """The files that it is made of."""
        folder = config.out / UNFINISHED / config.packing / self.place  # what is packed differently cannot be joined
        return [
            Segment(folder / f"{n:08}.h5", n, min(SEGMENT_WINDOWS, self.stop - n))
            for n in range(self.first, self.stop, SEGMENT_WINDOWS)
        ]


class Segment(NamedTuple):
    """Consecutive windows of a recording: those of a file that is written at once. path: of that file."""

    path: Path
    first: int
    windows: int


@dataclass(frozen=True)
class SegmentBatch:
    """Consecutive segments of a recording, for one process.

    recording: its file. tensor: as it is to be made. stated: about its sensor and its clock. first: what the first
    frame of the recording shows. frames: how many the recording has.
    """

    recording: Path
    tensor: TensorConfig
    stated: DatasetFacts
    first: Description
    frames: int
    compression: str
    segments: tuple[Segment, ...] = ()

    @property
    def windows(self) -> int:
        """How many there are in all segments."""
        return sum(segment.windows for segment in self.segments)


@dataclass(frozen=True)
class RecordingPlan:
    """What is made of one recording with events.

    batch: how, with no segments yet. windows: how many frames it has. can_seek: whether reading can begin at any.
    account: what became of its events, if it was looked through. parts: those still to make.
    """

    found: FoundRecording
    labels: Path | None
    batch: SegmentBatch
    windows: int
    can_seek: bool
    account: Account | None
    parts: tuple[TensorPart, ...] = ()


def plan_recording(
    found: FoundRecording, report: Report, *, config: PrecomputeConfig, counts: bool = True
) -> RecordingPlan | None:
    """What is to be made of a recording, no parts if all of it is there; None if it has no events.

    Args:
        found: the recording.
        report: told when it is done.
        config: what to make of it.
        counts: whether to find out first, once, what has to be left out of it.

    Raises:
        InputError: if the recording cannot be read, most of it would be left out, or there are other tensors in its
            place.
    """
    origin = file_digest(found.path)
    stated = facts_about(found.path).under(config.stated)
    survey = None
    if counts:
        pictures = config.tensor.pictures
        read_as = f"{origin} {vars(stated)}" + (f" {pictures}" if is_sequence(found.path) else "")
        file = (config.out / found.place).with_name(found.place.name + SUFFIX)
        survey = kept_survey(file, read_as, partial(look_through, found.path, stated, config.tensor.pictures))
        check(found.path, survey.account)
        if survey.span_us is None:
            report(1)
            return None
    labels = labels_beside(found.path)
    tensor, first_label_us = config.rules.aligned(config.tensor)
    span_us = survey.span_us if survey is not None else None
    first, windows, can_seek = windows_of(
        found.path, tensor, stated=stated, span_us=span_us, first_label_us=first_label_us
    )
    first = replace(first, source_digest=origin)
    if labels is not None:
        whole_us = first.edge_us(0), first.edge_us(windows)
        check_labels(labels, *labels_at(labels), span_us=whole_us, sensor_hw=first.sensor_hw)
    longest = windows
    if config.max_duration_us is not None:
        longest = max(config.max_duration_us // max(first.period_us, 1), 1)
    parts = []
    for begin in range(0, windows, longest):
        stop = min(begin + longest, windows)
        times_us = f"_{first.edge_us(begin)}_{first.edge_us(stop)}"
        parts.append(TensorPart(found.place.with_name(found.place.name + times_us * (longest < windows)), begin, stop))
    batch = SegmentBatch(found.path, tensor, stated, first, windows, config.packing)
    plan = RecordingPlan(found, labels, batch, windows, can_seek, survey.account if survey is not None else None)
    _check_lengths(found, {part.place.name for part in parts}, config)
    if labels is not None and not config.replace_labels:
        for part in parts:
            _check_labels(part, plan, config)
    plan = replace(plan, parts=tuple(part for part in parts if not _is_finished(part, plan, config)))
    report(1)
    return plan


def _check_lengths(found: FoundRecording, names: set[str], config: PrecomputeConfig) -> None:
    """Raise ``InputError`` if there are parts of other lengths of this recording."""
    target = config.out / found.place
    for path in target.parent.glob(f"{escape(target.name)}*"):
        name = path.name.removesuffix(".h5")
        is_part = re.fullmatch(re.escape(target.name) + r"(_\d+_\d+)?", name) is not None
        if is_part and name not in names and config.rules.is_written(path):
            raise InputError(f"{path} must not be there: it is a part of another length. Name another folder.")


def _check_labels(part: TensorPart, plan: RecordingPlan, config: PrecomputeConfig) -> None:
    """Raise ``InputError`` if there are other labels than those of a part in its place: old ones, or somebody's."""
    path = config.rules.written_labels(config.out / part.place)
    if path is None or not path.exists():
        return
    boxes, labelled_us = labels_at(path)
    wanted, wanted_us = _labels(part, plan)
    if not (np.array_equal(boxes, wanted) and np.array_equal(labelled_us, wanted_us)):
        raise InputError(
            f"{path} must hold the labels of {plan.labels}, and holds others. Delete it, or name another folder."
        )


def _is_finished(part: TensorPart, plan: RecordingPlan, config: PrecomputeConfig) -> bool:
    """Whether the file of a part is there; other tensors in its place, or packed otherwise, are an error."""
    for path in config.rules.written_tensors(config.out / part.place):
        if not _is_made(Segment(path, part.first, part.stop - part.first), plan.batch):
            TensorFile(path).close()  # which says what is wrong with a damaged one
            raise InputError(
                f"{path} must hold the tensors that are asked for, and holds others. Delete it, or name another folder."
            )
        with TensorFile(path) as file:
            packed = compression_of(file.data)
        if config.compression not in ("", packed):
            raise InputError(
                f"{path} must have the compression {config.compression}, which is asked for, and has {packed}. Delete "
                "it, or name another folder."
            )
        return True
    return False


def batches_of(plan: RecordingPlan, config: PrecomputeConfig) -> list[SegmentBatch]:
    """What is left to do of a recording, in pieces for several processes where one can begin anywhere."""
    segments = [segment for part in plan.parts for segment in part.segments(config)]
    pieces = [(segment,) for segment in segments] if plan.can_seek else [tuple(segments)]
    return [replace(plan.batch, segments=piece) for piece in pieces]


def make_segments(batch: SegmentBatch, report: Report) -> None:
    """Write the segments that are not there yet.

    Args:
        batch: what to make.
        report: called with the number of windows that were finished since the last call.
    """
    missing = [segment for segment in batch.segments if not _is_made(segment, batch)]
    report(batch.windows - sum(segment.windows for segment in missing))
    reader = open_reader(batch.recording, batch.tensor, batch.first, batch.frames, stated=batch.stated)
    with closing(reader):
        for segment in missing:
            make_folder(segment.path.parent)
            frames = reader.batches(segment.first, segment.windows, report)
            described = batch.first.part(segment.first, segment.windows)
            write_tensors(segment.path, frames, described, compression=batch.compression)


def _is_made(segment: Segment, batch: SegmentBatch) -> bool:
    """Whether the file of a segment is there and holds just that."""
    if not segment.path.is_file():
        return False
    try:
        with TensorFile(segment.path) as file:
            return (file.description, len(file)) == (
                batch.first.part(segment.first, segment.windows),
                segment.windows,
            )
    except InputError:
        return False


def finish(plan: RecordingPlan, config: PrecomputeConfig) -> tuple[int, Counter[str]]:
    """Make the files of a recording out of its segments.

    Returns:
        how many bytes of tensors they hold, and what had to be left out, by reason.

    Raises:
        InputError: if the labels cannot be read or a file cannot be written.
    """
    dropped: Counter[str] = Counter()
    size = 0
    for part in plan.parts:
        segments = part.segments(config)
        joined = segments[0].path.with_name("joined.h5")
        join_tensors(joined, [segment.path for segment in segments])
        size += joined.stat().st_size
        place = config.out / part.place
        make_folder(place.parent)
        path = config.rules.written_labels(place)
        is_there = path is not None and path.exists() and plan.labels is not None and path.samefile(plan.labels)
        labels = None if plan.labels is None or is_there else _labels(part, plan)
        dropped["labels that are not at the end of a window"] += config.rules.write(place, joined, labels)
        shutil.rmtree(segments[0].path.parent)
    return size, +dropped


def _labels(part: TensorPart, plan: RecordingPlan) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of a part, (N,) ``EVENT_BBOX``, and the times at which it is labelled."""
    boxes, labelled_us = labels_at(plan.labels)
    return boxes[_during(boxes["t"], part, plan)], labelled_us[_during(labelled_us, part, plan)]


def _during(times_us: np.ndarray, part: TensorPart, plan: RecordingPlan) -> np.ndarray:
    """Which times are those of a part: after its start, up to its end; none is lost at the ends of the recording."""
    start_us, end_us = (plan.batch.first.edge_us(n) for n in (part.first, part.stop))
    is_after = (times_us > start_us) | (part.first == 0)
    return is_after & ((times_us <= end_us) | (part.stop == plan.windows))


def _names(paths: Sequence[Path], out: Path) -> Path | None:
    """The names of classes to take along, if they are not there yet.

    Raises:
        InputError: if they differ between folders, or those that are there are others.
    """
    target = out / CLASSES_FILE
    found = [path / CLASSES_FILE for path in paths if (path / CLASSES_FILE).is_file()]
    first = target if target.is_file() else None
    for path in found:
        first = first or path
        if read_classes(path.parent) != read_classes(first.parent):
            raise InputError(f"{path} must have the names of classes that {first} has, and has others.")
    return None if first in (None, target) else first
