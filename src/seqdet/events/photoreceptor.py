"""The photoreceptor of a simulated pixel where it is not endlessly fast: a low pass of the logarithm of its light.

Of first order, with a cutoff in proportion to the photocurrent, so that a pixel in the dark is late and blurs what
passes quickly. After v2e (Hu, Liu and Delbruck, "v2e: From Video Frames to Realistic DVS Events", CVPRW 2021,
https://arxiv.org/abs/2006.07722), which takes a step of it in every frame; here it is solved between the frames. For a
logarithm that is a straight line a + b * t, and at the mean speed s of the interval, what the photoreceptor says is

    y(t) = y(0) + (a - y(0)) * (1 - exp(-s * t)) + b / s * (s * t - (1 - exp(-s * t)))

which is exact where the light stays, and turns at most once where it does not.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .readout import event_key

ROUNDING_US = 1e-6  # by which a crossing may miss its microsecond in floating point
NEAR_US = 1e-4  # to which crossings of the curve are found
MOST_STEPS = 100


@njit(nogil=True, cache=True)
def delayed_crossings(
    light, light_before, level, said, reference, on, off, dark_level, speed, duration, pixel, keys, count
):
    """Write the keys of all crossings from ``pixel`` on while there is room, and move levels and references on.

    Args:
        light, light_before: (N,) at the ends of the interval.
        level: (N,) logarithm of ``light_before`` and the dark level; becomes that of ``light``.
        said: (N,) what the photoreceptors say at the start of the interval; becomes that at its end.
        reference: (N,) level of the last event.
        on, off: (N,) thresholds.
        dark_level: added to the light.
        speed: of a photoreceptor in a light and dark level of 1, per microsecond.
        duration: of the interval, microseconds.
        pixel: to begin with.
        keys, count: what is written to, and how many are there.

    Returns:
        The first pixel that was left, or -1 if the light of one is no number from 0 on, and the number of keys.
    """
    pixels = len(light)
    for i in range(pixel, pixels):
        if light[i] == light_before[i] and said[i] == level[i]:
            continue
        if not 0 <= light[i] < np.inf:
            return -1, count
        now = np.log(light[i] + dark_level)
        rise = now - level[i]
        mean = light[i] + dark_level
        if abs(rise) > 1e-9:  # of a light whose logarithm is a straight line
            mean = (light[i] - light_before[i]) / rise
        curve = (said[i], level[i] - said[i], rise / duration, speed * mean)
        turn = _turn(curve, duration)
        middle, end = _value(curve, turn), _value(curve, duration)
        first = _crossed(reference[i], said[i], middle, on[i], off[i])
        after = reference[i] + first
        second = _crossed(after, middle, end, on[i], off[i])
        room = abs(first) / (on[i] if first > 0 else off[i]) + abs(second) / (on[i] if second > 0 else off[i])
        if count + room > len(keys) - 1:
            return i, count
        count = _write(curve, reference[i], first, on[i], off[i], 0.0, turn, duration, i, pixels, keys, count)
        count = _write(curve, after, second, on[i], off[i], turn, float(duration), duration, i, pixels, keys, count)
        reference[i] = after + second
        level[i] = now
        said[i] = end
    return pixels, count


@njit(nogil=True, cache=True)
def _value(curve, time):
    """What the photoreceptor says; a curve is its start, how far that lags behind, the slope, and the speed."""
    start, behind, slope, speed = curve
    gone = -math.expm1(-speed * time)
    return start + behind * gone + slope / speed * (speed * time - gone)


@njit(nogil=True, cache=True)
def _turn(curve, duration):
    """When the curve turns; the end of the interval if it does not."""
    _, behind, slope, speed = curve
    lag = slope / speed
    if lag == 0 or (lag - behind) / lag <= 1:
        return float(duration)
    return min(math.log((lag - behind) / lag) / speed, float(duration))


@njit(nogil=True, cache=True)
def _crossed(reference, start, end, on, off):
    """By how much the level of the last event moves on a way without a turn: a multiple of a threshold."""
    threshold = on if end > start else -off
    return max(int((end - reference) / threshold), 0) * threshold


@njit(nogil=True, cache=True)
def _write(curve, reference, moved, on, off, begin, stop, duration, pixel, pixels, keys, count):
    """Write the keys of the crossings on such a way, and return how many keys there are."""
    threshold = on if moved > 0 else -off
    low = begin
    for n in range(1, round(moved / threshold) + 1):
        low = _reached(curve, reference + n * threshold, moved > 0, low, stop)
        since = min(np.int64(low + ROUNDING_US), duration - 1)
        keys[count] = event_key(since, pixel, np.int64(moved > 0), pixels)
        count += 1
    return count


@njit(nogil=True, cache=True)
def _reached(curve, target, is_rising, low, high):
    """When a curve without a turn between two times reaches a value there: by Newton's steps, or by halves."""
    _, behind, slope, speed = curve
    time = (low + high) / 2
    for _ in range(MOST_STEPS):
        missing = target - _value(curve, time)
        if (missing < 0) == is_rising:
            high = time
        else:
            low = time
        left = math.exp(-speed * time)
        steepness = behind * speed * left + slope * (1 - left)
        following = time + missing / steepness if steepness != 0 else low
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - time) < NEAR_US:
            return following
        time = following
    return time
