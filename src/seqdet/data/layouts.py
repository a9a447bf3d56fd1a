"""How a folder holds the tensors of recordings and their labels: one class for each layout, behind one interface.

Here alone is known which layouts there are. Another one is a class with the methods of ``Layout``, in a file of its
own, and an entry in ``LAYOUTS``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from ..config import TensorConfig
from ..pictures.sequence import is_sequence
from .labels import (
    EVENT_BBOX,
    LABEL_SUFFIX,
    labels_beside,
    read_labelled_us,
    read_labels,
    write_labelled_us,
    write_labels,
)
from .rvt import RvtLayout
from .store import TensorFile, has_frames


class Layout(Protocol):
    """Where tensors and labels lie. A place is where those of a recording belong, a path without an ending."""

    compression: str
    """Of tensors, a key of ``store.COMPRESSIONS``, where none is asked for."""
    labels_are_independent: bool
    """Whether labels were written apart from the recording, and so may be of another one or of another clock."""

    def owns(self, path: Path) -> bool:
        """Whether a recording, tensors or labels at that path are of this layout and of no other."""
        ...

    def recordings(self, inside: Iterable[Path]) -> list[Path]:
        """Those of some paths below a folder that are recordings of this layout and would not be seen as files."""
        ...

    def tensors(self, folder: Path) -> list[Path]:
        """What in a folder, and not below, is named as tensors are."""
        ...

    def holds_tensors(self, path: Path) -> bool:
        """Whether there are tensors at that path."""
        ...

    def check(self, path: Path) -> None:
        """Raise ``InputError`` if a recording surely lacks its tensors; nothing is opened."""
        ...

    def open(self, path: Path) -> TensorFile:
        """The tensors of a recording. Raises ``InputError`` if they are damaged."""
        ...

    def label_place(self, path: Path) -> Path | None:
        """Where the labels of a recording, or of tensors, are; None without labels."""
        ...

    def label_file(self, path: Path) -> Path | None:
        """The file that holds them."""
        ...

    def read_labels(self, place: Path) -> tuple[np.ndarray, np.ndarray]:
        """The boxes (N,) ``EVENT_BBOX`` there, and the labelled times. Raises ``InputError`` if they are damaged."""
        ...

    def check_tensor(self, tensor: TensorConfig) -> None:
        """Raise ``InputError`` if such frames have no place in this layout."""
        ...

    def aligned(self, tensor: TensorConfig) -> tuple[TensorConfig, int]:
        """The settings with the windows that this layout has, and the time before which its labels do not count."""
        ...

    def is_written(self, path: Path) -> bool:
        """Whether a path may be what ``write`` left."""
        ...

    def written_tensors(self, place: Path) -> list[Path]:
        """The tensor files at a place."""
        ...

    def written_labels(self, place: Path) -> Path | None:
        """The file of labels that ``write`` leaves, which may be somebody's; None if these are never in its way."""
        ...

    def write(self, place: Path, tensors: Path, labels: tuple[np.ndarray, np.ndarray] | None) -> int:
        """Move a tensor file to its place and write boxes and labelled times, if there are some, beside.

        Returns:
            how many labels are not at the end of a window, where the layout has no place for such.
        """
        ...


class FilesLayout:
    """Ours, and the vendor's: a tensor file for each recording, with its labels beside it as beside recordings."""

    compression = "lz4"
    labels_are_independent = True

    def owns(self, path: Path) -> bool:
        """What no other layout owns: files, and folders of images."""
        return not path.is_dir() or is_sequence(path)

    def recordings(self, inside: Iterable[Path]) -> list[Path]:
        """None but files and folders of images."""
        return []

    def tensors(self, folder: Path) -> list[Path]:
        return list(folder.glob("*.h5"))

    def holds_tensors(self, path: Path) -> bool:
        return path.suffix.lower() == ".h5" and has_frames(path)

    def check(self, path: Path) -> None:
        """A file is there, or was not found."""

    def open(self, path: Path) -> TensorFile:
        return TensorFile(path)

    def label_place(self, path: Path) -> Path | None:
        return labels_beside(path)

    def label_file(self, path: Path) -> Path | None:
        return labels_beside(path)

    def read_labels(self, place: Path) -> tuple[np.ndarray, np.ndarray]:
        boxes = read_labels(place)
        return boxes, read_labelled_us(place, boxes)

    def check_tensor(self, tensor: TensorConfig) -> None:
        """All frames have."""

    def aligned(self, tensor: TensorConfig) -> tuple[TensorConfig, int]:
        return tensor, 0

    def is_written(self, path: Path) -> bool:
        return path.suffix == ".h5"

    def written_tensors(self, place: Path) -> list[Path]:
        path = place.with_name(place.name + ".h5")
        return [path] if path.exists() else []

    def written_labels(self, place: Path) -> Path | None:
        return place.with_name(place.name + LABEL_SUFFIX)

    def write(self, place: Path, tensors: Path, labels: tuple[np.ndarray, np.ndarray] | None) -> int:
        if labels is not None:
            boxes, labelled_us = labels
            path = place.with_name(place.name + LABEL_SUFFIX)
            write_labelled_us(path, labelled_us)
            write_labels(path, boxes)
        tensors.replace(place.with_name(place.name + ".h5"))
        return 0


LayoutName = Literal["seqdet", "rvt"]
LAYOUTS: dict[LayoutName, Layout] = {"seqdet": FilesLayout(), "rvt": RvtLayout()}
"""By the name that ``precompute`` takes: those of ``LayoutName``."""


def layout_of(path: Path) -> Layout:
    """The layout that a recording, tensors or labels at a path are in."""
    return next(layout for layout in LAYOUTS.values() if layout.owns(path))


def tensor_paths(folder: Path) -> list[Path]:
    """What in a folder is named as tensors are, in any layout, by name."""
    return sorted(path for layout in LAYOUTS.values() for path in layout.tensors(folder))


def holds_tensors(path: Path) -> bool:
    """Whether a path is that of tensors, in any layout, and not of a recording."""
    return layout_of(path).holds_tensors(path)


def open_tensors(path: Path) -> TensorFile:
    """The frames at a path, in any layout. Raises ``InputError`` if there are none, or damaged ones."""
    return layout_of(path).open(path)


def label_place(path: Path) -> Path | None:
    """Where the labels of a recording, or of tensors, are: a file, or what the layout has; None without labels."""
    return layout_of(path).label_place(path)


def labels_at(place: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The boxes (N,) ``EVENT_BBOX`` at a ``label_place``, sorted by time, and the labelled times; none without one.

    Raises:
        InputError: if they are damaged.
    """
    if place is None:
        return np.zeros(0, EVENT_BBOX), np.zeros(0, np.int64)
    return layout_of(place).read_labels(place)
