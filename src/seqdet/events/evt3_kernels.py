"""Decoder of the words of EVT3, after https://docs.prophesee.ai/stable/data/encoding_formats/evt3.html.

What the page leaves open is as real files need it, besides what ``evt_kernels`` says: a new high part of the time sets
the low one to zero; the low one may go back by some microseconds; masks are decoded word by word, since groups of 12,
12 and 8 pixels can be incomplete.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .evt_kernels import (
    COLUMN,
    EPOCH,
    HIGH,
    LOW,
    OPTION,
    POLARITY,
    ROW,
    STRAY,
    UNSET,
    is_astray,
    lowest_place,
    new_epoch,
)
from .sieve import JITTER_US
from .words import ASTRAY, BACKWARDS, EARLY, NEWEST, OUTSIDE, SLACK


@njit(nogil=True, cache=True)
def decode_evt3(words, stop, ahead, state, lost, height, width, t, x, y, p, edge_t, edge_channel, edge_p):
    """A 16-bit word: type 4 bits, value 12.

    Types: 0 row, 2 an event by its column (and polarity in bit 11), 3 column and polarity for masks, 4 mask of 12
    pixels, 5 mask of 8, 6 time below 4096 us, 8 time above, 10 trigger.
    """
    room, edge_room = len(t) - SLACK, len(edge_t)
    i = count = edges = 0
    newest, epoch, high, low = state[NEWEST], state[EPOCH], state[HIGH], state[LOW]
    row, column, polarity, stray = state[ROW], state[COLUMN], state[POLARITY], state[STRAY]
    if high == UNSET:
        while i < stop and words[i] >> 12 != 8:
            i += 1
        lost[EARLY] += i
        if i < stop and state[OPTION]:
            epoch = -(((np.int64(words[i]) & 0xFFF) - 1) << 12)
    now = epoch + (high << 12) + low
    timed = count  # how many events there were when the time last changed
    in_order = not stray and now >= newest - JITTER_US
    late = ASTRAY if stray else BACKWARDS
    usable = in_order and 0 <= row < height
    while i < stop and count < room and edges < edge_room:
        word = np.int64(words[np.uint64(i)])
        kind, value = word >> 12, word & 0xFFF
        i += 1
        if kind == 2:
            if usable and value & 0x7FF < width:
                at = np.uint64(count)
                t[at], x[at], y[at], p[at] = now, value & 0x7FF, row, value >> 11
                count += 1
            else:
                lost[late if not in_order else EARLY if row == UNSET else OUTSIDE] += 1
        elif kind == 4 or kind == 5:
            mask = value if kind == 4 else value & 0xFF
            while mask:
                place = column + lowest_place(mask)
                mask &= mask - 1
                if usable and place < width:
                    at = np.uint64(count)
                    t[at], x[at], y[at], p[at] = now, place, row, polarity
                    count += 1
                else:
                    lost[late if not in_order else EARLY if row == UNSET else OUTSIDE] += 1
            column += 12 if kind == 4 else 8
        elif kind == 0:
            row = value & 0x7FF
            usable = in_order and row < height
        elif kind == 3:
            column, polarity = value & 0x7FF, value >> 11
        elif kind == 6 or (kind == 8 and (value != high or stray)):
            if count > timed:
                newest = max(newest, now)
                timed = count
            if kind == 6:
                low = value
            else:
                stray = high != UNSET and is_astray(words, i, ahead, 0, 12, 4096, high, value)
                late = ASTRAY if stray else BACKWARDS
                if not stray and value != high:
                    epoch = new_epoch(epoch, high, value, 12, 4096) if high != UNSET else epoch
                    high, low = value, 0
            now = epoch + (high << 12) + low
            in_order = not stray and now >= newest - JITTER_US
            usable = in_order and 0 <= row < height
        elif kind == 10 and stray:
            lost[ASTRAY] += 1
        elif kind == 10:
            edge_t[edges], edge_channel[edges], edge_p[edges] = now, value >> 8, value & 1
            edges += 1
    if count > timed:
        newest = max(newest, now)
    state[NEWEST], state[EPOCH], state[HIGH], state[LOW] = newest, epoch, high, low
    state[ROW], state[COLUMN], state[POLARITY], state[STRAY] = row, column, polarity, stray
    return i, count, edges
