"""Windows of events as the frames that a detector takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...checks import InputError
from ...config import InputConfig
from ...events.array import Events
from ...events.slicing import Window
from ...events.tensors import blank_frames, find_representation
from ..steps.step import Step


class Framing:
    """Makes one frame after the other, in one buffer.

    shown: what the frames show. scale: (4,) pixels that the detector sees across one of a frame, for x1, y1, x2, y2.

    Args:
        step: the detector, one for events.
        seen_hw: height and width of what it sees, in pixels of the sensor.
        any_size: take another size than in training; frames are then smaller than that by the same factor.

    Raises:
        InputError: if the size is not that of the training, or the frames are not those that the detector takes.
    """

    def __init__(self, step: Step, seen_hw: tuple[int, int], *, any_size: bool = False) -> None:
        assert step.input is not None
        self.shown: InputConfig = step.input
        trained_hw, frame_hw = self.shown.sensor_hw, self.shown.frame_hw
        if seen_hw != trained_hw:
            factors = zip(seen_hw, frame_hw, trained_hw, strict=True)
            height, width = (max(1, round(seen * frame / trained)) for seen, frame, trained in factors)
            frame_hw = height, width
        if step.size_hw not in (None, frame_hw):
            raise InputError(
                f"the detector must see {_size(trained_hw)} pixels, for which it was exported, got {_size(seen_hw)}. "
                f"Export it again, with --size-hw {frame_hw[0]},{frame_hw[1]}."
            )
        if seen_hw != trained_hw and not any_size:
            raise InputError(
                f"the detector must see {_size(trained_hw)} pixels, as in training, got {_size(seen_hw)}. To try it on "
                "another sensor give any_size: boxes are as good as objects are alike in pixels."
            )
        self._represent = find_representation(self.shown.representation)
        self._layout: dict[str, Any] = {"size_hw": seen_hw, "to_hw": frame_hw, **self.shown.parameters}
        window = {"start_us": 0, "duration_us": self.shown.window_us}
        self._buffer = blank_frames(self.shown.representation, **window, **self._layout)
        made = self._buffer.shape[1], self._buffer.dtype
        if made != (step.channels, step.dtype):
            raise InputError(
                f"{self.shown.representation} must make the frames that the detector takes, {step.channels} channels "
                f"of {step.dtype}, got {made[0]} of {made[1]}."
            )
        self.scale = np.tile([seen_hw[1] / frame_hw[1], seen_hw[0] / frame_hw[0]], 2)

    def frames(self, window: Window, events: Events) -> np.ndarray:
        """The frame (1, C, H, W) of a window; ``events`` are its events where the detector sees them."""
        duration_us = window.end_us - window.start_us
        return self._represent(
            events, start_us=window.start_us, duration_us=duration_us, out=self._buffer, **self._layout
        )


def _size(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"
