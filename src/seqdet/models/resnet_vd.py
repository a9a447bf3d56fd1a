"""ResNet of variant d: three convolutions at the input, and shortcuts that average before they stride. No memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..structures import State
from .layers import ConvNormAct

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
"""Blocks in each of the four stages, by the depth."""
DEEPEST_OF_TWO = 34
"""Deeper networks have bottlenecks, blocks of three convolutions instead of two."""
EXPANSION = 4
"""How much wider the end of a bottleneck is than its middle."""


class ResidualBlock(nn.Module):
    """Two or three convolutions beside a shortcut: (N, C, H, W) -> (N, channels, H / stride, W / stride).

    Args:
        in_channels: of the input.
        width: of the convolutions in the middle.
        channels: of the output; as ``width`` for two convolutions of 3x3, wider for a bottleneck.
        stride: of the first 3x3 convolution; the shortcut takes the mean of so many neighbours.
        keeps_shape: the shortcut is the input itself, else a convolution of 1x1.
    """

    def __init__(self, in_channels: int, width: int, channels: int, *, stride: int, keeps_shape: bool) -> None:
        super().__init__()
        if channels == width:
            layers = [ConvNormAct(in_channels, width, stride=stride), ConvNormAct(width, width, act=False)]
        else:
            layers = [
                ConvNormAct(in_channels, width, 1),
                ConvNormAct(width, width, stride=stride),
                ConvNormAct(width, channels, 1, act=False),
            ]
        self.residual = nn.Sequential(*layers)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.shortcut = nn.Identity() if keeps_shape else ConvNormAct(in_channels, channels, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.residual(x) + self.shortcut(self.pool(x)))


class ResNetVd(nn.Module):
    """A stem to stride 4 and four stages, of which the last three are handed out.

    He et al. (arXiv 1512.03385) with the changes B, C and D of arXiv 1812.01187, as RT-DETR has it (arXiv 2304.08069).

    Args:
        in_channels: channels of the frames.
        depth: 18 or 50.
        base: width of the first stage, even; widths double from stage to stage.

    Shapes:
        frames (T, B, in_channels, H, W), floating point, H and W multiples of 32; maps at strides 8, 16 and 32. The
        state is empty.

    Raises:
        InputError: if the depth is another one, or the sides are not multiples of 32.
    """

    strides = (8, 16, 32)
    multiple = 32
    scaled = False
    exact = 3

    def __init__(self, in_channels: int, *, depth: int = 18, base: int = 64) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise InputError(f"depth must be one of {', '.join(map(str, BLOCKS))}, got {depth}.")
        if base % 2:
            raise InputError(f"base must be even, got {base}.")
        expansion = 1 if depth <= DEEPEST_OF_TWO else EXPANSION
        self.channels = tuple(expansion * base << stage for stage in (1, 2, 3))
        self.stem = nn.Sequential(
            ConvNormAct(in_channels, base // 2, stride=2),
            ConvNormAct(base // 2, base // 2),
            ConvNormAct(base // 2, base),
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        before = base
        for stage, count in enumerate(BLOCKS[depth]):
            width = base << stage
            after = expansion * width
            blocks = [
                ResidualBlock(
                    after if block else before,
                    width,
                    after,
                    stride=2 if stage and not block else 1,
                    keeps_shape=block > 0,
                )
                for block in range(count)
            ]
            self.stages.append(nn.Sequential(*blocks))
            before = after

    def forward(self, frames: Tensor, state: State | None = None) -> tuple[list[Tensor], State]:
        height, width = frames.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise InputError(f"frames must have sides that are multiples of {self.multiple}, got {width}x{height}.")
        if state:
            raise InputError(
                f"state must be what the last call returned; its backbone has no memory, and got {len(state)} tensors."
            )
        x = self.pool(self.stem(frames.flatten(0, 1)))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:], ()
