"""The inner loops of the representations: the events of one window, one after the other, into one flat frame.

A kernel places a block of events at a time and answers False, without writing, at the first block with an event that
is outside the sensor or of no polarity; what it wrote before stays. Two passes over a block, of which the compiler
turns the first into vector instructions, take half the time of one.

All take columns ``t`` (N,) int64 microseconds, ``x`` and ``y`` (N,) uint16 and ``p`` (N,) uint8 of the events, the
``Grid`` on which they are placed, and ``out``, the flat frame of ``grid``'s cells that they change.
"""

from __future__ import annotations

from math import exp
from typing import NamedTuple

import numpy as np
from numba import njit

BLOCK = 2048


class Grid(NamedTuple):
    """Where an event goes: cell = (y * down >> 32) * stride + (x * across >> 32) + p * plane.

    height, width: of the sensor. across, down: output pixels per sensor pixel times 2**32, rounded up, which gives
    the whole part of the quotient exactly while the sensor has at most 65536 rows and columns.
    """

    height: int
    width: int
    down: np.uint64
    across: np.uint64
    stride: np.uint64
    plane: np.uint64


@njit(nogil=True, cache=True)
def cut(t, edges, jitter):
    """The first event at or after each edge, and whether all before it are earlier and all after it are not.

    Exact where no time is more than ``jitter`` smaller than one before it.

    Args:
        t: (N,) int64 microseconds.
        edges: (K,) int64 microseconds, rising.
        jitter: microseconds.

    Returns:
        (K,) int64 indices, and (K,) bool.
    """
    first, is_clean = np.empty(len(edges), np.int64), np.empty(len(edges), np.bool_)
    for n in range(len(edges)):
        edge = edges[n]
        index, stop = np.searchsorted(t, edge - jitter), np.searchsorted(t, edge + jitter)
        while index < stop and t[index] < edge:
            index += 1
        first[n], is_clean[n] = index, True
        for late in range(index, stop):
            is_clean[n] &= t[late] >= edge
    return first, is_clean


@njit(nogil=True, cache=True)
def _place(x, y, p, grid, cells):
    right, bottom, brightest = np.uint16(0), np.uint16(0), np.uint8(0)
    for j in range(len(x)):
        right, bottom, brightest = max(right, x[j]), max(bottom, y[j]), max(brightest, p[j])
    fraction = np.uint64(32)
    for j in range(len(x)):
        row, column = (np.uint64(y[j]) * grid.down) >> fraction, (np.uint64(x[j]) * grid.across) >> fraction
        cells[j] = row * grid.stride + column + np.uint64(p[j]) * grid.plane
    return right < grid.width and bottom < grid.height and brightest <= 1


@njit(nogil=True, cache=True)
def count(x, y, p, grid, most, out):
    """Add one for each event, up to ``most``, the largest number of a cell."""
    cells = np.empty(BLOCK, np.uint32)
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        if not _place(x[part], y[part], p[part], grid, cells):
            return False
        for j in range(len(x[part])):
            if out[cells[j]] < most:
                out[cells[j]] += 1
    return True


@njit(nogil=True, cache=True)
def balance(x, y, p, grid, least, most, out):
    """Add one for each brighter event, up to ``most``; take one away for each darker event, down to ``least``."""
    cells = np.empty(BLOCK, np.uint32)
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        if not _place(x[part], y[part], p[part], grid, cells):
            return False
        signs = p[part]
        for j in range(len(signs)):
            value = out[cells[j]] + 2 * np.int64(signs[j]) - 1
            if least <= value and value <= most:
                out[cells[j]] = value
    return True


@njit(nogil=True, cache=True)
def accumulate(x, y, p, grid, steps, clip, out):
    """Add ``steps[p]``, (2,) float32, for each event, and clip to [-clip, clip] each time."""
    cells = np.empty(BLOCK, np.uint32)
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        if not _place(x[part], y[part], p[part], grid, cells):
            return False
        signs = p[part]
        for j in range(len(signs)):
            out[cells[j]] = _clipped(out[cells[j]] + steps[signs[j]], clip)
    return True


@njit(nogil=True, cache=True)
def _clipped(value, clip):
    value = clip if value > clip else value
    return -clip if value < -clip else value


@njit(nogil=True, cache=True)
def interpolate(t, x, y, p, grid, steps, clip, start_us, window_us, bins, out):
    """Share ``steps[p]`` of each event between the two bins whose centres are nearest in time; clip each time.

    The share of a bin outside [0, bins) is lost.

    Args:
        t, x, y, p, grid: as of all kernels.
        steps, clip: as of ``accumulate``.
        start_us, window_us: when the window begins, and its length.
        bins: into which the window is cut.
        out: (bins * cells,), one bin after the other.
    """
    cells, per_us = np.empty(BLOCK, np.uint32), bins / window_us
    earlier, later = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    earlier_share, later_share = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        if not _place(x[part], y[part], p[part], grid, cells):
            return False
        times, signs, is_rising = t[part], p[part], True
        for j in range(len(times)):
            position = (times[j] - start_us) * per_us + 0.5
            later[j] = np.int64(position)
            earlier[j] = later[j] - 1
            later_share[j] = position - later[j]
            earlier_share[j] = np.float32(1) - later_share[j]
        for j in range(1, len(times)):
            is_rising &= later[j] >= later[j - 1]
        turn = len(times) if is_rising else 1  # the same sums as turn by turn, in half the time
        for first in range(0, len(times), turn):
            now = slice(first, first + turn)
            _share(cells[now], signs[now], steps, later[now], later_share[now], clip, bins, out)
            _share(cells[now], signs[now], steps, earlier[now], earlier_share[now], clip, bins, out)
    return True


@njit(nogil=True, cache=True)
def _share(cells, signs, steps, bins_of, shares, clip, bins, out):
    bin_size = np.uint64(len(out) // bins)
    for j in range(len(signs)):
        if 0 <= bins_of[j] < bins:
            cell = np.uint64(bins_of[j]) * bin_size + cells[j]
            out[cell] = _clipped(out[cell] + shares[j] * steps[signs[j]], clip)


@njit(nogil=True, cache=True)
def latest(t, x, y, p, grid, out):
    """Keep the time of the last event."""
    cells = np.empty(BLOCK, np.uint32)
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        if not _place(x[part], y[part], p[part], grid, cells):
            return False
        times = t[part]
        for j in range(len(times)):
            out[cells[j]] = times[j]
    return True


@njit(nogil=True, cache=True)
def decay(t, x, y, p, grid, now_us, tau_us, is_exponential, out):
    """Keep what the age of the last event leaves of 1; computed once for events of the same microsecond.

    Args:
        t, x, y, p, grid, out: as of all kernels.
        now_us: when the age is asked for.
        tau_us: age at which 1/e is left, or, where it falls along a line, nothing.
        is_exponential: whether it falls so, and not along a line.
    """
    cells = np.empty(BLOCK, np.uint32)
    age, value = np.int64(-1), np.float32(0)
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        if not _place(x[part], y[part], p[part], grid, cells):
            return False
        times = t[part]
        for j in range(len(times)):
            if now_us - times[j] != age:
                age = now_us - times[j]
                ratio = np.float32(age / tau_us)
                value = exp(-ratio) if is_exponential else max(np.float32(1) - ratio, np.float32(0))
            out[cells[j]] = value
    return True


@njit(nogil=True, cache=True)
def narrow(values, most, out):
    """Write ``values`` (N,) to ``out`` (N,) in its smaller type, clipped to [-most, most]."""
    for i in range(len(values)):
        out[i] = min(max(values[i], -most), most)
