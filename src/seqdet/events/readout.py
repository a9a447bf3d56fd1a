"""How a simulated sensor sends its events: one after the other, each pixel silent for a while after its own.

Where there is a limit of events per second, they wait in a line, as requests of pixels at the arbiter of an
address-event bus do (Boahen, "Point-to-Point Connectivity between Neuromorphic Chips Using Address Events", IEEE
TCAS-II 47(5), 2000): first come, first served, each as long as any other. An event has the time at which it is read,
and a pixel that waits sees nothing; so at most as many wait as there are pixels. Arbiters that serve whole rows, or the
near before the far, keep another order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .array import Events

LATE = np.iinfo(np.int64).min // 2  # the time of the last event of a pixel that had none


@njit(nogil=True, cache=True)
def event_key(since_us, pixel, polarity, pixels):
    """One number for an event of an interval; numbers in order are events by time, then from row to row."""
    return (since_us * pixels + pixel) * 2 + polarity


class Readout:
    """The events of all pixels as they leave the sensor.

    Args:
        pixels: how many there are, row by row.
        width: of a row.
        refractory_us: for so long a pixel is silent when its event was read.
        limit_hz: events per second of the whole sensor; 0 for no limit.
    """

    def __init__(self, pixels: int, width: int, *, refractory_us: int, limit_hz: float = 0.0) -> None:
        self._width = width
        self._refractory_us = refractory_us
        self._service_us = 1e6 / limit_hz if limit_hz else 0.0
        self._last_us = np.full(pixels, LATE)
        self._waiting = Events.empty()
        self._free_us = 0.0  # from the start of the interval, when the last of them was read

    def sent(self, keys: np.ndarray, start_us: int, end_us: int) -> Events:
        """The events with these keys, sorted, that are read in ``[start_us, end_us)``; what waits comes first.

        Args:
            keys: of ``event_key``, of this interval, (N,) int64, rising.
            start_us, end_us: of the interval, which follows the one before.
        """
        *columns, free_us = _read(
            keys, self._last_us, self._refractory_us, self._service_us, self._free_us, start_us, self._width
        )
        events = Events(*columns)
        if not self._service_us:
            return events
        self._free_us = max(free_us - (end_us - start_us), 0.0)
        events = Events.concatenate([self._waiting, events])
        read = int(np.searchsorted(events.t, end_us))
        self._waiting = events[read:]
        return events[:read]


@njit(nogil=True, cache=True)
def _read(keys, last_us, refractory, service, free, start_us, width):
    """The columns of the events with these keys, less those that are lost; and when the last of them is read."""
    t, x = np.empty(len(keys), np.int64), np.empty(len(keys), np.uint16)
    y, p = np.empty(len(keys), np.uint16), np.empty(len(keys), np.uint8)
    pixels = len(last_us)
    count = 0
    for key in keys:
        since, pixel = divmod(key >> 1, pixels)
        if start_us + since - last_us[pixel] < refractory:
            continue
        time = start_us + since
        if service > 0:
            free = max(float(since), free) + service
            time = start_us + np.int64(free)
        last_us[pixel] = time
        t[count], x[count], y[count], p[count] = time, pixel % width, pixel // width, key & 1
        count += 1
    return t[:count], x[:count], y[:count], p[:count], free
