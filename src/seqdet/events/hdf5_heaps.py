"""Damage in HDF5 files that the library which reads them does not survive."""

from __future__ import annotations

import struct
from pathlib import Path

from ..checks import InputError

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
