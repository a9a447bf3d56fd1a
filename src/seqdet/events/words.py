"""Recordings made of words of one size: read in blocks and decoded by a kernel that takes and returns its state."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .array import COLUMNS, Events, Triggers
from .headers import Header
from .sieve import NEVER, Sieve

BLOCK_BYTES = 1 << 20  # of the file at a time
CHUNK_EVENTS = 1 << 18
SLACK = 32  # a word can add so many
CHUNK_TRIGGERS = 1 << 12
MARK_BYTES = 1 << 21  # between two entries of the index

REASONS = ("words before the first time", "events outside the sensor", "events running back in time")
EARLY, OUTSIDE, BACKWARDS = range(len(REASONS))
NEWEST = 0  # the place in a kernel's state of the greatest event time so far


class Mark(NamedTuple):
    """A place from which decoding can go on: byte, the greatest event time before it, and the state of the kernel."""

    position: int
    latest_us: int
    state: np.ndarray


class WordSource:
    """A `Source` of a file that is a header and words.

    Args:
        decode: ``decode(words, state, lost, height, width, *event_columns, *trigger_columns)`` decodes words until they
            end or a column is full and returns how many words, events and triggers those were. It keeps what it has to
            remember in ``state``, int64, and adds to ``lost``, one count for each of ``REASONS``.
        state: before the first word; ``state[NEWEST]`` is NEVER.
        offset: the byte where the words begin.
        largest: how many columns and rows the format can address; a greater size in the header is not believed.
    """

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
    ) -> None:
        self._path, self._strict = path, strict
        self._word, self._decode = np.dtype(word), decode
        self.format = format
        self.size_hw = header.size_hw(largest)
        self._has_false_size = self.size_hw is None and header.states_size
        self._limits_hw = self.size_hw or (largest, largest)
        self._marks = [Mark(offset, NEVER, state)]
        self._sieve = self._new_sieve()

    @property
    def dropped(self) -> Counter[str]:
        """What the latest pass over ``chunks`` left out."""
        return self._sieve.dropped

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events in the order of the file, at most ``CHUNK_EVENTS`` at a time; see `Source`.

        What was passed once is indexed: the next pass with ``start_us`` begins shortly before it.
        """
        self._sieve = self._new_sieve()
        start = NEVER if start_us is None else start_us
        mark = self._marks[max(bisect_left(self._marks, start, key=lambda each: each.latest_us) - 1, 0)]
        for columns, _, newest in self._pieces(mark, self._sieve):
            if newest >= start and len(columns[0]):
                yield Events(*(column.copy() for column in columns))

    def triggers(self) -> Triggers:
        """All edges on the trigger inputs, found by a pass over the file."""
        pieces = [
            [column.copy() for column in triggers]
            for _, triggers, _ in self._pieces(self._marks[0], self._new_sieve())
            if len(triggers[0])
        ]
        columns = _trigger_columns(0)
        return Triggers(*map(np.concatenate, zip(*pieces, strict=True))) if pieces else Triggers(*columns)

    def close(self) -> None:
        """Nothing to do: the file is open during a pass only."""

    def _new_sieve(self) -> Sieve:
        sieve = Sieve(self._path, self.size_hw, strict=self._strict)
        sieve.drop("sensor sizes that cannot be, in the header", int(self._has_false_size))
        return sieve

    def _pieces(self, mark: Mark, sieve: Sieve) -> Iterator[tuple[list[np.ndarray], list[np.ndarray], int]]:
        """Columns of events and of triggers, valid until the next piece, and the greatest event time so far."""
        events = [np.empty(CHUNK_EVENTS + SLACK, dtype) for dtype in COLUMNS.values()]
        edges = _trigger_columns(CHUNK_TRIGGERS)
        block = np.empty(max(BLOCK_BYTES // self._word.itemsize, 1) * self._word.itemsize, np.uint8)
        position, state, lost = mark.position, mark.state.copy(), np.zeros(len(REASONS), np.int64)
        with self._path.open("rb") as file:
            file.seek(position)
            while size := file.readinto(block.data):
                whole = size - size % self._word.itemsize
                sieve.drop("bytes of a last word cut off", size - whole)
                words = block[:whole].view(self._word)
                while True:
                    if position >= self._marks[-1].position + MARK_BYTES:
                        self._marks.append(Mark(position, int(state[NEWEST]), state.copy()))
                    read, count, edge_count = self._decode(words, state, lost, *self._limits_hw, *events, *edges)
                    position += read * self._word.itemsize
                    words = words[read:]
                    for reason, dropped in zip(REASONS, lost.tolist(), strict=True):
                        sieve.drop(reason, dropped)
                    lost[:] = 0
                    yield [column[:count] for column in events], [edge[:edge_count] for edge in edges], state[NEWEST]
                    if not len(words):
                        break


def _trigger_columns(length: int) -> list[np.ndarray]:
    return [np.empty(length, dtype) for dtype in (np.int64, np.uint8, np.uint8)]
