"""Recordings made of a text header and words of one size: read in blocks by kernels that keep a state, and written.

The header is of lines ``% key value``, as RAW and DAT files have them. An index of a recording, where decoding can
begin, is kept in a cache folder from one opening to the next: ``$SEQDET_CACHE``, else ``$XDG_CACHE_HOME/seqdet``, else
``~/.cache/seqdet``. Nothing depends on it: an index that cannot be written is not kept, and one that is damaged or of
an older state of the recording is not used.
"""

from __future__ import annotations

import hashlib
import io
import os
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import InputError
from ..files import replacing
from .array import Events, Triggers
from .reading import LATE_US, DecodedPiece, ReadOptions, Recording, Room, decoded, new_columns
from .sieve import (
    BACK_US,
    BACKWARD_EVENTS,
    IMPLAUSIBLE_EVENTS,
    JITTER_US,
    MOST_NOTES,
    NEVER,
    OUTSIDE_EVENTS,
    Sieve,
    check_inside,
)

BLOCK_BYTES = 1 << 20  # of the file at a time
AHEAD = 1 << 13  # words of the next block that a kernel may look at
CHUNK_EVENTS = 1 << 18
SLACK = 32  # a word can add so many
CHUNK_TRIGGERS = 1 << 12
PIECE_EVENTS = 1 << 16  # that are written together
LONGEST_PAUSE_US = 1 << 31  # half a loop of DAT's counter: beyond it, a reader cannot tell a pause from running back
LONGEST_HEADER = 1 << 16  # bytes; no camera writes that much
INDEX_VERSION = 2
INDEX_ARRAYS = ("facts", "positions", "latest_us", "states")
MOST_INDEX_BYTES = 1 << 26  # of an index; one of 100 GB of recording has 5 MB
MARK_BYTES = 1 << 21  # between two entries of the index
SAVED_BYTES = 1 << 24  # smaller files are passed sooner than an index is worth
LATE_EVENTS = 1024  # that run back in a row: the clock has begun anew

REASONS = (
    "words before the first time",
    OUTSIDE_EVENTS,
    BACKWARD_EVENTS,
    IMPLAUSIBLE_EVENTS,
)
EARLY, OUTSIDE, BACKWARDS, ASTRAY = range(len(REASONS))
NEWEST = 0  # the place in a kernel's state of the greatest event time so far


@dataclass(frozen=True)
class Header:
    """What the head of a file says: values by key in lower case, and how many bytes it takes.

    The options of a line such as ``% format EVT3;height=720;width=1280`` are keys of their own.
    """

    fields: dict[str, str]
    length: int

    @property
    def encoding(self) -> str | None:
        """The encoding of a RAW file as its header names it, in upper case; None in a header of another kind."""
        name = self.fields.get("format") or self.fields.get("evt")
        return name.upper() if name else None

    @property
    def states_size(self) -> bool:
        """Whether a size of the sensor is stated, whatever it is."""
        return not self.fields.keys().isdisjoint(("geometry", "height", "width"))

    def size_hw(self, largest: int) -> tuple[int, int] | None:
        """Height and width of the sensor in pixels; None if not stated, or not two numbers from 1 to ``largest``."""
        width, _, height = self.fields.get("geometry", "").partition("x")
        try:
            size = int(self.fields.get("height", height)), int(self.fields.get("width", width))
        except ValueError:
            return None
        return size if min(size) >= 1 and max(size) <= largest else None

    def drop_false_size(self, largest: int, sieve: Sieve) -> None:
        """Tell a sieve if a size of the sensor is stated that is not plausible."""
        is_false = self.states_size and not self.size_hw(largest)
        sieve.drop("sensor sizes that are not plausible, in the header", int(is_false))


