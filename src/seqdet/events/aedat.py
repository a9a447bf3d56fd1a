"""Recordings of iniVation's and jAER's cameras in any version of AEDAT."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..checks import LARGEST_SIDE, InputError
from ..files import read_json
from . import aedat4_process
from .aedat4_process import END, EVENT, TRIGGER
from .array import Events, Triggers, columns
from .reading import AS_IT_IS, PieceRecording, ReadOptions, records_of
from .sieve import Sieve

START = b"#!AER-DAT"
_VERSION = re.compile(rb"#!AER-DAT(\d+)\.?(\d*)")
_SIZES = {
    "DVS128": (128, 128),
    "TMPDIFF128": (128, 128),
    "DAVIS128": (128, 128),
    "DAVIS208": (192, 208),
    "DAVIS240": (180, 240),
    "SBRET": (180, 240),
    "DAVIS346": (260, 346),
    "DAVIS640": (480, 640),
}
"""Height and width by what the names of cameras begin with, after "Supported Devices" of iniVation's documentation."""


def is_aedat(path: Path) -> bool:
    """Whether the file begins as one of any version of AEDAT does."""
    with path.open("rb") as file:
        return file.read(len(START)) == START


def open_aedat(path: Path, options: ReadOptions = AS_IT_IS) -> PieceRecording:
    """A recording in AEDAT 2.0, 3.1 or 4.

    Raises:
        InputError: if it is of another version, or as ``open_aedat2``, ``open_aedat3`` and ``open_aedat4``.
    """
    with path.open("rb") as file:
        found = _VERSION.match(file.read(32))
    version = tuple(int(part or 0) for part in found.groups()) if found else (0, 0)
    if version == (2, 0):
        return open_aedat2(path, options)
    if version == (3, 1):
        return open_aedat3(path, options)
    if version[0] == 4:
        return open_aedat4(path, options)
    named = ".".join(map(str, version)) if found else "no version"
    raise InputError(f"{path} must be in AEDAT 2.0, 3.1 or 4, got {named}. Convert it to AEDAT4 with DV of iniVation.")


def camera_size(name: str) -> tuple[int, int] | None:
    """Height and width of the sensor of a camera such as DAVIS240C or eu.seebetter.ini.chips.davis.Davis346B."""
    short = re.split(r"[.\s]", name.strip())[-1].upper()
    return next((size for start, size in _SIZES.items() if short.startswith(start)), None)


def is_davis(name: str) -> bool:
    """Whether a camera is of the DAVIS family, which also sends pictures."""
    short = re.split(r"[.\s]", name.strip())[-1].upper()
    return short.startswith(("DAVIS", "SBRET"))


AEDAT2_RECORD = np.dtype([("address", ">u4"), ("t", ">u4")])
LONGEST_AEDAT2_HEADER = 1 << 23  # bytes; jAER writes all its settings there
AEDAT2_END = b"#End Of ASCII Header"
_CAMERA = re.compile(rb"# ?AEChip: *(\S+)")
AS_DVS128 = 1 << 16  # addresses below this


class _Aedat2Header(NamedTuple):
    """What the lines at the head say. camera: its name; none if it is not named. length: bytes before the records."""

    camera: str
    length: int


