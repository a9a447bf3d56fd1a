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
from .photoreceptor import ROUNDING_US, delayed_crossings
from .readout import Readout, event_key
from .sensor import USUAL, Sensor

LEAST_THRESHOLD = 0.1  # of a pixel, as a share of the sensor's
FIRST_ROOM = 1 << 14
HOT = 1  # sets the random numbers of the hot pixels apart
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
    leaves the level alone. A first frame gives no events: all pixels begin at its level. What a limited readout has not
    read when the last frame comes is not there.

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
        self._said = self._level.copy()
        spread = 1 + sensor.threshold_spread * self._rng.standard_normal((2, pixels))
        self._on, self._off = np.maximum(spread, LEAST_THRESHOLD) * [[sensor.on_threshold], [sensor.off_threshold]]
        self._hot_rng = np.random.default_rng([seed, HOT])
        self._hot = self._hot_rng.permutation(pixels)[: round(sensor.hot_pixels * pixels)]
        self._readout = Readout(pixels, self._shape[1], refractory_us=sensor.refractory_us, limit_hz=sensor.readout_hz)
        self._keys = np.empty(FIRST_ROOM, np.int64)

    def until(self, frame: np.ndarray, time_us: int) -> Events:
        """The events up to the next frame."""
        duration = time_us - self._time_us
        if not 0 < duration < 2**62 // self._light.size:
            raise InputError(f"times_us must rise, by less than ages, got {time_us} after {self._time_us}.")
        if frame.shape != self._shape:
            raise InputError(f"frames must all be of one size, got {frame.shape} after {self._shape}.")
        light = _light(frame)
        keys = np.sort(
            np.concatenate([self._crossings(light, duration), self._noise(light, duration), self._of_hot(duration)])
        )
        events = self._readout.sent(keys, self._time_us, time_us)
        self._time_us = time_us
        self._light = light
        return events

    def _crossings(self, light: np.ndarray, duration: int) -> np.ndarray:
        """Keys of the events of what is seen."""
        sensor = self._sensor
        pixels = self._light.size
        both = light, self._light, self._level
        thresholds = self._reference, self._on, self._off, sensor.dark_level
        speed = 2e-6 * np.pi * sensor.photoreceptor_hz / (1 + sensor.dark_level)
        pixel = 0
        count = 0
        while True:
            rest = duration, pixel, self._keys, count
            if sensor.photoreceptor_hz:
                pixel, count = delayed_crossings(*both, self._said, *thresholds, speed, *rest)
            else:
                pixel, count = _crossings(*both, *thresholds, *rest)
            if pixel == pixels:
                return self._keys[:count]
            if pixel < 0:
                raise _bad_light()
            self._keys = np.concatenate([self._keys, np.empty_like(self._keys)])

    def _noise(self, light: np.ndarray, duration: int) -> np.ndarray:
        """Keys of events without a cause."""
        sensor = self._sensor
        size = self._light.size
        rates_hz = np.array([sensor.shot_noise_hz / 2, sensor.shot_noise_hz / 2 + sensor.leak_rate_hz])
        darker, brighter = self._rng.poisson(rates_hz * size * duration / 1e6)
        since = self._rng.integers(0, duration, darker + brighter)
        pixels = self._rng.integers(0, size, darker + brighter)
        is_brighter = np.arange(darker + brighter) >= darker
        keys = event_key(since, pixels, is_brighter, size)
        if sensor.shot_noise_in_white == 1:
            return keys
        shares = np.array([1, sensor.shot_noise_hz / 2 / max(rates_hz[1], 1e-300)])[is_brighter.astype(int)]
        is_shot = self._rng.random(len(keys)) < shares
        before, after = (each[pixels].astype(np.float64) + sensor.dark_level for each in (self._light, light))
        at_event = before ** (1 - since / duration) * after ** (since / duration) - sensor.dark_level
        lost = (1 - sensor.shot_noise_in_white) * np.clip(at_event, 0, 1)
        return keys[~is_shot | (self._rng.random(len(keys)) >= lost)]

    def _of_hot(self, duration: int) -> np.ndarray:
        """Keys of the events of hot pixels."""
        count = self._hot_rng.poisson(self._sensor.hot_pixel_hz * len(self._hot) * duration / 1e6)
        since = self._hot_rng.integers(0, duration, count)
        hot = self._hot[self._hot_rng.integers(0, max(len(self._hot), 1), count)]
        return event_key(since, hot, self._hot_rng.integers(0, 2, count), self._light.size)


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
            keys[count] = event_key(since, i, np.int64(polarity), pixels)
            count += 1
        if crossed > 0:
            reference[i] += crossed * threshold
        level[i] = now
    return pixels, count
