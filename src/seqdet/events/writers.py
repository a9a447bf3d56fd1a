"""Write events as RAW EVT2, RAW EVT3 or DAT, piece by piece: whatever their number, in the memory of one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numba import njit

from ..checks import InputError
from ..files import replacing
from . import dat, evt
from .array import Events, Triggers
from .edges import TRIGGER, edges_of, with_edges
from .sieve import JITTER_US, NEVER, check_inside

PIECE_EVENTS = 1 << 16
LONGEST_PAUSE_US = 1 << 31  # half a loop of DAT's counter: beyond it, a reader cannot tell a pause from running back
EVT3_STRIDE_US = 1 << 16  # between two words of time in a pause, lest a loop go unnoticed or seem damage
MARGIN_WORDS = 2 * LONGEST_PAUSE_US // EVT3_STRIDE_US + 8  # what one event can take at most
HIGH, LOW, ROW = range(3)  # the places in the state of the encoders; -1 before the first


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
    header = _raw_header("2.0", "EVT2", _checked(size_hw, evt.COORDINATES))
    events = with_edges(_checked_events(chunks, size_hw), edges_of(triggers, channels=32))
    _write(path, header, _encoded(_in_order(events), _encode_evt2, words_per_event=2, dtype=np.uint32))


def write_evt3(
    path: Path | str, chunks: Iterable[Events], *, size_hw: tuple[int, int], triggers: Triggers | None = None
) -> None:
    """Write a RAW recording in EVT3: 2 to 8 bytes an event, fewer in dense rows. Times loop at 2^24 us, 16.8 s.

    Read back, times are the same but for a multiple of that: the loops before the first event. See ``write_evt2``.
    """
    header = _raw_header("3.0", "EVT3", _checked(size_hw, evt.COORDINATES))
    events = with_edges(_checked_events(chunks, size_hw), edges_of(triggers, channels=16))
    _write(path, header, _encoded(_in_order(events), _encode_evt3, words_per_event=4, dtype=np.uint16))


def write_dat(path: Path | str, chunks: Iterable[Events], *, size_hw: tuple[int, int]) -> None:
    """Write a DAT recording, events of type 12: 8 bytes an event. Times loop at 2^32 us, 71.6 minutes.

    Read back, times are the same but for a multiple of that: the loops before the first event. See ``write_evt2``.
    """
    height, width = _checked(size_hw, dat.COORDINATES)
    header = f"% Data file containing CD events.\n% Version 2\n% Height {height}\n% Width {width}\n% end\n".encode()
    _write(path, header + bytes((12, dat.RECORD_BYTES)), map(_dat_records, _in_order(_checked_events(chunks, size_hw))))


def _dat_records(events: Events) -> np.ndarray:
    records = np.empty((len(events), 2), "<u4")
    records[:, 0] = events.t & 0xFFFFFFFF
    records[:, 1] = events.x | events.y.astype(np.uint32) << 14 | events.p.astype(np.uint32) << 28
    return records


def _raw_header(version: str, name: str, size_hw: tuple[int, int]) -> bytes:
    height, width = size_hw
    return (
        f"% evt {version}\n% format {name};height={height};width={width}\n% geometry {width}x{height}\n% end\n".encode()
    )


def _checked(size_hw: tuple[int, int], largest: int) -> tuple[int, int]:
    if not (min(size_hw) >= 1 and max(size_hw) <= largest):
        raise InputError(f"size_hw must be from 1 to {largest} for this format, got {tuple(size_hw)}.")
    return size_hw


def _write(path: Path | str, header: bytes, pieces: Iterable[np.ndarray]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        for piece in pieces:
            file.write(piece.data)


def _checked_events(chunks: Iterable[Events], size_hw: tuple[int, int]) -> Iterator[Events]:
    """The events in small pieces, after a look at their values."""
    for chunk in chunks:
        for begin in range(0, len(chunk), PIECE_EVENTS):
            events = chunk[begin : begin + PIECE_EVENTS]
            check_inside(events, size_hw)
            if events.p.max() > 1:
                raise InputError(f"p must be 0 or 1, got {events.p.max()}.")
            if events.t.min() < 0:
                raise InputError(f"t must not be negative, got {events.t.min()} us. Subtract the first time.")
            yield events


def _in_order(pieces: Iterable[Events]) -> Iterator[Events]:
    """The pieces, after a look at what a reader would drop."""
    newest = NEVER
    for events in pieces:
        latest = np.maximum.accumulate(np.concatenate([[newest if newest != NEVER else events.t[0]], events.t]))
        steps = events.t - latest[:-1]
        if steps.min() < -JITTER_US:
            raise InputError(
                f"t must rise up to a jitter of {JITTER_US} us, got a step of {steps.min()} us. Sort the events."
            )
        if steps.max() >= LONGEST_PAUSE_US:
            raise InputError(
                f"t must not leap by {LONGEST_PAUSE_US} us or more, got {steps.max()} us. Split the recording."
            )
        newest = int(latest[-1])
        yield events


def _encoded(
    pieces: Iterable[Events], encode: Callable[..., tuple[int, int]], *, words_per_event: int, dtype: type
) -> Iterator[np.ndarray]:
    state = np.full(3, -1)
    words = np.empty(words_per_event * PIECE_EVENTS + MARGIN_WORDS, dtype)
    for events in pieces:
        done = 0
        while done < len(events):
            taken, count = encode(events.t[done:], events.x[done:], events.y[done:], events.p[done:], state, words)
            done += taken
            yield words[:count]


@njit(nogil=True, cache=True)
def _encode_evt2(t, x, y, p, state, words):
    """Writes words while there is room; returns how many events those are, and how many words."""
    room = len(words) - MARGIN_WORDS
    high = state[HIGH]
    i = count = 0
    while i < len(t) and count < room:
        now = t[i] >> 6
        if now != high:
            high = now
            words[count] = 8 << 28 | (high & 0xFFFFFFF)
            count += 1
        words[count] = np.int64(p[i]) << 28 | (t[i] & 63) << 22 | np.int64(x[i]) << 11 | np.int64(y[i])
        count += 1
        i += 1
    state[HIGH] = high
    return i, count


@njit(nogil=True, cache=True)
def _encode_evt3(t, x, y, p, state, words):
    """As `_encode_evt2`; five events or more in 32 columns of a row, in order, become masks of 12, 12 and 8.

    A low part of the time follows every high one, as from sensors: other readers keep the one before, where ours sets
    it to zero.
    """
    n, room = len(t), len(words) - MARGIN_WORDS
    high, low, row = state[HIGH], state[LOW], state[ROW]
    i = count = 0
    while i < n and count < room:
        now = t[i] >> 12
        if now != high:
            while high >= 0 and now - high > EVT3_STRIDE_US >> 12:
                high += EVT3_STRIDE_US >> 12
                words[count] = 8 << 12 | (high & 0xFFF)
                words[count + 1] = 6 << 12
                count += 2
            high, low = now, -1
            words[count] = 8 << 12 | (high & 0xFFF)
            count += 1
        if t[i] & 0xFFF != low:
            low = t[i] & 0xFFF
            words[count] = 6 << 12 | low
            count += 1
        if p[i] == TRIGGER:
            words[count] = TRIGGER << 12 | np.int64(x[i]) << 11 | np.int64(y[i])
            count += 1
            i += 1
            continue
        if y[i] != row:
            row = np.int64(y[i])
            words[count] = row
            count += 1
        column, polarity = np.int64(x[i]), np.int64(p[i])
        mask, end = 1, i + 1
        while (
            end < n
            and t[end] == t[i]
            and y[end] == row
            and p[end] == p[i]
            and x[end - 1] < x[end]
            and x[end] < column + 32
        ):
            mask |= 1 << (np.int64(x[end]) - column)
            end += 1
        if end - i >= 5:
            words[count] = 3 << 12 | polarity << 11 | column
            words[count + 1] = 4 << 12 | (mask & 0xFFF)
            words[count + 2] = 4 << 12 | ((mask >> 12) & 0xFFF)
            words[count + 3] = 5 << 12 | (mask >> 24)
            count += 4
            i = end
        else:
            words[count] = 2 << 12 | polarity << 11 | column
            count += 1
            i += 1
    state[HIGH], state[LOW], state[ROW] = high, low, row
    return i, count
