"""Which of four columns without names is the time, and which the polarity."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np

from ..checks import InputError
from .rows import find_polarities

USUAL = "txyp"
WANTED = (
    "Columns without names are t x y p, x y t p or x y p t. For another order give text a first line that names these "
    "columns in their order, and an array fields of these names."
)
LARGEST_POLARITY = 255
FEW_ROWS = 20
"""Fewer can rise by chance: they are t x y p if they can be."""
LARGEST = 1 << 16
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
        return USUAL
    orders = [
        _named(t, p)
        for t, p in permutations(range(4), 2)
        if t in grow and kinds[p] == max(kinds) > NONE and all(n in places for n in range(4) if n not in (t, p))
    ]
    if USUAL in orders or (can_be_usual and not orders):
        return USUAL
    if len(orders) == 1:
        return orders[0]
    found = f"several orders, {', '.join(' '.join(order) for order in orders)}, would do" if orders else "none would do"
    raise InputError(f"{path} must have four columns of which one alone can be the time, and {found}. {WANTED}")


def order_note(order: str) -> str:
    """What is to be said about an order; nothing about the usual one."""
    return "" if order == USUAL else f"columns are taken in the order {' '.join(order)}"


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
    can_be = (column >= 0) & (column < LARGEST) & (column == np.floor(column))
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