def open_aedat2(path: Path, options: ReadOptions = AS_IT_IS) -> PieceRecording:
    """A recording in AEDAT 2.0, the format of jAER: pairs of an address and a time, 32 bits each, big endian.

    What an address means, the camera decides: of a DVS128 bits 14-8 are y, 7-1 x, 0 the polarity, and bit 15 marks an
    external event. Of the DAVIS family bits 30-22 are y, 21-12 x, 11 the polarity; bit 10 marks an external event, bit
    31 a sample of a picture or of the inertial sensor. y counts from the bottom. Times are microseconds and begin again
    after 2^32.

    Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html.

    Raises:
        InputError: if it has events of a camera that we do not know, or names none and could be of any DAVIS.
    """
    with path.open("rb") as file:
        header = _read_aedat2_header(file.read(LONGEST_AEDAT2_HEADER))
        file.seek(header.length)
        first = next(records_of(file, AEDAT2_RECORD, Sieve(path, None, strict=False)), np.zeros(0, AEDAT2_RECORD))
    known_hw, davis = camera_size(header.camera), is_davis(header.camera)
    if header.camera and known_hw is None:
        raise InputError(
            f"{path} must be of a DVS128 or a DAVIS to be read from AEDAT 2.0, got the camera {header.camera}. Convert "
            "it to AEDAT4 with DV of iniVation, or write t, x, y, p to an npz."
        )
    if not header.camera and (first["address"] >= AS_DVS128).any():
        davis = True
        known_hw = options.size_hw
        if known_hw is None:
            raise InputError(
                f"{path} must name its camera, '# AEChip: ...', or its size be given, as y counts from the bottom. "
                "Its addresses are those of a DAVIS: give size_hw 260, 346 for a DAVIS346, 180, 240 for a DAVIS240."
            )
    height, width = known_hw or (128, 128)

    def pieces(_: int, sieve: Sieve) -> Iterator[Events]:
        last = 0
        with path.open("rb") as file:
            file.seek(header.length)
            for records in records_of(file, AEDAT2_RECORD, sieve):
                t, last = _continued(records["t"], last)
                address = records["address"].astype(np.uint32)
                yield _davis(t, address, height, sieve) if davis else _dvs128(t, address, height, sieve)

    return PieceRecording(path, options, format="AEDAT 2.0", pieces=pieces, size_hw=(height, width))


def _read_aedat2_header(head: bytes) -> _Aedat2Header:
    """Lines that begin with #, up to the one that says that it is the last, or to the first with control characters."""
    camera = ""
    length = 0
    while head.startswith(b"#", length) and (end := head.find(b"\n", length)) >= 0:
        line = head[length:end]
        if min(line.rstrip(b"\r").replace(b"\t", b" "), default=ord(" ")) < ord(" "):
            break
        length = end + 1
        if found := _CAMERA.match(line):
            camera = found[1].decode(errors="replace")
        if line.strip() == AEDAT2_END:
            break
    return _Aedat2Header(camera, length)


def _continued(t: np.ndarray, last: int) -> tuple[np.ndarray, int]:
    """(N,) int64, times that do not begin again, after ``last``; and the last of them."""
    if not len(t):
        return np.zeros(0, np.int64), last
    steps = np.diff(t.astype(np.uint32), prepend=np.uint32(last & 0xFFFFFFFF))
    times = last + np.cumsum(steps.view(np.int32).astype(np.int64))
    return times, int(times[-1])


def _dvs128(t: np.ndarray, address: np.ndarray, height: int, sieve: Sieve) -> Events:
    is_external, is_other = (address >> 15 & 1).astype(bool), address >= AS_DVS128
    sieve.drop("external events", int((is_external & ~is_other).sum()))
    sieve.drop("addresses that a DVS128 does not have", int(is_other.sum()))
    return _addressed_events(t, address, ~is_external & ~is_other, y=(8, 0x7F), x=(1, 0x7F), p=0, height=height)


def _davis(t: np.ndarray, address: np.ndarray, height: int, sieve: Sieve) -> Events:
    is_event, is_external = address >> 31 == 0, (address >> 10 & 1).astype(bool)
    sieve.drop("external events", int((is_event & is_external).sum()))
    return _addressed_events(t, address, is_event & ~is_external, y=(22, 0x1FF), x=(12, 0x3FF), p=11, height=height)


