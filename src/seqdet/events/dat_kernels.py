"""Decoder of the records of DAT: stretches of sound records by vector instructions, the others one by one.

Indices in the loops are unsigned, since numba asks of others whether they count from the end.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .sieve import JITTER_US, LEAP_US, NEVER, WITNESSES
from .words import ASTRAY, BACKWARDS, NEWEST, OUTSIDE, SLACK

EPOCH = 1  # the place in the state of the time of the counter's zero
LOOP_US = 1 << 32
STRETCH = 128  # records that are decoded together
FALL_US = JITTER_US // STRETCH  # time may go back by so much within them, again and again


@njit(nogil=True, cache=True)
def unwrapped(low, newest, epoch):
    """The time whose low 32 bits are given, and the time of the counter's zero, after an event at ``newest``."""
    time = epoch + low
    if time < newest - LOOP_US // 2:
        return time + LOOP_US, epoch + LOOP_US
    if newest > NEVER and time > newest + LOOP_US - JITTER_US:
        return time - LOOP_US, epoch  # late, from before the loop
    return time, epoch


@njit(nogil=True, cache=True)
def _is_astray(words, start, ahead, time, newest, epoch):
    """Whether the time of a record is damaged: most of the records after it lie between the newest so far and it."""
    between = 0
    stop = min(start + ahead, len(words))
    for i in range(start, stop):
        other, _ = unwrapped(np.int64(words[i] & np.uint64(0xFFFFFFFF)), newest, epoch)
        between += newest - JITTER_US <= other < time - JITTER_US
    return 2 * between > stop - start


@njit(nogil=True, cache=True)
def _newest_of_sound(lows, addresses, newest, epoch, height, width):
    """The greatest time of a stretch if all its records are surely kept, else ``NEVER``.

    They are where each lies on the sensor and time neither falls by more than ``FALL_US`` nor leaps, from the newest
    before them on. lows, addresses: the halves of the records, uint32.
    """
    step = epoch + np.int64(lows[0]) - newest
    if not -FALL_US <= step <= LEAP_US:
        return NEVER
    most_step = most_column = most_row = most = np.uint32(0)
    least = np.uint32(0xFFFFFFFF)
    for k in range(STRETCH):
        low, address = lows[np.uint64(k)], addresses[np.uint64(k)]
        most_column = max(most_column, np.uint32(address & np.uint32(0x3FFF)))
        most_row = max(most_row, np.uint32((address >> np.uint32(14)) & np.uint32(0x3FFF)))
        most, least = max(most, low), min(least, low)
    for k in range(1, STRETCH):  # as numbers without sign, in which a fall by more is large
        rise = np.uint32(lows[np.uint64(k)] - lows[np.uint64(k - 1)] + np.uint32(FALL_US))
        most_step = max(most_step, rise)
    is_sound = most_step <= FALL_US + LEAP_US and most_column < width and most_row < height
    is_sound &= np.int64(most) - np.int64(least) < LOOP_US // 2  # the counter does not begin anew
    return max(newest, epoch + np.int64(most)) if is_sound else NEVER


@njit(nogil=True, cache=True)
def decode_dat(words, stop, ahead, state, lost, height, width, t, x, y, p, edge_t, edge_channel, edge_p):
    """A 64-bit record: from the lowest bit time 32 bits, x 14, y 14, polarity 1."""
    room = min(stop, len(t) - SLACK)
    ahead = min(ahead, WITNESSES)
    i = kept = 0
    newest, epoch = state[NEWEST], state[EPOCH]
    lows, addresses = np.empty(STRETCH, np.uint32), np.empty(STRETCH, np.uint32)
    while i < room:
        until = min(i + STRETCH, room)
        if until == i + STRETCH:
            for k in range(STRETCH):
                lows[np.uint64(k)] = words[np.uint64(i + k)]
            for k in range(STRETCH):
                addresses[np.uint64(k)] = words[np.uint64(i + k)] >> np.uint64(32)
            latest = _newest_of_sound(lows, addresses, newest, epoch, height, width)
            if latest > NEVER:
                for k in range(STRETCH):
                    t[np.uint64(kept + k)] = epoch + np.int64(lows[np.uint64(k)])
                for k in range(STRETCH):
                    x[np.uint64(kept + k)] = addresses[np.uint64(k)] & np.uint32(0x3FFF)
                for k in range(STRETCH):
                    y[np.uint64(kept + k)] = (addresses[np.uint64(k)] >> np.uint32(14)) & np.uint32(0x3FFF)
                for k in range(STRETCH):
                    p[np.uint64(kept + k)] = (addresses[np.uint64(k)] >> np.uint32(28)) & np.uint32(1)
                newest, kept, i = latest, kept + STRETCH, until
        while i < until:
            word = words[np.uint64(i)]
            i += 1
            time, present = unwrapped(np.int64(word & np.uint64(0xFFFFFFFF)), newest, epoch)
            address = np.int64(word >> np.uint64(32))
            column, row = address & 0x3FFF, (address >> 14) & 0x3FFF
            if time > newest + LEAP_US and _is_astray(words, i, ahead, time, newest, epoch):
                lost[ASTRAY] += 1
                continue
            epoch = present
            if time >= newest - JITTER_US and column < width and row < height:
                at = np.uint64(kept)
                t[at], x[at], y[at], p[at] = time, column, row, (address >> 28) & 1
                kept += 1
                newest = max(newest, time)
            else:
                lost[BACKWARDS if time < newest - JITTER_US else OUTSIDE] += 1
    state[NEWEST], state[EPOCH] = newest, epoch
    return room, kept, 0
