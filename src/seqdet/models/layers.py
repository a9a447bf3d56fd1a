"""Layers for single frames, (N, C, H, W), and what is done to the frames and the memory of lanes."""

from __future__ import annotations

from collections.abc import Callable

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
