"""Necks: from the maps of a backbone to maps of equally many channels, which have seen each other."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


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
