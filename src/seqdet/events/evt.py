"""RAW recordings of event sensors: EVT2, EVT2.1 in both orders of its halves, and EVT3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError
from .evt3_kernels import decode_evt3
from .evt_kernels import EPOCH, HIGH, UNSET, decode_evt2, decode_evt21, first_state
from .headers import Header, read_header
from .sieve import NEVER
from .words import WordSource

COORDINATES = 1 << 11  # eleven bits
FORMATS = {
    "EVT2": "EVT2",
    "2.0": "EVT2",
    "EVT21": "EVT2.1",
    "EVT2.1": "EVT2.1",
    "2.1": "EVT2.1",
    "EVT3": "EVT3",
    "3.0": "EVT3",
}
WORDS = {"EVT2": ("<u4", decode_evt2), "EVT2.1": ("<u8", decode_evt21), "EVT3": ("<u2", decode_evt3)}
HIGH_PARTS = {"EVT2": (28, 64), "EVT2.1": (28, 64), "EVT3": (12, 4096)}
"""Of the time: bits, and microseconds of the lowest of them."""
SWAPPED, AS_THEY_ARE = 0, 32  # how far the half with the type lies above the other
LOOKED_AT = 1 << 20  # bytes in which the order of the halves has to show


class EvtSource(WordSource):
    """A RAW recording, open for reading; see `Source` and ``open_evt``."""

    def _now_us(self, state: np.ndarray, word: int) -> int:
        high = int(state[HIGH])
        return NEVER if high == UNSET else int(state[EPOCH]) + high * HIGH_PARTS[self.format][1]

    def _go_on(self, state: np.ndarray, step_us: int) -> None:
        state[EPOCH] += step_us


def is_evt(path: Path) -> bool:
    """Whether the file begins with the header of a RAW recording. Raises InputError if it cannot be read."""
    return read_header(path).encoding is not None


def open_evt(path: Path, *, strict: bool = False, time_shift: bool = False, joins_clocks: bool = False) -> EvtSource:
    """A RAW recording in EVT2, EVT2.1 or EVT3.

    Times are 64 bits: the loops of the sensor's counter are counted from the first word on. Events outside the sensor,
    those older than another one before them by more than a jitter, and words before the first time are dropped and
    counted.

    Args:
        strict: raise, while reading, where something would be dropped.
        time_shift: for EVT3, subtract (first high part of the time - 1) * 4096 us, as the vendor's tools do: times then
            begin near zero, as in files that these tools converted.
        joins_clocks: where the clock begins anew, go on from the time before; see `WordSource`.

    Raises:
        InputError: if the file is not a RAW recording, its encoding is unknown, or its words of EVT2.1 are in another
            order than the header says; if strict, also if the header states a size that cannot be.
    """
    header = read_header(path)
    with path.open("rb") as file:
        file.seek(header.length)
        coding = find_coding(header, file.read(LOOKED_AT), name=str(path), time_shift=time_shift)
    options: Any = {"strict": strict, "joins_clocks": joins_clocks, **coding._asdict()}
    return EvtSource(path, header, largest=COORDINATES, offset=header.length, **options)


class Coding(NamedTuple):
    """How words become events: name of the encoding, dtype of a word, its kernel and what that knows at the start."""

    format: str
    word: str
    decode: Callable[..., tuple[int, int, int]]
    state: np.ndarray


def find_coding(header: Header, start: bytes, *, name: str, time_shift: bool = False) -> Coding:
    """What the header of a RAW recording says, and the bytes after it, at most ``LOOKED_AT``, do not deny.

    Raises:
        InputError: as ``open_evt``; ``name`` says what it is about.
    """
    encoding = header.encoding
    if encoding is None:
        raise InputError(
            f"{name} must begin with a RAW header, lines such as '% evt 3.0' or '% format EVT3', and does not."
        )
    if encoding not in FORMATS:
        raise InputError(f"{name} must be in EVT2, EVT2.1 or EVT3, got {encoding}. Convert it with the vendor's tools.")
    format = FORMATS[encoding]
    if time_shift and format != "EVT3":
        raise InputError(f"time_shift must be off for {name}: it is a habit of EVT3, and this is {format}.")
    option = _halves(name, header, start) if format == "EVT2.1" else int(time_shift)
    word, decode = WORDS[format]
    return Coding(format, word, decode, first_state(option))


def _halves(name: str, header: Header, start: bytes) -> int:
    """How the halves of a 64-bit word lie, by the header; refused if the words themselves say otherwise."""
    stated = header.fields.get("endianness", "legacy")
    if stated not in ("little", "legacy"):
        raise InputError(f"{name} must state endianness little or legacy, or none for legacy, got {stated!r}.")
    low, high = np.frombuffer(start, "<u4", len(start) // 8 * 2).reshape(-1, 2).T
    ticks = {"little": _ticks(high), "legacy": _ticks(low)}
    other = "legacy" if stated == "little" else "little"
    if ticks[other] > 2 * ticks[stated] + 2:
        remedy = "add endianness=little to" if other == "little" else "take the endianness from"
        raise InputError(
            f"{name} must hold 64-bit words in the order that its header says, {stated}, but time advances only when "
            f"they are read as {other}. If the header was changed, {remedy} its line '% format'."
        )
    return AS_THEY_ARE if stated == "little" else SWAPPED


def _ticks(halves: np.ndarray) -> int:
    """How often time advances by up to a second between words of time, if these are the halves with the type."""
    times = (halves[halves >> 28 == 8] & 0xFFFFFFF).astype(np.int64)
    steps = np.diff(times)
    return int(((steps > 0) & (steps <= 1 << 14)).sum())
