"""Detections and truth of recordings, read from files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..checks import InputError
from ..data.checking import instead_of_split, recording_folders
from ..data.classes import ClassMap, map_classes, read_classes
from ..data.dataset import SPLIT_FOLDERS
from ..data.labels import (
    CLASSES_FILE,
    EVENT_BBOX,
    LABEL_SUFFIX,
    LABELLED_SUFFIX,
    LEGACY_NAMES,
    TEXT_COLUMNS,
    check_boxes,
    read_labels,
)
from ..data.layouts import labels_at
from ..files import below, read_npy_header

SUFFIXES = (".npy", ".csv", ".txt")
ENDINGS = ("_bbox", "_detections", "_detection", "_tracks", ".dat", "_td")
ResultKind = Literal["detections", "tracks"]
"""Of results, and their folders as ``seqdet predict`` writes them."""
TEXTS = "csv"
"""Folder of the texts beside these."""
KIND_ENDINGS: dict[ResultKind, str] = {"detections": "_detections", "tracks": "_tracks"}
"""Of these texts, which are side by side."""
log = logging.getLogger(__name__)
_SEPARATORS = str.maketrans(",;\t", "   ")


@dataclass(frozen=True)
class Truth:
    """The labels of a split: by recording the boxes ``EVENT_BBOX`` and labelled times; the names of the classes."""

    boxes: dict[str, np.ndarray]
    labelled_us: dict[str, np.ndarray]
    class_names: tuple[str, ...]

    def mapped(self, classes: ClassMap) -> Truth:
        """The same with the classes of a dataset that keeps, renames or merges some."""
        boxes = {name: classes.boxes(rows) for name, rows in self.boxes.items()}
        return Truth(boxes, self.labelled_us, classes.names)


def split_folder(folder: Path, split: str) -> Path:
    """Where the recordings of a split are: in a folder of that name, or here if there is no split."""
    return folder / split if any((folder / name).is_dir() for name in SPLIT_FOLDERS) else folder


def read_truth(folder: Path, *, split: str = "test", classes: tuple[str, ...] = ()) -> Truth:
    """The labels of a dataset in the standard layout, or of a plain folder of label files.

    Args:
        folder: with train, val and test, of which only ``split`` is read, or with label files, or folders of RVT.
        split: of the dataset.
        classes: names where neither the folder nor the one above has a ``label_map_dictionary.json``.

    Raises:
        InputError: if there are no labels, a file is damaged, or the classes have no names.
    """
    inside = split_folder(folder, split)
    paths = _by_name([path for path in below(inside) if path.name.endswith(LABEL_SUFFIX)])
    paths |= {name_of(path): path for path in recording_folders(inside)}
    if not paths:
        raise InputError(
            f"{inside} must hold label files, which end in {LABEL_SUFFIX}, and holds none.{instead_of_split(folder)}"
        )
    listed = [each for each in (folder, folder.resolve().parent) if (each / CLASSES_FILE).is_file()]
    if not listed and not classes:
        raise InputError(f"{folder} must hold a {CLASSES_FILE} with the names of the classes, and holds none.")
    return truth_of(paths, read_classes(listed[0]) if listed else classes)


def truth_of(paths: Mapping[str, Path], class_names: tuple[str, ...]) -> Truth:
    """The labels of recordings by their names, from label files or folders of RVT.

    Raises:
        InputError: if one is damaged.
    """
    boxes = {}
    labelled_us = {}
    for name, path in paths.items():
        boxes[name], labelled_us[name] = labels_at(path)
    return Truth(boxes, labelled_us, class_names)


def of_classes(truth: Truth, detections: Path, *, kind: ResultKind = "detections") -> Truth:
    """The truth by the class indices of detections, where their folder has a ``label_map_dictionary.json``.

    So has that of the kind beside the texts of ``seqdet predict``.

    Args:
        truth: the labels.
        detections: file or folder.
        kind: of the files.

    Raises:
        InputError: if that names a class that the data set does not have.
    """
    folder = detections if detections.is_dir() else detections.parent
    places = [folder, folder / kind, *([folder.parent / kind] if folder.resolve().name == TEXTS else [])]
    listed = [place for place in places if (place / CLASSES_FILE).is_file()]
    return truth.mapped(map_classes(truth.class_names, read_classes(listed[0]))) if listed else truth


def read_detections(path: Path, *, kind: ResultKind = "detections") -> dict[str, np.ndarray]:
    """Boxes (N,) ``EVENT_BBOX`` by the name of the recording, which is that of the file without its endings.

    Args:
        path: a file or a folder of files: npy as label files are, csv or txt with lines of ``TEXT_COLUMNS`` between
            spaces, commas, semicolons or tabs, and a first line of names if their order is another one. Of what
            ``seqdet predict`` writes, its folder or one of those in it, only the files of the kind, one for each
            recording.
        kind: which of a recording's files are meant where there are some of both.

    Raises:
        InputError: if there are none, a file is damaged, has no scores, or two are of one recording.
    """
    inner = path / kind
    if not (inner.is_dir() and (path / TEXTS).is_dir()):  # as in the folder of results of a prediction
        inner = path
    found = below(inner) if inner.is_dir() else [inner]
    chosen = [each for each in found if each.suffix in SUFFIXES and not each.name.endswith(LABELLED_SUFFIX)]
    chosen = _of_kind(chosen, kind)
    if not path.exists() or not chosen:
        raise InputError(f"{path} must be a file of detections or a folder of them ({' '.join(SUFFIXES)}), got none.")
    return {name: read_boxes(each) for name, each in _by_name(chosen).items()}


def _of_kind(paths: list[Path], kind: ResultKind) -> list[Path]:
    """The files, without those of the other kind of recordings that have one of each."""
    own, other = (KIND_ENDINGS[each] for each in (kind, "tracks" if kind == "detections" else "detections"))
    mine = [each for each in paths if each.stem.endswith(own)]
    twins = {each.with_name(each.stem.removesuffix(own) + other + each.suffix) for each in mine}
    if left := twins & set(paths):
        log.info("%d files of %s beside those of %s are not scored.", len(left), other[1:], own[1:])
    return [each for each in paths if each not in twins]


def read_boxes(path: Path) -> np.ndarray:
    """The detections (N,) ``EVENT_BBOX`` of one file, sorted by time. Raises as ``read_detections`` does."""
    boxes = read_labels(path) if path.suffix == ".npy" else _read_text(path)
    if path.suffix == ".npy":
        with path.open("rb") as file:
            names = read_npy_header(file).dtype.names or ()
        if not {"class_confidence", "confidence"} & set(names):
            raise InputError(f"{path} must have scores as class_confidence, got {', '.join(names)}.")
    if not np.isfinite(boxes["class_confidence"]).all():
        raise InputError(f"{path} must have finite scores, got others.")
    return boxes


def name_of(path: Path) -> str:
    """The recording that a file of labels or of results belongs to.

    Its name has what they were written as behind it, other than that of a recording (``data.labels.recording_name``).
    """
    name = path.stem
    while ending := next((each for each in ENDINGS if name.endswith(each) and name != each), None):
        name = name.removesuffix(ending)
    return name


def _by_name(paths: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if (name := name_of(path)) in found:
            raise InputError(f"files must be of different recordings, got {found[name]} and {path}.")
        found[name] = path
    return found


def _read_text(path: Path) -> np.ndarray:
    try:
        text = path.read_text(encoding="latin-1").translate(_SEPARATORS)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith(("#", "%"))]
    words = [LEGACY_NAMES.get(word, word) for word in lines[0].split()] if lines else list(TEXT_COLUMNS)
    has_names = bool(set(words) & set(TEXT_COLUMNS))
    names = words if has_names else list(TEXT_COLUMNS)
    if missing := [name for name in TEXT_COLUMNS if name not in names and name != "track_id"]:
        raise InputError(f"{path} must have the columns {' '.join(TEXT_COLUMNS)}, and has no {', '.join(missing)}.")
    columns = [name for name in TEXT_COLUMNS if name in names]
    rows = lines[1:] if has_names and lines else lines
    try:
        order = [names.index(name) for name in columns]
        numbers = np.loadtxt(rows, comments=None, usecols=order, ndmin=2) if rows else np.zeros((0, len(order)))
    except ValueError as error:
        raise InputError(f"{path} must hold lines of {' '.join(TEXT_COLUMNS)} as numbers: {error}.") from error
    boxes = np.zeros(len(numbers), EVENT_BBOX)
    with np.errstate(invalid="ignore", over="ignore"):
        for name, column in zip(columns, numbers.T, strict=True):
            boxes[name] = column
            if EVENT_BBOX[name].kind in "iu" and not (boxes[name] == column).all():
                raise InputError(f"{path} must have whole numbers for {name}, of at least 0 for classes and tracks.")
    check_boxes(boxes, path)
    return boxes[np.argsort(boxes["t"], kind="stable")]
