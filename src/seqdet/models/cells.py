"""Cells: layers with memory over clips (T, B, C, H, W), whose state is an argument and a result.

A convolutional LSTM and GRU go frame by frame. A gated linear recurrence does not ask its memory what to remember, so
that all frames are computed at once, by a scan over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checks import InputError
from ..ops.scan import linear_scan
from ..structures import State
from .layers import over_time

STAYS = 6.0
"""Logit with which an untrained memory stays where it is, and does not move to one of the eight cells around."""


class Alignment(nn.Module):
    """Moves a memory by up to one cell, to where what it is about has moved.

    Every cell takes the mean of the 3x3 memories around it by nine weights that sum to 1, which are made of the input
    and of the memory. That a memory is aligned with the motion before the gates see it is the idea of SATE (openreview
    toI181TMAx), which uses deformable convolutions; a mean of neighbours keeps the memory within its bounds and is
    exported to ONNX. A memory starts out staying where it is.

    Args:
        in_channels: of the input.
        channels: of the memory that is looked at.
        kernel_size, stride: of the convolution of the input.
    """

    recurrent_weights = ("from_hidden",)

    def __init__(self, in_channels: int, channels: int, kernel_size: int, *, stride: int) -> None:
        super().__init__()
        same = kernel_size // 2
        self.from_input = nn.Conv2d(in_channels, 9, kernel_size, stride, padding=same)
        self.from_hidden = nn.Conv2d(channels, 9, 3, padding=1, bias=False)
        with torch.no_grad():
            for convolution in (self.from_input, self.from_hidden):
                convolution.weight.mul_(0.1)
            assert self.from_input.bias is not None
            self.from_input.bias.zero_()
            self.from_input.bias[4] = STAYS

    def forward(self, drive: Tensor, hidden: Tensor, *others: Tensor) -> list[Tensor]:
        """The memories (B, channels, h, w) moved alike.

        Args:
            drive: (B, 9, h, w), what ``from_input`` makes of the input.
            hidden: the one that is looked at.
            others: that move with it.
        """
        weights = (drive + self.from_hidden(hidden)).softmax(dim=1)
        return [_mean_of_neighbours(memory, weights) for memory in (hidden, *others)]


def _mean_of_neighbours(memory: Tensor, weights: Tensor) -> Tensor:
    height, width = memory.shape[-2:]
    padded = functional.pad(memory, (1, 1, 1, 1))
    moved = torch.zeros_like(memory)
    for place in range(9):
        row, column = divmod(place, 3)
        moved = moved + weights[:, place, None] * padded[..., row : row + height, column : column + width]
    return moved


class ConvLSTM(nn.Module):
    """Convolutional LSTM unrolled along time (Shi et al., arXiv 1506.04214, without peepholes).

    The gates that keep the memory start open.

    Args:
        in_channels: channels of the input frames.
        channels: channels of the output and of each of the two state tensors.
        kernel_size: odd size of both convolutions.
        stride: of the convolution of the input.
        norm: batch norm of what the input contributes to the gates. Like every batch norm it sees all frames of a call
            at once in training mode, and none but its own in evaluation mode.
        aligned: the memory is moved by ``Alignment`` before every step.

    Shapes:
        input (T, B, in_channels, H, W), state 2 x (B, channels, h, w) or None for silence, with h = H / stride;
        output (T, B, channels, h, w) and the state after the last frame.
    """

    state_tensors = 2
    gate_weights: ClassVar = {"from_input": 4, "from_hidden": 4}
    recurrent_weights = ("from_hidden",)

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        norm: bool = False,
        aligned: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.from_input, bias = input_convolution(in_channels, 4 * channels, kernel_size, stride=stride, norm=norm)
        self.from_hidden = self._from_hidden(kernel_size)
        self.alignment = Alignment(in_channels, channels, kernel_size, stride=stride) if aligned else None
        with torch.no_grad():
            bias[:channels] = 1

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        gates_from_input = over_time(self.from_input, x)  # does not wait for the hidden state
        hidden, cell = initial_state(state, gates_from_input, self.channels, tensors=self.state_tensors)
        drives = None if self.alignment is None else over_time(self.alignment.from_input, x)
        outputs = []
        for step, gates in enumerate(gates_from_input.unbind(0)):
            if self.alignment is not None and drives is not None:
                hidden, cell = self.alignment(drives[step], hidden, cell)
            keep, write, emit, value = (gates + self.from_hidden(hidden)).chunk(4, dim=1)
            cell = keep.sigmoid() * cell + write.sigmoid() * value.tanh()
            hidden = emit.sigmoid() * cell.tanh()
            outputs.append(hidden)
        return torch.cat(outputs).unflatten(0, x.shape[:2]), (hidden, cell)

    def _from_hidden(self, kernel_size: int) -> nn.Module:
        """What the hidden state contributes to the gates."""
        return nn.Conv2d(self.channels, 4 * self.channels, kernel_size, padding=kernel_size // 2, bias=False)


class SeparableLSTM(ConvLSTM):
    """Convolutional LSTM whose hidden state looks around by one 3x3 filter a channel, before a 1x1 convolution.

    The idea is that of depthwise separable convolutions (Chollet, arXiv 1610.02357): with 1x1 convolutions of the input
    a step costs little more than an LSTM in every cell, and its memory can still move. The filters start as the
    identity. Arguments and shapes as for ``ConvLSTM``; ``kernel_size`` is that of the convolution of the input.
    """

    def _from_hidden(self, kernel_size: int) -> nn.Module:
        around = nn.Conv2d(self.channels, self.channels, 3, padding=1, groups=self.channels, bias=False)
        nn.init.dirac_(around.weight, groups=self.channels)
        return nn.Sequential(around, nn.Conv2d(self.channels, 4 * self.channels, 1, bias=False))


class ConvGRU(nn.Module):
    """Convolutional GRU unrolled along time (Ballas et al., arXiv 1511.06432).

    Arguments and shapes as for ``ConvLSTM``, with one state tensor.
    """

    state_tensors = 1
    gate_weights: ClassVar = {"from_input": 3, "gates_from_hidden": 2}
    recurrent_weights = ("gates_from_hidden", "value_from_hidden")

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        norm: bool = False,
        aligned: bool = False,
    ) -> None:
        super().__init__()
        same = kernel_size // 2
        self.from_input, bias = input_convolution(in_channels, 3 * channels, kernel_size, stride=stride, norm=norm)
        self.gates_from_hidden = nn.Conv2d(channels, 2 * channels, kernel_size, padding=same, bias=False)
        self.value_from_hidden = nn.Conv2d(channels, channels, kernel_size, padding=same, bias=False)
        self.alignment = Alignment(in_channels, channels, kernel_size, stride=stride) if aligned else None
        with torch.no_grad():
            bias[:channels] = -1

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        from_input = over_time(self.from_input, x)
        channels = self.value_from_hidden.in_channels
        (hidden,) = initial_state(state, from_input, channels, tensors=self.state_tensors)
        drives = None if self.alignment is None else over_time(self.alignment.from_input, x)
        outputs = []
        for step, gates_and_value in enumerate(from_input.unbind(0)):
            if self.alignment is not None and drives is not None:
                (hidden,) = self.alignment(drives[step], hidden)
            gates, value = gates_and_value.split([2 * channels, channels], dim=1)
            update, reset = (gates + self.gates_from_hidden(hidden)).sigmoid().chunk(2, dim=1)
            candidate = (value + self.value_from_hidden(reset * hidden)).tanh()
            hidden = torch.lerp(hidden, candidate, update)
            outputs.append(hidden)
        return torch.cat(outputs).unflatten(0, x.shape[:2]), (hidden,)


class ConvMinGRU(nn.Module):
    """Convolutional minGRU: a gated linear recurrence, for all frames at once (Feng et al., arXiv 2410.01201).

    ``h_t = (1 - z_t) * h_{t-1} + z_t * c_t``, where the gate z and the candidate c depend on the input alone. So the
    memory is a mean of the candidates seen so far, and no frame waits for the one before it.

    Arguments and shapes as for ``ConvLSTM``, with one state tensor; its memory sees no neighbours, and is not aligned.
    """

    state_tensors = 1
    gate_weights: ClassVar = {"from_input": 2}

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int = 3, *, stride: int = 1, norm: bool = False
    ) -> None:
        super().__init__()
        self.channels = channels
        self.from_input, bias = input_convolution(in_channels, 2 * channels, kernel_size, stride=stride, norm=norm)
        with torch.no_grad():
            bias[:channels] = -1

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        from_input = over_time(self.from_input, x)
        (hidden,) = initial_state(state, from_input, self.channels, tensors=self.state_tensors)
        gates, candidates = from_input.float().chunk(2, dim=2)
        write = gates.sigmoid()
        outputs = linear_scan(1 - write, write * candidates, hidden.float()).to(from_input.dtype)
        return outputs, (outputs[-1],)


def input_convolution(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int, norm: bool
) -> tuple[nn.Module, Tensor]:
    """What a cell makes of its input alone, a strided convolution with or without batch norm, and its bias.

    Arguments as for ``ConvLSTM``; ``out_channels`` are those of all gates.
    """
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=not norm)
    if norm:
        batch_norm = nn.BatchNorm2d(out_channels)
        return nn.Sequential(conv, batch_norm), batch_norm.bias
    assert conv.bias is not None
    return conv, conv.bias


def initial_state(state: State | None, like: Tensor, channels: int, *, tensors: int) -> State:
    """The state in the precision of ``like`` (T, B, C, h, w), or silence, ``tensors`` x (B, channels, h, w)."""
    if state is not None:
        return tuple(tensor.to(like.dtype) for tensor in state)
    _, batch, _, height, width = like.shape
    return (like.new_zeros(batch, channels, height, width),) * tensors


def check_state(state: State, sizes: Sequence[tuple[int, ...]], what: str) -> None:
    """Raise ``InputError`` unless the tensors have these sizes, which are those of ``what``."""
    if [tuple(tensor.shape) for tensor in state] != list(sizes):
        raise InputError(
            f"state must be what the last call returned for {what}, "
            f"got {len(state)} tensors of other shapes: {', '.join(str(tuple(tensor.shape)) for tensor in state)}."
        )


CELLS: dict[str, type[ConvLSTM | ConvGRU | ConvMinGRU]] = {
    "lstm": ConvLSTM,
    "separable": SeparableLSTM,
    "gru": ConvGRU,
    "mingru": ConvMinGRU,
}
"""What ``config.models.Cell`` lists."""