def read_header(path: Path) -> Header:
    """The header of a RAW or DAT file; see ``parse_header``.

    Raises:
        InputError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(LONGEST_HEADER)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    return parse_header(head)


def parse_header(head: bytes) -> Header:
    """The header at the start of ``head``; of content without one, no fields and the length 0.

    It ends after a line ``% end``, or where a line does not begin with ``% `` or holds control characters.
    """
    fields: dict[str, str] = {}
    length = 0
    while head.startswith(b"% ", length):
        line, newline, _ = head[length:].partition(b"\n")
        if not newline or min(line.strip()) < ord(" "):
            break
        length += len(line) + 1
        key, _, value = line[2:].decode(errors="replace").strip().partition(" ")
        if key == "end":
            break
        value, *options = value.strip().split(";") if key == "format" else [value.strip()]
        fields.setdefault(key.lower(), value)
        for name, _, option in (each.partition("=") for each in options):
            fields.setdefault(name.strip().lower(), option.strip())
    return Header(fields, length)


class Coding(NamedTuple):
    """How the words of a recording become events.

    format: its name. word: dtype of a word. largest: how many columns and rows the format can address; a greater size
    in the header is not believed. state: before the first word; ``state[NEWEST]`` is NEVER. note: what was found out
    where the header is silent.
    kernel: ``kernel(words, stop, ahead, state, lost, height, width, *event_columns, *trigger_columns)`` decodes words
    up to ``stop`` or until a column is full and returns how many words, events and triggers those were. It may look at
    the ``ahead`` words after each. It keeps what it has to remember in ``state``, int64, and adds to ``lost``, one
    count for each of ``REASONS``.
    """

    format: str
    word: str
    largest: int
    kernel: Callable[..., tuple[int, int, int]]
    state: np.ndarray
    note: str = ""

    def limits_hw(self, size_hw: tuple[int, int] | None) -> tuple[int, int]:
        """Rows and columns that events can have, on a sensor of that size if it is known."""
        return size_hw or (self.largest, self.largest)


class Decoder:
    """A kernel in the middle of a recording.

    state: of the kernel. edges: the trigger edges of the latest words.

    Args:
        coding: of the recording.
        state: where to go on.
        size_hw: height and width of the sensor, if they are known.
        sieve: counts what is left out.
    """

    def __init__(self, coding: Coding, state: np.ndarray, size_hw: tuple[int, int] | None, sieve: Sieve) -> None:
        self.state = state
        self.edges = Triggers.empty()
        self._kernel = coding.kernel
        self._limits_hw = coding.limits_hw(size_hw)
        self._sieve = sieve
        self._lost = np.zeros(len(REASONS), np.int64)
        self._room = Triggers.empty(CHUNK_TRIGGERS)

    def decode(self, words: np.ndarray, stop: int, columns: list[np.ndarray]) -> tuple[int, int, int]:
        """Decode words up to ``stop``, or until there is no room.

        Args:
            words: (N,) from the next one on; those after ``stop`` are looked at.
            stop: how many to decode.
            columns: t, x, y, p, to write to.

        Returns:
            How many words were decoded, how many events they gave, and how many of theirs ran back in time.

        Raises:
            InputError: if the sieve is strict, and events are left out.
        """
        room = self._room
        edges = room.t, room.channel, room.p
        read, count, edge_count = self._kernel(
            words, stop, AHEAD, self.state, self._lost, *self._limits_hw, *columns, *edges
        )
        backwards = int(self._lost[BACKWARDS])
        for reason, dropped in zip(REASONS, self._lost.tolist(), strict=True):
            self._sieve.drop(reason, dropped)
        self._lost[:] = 0
        self.edges = room[:edge_count]
        return read, count, backwards


class Mark(NamedTuple):
    """A place from which decoding can go on: byte, the greatest event time before it, and the state of the kernel."""

    position: int
    latest_us: int
    state: np.ndarray


class Index(NamedTuple):
    """What a whole pass finds: marks, of which the first is the begin; how many events, and the time of the first
    and of the last, 0 where there is none."""

    marks: list[Mark]
    events: int
    first_us: int
    last_us: int

    @property
    def span_us(self) -> tuple[int, int] | None:
        """The time of the first and of the last event; None without events."""
        return (self.first_us, self.last_us) if self.events else None


class Stamp(NamedTuple):
    """What changes when a file is written."""

    size: int
    modified_ns: int


def stamp_of(path: Path) -> Stamp:
    """The present one. Raises OSError if there is no such file."""
    found = path.stat()
    return Stamp(found.st_size, found.st_mtime_ns)


def save_index(path: Path, stamp: Stamp, index: Index, *, limits_hw: tuple[int, int]) -> None:
    """Keep an index, if it can be written.

    Args:
        path: of the recording.
        stamp: of the file when it was passed.
        index: what the pass found.
        limits_hw: rows and columns beyond which events were left out.
    """
    with suppress(InputError, OSError, RuntimeError):  # the last: nobody's home is known
        place = index_file(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as temporary, temporary.open("wb") as file:
            columns = [[INDEX_VERSION, *stamp, *limits_hw, *index[1:]], *zip(*index.marks, strict=True)]
            facts, positions, latest_us, states = (np.array(column, np.int64) for column in columns)
            np.savez(file, facts=facts, positions=positions, latest_us=latest_us, states=states)


def load_index(path: Path, stamp: Stamp, first: Mark, word_bytes: int, *, limits_hw: tuple[int, int]) -> Index | None:
    """The index kept for ``path``; None if there is none, or it cannot be that of a file with this stamp and limits.

    Args:
        first: the begin of the words; its state holds the options that matter.
        word_bytes: marks lie between words of this size.
    """
    try:
        place = index_file(path)
        if place.stat().st_size > MOST_INDEX_BYTES:
            return None
        with np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as arrays:
            facts, positions, latest_us, states = (arrays[name] for name in INDEX_ARRAYS)
        is_current = facts[:5].tolist() == [INDEX_VERSION, *stamp, *limits_hw]
        if not is_current or states.shape != (len(positions), len(first.state)):
            return None
        marks = [Mark(*each) for each in zip(positions.tolist(), latest_us.tolist(), states, strict=True)]
        events, first_us, last_us = facts[5:].tolist()
        is_sound = all(array.dtype == np.int64 for array in (facts, positions, latest_us, states))
        is_sound &= marks[0][:2] == first[:2] and np.array_equal(marks[0].state, first.state)
        is_sound &= bool((np.diff(positions) > 0).all() and (np.diff(latest_us) >= 0).all())
        is_sound &= positions[-1] <= stamp.size and not ((positions - first.position) % word_bytes).any()
    except Exception:  # zip, npy and numpy have many ways to say that a file is damaged
        return None
    return Index(marks, events, first_us, last_us) if is_sound else None


def index_file(path: Path) -> Path:
    """Where the index of a recording is kept. Raises RuntimeError if there is no home folder."""
    if chosen := os.environ.get("SEQDET_CACHE"):
        folder = Path(chosen)
    else:
        caches = os.environ.get("XDG_CACHE_HOME")
        folder = (Path(caches) if caches else Path.home() / ".cache") / "seqdet"
    return folder / "indexes" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.npz"


def passing_columns() -> list[np.ndarray]:
    """Room for the events of some words, which nobody keeps."""
    return new_columns(CHUNK_EVENTS + SLACK)


class WordRecording(Recording):
    """A recording in a file that is a header and words, which is open during a pass only.

    Where the clock begins anew and clocks are to be joined, time goes on from before once a block is over.

    Args:
        path: of the file.
        header: at its head.
        coding: of its words.
        offset: the byte where the words begin.
        options: how it is to be read.
    """

    def __init__(self, path: Path, header: Header, coding: Coding, *, offset: int, options: ReadOptions) -> None:
        self._header = header
        self._coding = coding
        self._item = np.dtype(coding.word).itemsize
        self._clocks: list[str] = []
        self._marks = [Mark(offset, NEVER, coding.state)]
        self._index: Index | None = None
        self._stamp: Stamp | None = None
        super().__init__(path, options, format=coding.format, size_hw=header.size_hw(coding.largest))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found out about the words, and where clocks were joined."""
        found = [self._coding.note] if self._coding.note else []
        return (*found, *list(dict.fromkeys(self._clocks))[:MOST_NOTES])

    def _can_seek(self) -> bool:
        """Whether a whole pass over the file as it is was made, now or when it was open before."""
        self._recall()
        return self._index is not None

    def _chunks(self, start_us: int | None) -> Iterator[Events]:
        """At most ``CHUNK_EVENTS`` at a time.

        What was passed once is indexed: the next pass with ``start_us`` begins shortly before it.
        """
        self._sieve = self._new_sieve()
        self._recall()
        start = NEVER if start_us is None else start_us
        for piece, _ in self._pieces(self._mark_before(start), self._sieve):
            if piece.newest_us >= start and len(piece.columns[0]):
                yield Events(*(column.copy() for column in piece.columns))

    def _read(self, start_us: int, end_us: int) -> Events:
        self._sieve = self._new_sieve()
        self._recall()
        beyond = bisect_left(self._marks, end_us + LATE_US, key=lambda each: each.latest_us)
        end = self._marks[beyond].position if beyond < len(self._marks) else None
        mark = self._mark_before(start_us)
        sieve = self._sieve

        def decoding(room: Room) -> Generator[DecodedPiece]:
            return (piece for piece, _ in self._pieces(mark, sieve, room, end) if piece.newest_us >= start_us)

        return decoded(decoding, start_us, end_us, piece=CHUNK_EVENTS + SLACK)

    def _find_span_us(self) -> tuple[int, int] | None:
        """From the index, or by a whole pass, which leaves one."""
        self._recall()
        if self._index is None:
            for _ in self._pieces(self._marks[0], self._new_sieve()):
                pass
        assert self._index is not None
        return self._index.span_us

    def _find_triggers(self) -> Triggers:
        """All edges on the trigger inputs, found by a pass over the file."""
        self._recall()
        passed = self._pieces(self._marks[0], self._new_sieve())
        return Triggers.concatenate([Triggers.concatenate([edges]) for _, edges in passed if len(edges)])

    @abstractmethod
    def _now_us(self, state: np.ndarray, word: int) -> int:
        """The time at a word, the last that was decoded; ``NEVER`` where it is not known."""

    @abstractmethod
    def _go_on(self, state: np.ndarray, step_us: int) -> None:
        """Make all times from now on so much later."""

    def _new_sieve(self) -> Sieve:
        sieve = super()._new_sieve()
        self._header.drop_false_size(self._coding.largest, sieve)
        return sieve

    def _recall(self) -> None:
        """Forget the index of an older state of the file; take the one kept for the present state."""
        stamp = stamp_of(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self._marks = self._marks[:1]
        self._index = None
        if stamp.size >= SAVED_BYTES:
            self._index = load_index(self._file, stamp, self._marks[0], self._item, limits_hw=self._limits_hw)
        if self._index:
            self._marks = list(self._index.marks)

    @property
    def _limits_hw(self) -> tuple[int, int]:
        return self._coding.limits_hw(self.stated_size_hw)

    def _mark_before(self, start_us: int) -> Mark:
        return self._marks[max(bisect_left(self._marks, start_us, key=lambda each: each.latest_us) - 1, 0)]

    def _pieces(
        self, mark: Mark, sieve: Sieve, room: Room | None = None, end: int | None = None
    ) -> Iterator[tuple[DecodedPiece, Triggers]]:
        """Events in the room that is asked for before each piece, and trigger edges, valid until the next.

        Args:
            mark: where to begin.
            sieve: of this pass.
            room: to decode into; if None, columns that nobody keeps.
            end: the byte at which the shares are 1; that of the file if None.
        """
        length = max((end or self._file.stat().st_size) - mark.position, 1)
        item = self._item
        block = np.empty((max(BLOCK_BYTES // item, 1) + AHEAD) * item, np.uint8)
        passing = [] if room else passing_columns()
        position = mark.position
        state = mark.state.copy()
        decoder = Decoder(self._coding, state, self.stated_size_hw, sieve)
        held = total = late = 0  # bytes of the block before, events, and those of them in a row that run back
        first_us = -NEVER
        is_last = False
        with self._file.open("rb") as file:
            file.seek(position)
            while not is_last:
                size = held + file.readinto(block.data[held:])
                is_last = size < len(block)
                words = block[: size - size % item].view(self._coding.word)
                done = 0
                stop = len(words) - (0 if is_last else AHEAD)
                while done < stop:
                    if position >= self._marks[-1].position + MARK_BYTES:
                        self._marks.append(Mark(position, int(state[NEWEST]), state.copy()))
                    before_us = int(state[NEWEST])
                    is_early = before_us <= first_us + 2 * JITTER_US  # an older one than the first may follow
                    events = room((position - mark.position) / length) if room else passing
                    read, count, backwards = decoder.decode(words[done:], stop - done, events)
                    done += read
                    position += read * item
                    total += count
                    late += backwards
                    if count and is_early:
                        first_us = min(first_us, int(events[0][:count].min()))
                    piece = DecodedPiece([column[:count] for column in events], before_us - LATE_US, int(state[NEWEST]))
                    yield piece, decoder.edges
                    late = self._checked_clock(state, int(words[done - 1]), position, late) if late else 0
                if is_last:
                    sieve.drop("bytes of a last word cut off", size % item)
                else:
                    held = AHEAD * item
                    block[:held] = block[-held:]
        if mark.position == self._marks[0].position and self._index is None:
            last_us = int(state[NEWEST]) if total else 0
            self._index = Index(list(self._marks), total, first_us if total else 0, last_us)
            is_as_read = not self._clocks and self._stamp == stamp_of(self._file)
            if self._options.keeps_index and self._stamp and self._stamp.size >= SAVED_BYTES and is_as_read:
                save_index(self._file, self._stamp, self._index, limits_hw=self._limits_hw)

    def _checked_clock(self, state: np.ndarray, word: int, position: int, late: int) -> int:
        """How many events have run back without an end.

        Where they are many the clock has begun anew: time goes on from there, or ``InputError`` is raised.
        """
        now_us, newest_us = self._now_us(state, word), int(state[NEWEST])
        if not NEVER < now_us < newest_us - BACK_US:
            return 0
        if late < LATE_EVENTS:
            return late
        told = f"before byte {position:,}: times up to {newest_us:,} us are followed by {now_us:,} us"
        if not self._options.joins_clocks:
            raise InputError(
                f"{self._file} must have one clock, and it begins anew {told}. seqdet convert writes it with times "
                "that go on, by --join-clocks, or what comes before, by --duration-us."
            )
        self._clocks.append(
            f"the clock begins anew {told}, and times from there on are made {newest_us - now_us:,} us later"
        )
        self._go_on(state, newest_us - now_us)
        return 0


def checked_size(size_hw: tuple[int, int], largest: int) -> tuple[int, int]:
    """The size of a sensor. Raises ``InputError`` if a format that addresses so many rows and columns has no room."""
    if not (min(size_hw) >= 1 and max(size_hw) <= largest):
        raise InputError(f"size_hw must be from 1 to {largest} for this format, got {tuple(size_hw)}.")
    return size_hw


def write_words(path: Path | str, header: bytes, pieces: Iterable[np.ndarray]) -> None:
    """Write a header and words. Raises ``InputError`` as ``replacing``; what stood at ``path`` then stays."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        for piece in pieces:
            file.write(piece.data)


def checked_events(chunks: Iterable[Events], size_hw: tuple[int, int]) -> Iterator[Events]:
    """The events in small pieces, after a look at their values. Raises ``InputError`` if one cannot be written."""
    for chunk in chunks:
        for begin in range(0, len(chunk), PIECE_EVENTS):
            events = chunk[begin : begin + PIECE_EVENTS]
            check_inside(events, size_hw)
            if events.t.min() < 0:
                raise InputError(f"t must not be negative, got {events.t.min()} us. Subtract the first time.")
            yield events


def events_in_order(pieces: Iterable[Events]) -> Iterator[Events]:
    """The pieces, after a look at what a reader would drop. Raises ``InputError`` if it would drop something."""
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
