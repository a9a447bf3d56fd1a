"""Read AEDAT 3.1, the format of cAER: packets of one kind of event each, little endian.

A packet has a header of 28 bytes: kind, source, size of an event, place of its time, overflows of the time, room for
events, how many there are, how many are valid. An event of polarity is 32 bits, from the lowest: valid, polarity, y of
15, x of 15; and 31 bits of microseconds. Packets of other kinds are passed over.

Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ..checks import InputError
from .aedat_cameras import camera_size
from .array import Events
from .rows import Pieces
from .sieve import Sieve

ROWS = 1 << 17  # of a piece
EVENT = np.dtype([("data", "<u4"), ("t", "<u4")])
POLARITY = 1
END = b"#!END-HEADER"
LONGEST_HEADER, LONGEST_LINE = 1 << 20, 1 << 12  # bytes
_HEADER = struct.Struct("<hhiiiiii")
_FORMAT, _SOURCE = re.compile(rb"#Format: *(\S+)"), re.compile(rb"#Source (\d+): *(.+?)\s*$")


class _Packet(NamedTuple):
    """What the header of a packet says, without the room."""

    kind: int
    source: int
    size: int
    overflow: int
    events: int


def aedat3_pieces(path: Path) -> tuple[Pieces, tuple[int, int] | None]:
    """Reads the events of the first camera of a file; and height and width of its sensor, if the camera is known.

    Raises:
        InputError: if the file is packed, has no end of its header, or has no events.
    """
    with path.open("rb") as file:
        cameras, begin = _read_header(path, file)
        first = next(
            (packet for packet in _packets(file) if packet and packet.kind == POLARITY and packet.events), None
        )
    if first is None:
        raise InputError(f"{path} must have packets of polarity events, and has none.")

    def pieces(sieve: Sieve) -> Iterator[Events]:
        with path.open("rb") as file:
            file.seek(begin)
            for packet in _packets(file):
                if packet is None:
                    sieve.drop("packets from a damaged one on", 1)
                elif packet.kind == POLARITY and packet.source != first.source:
                    sieve.drop("events of other cameras", packet.events)
                elif packet.kind == POLARITY:
                    yield from _events(file, packet, sieve)

    return pieces, camera_size(cameras.get(first.source, ""))


def _read_header(path: Path, file: IO[bytes]) -> tuple[dict[int, str], int]:
    """The cameras by the number of their source, and where the packets begin."""
    cameras: dict[int, str] = {}
    while (line := file.readline(LONGEST_LINE)).startswith(b"#") and file.tell() < LONGEST_HEADER:
        if line.strip() == END:
            return cameras, file.tell()
        if (found := _FORMAT.match(line)) and found[1] != b"RAW":
            got = found[1].decode(errors="replace")
            raise InputError(f"{path} must have '#Format: RAW', got {got}. Convert it to AEDAT4 with DV of iniVation.")
        if found := _SOURCE.match(line):
            cameras[int(found[1])] = found[2].decode(errors="replace")
    raise InputError(f"{path} must have a line {END.decode()} at the end of its header, and has none; it is cut short.")


def _packets(file: IO[bytes]) -> Iterator[_Packet | None]:
    """The packets from here on, each with the file at its first event; at the end, None if it is damaged."""
    while content := file.read(_HEADER.size):
        if len(content) < _HEADER.size:
            yield None
            return
        kind, source, size, _, overflow, _, count, _ = _HEADER.unpack(content)
        if kind < 0 or size <= 0 or overflow < 0 or count < 0 or (kind == POLARITY and size != EVENT.itemsize):
            yield None
            return
        begin = file.tell()
        yield _Packet(kind, source, size, overflow, count)
        file.seek(begin + size * count)


def _events(file: IO[bytes], packet: _Packet, sieve: Sieve) -> Iterator[Events]:
    left = packet.events
    while left and (content := file.read(min(left, ROWS) * EVENT.itemsize)):
        rows = np.frombuffer(content, EVENT, len(content) // EVENT.itemsize)
        if not len(rows):
            break
        left -= len(rows)
        data, t = rows["data"], (packet.overflow << 31) + (rows["t"] & 0x7FFFFFFF).astype(np.int64)
        x, y, p = data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1
        events = Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8))
        is_valid = (data & 1).astype(bool)
        sieve.drop("events that are marked as invalid", int((~is_valid).sum()))
        yield events[is_valid]
    sieve.drop("events missing at the end of the file", left)
