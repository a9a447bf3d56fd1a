"""What readers of recordings promise and share: what they are asked, passes over pieces of a file, and stretches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO, NamedTuple

import numpy as np

from ..checks import InputError, check_at_least
from .accounts import Account, account
from .array import COLUMNS, Events, Triggers
from .rows import PLAIN, Meaning
from .sieve import JITTER_US, NEVER, Sieve
from .slicing import Window, windows
from .time_units import MICROSECONDS, TimeUnit, Unit


@dataclass(frozen=True)
class ReadOptions:
    """How a recording is to be read, whatever its format; what a format does not have is passed over.

    size_hw: height and width of the sensor, where the file does not say. strict: raise, while reading, where something
    would be left out. time_shift: subtract from the times of EVT3 what the vendor's tools subtract. place: the group,
    table or array of an HDF5 file that has the events. time_unit: of the times, where the file does not say.
    joins_clocks: where the clock of the camera begins anew, go on from the time before; it is an error otherwise.
    keeps_index: whether the index of a large file goes to the cache folder; of a file that soon vanishes it should not.
    """

    size_hw: tuple[int, int] | None = None
    strict: bool = False
    time_shift: bool = False
    place: str | None = None
    time_unit: Unit | None = None
    joins_clocks: bool = False
    keeps_index: bool = True


AS_IT_IS = ReadOptions()
RECORDS = 1 << 17  # that are read together


class Recording(ABC):
    """A recording, open for reading. Everything streams: memory does not grow with the length of the file.

    The readers of all formats derive from it and say how ``_chunks``, ``_find_span_us`` and the others are made.

    path: of the file, for messages. format: its name, such as "EVT3". time_unit: of its times, and how that is known.
    stated_size_hw: height and width of the sensor in pixels, or None if neither the file says it nor the user.
    """

    def __init__(
        self,
        path: Path,
        options: ReadOptions,
        *,
        format: str,
        size_hw: tuple[int, int] | None = None,
        time_unit: TimeUnit = MICROSECONDS,
    ) -> None:
        self.path = path
        self.format = format
        self.time_unit = time_unit
        self.stated_size_hw = size_hw or options.size_hw
        self._file = path
        self._options = options
        self._folder: TemporaryDirectory[str] | None = None
        self._passed = 0
        self._span_us: tuple[int, int] | None = None
        self._sieve = self._new_sieve()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def unpacked_from(self, path: Path, folder: TemporaryDirectory[str]) -> Recording:
        """The same, named in messages by the packed file that it was in; the folder is deleted when it is closed."""
        self.path = path
        self._folder = folder
        return self

    @property
    def dropped(self) -> Counter[str]:
        """How much the latest pass over ``chunks`` left out so far, by reason in plain words; a strict one raises."""
        return self._sieve.dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """What its numbers are taken for where they could mean something else, and what the latest pass noticed."""
        return self._sieve.notes

    @property
    def account(self) -> Account:
        """What became of the events that the latest pass over ``chunks``, or ``windows``, came by."""
        return account(self._passed, self.dropped, self.notes, self.time_unit, self._span_us)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the sensor in pixels.

        Raises:
            InputError: if the file does not say.
        """
        if self.stated_size_hw is None:
            raise InputError(
                f"{self.path} must state the size of its sensor, and does not. Give size_hw; for a training, "
                "data.dataset.size_hw."
            )
        return self.stated_size_hw

    @property
    def is_indexed(self) -> bool:
        """Whether reading from a time on is cheap: it skips what comes before.

        DAT, HDF5 and npy are as they are, RAW after a whole pass; in text, AEDAT4 and the others all before it is read.
        """
        with self._readable():
            return self._can_seek()

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events in pieces of bounded size, in the order of the file.

        With ``start_us`` the first piece may begin later, but no event at or after ``start_us`` is missing: formats
        that can seek skip what comes before, others decode it and leave whole pieces out.

        Raises:
            InputError: if the file vanished; if strict, where something would be dropped.
        """
        self._passed = 0
        self._span_us = None
        with self._readable():
            for events in self._chunks(start_us):
                self._span_us = wider(self._span_us, events)
                self._passed += len(events)
                yield events

    def span_us(self) -> tuple[int, int] | None:
        """The least and the greatest time of an event; None without events.

        Cheap where ``is_indexed``; otherwise a whole pass, which leaves an index where the format can have one.
        """
        with self._readable():
            return self._find_span_us()

    def triggers(self) -> Triggers:
        """All trigger edges; none where the format has none."""
        with self._readable():
            return self._find_triggers()

    def read(self, start_us: int, end_us: int) -> Events:
        """The events with times in ``[start_us, end_us)``, in the order of the file.

        Memory is little more than theirs, 13 bytes each; of HDF5, AEDAT4 and tables 1.6 times that while they are read.

        Raises:
            InputError: as ``chunks``.
        """
        check_at_least(end_us, start_us, "end_us")
        with self._readable():
            return self._read(start_us, end_us)

    def windows(
        self,
        *,
        window_us: int | None = None,
        count: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> Iterator[Window]:
        """Consecutive windows that share no event and lose none.

        With ``window_us`` alone they lie on a grid from ``start_us``, empty ones included. With ``count`` a window
        begins at its first event and ends with its ``count``-th; with both, after ``window_us`` if that comes first.

        Args:
            window_us: length of a window.
            count: most events of a window.
            start_us: no event before this; the time of the first event if None.
            end_us: no event from this on; the last event is the last if None.

        Raises:
            InputError: if neither length is given, or one is below 1.
        """
        return windows(self.chunks(start_us), window_us=window_us, count=count, start_us=start_us, end_us=end_us)

    def close(self) -> None:
        """Close the file; no pass goes on after it."""
        if self._folder:
            self._folder.cleanup()

    def _can_seek(self) -> bool:
        return False

    @abstractmethod
    def _chunks(self, start_us: int | None) -> Iterator[Events]:
        """The events from a time on, or a little before it, as they come."""

    @abstractmethod
    def _find_span_us(self) -> tuple[int, int] | None:
        """The times of the first and of the last event; None without events."""

    def _find_triggers(self) -> Triggers:
        return Triggers.empty()

    def _read(self, start_us: int, end_us: int) -> Events:
        return gathered(self._chunks(start_us), start_us, end_us)

    def _new_sieve(self) -> Sieve:
        """That of a new pass."""
        options = self._options
        return Sieve(self._file, self.stated_size_hw, strict=options.strict, joins_clocks=options.joins_clocks)

    def _readable(self) -> AbstractContextManager[None]:
        return readable(self.path, self._file)


@contextmanager
def readable(path: Path, file: Path | None = None) -> Iterator[None]:
    """Raise ``InputError`` where the block cannot read a file; where it was packed, by the name that the user gave.

    Args:
        path: as the user names it.
        file: what was in it, if it is packed.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Was it moved or deleted?") from error
    except InputError as error:
        if file in (None, path):
            raise
        raise InputError(str(error).replace(str(file), str(path))) from error


