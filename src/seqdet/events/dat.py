"""DAT recordings: 64-bit records of contrast events, types 0 and 12, read and written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numba import njit

from ..checks import InputError
from . import words
from .array import Events
from .reading import AS_IT_IS, ReadOptions, end_span_us
from .sieve import JITTER_US, LEAP_US, NEVER, WITNESSES, Sieve
from .words import ASTRAY, BACKWARDS, NEWEST, OUTSIDE, SLACK, Coding, Header, Mark, Stamp, WordRecording

COORDINATES = 1 << 14  # fourteen bits
RECORD_BYTES = 8
PROBE_RECORDS = 1 << 16  # between two looks at the time, before the first seek


class DatRecording(WordRecording):
    """A DAT recording, open for reading; see ``open_dat``."""

    _probed: Stamp | None = None

    def _can_seek(self) -> bool:
        """True: records can be found by their time."""
        return True

    def _chunks(self, start_us: int | None) -> Iterator[Events]:
        """The events in pieces; with ``start_us`` from the records shortly before it on, without what comes earlier."""
        if start_us is not None:
            self._probe()
        return super()._chunks(start_us)

    def _read(self, start_us: int, end_us: int) -> Events:
        """The events with times in ``[start_us, end_us)``, in the order of the file."""
        self._probe()
        return super()._read(start_us, end_us)

    def _find_span_us(self) -> tuple[int, int] | None:
        """From the records at both ends, as far as times in between do not run back."""
        self._probe()
        marks = list(self._marks)

        def pieces(number: int, sieve: Sieve) -> Iterator[Events]:
            return (Events(*piece.columns) for piece, _ in self._pieces(marks[number], sieve))

        return end_span_us(pieces, len(marks), self._new_sieve)

    def _now_us(self, state: np.ndarray, word: int) -> int:
        newest_us, epoch_us = state.tolist()
        return unwrapped(word & 0xFFFFFFFF, newest_us, epoch_us)[0]

    def _go_on(self, state: np.ndarray, step_us: int) -> None:
        state[EPOCH] += step_us

    def _probe(self) -> None:
        self._recall()
        if self._probed != self._stamp and not self._index:
            self._marks[1:] = self._probes() or self._marks[1:]
        self._probed = self._stamp

    def _probes(self) -> list[Mark]:
        """Places to begin at, by the times of a few records; none where these run back, as only a pass tells why."""
        marks: list[Mark] = []
        newest, epoch = NEVER, 0
        end = self._file.stat().st_size - RECORD_BYTES + 1
        with self._file.open("rb") as file:
            for position in range(self._marks[0].position, end, PROBE_RECORDS * RECORD_BYTES):
                file.seek(position)
                time, epoch = unwrapped(int.from_bytes(file.read(4), "little"), newest, epoch)
                if time < newest - JITTER_US:
                    return []
                newest = max(newest, time)
                marks.append(Mark(position, time + JITTER_US, np.array([time, epoch])))
        return marks[1:]


def is_dat(path: Path) -> bool:
    """Whether the file begins with the header of a DAT recording of contrast events.

    The oldest recordings have no header: those only ``open_dat`` recognises. Raises InputError if it cannot be read.
    """
    header = words.read_header(path)
    return bool(header.fields) and header.encoding is None and _is_contrast(_kind(path, header))


def open_dat(path: Path, options: ReadOptions = AS_IT_IS) -> DatRecording:
    """A DAT recording of contrast events (https://docs.prophesee.ai/stable/data/file_formats/dat.html).

    Times are 64 bits: the loops of the 32-bit counter, 71.6 minutes each, are counted from the first record on. Events
    outside the sensor and those older than another one before them by more than a jitter are dropped and counted.

    Raises:
        InputError: if the file is not such a recording; if strict, also if the header states an implausible size.
    """
    header = words.read_header(path)
    offset = header.length
    if header.fields:
        kind = _kind(path, header)
        if not _is_contrast(kind):
            found = f"type {kind[0]} of {kind[1]} bytes" if len(kind) == 2 else "nothing"
            raise InputError(
                f"{path} must hold events of type 0 or 12, of 8 bytes each, after its header, got {found}."
            )
        offset += len(kind)
    elif not _looks_bare(path):
        raise InputError(
            f"{path} must begin with a DAT header, lines such as '% Version 2', or be plain records, and is neither."
        )
    if header.fields.get("version", "2") != "2":
        raise InputError(
            f"{path} must be DAT of version 2, got {header.fields['version']!r}. Convert it with the vendor's tools."
        )
    coding = Coding("DAT", "<u8", COORDINATES, decode_dat, np.array([NEVER, 0]))
    return DatRecording(path, header, coding, offset=offset, options=options)


def write_dat(path: Path | str, chunks: Iterable[Events], *, size_hw: tuple[int, int]) -> None:
    """Write a DAT recording, events of type 12: 8 bytes an event. Times loop at 2^32 us, 71.6 minutes.

    Read back, times are the same but for a multiple of that: the loops before the first event. See ``write_evt2``.
    """
    height, width = words.checked_size(size_hw, COORDINATES)
    header = f"% Data file containing CD events.\n% Version 2\n% Height {height}\n% Width {width}\n% end\n".encode()
    events = words.events_in_order(words.checked_events(chunks, size_hw))
    words.write_words(path, header + bytes((12, RECORD_BYTES)), map(_records, events))


def _records(events: Events) -> np.ndarray:
    records = np.empty((len(events), 2), "<u4")
    records[:, 0] = events.t & 0xFFFFFFFF
    records[:, 1] = events.x | events.y.astype(np.uint32) << 14 | events.p.astype(np.uint32) << 28
    return records


def _kind(path: Path, header: Header) -> bytes:
    with path.open("rb") as file:
        file.seek(header.length)
        return file.read(2)


def _is_contrast(kind: bytes) -> bool:
    return len(kind) == 2 and kind[0] in (0, 12) and kind[1] == RECORD_BYTES


def _looks_bare(path: Path) -> bool:
    """Whether a file without header can be records: times in order, addresses in range, not all the same."""
    with path.open("rb") as file:
        content = file.read(RECORD_BYTES * 1024)
    times, addresses = np.frombuffer(content, "<u4", len(content) // 8 * 2).reshape(-1, 2).T
    in_order = not (np.diff(times.astype(np.int64)) < -JITTER_US).any()
    return len(times) > 1 and in_order and not (addresses >> 29).any() and bool((addresses != addresses[0]).any())


EPOCH = 1  # the place in the state of the time of the counter's zero
LOOP_US = 1 << 32
STRETCH = 128  # records that are decoded together
FALL_US = JITTER_US // STRETCH  # time may go back by so much within them, again and again


@njit(nogil=True, cache=True)
def unwrapped(low, newest, epoch):
    """The time whose low 32 bits are given, and the time of the counter's zero, after an event at ``newest``."""
    time = epoch + low
    if time < newest - LOOP_US // 2:
        return time + LOOP_US, epoch + LOOP_US
    if newest > NEVER and time > newest + LOOP_US - JITTER_US:
        return time - LOOP_US, epoch  # late, from before the loop
    return time, epoch


@njit(nogil=True, cache=True)
def _is_astray(words, start, ahead, time, newest, epoch):
    """Whether the time of a record is damaged: most of the records after it lie between the newest so far and it.

    Of the first record of all nothing is known before it: those that follow it as the counter loops are none of these.
    """
    between = 0
    stop = min(start + ahead, len(words))
    for i in range(start, stop):
        other, _ = unwrapped(np.int64(words[i] & np.uint64(0xFFFFFFFF)), newest, epoch)
        follows = newest == NEVER and other + LOOP_US - time <= LEAP_US
        between += newest - JITTER_US <= other < time - JITTER_US and not follows
    return 2 * between > stop - start


@njit(nogil=True, cache=True)
def _newest_of_sound(lows, addresses, newest, epoch, height, width):
    """The greatest time of a stretch if all its records are surely kept, else ``NEVER``.

    They are where each lies on the sensor and time neither falls by more than ``FALL_US`` nor leaps, from the newest
    before them on. lows, addresses: the halves of the records, uint32.
    """
    step = epoch + np.int64(lows[0]) - newest
    if not -FALL_US <= step <= LEAP_US:
        return NEVER
    most_step = most_column = most_row = most = np.uint32(0)
    least = np.uint32(0xFFFFFFFF)
    for k in range(STRETCH):
        low, address = lows[np.uint64(k)], addresses[np.uint64(k)]
        most_column = max(most_column, np.uint32(address & np.uint32(0x3FFF)))
        most_row = max(most_row, np.uint32((address >> np.uint32(14)) & np.uint32(0x3FFF)))
        most, least = max(most, low), min(least, low)
    for k in range(1, STRETCH):  # as numbers without sign, in which a fall by more is large
        rise = np.uint32(lows[np.uint64(k)] - lows[np.uint64(k - 1)] + np.uint32(FALL_US))
        most_step = max(most_step, rise)
    is_sound = most_step <= FALL_US + LEAP_US and most_column < width and most_row < height
    is_sound &= np.int64(most) - np.int64(least) < LOOP_US // 2  # the counter does not begin anew
    return max(newest, epoch + np.int64(most)) if is_sound else NEVER


@njit(nogil=True, cache=True)
def decode_dat(words, stop, ahead, state, lost, height, width, t, x, y, p, edge_t, edge_channel, edge_p):
    """A 64-bit record: from the lowest bit time 32 bits, x 14, y 14, polarity 1."""
    room = min(stop, len(t) - SLACK)
    ahead = min(ahead, WITNESSES)
    i = kept = 0
    newest, epoch = state[NEWEST], state[EPOCH]
    lows, addresses = np.empty(STRETCH, np.uint32), np.empty(STRETCH, np.uint32)
    while i < room:
        until = min(i + STRETCH, room)
        if until == i + STRETCH:
            for k in range(STRETCH):
                lows[np.uint64(k)] = words[np.uint64(i + k)]
            for k in range(STRETCH):
                addresses[np.uint64(k)] = words[np.uint64(i + k)] >> np.uint64(32)
            latest = _newest_of_sound(lows, addresses, newest, epoch, height, width)
            if latest > NEVER:
                for k in range(STRETCH):
                    t[np.uint64(kept + k)] = epoch + np.int64(lows[np.uint64(k)])
                for k in range(STRETCH):
                    x[np.uint64(kept + k)] = addresses[np.uint64(k)] & np.uint32(0x3FFF)
                for k in range(STRETCH):
                    y[np.uint64(kept + k)] = (addresses[np.uint64(k)] >> np.uint32(14)) & np.uint32(0x3FFF)
                for k in range(STRETCH):
                    p[np.uint64(kept + k)] = (addresses[np.uint64(k)] >> np.uint32(28)) & np.uint32(1)
                newest, kept, i = latest, kept + STRETCH, until
        while i < until:
            word = words[np.uint64(i)]
            i += 1
            time, present = unwrapped(np.int64(word & np.uint64(0xFFFFFFFF)), newest, epoch)
            address = np.int64(word >> np.uint64(32))
            column, row = address & 0x3FFF, (address >> 14) & 0x3FFF
            if time > newest + LEAP_US and _is_astray(words, i, ahead, time, newest, epoch):
                lost[ASTRAY] += 1
                continue
            epoch = present
            if time >= newest - JITTER_US and column < width and row < height:
                at = np.uint64(kept)
                t[at], x[at], y[at], p[at] = time, column, row, (address >> 28) & 1
                kept += 1
                newest = max(newest, time)
            else:
                lost[BACKWARDS if time < newest - JITTER_US else OUTSIDE] += 1
    state[NEWEST], state[EPOCH] = newest, epoch
    return room, kept, 0
