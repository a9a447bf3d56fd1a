"""Low-level recurrence: memory in every stage from the finest features on. A design of seqdet's own."""

from __future__ import annotations

from torch import Tensor, nn

from ..checks import InputError, check_choice
from ..structures import State
from .cells import CELLS, check_state
from .layers import ConvNormAct, SqueezeExciteBlock, over_time

STRIDES = (4, 8, 16, 32)


class Lowrec(nn.Module):
    """Four stages at the strides 4, 8, 16 and 32, each of residual blocks and a memory behind them.

    The memory of a stage is its features: the next stage, and the head, see the hidden state alone. That memory matters
    most where features are fine is a finding of SATE (openreview toI181TMAx: recurrence at high levels 49.5, at low
    ones 52.0, at three scales 52.7 on Gen1). It is affordable there because the convolutions of the memory are 1x1, as
    in RVT (arXiv 2212.05598); what they save buys depth, most of it at stride 8. Behind the stride 4 all stages are
    equally wide, so that one head serves all maps without a neck.

    Args:
        in_channels: of the frames.
        base: the width is 2 * base at stride 2, 4 * base at stride 4, and 8 * base from there on.
        blocks: residual blocks of every stage.
        cell: a key of ``cells.CELLS``.
        kernel_size: of the cells.
        aligned: whether memories move; not for mingru.

    Shapes:
        frames (T, B, in_channels, H, W), H and W multiples of 32; maps (T * B, channels, H / stride, W / stride) at the
        strides 8, 16 and 32; state 2 (lstm, separable) or 1 (gru, mingru) tensors at each of the four strides.
    """

    scaled = True
    exact = 4
    strides = STRIDES[1:]
    multiple = STRIDES[-1]

    def __init__(
        self,
        in_channels: int,
        *,
        base: int,
        blocks: tuple[int, int, int, int],
        cell: str,
        kernel_size: int,
        aligned: bool,
    ) -> None:
        super().__init__()
        check_choice(cell, CELLS, "cell")
        self.widths = (4 * base, 8 * base, 8 * base, 8 * base)
        self.channels = self.widths[1:]
        self.state_tensors = CELLS[cell].state_tensors
        self.stem = ConvNormAct(in_channels, 2 * base, 7, stride=2)
        before = [2 * base, *self.widths[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(
                SqueezeExciteBlock(narrow, width, stride=2),
                *(SqueezeExciteBlock(width, width) for _ in range(count - 1)),
            )
            for narrow, width, count in zip(before, self.widths, blocks, strict=True)
        )
        moving = {"aligned": True} if aligned else {}
        self.cells = nn.ModuleList(CELLS[cell](width, width, kernel_size, norm=True, **moving) for width in self.widths)

    def forward(self, frames: Tensor, state: State | None = None) -> tuple[list[Tensor], State]:
        _, lanes, _, height, width = frames.shape
        if height % self.multiple or width % self.multiple:
            raise InputError(f"frames must have sides that are multiples of {self.multiple}, got {width}x{height}.")
        if state is not None:
            check_state(state, self._sizes(lanes, height, width), f"{lanes} lanes of {width}x{height} pixels")
        x = over_time(self.stem, frames)
        maps = []
        after: list[Tensor] = []
        for level, (stage, cell) in enumerate(zip(self.stages, self.cells, strict=True)):
            own = slice(level * self.state_tensors, (level + 1) * self.state_tensors)
            x, remembered = cell(over_time(stage, x), None if state is None else state[own])
            after.extend(remembered)
            maps.append(x.flatten(0, 1))
        return maps[1:], tuple(after)

    def _sizes(self, lanes: int, height: int, width: int) -> list[tuple[int, ...]]:
        """Of the state."""
        sizes = [
            (lanes, count, height // stride, width // stride)
            for count, stride in zip(self.widths, STRIDES, strict=True)
        ]
        return [size for size in sizes for _ in range(self.state_tensors)]
