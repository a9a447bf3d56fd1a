"""From frames to maps of features at several strides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from ..checks import InputError, check_choice
from ..config import ModelConfig
from ..structures import State
from .layers import CELLS, ConvNormAct, SqueezeExciteBlock, over_time


class FeatureExtractor(Protocol):
    """What a detector needs of its backbone, which is an ``nn.Module``.

    Called with frames (T, B, C, H, W), it gives a list of maps (T * B, channels, H / stride, W / stride), frames in (t,
    b) order, and its state after the last frame. ``Detector`` pads H and W to multiples of the last stride.

    What a backbone must keep:

    - The state is a tuple of tensors whose first axis is the lane, with whatever other axes; it is empty without
      memory. Zeros mean the same as None, a lane that starts. A lane depends on no other one, and a frame on none after
      it. The state may come in float32 while the layers compute in less.
    - Strides rise, and each divides the last. Anchors measure so many cells of their own map (``heads.PRESETS``): the
      strides decide about the sizes of boxes.
    - It is built of ``ModelConfig`` and the number of channels alone, also on the device ``meta``, and settings of its
      modules are plain attributes: so ``check_built`` knows that a file of weights can be read again.
    - The optimiser ``muon`` moves all weights of four axes but those whose names end in ``from_hidden.weight``: so are
      called those that lead from a memory to itself. A weight of n * ``ModelConfig.channels`` output channels is n
      matrices to it, the gates of a cell.
    - To be exported, it is traced by ``torch.export`` for any number of lanes, one frame at a time, and a frame has
      more pairs of anchor and class than ``DECODING.candidates``. In eight bits all convolutions of a detector are
      quantised but the first four, and memory stays float32.
    """

    @property
    def channels(self) -> int:
        """Of every map."""
        ...

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels from one cell to the next, finest map first."""
        ...

    def __call__(self, frames: Tensor, state: State | None = None) -> tuple[list[Tensor], State]: ...


class Vanilla(nn.Module):
    """Squeeze-excite stem to stride 4, then recurrent levels at strides 8, 16 and so on, up to five.

    The stem sees single frames; every level is a strided convolutional LSTM or GRU on the one before, and its hidden
    state is a map of features. This is the pyramid of RED (Perot et al., arXiv 2009.13436).

    Args:
        in_channels: channels of the frames.
        base: width of the stem; it grows from ``2 * base`` to ``8 * base``.
        channels: of every level.
        levels: how many there are; the last of five has the stride 128.
        cell: a key of ``layers.CELLS``.

    Shapes:
        frames (T, B, in_channels, H, W), floating point, H and W multiples of the last stride;
        maps (T * B, channels, H / stride, W / stride), the state 2 (lstm) or 1 (gru) tensor a level.
    """

    def __init__(self, in_channels: int, *, base: int, channels: int, levels: int = 5, cell: str = "lstm") -> None:
        super().__init__()
        check_choice(cell, CELLS, "cell")
        self.strides = tuple(8 << level for level in range(levels))
        self.channels = channels
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
        height, width = frames.shape[-2:]
        if height % self.strides[-1] or width % self.strides[-1]:
            raise InputError(f"frames must have sides that are multiples of {self.strides[-1]}, got {width}x{height}.")
        if state is not None:
            self._check_state(state, frames)
        x = over_time(self.stem, frames)
        maps = []
        after = []
        for i, level in enumerate(self.levels):
            own = slice(i * self.state_tensors, (i + 1) * self.state_tensors)
            x, level_state = level(x, None if state is None else state[own])
            maps.append(x.flatten(0, 1))
            after.extend(level_state)
        return maps, tuple(after)

    def _check_state(self, state: State, frames: Tensor) -> None:
        _, lanes, _, height, width = frames.shape
        sizes = [(lanes, self.channels, height // stride, width // stride) for stride in self.strides]
        if [tensor.shape for tensor in state] != [size for size in sizes for _ in range(self.state_tensors)]:
            raise InputError(
                f"state must be what the last call returned for {lanes} lanes of {width}x{height} pixels, "
                f"got {len(state)} tensors of other shapes: {', '.join(str(tuple(tensor.shape)) for tensor in state)}."
            )


def vanilla(config: ModelConfig, in_channels: int) -> Vanilla:
    """The backbone of the reference architecture, for frames of so many channels."""
    return Vanilla(in_channels, base=config.base, channels=config.channels, levels=config.levels, cell=config.cell)


BACKBONES: dict[str, Callable[[ModelConfig, int], FeatureExtractor]] = {"vanilla": vanilla}
"""What ``ModelConfig.name`` can be. A new one is an entry here, and the fields of its own in ``ModelConfig``."""
