"""The hybrid encoder of RT-DETR: attention on the coarsest map, then maps exchange what they know by convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checks import InputError
from .attention import Attention
from .layers import ConvNormAct
from .necks import ConvNormSiLU

TEMPERATURE = 1e4
REPEATS = 3
"""Blocks in the deep branch of a ``MergeBlock``."""


def positions(height: int, width: int, channels: int, device: torch.device | str | None = None) -> Tensor:
    """Sines and cosines (height * width, channels) that tell cells apart.

    A quarter of the channels each: sine of x, cosine of x, sine of y, cosine of y. Rows come with x as the slow index,
    while the cells of a map that they are added to have y as theirs: so RT-DETR was trained, and its weights depend on
    it.

    Args:
        height, width: of the map.
        channels: a multiple of 4.
        device: of the result.
    """
    quarter = channels // 4
    frequencies = TEMPERATURE ** -(torch.arange(quarter, device=device) / quarter)
    x, y = torch.meshgrid(
        torch.arange(width, device=device).float(), torch.arange(height, device=device).float(), indexing="ij"
    )
    angles = [axis.flatten()[:, None] * frequencies for axis in (x, y)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)


class TransformerLayer(nn.Module):
    """Attention of all cells of a map to each other, then a perceptron, each added and normed: (N, L, channels), kept.

    Args:
        channels: of input and output.
        heads: of the attention.
        feed_forward: width of the perceptron.
    """

    def __init__(self, channels: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.attention = Attention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, feed_forward), nn.GELU(), nn.Linear(feed_forward, channels))
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        placed = x + position
        x = self.norm1(x + self.attention(placed, placed, x))
        return self.norm2(x + self.mlp(x))


class RepBlock(nn.Module):
    """A convolution of 3x3 and one of 1x1, each normed, and the SiLU of their sum (Ding et al., arXiv 2101.03697)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = ConvNormAct(channels, channels, 3, act=False)
        self.narrow = ConvNormAct(channels, channels, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.wide(x) + self.narrow(x))


class MergeBlock(nn.Module):
    """Two maps become one: a deep and a shallow branch, added: (N, 2 * channels, H, W) -> (N, channels, H, W).

    Args:
        channels: of the output.
        hidden: of the branches; where they are not those of the output, a convolution of 1x1 follows.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.deep = ConvNormSiLU(2 * channels, hidden)
        self.blocks = nn.Sequential(*(RepBlock(hidden) for _ in range(REPEATS)))
        self.shallow = ConvNormSiLU(2 * channels, hidden)
        self.out = nn.Identity() if hidden == channels else ConvNormSiLU(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.blocks(self.deep(x)) + self.shallow(x))


class HybridEncoder(nn.Module):
    """The neck of RT-DETR (Zhao et al., arXiv 2304.08069, section 4.2): maps of any channels become those of one width.

    Args:
        in_channels: of the maps, finest first.
        strides: of the maps; each is twice the one before.
        channels: of the maps that it gives, a multiple of 4.
        heads: of the attention on the coarsest map.
        feed_forward: width of the perceptron behind it.
        expansion: width of the branches of a ``MergeBlock``, as a share of the channels.

    Shapes:
        maps (N, in_channels, h, w) of any size; (N, channels, h, w) each.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        *,
        channels: int = 256,
        heads: int = 8,
        feed_forward: int = 1024,
        expansion: float = 1.0,
    ) -> None:
        super().__init__()
        if channels % 4:
            raise InputError(f"channels must be a multiple of 4, got {channels}.")
        self.channels = (channels,) * len(in_channels)
        self.strides = tuple(strides)
        hidden = max(1, round(channels * expansion))
        steps = range(len(in_channels) - 1)
        self.inputs = nn.ModuleList(ConvNormAct(width, channels, 1, act=False) for width in in_channels)
        self.transformer = TransformerLayer(channels, heads, feed_forward)
        self.laterals = nn.ModuleList(ConvNormSiLU(channels, channels) for _ in steps)
        self.finer = nn.ModuleList(MergeBlock(channels, hidden) for _ in steps)
        self.downs = nn.ModuleList(ConvNormSiLU(channels, channels, 3, stride=2) for _ in steps)
        self.coarser = nn.ModuleList(MergeBlock(channels, hidden) for _ in steps)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        *fine, coarsest = [layer(x) for layer, x in zip(self.inputs, maps, strict=True)]
        passed = [self._attended(coarsest)]
        for lateral, block, low in zip(self.laterals, self.finer, reversed(fine), strict=True):
            passed[-1] = lateral(passed[-1])
            high = functional.interpolate(passed[-1], scale_factor=2, mode="nearest")
            passed.append(block(torch.cat([high, low], dim=1)))
        found = [passed.pop()]
        for down, block in zip(self.downs, self.coarser, strict=True):
            found.append(block(torch.cat([down(found[-1]), passed.pop()], dim=1)))
        return found

    def _attended(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        position = positions(height, width, x.shape[1], x.device).to(x.dtype)
        cells = self.transformer(x.flatten(2).transpose(1, 2), position)
        return cells.transpose(1, 2).unflatten(2, (height, width))
