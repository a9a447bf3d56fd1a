"""Pictures of any size as the frames of a detector: resized with their shape kept, grey or in colour."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..config import Colour

CHANNELS: dict[Colour, int] = {"rgb": 3, "grey": 1}
"""Of a frame."""


def fitted_size(size_hw: tuple[int, int], frame_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width that a picture has in a frame: all of it is there, as large as can be, in its own shape."""
    scale = min(frame_hw[0] / size_hw[0], frame_hw[1] / size_hw[1])
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def fit_scale(size_hw: tuple[int, int], frame_hw: tuple[int, int]) -> tuple[float, float]:
    """Pixels of the picture across one of the frame, along x and y: the two differ by rounding alone."""
    height, width = fitted_size(size_hw, frame_hw)
    return size_hw[1] / width, size_hw[0] / height


def fitted(picture: np.ndarray, frame_hw: tuple[int, int], colour: Colour) -> np.ndarray:
    """The frame (C, H, W) uint8 of a picture (H, W, 3) uint8 RGB.

    It is resized to ``fitted_size`` and lies at the top left; the rest is black. Grey is luma (ITU-R BT.601).
    """
    image = Image.fromarray(picture)
    if colour == "grey":
        image = image.convert("L")
    if picture.shape[:2] != frame_hw:
        height, width = fitted_size(picture.shape[:2], frame_hw)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)
    if values.shape[1:] == frame_hw:
        return np.array(values, order="C")  # a copy, as Pillow's memory cannot be written to
    frame = np.zeros((len(values), *frame_hw), np.uint8)
    frame[:, : values.shape[1], : values.shape[2]] = values
    return frame
