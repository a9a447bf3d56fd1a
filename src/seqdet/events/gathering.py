"""A stretch of a recording as whole columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import NamedTuple, Protocol

import numpy as np

from .array import COLUMNS, Events
from .sieve import JITTER_US

Room = Callable[[float], list[np.ndarray]]
"""Gives columns t, x, y, p to decode the next piece into; asked with the share of the file, 0 to 1, that was read."""

LATE_US = JITTER_US + 64  # behind another one; EVT2 asks for all events of 64 us at once whether they are too late
SPARE = 1.05  # how much more room is made than seems to be needed
LEAST_SHARE = 1 / 1024  # from which so much is foreseen


class Piece(NamedTuple):
    """Columns t, x, y, p, decoded into a ``Room``; no event in them is before ``least_us`` or after ``newest_us``."""

    columns: list[np.ndarray]
    least_us: int
    newest_us: int


class Decoding(Protocol):
    """The pieces of a recording, decoded into the room that they ask for; ``close`` ends that early."""

    def __iter__(self) -> Decoding: ...

    def __next__(self) -> Piece: ...

    def close(self) -> None: ...


def decoded(decoding: Callable[[Room], Decoding], start_us: int, end_us: int, *, piece: int) -> Events:
    """The events with times in ``[start_us, end_us)``, decoded where they stay.

    Memory is that of the events, some percent more while they come, and of a piece at either end: how many there will
    be is foreseen from the share of the file that those so far took, and from their share of the time.

    Args:
        decoding: decodes the pieces.
        piece: for how many events there has to be room.
    """
    whole, count = new_columns(piece), 0
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
    """The events of the pieces with times in ``[start_us, end_us)``, one after the other."""
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
