"""Columns of numbers of any type and name, to events: which column is which, and what its numbers mean.

Of four columns without names the time is the only one that grows, the polarity the only one of two numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, islice, permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import LARGEST_SIDE, InputError
from .array import Events
from .sieve import Sieve
from .time_units import MICROSECONDS, TimeUnit, Unit, find_unit, is_time_name

NAMES = {
    "x": {"x", "xs", "x_coordinate"},
    "y": {"y", "ys", "y_coordinate"},
    "p": {"p", "ps", "pol", "polarity", "polarities", "on"},
}
USUAL_POLARITIES = (-1.0, 0.0, 1.0)
"""Polarities."""
RARE = 0.01
"""A value that so small a share of the events has may be damage."""
FEW = 10
"""So many events with other values than the two are damage, whatever their share."""
MINUS_ONE = 255.0
"""What -1 becomes in a byte without sign."""
MOST_PIECES = 32
"""So many pieces of a recording are looked at for a second polarity."""


class Polarities(NamedTuple):
    """Two numbers for darker and brighter; None where they are 0 or -1 for darker and 1 for brighter.

    is_second_alone: whether events have but the second of the two.
    """

    levels: tuple[float, float] | None = None
    is_second_alone: bool = False

    @property
    def note(self) -> str:
        """What is to be said about them; nothing if they are the usual ones."""
        if self.levels is None:
            return ""
        if self.is_second_alone:
            return f"the polarity {self.levels[1]:g}, which is alone, is taken for brighter"
        wrapped = ", as -1 and 1 are in bytes without sign" if self.levels[0] == MINUS_ONE else ""
        return f"polarities {self.levels[0]:g} and {self.levels[1]:g} are taken for darker and brighter{wrapped}"

    def known(self, p: np.ndarray) -> np.ndarray:
        """(N,) bool, which of the numbers are one of the two."""
        if self.levels is None and p.dtype.kind in "bu":
            return p <= 1
        if self.levels is None:
            return (p == 0) | (p == 1) | (p == -1)
        return (p == self.levels[0]) | (p == self.levels[1])

    def knows_all(self, p: np.ndarray) -> bool:
        """Whether all of the numbers are one of the two."""
        if self.levels is None and p.dtype.kind in "iu" and len(p):
            return bool(p.min() >= -1 and p.max() <= 1)  # quicker than to ask each
        return bool(self.known(p).all())

    def brighter(self, p: np.ndarray) -> np.ndarray:
        """(N,) uint8, 1 for brighter, of numbers that are known."""
        return (p > 0 if self.levels is None else p == self.levels[1]).astype(np.uint8)

    def check(self, p: np.ndarray, path: Path) -> None:
        """Raise ``InputError`` if too many of some later events have other numbers to be damage."""
        others = p[~self.known(p)]
        if len(others) > max(FEW, RARE * len(p)):
            two = "0 and 1 or -1 and 1" if self.levels is None else f"{self.levels[0]:g} and {self.levels[1]:g}"
            found = ", ".join(f"{value:g}" for value in np.unique(others)[:5])
            raise InputError(f"{path} must have two polarities, {two} as its first events have, and then has {found}.")


def telling(pieces: Iterable[np.ndarray]) -> np.ndarray:
    """Polarities (N,) of the first pieces that have two of them, each more often than damage; else of the last ones.

    Recordings may begin with minutes of one polarity, which alone does not tell what it means.

    Args:
        pieces: (N,) each, one after the other; of at most ``MOST_PIECES`` of them.
    """
    found = np.zeros(0)
    for piece in islice(pieces, MOST_PIECES):
        found = np.concatenate([found[-len(piece) :], piece]) if len(found) else piece
        rest = found[found != found[:1]] if piece.dtype.kind != "b" else found
        if min(len(rest), len(found) - len(rest)) > max(FEW, RARE * len(found)) or piece.dtype.kind == "b":
            break
    return found


def find_polarities(p: np.ndarray, path: Path) -> Polarities:
    """What the polarities of the first events mean.

    0 and 1, or -1 and 1, are darker and brighter, also where one of them alone is there; any other two numbers are so
    in their order, but a -1 of a byte without sign, which is 255 there, is darker than 1. A 2 alone is the brighter of
    1 and 2. A few other numbers among them are damage.

    Args:
        p: (N,) of events whose other numbers can be.
        path: of the recording, for the message.

    Raises:
        InputError: if there are more than two numbers, or one alone that is none of the usual ones.
    """
    if p.dtype.kind == "b" or not len(p):
        return Polarities()
    values, counts = np.unique(p[np.isfinite(p)], return_counts=True)
    seen = {float(value): int(count) for value, count in zip(values, counts, strict=True)}
    total = sum(seen.values())
    damage = max(FEW, RARE * len(p))
    usual = [pair for pair in ((0.0, 1.0), (-1.0, 1.0)) if set(seen) <= set(pair)]
    both = [pair for pair in ((0.0, 1.0), (-1.0, 1.0)) if set(pair) <= set(seen)]
    if usual or not total or any(total - seen[low] - seen[high] <= damage for low, high in both):
        return Polarities()
    common = sorted(seen, key=lambda value: (-seen[value], value not in USUAL_POLARITIES))[:2]
    if common[0] in USUAL_POLARITIES and total - seen[common[0]] <= RARE * total:
        return Polarities()
    if len(common) == 2 and total - sum(seen[value] for value in common) <= damage:
        low, high = sorted(common)
        return Polarities((high, low) if (low, high) == (1.0, MINUS_ONE) else (low, high))
    if common == [2.0]:
        return Polarities((1.0, 2.0), is_second_alone=True)
    found = ", ".join(f"{value:g}" for value in sorted(seen)[:5]) + (", ..." if len(seen) > 5 else "")
    raise InputError(
        f"{path} must have two polarities, such as 0 and 1, -1 and 1 or 1 and 2, and its first events have {found}. "
        "Is it another column?"
    )


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


PLAIN = Meaning()
"""Microseconds, and polarities of 0 or -1 for darker and 1 for brighter."""


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
    for name, least, most in (("t", -unit.limit, unit.limit), ("x", 0, LARGEST_SIDE - 1), ("y", 0, LARGEST_SIDE - 1)):
        column = fields[name]
        are_whole = column.dtype.kind != "f" or name == "t"
        with np.errstate(invalid="ignore"):
            if are_whole and (not len(column) or (least <= column.min() and column.max() <= most)):
                continue  # the usual case, and quicker than to ask each
            can_be &= (column >= least) & (column <= most)
            if not are_whole:
                can_be &= column == np.floor(column)
    return can_be


USUAL_ORDER = "txyp"
WANTED = (
    "Columns without names are t x y p, x y t p or x y p t. For another order give text a first line that names these "
    "columns in their order, and an array fields of these names."
)
LARGEST_POLARITY = 255
FEW_ROWS = 20
"""Fewer can rise by chance: they are t x y p if they can be."""
LATEST = 1e19
"""In any unit; rows with larger numbers tell nothing."""
NONE, OTHERS, USUAL_ONES = range(3)
RISING = 0.99
"""In the column of the time, so many steps at least do not go back."""
DRIFT = 0.95
"""Or else, its correlation with the number of the row is so large."""
LEAST_SPAN = 1e-9
"""Of times in any unit, from the least to the most; a correlation with less may underflow."""


def find_order(rows: np.ndarray, path: Path) -> str:
    """The order of the columns, as "txyp": x comes before y, as nothing tells them apart.

    The time is the only column that grows, the polarity the only one of two numbers, and the others could be places of
    pixels. Where t x y p would do it is taken.

    Args:
        rows: (N, 4) the first ones.
        path: of the recording, for the message.

    Raises:
        InputError: if no order would do, or several others.
    """
    rows = rows[(np.abs(rows.astype(np.float64)) <= LATEST).all(axis=1)]
    grow = [place for place in range(4) if _rises(rows[:, place])] or [n for n in range(4) if _drifts(rows[:, n])]
    places = [place for place in range(4) if _is_place(rows[:, place])]
    kinds = [_polarity_kind(rows[:, place], path) for place in range(4)]
    can_be_usual = {1, 2} <= set(places) and kinds[3] > NONE
    if len(rows) < FEW_ROWS and (can_be_usual or not len(rows)):
        return USUAL_ORDER
    orders = [
        _named(t, p)
        for t, p in permutations(range(4), 2)
        if t in grow and kinds[p] == max(kinds) > NONE and all(n in places for n in range(4) if n not in (t, p))
    ]
    if USUAL_ORDER in orders or (can_be_usual and not orders):
        return USUAL_ORDER
    if len(orders) == 1:
        return orders[0]
    found = f"several orders, {', '.join(' '.join(order) for order in orders)}, would do" if orders else "none would do"
    raise InputError(f"{path} must have four columns of which one alone can be the time, and {found}. {WANTED}")


def order_note(order: str) -> str:
    """What is to be said about an order; nothing about the usual one."""
    return "" if order == USUAL_ORDER else f"columns are taken in the order {' '.join(order)}"


def _named(t: int, p: int) -> str:
    """The order that has time and polarity in these places."""
    names = {t: "t", p: "p"}
    rest = iter("xy")
    return "".join(names[place] if place in names else next(rest) for place in range(4))


def _rises(column: np.ndarray) -> bool:
    """Whether it hardly ever goes back, and ends after its begin."""
    steps = np.diff(column.astype(np.float64))
    return len(steps) > 0 and bool((steps >= 0).mean() >= RISING) and column[-1] > column[0]


def _drifts(column: np.ndarray) -> bool:
    """Whether it grows on the whole, as times do whose single events come late."""
    column = column.astype(np.float64)
    if len(column) < 3 or np.ptp(column) < LEAST_SPAN:
        return False
    return bool(np.corrcoef(np.arange(len(column)), column)[0, 1] >= DRIFT)


def _is_place(column: np.ndarray) -> bool:
    """Whether most of its numbers can be those of rows or columns of pixels."""
    can_be = (column >= 0) & (column < LARGEST_SIDE) & (column == np.floor(column))
    return 2 * int(can_be.sum()) > len(column)


def _polarity_kind(column: np.ndarray, path: Path) -> int:
    """Whether a column can hold polarities, and the usual ones."""
    try:
        levels = find_polarities(column, path).levels
    except InputError:
        return NONE
    if levels is None:
        return USUAL_ONES
    return OTHERS if min(levels) >= -1 and max(levels) <= LARGEST_POLARITY else NONE
