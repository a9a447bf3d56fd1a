"""Cells of three maps, what a head may say of them, and boxes to be found: for the tests of assignments."""

from __future__ import annotations

import torch

from seqdet.structures import Boxes

CLASSES = 3


def make_cells(height: int = 64, width: int = 96) -> torch.Tensor:
    """Centre x, centre y and stride (A, 3), by map, row, column."""
    return torch.tensor(
        [
            ((x + 0.5) * stride, (y + 0.5) * stride, stride)
            for stride in (8, 16, 32)
            for y in range(height // stride)
            for x in range(width // stride)
        ]
    )


def make_predicted(frames: int, cells: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Boxes (frames, A, 4) around the cells."""
    size = cells[:, 2:] * (torch.randn(frames, len(cells), 2, generator=generator)).exp()
    centre = cells[:, :2] + cells[:, 2:] * torch.randn(frames, len(cells), 2, generator=generator)
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def make_truth(count: int, seed: int, *, height: int = 64, width: int = 96, ignored: bool = False) -> Boxes:
    """Boxes in a frame; every third is to be left alone, if wanted."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    half = 1 + 15 * torch.rand(count, 2, generator=generator)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    is_ignored = torch.arange(count) % 3 == 0 if ignored else None
    return Boxes(torch.cat([centre - half, centre + half], dim=1), labels, is_ignored=is_ignored)