Pieces = Callable[[int, Sieve], Iterator[Events]]
"""The events of a file from the piece of a number on, before they pass the sieve, which counts what is left out."""


class Starts(NamedTuple):
    """The pieces of a file that a pass can begin at.

    number: how many there are. time_us: of the first row of one; of a row that cannot be read, one after all others.
    """

    number: int
    time_us: Callable[[int], float]


class PieceRecording(Recording):
    """A recording in a file that gives pieces of events, which pass a ``Sieve``.

    Args:
        path: of the file.
        options: how it is to be read.
        format: its name.
        pieces: of the file.
        size_hw: height and width of the sensor, where the file says it.
        meaning: of its numbers.
        starts: pieces to begin at, where they are found without reading those before.
        missing: how many events the file claims and does not hold, in whole chunks.
        triggers: all trigger edges, by a pass of their own whose sieve it is given; there are none if None.
        close: the file, if it stays open between passes.
    """

    def __init__(
        self,
        path: Path,
        options: ReadOptions,
        *,
        format: str,
        pieces: Pieces,
        size_hw: tuple[int, int] | None = None,
        meaning: Meaning = PLAIN,
        starts: Starts | None = None,
        missing: int = 0,
        triggers: Callable[[Sieve], Triggers] | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self._pieces = pieces
        self._meaning = meaning
        self._starts = starts
        self._missing = missing
        self._triggers = triggers
        self._close = close
        super().__init__(path, options, format=format, size_hw=size_hw, time_unit=meaning.unit)

    @property
    def notes(self) -> tuple[str, ...]:
        """As of ``Recording``."""
        return (*self._meaning.notes, *super().notes)

    def close(self) -> None:
        """As of ``Recording``."""
        if self._close:
            self._close()
        super().close()

    def _can_seek(self) -> bool:
        return self._starts is not None

    def _chunks(self, start_us: int | None) -> Iterator[Events]:
        """Pieces before ``start_us`` are left out, without being read where a later one can be begun at.

        The events before a piece are younger than its first one by less than the jitter.
        """
        self._sieve = sieve = self._new_sieve()
        first = 0
        if start_us is not None and self._starts is not None:
            numbers = range(self._starts.number)
            first = max(bisect_left(numbers, start_us - JITTER_US, key=self._starts.time_us) - 1, 0)
        for events in self._passed_pieces(first, sieve):
            if len(events) and (start_us is None or events.t.max() >= start_us):
                yield events

    def _find_span_us(self) -> tuple[int, int] | None:
        """From both ends of the file where pieces in between can be skipped; otherwise by a whole pass."""
        return end_span_us(self._passed_pieces, self._starts.number if self._starts else 1, self._new_sieve)

    def _find_triggers(self) -> Triggers:
        return self._triggers(self._new_sieve()) if self._triggers else Triggers.empty()

    def _new_sieve(self) -> Sieve:
        sieve = super()._new_sieve()
        sieve.drop("events in missing chunks", self._missing)
        return sieve

    def _passed_pieces(self, first: int, sieve: Sieve) -> Iterator[Events]:
        return sieve.passed(self._pieces(first, sieve))


def records_of(file: IO[bytes], record: np.dtype, sieve: Sieve, most: int | None = None) -> Iterator[np.ndarray]:
    """The records of a file from here on, in pieces; a part of one at the end is left out.

    Args:
        file: open, at the first record.
        record: dtype of one.
        sieve: counts what is left out.
        most: records of a piece; ``RECORDS`` if None.
    """
    while content := file.read((most or RECORDS) * record.itemsize):
        sieve.drop("bytes of a last record cut off", len(content) % record.itemsize)
        yield np.frombuffer(content, record, len(content) // record.itemsize)


def wider(span_us: tuple[int, int] | None, events: Events) -> tuple[int, int] | None:
    """A span that has the times of further events in it as well; None while there are none."""
    if not len(events):
        return span_us
    first_us, last_us = int(events.t.min()), int(events.t.max())
    return (first_us, last_us) if span_us is None else (min(first_us, span_us[0]), max(last_us, span_us[1]))


def whole_span_us(chunks: Iterable[Events]) -> tuple[int, int] | None:
    """The least and the greatest time; None if there is no event."""
    span_us = None
    for events in chunks:
        span_us = wider(span_us, events)
    return span_us


def end_span_us(
    pieces: Callable[[int, Sieve], Iterator[Events]], count: int, new_sieve: Callable[[], Sieve]
) -> tuple[int, int] | None:
    """As ``whole_span_us`` of all pieces, by reading the first and the last of them.

    No event lies more than the jitter behind one before it. So the first is among those until time is past that, and
    the last among those from a piece on that lasts longer than that. Where the last pieces are damaged, all are read.

    Args:
        pieces: gives the events that pass a sieve from one of ``count`` pieces on.
        count: of the pieces that it can begin at.
        new_sieve: as of a new pass.
    """
    if count == 1:
        return whole_span_us(pieces(0, new_sieve()))
    first_us = newest_us = None
    for events in pieces(0, new_sieve()):
        if len(events):
            first_us = min(int(events.t.min()), -NEVER if first_us is None else first_us)
            newest_us = int(events.t.max())
            if newest_us > first_us + 2 * JITTER_US:
                break
    if first_us is None or newest_us is None:
        return None
    back = 1
    while back < count and newest_us > first_us + 2 * JITTER_US:
        sieve = new_sieve()
        before = sieve.dropped.total()
        found = [(int(events.t[0]), int(events.t.max())) for events in pieces(count - back, sieve) if len(events)]
        if sieve.dropped.total() > before:
            break
        if found and max(last for _, last in found) > found[0][0] + 2 * JITTER_US:
            return first_us, max(last for _, last in found)
        back *= 2
    return whole_span_us(pieces(0, new_sieve()))


Room = Callable[[float], list[np.ndarray]]
"""Gives columns t, x, y, p to decode the next piece into; asked with the share of the file, 0 to 1, that was read."""

LATE_US = JITTER_US + 64  # behind another one; EVT2 asks for all events of 64 us at once whether they are too late
SPARE = 1.05  # how much more room is made than seems to be needed
LEAST_SHARE = 1 / 1024  # from which so much is foreseen


class DecodedPiece(NamedTuple):
    """Columns t, x, y, p, decoded into a ``Room``; no event in them is before ``least_us`` or after ``newest_us``."""

    columns: list[np.ndarray]
    least_us: int
    newest_us: int


def decoded(decoding: Callable[[Room], Generator[DecodedPiece]], start_us: int, end_us: int, *, piece: int) -> Events:
    """The events with times in ``[start_us, end_us)``, decoded where they stay.

    Memory is that of the events, some percent more while they come, and of a piece at either end: how many there will
    be is foreseen from the share of the file that those so far took, and from their share of the time.

    Args:
        decoding: decodes the pieces into the room that it asks for.
        piece: for how many events there has to be room.
    """
    whole = new_columns(piece)
    count = 0
    reached_us = start_us

    def room(share: float) -> list[np.ndarray]:
        if count + piece > len(whole[0]):
            foreseen = count / max(share, LEAST_SHARE)
            begin_us = int(whole[0][0]) if count else reached_us
            if reached_us > begin_us:
                foreseen = min(foreseen, count * (end_us - begin_us) / (reached_us - begin_us))
            size = piece + max(int(foreseen * SPARE), count + count // 4)
            for number, column in enumerate(whole):
                whole[number] = np.empty(size, column.dtype)
                whole[number][:count] = column[:count]
        return [column[count:] for column in whole]

    with closing(decoding(room)) as pieces:
        for columns, least_us, newest_us in pieces:
            kept = len(columns[0])
            if not start_us <= least_us <= newest_us < end_us:
                inside = (columns[0] >= start_us) & (columns[0] < end_us)
                kept = int(inside.sum())
                for column in columns:
                    column[:kept] = column[inside]
            count += kept
            reached_us = newest_us
            if newest_us >= end_us + LATE_US:
                break
    for column in whole:
        column.resize(count, refcheck=False)  # the rooms were views, which nobody uses any more
    return Events(*whole)


def gathered(pieces: Iterable[Events], start_us: int, end_us: int) -> Events:
    """The events of pieces, which rise in time up to the jitter, with times in ``[start_us, end_us)``, as columns."""
    parts: list[list[np.ndarray]] = [[np.empty(0, dtype)] for dtype in COLUMNS.values()]
    for events in pieces:
        if not len(events):
            continue
        least_us, newest_us = int(events.t.min()), int(events.t.max())
        if not start_us <= least_us <= newest_us < end_us:
            events = events[(events.t >= start_us) & (events.t < end_us)]
        for column, name in zip(parts, COLUMNS, strict=True):
            column.append(getattr(events, name))
        if newest_us >= end_us + LATE_US:
            break
    columns = []
    while parts:  # the pieces of a column go before the next column is made
        columns.append(np.concatenate(parts.pop(0)))
    return Events(*columns)


def new_columns(length: int) -> list[np.ndarray]:
    """Columns t, x, y, p with whatever is in their memory."""
    return [np.empty(length, dtype) for dtype in COLUMNS.values()]
