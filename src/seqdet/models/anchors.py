"""Boxes of fixed sizes on a grid, against which boxes are coded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import check_choice


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
        preset: a key of ``PRESETS``.
        strides: pixels from cell to cell of every map, finest first.
    """

    def __init__(self, preset: str, strides: Sequence[int]) -> None:
        check_choice(preset, PRESETS, "anchors")
        self.preset, self.strides = preset, tuple(strides)

    @property
    def per_cell(self) -> int:
        return len(PRESETS[self.preset].shapes)

    def __call__(self, sizes_hw: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> Tensor:
        """Anchors (A, 4) as centre x, centre y, width, height in pixels, for maps of ``sizes_hw`` cells.

        Ordered by map, row, column, shape. They may reach beyond the image.
        """
        return _anchors(self.preset, self.strides, tuple(sizes_hw), torch.device(device))


@lru_cache(maxsize=64)
def _anchors(
    preset: str, strides: tuple[int, ...], sizes_hw: tuple[tuple[int, int], ...], device: torch.device
) -> Tensor:
    size, shapes = PRESETS[preset]
    levels = []
    for stride, (height, width) in zip(strides, sizes_hw, strict=True):
        sides = torch.tensor([[scale * ratio**-0.5, scale * ratio**0.5] for ratio, scale in shapes]) * size * stride
        rows, columns = (torch.arange(height) + 0.5) * stride, (torch.arange(width) + 0.5) * stride
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        centres = torch.stack([x, y], dim=-1)[:, :, None].expand(-1, -1, len(shapes), -1)
        levels.append(torch.cat([centres, sides.expand(height, width, -1, -1)], dim=-1).flatten(0, 2))
    return torch.cat(levels).to(device)
