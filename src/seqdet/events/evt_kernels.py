"""Kernels that decode the words of EVT2, EVT2.1 and EVT3, and that encode EVT2 and EVT3.

They are after https://docs.prophesee.ai/stable/data/encoding_formats/index.html. What the page leaves open is as real
files need it: the counter of time has looped when its high part falls by half of its range or more; words of other
types are passed over. A high part that leaps by more than ``LEAP_US``, or back, is damaged if two more of the next
three go on from the one before it: it is passed over with the events below it. If not, time did leap; events behind the
greatest time so far then stay dropped, as times rise.

Indices in the loops are unsigned, since numba asks of others whether they count from the end.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .sieve import JITTER_US, LEAP_US, NEVER
from .words import ASTRAY, BACKWARDS, EARLY, LONGEST_PAUSE_US, NEWEST, OUTSIDE, SLACK

# The places in the state; NEWEST is 0 for all.
EPOCH, HIGH, OPTION, STRAY, LOW, ROW, COLUMN, POLARITY = range(1, 9)  # from LOW on for EVT3
UNSET = -1
WITNESSES = 3  # high parts of time to ask about one that leaps
STRETCH = 32  # words that are decoded together, at most SLACK

_DE_BRUIJN = 0x077CB531  # each of its 32 rotations begins with other five bits
_PLACES = np.empty(32, np.int64)
_PLACES[[(_DE_BRUIJN << place & 0xFFFFFFFF) >> 27 for place in range(32)]] = np.arange(32)


def first_state(option: int = 0) -> np.ndarray:
    """The state before the first word.

    ``option``: for EVT3, 1 to subtract (first high part of the time - 1) * 4096 us; for EVT2.1, where the half with the
    type begins: at bit 32 in words as they are, 0 in swapped ones.
    """
    state = np.zeros(POLARITY + 1, np.int64)
    state[NEWEST], state[HIGH], state[ROW], state[OPTION] = NEVER, UNSET, UNSET, option
    return state


def first_encoder_state() -> np.ndarray:
    """The state of an encoder before the first event."""
    return np.full(POLARITY + 1, UNSET)


@njit(nogil=True, cache=True)
def new_epoch(epoch, old, new, bits, unit):
    """The time of the counter's zero, in microseconds, after the high part of the counter went from old to new.

    Args:
        epoch: the time before.
        old, new: high parts.
        bits: of a high part.
        unit: microseconds of one step of it.
    """
    if old - new >= 1 << (bits - 1):
        return epoch + (unit << bits)
    if new - old >= (1 << bits) - JITTER_US // unit - 1:
        return epoch - (unit << bits)  # the loop was counted, and some late events follow
    return epoch


@njit(nogil=True, cache=True)
def leaps(bits, unit, old, new):
    """Whether a high part of time goes forward by more than ``LEAP_US``, or back by more than a jitter.

    Args:
        bits, unit, old, new: as of ``new_epoch``.
    """
    mask, late, near = (1 << bits) - 1, JITTER_US // unit + 1, LEAP_US // unit
    return (new - old + late) & mask > near + late


@njit(nogil=True, cache=True)
def until_leap(words, up, bits, unit, high):
    """How many words there are before a high part of time that leaps.

    Args:
        words: (N,) of a recording.
        up: the place of the half with the type in a word, in bits.
        bits, unit: as of ``new_epoch``; the type lies above the high part.
        high: the high part before the first word, or ``UNSET``.
    """
    for i in range(len(words)):
        half = np.int64((np.uint64(words[i]) >> np.uint64(up)) & np.uint64(0xFFFFFFFF))
        if half >> bits & 15 == 8:
            value = half & ((1 << bits) - 1)
            if high != UNSET and leaps(bits, unit, high, value):
                return i
            high = value
    return len(words)


@njit(nogil=True, cache=True)
def is_astray(words, start, ahead, up, bits, unit, old, new):
    """Whether a high part of time is damaged: it leaps, and two more of the next go on from the old than from the new.

    Args:
        words, up, bits, unit: as of ``until_leap``.
        start: of the words that come after it.
        ahead: so many of these are looked at.
        old, new: the high part before it, and this one.
    """
    if not leaps(bits, unit, old, new):
        return False
    balance = asked = 0
    for i in range(start, min(start + ahead, len(words))):
        half = np.int64((np.uint64(words[i]) >> np.uint64(up)) & np.uint64(0xFFFFFFFF))
        if half >> bits & 15 == 8:
            balance += not leaps(bits, unit, old, half)
            balance -= not leaps(bits, unit, new, half)
            asked += 1
            if asked == WITNESSES:
                break
    return balance >= 2


@njit(nogil=True, cache=True)
def lowest_place(mask):
    """The place of the lowest bit of a mask of up to 32 bits."""
    return _PLACES[((mask & -mask) * _DE_BRUIJN & 0xFFFFFFFF) >> 27]


@njit(nogil=True, cache=True)
def _sound_words(words, start, height, width):
    """How many of ``STRETCH`` words from ``start`` on are events on the sensor, and the greatest of their six bits of
    time."""
    most_kind = most_column = most_row = most_time = np.uint32(0)
    for k in range(STRETCH):
        word = words[np.uint64(start + k)]
        most_kind = max(most_kind, word)
        most_column = max(most_column, np.uint32((word >> np.uint32(11)) & np.uint32(0x7FF)))
        most_row = max(most_row, np.uint32(word & np.uint32(0x7FF)))
        most_time = max(most_time, np.uint32((word >> np.uint32(22)) & np.uint32(63)))
    if most_kind >> 29 == 0 and most_column < width and most_row < height:
        return STRETCH, np.int64(most_time)
    time = np.int64(0)
    for k in range(STRETCH):
        word = np.int64(words[np.uint64(start + k)])
        if word >> 29 or (word >> 11) & 0x7FF >= width or word & 0x7FF >= height:
            return k, time
        time = max(time, (word >> 22) & 63)
    return STRETCH, time


@njit(nogil=True, cache=True)
def decode_evt2(words, stop, ahead, state, lost, height, width, t, x, y, p, edge_t, edge_channel, edge_p):
    """A 32-bit word: type 4 bits, time 6, x 11, y 11; type 0 darker, 1 brighter, 8 time above 64 us, 10 trigger.

    Events follow each other between words of time: a stretch of them is decoded together, by vector instructions, and
    what it writes beyond their number is written over.
    """
    room, edge_room = len(t) - SLACK, len(edge_t)
    i = count = edges = 0
    newest, epoch, high, stray = state[NEWEST], state[EPOCH], state[HIGH], state[STRAY]
    if high == UNSET:
        while i < stop and words[i] >> 28 != 8:
            i += 1
        lost[EARLY] += i
    slot = epoch + (high << 6)
    late = ASTRAY if stray else BACKWARDS
    in_order = not stray and slot + 64 > newest - JITTER_US
    while i < stop and count < room and edges < edge_room:
        if in_order and i + STRETCH <= stop:
            sound, low = _sound_words(words, i, height, width)
            if sound:
                for k in range(STRETCH):
                    below = (words[np.uint64(i + k)] >> np.uint32(22)) & np.uint32(63)
                    t[np.uint64(count + k)] = slot + np.int64(below)
                for k in range(STRETCH):
                    x[np.uint64(count + k)] = (words[np.uint64(i + k)] >> np.uint32(11)) & np.uint32(0x7FF)
                for k in range(STRETCH):
                    y[np.uint64(count + k)] = words[np.uint64(i + k)] & np.uint32(0x7FF)
                for k in range(STRETCH):
                    p[np.uint64(count + k)] = words[np.uint64(i + k)] >> np.uint32(28)
                newest = max(newest, slot + low)
                count, i = count + sound, i + sound
                if sound == STRETCH or count >= room:
                    continue
        word = np.int64(words[np.uint64(i)])
        kind = word >> 28
        i += 1
        if kind <= 1:
            column, row = (word >> 11) & 0x7FF, word & 0x7FF
            if in_order and column < width and row < height:
                now = slot + ((word >> 22) & 63)
                at = np.uint64(count)
                t[at], x[at], y[at], p[at] = now, column, row, kind
                count += 1
                newest = max(newest, now)
            else:
                lost[OUTSIDE if in_order else late] += 1
        elif kind == 8:
            value = word & 0xFFFFFFF
            stray = high != UNSET and is_astray(words, i, ahead, 0, 28, 64, high, value)
            late = ASTRAY if stray else BACKWARDS
            if not stray:
                epoch = new_epoch(epoch, high, value, 28, 64) if high != UNSET else epoch
                high = value
                slot = epoch + (high << 6)
            in_order = not stray and slot + 64 > newest - JITTER_US
        elif kind == 10 and stray:
            lost[ASTRAY] += 1
        elif kind == 10:
            edge_t[edges] = slot + ((word >> 22) & 63)
            edge_channel[edges], edge_p[edges] = (word >> 8) & 31, word & 1
            edges += 1
    state[NEWEST], state[EPOCH], state[HIGH], state[STRAY] = newest, epoch, high, stray
    return i, count, edges


@njit(nogil=True, cache=True)
def decode_evt21(words, stop, ahead, state, lost, height, width, t, x, y, p, edge_t, edge_channel, edge_p):
    """A 64-bit word: a half as in EVT2, and a half that masks the 32 pixels from x on."""
    room, edge_room = len(t) - SLACK, len(edge_t)
    i = count = edges = 0
    newest, epoch, high, stray = state[NEWEST], state[EPOCH], state[HIGH], state[STRAY]
    up, down = np.uint64(state[OPTION]), np.uint64(32 - state[OPTION])
    if high == UNSET:
        while i < stop and ((words[i] >> up) >> np.uint64(28)) & np.uint64(15) != 8:
            i += 1
        lost[EARLY] += i
    slot = epoch + (high << 6)
    late = ASTRAY if stray else BACKWARDS
    in_order = not stray and slot + 64 > newest - JITTER_US
    while i < stop and count < room and edges < edge_room:
        both = words[np.uint64(i)]
        word = np.int64((both >> up) & np.uint64(0xFFFFFFFF))
        mask = np.int64((both >> down) & np.uint64(0xFFFFFFFF))
        kind = word >> 28
        i += 1
        if kind <= 1:
            column, row = (word >> 11) & 0x7FF, word & 0x7FF
            now = slot + ((word >> 22) & 63)
            before = count
            usable = in_order and row < height
            while mask:
                place = column + lowest_place(mask)
                mask &= mask - 1
                if usable and place < width:
                    at = np.uint64(count)
                    t[at], x[at], y[at], p[at] = now, place, row, kind
                    count += 1
                else:
                    lost[OUTSIDE if in_order else late] += 1
            if count > before:
                newest = max(newest, now)
        elif kind == 8:
            value = word & 0xFFFFFFF
            stray = high != UNSET and is_astray(words, i, ahead, state[OPTION], 28, 64, high, value)
            late = ASTRAY if stray else BACKWARDS
            if not stray:
                epoch = new_epoch(epoch, high, value, 28, 64) if high != UNSET else epoch
                high = value
                slot = epoch + (high << 6)
            in_order = not stray and slot + 64 > newest - JITTER_US
        elif kind == 10 and stray:
            lost[ASTRAY] += 1
        elif kind == 10:
            edge_t[edges] = slot + ((word >> 22) & 63)
            edge_channel[edges], edge_p[edges] = (word >> 8) & 31, word & 1
            edges += 1
    state[NEWEST], state[EPOCH], state[HIGH], state[STRAY] = newest, epoch, high, stray
    return i, count, edges


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


TRIGGER = 10  # the type of the words of trigger edges, and in what is encoded a polarity
EVT3_STRIDE_US = 1 << 16  # between two words of time in a pause, lest a loop go unnoticed or seem damage
MARGIN_WORDS = 2 * LONGEST_PAUSE_US // EVT3_STRIDE_US + 8  # what one event can take at most


@njit(nogil=True, cache=True)
def encode_evt2(t, x, y, p, state, words):
    """Writes words while there is room; returns how many events those are, and how many words."""
    room = len(words) - MARGIN_WORDS
    high = state[HIGH]
    i = count = 0
    while i < len(t) and count < room:
        now = t[i] >> 6
        if now != high:
            high = now
            words[count] = 8 << 28 | (high & 0xFFFFFFF)
            count += 1
        words[count] = np.int64(p[i]) << 28 | (t[i] & 63) << 22 | np.int64(x[i]) << 11 | np.int64(y[i])
        count += 1
        i += 1
    state[HIGH] = high
    return i, count


@njit(nogil=True, cache=True)
def encode_evt3(t, x, y, p, state, words):
    """As `encode_evt2`; five events or more in 32 columns of a row, in order, become masks of 12, 12 and 8.

    A low part of the time follows every high one, as from sensors: other readers keep the one before, where ours sets
    it to zero.
    """
    n, room = len(t), len(words) - MARGIN_WORDS
    high, low, row = state[HIGH], state[LOW], state[ROW]
    i = count = 0
    while i < n and count < room:
        now = t[i] >> 12
        if now != high:
            while high >= 0 and now - high > EVT3_STRIDE_US >> 12:
                high += EVT3_STRIDE_US >> 12
                words[count] = 8 << 12 | (high & 0xFFF)
                words[count + 1] = 6 << 12
                count += 2
            high, low = now, -1
            words[count] = 8 << 12 | (high & 0xFFF)
            count += 1
        if t[i] & 0xFFF != low:
            low = t[i] & 0xFFF
            words[count] = 6 << 12 | low
            count += 1
        if p[i] == TRIGGER:
            words[count] = TRIGGER << 12 | np.int64(x[i]) << 11 | np.int64(y[i])
            count += 1
            i += 1
            continue
        if y[i] != row:
            row = np.int64(y[i])
            words[count] = row
            count += 1
        column, polarity = np.int64(x[i]), np.int64(p[i])
        mask, end = 1, i + 1
        while (
            end < n
            and t[end] == t[i]
            and y[end] == row
            and p[end] == p[i]
            and x[end - 1] < x[end]
            and x[end] < column + 32
        ):
            mask |= 1 << (np.int64(x[end]) - column)
            end += 1
        if end - i >= 5:
            words[count] = 3 << 12 | polarity << 11 | column
            words[count + 1] = 4 << 12 | (mask & 0xFFF)
            words[count + 2] = 4 << 12 | ((mask >> 12) & 0xFFF)
            words[count + 3] = 5 << 12 | (mask >> 24)
            count += 4
            i = end
        else:
            words[count] = 2 << 12 | polarity << 11 | column
            count += 1
            i += 1
    state[HIGH], state[LOW], state[ROW] = high, low, row
    return i, count
