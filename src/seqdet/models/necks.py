"""Necks: maps of features of several strides exchange what they know."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNormSiLU(nn.Module):
    """Convolution without bias, batch norm, SiLU: (N, C, H, W) -> (N, channels, H / stride, W / stride).

    Args:
        in_channels: of the input.
        channels: of the output.
        kernel_size: odd.
        stride: of the convolution.
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: int = 1, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.norm(self.conv(x)), inplace=True)


class CrossStagePartial(nn.Module):
    """Two narrow branches side by side, one of them deep: (N, in_channels, H, W) -> (N, channels, H, W).

    The bottlenecks have no shortcut (Wang et al., arXiv 1911.11929, as in YOLOX, arXiv 2107.08430).

    Args:
        in_channels: of the input.
        channels: of the output; the branches have half of them.
        depth: bottlenecks in the deep branch.
    """

    def __init__(self, in_channels: int, channels: int, *, depth: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.deep = ConvNormSiLU(in_channels, hidden)
        self.bottlenecks = nn.Sequential(
            *(nn.Sequential(ConvNormSiLU(hidden, hidden), ConvNormSiLU(hidden, hidden, 3)) for _ in range(depth))
        )
        self.shallow = ConvNormSiLU(in_channels, hidden)
        self.merge = ConvNormSiLU(2 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(torch.cat([self.bottlenecks(self.deep(x)), self.shallow(x)], dim=1))


class PAFPN(nn.Module):
    """Down from the coarsest of three maps to the finest, and up again (Liu et al., arXiv 1803.01534, as in YOLOX).

    Args:
        channels: of the three maps, finest first.
        strides: of the maps; each is twice the one before.
        depth: bottlenecks of each of the four blocks.

    Shapes:
        three maps (N, channels, h, w), and three of the same shapes.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], *, depth: int = 1) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.strides = tuple(strides)
        fine, middle, coarse = channels
        self.reduce_coarse = ConvNormSiLU(coarse, middle)
        self.down_middle = CrossStagePartial(2 * middle, middle, depth=depth)
        self.reduce_middle = ConvNormSiLU(middle, fine)
        self.down_fine = CrossStagePartial(2 * fine, fine, depth=depth)
        self.stride_fine = ConvNormSiLU(fine, fine, 3, stride=2)
        self.up_middle = CrossStagePartial(2 * fine, middle, depth=depth)
        self.stride_middle = ConvNormSiLU(middle, middle, 3, stride=2)
        self.up_coarse = CrossStagePartial(2 * middle, coarse, depth=depth)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = maps
        from_coarse = self.reduce_coarse(coarse)
        from_middle = self.reduce_middle(self.down_middle(torch.cat([_doubled(from_coarse), middle], dim=1)))
        fine = self.down_fine(torch.cat([_doubled(from_middle), fine], dim=1))
        middle = self.up_middle(torch.cat([self.stride_fine(fine), from_middle], dim=1))
        coarse = self.up_coarse(torch.cat([self.stride_middle(middle), from_coarse], dim=1))
        return [fine, middle, coarse]


def _doubled(x: Tensor) -> Tensor:
    """Every cell four times: (N, C, h, w) -> (N, C, 2h, 2w)."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")


class FPN(nn.Module):
    """Feature pyramid: what coarse maps know is added to the finer ones (Lin et al., arXiv 1612.03144).

    A 1x1 convolution makes the channels equal, the next coarser map is added by nearest neighbours, and a 3x3
    convolution follows, as in the paper.

    Args:
        in_channels: of every map, finest first.
        strides: of every map.
        channels: of the maps that it gives.

    Shapes:
        maps (N, in_channels, h, w) each; the same with ``channels``.
    """

    def __init__(self, in_channels: Sequence[int], strides: Sequence[int], channels: int) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.channels = (channels,) * len(self.strides)
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in in_channels)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        mixed = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for level in reversed(range(len(mixed) - 1)):
            size_hw = mixed[level].shape[-2:]
            mixed[level] = mixed[level] + functional.interpolate(mixed[level + 1], size=size_hw, mode="nearest")
        return [smooth(x) for smooth, x in zip(self.smooth, mixed, strict=True)]
