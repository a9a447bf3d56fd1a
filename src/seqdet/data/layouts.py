"""Folders of recordings: which files they hold, and what belongs together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..checks import InputError
from .labels import LABEL_SUFFIX, LABELLED_SUFFIX, recording_name

SUFFIXES = (".raw", ".dat", ".hdf5", ".h5", ".aedat4", ".npz", ".npy", ".csv", ".txt", ".bin")
"""Endings of recordings in folders; a file that is named itself may have any."""


class Found(NamedTuple):
    """A recording. path: of its file. place: where its tensors belong in a folder of results, without an ending."""

    path: Path
    place: Path


def find_recordings(paths: Sequence[Path]) -> list[Found]:
    """The recordings that are named, and those in the folders that are named, whose tree their places keep.

    Raises:
        InputError: if there are none, a path does not exist, or two have one place.
    """
    found = []
    for path in paths:
        if path.is_dir():
            inside = [each for each in sorted(path.rglob("*")) if _is_recording(each.relative_to(path))]
            found += [Found(each, each.relative_to(path).with_name(recording_name(each))) for each in inside]
        elif path.is_file():
            found.append(Found(path, Path(recording_name(path))))
        else:
            raise InputError(f"{path} must be a recording or a folder of recordings, and does not exist.")
    if not found:
        raise InputError(f"{', '.join(map(str, paths))} must hold recordings ({' '.join(SUFFIXES)}), got none.")
    places: dict[Path, Path] = {}
    for path, place in found:
        if place in places:
            raise InputError(f"recordings must have different names, got {places[place]} and {path}.")
        places[place] = path
    return found


def _is_recording(path: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix in SUFFIXES and not path.name.endswith((LABEL_SUFFIX, LABELLED_SUFFIX)) and not is_hidden
