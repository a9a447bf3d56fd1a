"""The events that an event camera would send of frames.

The model is that of ESIM (Rebecq, Gehrig and Scaramuzza, "ESIM: an Open Event Camera Simulator", CoRL 2018): every
pixel follows the logarithm of its light, which is a straight line in time from one frame to the next, and sends an
event whenever that has moved by a threshold from the level of its last event.

Between two frames nothing is known. A video of 30 frames per second has big jumps between them: an edge that moves by
ten pixels in a frame does not wander over the pixels in between but fades out here and in there, as a burst of events
that is spread over the whole interval. Frames should be so close in time that things move by a pixel at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

import numpy as np
from numba import njit

from ..checks import InputError, check_at_least
from .array import Events
from .sensor import USUAL, Sensor

LEAST_THRESHOLD = 0.1  # of a pixel, as a share of the sensor's
FIRST_ROOM = 1 << 14
ROUNDING_US = 1e-6  # by which a crossing may miss its microsecond in floating point
LATE = np.iinfo(np.int64).min // 2  # the time of the last event of a pixel that had none
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Shares of linear red, green and blue in luminance. Source: ITU-R BT.709, whose primaries sRGB has."""
_CODES = np.arange(256) / 255
LIGHT = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4)
"""Linear light of every 8-bit value of sRGB. Source: IEC 61966-2-1."""


def simulate(
    frames: Iterable[np.ndarray], times_us: Iterable[int], *, sensor: Sensor = USUAL, seed: int = 0
) -> Iterator[Events]:
    """The events between every two frames, sorted by time, with times in ``[before, after)``.

    8-bit frames are taken for sRGB and turned into linear light first, as thresholds of a sensor are about light and
    sRGB is about its 1/2.2th power; frames of floats are linear light already, 0 for black and 1 for white. Colours
    become luminance. An event has the microsecond in which the threshold is reached. In the refractory time of a pixel
    events are lost, but its level moves on as if they had been sent. Noise is a Poisson process and
    leaves the level alone. A first frame gives no events: all pixels begin at its level.

    Frames are asked for one at a time; memory is that of one interval.

    Args:
        frames: (H, W) or (H, W, 3) each, uint8 or float, at least two and all of one size.
        times_us: when the frames were taken; rising, in microseconds.
        sensor: thresholds and noise.
        seed: of the thresholds of the pixels and the noise. The same seed gives the same events.

    Raises:
        InputError: while iterating, if frames and times are not as above, or not equally many.
    """
    check_at_least(seed, 0, "seed")
    camera = None
    intervals = 0
    for frame, time_us in zip_longest(frames, times_us):
        if frame is None or time_us is None:
            raise InputError(f"times_us must be as many as frames, got {'more' if frame is None else 'fewer'}.")
        if camera is None:
            camera = _Camera(frame, int(time_us), sensor, seed)
        else:
            yield camera.until(frame, int(time_us))
            intervals += 1
    if not intervals:
        raise InputError(f"frames must be at least two, got {'none' if camera is None else 'one'}.")


class _Camera:
    """The pixels between two frames: the light and its logarithm, the level of the last event, and its time."""

    def __init__(self, frame: np.ndarray, time_us: int, sensor: Sensor, seed: int) -> None:
        self._sensor = sensor
        self._rng = np.random.default_rng(seed)
        self._time_us = time_us
        self._shape = frame.shape
        self._light = _light(frame)
        if not (np.isfinite(self._light).all() and self._light.min() >= 0):
            raise _bad_light()
        pixels = self._light.size
        self._level = np.log(self._light.astype(np.float64) + sensor.dark_level)
        self._reference = self._level.copy()
        spread = 1 + sensor.threshold_spread * self._rng.standard_normal((2, pixels))
        self._on, self._off = np.maximum(spread, LEAST_THRESHOLD) * [[sensor.on_threshold], [sensor.off_threshold]]
        self._last_us = np.full(pixels, LATE)
        self._keys = np.empty(FIRST_ROOM, np.int64)

    def until(self, frame: np.ndarray, time_us: int) -> Events:
        """The events up to the next frame."""
        duration = time_us - self._time_us
        sensor = self._sensor
        pixels = self._light.size
        if not 0 < duration < 2**62 // pixels:
            raise InputError(f"times_us must rise, by less than ages, got {time_us} after {self._time_us}.")
        if frame.shape != self._shape:
            raise InputError(f"frames must all be of one size, got {frame.shape} after {self._shape}.")
        light = _light(frame)
        pixel = 0
        count = 0
        while True:
            pixel, count = _crossings(
                light, self._light, self._level, self._reference, self._on, self._off,
                sensor.dark_level, duration, pixel, self._keys, count,
            )  # fmt: skip
            if pixel == pixels:
                break
            if pixel < 0:
                raise _bad_light()
            self._keys = np.concatenate([self._keys, np.empty_like(self._keys)])
        keys = np.sort(np.concatenate([self._keys[:count], self._noise(duration)]))
        events = _sent(keys, self._last_us, sensor.refractory_us, self._time_us, self._shape[1])
        self._time_us = time_us
        self._light = light
        return Events(*events)

    def _noise(self, duration: int) -> np.ndarray:
        """Keys of events without a cause."""
        sensor = self._sensor
        pixels = self._light.size
        rates_hz = np.array([sensor.shot_noise_hz / 2, sensor.shot_noise_hz / 2 + sensor.leak_rate_hz])
        darker, brighter = self._rng.poisson(rates_hz * pixels * duration / 1e6)
        return _key(
            self._rng.integers(0, duration, darker + brighter),
            self._rng.integers(0, pixels, darker + brighter),
            np.arange(darker + brighter) >= darker,
            pixels,
        )


