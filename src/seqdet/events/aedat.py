"""Recordings of iniVation's and jAER's cameras in any version of AEDAT."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from ..checks import InputError
from .aedat2 import aedat2_pieces
from .aedat3 import aedat3_pieces
from .aedat4 import open_aedat4
from .array import Source
from .rows import Meaning
from .sieve import Sieve
from .tables import TableSource

START = b"#!AER-DAT"
_VERSION = re.compile(rb"#!AER-DAT(\d+)\.?(\d*)")


def open_aedat(
    path: Path, *, size_hw: tuple[int, int] | None = None, strict: bool = False, joins_clocks: bool = False
) -> Source:
    """A recording in AEDAT 2.0, 3.1 or 4.

    Args:
        path: of the file, which begins with ``START``.
        size_hw: height and width of the sensor, where the file names no camera that we know.
        strict: raise where something would be left out.
        joins_clocks: go on in time where the clock of the camera begins anew, see ``Sieve``.

    Raises:
        InputError: if it is of another version, or as ``aedat2_pieces``, ``aedat3_pieces`` and ``open_aedat4``.
    """
    with path.open("rb") as file:
        found = _VERSION.match(file.read(32))
    new_sieve = partial(Sieve, path, strict=strict, joins_clocks=joins_clocks)
    version = tuple(int(part or 0) for part in found.groups()) if found else (0, 0)
    if version == (2, 0):
        pieces, known_hw = aedat2_pieces(path, size_hw)
        return TableSource("AEDAT 2.0", known_hw, pieces, Meaning(), new_sieve)
    if version == (3, 1):
        pieces, known_hw = aedat3_pieces(path)
        return TableSource("AEDAT 3.1", known_hw or size_hw, pieces, Meaning(), new_sieve)
    if version[0] == 4:
        return open_aedat4(path, strict=strict, joins_clocks=joins_clocks)
    named = ".".join(map(str, version)) if found else "no version"
    raise InputError(f"{path} must be in AEDAT 2.0, 3.1 or 4, got {named}. Convert it to AEDAT4 with DV of iniVation.")
