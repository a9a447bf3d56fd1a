"""Folders of recordings: which files they hold, and what belongs together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..checks import InputError
from ..files import below
from .labels import LABEL_SUFFIX, LABELLED_SUFFIX, recording_name

SUFFIXES = (".raw", ".dat", ".hdf5", ".h5", ".aedat4", ".npz", ".npy", ".csv", ".txt", ".bin")
"""Endings of recordings in folders; a file that is named itself may have any."""


class Found(NamedTuple):
    """A recording. path: of its file. place: where its tensors belong in a folder of results, without an ending."""

    path: Path
    place: Path


def find_recordings(paths: Sequence[Path], *, besides: Sequence[Path] = ()) -> list[Found]:
    """The recordings that are named, and those in the folders that are named, whose tree their places keep.

    Args:
        paths: files and folders.
        besides: folders in them in which there are none.

    Raises:
        InputError: if there are none, a path does not exist, or two have one place.
    """
    found: list[Found] = []
    for path in paths:
        if path.is_dir():
            places = [Found(each, each.relative_to(path)) for each in outside(recording_files(path), besides)]
            found += [Found(each, place.with_name(recording_name(each))) for each, place in places]
        elif path.is_file():
            found.append(Found(path, Path(recording_name(path))))
        else:
            raise InputError(f"{path} must be a recording or a folder of recordings, and does not exist.")
    if not found:
        raise InputError(f"{', '.join(map(str, paths))} must hold recordings ({' '.join(SUFFIXES)}), got none.")
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


def recording_files(folder: Path) -> list[Path]:
    """The files in a folder, and below, that may be recordings; none that is hidden or has labels."""
    return [
        path
        for path in below(folder)
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not path.name.endswith((LABEL_SUFFIX, LABELLED_SUFFIX))
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
