"""When each pixel last had an event: how boxes move with the events, and how what is in them looks. Numpy alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

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
        moved = np.stack([boxes["x"], boxes["y"]], axis=1)
        for k, (x, y) in enumerate(anchors_xy):
            corner, size = self._pixels(x, y, boxes["w"][k], boxes["h"][k])
            shift = np.rint(moved[k] - anchors_xy[k]).astype(np.int64)
            before_us = _patch(self._anchor_us, corner, size)
            now_us = _patch(self._last_us, corner + shift - REACH, size + 2 * REACH)
            moved[k] = anchors_xy[k] + shift + self._uphill(before_us, now_us, time_us)
        return moved

    def descriptors(self, boxes: np.ndarray, time_us: int) -> np.ndarray:
        """(N, SIDE * SIDE) float32 of length 1: the weights in a box, pooled. Flat where there was no event."""
        result = np.full((len(boxes), SIDE * SIDE), 1 / SIDE, np.float32)
        for k, box in enumerate(boxes):
            patch = self._weights(_patch(self._last_us, *self._pixels(*(box[name] for name in "xywh"))), time_us)
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

    def _pixels(self, x: float, y: float, w: float, h: float) -> tuple[np.ndarray, np.ndarray]:
        """First pixel (x, y) and size of what a box covers of the sensor, at least one pixel."""
        most = np.array(self._last_us.shape[::-1])
        low = np.floor([x, y]).clip(0, most - 1).astype(np.int64)
        high = np.ceil([float(x) + float(w), float(y) + float(h)]).clip(low + 1, most).astype(np.int64)
        return low, high - low

    def _weights(self, last_us: np.ndarray, time_us: int) -> np.ndarray:
        return (1 - (time_us - last_us).astype(np.float32) / self._delta_t_us).clip(0, 1)

    def _uphill(self, before_us: np.ndarray, now_us: np.ndarray, time_us: int) -> np.ndarray:
        """(2,) steps (x, y) from the middle of ``now_us``, larger by REACH on all sides, to the place like before."""
        thin = tuple(slice(None, None, -(-length // _SAMPLES)) for length in before_us.shape)
        places_us = sliding_window_view(now_us, before_us.shape)[(..., *thin)]
        before, place = self._weights(before_us[thin], self._anchored_us), np.zeros(2, np.int64)
        while True:
            low, high = np.maximum(place - 1, -REACH) + REACH, np.minimum(place + 1, REACH) + REACH
            around = self._weights(places_us[low[1] : high[1] + 1, low[0] : high[0] + 1], time_us)
            likeness = np.einsum("yxij,ij->yx", around, before)
            likeness /= np.sqrt(np.einsum("yxij,yxij->yx", around, around)).clip(1e-6)
            x, y = place + REACH - low
            if likeness.max() <= likeness[y, x] + 1e-6:
                return place
            best = np.unravel_index(likeness.argmax(), likeness.shape)
            place = low + best[::-1] - REACH


def _patch(last_us: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """``size`` pixels (x, y) from ``corner`` on, without events beyond the sensor."""
    low = np.clip(corner, 0, last_us.shape[::-1])
    high = np.clip(corner + size, low, last_us.shape[::-1])
    inside = last_us[low[1] : high[1], low[0] : high[0]]
    if inside.shape == tuple(size[::-1]):
        return inside
    result, (x, y) = np.full(size[::-1], LONG_AGO_US), low - corner
    result[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return result
