"""When each pixel last had an event: how boxes move with the events, and how what is in them looks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numba import njit

from ...checks import InputError, check_at_least
from ...events.array import Events

LONG_AGO_US = -(1 << 60)
REACH = 8
"""Pixels that a box moves at most, each way, in one call of ``follow``."""
SIDE = 8
"""Rows and columns of a descriptor."""
_SAMPLES = 32  # of a side of a box that are compared; larger boxes are thinned out


class TimeSurface:
    """The time of the last event of every pixel, and the same at an earlier moment, the anchor.

    A pixel weighs 1 at its event, then less and less in a straight line, and nothing ``delta_t_us`` later.

    Args:
        size_hw: height and width of the sensor in pixels.
        delta_t_us: how long an event counts.
    """

    def __init__(self, size_hw: tuple[int, int], delta_t_us: int) -> None:
        check_at_least(min(size_hw), 1, "size_hw")
        self._delta_t_us = delta_t_us
        self._last_us = np.full(size_hw, LONG_AGO_US)
        self._anchor_us = self._last_us.copy()
        self._anchored_us = 0

    def add(self, events: Events) -> None:
        """Take in events in the order in which they were sent.

        Raises:
            InputError: if one is outside of the sensor.
        """
        height, width = self._last_us.shape
        if len(events) and (events.y.max() >= height or events.x.max() >= width):
            raise InputError(f"events must lie in the {width}x{height} pixels of the sensor, got others.")
        self._last_us[events.y, events.x] = events.t

    def anchor(self, time_us: int) -> None:
        """From now on boxes move as the events do since ``time_us``."""
        self._anchor_us[...] = self._last_us
        self._anchored_us = time_us

    def follow(self, boxes: np.ndarray, anchors_xy: np.ndarray, time_us: int) -> np.ndarray:
        """(N, 2) top left corners to which the events have carried boxes since the anchor, by whole pixels.

        What was in a box at the anchor is looked for around the place that the box has now, uphill by the cosine
        of the two patches of weights. A box without events stays.

        Args:
            boxes: (N,) rows with fields x, y, w, h.
            anchors_xy: (N, 2) corners that they had at the anchor.
            time_us: now.
        """
        corners = np.stack([boxes["x"], boxes["y"]], axis=1)
        shifts = np.rint(corners - anchors_xy).astype(np.int64)
        places = self._pixels(anchors_xy, np.stack([boxes["w"], boxes["h"]], axis=1))
        times_us = self._anchored_us, time_us, self._delta_t_us
        steps = shifts + carried(self._anchor_us, self._last_us, times_us, places, shifts)
        return anchors_xy + steps.astype(corners.dtype)

    def descriptors(self, boxes: np.ndarray, time_us: int) -> np.ndarray:
        """(N, SIDE * SIDE) float32 of length 1: the weights in a box, pooled. Flat where there was no event."""
        result = np.full((len(boxes), SIDE * SIDE), 1 / SIDE, np.float32)
        corners, sizes = (np.stack([boxes[name] for name in names], axis=1) for names in ("xy", "wh"))
        for k, (x, y, w, h) in enumerate(self._pixels(corners, sizes)):
            patch = self._weights(self._last_us[y : y + h, x : x + w], time_us)
            rows, columns = (np.arange(SIDE) * length // SIDE for length in patch.shape)
            pooled = np.add.reduceat(np.add.reduceat(patch, rows, axis=0), columns, axis=1).ravel()
            if (length := np.linalg.norm(pooled)) > 0:
                result[k] = pooled / length
        return result

    def state(self) -> dict[str, np.ndarray]:
        """What ``restore`` takes."""
        return {
            "last_us": self._last_us.copy(),
            "anchor_us": self._anchor_us.copy(),
            "anchored_us": np.array(self._anchored_us),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what ``state`` gave; raises ``InputError`` if that was of another sensor size."""
        if state["last_us"].shape != self._last_us.shape:
            raise InputError(f"state must be of a sensor {self._last_us.shape}, got {state['last_us'].shape}.")
        self._last_us, self._anchor_us = state["last_us"].copy(), state["anchor_us"].copy()
        self._anchored_us = int(state["anchored_us"])

    def _pixels(self, corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """(N, 4) first pixel x, y, width and height of what boxes cover of the sensor, at least one pixel."""
        most = np.array(self._last_us.shape[::-1])
        low = np.floor(corners).clip(0, most - 1).astype(np.int64)
        high = np.ceil(corners.astype(np.float64) + sizes).clip(low + 1, most).astype(np.int64)
        return np.concatenate([low, high - low], axis=1)

    def _weights(self, last_us: np.ndarray, time_us: int) -> np.ndarray:
        return (1 - (time_us - last_us).astype(np.float32) / self._delta_t_us).clip(0, 1)


@njit(nogil=True, cache=True)
def _weight(last_us, time_us, delta_t_us):
    return min(max(1.0 - (time_us - last_us) / delta_t_us, 0.0), 1.0)


@njit(nogil=True, cache=True)
def _likeness(anchor_us, last_us, times_us, place, x_shift, y_shift):
    """Cosine of the weights in a place at the anchor and in the shifted one now, but for the length of the former."""
    x, y, w, h = place
    height, width = last_us.shape
    both, length = 0.0, 0.0
    for row in range(y, y + h, -(-h // _SAMPLES)):
        for column in range(x, x + w, -(-w // _SAMPLES)):
            if 0 <= row + y_shift < height and 0 <= column + x_shift < width:
                now = _weight(last_us[row + y_shift, column + x_shift], times_us[1], times_us[2])
                both += now * _weight(anchor_us[row, column], times_us[0], times_us[2])
                length += now * now
    return both / max(np.sqrt(length), 1e-6)


@njit(nogil=True, cache=True)
def carried(anchor_us, last_us, times_us, places, shifts):
    """(N, 2) steps (x, y), at most REACH each, from shifted places uphill to where they are most like at the anchor.

    ``times_us``: of the anchor, now, and how long an event counts. ``places``: (N, 4) x, y, width and height in pixels.
    """
    steps = np.zeros(shifts.shape, np.int64)
    known = np.empty((2 * REACH + 1, 2 * REACH + 1))
    for k in range(len(places)):
        known[...] = -1
        step = steps[k]
        while True:
            x, y, most = step[0], step[1], -1.0
            for next_y in range(max(y - 1, -REACH), min(y + 1, REACH) + 1):
                for next_x in range(max(x - 1, -REACH), min(x + 1, REACH) + 1):
                    cell = next_y + REACH, next_x + REACH
                    if known[cell] < 0:
                        x_shift, y_shift = shifts[k, 0] + next_x, shifts[k, 1] + next_y
                        known[cell] = _likeness(anchor_us, last_us, times_us, places[k], x_shift, y_shift)
                    if known[cell] > most:
                        most, step[0], step[1] = known[cell], next_x, next_y
            if most <= known[y + REACH, x + REACH] + 1e-6:
                step[0], step[1] = x, y
                break
    return steps
