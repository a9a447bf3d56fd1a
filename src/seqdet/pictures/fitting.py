"""Pictures of any size as the frames of a detector: resized with their shape kept, grey or in colour."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

Colour = Literal["rgb", "grey"]
CHANNELS: dict[Colour, int] = {"rgb": 3, "grey": 1}
"""Of a frame."""


def fit_scale(size_hw: tuple[int, int], frame_hw: tuple[int, int]) -> float:
    """The factor by which a picture is resized so that all of it is in a frame, and as large as can be."""
    return min(frame_hw[0] / size_hw[0], frame_hw[1] / size_hw[1])


def fitted(picture: np.ndarray, frame_hw: tuple[int, int], colour: Colour) -> np.ndarray:
    """The frame (C, H, W) uint8 of a picture (H, W, 3) uint8 RGB.

    It is resized by ``fit_scale`` and lies at the top left; the rest is black. Grey is luma (ITU-R BT.601).
    """
    image = Image.fromarray(picture)
    if colour == "grey":
        image = image.convert("L")
    height, width = picture.shape[:2]
    if (height, width) != frame_hw:
        scale = fit_scale((height, width), frame_hw)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        image = image.resize(inner, Image.Resampling.BILINEAR)
    values = np.asarray(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)
    if values.shape[1:] == frame_hw:
        return np.ascontiguousarray(values)
    frame = np.zeros((len(values), *frame_hw), np.uint8)
    frame[:, : values.shape[1], : values.shape[2]] = values
    return frame
