"""A detector without weights, whose answers are easy to foresee."""

from __future__ import annotations

import numpy as np

from seqdet.config import InputConfig
from seqdet.data.detections import Detections

SENSOR_HW = 24, 32
WINDOW_US = 1000
SHOWN = InputConfig("stacked_histogram", {"bins": 1}, WINDOW_US, SENSOR_HW, SENSOR_HW)


class HullRunner:
    """Finds the hull of what is not zero. Its class is a for odd and b for even windows, its score falls with age."""

    classes = ("a", "b")
    dtype = np.dtype(np.uint8)
    size_hw = None

    def __init__(self, shown: InputConfig | None = SHOWN, channels: int = 2) -> None:
        self.input, self.channels = shown, channels

    def __call__(self, frames, state=None):
        (memory,) = state or (np.zeros((len(frames), 1), np.float32),)
        found = []
        for frame, age in zip(frames, memory[:, 0], strict=True):
            y, x = np.nonzero(frame.any(axis=0))
            hull = [[x.min(), y.min(), x.max() + 1, y.max() + 1]] if len(x) else []
            labels, scores = np.full(len(hull), int(age) % 2), np.full(len(hull), 0.9**age, np.float32)
            found.append(Detections(np.array(hull, np.float32).reshape(-1, 4), labels, scores))
        return found, (memory + 1,)
