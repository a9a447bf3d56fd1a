"""Columns of numbers of any type and name, to events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .array import Events
from .polarities import Polarities, find_polarities, telling
from .sieve import LARGEST, Sieve
from .time_units import MICROSECONDS, TimeUnit, Unit, find_unit, is_time_name

Pieces = Callable[[Sieve], Iterator[Events]]  # one pass over a file
NAMES = {
    "x": {"x", "xs", "x_coordinate"},
    "y": {"y", "ys", "y_coordinate"},
    "p": {"p", "ps", "pol", "polarity", "polarities", "on"},
}


class Meaning(NamedTuple):
    """What the numbers of a recording mean, as its first events tell.

    columns_note: what is to be said about which column is which.
    """

    unit: TimeUnit = MICROSECONDS
    polarities: Polarities = Polarities()
    columns_note: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said about it."""
        return tuple(note for note in (self.columns_note, self.unit.note, self.polarities.note) if note)


def column_names(names: Iterable[str]) -> dict[str, str]:
    """Which of ``names`` are t, x, y and p; empty unless each is found once."""
    found = {"t": [name for name in names if is_time_name(name)]}
    found |= {ours: [name for name in names if name.strip().lower() in usual] for ours, usual in NAMES.items()}
    return {ours: theirs[0] for ours, theirs in found.items()} if all(len(each) == 1 for each in found.values()) else {}


def find_meaning(
    fields: Mapping[str, np.ndarray],
    path: Path,
    *,
    later: Iterable[Mapping[str, np.ndarray]] = (),
    time_name: str = "",
    time_unit: Unit | None = None,
    note: str = "",
) -> Meaning:
    """What the numbers mean, by the first events of a recording.

    Args:
        fields: t, x, y, p, (N,) each.
        path: of the recording, for messages.
        later: the events after those, in pieces; asked for while all polarities are the same.
        time_name: what the column of the times is called.
        time_unit: their unit, as the user states it.
        note: what is to be said about which column is which.

    Raises:
        InputError: as ``find_unit`` and ``find_polarities``.
    """
    unit = find_unit(fields["t"], path, name=time_name, stated=time_unit)
    parts = (each["p"][_can_be(each, unit)] for each in chain([fields], later))
    return Meaning(unit, find_polarities(telling(parts), path), note)


def sound_events(fields: Mapping[str, np.ndarray], meaning: Meaning, sieve: Sieve) -> Events:
    """Events of the rows whose numbers can be; the sieve counts the others.

    Args:
        fields: t, x, y, p, (N,) of integers, floating numbers or booleans.
        meaning: of their numbers.
        sieve: of this pass.

    Raises:
        InputError: if polarities are others than at the start of the recording.
    """
    t, x, y, p = (fields[name] for name in "txyp")
    is_sound = _can_be(fields, meaning.unit)
    others = p if is_sound.all() else p[is_sound]
    if not meaning.polarities.knows_all(others):
        meaning.polarities.check(others, sieve.path)
        is_sound &= meaning.polarities.known(p)
    if count := len(t) - int(is_sound.sum()):
        sieve.drop("rows that are no event", count)
        t, x, y, p = (column[is_sound] for column in (t, x, y, p))
    t = meaning.unit.to_us(t)
    return Events(t, x.astype(np.uint16), y.astype(np.uint16), meaning.polarities.brighter(p))


def _can_be(fields: Mapping[str, np.ndarray], unit: TimeUnit) -> np.ndarray:
    """(N,) bool, whose time and place can be."""
    can_be = np.ones(len(fields["t"]), np.bool_)
    for name, least, most in (("t", -unit.limit, unit.limit), ("x", 0, LARGEST - 1), ("y", 0, LARGEST - 1)):
        column = fields[name]
        are_whole = column.dtype.kind != "f" or name == "t"
        with np.errstate(invalid="ignore"):
            if are_whole and (not len(column) or (least <= column.min() and column.max() <= most)):
                continue  # the usual case, and quicker than to ask each
            can_be &= (column >= least) & (column <= most)
            if not are_whole:
                can_be &= column == np.floor(column)
    return can_be
