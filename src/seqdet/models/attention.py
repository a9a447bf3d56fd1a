"""Attention of queries: among themselves, and to a few places of several maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checks import InputError


class Attention(nn.Module):
    """Attention of several heads (Vaswani et al., arXiv 1706.03762), with positions in queries and keys alone.

    Args:
        channels: of everything.
        heads: they divide the channels.

    Shapes:
        queries (N, Q, channels), keys and values (N, L, channels), the result as the queries.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise InputError(f"heads must divide the channels, got {heads} and {channels}.")
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the queries find.

        Args:
            queries: with their positions.
            keys: with theirs.
            values: as many.
            mask: (N, Q, L) bool, whether a query may look at a key; all may if None.
        """
        query, key, value = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(queries), self.key(keys), self.value(values))
        )
        seen = None if mask is None else mask[:, None]
        found = functional.scaled_dot_product_attention(query, key, value, seen)
        return self.out(found.transpose(1, 2).flatten(2))


class DeformableAttention(nn.Module):
    """Every query looks at some points of every map, chosen by what it holds (Zhu et al., arXiv 2010.04159).

    Points lie relative to the box of the query, in halves of its sides.

    Args:
        channels: of queries and maps.
        heads: they divide the channels.
        levels: maps.
        points: of each head on each map.

    Shapes:
        queries (N, Q, channels), boxes (N, Q, 4) float32 centre x, centre y, width and height as shares of the maps;
        the result as the queries.
    """

    def __init__(self, channels: int, heads: int, *, levels: int, points: int) -> None:
        super().__init__()
        if channels % heads:
            raise InputError(f"heads must divide the channels, got {heads} and {channels}.")
        self.heads = heads
        self.levels = levels
        self.points = points
        self.offsets = nn.Linear(channels, 2 * heads * levels * points)
        self.weights = nn.Linear(channels, heads * levels * points)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        for layer in (self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.offsets.bias.copy_(self._rays())

    def _rays(self) -> Tensor:
        """Offsets of an untrained layer: the points of every head on a ray of its own, one by one farther out."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ray = torch.stack([angle.cos(), angle.sin()], dim=-1)
        ray = ray / ray.abs().amax(dim=-1, keepdim=True)
        distance = torch.arange(1, self.points + 1)
        rays = ray[:, None, None] * distance[:, None]
        return rays.expand(-1, self.levels, -1, -1).flatten()

    def looked_at(self, memory: Tensor, sizes_hw: Sequence[tuple[int, int]]) -> tuple[Tensor, ...]:
        """What queries look at: a map (N * heads, channels / heads, h, w) float32 for each level.

        Args:
            memory: (N, cells of all maps, channels), rows of one map after the other's.
            sizes_hw: of the maps.
        """
        values = self.value(memory).float()
        levels = values.split([height * width for height, width in sizes_hw], dim=1)
        return tuple(
            level.transpose(1, 2).reshape(-1, level.shape[2] // self.heads, height, width)
            for level, (height, width) in zip(levels, sizes_hw, strict=True)
        )

    def forward(self, queries: Tensor, boxes: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """What the queries find.

        Args:
            queries: with their positions.
            boxes: of the queries.
            maps: as ``looked_at`` gives them.
        """
        shape = (self.heads, self.levels, self.points, 2)
        offsets = self.offsets(queries).float().unflatten(2, shape)
        weights = self.weights(queries).float().unflatten(2, (self.heads, -1)).softmax(-1)
        boxes = boxes[:, :, None, None, None]
        places = boxes[..., :2] + offsets * (0.5 / self.points) * boxes[..., 2:]
        grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)  # (N * heads, Q, levels, points, 2)
        sampled = [
            functional.grid_sample(values, grid[:, :, level], mode="bilinear", align_corners=False)
            for level, values in enumerate(maps)
        ]
        weights = weights.transpose(1, 2).flatten(0, 1)[:, None]  # (N * heads, 1, Q, levels * points)
        found = (torch.cat(sampled, dim=-1) * weights).sum(-1)  # (N * heads, channels / heads, Q)
        found = found.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2)
        return self.out(found.to(queries.dtype))
