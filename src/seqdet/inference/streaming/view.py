"""A part of the sensor, mirrored or turned: how a detector sees a camera that is mounted in another way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...checks import InputError, fit_fields
from ...events.array import Events


@dataclass(frozen=True)
class ViewConfig:
    """What a detector sees of a sensor. First the rest is left out, then x and y change places, then it is flipped."""

    roi: tuple[int, int, int, int] | None = None
    """x1, y1, x2, y2: events outside are left out, and the others stay where they are."""
    transpose: bool = False
    """Whether x and y change places."""
    flip_x: bool = False
    """Whether left and right change places, as seen after ``transpose``."""
    flip_y: bool = False
    """Whether top and bottom change places, as seen after ``transpose``."""

    def __post_init__(self) -> None:
        fit_fields(self)
        if self.roi and not (0 <= self.roi[0] < self.roi[2] and 0 <= self.roi[1] < self.roi[3]):
            raise InputError(f"roi must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, got {self.roi}.")


class View:
    """Events as a detector sees them, and its boxes as the sensor has them.

    seen_hw: height and width of what it sees.

    Args:
        config: which view.
        sensor_hw: height and width of the sensor in pixels.
    """

    def __init__(self, config: ViewConfig, sensor_hw: tuple[int, int]) -> None:
        height, width = sensor_hw
        self.config, self.seen_hw = config, (width, height) if config.transpose else (height, width)
        if config.roi and (config.roi[0] >= width or config.roi[1] >= height):
            raise InputError(f"roi must lie in the {width}x{height} pixels of the sensor, got {config.roi}.")

    def is_inside(self, events: Events) -> np.ndarray:
        """Which events are in the region of interest, (N,) bool."""
        if self.config.roi is None:
            return np.ones(len(events), np.bool_)
        x1, y1, x2, y2 = self.config.roi
        return (events.x >= x1) & (events.x < x2) & (events.y >= y1) & (events.y < y2)

    def seen(self, events: Events) -> Events:
        """The events at the places where the detector sees them."""
        x, y = (events.y, events.x) if self.config.transpose else (events.x, events.y)
        height, width = self.seen_hw
        x = np.uint16(width - 1) - x if self.config.flip_x else x
        y = np.uint16(height - 1) - y if self.config.flip_y else y
        return Events(events.t, x, y, events.p)

    def to_sensor(self, xyxy: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) in pixels that the detector sees as boxes in pixels of the sensor."""
        x1, y1, x2, y2 = xyxy.T
        height, width = self.seen_hw
        if self.config.flip_x:
            x1, x2 = width - x2, width - x1
        if self.config.flip_y:
            y1, y2 = height - y2, height - y1
        return np.stack([y1, x1, y2, x2] if self.config.transpose else [x1, y1, x2, y2], axis=1)
