"""RAW recordings of event sensors: EVT2, EVT2.1 in both orders of its halves, and EVT3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError
from .evt_kernels import EPOCH, HIGH, UNSET, decode_evt2, decode_evt3, decode_evt21, first_state
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
TYPES = (0, 1, 8, 10, 14, 15)
"""Of the words of EVT2.1: darker, brighter, time, trigger, others and continued."""
SWAPPED, AS_THEY_ARE = 0, 32  # how far the half with the type lies above the other
LOOKED_AT = 1 << 20  # bytes in which the order of the halves has to show


class EvtSource(WordSource):
    """A RAW recording, open for reading; see `Source` and ``open_evt``."""

    coding_note = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """As of `WordSource`, after what was found out about the words."""
        return (*([self.coding_note] if self.coding_note else []), *super().notes)

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
            order than the header says, if it does; if strict, also if the header states a size that cannot be.
    """
    header = read_header(path)
    with path.open("rb") as file:
        file.seek(header.length)
        coding = find_coding(header, file.read(LOOKED_AT), name=str(path), time_shift=time_shift)
    coded: Any = {"strict": strict, "joins_clocks": joins_clocks, **coding._asdict()}
    note = coded.pop("note")
    source = EvtSource(path, header, largest=COORDINATES, offset=header.length, **coded)
    source.coding_note = note
    return source


class Coding(NamedTuple):
    """How words become events: name of the encoding, dtype of a word, its kernel and what that knows at the start.

    note: what was found out where the header is silent.
    """

    format: str
    word: str
    decode: Callable[..., tuple[int, int, int]]
    state: np.ndarray
    note: str = ""


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
    word, decode = WORDS[format]
    if format != "EVT2.1":
        return Coding(format, word, decode, first_state(int(time_shift)))
    order, note = _order(name, header, start)
    return Coding(format, word, decode, first_state(AS_THEY_ARE if order == "little" else SWAPPED), note)


def is_order_open(header: Header, start: bytes) -> bool:
    """Whether more words of EVT2.1 may tell how their halves lie, of which the header says nothing."""
    is_silent = FORMATS.get(header.encoding or "") == "EVT2.1" and "endianness" not in header.fields
    return is_silent and len(start) < LOOKED_AT and _order_of_time(_halves(start)) is None


def _order(name: str, header: Header, start: bytes) -> tuple[str, str]:
    """How the halves of a 64-bit word lie, little or legacy, and a note if the header does not say it.

    Where the header is silent the words decide: first their times, then their types, and if all of them can be in both
    orders, whose camera it is: the vendor's old ones wrote legacy.
    """
    halves = _halves(start)
    by_time = _order_of_time(halves)
    stated = header.fields.get("endianness")
    if stated is None:
        strange = {order: _strange(half) for order, half in halves.items()}
        makers = [header.fields.get(key, "Prophesee").lower() for key in ("camera_integrator_name", "integrator_name")]
        usual = "legacy" if all("prophesee" in maker for maker in makers) else "little"
        other = "legacy" if usual == "little" else "little"
        order = by_time or (other if strange[other] < strange[usual] else usual)
        why = "time advances only so" if by_time else "too few words tell"
        return order, f"the header does not say how the halves of a word lie: they are taken as {order}, as {why}"
    if stated not in halves:
        raise InputError(f"{name} must state endianness little or legacy, or none, got {stated!r}.")
    if by_time not in (None, stated):
        raise InputError(
            f"{name} must hold 64-bit words in the order that its header says, {stated}, but time advances only when "
            f"they are read as {by_time}. If the header was changed, take the endianness from its line '% format'."
        )
    return stated, ""


def _halves(start: bytes) -> dict[str, np.ndarray]:
    """The halves with the types, were the words in each order."""
    low, high = np.frombuffer(start, "<u4", len(start) // 8 * 2).reshape(-1, 2).T
    return {"little": high, "legacy": low}


def _order_of_time(halves: dict[str, np.ndarray]) -> str | None:
    """The order in which time advances, if it does so in one alone."""
    little, legacy = _ticks(halves["little"]), _ticks(halves["legacy"])
    return "little" if little > 2 * legacy + 2 else "legacy" if legacy > 2 * little + 2 else None


def _strange(halves: np.ndarray) -> int:
    """How many words would be of types that the format does not have."""
    return int((~np.isin(halves >> 28, TYPES)).sum())


def _ticks(halves: np.ndarray) -> int:
    """How often time advances by up to a second between words of time, if these are the halves with the type."""
    times = (halves[halves >> 28 == 8] & 0xFFFFFFF).astype(np.int64)
    steps = np.diff(times)
    return int(((steps > 0) & (steps <= 1 << 14)).sum())
