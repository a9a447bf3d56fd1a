"""What a video of moving digits shows, and where at every moment."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Scene(NamedTuple):
    """What a video shows, one entry per digit, the first in front. Pixels, frames and radians, clockwise.

    digits: (D,) indices of the images.
    colours: (D, 3) RGB in [0, 255].
    mean_height: (D,) of the upright ink.
    zoom, turn: (3, D), the amplitude, period and phase of a sine; of the height over its mean, and of the angle.
    lowest_xy, range_xy: (D, 2), where the centre may go: from the lowest value, over a range.
    start_xy, velocity_xy: (D, 2), the straight motion that is folded into that range.
    """

    digits: np.ndarray
    colours: np.ndarray
    mean_height: np.ndarray
    zoom: np.ndarray
    turn: np.ndarray
    lowest_xy: np.ndarray
    range_xy: np.ndarray
    start_xy: np.ndarray
    velocity_xy: np.ndarray

    def at(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Heights (T, D), angles (T, D) and centres (T, D, 2) of the digits at the given moments.

        ``frames`` are frame numbers, also fractions: (T,), or (T, D) where every digit has moments of its own.
        """
        frames = frames if frames.ndim == 2 else frames[:, None]
        amplitude, period, phase = self.zoom
        heights = self.mean_height * (1 + amplitude * np.sin(2 * np.pi * frames / period + phase))
        amplitude, period, phase = self.turn
        angles = amplitude * np.sin(2 * np.pi * frames / period + phase)
        straight = self.start_xy + frames[..., None] * self.velocity_xy
        there_and_back = np.mod(straight, np.maximum(2 * self.range_xy, 1e-9))
        return heights, angles, self.lowest_xy + self.range_xy - np.abs(there_and_back - self.range_xy)
