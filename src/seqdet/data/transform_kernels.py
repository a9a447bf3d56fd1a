"""The inner loops of augmentation. Their time is that of a few copies of the frames and of every event in them."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
WIDE = np.int64(0)  # added to an int8, makes room for 128, the size of its smallest number


@njit(nogil=True, cache=True)
def find_places(forward, inverse, height, width):
    """Where the pixels of a plane are shown in the moved plane.

    A moved pixel shows the pixel under its centre. A pixel under no centre is shown where its own centre goes, so that
    everything that stays in the frame is shown at least once. The centre of pixel c is at c + 0.5.

    Args:
        forward, inverse: (2, 3) matrices, from (x, y, 1) of the plane to (x, y) of the moved plane and back.
        height, width: of both.

    Returns:
        starts (H * W + 1,) and places, both int32: flat pixel n is shown at ``places[starts[n] : starts[n + 1]]``.
    """
    size = height * width
    pairs, count = np.empty((2 * size, 2), np.int32), 0
    starts = np.zeros(size + 1, np.int32)
    for moved in range(size):
        pixel = _follow(inverse, moved, height, width)
        if pixel >= 0:
            pairs[count] = pixel, moved
            starts[pixel + 1] += 1
            count += 1
    for pixel in range(size):
        if starts[pixel + 1] == 0:
            moved = _follow(forward, pixel, height, width)
            if moved >= 0:
                pairs[count] = pixel, moved
                starts[pixel + 1] = 1
                count += 1
    starts = np.cumsum(starts).astype(np.int32)
    places, free = np.empty(count, np.int32), starts.copy()
    for n in range(count):
        pixel = pairs[n, 0]
        places[free[pixel]] = pairs[n, 1]
        free[pixel] += 1
    return starts, places


@njit(nogil=True, cache=True)
def _follow(matrix, pixel, height, width):
    """The pixel that the centre of ``pixel`` goes to, or -1."""
    x, y = pixel % width + 0.5, pixel // width + 0.5
    across = math.floor(matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2])
    down = math.floor(matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2])
    return down * width + across if 0 <= across < width and 0 <= down < height else -1


@njit(nogil=True, cache=True)
def move(planes, words, frame_order, channel_order, starts, places, share, is_count, keys, moved):
    """Fill ``moved``, (F, C, H * W), with ``planes`` of that shape.

    Where several pixels are shown at one place, the one farthest from 0 wins. To find the few pixels that are not 0,
    whole words are looked at first, and the lists are made without a branch that could be guessed wrongly.

    Args:
        planes: (F, C, H * W), the frames as they were.
        words: the memory of ``planes`` as larger integers, (F, C, N).
        frame_order, channel_order: the frame and the channel to show in each place; a channel of -1 is empty.
        starts, places: of ``find_places``.
        share: of the events that are lost, in 65536ths.
        is_count: whether numbers are counts, of which every event is lost by itself, or are lost as a whole.
        keys: (F,) uint64, seeds of the losses of each frame.
        moved: written to.
    """
    size, each = planes.shape[2], planes.shape[2] // words.shape[2]
    busy, found = np.empty(words.shape[2] + 1, np.int32), np.empty(size + 1, np.int32)
    for frame in range(len(frame_order)):
        key = _mixed(keys[frame])
        for channel in range(len(channel_order)):
            target = moved[frame, channel]
            target[:] = 0
            if channel_order[channel] < 0:
                continue
            source, source_words = (
                planes[frame_order[frame], channel_order[channel]],
                words[frame_order[frame], channel_order[channel]],
            )
            count = 0
            for word in range(len(source_words)):
                busy[count] = word * each
                count += source_words[word] != 0
            listed = 0
            for n in range(count):
                for pixel in range(busy[n], busy[n] + each):
                    found[listed] = pixel
                    listed += source[pixel] != 0
            for n in range(listed):
                pixel = found[n]
                value = source[pixel] + WIDE
                if share > 0:
                    value = _thinned(value, share, is_count, key + np.uint64(channel * size + pixel) * FIRST)
                for at in range(starts[pixel], starts[pixel + 1]):
                    place = places[at]
                    if abs(value) > abs(target[place] + WIDE):
                        target[place] = value


@njit(nogil=True, cache=True)
def _thinned(value, share, is_count, key):
    """What is left of a number when ``share`` 65536ths of its events are lost."""
    if not is_count:
        return value * (np.int64(_mixed(key) & np.uint64(0xFFFF)) >= share)
    size, lost, draws = abs(np.int64(value)), 0, key
    for event in range(size):
        draws = _mixed(key + np.uint64(event // 4) * GOLDEN) if event % 4 == 0 else draws >> np.uint64(16)
        lost += np.int64(draws & np.uint64(0xFFFF)) < share
    return value - lost if value > 0 else value + lost


@njit(nogil=True, cache=True)
def _mixed(key):
    """64 random bits that depend on ``key`` alone: the output step of SplitMix64 (https://prng.di.unimi.it)."""
    key = (key ^ (key >> np.uint64(30))) * FIRST
    key = (key ^ (key >> np.uint64(27))) * SECOND
    return key ^ (key >> np.uint64(31))
