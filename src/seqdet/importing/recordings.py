"""Recordings of event cameras that are labelled: which there are, and what their labels are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..checks import InputError
from ..data.checking import label_reach, labels_outside, rate_misfit
from ..data.dataset import RECORDINGS, TEXTS, FoundRecording, find_recordings, recording_files
from ..events.dataset_facts import DatasetFacts
from ..events.files import open_recording
from ..progress import progress
from .boxes import sensor_boxes
from .options import ImportOptions, ImportReport
from .owners import Owners
from .parsed import ParsedLabels
from .splits import split_in
from .work import Labelled, Source

EARLY = 0.9
"""Labels that end before this part of their recording end early."""


def find_labelled(named: Path, labels: Path) -> tuple[list[Source], Owners]:
    """The recordings of a file or a folder, and what labels may call them.

    Args:
        named: the file or folder.
        labels: a file or folder, in which texts are no recordings.

    Raises:
        InputError: if there are none.
    """
    found = _recordings(named, labels)
    sources = [Source(each.place.name, each.path, split_in(each.path, named), each.path.name) for each in found]
    return sources, Owners({each.key: each.key for each in sources})


def read_recordings(
    work: Sequence[tuple[Source, Path]],
    parsed: ParsedLabels,
    facts: DatasetFacts,
    options: ImportOptions,
    report: ImportReport,
) -> Iterator[Labelled]:
    """The labels of recordings, each with its place in the dataset; one that cannot be read is noted as failed.

    Raises:
        InputError: if labels do not fit their recording.
    """
    fit = TimeFit()
    done = 0
    for source, target in progress(work, "reading", unit="recording"):
        try:
            recording = open_recording(source.path, size_hw=facts.size_hw, time_unit=facts.time_unit)
            with recording:
                span_us = recording.span_us()
            if span_us is None:
                raise InputError(f"{source.path} must have events to be labelled, and has none.")
        except InputError as error:
            report.failed.append(str(error))
            continue
        boxes, labelled_us = sensor_boxes(parsed.recordings[source.key], recording, span_us, options, report)
        fit.look(source.path.name, labelled_us, span_us)
        done += 1
        yield Labelled(source, target, boxes, labelled_us)
    fit.tell(report, done)


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