def _light(frame: np.ndarray) -> np.ndarray:
    """Linear luminance of the pixels, (H * W,) float32, or float64 if that was given; never the caller's memory."""
    is_colour = frame.ndim == 3 and frame.shape[2] == 3
    if not (is_colour or frame.ndim == 2) or not 0 < frame.shape[0] <= 65536 or not 0 < frame.shape[1] <= 65536:
        raise InputError(f"frames must have shape (H, W) or (H, W, 3), got {frame.shape}.")
    if frame.dtype == np.uint8:
        shares = LUMINANCE if is_colour else np.ones(1)
        return _linear_luminance(frame.reshape(-1, len(shares)), (shares[:, None] * LIGHT).astype(np.float32))
    if frame.dtype.kind != "f":
        raise InputError(f"frames must be uint8 or float, got {frame.dtype}.")
    dtype = np.float64 if frame.dtype.itemsize >= 8 else np.float32
    return (frame @ LUMINANCE if is_colour else frame).astype(dtype).ravel()


def _bad_light() -> InputError:
    return InputError("frames must be finite and not negative; a pixel is not.")


@njit(nogil=True, cache=True)
def _linear_luminance(values, light):
    out = np.zeros(len(values), np.float32)
    for i in range(len(values)):
        for channel in range(len(light)):
            out[i] += light[channel, values[i, channel]]
    return out


@njit(nogil=True, cache=True)
def _key(since_us, pixel, polarity, pixels):
    """One number for an event of an interval; numbers in order are events by time, then from row to row."""
    return (since_us * pixels + pixel) * 2 + polarity


@njit(nogil=True, cache=True)
def _crossings(light, light_before, level, reference, on, off, dark_level, duration, pixel, keys, count):
    """Write the keys of all crossings from ``pixel`` on while there is room, and move levels and references on.

    Returns the first pixel that was left, or -1 if the light of one is no number from 0 on, and the number of keys.
    """
    pixels = len(light)
    for i in range(pixel, pixels):
        if light[i] == light_before[i]:
            continue
        if not 0 <= light[i] < np.inf:
            return -1, count
        now, before = np.log(light[i] + dark_level), level[i]
        polarity = now > before
        threshold = on[i] if polarity else -off[i]
        crossed = int((now - reference[i]) / threshold)
        if count + crossed > len(keys):
            return i, count
        for n in range(1, crossed + 1):
            share = (reference[i] + n * threshold - before) / (now - before)
            since = min(np.int64(share * duration + ROUNDING_US), duration - 1)
            keys[count] = _key(since, i, np.int64(polarity), pixels)
            count += 1
        if crossed > 0:
            reference[i] += crossed * threshold
        level[i] = now
    return pixels, count


@njit(nogil=True, cache=True)
def _sent(keys, last_us, refractory, start_us, width):
    """The columns of the events with these keys, less those of pixels that had one just before."""
    t, x = np.empty(len(keys), np.int64), np.empty(len(keys), np.uint16)
    y, p = np.empty(len(keys), np.uint16), np.empty(len(keys), np.uint8)
    pixels = len(last_us)
    count = 0
    for key in keys:
        since, pixel = divmod(key >> 1, pixels)
        time = start_us + since
        if time - last_us[pixel] < refractory:
            continue
        last_us[pixel] = time
        t[count], x[count], y[count], p[count] = time, pixel % width, pixel // width, key & 1
        count += 1
    return t[:count], x[:count], y[:count], p[:count]
