"""What becomes of a recording that is made into tensors: its files and the pieces of work that make them."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..checks import InputError, check_at_least, check_choice
from ..config import TensorConfig
from ..events.accounts import Account, check
from ..events.dataset_facts import facts_about
from ..events.tensors import RVT_NAMES, blank_frame
from ..events.time_units import Unit
from ..files import make_folder
from .checking import check_labels
from .dataset import labels_at
from .labels import LABEL_SUFFIX, labels_beside, write_labelled_us, write_labels
from .layouts import Found
from .processes import Report
from .rvt import REPRESENTATIONS, write_rvt
from .segments import SEGMENT_WINDOWS, Segment, Stretch, digest, extent, is_made
from .store import COMPRESSIONS, Description, TensorFile, compression_of, join_tensors
from .surveys import SUFFIX, kept_survey, look_through

Layout = Literal["seqdet", "rvt"]
FIRST_RVT_LABEL_US = 100_000
"""Labels before this have too few events before them."""
UNFINISHED = ".unfinished"
"""In the folder of results: what is not complete yet."""


@dataclass(frozen=True)
class Options:
    """How recordings become tensor files.

    out: folder of the results. tensor: the frames. max_duration_us: longest recording in a file; longer ones become
    several. size_hw: of the sensor, for formats that do not say. layout: ours, or RVT's. compression: a key of
    ``COMPRESSIONS``; ``blosc`` for RVT's layout and ``lz4`` for ours if empty. replace_labels: let those of the
    recordings take the place of others, in a folder that seqdet named itself. time_unit: of the times, where a
    format does not say.
    """

    out: Path
    tensor: TensorConfig = field(default_factory=TensorConfig)
    max_duration_us: int | None = None
    size_hw: tuple[int, int] | None = None
    layout: Layout = "seqdet"
    compression: str = ""
    replace_labels: bool = False
    time_unit: Unit | None = None

    def __post_init__(self) -> None:
        check_choice(self.layout, ("seqdet", "rvt"), "layout")
        if self.layout == "rvt" and (
            self.tensor.representation not in RVT_NAMES or self.tensor.downscale > 2 or self.tensor.to_hw is not None
        ):
            raise InputError(
                f"RVT's layout must have {' or '.join(RVT_NAMES)} at the sensor's size or with a downscale of 2, "
                f"got {self.tensor.representation} with {self.tensor.downscale}."
            )
        if self.size_hw is not None and not 1 <= min(self.size_hw) <= max(self.size_hw) <= 65536:
            raise InputError(f"size_hw must be from 1 to 65536 each, got {self.size_hw}.")
        if self.max_duration_us is not None:
            check_at_least(self.max_duration_us, self.tensor.window_us, "max_duration_us")
        check_choice(self.packing, COMPRESSIONS, "compression")
        blank_frame(self.tensor.of_smallest())  # which raises what is wrong with the settings

    @property
    def packing(self) -> str:
        """The compression, chosen."""
        return self.compression or ("blosc" if self.layout == "rvt" else "lz4")


class Part(NamedTuple):
    """Frames [first, stop) of a recording, and the place of their file in the folder of results, without an ending."""

    place: Path
    first: int
    stop: int

    def segments(self, options: Options) -> list[Segment]:
        """The files that it is made of."""
        folder = options.out / UNFINISHED / options.packing / self.place  # what is packed differently cannot be joined
        return [
            Segment(folder / f"{n:08}.h5", n, min(SEGMENT_WINDOWS, self.stop - n))
            for n in range(self.first, self.stop, SEGMENT_WINDOWS)
        ]


@dataclass(frozen=True)
class Job:
    """One recording with events. stretch: what is made of it. windows: how many frames it has. parts: those still to
    make. account: what became of its events, if it was looked through."""

    found: Found
    labels: Path | None
    stretch: Stretch
    windows: int
    can_seek: bool
    account: Account | None
    parts: tuple[Part, ...] = ()


def plan(found: Found, report: Report, *, options: Options, counts: bool = True) -> Job | None:
    """What is to be made of a recording, no segments if all of it is there; None if it has no events.

    Args:
        found: the recording.
        report: told when it is done.
        options: what to make of it.
        counts: whether to find out first, once, what has to be left out of it.

    Raises:
        InputError: if the recording cannot be read, most of it would be left out, or there are other tensors in its
            place.
    """
    origin, survey = digest(found.path), None
    size_hw, time_unit = facts_about(found.path).or_given(options.size_hw, options.time_unit)
    how: Any = {"size_hw": size_hw, "time_unit": time_unit}
    if counts:
        file = (options.out / found.place).with_name(found.place.name + SUFFIX)
        survey = kept_survey(file, f"{origin} {how}", partial(look_through, found.path, **how))
        check(found.path, survey.account)
        if survey.span_us is None:
            report(1)
            return None
    tensor = options.tensor
    labels, first_label_us = labels_beside(found.path), 0
    if options.layout == "rvt":
        tensor, first_label_us = replace(tensor, align="labels"), FIRST_RVT_LABEL_US
    how |= {"first_label_us": first_label_us, "span_us": survey and survey.span_us}
    window, windows, can_seek = extent(found.path, tensor, **how)
    window = replace(window, source_digest=origin)
    if labels is not None:
        span_us = window.start_us, window.after(windows).start_us
        check_labels(labels, *labels_at(labels), span_us=span_us, sensor_hw=window.input.sensor_hw)
    longest = windows if options.max_duration_us is None else options.max_duration_us // tensor.window_us
    parts = []
    for first in range(0, windows, longest):
        stop = min(first + longest, windows)
        start_us, end_us = (window.after(n).start_us for n in (first, stop))
        name = found.place.name if longest >= windows else f"{found.place.name}_{start_us}_{end_us}"
        parts.append(Part(found.place.with_name(name), first, stop))
    stretch = Stretch(found.path, options.size_hw, window, tensor, options.packing, time_unit=options.time_unit)
    job = Job(found, labels, stretch, windows, can_seek, survey and survey.account)
    _check_lengths(found, {part.place.name for part in parts}, options)
    if labels is not None and options.layout == "seqdet" and not options.replace_labels:
        for part in parts:
            _check_labels(part, job, options)
    job = replace(job, parts=tuple(part for part in parts if not _is_finished(part, job, options)))
    report(1)
    return job


def _check_lengths(found: Found, names: set[str], options: Options) -> None:
    """Raise ``InputError`` if there are parts of other lengths of this recording."""
    target = options.out / found.place
    for path in target.parent.glob(f"{escape(target.name)}*"):
        name = path.name.removesuffix(".h5")
        is_part = re.fullmatch(re.escape(target.name) + r"(_\d+_\d+)?", name) is not None
        if is_part and name not in names and (path.is_dir() if options.layout == "rvt" else path.suffix == ".h5"):
            raise InputError(f"{path} must not be there: it is a part of another length. Name another folder.")


def _check_labels(part: Part, job: Job, options: Options) -> None:
    """Raise ``InputError`` if there are other labels than those of a part in its place: old ones, or somebody's."""
    path = _label_file(part, options)
    if not path.exists():
        return
    boxes, labelled_us = labels_at(path)
    wanted, wanted_us = _labels(part, job)
    if not (np.array_equal(boxes, wanted) and np.array_equal(labelled_us, wanted_us)):
        raise InputError(
            f"{path} must hold the labels of {job.labels}, and holds others. Delete it, or name another folder."
        )


