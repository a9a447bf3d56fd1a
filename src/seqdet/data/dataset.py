"""The folder of a dataset: its splits, and the recordings, tensors and labels in them, in any of the layouts.

These are recordings or tensor files with labels beside, the vendor's among them, and folders of RVT. Here alone is
known which of them a path is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..checks import InputError
from ..events.files import Recording, open_recording
from ..events.time_units import Unit
from ..files import as_on_disk, below
from .labels import EVENT_BBOX, LABEL_SUFFIX, labels_beside, read_labelled_us, read_labels
from .layouts import recording_files
from .rvt import REPRESENTATIONS, open_rvt, read_rvt_labels
from .segments import digest
from .store import TensorFile, has_frames

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FOLDERS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
"""In which folder of a dataset a split is."""
SPLIT_FOLDERS = tuple(FOLDERS.values())


class Entry(NamedTuple):
    """A recording of a dataset. path: its file, or its folder in RVT's layout. labels: if it has some."""

    split: str
    path: Path
    labels: Path | None

    @property
    def name(self) -> str:
        """With its split, as people read it."""
        return f"{self.split}/{self.path.name}" if self.split else self.path.name

    @property
    def is_rvt(self) -> bool:
        """Whether it is a folder of RVT."""
        return self.path.is_dir()


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
        of_rvt = [path.parent for path in inside if path.name == "labels_v2" and path.is_dir()]
        files = [path for path in recording_files(root) if not any(each in path.parents for each in of_rvt)]
        found = [Entry(split, path, labels_beside(path)) for path in files]
        found += [Entry(split, path, path / "labels_v2" / "labels.npz") for path in of_rvt]
        used = {entry.labels for entry in found}
        orphans += [path for path in inside if path.name.endswith(LABEL_SUFFIX) and path not in used]
        entries += found
    return Contents(entries, orphans, splits)


@contextmanager
def opened(
    entry: Entry, size_hw: tuple[int, int] | None = None, time_unit: Unit | None = None
) -> Iterator[TensorFile | Recording]:
    """The recording or the tensors of an entry; ``size_hw`` and ``time_unit`` are for files that do not say.

    Raises:
        InputError: if it cannot be read.
    """
    if holds_tensors(entry.path):
        source: TensorFile | Recording = open_tensors(entry.path)
    else:
        source = open_recording(entry.path, size_hw=size_hw, time_unit=time_unit)
    try:
        yield source
    finally:
        source.close()


def tensor_paths(folder: Path) -> list[Path]:
    """What in a folder is named as tensors are, by name: files, and folders of RVT."""
    return sorted([*folder.glob("*.h5"), *(path.parent for path in folder.glob(f"*/{REPRESENTATIONS}"))])


def holds_tensors(path: Path) -> bool:
    """Whether it is a tensor file or a folder of RVT, and not a recording."""
    return path.is_dir() or (path.suffix.lower() == ".h5" and has_frames(path))


def open_tensors(path: Path) -> TensorFile:
    """The frames of a tensor file or a folder of RVT. Raises ``InputError`` as ``TensorFile`` and ``open_rvt``."""
    return open_rvt(path)[0] if path.is_dir() else TensorFile(path)


def label_place(path: Path) -> Path | None:
    """Where the labels of a recording, or of tensors, are: a file, or the folder of RVT itself; None without labels."""
    return path if path.is_dir() else labels_beside(path)


def labels_at(place: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The boxes (N,) ``EVENT_BBOX`` at a ``label_place``, sorted by time, and the labelled times; none without one.

    Raises:
        InputError: if they are damaged.
    """
    if place is None:
        return np.zeros(0, EVENT_BBOX), np.zeros(0, np.int64)
    if place.is_dir():
        boxes = read_rvt_labels(place)
        return boxes, np.unique(boxes["t"])
    boxes = read_labels(place)
    return boxes, read_labelled_us(place, boxes)


def labels_of(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """The labels of an entry, as ``labels_at``."""
    return labels_at(entry.path if entry.is_rvt else entry.labels)


def content_digest(entry: Entry, source: TensorFile | Recording) -> str:
    """What two copies of a recording, or the tensors of one, have in common."""
    if isinstance(source, TensorFile):
        window = source.description
        part = f" from {window.start_us} to {source.ends_us[-1]}" if len(source) else ""
        return (window.source_digest + part) if window.source_digest else digest(source.path)
    return digest(entry.path)


def sensor_hw(source: TensorFile | Recording) -> tuple[int, int] | None:
    """Height and width of the sensor, if the file says."""
    return source.description.input.sensor_hw if isinstance(source, TensorFile) else source.stated_size_hw
