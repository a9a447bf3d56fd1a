"""Which column of a table without names is which."""

from __future__ import annotations

import numpy as np

from .sieve import LARGEST

ORDERS = ("txyp", "xypt", "xytp")
"""The usual one, that of the vendor's CSV, and that of MVSEC."""
LEAST_ROWS = 4
MOST = 0.9  # of the rows, for some may be damaged


def column_order(rows: np.ndarray) -> str:
    """The order of the columns, one of ``ORDERS``, by what the first rows of a table hold.

    It is the usual one unless that cannot be and another one is certain: one column alone rises, and is the time there.

    Args:
        rows: (N, 4) numbers.
    """
    if len(rows) < LEAST_ROWS:
        return ORDERS[0]
    rising = [_share(np.diff(column) >= 0) for column in rows.T]
    for order in ORDERS:
        columns = dict(zip(order, rows.T, strict=True))
        pixels_rise = max(rising[order.index(name)] for name in "xy") >= MOST
        is_certain = order == ORDERS[0] or not pixels_rise
        if is_certain and rising[order.index("t")] >= MOST and _can_be(columns):
            return order
    return ORDERS[0]


def _can_be(columns: dict[str, np.ndarray]) -> bool:
    """Whether most rows have pixels and polarities where they should be."""
    x, y, p = (columns[name] for name in "xyp")
    are_pixels = (x >= 0) & (x < LARGEST) & (x == np.floor(x)) & (y >= 0) & (y < LARGEST) & (y == np.floor(y))
    return _share(are_pixels & np.isin(p, (-1, 0, 1))) >= MOST


def _share(are_so: np.ndarray) -> float:
    return float(are_so.mean())