def _addressed_events(
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


AEDAT3_ROWS = 1 << 17  # of a piece
AEDAT3_EVENT = np.dtype([("data", "<u4"), ("t", "<u4")])
POLARITY = 1
AEDAT3_END = b"#!END-HEADER"
LONGEST_AEDAT3_HEADER, LONGEST_LINE = 1 << 20, 1 << 12  # bytes
_PACKET_HEADER = struct.Struct("<hhiiiiii")
_FORMAT, _SOURCE = re.compile(rb"#Format: *(\S+)"), re.compile(rb"#Source (\d+): *(.+?)\s*$")


class _Packet(NamedTuple):
    """What the header of a packet says, without the room."""

    kind: int
    source: int
    size: int
    overflow: int
    events: int


def open_aedat3(path: Path, options: ReadOptions = AS_IT_IS) -> PieceRecording:
    """The events of the first camera in AEDAT 3.1, the format of cAER: packets of one kind each, little endian.

    A packet has a header of 28 bytes: kind, source, size of an event, place of its time, overflows of the time, room
    for events, how many there are, how many are valid. An event of polarity is 32 bits, from the lowest: valid,
    polarity, y of 15, x of 15; and 31 bits of microseconds. Packets of other kinds are passed over.

    Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html.

    Raises:
        InputError: if the file is packed, has no end of its header, or has no events.
    """
    with path.open("rb") as file:
        cameras, begin = _read_aedat3_header(path, file)
        first = next(
            (packet for packet in _packets(file) if packet and packet.kind == POLARITY and packet.events), None
        )
    if first is None:
        raise InputError(f"{path} must have packets of polarity events, and has none.")

    def pieces(_: int, sieve: Sieve) -> Iterator[Events]:
        with path.open("rb") as file:
            file.seek(begin)
            for packet in _packets(file):
                if packet is None:
                    sieve.drop("packets from a damaged one on", 1)
                elif packet.kind == POLARITY and packet.source != first.source:
                    sieve.drop("events of other cameras", packet.events)
                elif packet.kind == POLARITY:
                    yield from _packet_events(file, packet, sieve)

    size_hw = camera_size(cameras.get(first.source, ""))
    return PieceRecording(path, options, format="AEDAT 3.1", pieces=pieces, size_hw=size_hw)


def _read_aedat3_header(path: Path, file: IO[bytes]) -> tuple[dict[int, str], int]:
    """The cameras by the number of their source, and where the packets begin."""
    cameras: dict[int, str] = {}
    while (line := file.readline(LONGEST_LINE)).startswith(b"#") and file.tell() < LONGEST_AEDAT3_HEADER:
        if line.strip() == AEDAT3_END:
            return cameras, file.tell()
        if (found := _FORMAT.match(line)) and found[1] != b"RAW":
            got = found[1].decode(errors="replace")
            raise InputError(f"{path} must have '#Format: RAW', got {got}. Convert it to AEDAT4 with DV of iniVation.")
        if found := _SOURCE.match(line):
            cameras[int(found[1])] = found[2].decode(errors="replace")
    raise InputError(
        f"{path} must have a line {AEDAT3_END.decode()} at the end of its header, and has none; it is cut short."
    )


def _packets(file: IO[bytes]) -> Iterator[_Packet | None]:
    """The packets from here on, each with the file at its first event; at the end, None if it is damaged."""
    while content := file.read(_PACKET_HEADER.size):
        if len(content) < _PACKET_HEADER.size:
            yield None
            return
        kind, source, size, _, overflow, _, count, _ = _PACKET_HEADER.unpack(content)
        if kind < 0 or size <= 0 or overflow < 0 or count < 0 or (kind == POLARITY and size != AEDAT3_EVENT.itemsize):
            yield None
            return
        begin = file.tell()
        yield _Packet(kind, source, size, overflow, count)
        file.seek(begin + size * count)


def _packet_events(file: IO[bytes], packet: _Packet, sieve: Sieve) -> Iterator[Events]:
    left = packet.events
    while left and (content := file.read(min(left, AEDAT3_ROWS) * AEDAT3_EVENT.itemsize)):
        rows = np.frombuffer(content, AEDAT3_EVENT, len(content) // AEDAT3_EVENT.itemsize)
        if not len(rows):
            break
        left -= len(rows)
        data = rows["data"]
        t = (packet.overflow << 31) + (rows["t"] & 0x7FFFFFFF).astype(np.int64)
        x, y, p = data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1
        events = Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8))
        is_valid = (data & 1).astype(bool)
        sieve.drop("events that are marked as invalid", int((~is_valid).sum()))
        yield events[is_valid]
    sieve.drop("events missing at the end of the file", left)


