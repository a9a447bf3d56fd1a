"""Open HDF5 files that somebody else wrote, and take from them only what they hold themselves."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import hdf5plugin

from ..checks import InputError

DAMAGE = (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, AttributeError)
"""What h5py raises on a damaged file, and Python where its values are of another kind than they should be."""


def open_hdf5_file(path: Path) -> h5py.File:
    """The file, open for reading, with the filters that hdf5plugin brings.

    Raises:
        InputError: if it holds what the library does not survive.
        OSError: if it cannot be read, or is no whole HDF5 file.
    """
    hdf5plugin.register(force=False)
    check_heaps(path)
    return h5py.File(path, "r", locking="best-effort")


def find(group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group | None:
    """What lies in a group under a name, with slashes between its parts; None if nothing does.

    Raises:
        InputError: if it lies elsewhere: a file may name any file of this machine as a part of its own, which is then
            read, or opened for good if it is a pipe.
    """
    found: h5py.Group | h5py.Dataset | h5py.Datatype = group
    for part in name.split("/"):
        if not isinstance(found, h5py.Group) or (link := found.get(part, getlink=True)) is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f"{group.file.filename} must hold '{name}' itself, and has a link there.")
        found = found[part]
    if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
        raise InputError(f"{group.file.filename} must hold '{name}' itself, and takes it from other files.")
    return found if isinstance(found, h5py.Dataset | h5py.Group) else None


def check_filters(dataset: h5py.Dataset, path: Path) -> None:
    """Raise ``InputError`` if the HDF5 library lacks what a dataset is compressed with."""
    for number, name in filters(dataset):
        if not h5py.h5z.filter_avail(number):
            named = f"{number} ({name})" if name else f"{number}"
            raise InputError(
                f"{path} is compressed with the HDF5 filter {named}, which cannot be loaded. Install it, most by "
                "pip install -U hdf5plugin, or write the file again with gzip or without a filter."
            )


def filters(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    """Number and name of each filter that the chunks of a dataset pass, in the order of writing."""
    properties = dataset.id.get_create_plist()
    found = map(properties.get_filter, range(properties.get_nfilters()))
    return [(number, name.decode(errors="replace")) for number, _, _, name in found]


SEARCHED_BYTES = 1 << 20  # at both ends of a file, where attributes are
_COLLECTION = struct.Struct("<4sB3xQ")  # signature, version, size
_OBJECT = struct.Struct("<HH4xQ")  # index, references, size


def check_heaps(path: Path) -> None:
    """Refuse collections of strings that are free space of size zero: libhdf5 looks for its end for ever.

    That is what zeros in place of a block make of it. Only those are found that are near an end of the file, where
    the strings of attributes are. "Disk Format: Level 1E" in https://docs.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html

    Raises:
        InputError: if there is one.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        for start in {0, max(file.seek(0, 2) - SEARCHED_BYTES, 0)}:
            file.seek(start)
            if _has_endless_heap(file.read(SEARCHED_BYTES)):
                raise InputError(f"{path} must be a sound HDF5 file: its strings are damaged. Copy it again.")


def _has_endless_heap(content: bytes) -> bool:
    start = content.find(b"GCOL")
    while start >= 0 and start + _COLLECTION.size <= len(content):
        _, version, size = _COLLECTION.unpack_from(content, start)
        place, end = start + _COLLECTION.size, min(start + size, len(content))
        while version == 1 and place + _OBJECT.size <= end:
            index, _, length = _OBJECT.unpack_from(content, place)
            step = _OBJECT.size + (length + 7 & ~7) if index else length
            if step & (1 << 64) - 1 == 0:
                return True
            place += step
        start = content.find(b"GCOL", start + 4)
    return False
