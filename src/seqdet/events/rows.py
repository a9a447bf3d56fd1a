"""Columns of numbers of any type and name, to events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from .array import Events
from .sieve import LARGEST, LATEST_US, Sieve

Pieces = Callable[[Sieve], Iterator[Events]]  # one pass over a file
NAMES = {
    "t": {"t", "ts", "time", "times", "timestamp", "timestamps", "t_us", "timestamp_us"},
    "x": {"x", "xs", "x_coordinate"},
    "y": {"y", "ys", "y_coordinate"},
    "p": {"p", "ps", "pol", "polarity", "polarities", "on"},
}
SECOND_US = 1_000_000


def column_names(names: Iterable[str]) -> dict[str, str]:
    """Which of ``names`` are t, x, y and p; empty unless each is found once."""
    found = {ours: [name for name in names if name.strip().lower() in usual] for ours, usual in NAMES.items()}
    return {ours: theirs[0] for ours, theirs in found.items()} if all(len(each) == 1 for each in found.values()) else {}


def time_unit_us(t: np.ndarray) -> int:
    """Microseconds in the unit of ``t``: a second if a time has a fraction, otherwise a microsecond."""
    if t.dtype.kind != "f":
        return 1
    finite = t[np.isfinite(t)]
    return SECOND_US if np.any(finite != np.floor(finite)) else 1


def sound_events(fields: Mapping[str, np.ndarray], unit_us: int, sieve: Sieve) -> Events:
    """Events of the rows whose numbers can be; the sieve counts the others. A polarity of -1 counts as 0.

    Args:
        fields: t, x, y, p, (N,) of integers, floating numbers or booleans.
        unit_us: what one unit of ``t`` is in microseconds; only floating numbers have other units than 1.
    """
    t, x, y, p = (fields[name] for name in "txyp")
    if t.dtype.kind == "f":
        t = np.rint(t.astype(np.float64) * unit_us)
    is_sound = np.ones(len(t), np.bool_)
    for column, least, most in ((t, -LATEST_US, LATEST_US), (x, 0, LARGEST - 1), (y, 0, LARGEST - 1), (p, -1, 1)):
        is_sound &= (column >= least) & (column <= most)
        if column.dtype.kind == "f":
            is_sound &= column == np.floor(column)
    sieve.drop("rows that are no event", len(t) - int(is_sound.sum()))
    t, x, y, p = (column if is_sound.all() else column[is_sound] for column in (t, x, y, p))
    return Events(t.astype(np.int64), x.astype(np.uint16), y.astype(np.uint16), (p > 0).astype(np.uint8))
