"""Events and trigger edges as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from ..checks import InputError, check_choice

COLUMNS = {"t": np.dtype(np.int64), "x": np.dtype(np.uint16), "y": np.dtype(np.uint16), "p": np.dtype(np.uint8)}


@dataclass(frozen=True)
class Events:
    """Brightness changes, one entry each, in the order in which the sensor sent them.

    t: (N,) int64, microseconds. x, y: (N,) uint16, pixels from the left and the top. p: (N,) uint8, 1 for brighter.
    Times rise up to a jitter of some microseconds within a recording.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray

    def __post_init__(self) -> None:
        for name, dtype in COLUMNS.items():
            column = getattr(self, name)
            if not isinstance(column, np.ndarray) or column.ndim != 1 or column.dtype != dtype:
                kind = f"{column.dtype} {column.shape}" if isinstance(column, np.ndarray) else type(column).__name__
                raise InputError(f"{name} must be an array (N,) of {dtype}, got {kind}.")
            if len(column) != len(self.t):
                raise InputError(f"{name} must be as long as t, {len(self.t)}, got {len(column)}.")

    def __len__(self) -> int:
        return len(self.t)

    @overload
    def __getitem__(self, index: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice | np.ndarray) -> Events: ...

    def __getitem__(self, index: str | slice | np.ndarray) -> np.ndarray | Events:
        """A column by its name, as of an array with fields; or the events that a slice, a mask or indices choose.

        Columns and what a slice chooses are views.

        Raises:
            InputError: if there is no such column.
        """
        if isinstance(index, str):
            check_choice(index, COLUMNS, "column")
            return getattr(self, index)
        return Events(self.t[index], self.x[index], self.y[index], self.p[index])

    def in_order(self) -> Events:
        """The events sorted by time, those of equal times in their order; the same ones where they are so already."""
        if (self.t[1:] >= self.t[:-1]).all():
            return self
        return self[np.argsort(self.t, kind="stable")]

    def later(self, step_us: int) -> Events:
        """The events with so much added to their times."""
        return Events(self.t + step_us, self.x, self.y, self.p) if step_us else self

    @classmethod
    def of(cls, rows: Any) -> Events:
        """Events from an array (N,) with the fields t, x, y and p of any number types, such as the vendor's EventCD.

        Events stay as they are.

        Raises:
            InputError: if there are no such fields, or a value does not fit its column.
        """
        if isinstance(rows, Events):
            return rows
        fields = rows.dtype.names if isinstance(rows, np.ndarray) else None
        if not set(COLUMNS) <= set(fields or ()):
            got = f"an array of {rows.dtype}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise InputError(f"events must be Events or an array with the fields t, x, y and p, got {got}.")
        return columns(**{name: rows[name] for name in COLUMNS})

    @classmethod
    def empty(cls) -> Events:
        """No events."""
        return cls(*(np.zeros(0, dtype) for dtype in COLUMNS.values()))

    @classmethod
    def concatenate(cls, parts: Sequence[Events]) -> Events:
        """All events of ``parts``, one after the other."""
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS))


@dataclass(frozen=True)
class Triggers:
    """Edges on the external trigger inputs: t (N,) int64 microseconds, channel (N,) uint8, p (N,) uint8, 1 rising."""

    t: np.ndarray
    channel: np.ndarray
    p: np.ndarray

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, index: slice | np.ndarray) -> Triggers:
        """The edges that a slice, a mask or indices choose."""
        return Triggers(self.t[index], self.channel[index], self.p[index])

    @classmethod
    def of(cls, *, t: np.ndarray, channel: np.ndarray, p: np.ndarray) -> Triggers:
        """Edges from columns (N,) of any integers."""
        return cls(t.astype(np.int64), channel.astype(np.uint8), p.astype(np.uint8))

    @classmethod
    def empty(cls, length: int = 0) -> Triggers:
        """No edges; or room for so many, with whatever is in its memory."""
        return cls(np.empty(length, np.int64), np.empty(length, np.uint8), np.empty(length, np.uint8))

    @classmethod
    def concatenate(cls, parts: Sequence[Triggers]) -> Triggers:
        """All edges of ``parts``, one after the other."""
        parts = [cls.empty(), *parts]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("t", "channel", "p")))


def columns(*, t: Any, x: Any, y: Any, p: Any) -> Events:
    """Events from columns of any number type; a ``p`` of -1 counts as 0, booleans as numbers.

    Raises:
        InputError: if a value does not fit its column.
    """
    arrays = {"t": np.asarray(t), "x": np.asarray(x), "y": np.asarray(y), "p": np.asarray(p)}
    arrays["p"] = (arrays["p"] > 0).astype(np.uint8)
    for name, array in arrays.items():
        limits = np.iinfo(COLUMNS[name])
        if array.size and not (limits.min <= array.min() and array.max() <= limits.max):
            raise InputError(f"{name} must lie in {limits.min} to {limits.max}, got {array.min()} to {array.max()}.")
    return Events(**{name: np.ascontiguousarray(array, COLUMNS[name]) for name, array in arrays.items()})