AEDAT4_START = b"#!AER-DAT4"
RISING, FALLING = 1, 2  # edges of the external signal; the other triggers are the camera's own frames


def open_aedat4(path: Path, options: ReadOptions = AS_IT_IS) -> PieceRecording:
    """A recording in AEDAT4, the format of DV and the DAVIS cameras: the first stream of events of the file.

    Times are microseconds since 1970. The package ``aedat`` reads it. It checks little: some damaged files make it end
    the whole process, so each pass runs it in another one, see ``aedat4_process``.

    Sources: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html,
    https://github.com/neuromorphicsystems/aedat.

    Raises:
        InputError: if the package ``aedat`` is missing, or ``path`` cannot be read or has no stream of events.
    """
    if not _has_aedat():
        raise InputError(f"{path} needs the package aedat to be read. Install it by: pip install 'seqdet[aedat]'.")
    try:
        with path.open("rb") as file:
            if file.read(len(AEDAT4_START)) != AEDAT4_START:
                raise InputError(f"{path} must begin with {AEDAT4_START.decode()}; it is no AEDAT4 file.")
    except OSError as error:
        raise InputError(f"{path} must be a readable AEDAT4 file: {error}.") from error
    start, _ = next(_messages(path), ({}, None))
    if "streams" not in start:
        raise InputError(f"{path} must be a readable AEDAT4 file: {start.get('error', 'its head is damaged')}.")
    streams = {int(number): stream for number, stream in start["streams"].items()}
    numbers = sorted(number for number, stream in streams.items() if stream["type"] == "events")
    if not numbers:
        raise InputError(f"{path} must have a stream of events, got {[each['type'] for each in streams.values()]}.")
    number = numbers[0]
    height, width = (int(streams[number][side]) for side in ("height", "width"))
    is_size = min(height, width) > 0 and max(height, width) <= LARGEST_SIDE

    def pieces(_: int, sieve: Sieve) -> Iterator[Events]:
        for rows in _rows_of(path, "events", sieve, number):
            yield columns(t=rows["t"], x=rows["x"], y=rows["y"], p=rows["on"])

    def triggers(sieve: Sieve) -> Triggers:
        rows = np.concatenate([np.zeros(0, TRIGGER), *_rows_of(path, "triggers", sieve)])
        edges = rows[np.isin(rows["source"], (RISING, FALLING))]
        return Triggers.of(t=edges["t"], channel=np.zeros(len(edges)), p=edges["source"] == RISING)

    size_hw = (height, width) if is_size else None
    return PieceRecording(path, options, format="AEDAT4", pieces=pieces, size_hw=size_hw, triggers=triggers)


def _rows_of(path: Path, kind: str, sieve: Sieve, stream: int | None = None) -> Iterator[np.ndarray]:
    """The rows of each packet of a kind in a file, of one stream if it is given."""
    message: dict[str, Any] = {"error": "it said nothing"}
    for message, rows in _messages(path):
        if message.get("kind") == kind and stream in (None, message["stream"]):
            yield rows
    if message:  # the last one is empty
        sieve.drop("packets from a damaged one on", 1)


def _messages(path: Path) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """What the other process says, with the rows that come along, until it ends, well or not."""
    command = [sys.executable, "-P", aedat4_process.__file__, str(path.absolute())]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        while (line := process.stdout.readline()).endswith(b"\n"):
            message = read_json(line)
            dtype = EVENT if message.get("kind") == "events" else TRIGGER
            size = message.get("rows", 0) * dtype.itemsize
            content = process.stdout.read(size)
            if len(content) < size:
                return
            yield message, np.frombuffer(content, dtype)
            if line == END:
                return
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _has_aedat() -> bool:
    try:
        return find_spec("aedat") is not None
    except ValueError:  # somebody put something else in its place
        return False
