"""RAW recordings of event sensors, EVT2, EVT2.1 in both orders of its halves and EVT3: of a file, a pipe, and written.

What comes through a pipe is decoded as it comes, by the kernels that decode files.
"""

from __future__ import annotations

import select
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..checks import InputError
from . import evt_kernels as kernels
from .accounts import Account
from .array import COLUMNS, Events, Triggers
from .reading import AS_IT_IS, ReadOptions
from .sieve import NEVER, Sieve
from .words import (
    AHEAD,
    LONGEST_HEADER,
    PIECE_EVENTS,
    Coding,
    Decoder,
    Header,
    WordRecording,
    checked_events,
    checked_size,
    events_in_order,
    parse_header,
    passing_columns,
    read_header,
    write_words,
)

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
WORDS = {
    "EVT2": ("<u4", kernels.decode_evt2),
    "EVT2.1": ("<u8", kernels.decode_evt21),
    "EVT3": ("<u2", kernels.decode_evt3),
}
HIGH_PARTS = {"EVT2": (28, 64), "EVT2.1": (28, 64), "EVT3": (12, 4096)}
"""Of the time: bits, and microseconds of the lowest of them."""
TYPES = (0, 1, 8, 10, 14, 15)
"""Of the words of EVT2.1: darker, brighter, time, trigger, others and continued."""
SWAPPED, AS_THEY_ARE = 0, 32  # how far the half with the type lies above the other
LOOKED_AT = 1 << 20  # bytes in which the order of the halves has to show
PIECE_BYTES = 1 << 16  # of a pipe at a time
POLL_S = 0.2  # between two looks whether it is to be stopped


class EvtRecording(WordRecording):
    """A RAW recording, open for reading; see ``open_evt``."""

    def _now_us(self, state: np.ndarray, word: int) -> int:
        high = int(state[kernels.HIGH])
        return NEVER if high == kernels.UNSET else int(state[kernels.EPOCH]) + high * HIGH_PARTS[self.format][1]

    def _go_on(self, state: np.ndarray, step_us: int) -> None:
        state[kernels.EPOCH] += step_us


def is_evt(path: Path) -> bool:
    """Whether the file begins with the header of a RAW recording. Raises InputError if it cannot be read."""
    return read_header(path).encoding is not None


def open_evt(path: Path, options: ReadOptions = AS_IT_IS) -> EvtRecording:
    """A RAW recording in EVT2, EVT2.1 or EVT3.

    Times are 64 bits: the loops of the sensor's counter are counted from the first word on. Events outside the sensor,
    those older than another one before them by more than a jitter, and words before the first time are dropped and
    counted. With ``time_shift``, (first high part of the time - 1) * 4096 us are subtracted from those of EVT3, as the
    vendor's tools do: times then begin near zero, as in files that these tools converted.

    Raises:
        InputError: if the file is not a RAW recording, its encoding is unknown, or its words of EVT2.1 are in another
            order than the header says, if it does; if strict, also if the header states an implausible size.
    """
    header = read_header(path)
    with path.open("rb") as file:
        file.seek(header.length)
        coding = find_coding(header, file.read(LOOKED_AT), name=str(path), time_shift=options.time_shift)
    return EvtRecording(path, header, coding, offset=header.length, options=options)


