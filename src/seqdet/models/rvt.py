"""The backbone of recurrent vision transformers: attention within a frame, memory in every cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checks import InputError
from ..structures import State

STAGES = 4
LAYER_SCALE = 1e-5
"""What an untrained block adds is multiplied by this (Touvron et al., arXiv 2103.17239)."""


class CellMemory(Protocol):
    """Memory in every cell, which sees no other cell: an ``nn.Module`` as ``CellLSTM``.

    Attributes:
        state_shapes: of the tensors of one lane's state, but for height and width; none if nothing is remembered.
    """

    state_shapes: tuple[tuple[int, ...], ...]

    def __call__(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]: ...


class CellLSTM(nn.Module):
    """An LSTM in every cell, which sees no other cell: a convolutional LSTM of kernel 1.

    Args:
        channels: of input, output and each of the two state tensors.

    Shapes:
        input (T, B, H, W, channels), state 2 x (B, channels, H, W) or None for silence; output as the input, and the
        state after the last frame.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.state_shapes: tuple[tuple[int, ...], ...] = ((channels,), (channels,))
        self.from_input = nn.Linear(channels, 4 * channels)
        self.from_hidden = nn.Linear(channels, 4 * channels, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        gates_from_input = self.from_input(x)  # does not wait for the hidden state
        if state is None:
            hidden = gates_from_input.new_zeros(x.shape[1:])
            cell = hidden
        else:
            hidden, cell = (tensor.to(gates_from_input.dtype).permute(0, 2, 3, 1) for tensor in state)
        outputs = []
        for gates in gates_from_input.unbind(0):
            keep, write, emit, value = (gates + self.from_hidden(hidden)).chunk(4, dim=-1)
            cell = keep.sigmoid() * cell + write.sigmoid() * value.tanh()
            hidden = emit.sigmoid() * cell.tanh()
            outputs.append(hidden)
        return torch.stack(outputs), (hidden.permute(0, 3, 1, 2), cell.permute(0, 3, 1, 2))


class SelfAttention(nn.Module):
    """Attention among the L cells of a group, without positions: (N, L, channels) -> the same shape.

    Args:
        channels: of input and output.
        head_width: channels of one head; it divides ``channels``.
    """

    def __init__(self, channels: int, head_width: int) -> None:
        super().__init__()
        self.head_width = head_width
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        each = self.qkv(x).unflatten(-1, (-1, 3, self.head_width))  # the three of a head lie side by side
        query, key, value = each.permute(3, 0, 2, 1, 4).unbind(0)
        found = attend(query, key, value)
        return self.proj(found.transpose(1, 2).flatten(2))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of heads, each (N, heads, L, head_width), in float32 on the CPU.

    In bfloat16 the gradient takes a multiple of that there (torch 2.14), for groups of few cells.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return functional.scaled_dot_product_attention(query, key, value)
    with torch.autocast("cpu", enabled=False):
        found = functional.scaled_dot_product_attention(query.float(), key.float(), value.float())
    return found.to(query.dtype)


class AttentionBlock(nn.Module):
    """Attention within groups of cells, then a perceptron, each added by a learnt scale: (N, L, channels), shape kept.

    Args:
        channels: of input and output.
        head_width: channels of one head.
        norm: False leaves out the first norm, where the input is normed already.
    """

    def __init__(self, channels: int, head_width: int, *, norm: bool = True) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels) if norm else nn.Identity()
        self.attention = SelfAttention(channels, head_width)
        self.scale1 = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.scale2 = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.addcmul(x, self.attention(self.norm1(x)), self.scale1)
        return torch.addcmul(x, self.mlp(self.norm2(x)), self.scale2)


class Stage(nn.Module):
    """A coarser map, attention within windows and across a grid of its cells, and memory in every cell.

    Args:
        in_channels: of the maps before.
        channels: of the output.
        head_width: channels of one head of attention.
        stride: of the convolution.
        memory: makes memory for so many channels, as ``CellLSTM``.

    Shapes:
        maps (T, B, in_channels, H, W) and a state; maps (T, B, channels, H / stride, W / stride) and the state after.
    """

    def __init__(
        self, in_channels: int, channels: int, head_width: int, *, stride: int, memory: Callable[[int], CellMemory]
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 2 * stride - 1, stride, padding=stride - 1, bias=False)
        self.norm = nn.LayerNorm(channels)
        self.window = AttentionBlock(channels, head_width, norm=False)
        self.grid = AttentionBlock(channels, head_width)
        self.memory = memory(channels)

    def forward(self, x: Tensor, state: State | None, partition: tuple[int, int]) -> tuple[Tensor, State]:
        time, lanes = x.shape[:2]
        x = self.norm(self.conv(x.flatten(0, 1)).permute(0, 2, 3, 1))
        height, width = x.shape[1:3]
        rows, columns = partition
        # cells of a window are neighbours; those of a group of the grid are as far apart as can be
        tiles = x.unflatten(2, (-1, columns)).unflatten(1, (-1, rows)).transpose(2, 3)
        x = self.window(tiles.flatten(3, 4).flatten(0, 2)).view(tiles.shape)
        x = x.transpose(2, 3).reshape(time * lanes, height, width, -1)
        tiles = x.unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).permute(0, 2, 4, 1, 3, 5)
        x = self.grid(tiles.flatten(3, 4).flatten(0, 2)).view(tiles.shape)
        x = x.permute(0, 3, 1, 4, 2, 5).reshape(time, lanes, height, width, -1)
        x, after = self.memory(x, state)
        return x.permute(0, 1, 4, 2, 3), after


