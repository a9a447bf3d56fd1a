"""Read AEDAT 2.0, the format of jAER: pairs of an address and a time, 32 bits each, big endian.

What an address means, the camera decides: of a DVS128 bits 14-8 are y, 7-1 x, 0 the polarity, and bit 15 marks an
external event. Of the DAVIS family bits 30-22 are y, 21-12 x, 11 the polarity; bit 10 marks an external event, bit 31 a
sample of a picture or of the inertial sensor. y counts from the bottom. Times are microseconds and begin again after
2^32.

Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import InputError
from .aedat_cameras import camera_size, is_davis
from .array import Events
from .rows import Pieces
from .sieve import Sieve

RECORDS = 1 << 17  # of a piece
RECORD = np.dtype([("address", ">u4"), ("t", ">u4")])
LONGEST_HEADER = 1 << 23  # bytes; jAER writes all its settings there
END = b"#End Of ASCII Header"
_CAMERA = re.compile(rb"# ?AEChip: *(\S+)")
AS_DVS128 = 1 << 16  # addresses below this


class _Header(NamedTuple):
    """What the lines at the head say. camera: its name; none if it is not named. length: bytes before the records."""

    camera: str
    length: int


def aedat2_pieces(path: Path, size_hw: tuple[int, int] | None) -> tuple[Pieces, tuple[int, int]]:
    """Reads a file; and height and width of its sensor.

    Args:
        path: of the file.
        size_hw: height and width of the sensor, where the file names no camera.

    Raises:
        InputError: if it has events of a camera that we do not know, or names none and could be of any DAVIS.
    """
    with path.open("rb") as file:
        header = _read_header(file.read(LONGEST_HEADER))
        file.seek(header.length)
        first = _records(file.read(RECORDS * RECORD.itemsize))
    known_hw, davis = camera_size(header.camera), is_davis(header.camera)
    if header.camera and known_hw is None:
        raise InputError(
            f"{path} must be of a DVS128 or a DAVIS to be read from AEDAT 2.0, got the camera {header.camera}. Convert "
            "it to AEDAT4 with DV of iniVation, or write t, x, y, p to an npz."
        )
    if not header.camera and (first["address"] >= AS_DVS128).any():
        davis, known_hw = True, size_hw
        if size_hw is None:
            raise InputError(
                f"{path} must name its camera, '# AEChip: ...', or its size be given, as y counts from the bottom. "
                "Its addresses are those of a DAVIS: give size_hw 260, 346 for a DAVIS346, 180, 240 for a DAVIS240."
            )
    height, width = known_hw or (128, 128)

    def pieces(sieve: Sieve) -> Iterator[Events]:
        last = 0
        with path.open("rb") as file:
            file.seek(header.length)
            while content := file.read(RECORDS * RECORD.itemsize):
                records = _records(content)
                sieve.drop("bytes of a last record cut off", len(content) % RECORD.itemsize)
                t, last = _continued(records["t"], last)
                address = records["address"].astype(np.uint32)
                yield _davis(t, address, height, sieve) if davis else _dvs128(t, address, height, sieve)

    return pieces, (height, width)


def _read_header(head: bytes) -> _Header:
    """Lines that begin with #, up to the one that says that it is the last, or to the first with control characters."""
    camera, length = "", 0
    while head.startswith(b"#", length) and (end := head.find(b"\n", length)) >= 0:
        line = head[length:end]
        if min(line.rstrip(b"\r").replace(b"\t", b" "), default=ord(" ")) < ord(" "):
            break
        length = end + 1
        if found := _CAMERA.match(line):
            camera = found[1].decode(errors="replace")
        if line.strip() == END:
            break
    return _Header(camera, length)


def _continued(t: np.ndarray, last: int) -> tuple[np.ndarray, int]:
    """(N,) int64, times that do not begin again, after ``last``; and the last of them."""
    if not len(t):
        return np.zeros(0, np.int64), last
    steps = np.diff(t.astype(np.uint32), prepend=np.uint32(last & 0xFFFFFFFF))
    times = last + np.cumsum(steps.view(np.int32).astype(np.int64))
    return times, int(times[-1])


def _records(content: bytes) -> np.ndarray:
    return np.frombuffer(content, RECORD, len(content) // RECORD.itemsize)


def _dvs128(t: np.ndarray, address: np.ndarray, height: int, sieve: Sieve) -> Events:
    is_external, is_other = (address >> 15 & 1).astype(bool), address >= AS_DVS128
    sieve.drop("external events", int((is_external & ~is_other).sum()))
    sieve.drop("addresses that a DVS128 does not have", int(is_other.sum()))
    return _events(t, address, ~is_external & ~is_other, y=(8, 0x7F), x=(1, 0x7F), p=0, height=height)


def _davis(t: np.ndarray, address: np.ndarray, height: int, sieve: Sieve) -> Events:
    is_event, is_external = address >> 31 == 0, (address >> 10 & 1).astype(bool)
    sieve.drop("external events", int((is_event & is_external).sum()))
    return _events(t, address, is_event & ~is_external, y=(22, 0x1FF), x=(12, 0x3FF), p=11, height=height)


def _events(
    t: np.ndarray,
    address: np.ndarray,
    chosen: np.ndarray,
    *,
    y: tuple[int, int],
    x: tuple[int, int],
    p: int,
    height: int,
) -> Events:
    """The chosen events, whose fields are bits and masks of the address. Rows beyond the sensor stay beyond it."""
    address = address[chosen]
    row = (address >> y[0] & y[1]).astype(np.int64)
    row = np.where(row < height, height - 1 - row, row)
    column, polarity = (address >> x[0] & x[1]).astype(np.uint16), (address >> p & 1).astype(np.uint8)
    return Events(t[chosen], column, row.astype(np.uint16), polarity)
