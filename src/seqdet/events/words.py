"""Recordings made of words of one size: read in blocks and decoded by a kernel that takes and returns its state."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np

from ..checks import InputError
from .array import Events, Triggers
from .gathering import LATE_US, Piece, Room, decoded, new_columns
from .headers import Header
from .index import Index, Mark, Stamp, load_index, save_index, stamp_of
from .sieve import BACK_US, JITTER_US, MOST_NOTES, NEVER, Sieve
from .time_units import MICROSECONDS

BLOCK_BYTES = 1 << 20  # of the file at a time
AHEAD = 1 << 13  # words of the next block that a kernel may look at
CHUNK_EVENTS = 1 << 18
SLACK = 32  # a word can add so many
CHUNK_TRIGGERS = 1 << 12
MARK_BYTES = 1 << 21  # between two entries of the index
SAVED_BYTES = 1 << 24  # smaller files are passed sooner than an index is worth
LATE_EVENTS = 1024  # that run back in a row: the clock has begun anew

REASONS = (
    "words before the first time",
    "events outside the sensor",
    "events running back in time",
    "events at times that cannot be",
)
EARLY, OUTSIDE, BACKWARDS, ASTRAY = range(len(REASONS))
NEWEST = 0  # the place in a kernel's state of the greatest event time so far


class WordSource:
    """A `Source` of a file that is a header and words.

    keeps_index: whether the index of a large file goes to the cache folder; of a file that soon vanishes it should not.

    Args:
        decode: ``decode(words, stop, ahead, state, lost, height, width, *event_columns, *trigger_columns)`` decodes
            words up to ``stop`` or until a column is full and returns how many words, events and triggers those were.
            It may look at the ``ahead`` words after each. It keeps what it has to remember in ``state``, int64, and
            adds to ``lost``, one count for each of ``REASONS``.
        state: before the first word; ``state[NEWEST]`` is NEVER.
        offset: the byte where the words begin.
        largest: how many columns and rows the format can address; a greater size in the header is not believed.
        joins_clocks: where the clock begins anew, go on from the time before, once a block is over; an error otherwise.
    """

    time_unit = MICROSECONDS

    keeps_index = True

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        format: str,
        largest: int,
        offset: int,
        word: str,
        decode: Callable[..., tuple[int, int, int]],
        state: np.ndarray,
        strict: bool,
        joins_clocks: bool = False,
    ) -> None:
        self._path, self._strict, self._joins_clocks = path, strict, joins_clocks
        self._clocks: list[str] = []
        self._word, self._decode = np.dtype(word), decode
        self.format = format
        self.size_hw, self._largest = header.size_hw(largest), largest
        self._has_false_size = self.size_hw is None and header.states_size
        self._marks = [Mark(offset, NEVER, state)]
        self._index: Index | None = None
        self._stamp: Stamp | None = None
        self._sieve = self._new_sieve()

    @property
    def dropped(self) -> Counter[str]:
        """What the latest pass over ``chunks`` left out."""
        return self._sieve.dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """Where clocks were joined."""
        return tuple(dict.fromkeys(self._clocks))[:MOST_NOTES]

    @property
    def is_indexed(self) -> bool:
        """Whether a whole pass over the file as it is was made, now or when it was open before."""
        self._recall()
        return self._index is not None

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events in the order of the file, at most ``CHUNK_EVENTS`` at a time; see `Source`.

        What was passed once is indexed: the next pass with ``start_us`` begins shortly before it.
        """
        self._sieve = self._new_sieve()
        self._recall()
        start = NEVER if start_us is None else start_us
        for piece, _ in self._pieces(self._mark_before(start), self._sieve, self._passing_room()):
            if piece.newest_us >= start and len(piece.columns[0]):
                yield Events(*(column.copy() for column in piece.columns))

    def read(self, start_us: int, end_us: int) -> Events:
        """The events with times in ``[start_us, end_us)``, in the order of the file."""
        self._sieve = self._new_sieve()
        self._recall()
        beyond = bisect_left(self._marks, end_us + LATE_US, key=lambda each: each.latest_us)
        end = self._marks[beyond].position if beyond < len(self._marks) else None
        mark, sieve = self._mark_before(start_us), self._sieve

        def decoding(room: Room) -> Generator[Piece]:
            return (piece for piece, _ in self._pieces(mark, sieve, room, end) if piece.newest_us >= start_us)

        return decoded(decoding, start_us, end_us, piece=CHUNK_EVENTS + SLACK)

    def span_us(self) -> tuple[int, int] | None:
        """From the index, or by a whole pass, which leaves one."""
        self._recall()
        if self._index is None:
            for _ in self._pieces(self._marks[0], self._new_sieve(), self._passing_room()):
                pass
        assert self._index is not None
        return self._index.span_us

    def triggers(self) -> Triggers:
        """All edges on the trigger inputs, found by a pass over the file."""
        self._recall()
        pieces = [
            [column.copy() for column in triggers]
            for _, triggers in self._pieces(self._marks[0], self._new_sieve(), self._passing_room())
            if len(triggers[0])
        ]
        columns = _trigger_columns(0)
        return Triggers(*map(np.concatenate, zip(*pieces, strict=True))) if pieces else Triggers(*columns)

    def close(self) -> None:
        """Nothing to do: the file is open during a pass only."""

    def _now_us(self, state: np.ndarray, word: int) -> int:
        """The time at a word, the last that was decoded; ``NEVER`` where it is not known."""
        raise NotImplementedError

    def _go_on(self, state: np.ndarray, step_us: int) -> None:
        """Make all times from now on so much later."""
        raise NotImplementedError

    @property
    def _limits_hw(self) -> tuple[int, int]:
        return self.size_hw or (self._largest, self._largest)

    def _new_sieve(self) -> Sieve:
        sieve = Sieve(self._path, self.size_hw, strict=self._strict)
        sieve.drop("sensor sizes that cannot be, in the header", int(self._has_false_size))
        return sieve

    def _recall(self) -> None:
        """Forget the index of an older state of the file; take the one kept for the present state."""
        stamp = stamp_of(self._path)
        if stamp == self._stamp:
            return
        self._stamp, self._marks = stamp, self._marks[:1]
        self._index = None
        if stamp.size >= SAVED_BYTES:
            self._index = load_index(self._path, stamp, self._marks[0], self._word.itemsize, limits_hw=self._limits_hw)
        if self._index:
            self._marks = list(self._index.marks)

    def _mark_before(self, start_us: int) -> Mark:
        return self._marks[max(bisect_left(self._marks, start_us, key=lambda each: each.latest_us) - 1, 0)]

    def _passing_room(self) -> Room:
        """Room for what nobody keeps."""
        columns = new_columns(CHUNK_EVENTS + SLACK)
        return lambda share: columns

    def _pieces(
        self, mark: Mark, sieve: Sieve, room: Room, end: int | None = None
    ) -> Iterator[tuple[Piece, list[np.ndarray]]]:
        """Events in the room that is asked for before each piece, and columns of triggers, valid until the next.

        Args:
            end: the byte at which the shares are 1; that of the file if None.
        """
        edges = _trigger_columns(CHUNK_TRIGGERS)
        length = max((end or self._path.stat().st_size) - mark.position, 1)
        item = self._word.itemsize
        block = np.empty((max(BLOCK_BYTES // item, 1) + AHEAD) * item, np.uint8)
        position, state, lost = mark.position, mark.state.copy(), np.zeros(len(REASONS), np.int64)
        held, is_last, total, first_us, late = 0, False, 0, -NEVER, 0
        with self._path.open("rb") as file:
            file.seek(position)
            while not is_last:
                size = held + file.readinto(block.data[held:])
                is_last = size < len(block)
                words = block[: size - size % item].view(self._word)
                done, stop = 0, len(words) - (0 if is_last else AHEAD)
                while done < stop:
                    if position >= self._marks[-1].position + MARK_BYTES:
                        self._marks.append(Mark(position, int(state[NEWEST]), state.copy()))
                    before_us = int(state[NEWEST])
                    is_early = before_us <= first_us + 2 * JITTER_US  # an older one than the first may follow
                    events = room((position - mark.position) / length)
                    read, count, edge_count = self._decode(
                        words[done:], stop - done, AHEAD, state, lost, *self._limits_hw, *events, *edges
                    )
                    done, position, total = done + read, position + read * item, total + count
                    for reason, dropped in zip(REASONS, lost.tolist(), strict=True):
                        sieve.drop(reason, dropped)
                    late += int(lost[BACKWARDS])
                    lost[:] = 0
                    if count and is_early:
                        first_us = min(first_us, int(events[0][:count].min()))
                    piece = Piece([column[:count] for column in events], before_us - LATE_US, int(state[NEWEST]))
                    yield piece, [edge[:edge_count] for edge in edges]
                    late = self._checked_clock(state, int(words[done - 1]), position, late) if late else 0
                if is_last:
                    sieve.drop("bytes of a last word cut off", size % item)
                else:
                    held = AHEAD * item
                    block[:held] = block[-held:]
        if mark.position == self._marks[0].position and self._index is None:
            last_us = int(state[NEWEST]) if total else 0
            self._index = Index(list(self._marks), total, first_us if total else 0, last_us)
            is_as_read = not self._clocks and self._stamp == stamp_of(self._path)
            if self.keeps_index and self._stamp and self._stamp.size >= SAVED_BYTES and is_as_read:
                save_index(self._path, self._stamp, self._index, limits_hw=self._limits_hw)

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
        if not self._joins_clocks:
            raise InputError(
                f"{self._path} must have one clock, and it begins anew {told}. seqdet convert writes it with times "
                "that go on, by --join-clocks, or what comes before, by --duration-us."
            )
        self._clocks.append(
            f"the clock begins anew {told}, and times from there on are made {newest_us - now_us:,} us later"
        )
        self._go_on(state, newest_us - now_us)
        return 0


def _trigger_columns(length: int) -> list[np.ndarray]:
    return [np.empty(length, dtype) for dtype in (np.int64, np.uint8, np.uint8)]
