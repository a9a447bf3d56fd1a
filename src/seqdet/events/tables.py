"""Recordings as tables of numbers: npy, npz, text, and the 5-byte records of N-MNIST.

A record of N-MNIST and N-Caltech101 is x, y, and 3 bytes, big endian: p << 23 | microseconds. One with y = 240
is no event: 8192 us are to be added to all times after it. Source: https://www.garrickorchard.com/datasets/n-mnist.
The others: see ``npy`` and ``text``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ..checks import InputError
from .array import Events, Triggers
from .gathering import gathered
from .npy import ZIP_DAMAGE, RowPieces, npy_pieces, npz_pieces
from .rows import Meaning, Pieces
from .sieve import JITTER_US, Sieve
from .spans import end_span_us
from .text import text_pieces
from .time_units import Unit

RECORDS = 1 << 17  # of a piece
RECORD_BYTES = 5
LOOKED_AT, MOST = 1 << 12, 0.9  # records that tell whether they are some, and the share of them that has to
OVERFLOW_Y, OVERFLOW_US = 240, 1 << 13


def open_table(
    path: Path,
    *,
    size_hw: tuple[int, int] | None = None,
    strict: bool = False,
    joins_clocks: bool = False,
    time_unit: Unit | None = None,
) -> TableSource:
    """A recording in npy, npz, N-MNIST's .bin (known by its suffix) or text.

    Args:
        path: of the file.
        size_hw: height and width of the sensor, where it is not that of the file; npz and text may say it.
        strict: raise where something would be left out.
        joins_clocks: go on in time where the clock of the camera begins anew, see ``Sieve``.
        time_unit: of the times, where the file does not say.

    Raises:
        InputError: if ``path`` cannot be read or holds no events.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(6)
        stored_hw: tuple[int, int] | None = None
        pieces: Pieces | RowPieces
        if magic == b"\x93NUMPY":
            form, pieces = "npy", npy_pieces(path, time_unit)
            meaning = pieces.meaning
        elif magic.startswith(b"PK"):
            form, (pieces, stored_hw) = "npz", npz_pieces(path, time_unit)
            meaning = pieces.meaning
        elif path.suffix.lower() == ".bin":
            form, pieces, meaning = "N-MNIST", _record_pieces(path), Meaning()
        else:
            form, (pieces, meaning, stored_hw) = "text", text_pieces(path, time_unit)
    except (*ZIP_DAMAGE, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a readable table of events: {error}.") from error
    new_sieve = partial(Sieve, path, strict=strict, joins_clocks=joins_clocks)
    return TableSource(form, stored_hw or size_hw, pieces, meaning, new_sieve)


class TableSource:
    """A ``Source`` of a table; ``open_table`` makes it."""

    def __init__(
        self,
        form: str,
        size_hw: tuple[int, int] | None,
        pieces: Pieces | RowPieces,
        meaning: Meaning,
        new_sieve: Callable[[tuple[int, int] | None], Sieve],
    ) -> None:
        self.format, self.size_hw, self.time_unit = form, size_hw, meaning.unit
        self._pieces, self._meaning, self._of_size = pieces, meaning, new_sieve
        self._sieve = self._new_sieve()

    @property
    def dropped(self) -> Counter[str]:
        """What the latest pass over ``chunks`` left out."""
        return self._sieve.dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """What its numbers are taken for, and what the latest pass noticed."""
        return (*self._meaning.notes, *self._sieve.notes)

    @property
    def is_indexed(self) -> bool:
        """Of npy: its rows can be found by their number."""
        return isinstance(self._pieces, RowPieces) and self._pieces.can_seek

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events in the order of the file; pieces before ``start_us`` are left out, of npy without being read."""
        self._sieve = sieve = self._new_sieve()
        first = 0
        if start_us is not None and isinstance(self._pieces, RowPieces) and self._pieces.can_seek:
            numbers = range(self._pieces.count)
            first = max(bisect_left(numbers, start_us - JITTER_US, key=self._pieces.first_time_us) - 1, 0)
        for events in self._sifted(first, sieve):
            if len(events) and (start_us is None or events.t.max() >= start_us):
                yield events

    def read(self, start_us: int, end_us: int) -> Events:
        """The events with times in ``[start_us, end_us)``, in the order of the file."""
        return gathered(self.chunks(start_us), start_us, end_us)

    def span_us(self) -> tuple[int, int] | None:
        """By a whole pass; of npy from both ends."""
        count = self._pieces.count if isinstance(self._pieces, RowPieces) and self._pieces.can_seek else 1
        return end_span_us(self._sifted, count, self._new_sieve)

    def triggers(self) -> Triggers:
        """None: tables have none."""
        return Triggers(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.uint8))

    def close(self) -> None:
        """Nothing to do: the file is open during a pass only."""

    def _new_sieve(self) -> Sieve:
        return self._of_size(self.size_hw)

    def _sifted(self, first: int, sieve: Sieve) -> Iterator[Events]:
        pieces = self._pieces.read(first, sieve) if isinstance(self._pieces, RowPieces) else self._pieces(sieve)
        return sieve.passed(pieces)


def _are_records(records: np.ndarray) -> bool:
    """Whether the first records have rows that sensors of that format have, and rising times."""
    t = (records[:, 2] & 0x7F).astype(np.int64) << 16 | records[:, 3].astype(np.int64) << 8 | records[:, 4]
    is_overflow = records[:, 1] == OVERFLOW_Y
    t += OVERFLOW_US * np.cumsum(is_overflow)
    steps = np.diff(t[~is_overflow])
    return bool((records[:, 1] <= OVERFLOW_Y).mean() >= MOST and (not len(steps) or (steps >= 0).mean() >= MOST))


def _record_pieces(path: Path) -> Pieces:
    if path.stat().st_size < RECORD_BYTES:
        raise InputError(f"{path} must hold records of {RECORD_BYTES} bytes, got {path.stat().st_size} bytes.")
    with path.open("rb") as file:
        rows = np.frombuffer(file.read(LOOKED_AT * RECORD_BYTES), np.uint8)
    if not _are_records(rows[: len(rows) // RECORD_BYTES * RECORD_BYTES].reshape(-1, RECORD_BYTES)):
        raise InputError(
            f"{path} must hold records as N-MNIST has them, as its name ends in .bin: x, y and 3 bytes of polarity and "
            "time, and its times do not rise. If it is of another format, name it by the ending of that."
        )

    def pieces(sieve: Sieve) -> Iterator[Events]:
        overflow_us = 0
        with path.open("rb") as file:
            while content := file.read(RECORDS * RECORD_BYTES):
                records = np.frombuffer(content, np.uint8, len(content) // RECORD_BYTES * RECORD_BYTES).reshape(-1, 5)
                sieve.drop("bytes of a last record cut off", len(content) % RECORD_BYTES)
                is_overflow = records[:, 1] == OVERFLOW_Y
                x, y, high, middle, low = records.T.astype(np.int64)
                t = (high & 0x7F) << 16 | middle << 8 | low
                t += overflow_us + OVERFLOW_US * np.cumsum(is_overflow)
                overflow_us += OVERFLOW_US * int(is_overflow.sum())
                events = Events(t, x.astype(np.uint16), y.astype(np.uint16), (high >> 7).astype(np.uint8))
                yield events[~is_overflow]

    return pieces