def find_coding(header: Header, start: bytes, *, name: str, time_shift: bool = False) -> Coding:
    """What the header of a RAW recording says, and the bytes after it do not deny.

    Args:
        header: of the recording.
        start: the bytes after it, at most ``LOOKED_AT``.
        name: of the recording, for messages.
        time_shift: as of ``ReadOptions``.

    Raises:
        InputError: as ``open_evt``.
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
        return Coding(format, word, COORDINATES, decode, kernels.first_state(int(time_shift)))
    order, note = _order(name, header, start)
    state = kernels.first_state(AS_THEY_ARE if order == "little" else SWAPPED)
    return Coding(format, word, COORDINATES, decode, state, note)


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


class Pipe(Protocol):
    """What bytes come from: ``sys.stdin.buffer``, or what ``subprocess`` and ``socket.makefile`` give."""

    def read1(self, size: int, /) -> bytes: ...


class EvtPipe:
    """A RAW recording, EVT2, EVT2.1 or EVT3 with its header, that comes through a pipe; it is passed once.

    The events are those of the same bytes in a file, and come as soon as theirs do. Only where time leaps, by 0.1 s or
    more, do the next ``AHEAD`` = 8192 words have to say first whether it is damaged.

    format, dropped: as in ``Recording``. size_hw: of the sensor, if it is known. What comes after the pipe was closed
    in the middle of a word is dropped.

    Args:
        pipe: the bytes.
        name: for messages.
        size_hw: height and width of the sensor, where the header does not say.
        is_stopped: asked before every read, and five times a second where nothing comes and the system can tell; then
            the recording ends.

    Raises:
        InputError: if the bytes are no RAW recording, or there are none; while reading, if the words of EVT2.1 turn out
            to be in another order than the header or the first of them say.
    """

    def __init__(
        self,
        pipe: Pipe,
        name: str = "stdin",
        *,
        size_hw: tuple[int, int] | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pipe = pipe
        self._is_stopped = is_stopped
        self._name = name
        self._head = b""
        self._has_ended = False
        self._header = header = self._read_header()
        self._start = self._head[header.length :][:LOOKED_AT]
        while is_order_open(header, self._start) and not self._has_ended:
            self._head += self._read()
            self._start = self._head[header.length :][:LOOKED_AT]
        self._coding = find_coding(header, self._start, name=name)
        self._head = self._head[header.length :]
        self.format = self._coding.format
        self.size_hw = header.size_hw(COORDINATES) or size_hw
        self._passed = 0
        self._sieve = Sieve(Path(name), self.size_hw, strict=False)
        header.drop_false_size(COORDINATES, self._sieve)

    @property
    def dropped(self) -> Counter[str]:
        """What was left out so far, by reason."""
        return self._sieve.dropped

    @property
    def account(self) -> Account:
        """What became of the events that came so far."""
        return Account(self._passed, +self.dropped)

    def chunks(self) -> Iterator[Events]:
        """The events in the order in which they come, in pieces of bounded size."""
        word = np.dtype(self._coding.word)
        held = self._head
        columns = passing_columns()
        decoder = Decoder(self._coding, self._coding.state, self.size_hw, self._sieve)
        while True:
            words = np.frombuffer(held, word, len(held) // word.itemsize)
            done = 0
            while stop := len(words) - done if self._has_ended else self._settled(words[done:]):
                read, count, _ = decoder.decode(words[done:], stop, columns)
                done += read
                self._passed += count
                if count:
                    yield Events(*(column[:count].copy() for column in columns))
            if self._has_ended:
                self._sieve.drop("bytes of a last word cut off", len(held) % word.itemsize)
                return
            piece = self._read()
            if len(self._start) < LOOKED_AT:
                self._start += piece[: LOOKED_AT - len(self._start)]
                note = find_coding(self._header, self._start, name=self._name).note
                if note != self._coding.note:
                    raise InputError(f"{self._name} must hold words in one order; {note}, and were not before.")
            held = held[done * word.itemsize :] + piece

    def _settled(self, words: np.ndarray) -> int:
        """How many words can be decoded, whatever comes."""
        up = int(self._coding.state[kernels.OPTION]) if self.format == "EVT2.1" else 0
        before_leap = kernels.until_leap(words, up, *HIGH_PARTS[self.format], self._coding.state[kernels.HIGH])
        return max(before_leap, len(words) - AHEAD)

    def _read_header(self) -> Header:
        """Read until the header has surely ended: something else comes after it."""
        while True:
            header = parse_header(self._head)
            rest = self._head[header.length :]
            is_open = len(rest) < 2 or (rest.startswith(b"% ") and b"\n" not in rest)
            if self._has_ended or not is_open or len(self._head) >= LONGEST_HEADER:
                break
            self._head += self._read()
        if not self._head:
            raise InputError(f"{self._name} must be a RAW recording, and it is empty.")
        return header

    def _read(self) -> bytes:
        """The next bytes, some at least until the pipe has ended."""
        is_stopped = self._is_stopped()
        while not is_stopped and stays_silent(self._pipe):
            is_stopped = self._is_stopped()
        piece = b"" if is_stopped else self._pipe.read1(PIECE_BYTES)
        self._has_ended = not piece
        return piece


def stays_silent(pipe: Any) -> bool:
    """Whether nothing came for a while; False where the system cannot tell."""
    try:
        return not select.select([pipe], [], [], POLL_S)[0]
    except (OSError, ValueError, TypeError):  # no file of the system, or Windows
        return False


def write_evt2(
    path: Path | str, chunks: Iterable[Events], *, size_hw: tuple[int, int], triggers: Triggers | None = None
) -> None:
    """Write a RAW recording in EVT2: 4 bytes an event, whatever is in it. Times loop at 2^34 us, 4.8 hours.

    Args:
        chunks: the events, in order of time up to a jitter of a millisecond; read back, they are the same.
        size_hw: height and width of the sensor in pixels.
        triggers: edges on the trigger inputs, in any order; read back, they are sorted by time.

    Raises:
        InputError: if the format cannot address that size or channel, events lie outside of it, have negative times,
            run back in time or pause for more than 35 minutes, or the file cannot be written. What stood at ``path``
            then stays.
    """
    header = _raw_header("2.0", "EVT2", size_hw)
    edges = _edges_of(triggers, channels=32)
    write_words(path, header, _encoded(chunks, edges, size_hw, kernels.encode_evt2, words_per_event=2, word=np.uint32))


def write_evt3(
    path: Path | str, chunks: Iterable[Events], *, size_hw: tuple[int, int], triggers: Triggers | None = None
) -> None:
    """Write a RAW recording in EVT3: 2 to 8 bytes an event, fewer in dense rows. Times loop at 2^24 us, 16.8 s.

    Read back, times are the same but for a multiple of that: the loops before the first event. See ``write_evt2``.
    """
    header = _raw_header("3.0", "EVT3", size_hw)
    edges = _edges_of(triggers, channels=16)
    write_words(path, header, _encoded(chunks, edges, size_hw, kernels.encode_evt3, words_per_event=4, word=np.uint16))


def _raw_header(version: str, name: str, size_hw: tuple[int, int]) -> bytes:
    height, width = checked_size(size_hw, COORDINATES)
    return (
        f"% evt {version}\n% format {name};height={height};width={width}\n% geometry {width}x{height}\n% end\n".encode()
    )


def _encoded(
    chunks: Iterable[Events],
    edges: Events,
    size_hw: tuple[int, int],
    encode: Callable[..., tuple[int, int]],
    *,
    words_per_event: int,
    word: type,
) -> Iterator[np.ndarray]:
    """The words of events and of edges among them, in room for those of a piece."""
    state = kernels.first_encoder_state()
    words = np.empty(words_per_event * PIECE_EVENTS + kernels.MARGIN_WORDS, word)
    for events in events_in_order(_with_edges(checked_events(chunks, size_hw), edges)):
        done = 0
        while done < len(events):
            taken, count = encode(events.t[done:], events.x[done:], events.y[done:], events.p[done:], state, words)
            done += taken
            yield words[:count]


def _edges_of(triggers: Triggers | None, *, channels: int) -> Events:
    """Trigger edges sorted by time, as events of polarity ``TRIGGER``: x and y are the bits of channel << 8 | p.

    Raises:
        InputError: if a time is negative, a channel is not below ``channels``, or p is not 0 or 1.
    """
    if triggers is None or not len(triggers):
        return Events.empty()
    if triggers.t.min() < 0 or triggers.channel.max() >= channels or triggers.p.max() > 1:
        raise InputError(
            f"triggers must have times from 0, channels below {channels} and p 0 or 1, got times from "
            f"{triggers.t.min()} us, channels up to {triggers.channel.max()} and p up to {triggers.p.max()}."
        )
    order = np.argsort(triggers.t, kind="stable")
    values = (triggers.channel.astype(np.uint16) << 8 | triggers.p)[order]
    p = np.full(len(values), kernels.TRIGGER, np.uint8)
    return Events(triggers.t[order].astype(np.int64), values >> np.uint16(11), values & np.uint16(0x7FF), p)


def _with_edges(pieces: Iterable[Events], edges: Events) -> Iterator[Events]:
    """The pieces with each edge before the first event that is not older."""
    newest = NEVER
    done = 0
    for events in pieces:
        latest = np.maximum.accumulate(np.maximum(events.t, newest))
        newest = int(latest[-1])
        until = int(np.searchsorted(edges.t, newest, side="right"))
        if until == done:
            yield events
            continue
        now = edges[done:until]
        done = until
        places = np.searchsorted(latest, now.t)
        yield Events(*(np.insert(getattr(events, name), places, getattr(now, name)) for name in COLUMNS))
    if done < len(edges):
        yield edges[done:]
