"""The inner loops of the noise filters: which events of a piece pass, and what is remembered for the next piece.

The age of an event is the distance between two times, whichever is greater: so a jitter does no harm, and neither does
a clock that begins anew. Cells are unsigned and decisions are numbers: no branch is mispredicted, and no index is tried
for being negative, which makes twice the speed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NEVER = -(1 << 61)
"""The time of the latest event where there was none: ages away from all others, and its quadruple is an int64."""


@njit(nogil=True, cache=True)
def activity(t, x, y, p, last, width, threshold, kept):
    """``last`` has a rim of one pixel: the time of the latest event next to a pixel."""
    across, one, two = np.uint64(width + 2), np.uint64(1), np.uint64(2)
    for i in range(len(t)):
        time = t[i]
        above = np.uint64(y[i]) * across + np.uint64(x[i])
        here = above + across
        below = here + across
        kept[i] = abs(time - last[here + one]) <= threshold
        last[above] = time
        last[above + one] = time
        last[above + two] = time
        last[here] = time
        last[here + two] = time
        last[below] = time
        last[below + one] = time
        last[below + two] = time


@njit(nogil=True, cache=True)
def trail(t, x, y, p, last, width, threshold, kept):
    """``last`` is time * 4 + polarity of the latest event of a pixel."""
    across = np.uint64(width)
    for i in range(len(t)):
        sign = np.int64(p[i])
        cell = np.uint64(y[i]) * across + np.uint64(x[i])
        is_other = (last[cell] ^ sign) & 1
        is_old = np.int64(abs(t[i] - (last[cell] >> 2)) >= threshold)
        kept[i] = is_other | is_old
        last[cell] = (t[i] << 2) | sign


@njit(nogil=True, cache=True)
def contrast(t, x, y, p, last, width, threshold, kept):
    """``last`` is as in ``trail``, plus 2 where an event of this polarity has passed since the other one."""
    across = np.uint64(width)
    for i in range(len(t)):
        sign = np.int64(p[i])
        cell = np.uint64(y[i]) * across + np.uint64(x[i])
        before = last[cell]
        is_same = 1 ^ ((before ^ sign) & 1)
        is_cut = is_same & (before >> 1)
        follows = is_same & np.int64(abs(t[i] - (before >> 2)) <= threshold)
        last[cell] = (t[i] << 2) | ((follows | is_cut) << 1) | sign
        kept[i] = follows > is_cut


@njit(nogil=True, cache=True)
def contrast_with_trail(t, x, y, p, last, width, threshold, kept):
    """``last`` is as in ``trail``."""
    across = np.uint64(width)
    for i in range(len(t)):
        sign = np.int64(p[i])
        cell = np.uint64(y[i]) * across + np.uint64(x[i])
        is_same = 1 ^ ((last[cell] ^ sign) & 1)
        kept[i] = is_same & np.int64(abs(t[i] - (last[cell] >> 2)) <= threshold)
        last[cell] = (t[i] << 2) | sign


@njit(nogil=True, cache=True)
def chosen(column, kept, count):
    """The ``count`` entries that are kept: many times as fast as a mask of numpy, whose branches are mispredicted."""
    out = np.empty(count + 1, column.dtype)  # one more, for those behind the last that are written over each other
    place = np.uint64(0)
    for i in range(len(column)):
        out[place] = column[i]
        place += np.uint64(kept[i])
    return out[:count]
