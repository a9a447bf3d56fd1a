"""A pyramid of recurrent levels behind a squeeze-excite stem: the backbone of the reference architecture."""

from __future__ import annotations

from torch import Tensor, nn

from ..checks import InputError, check_choice
from ..structures import State
from .cells import CELLS, check_state
from .layers import ConvNormAct, SqueezeExciteBlock, over_time


class Vanilla(nn.Module):
    """Squeeze-excite stem to stride 4, then recurrent levels at strides 8, 16 and so on, up to five.

    The stem sees single frames; every level is a strided cell with memory on the one before, and its hidden
    state is a map of features. This is the pyramid of RED (Perot et al., arXiv 2009.13436).

    Args:
        in_channels: channels of the frames.
        base: width of the stem; it grows from ``2 * base`` to ``8 * base``.
        channels: of every level.
        levels: how many there are; the last of five has the stride 128.
        cell: a key of ``cells.CELLS``.

    Shapes:
        frames (T, B, in_channels, H, W), floating point, H and W multiples of the last stride;
        maps (T * B, channels, H / stride, W / stride), the state 2 (lstm) or 1 (gru, mingru) tensors a level.
    """

    scaled = True
    exact = 4

    def __init__(self, in_channels: int, *, base: int, channels: int, levels: int = 5, cell: str = "lstm") -> None:
        super().__init__()
        check_choice(cell, CELLS, "cell")
        self.strides = tuple(8 << level for level in range(levels))
        self.channels = (channels,) * levels
        self.multiple = self.strides[-1]
        self.state_tensors = CELLS[cell].state_tensors
        self.stem = nn.Sequential(
            ConvNormAct(in_channels, 2 * base, 7, stride=2),
            SqueezeExciteBlock(2 * base, 4 * base, stride=2),
            SqueezeExciteBlock(4 * base, 4 * base),
            SqueezeExciteBlock(4 * base, 8 * base),
        )
        widths = [8 * base] + [channels] * (len(self.strides) - 1)
        self.levels = nn.ModuleList(CELLS[cell](width, channels, stride=2, norm=True) for width in widths)

    def forward(self, frames: Tensor, state: State | None = None) -> tuple[list[Tensor], State]:
        _, lanes, _, height, width = frames.shape
        if height % self.strides[-1] or width % self.strides[-1]:
            raise InputError(f"frames must have sides that are multiples of {self.strides[-1]}, got {width}x{height}.")
        if state is not None:
            check_state(state, self._sizes(lanes, height, width), f"{lanes} lanes of {width}x{height} pixels")
        x = over_time(self.stem, frames)
        maps = []
        after = []
        for i, level in enumerate(self.levels):
            own = slice(i * self.state_tensors, (i + 1) * self.state_tensors)
            x, level_state = level(x, None if state is None else state[own])
            maps.append(x.flatten(0, 1))
            after.extend(level_state)
        return maps, tuple(after)

    def _sizes(self, lanes: int, height: int, width: int) -> list[tuple[int, ...]]:
        """Of the state."""
        sizes = [
            (lanes, channels, height // stride, width // stride)
            for channels, stride in zip(self.channels, self.strides, strict=True)
        ]
        return [size for size in sizes for _ in range(self.state_tensors)]
