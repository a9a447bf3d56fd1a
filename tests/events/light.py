"""Light, and the events that a simulated sensor sends of it."""

from __future__ import annotations

import numpy as np

from seqdet.events.array import Events
from seqdet.events.sensor import Sensor
from seqdet.events.simulation import simulate

DARK = 0.02
IDEAL = Sensor(threshold_spread=0, refractory_us=0, leak_rate_hz=0, shot_noise_hz=0, dark_level=DARK)


def all_events(frames, times_us, *, sensor=IDEAL, seed=0) -> Events:
    return Events.concatenate(list(simulate(frames, times_us, sensor=sensor, seed=seed)))


def light(levels) -> np.ndarray:
    """The light of which the sensor sees this logarithm."""
    return np.exp(np.asarray(levels, np.float64)) - DARK


def rows(events: Events) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in (events.t, events.x, events.y, events.p)), strict=True))


def texture(frames: int, *, height: int = 12, width: int = 9, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width), np.uint8)
