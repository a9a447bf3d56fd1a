"""The folder of a dataset: which recordings, tensors and labels are in it, and in its splits, in any of the layouts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..checks import InputError
from ..events.dataset_facts import UNSTATED, DatasetFacts
from ..events.files import Recording, bare_name, open_recording
from ..events.formats import RECORDINGS, TEXTS
from ..events.text import Kind, text_kind
from ..files import as_on_disk, below
from ..pictures.sequence import TIMES_SUFFIX, Pictures, is_sequence, open_pictures
from .frames import file_digest
from .labels import LABEL_SUFFIX, LABELLED_SUFFIX, labels_beside, recording_name
from .layouts import LAYOUTS, holds_tensors, label_place, labels_at, layout_of, open_tensors
from .store import TensorFile

log = logging.getLogger(__name__)
NO_RECORDINGS = (LABEL_SUFFIX, LABELLED_SUFFIX, TIMES_SUFFIX)
"""How files end that are npy files, and are about recordings."""
_told: set[Path] = set()
"""Files that somebody was told about."""


class FoundRecording(NamedTuple):
    """A recording. path: of its file. place: where its tensors belong in a folder of results, without an ending."""

    path: Path
    place: Path


def find_recordings(
    paths: Sequence[Path], *, besides: Sequence[Path] = (), pictures: bool = False
) -> list[FoundRecording]:
    """The recordings that are named, and those in the folders that are named, whose tree their places keep.

    Args:
        paths: files and folders.
        besides: folders in them in which there are none.
        pictures: whether videos and folders of images are recordings too.

    Raises:
        InputError: if there are none, a path does not exist, or two have one place.
    """
    found: list[FoundRecording] = []
    for path in map(as_on_disk, paths):
        if path.is_dir() and not is_sequence(path):
            inside = [*recording_files(path), *(picture_sequences(path) if pictures else [])]
            places = [FoundRecording(each, each.relative_to(path)) for each in outside(inside, besides)]
            found += [FoundRecording(each, place.with_name(recording_name(each))) for each, place in places]
        elif path.exists():
            found.append(FoundRecording(path, Path(recording_name(path))))
        else:
            raise InputError(f"{path} must be a recording or a folder of recordings, and does not exist.")
    if not found:
        raise InputError(f"{', '.join(map(str, paths))} must hold recordings ({' '.join(RECORDINGS)}), got none.")
    owners: dict[Path, Path] = {}
    for path, place in found:
        if place in owners:
            raise InputError(
                f"recordings must have different names, got {owners[place]} and {path}. Name one, or move one away."
            )
        owners[place] = path
    return found


def outside(paths: Iterable[Path], folders: Sequence[Path]) -> list[Path]:
    """Those that lie in none of the folders, however these are written."""
    resolved = [folder.resolve() for folder in folders]
    return [path for path in paths if not any(path.resolve().is_relative_to(folder) for folder in resolved)]


def is_named_as_recording(path: Path) -> bool:
    """Whether a file is named as recordings are, packed ones too, such as drive.raw.gz."""
    return Path(bare_name(path.name)).suffix.lower() in RECORDINGS


def recording_files(folder: Path, *, labels: Path | None = None) -> list[Path]:
    """The files in a folder, and below, that may be recordings; none that is hidden or has labels.

    Texts that are no events are passed over, and so are those beside recordings of other kinds that neither name their
    columns nor have labels: data sets come with notes, times of images and paths of cameras. What is passed over is
    said once.

    Args:
        folder: to look through.
        labels: a file or a folder of labels, whose texts are none.
    """
    root = labels.resolve() if labels else None
    files = [
        path
        for path in below(folder)
        if is_named_as_recording(path)
        and path.is_file()
        and not path.name.endswith(NO_RECORDINGS)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not (root and path.suffix.lower() in TEXTS and root in (path.resolve(), *path.resolve().parents))
    ]
    places = {path.parent for path in files if path.suffix.lower() not in TEXTS}
    kept = [path for path in files if path.suffix.lower() not in TEXTS or _has_events(path, path.parent in places)]
    if passed := [path for path in files if path not in set(kept) and path not in _told]:
        _told.update(passed)
        names = ", ".join(str(path.relative_to(folder)) for path in passed[:5]) + (", ..." if len(passed) > 5 else "")
        log.info(
            "Passed over in %s, as they are no recordings: %s. A text of events has a first line t x y p, or is named "
            "alone.",
            *(folder, names),
        )
    return kept


def picture_sequences(folder: Path) -> list[Path]:
    """The videos, and the folders of images, in a folder and below; none that is hidden, and none inside another."""
    found: dict[Path, None] = {}  # by which thousands of stills are looked up fast
    for path in (folder, *below(folder)):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not is_hidden and is_sequence(path) and found.keys().isdisjoint(path.parents):
            found[path] = None
    return list(found)


def holds_pictures(folder: Path) -> bool:
    """Whether a dataset is one of pictures: the first thing that plays in its splits is one."""
    for split in SPLIT_FOLDERS:
        part = folder / split
        inside = sorted(part.iterdir()) if part.is_dir() else []
        for path in inside:
            if is_sequence(path):
                return True
            if path.is_file() and is_named_as_recording(path) and not path.name.endswith(NO_RECORDINGS):
                return False
    return False


def _has_events(text: Path, is_beside_others: bool) -> bool:
    """Whether a text in a folder is a recording."""
    if labels_beside(text):
        return True
    try:
        found = text.stat()
        kind = _kind(text, found.st_size, found.st_mtime_ns)
    except OSError:  # it vanished, or is not for us: who opens it says so
        return True
    return kind is Kind.EVENTS or (kind is Kind.LIKELY and not is_beside_others)


@lru_cache(maxsize=1 << 14)
def _kind(text: Path, size: int, modified_ns: int) -> Kind:
    """As ``text_kind``, of a file of that size and time: folders are looked through again and again."""
    return text_kind(text)


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
    entries = []
    orphans = []
    for split in splits:
        root = folder / split
        inside = below(root)
        folders = [path for layout in LAYOUTS.values() for path in layout.recordings(inside)]
        files = [*recording_files(root), *picture_sequences(root)]
        files = [path for path in files if not any(each in path.parents for each in folders)]
        found = [Entry(split, path, layout_of(path).label_file(path)) for path in [*files, *folders]]
        used = {entry.labels for entry in found}
        orphans += [path for path in inside if path.name.endswith(LABEL_SUFFIX) and path not in used]
        entries += found
    return Contents(entries, orphans, splits)


@contextmanager
def opened(entry: Entry, stated: DatasetFacts = UNSTATED) -> Iterator[TensorFile | Recording | Pictures]:
    """The recording, the tensors or the pictures of an entry; what is stated is for files that do not say.

    Raises:
        InputError: if it cannot be read.
    """
    source: TensorFile | Recording | Pictures
    if holds_tensors(entry.path):
        source = open_tensors(entry.path)
    elif is_sequence(entry.path):
        source = open_pictures(entry.path)
    else:
        source = open_recording(entry.path, size_hw=stated.size_hw, time_unit=stated.time_unit)
    try:
        yield source
    finally:
        source.close()


def labels_of(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """The labels of an entry, as ``labels_at``."""
    return labels_at(label_place(entry.path))


def content_digest(entry: Entry, source: TensorFile | Recording | Pictures) -> str:
    """What two copies of a recording, or the tensors of one, have in common."""
    if isinstance(source, TensorFile):
        window = source.description
        part = f" from {window.start_us} to {source.ends_us[-1]}" if len(source) else ""
        return (window.source_digest + part) if window.source_digest else file_digest(source.path)
    return file_digest(entry.path)


def sensor_hw(source: TensorFile | Recording | Pictures) -> tuple[int, int] | None:
    """Height and width of the sensor, or of the pictures, if the file says."""
    if not isinstance(source, TensorFile | Recording):
        return source.size_hw
    return source.description.sensor_hw if isinstance(source, TensorFile) else source.stated_size_hw
