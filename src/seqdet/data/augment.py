"""Changes to training recordings: one draw per recording and epoch.

It holds for all frames of the recording, so that what a detector remembers stays where it is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import InputError
from ..config import AugmentConfig
from .channels import Channel
from .transform import Transform

SEED_TAG = 3  # sets the random numbers apart from those of videos, pauses and order


def draw(
    config: AugmentConfig,
    *,
    seed: int,
    recording: int,
    epoch: int,
    size_hw: tuple[int, int],
    channels: Sequence[Channel] | None = None,
) -> Transform:
    """The change of a recording in an epoch: a pure function. A blank lane, recording -1, is never changed.

    Changing a probability leaves what the others draw as it was.

    Args:
        config: how likely and how strong each change is.
        seed, recording, epoch: what it is drawn from.
        size_hw: height and width of the frames.
        channels: of ``channel_order``; None if unknown.

    Raises:
        InputError: if a polarity may be dropped or a recording played backwards and ``channels`` do not say how.
    """
    _check_channels(config, channels)
    if recording < 0:
        return Transform(size_hw)
    random = np.random.default_rng([SEED_TAG, seed, recording, epoch])
    chances, amounts = random.random(7), random.random(9)
    (height, width), matrix = size_hw, np.eye(3)
    if chances[0] < config.flip:
        matrix = _matrix([[-1, 0], [0, 1]], width, 0) @ matrix
    if chances[1] < config.zoom:
        is_in = amounts[0] < config.zoom_in_share
        smallest, largest = config.zoom_in if is_in else config.zoom_out
        factor = smallest + amounts[1] * (largest - smallest)
        factor = factor if is_in else 1 / factor
        matrix = _matrix(np.eye(2) * factor, *((1 - factor) * amounts[2:4] * (width, height))) @ matrix
    if chances[2] < config.rotate:
        angle = math.radians((2 * amounts[4] - 1) * config.max_rotation)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        centre = np.array([width / 2, height / 2])
        matrix = _matrix(turn, *(centre - turn @ centre)) @ matrix
    if chances[3] < config.translate:
        shift = (2 * amounts[5:7] - 1) * config.max_shift * (width, height)
        matrix = _matrix(np.eye(2), *np.rint(shift)) @ matrix
    return Transform(
        size_hw,
        matrix=tuple(tuple(row) for row in matrix[:2].tolist()),
        channels=None if channels is None else tuple(channels),
        dropped_polarity=int(amounts[7] < 0.5) if chances[4] < config.polarity_dropout else None,
        dropped_share=float(amounts[8] * config.max_dropped) if chances[5] < config.event_dropout else 0.0,
        is_reversed=bool(chances[6] < config.time_flip),
        least_visible=config.least_visible,
        key=int(random.integers(2**63)),
    )


def _matrix(linear: Any, across: float, down: float) -> np.ndarray:
    return np.block([[np.array(linear), np.array([[across], [down]])], [np.array([[0, 0, 1]])]])


def _check_channels(config: AugmentConfig, channels: Sequence[Channel] | None) -> None:
    if config.polarity_dropout and (channels is None or any(each.polarity is None for each in channels)):
        raise InputError(
            "polarity_dropout must be 0 for this representation: its channels are not known to have one polarity each."
        )
    if config.time_flip and (channels is None or any(each.bin is None for each in channels)):
        raise InputError("time_flip must be 0 for this representation: it is not known how its frames look backwards.")
