"""Decode ECF, the codec of the vendor's HDF5 event files (HDF5 filter 36559 = 0x8ECF), without a native plugin.

A chunk holds up to 65535 events, one column after the other; all words are little endian:

* 4 bytes: number of events << 2 | 2 where y, x and p are packed together | 1 where x and p are;
* 8 bytes: the time of the first event; then runs of events of the same time, a byte each: step in time << 4 | count.
  A count of 15 means that the count follows in 2 bytes. A step of 15 makes the low 4 bits part of a longer step, the
  least significant part first, which goes on until a byte with another step;
* y, x, p together: 4 events of 24 bits, y << 12 | x << 1 | p, in three 4-byte words, filled from the top with the low
  bits of the event that comes later in the word; the last group is whole;
* or y in runs, 2 bytes each: y << 5 | count, where a count of 31 means that it follows in 2 bytes; then
  either x and p together: 4 events of 12 bits, x << 1 | p, in three 2-byte words, packed likewise,
  or x in groups, 2 bytes each: x << 5 | five bits that say, from the top, whether x + 1 ... x + 5 come next;
  then p in runs, a byte each: p << 7 | count, where a count of 127 means that it follows in 2 bytes.

Source: https://github.com/prophesee-ai/hdf5_ecf (Apache-2.0).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..checks import InputError
from .array import COLUMNS, Events

FILTER = 0x8ECF
MOST_EVENTS = 65535
_HEADER_BYTES = 12
_LATEST = 1 << 60  # a time beyond this, 36,000 years, is damage
_BROKEN = -1  # where a position in the bytes is expected


def decode(content: bytes) -> Events:
    """The events of one ECF chunk, as stored.

    Raises:
        InputError: if the chunk does not end where its columns end, or its header or its times cannot be.
    """
    if len(content) < _HEADER_BYTES:
        raise InputError(f"an ECF chunk must have at least {_HEADER_BYTES} bytes, got {len(content)}; it is damaged.")
    word, first = int.from_bytes(content[:4], "little"), int.from_bytes(content[4:_HEADER_BYTES], "little", signed=True)
    count = word >> 2
    if count > MOST_EVENTS or abs(first) > _LATEST:
        raise InputError(
            f"an ECF chunk must have at most {MOST_EVENTS} events, got {count} from {first} µs; it is damaged."
        )
    t, x, y, p = (np.empty(count, dtype) for dtype in COLUMNS.values())
    end = _decode(np.frombuffer(content, np.uint8), first, bool(word & 2), bool(word & 1), t, x, y, p)
    if end != len(content):
        raise InputError("an ECF chunk must end where its events end; it is damaged.")
    return Events(t, x, y, p)


@njit(cache=True, nogil=True)
def _decode(content, first, yxp_packed, xp_packed, t, x, y, p):
    """Fill the columns; return the position after the last byte used, or ``_BROKEN``."""
    position = _decode_times(content, _HEADER_BYTES, first, t)
    if yxp_packed:
        return _unpack_yxp(content, position, y, x, p)
    position = _decode_runs(content, position, 2, 5, y)
    if xp_packed:
        return _unpack_xp(content, position, x, p)
    position = _decode_groups(content, position, x)
    return _decode_runs(content, position, 1, 7, p)


@njit(cache=True, nogil=True)
def _word(content, position, width):
    """The little-endian number in ``width`` bytes; signed, as numba makes floats of signed and unsigned."""
    word = np.int64(0)
    for byte in range(width):
        word |= np.int64(content[position + byte]) << (8 * byte)
    return word


@njit(cache=True, nogil=True)
def _decode_times(content, position, now, t):
    filled = 0
    while filled < len(t):
        if position >= len(content):
            return _BROKEN
        step, count = np.int64(content[position]) >> 4, np.int64(content[position]) & 15
        position += 1
        shift = 0
        while step == 15:
            if position >= len(content) or shift > 56:
                return _BROKEN
            now += count << shift
            shift += 4
            step, count = np.int64(content[position]) >> 4, np.int64(content[position]) & 15
            position += 1
        now += step
        if count == 15:
            if position + 2 > len(content):
                return _BROKEN
            count = _word(content, position, 2)
            position += 2
        if count > len(t) - filled or now > _LATEST:
            return _BROKEN
        for index in range(filled, filled + count):
            t[index] = now
        filled += count
    return position


@njit(cache=True, nogil=True)
def _decode_runs(content, position, width, count_bits, column):
    """Runs of equal values in words of ``width`` bytes, whose low ``count_bits`` count; all ones: the count follows."""
    if position == _BROKEN:
        return _BROKEN
    escape = (1 << count_bits) - 1
    filled = 0
    while filled < len(column):
        if position + width > len(content):
            return _BROKEN
        word = _word(content, position, width)
        position += width
        count = word & escape
        if count == escape:
            if position + 2 > len(content):
                return _BROKEN
            count = _word(content, position, 2)
            position += 2
        if count > len(column) - filled:
            return _BROKEN
        for index in range(filled, filled + count):
            column[index] = word >> count_bits
        filled += count
    return position


@njit(cache=True, nogil=True)
def _decode_groups(content, position, x):
    """One to six rising values in 2 bytes; bits that reach beyond the last event mean nothing."""
    if position == _BROKEN:
        return _BROKEN
    filled = 0
    while filled < len(x):
        if position + 2 > len(content):
            return _BROKEN
        word = _word(content, position, 2)
        position += 2
        x[filled] = word >> 5
        filled += 1
        for ahead in range(1, 6):
            if word >> (5 - ahead) & 1 and filled < len(x):
                x[filled] = (word >> 5) + ahead
                filled += 1
    return position


@njit(cache=True, nogil=True)
def _unpack_xp(content, position, x, p):
    """Groups of 4 events of 12 bits."""
    end = position + (len(x) + 3) // 4 * 6
    if position == _BROKEN or end > len(content):
        return _BROKEN
    for group in range(0, len(x), 4):
        a, b, c = _word(content, position, 2), _word(content, position + 2, 2), _word(content, position + 4, 2)
        position += 6
        values = (a >> 4, a & 0xF | b >> 8 << 4, b & 0xFF | c >> 12 << 8, c & 0xFFF)
        for slot in range(min(4, len(x) - group)):
            x[group + slot], p[group + slot] = values[slot] >> 1, values[slot] & 1
    return end


@njit(cache=True, nogil=True)
def _unpack_yxp(content, position, y, x, p):
    """Groups of 4 events of 24 bits."""
    end = position + (len(x) + 3) // 4 * 12
    if position == _BROKEN or end > len(content):
        return _BROKEN
    for group in range(0, len(x), 4):
        a, b, c = _word(content, position, 4), _word(content, position + 4, 4), _word(content, position + 8, 4)
        position += 12
        values = (a >> 8, a & 0xFF | b >> 16 << 8, b & 0xFFFF | c >> 24 << 16, c & 0xFFFFFF)
        for slot in range(min(4, len(x) - group)):
            value, index = values[slot], group + slot
            y[index], x[index], p[index] = value >> 12 & 0x7FF, value >> 1 & 0x7FF, value & 1
    return end