def _labels(part: Part, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of a part, (N,) ``EVENT_BBOX``, and the times at which it is labelled."""
    assert job.labels is not None
    boxes, labelled_us = labels_at(job.labels)
    window = job.stretch.window
    return boxes[_during(boxes["t"], window, part, job.windows)], labelled_us[
        _during(labelled_us, window, part, job.windows)
    ]


def _label_file(part: Part, options: Options) -> Path:
    target = options.out / part.place
    return target.with_name(target.name + LABEL_SUFFIX)


def _is_finished(part: Part, job: Job, options: Options) -> bool:
    """Whether the file of a part is there; other tensors in its place, or packed otherwise, are an error."""
    target = options.out / part.place
    pattern = f"{REPRESENTATIONS}/*/*.h5" if options.layout == "rvt" else f"{escape(target.name)}.h5"
    for path in (target if options.layout == "rvt" else target.parent).glob(pattern):
        if not is_made(Segment(path, part.first, part.stop - part.first), job.stretch):
            TensorFile(path).close()  # which says what is wrong with a damaged one
            raise InputError(
                f"{path} must hold the tensors that are asked for, and holds others. Delete it, or name another folder."
            )
        with TensorFile(path) as file:
            packed = compression_of(file.data)
        if options.compression not in ("", packed):
            raise InputError(
                f"{path} must have the compression {options.compression}, which is asked for, and has {packed}. Delete "
                "it, or name another folder."
            )
        return True
    return False


def finish(job: Job, options: Options) -> tuple[int, Counter[str]]:
    """Make the files of a recording out of its segments.

    Returns:
        how many bytes of tensors they hold, and what had to be left out, by reason.

    Raises:
        InputError: if the labels cannot be read or a file cannot be written.
    """
    dropped: Counter[str] = Counter()
    size = 0
    for part in job.parts:
        segments = part.segments(options)
        joined = segments[0].path.with_name("joined.h5")
        join_tensors(joined, [segment.path for segment in segments])
        size += joined.stat().st_size
        target = options.out / part.place
        make_folder(target.parent)
        if options.layout == "rvt":
            dropped["labels that are not at the end of a window"] += write_rvt(target, joined, _labels(part, job)[0])
        else:
            if job.labels is not None and not _is_there(path := _label_file(part, options), job.labels):
                boxes, labelled_us = _labels(part, job)
                write_labelled_us(path, labelled_us)
                write_labels(path, boxes)
            joined.replace(target.with_name(target.name + ".h5"))
        shutil.rmtree(joined.parent)
    return size, +dropped


def _is_there(path: Path, labels: Path) -> bool:
    """Whether the labels of a recording lie where those of its tensors belong: in the folder of the recording."""
    return path.exists() and path.samefile(labels)


def _during(times_us: np.ndarray, window: Description, part: Part, windows: int) -> np.ndarray:
    """Which times are those of a part: after its start, up to its end; none is lost at the ends of the recording."""
    start_us, end_us = (window.after(n).start_us for n in (part.first, part.stop))
    return ((times_us > start_us) | (part.first == 0)) & ((times_us <= end_us) | (part.stop == windows))


def stretches(job: Job, options: Options) -> list[Stretch]:
    """What is left to do of a recording, in pieces for several processes where one can begin anywhere."""
    segments = [segment for part in job.parts for segment in part.segments(options)]
    pieces = [(segment,) for segment in segments] if job.can_seek else [tuple(segments)]
    return [replace(job.stretch, segments=piece) for piece in pieces]
