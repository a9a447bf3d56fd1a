"""Layers of backbones: for single frames, (N, C, H, W), and recurrent ones, whose state is an argument and a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checks import check_shape
from ..structures import State


def pad_to_multiple(frames: Tensor, multiple: int) -> Tensor:
    """Frames (..., H, W) with zeros on the right and at the bottom, so that the sides are multiples."""
    height, width = frames.shape[-2:]
    return functional.pad(frames, (0, -width % multiple, 0, -height % multiple))


def over_time(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a per-frame ``layer`` to every frame of ``x``, as one large batch: (T, B, ...) -> (T, B, ...)."""
    time, batch = x.shape[:2]
    return layer(x.flatten(0, 1)).unflatten(0, (time, batch))


class ConvNormAct(nn.Sequential):
    """Convolution, batch norm, ReLU: (N, C, H, W) -> (N, channels, H / stride, W / stride).

    Args:
        in_channels, channels: of input and output.
        kernel_size: odd.
        stride: of the convolution.
        act: False leaves out the ReLU.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int = 3, *, stride: int = 1, act: bool = True
    ) -> None:
        layers = [
            nn.Conv2d(in_channels, channels, kernel_size, stride, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(channels),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if act else []))


class SqueezeExcite(nn.Module):
    """Weigh the channels by a gate that sees the whole frame (Hu et al., arXiv 1709.01507): shape kept.

    Args:
        channels: of input and output.
        reduction: how much narrower the gate is inside; one channel remains in any case.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, narrow, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class SqueezeExciteBlock(nn.Module):
    """Residual block of two gated 3x3 convolutions: (N, C, H, W) -> (N, channels, H / stride, W / stride).

    The shortcut is a 1x1 convolution where the shape changes. Nothing follows the sum, so that the next block sees
    both signs. The shortcut strides by slicing: the backward pass of torch's strided 1x1 convolution writes outside its
    memory for few channels, channels last, on CPUs.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            ConvNormAct(in_channels, channels, stride=stride),
            ConvNormAct(channels, channels, act=False),
            SqueezeExcite(channels),
        )
        self.stride = stride
        keeps_shape = stride == 1 and in_channels == channels
        self.shortcut = nn.Identity() if keeps_shape else nn.Conv2d(in_channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x[..., :: self.stride, :: self.stride]) + self.residual(x)


def reset_lanes(state: State | None, is_first: Tensor) -> State | None:
    """Forget the lanes on which a new recording starts.

    Args:
        state: tensors of shape (B, ...), none of a detector without memory; or None before the first clip.
        is_first: (B,) bool, True where the next clip begins a recording.
    """
    if not state:
        return state
    check_shape(is_first, "B", "is_first", B=len(state[0]))
    return tuple(s.masked_fill(is_first.view(-1, *[1] * (s.ndim - 1)), 0) for s in state)


def detach(state: State) -> State:
    """Cut the gradient between two clips (truncated backpropagation through time)."""
    return tuple(s.detach() for s in state)


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

    Shapes:
        input (T, B, in_channels, H, W), state 2 x (B, channels, h, w) or None for silence, with h = H / stride;
        output (T, B, channels, h, w) and the state after the last frame.
    """

    state_tensors = 2
    gate_weights: ClassVar = {"from_input": 4, "from_hidden": 4}
    recurrent_weights = ("from_hidden",)

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int = 3, *, stride: int = 1, norm: bool = False
    ) -> None:
        super().__init__()
        self.from_input, bias = input_convolution(in_channels, 4 * channels, kernel_size, stride=stride, norm=norm)
        self.from_hidden = nn.Conv2d(channels, 4 * channels, kernel_size, padding=kernel_size // 2, bias=False)
        with torch.no_grad():
            bias[:channels] = 1

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        gates_from_input = over_time(self.from_input, x)  # does not wait for the hidden state
        hidden, cell = initial_state(state, gates_from_input, self.from_hidden.in_channels, tensors=self.state_tensors)
        outputs = []
        for gates in gates_from_input.unbind(0):
            keep, write, emit, value = (gates + self.from_hidden(hidden)).chunk(4, dim=1)
            cell = keep.sigmoid() * cell + write.sigmoid() * value.tanh()
            hidden = emit.sigmoid() * cell.tanh()
            outputs.append(hidden)
        return torch.cat(outputs).unflatten(0, x.shape[:2]), (hidden, cell)


class ConvGRU(nn.Module):
    """Convolutional GRU unrolled along time (Ballas et al., arXiv 1511.06432).

    Arguments and shapes as for ``ConvLSTM``, with one state tensor.
    """

    state_tensors = 1
    gate_weights: ClassVar = {"from_input": 3, "gates_from_hidden": 2}
    recurrent_weights = ("gates_from_hidden", "value_from_hidden")

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int = 3, *, stride: int = 1, norm: bool = False
    ) -> None:
        super().__init__()
        same = kernel_size // 2
        self.from_input, bias = input_convolution(in_channels, 3 * channels, kernel_size, stride=stride, norm=norm)
        self.gates_from_hidden = nn.Conv2d(channels, 2 * channels, kernel_size, padding=same, bias=False)
        self.value_from_hidden = nn.Conv2d(channels, channels, kernel_size, padding=same, bias=False)
        with torch.no_grad():
            bias[:channels] = -1

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        from_input = over_time(self.from_input, x)
        channels = self.value_from_hidden.in_channels
        (hidden,) = initial_state(state, from_input, channels, tensors=self.state_tensors)
        outputs = []
        for gates_and_value in from_input.unbind(0):
            gates, value = gates_and_value.split([2 * channels, channels], dim=1)
            update, reset = (gates + self.gates_from_hidden(hidden)).sigmoid().chunk(2, dim=1)
            candidate = (value + self.value_from_hidden(reset * hidden)).tanh()
            hidden = torch.lerp(hidden, candidate, update)
            outputs.append(hidden)
        return torch.cat(outputs).unflatten(0, x.shape[:2]), (hidden,)


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


CELLS: dict[str, type[ConvLSTM | ConvGRU]] = {"lstm": ConvLSTM, "gru": ConvGRU}
"""What ``VanillaConfig.cell`` lists."""
