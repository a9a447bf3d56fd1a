"""The folder of a dataset: its splits, and the recordings, tensors and labels in them, in any of the layouts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..checks import InputError
from ..events.dataset_facts import UNSTATED, DatasetFacts
from ..events.files import Recording, open_recording
from ..files import as_on_disk, below
from .frames import file_digest
from .labels import LABEL_SUFFIX
from .layouts import LAYOUTS, holds_tensors, label_place, labels_at, layout_of, open_tensors
from .recordings import recording_files
from .store import TensorFile

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FOLDERS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
"""In which folder of a dataset a split is."""
SPLIT_FOLDERS = tuple(FOLDERS.values())


class Entry(NamedTuple):
    """A recording of a dataset. path: its file, or its folder. labels: their file, if it has some."""

    split: str
    path: Path
    labels: Path | None

    @property
    def name(self) -> str:
        """With its split, as people read it."""
        return f"{self.split}/{self.path.name}" if self.split else self.path.name


class Contents(NamedTuple):
    """The recordings of a dataset, its label files without one, and its splits; one without a name if it has none."""

    entries: list[Entry]
    orphans: list[Path]
    splits: list[str]


def contents(folder: Path) -> Contents:
    """What is in the folder.

    Raises:
        InputError: if it is no folder.
    """
    folder = as_on_disk(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} must be the folder of a dataset, and there is none.")
    splits = [split for split in SPLIT_FOLDERS if (folder / split).is_dir()] or [""]
    entries, orphans = [], []
    for split in splits:
        root = folder / split
        inside = below(root)
        folders = [path for layout in LAYOUTS.values() for path in layout.recordings(inside)]
        files = [path for path in recording_files(root) if not any(each in path.parents for each in folders)]
        found = [Entry(split, path, layout_of(path).label_file(path)) for path in [*files, *folders]]
        used = {entry.labels for entry in found}
        orphans += [path for path in inside if path.name.endswith(LABEL_SUFFIX) and path not in used]
        entries += found
    return Contents(entries, orphans, splits)


@contextmanager
def opened(entry: Entry, stated: DatasetFacts = UNSTATED) -> Iterator[TensorFile | Recording]:
    """The recording or the tensors of an entry; what is stated is for files that do not say.

    Raises:
        InputError: if it cannot be read.
    """
    if holds_tensors(entry.path):
        source: TensorFile | Recording = open_tensors(entry.path)
    else:
        source = open_recording(entry.path, size_hw=stated.size_hw, time_unit=stated.time_unit)
    try:
        yield source
    finally:
        source.close()


def labels_of(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """The labels of an entry, as ``labels_at``."""
    return labels_at(label_place(entry.path))


def content_digest(entry: Entry, source: TensorFile | Recording) -> str:
    """What two copies of a recording, or the tensors of one, have in common."""
    if isinstance(source, TensorFile):
        window = source.description
        part = f" from {window.start_us} to {source.ends_us[-1]}" if len(source) else ""
        return (window.source_digest + part) if window.source_digest else file_digest(source.path)
    return file_digest(entry.path)


def sensor_hw(source: TensorFile | Recording) -> tuple[int, int] | None:
    """Height and width of the sensor, if the file says."""
    return source.description.input.sensor_hw if isinstance(source, TensorFile) else source.stated_size_hw