class RVT(nn.Module):
    """Four stages at strides 4, 8, 16 and 32, each with memory; the last three are handed out.

    Recurrent Vision Transformers (Gehrig and Scaramuzza, arXiv 2212.05598). Attention is among the cells of windows,
    then among cells spread over the whole map (Tu et al., arXiv 2204.01697). Both have groups of ``partition`` cells in
    every stage.

    Args:
        in_channels: channels of the frames.
        dim: channels of the first stage; they double from stage to stage.
        head_width: channels of one head of attention; it divides ``dim``.
        split: the coarsest map has so many windows in each direction. The partition follows from the size of the
            frames: (H / (32 * split), W / (32 * split)).
        partition: rows and columns of cells in a window, the same for all frames, in place of that rule.
        memory: makes the memory of a stage for so many channels.

    Shapes:
        frames (T, B, in_channels, H, W), floating point, H and W multiples of ``multiple``; maps
        (T * B, channels, H / stride, W / stride); the state is that of one stage after the other.

    Raises:
        InputError: if the heads do not divide the channels, or a frame not into windows.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        dim: int,
        head_width: int,
        split: int = 1,
        partition: tuple[int, int] | None = None,
        memory: Callable[[int], CellMemory] = CellLSTM,
    ) -> None:
        super().__init__()
        if dim % head_width:
            raise InputError(f"head_width must divide dim, got {head_width} and {dim}.")
        self.dim = dim
        self.split = split
        self.partition = partition
        self.multiple = 32 * split if partition is None else 32
        self.scaled = False
        self.exact = 1
        widths = [dim << stage for stage in range(STAGES)]
        self.channels = tuple(widths[1:])
        self.strides = (8, 16, 32)
        stages = [
            Stage(before, width, head_width, stride=2 if number else 4, memory=memory)
            for number, (before, width) in enumerate(zip([in_channels, *widths], widths, strict=False))
        ]
        self.stages = nn.ModuleList(stages)
        self.state_shapes = tuple(stage.memory.state_shapes for stage in stages)

    def forward(self, frames: Tensor, state: State | None = None) -> tuple[list[Tensor], State]:
        partition = self.partition_of((frames.shape[-2], frames.shape[-1]))
        if state is not None:
            self._check_state(state, frames)
        x = frames
        maps = []
        after: list[Tensor] = []
        for stage, shapes in zip(self.stages, self.state_shapes, strict=True):
            own = None if state is None else state[len(after) : len(after) + len(shapes)]
            x, stage_state = stage(x, own, partition)
            maps.append(x.flatten(0, 1))
            after.extend(stage_state)
        return maps[1:], tuple(after)

    def partition_of(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of cells in a window of frames of this size, padded.

        Raises:
            InputError: if the frames do not divide into such windows.
        """
        height, width = size_hw
        if height % self.multiple or width % self.multiple:
            raise InputError(f"frames must have sides that are multiples of {self.multiple}, got {width}x{height}.")
        if self.partition is None:
            return height // self.multiple, width // self.multiple
        rows, columns = self.partition
        if height % (32 * rows) or width % (32 * columns):
            raise InputError(
                f"model.partition must divide the frames into windows of {rows}x{columns} cells, rows by columns: "
                f"padded to multiples of 32, they must have a height that is a multiple of {32 * rows} and a width "
                f"that is one of {32 * columns}, got {width}x{height}. Left out, it follows from their size."
            )
        return self.partition

    def _check_state(self, state: State, frames: Tensor) -> None:
        _, lanes, _, height, width = frames.shape
        wanted = [
            (lanes, *shape, height // stride, width // stride)
            for shapes, stride in zip(self.state_shapes, (4, *self.strides), strict=True)
            for shape in shapes
        ]
        if [tensor.shape for tensor in state] != wanted:
            raise InputError(
                f"state must be what the last call returned for {lanes} lanes of {width}x{height} pixels, "
                f"got {len(state)} tensors of other shapes: {', '.join(str(tuple(tensor.shape)) for tensor in state)}."
            )
