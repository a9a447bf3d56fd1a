"""One window through a detector, whatever computes it: what streaming, prediction and benchmarks run on. No torch."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from ...checks import InputError, check_shape
from ...config import InputConfig
from ...events.array import Events
from ...events.tensors import find_representation

State = tuple[Any, ...]
"""What a step remembers: float32 arrays, or tensors, whose first axis is the lane. ``np.asarray`` makes arrays of them
where the step runs on the CPU, and every step goes on from arrays too. Zeros are the memory of a lane that starts."""


class Found(NamedTuple):
    """The detections of one frame.

    xyxy: (N, 4) float32, pixels of the frame, half open.
    labels: (N,) int64, class indices from 0.
    scores: (N,) float32, best first.
    """

    xyxy: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


class Step(Protocol):
    """Takes one window of every lane through a detector.

    Attributes:
        classes: names of the classes, in the order of their labels.
        input: what the frames show, if they show events.
        channels: of a frame.
        dtype: of the frames.
        size_hw: height and width of the only frames that it takes; None for any.
    """

    classes: tuple[str, ...]
    input: InputConfig | None
    channels: int
    dtype: np.dtype

    @property
    def size_hw(self) -> tuple[int, int] | None: ...

    def __call__(self, frames: np.ndarray, state: State | None = None) -> tuple[list[Found], State]:
        """The detections of every lane, B entries, and the memory after this window.

        Args:
            frames: (B, C, H, W), one of each lane.
            state: what the last call returned, or None at the start.

        Raises:
            InputError: if the frames or the memory do not fit the detector.
        """
        ...


def frame_type(shown: InputConfig | None) -> np.dtype:
    """The dtype of the frames that ``shown`` describes; uint8, that of pictures, where they show no events."""
    if shown is None:
        return np.dtype(np.uint8)
    make = find_representation(shown.representation)
    window = {"size_hw": (1, 1), "start_us": 0, "duration_us": shown.window_us}
    return make(Events.empty(), **window, **shown.parameters).dtype


def check_frames(frames: np.ndarray, step: Step) -> None:
    """Raise unless frames are (B, C, H, W) of the channels and the dtype that a step takes."""
    check_shape(frames, "B C H W", "frames", C=step.channels)
    if frames.dtype != step.dtype:
        raise InputError(f"frames must be {step.dtype}, as those that the detector was made for, got {frames.dtype}.")
    if not frames.size:
        raise InputError(f"frames must not be empty, got shape {frames.shape}.")
