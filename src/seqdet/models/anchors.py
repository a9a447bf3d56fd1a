"""Boxes of fixed sizes on a grid, against which boxes are coded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class AnchorPreset(NamedTuple):
    """Shapes of the anchors in one cell.

    size: side of an anchor of ratio 1 and scale 1 on the finest map, in cells; so pixels double from level to level.
    shapes: one (ratio, scale) per anchor; the ratio is height over width, and the area does not depend on it.
    """

    size: float
    shapes: tuple[tuple[float, float], ...]


PRESETS = {
    "psee": AnchorPreset(4.0, ((1 / 3, 1.0), (1 / 2, 1.0), (1.0, 1.0), (1.0, 1.5), (2.0, 1.0), (3.0, 1.0))),
    "coco": AnchorPreset(4.0, tuple((ratio, 2 ** (octave / 3)) for octave in range(3) for ratio in (0.5, 1.0, 2.0))),
    "digits": AnchorPreset(3.5, ((1.0, 1.0), (1.5, 0.9), (1.5, 1.3), (3.0, 0.9))),
}
"""Named presets. ``psee``: six a cell, for road scenes; ``coco``: nine, as in RetinaNet (arXiv 1708.02002); ``digits``:
fitted to the moving digits."""


class Anchors:
    """The anchors of all maps, computed when asked for.

    Args:
        preset: the shapes in one cell, such as an entry of ``PRESETS``.
        strides: pixels from cell to cell of every map, finest first.
    """

    def __init__(self, preset: AnchorPreset, strides: Sequence[int]) -> None:
        self.preset, self.strides = preset, tuple(strides)

    @property
    def per_cell(self) -> int:
        return len(self.preset.shapes)

    def __call__(self, sizes_hw: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> Tensor:
        """Anchors (A, 4) as centre x, centre y, width, height in pixels, for maps of ``sizes_hw`` cells.

        Ordered by map, row, column, shape. They may reach beyond the image.
        """
        return torch.tensor(_anchors(self.preset, self.strides, tuple(sizes_hw)), device=device)


@lru_cache(maxsize=64)
def _anchors(preset: AnchorPreset, strides: tuple[int, ...], sizes_hw: tuple[tuple[int, int], ...]) -> np.ndarray:
    ratio, scale = np.array(preset.shapes).T
    shapes = preset.size * scale[:, None] * np.stack([ratio**-0.5, ratio**0.5], axis=1)  # width and height in cells
    levels = []
    for stride, (height, width) in zip(strides, sizes_hw, strict=True):
        anchors = np.empty((height, width, len(shapes), 4), np.float32)
        anchors[..., 0] = (np.arange(width)[:, None] + 0.5) * stride
        anchors[..., 1] = (np.arange(height)[:, None, None] + 0.5) * stride
        anchors[..., 2:] = shapes * stride
        levels.append(anchors.reshape(-1, 4))
    return np.concatenate(levels)
