"""The memory of EvRT-DETR: what convolutional LSTMs with peepholes remember is added to the maps of single frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..structures import State


class PeepholeLSTM(nn.Module):
    """Convolutional LSTM whose gates see the memory too, each channel its own (Shi et al., arXiv 1506.04214).

    The gate of the output sees the new memory, the others the one before. The gates that keep the memory start open.

    Args:
        in_channels: of the input.
        channels: of the output and of each of the two state tensors.

    Shapes:
        input (T, B, in_channels, H, W), state 2 x (B, channels, H, W) or None for silence; output
        (T, B, channels, H, W) and the state after the last frame.
    """

    gate_weights: ClassVar = {"from_input": 4, "from_hidden": 4}
    recurrent_weights = ("from_hidden",)

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.from_input = nn.Conv2d(in_channels, 4 * channels, 3, padding=1)
        self.from_hidden = nn.Conv2d(channels, 4 * channels, 3, padding=1, bias=False)
        self.peepholes = nn.Parameter(torch.zeros(3, channels))
        assert self.from_input.bias is not None
        with torch.no_grad():
            self.from_input.bias[:channels] = 1

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        from_input = self.from_input(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # does not wait for the hidden state
        if state is None:
            hidden = from_input.new_zeros(x.shape[1], self.channels, *x.shape[3:])
            cell = hidden
        else:
            hidden, cell = (tensor.to(from_input.dtype) for tensor in state)
        see_keep, see_write, see_emit = self.peepholes.to(from_input.dtype)[..., None, None]
        outputs = []
        for gates in from_input.unbind(0):
            keep, write, emit, value = (gates + self.from_hidden(hidden)).chunk(4, dim=1)
            keep = (keep + see_keep * cell).sigmoid()
            write = (write + see_write * cell).sigmoid()
            cell = keep * cell + write * value.tanh()
            hidden = (emit + see_emit * cell).sigmoid() * cell.tanh()
            outputs.append(hidden)
        return torch.stack(outputs), (hidden, cell)


class PeepholeMemory(nn.Module):
    """Maps plus what was seen before: a ``PeepholeLSTM`` and a convolution of 1x1 for each map, added to it.

    So a detector of single frames gets a memory, as in EvRT-DETR (Torbunov et al., arXiv 2412.02890).

    Args:
        channels: of the maps.
        hidden: of each of the two state tensors that every map has.
    """

    def __init__(self, channels: Sequence[int], *, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.state_tensors = 2 * len(channels)
        self.cells = nn.ModuleList(PeepholeLSTM(width, hidden) for width in channels)
        self.outs = nn.ModuleList(nn.Conv2d(hidden, width, 1) for width in channels)

    def forward(self, maps: list[Tensor], lanes: int, state: State | None = None) -> tuple[list[Tensor], State]:
        if state is not None:
            self._check_state(state, maps, lanes)
        found = []
        after: list[Tensor] = []
        for level, x in enumerate(maps):
            own = None if state is None else state[2 * level : 2 * level + 2]
            remembered, level_state = self.cells[level](x.unflatten(0, (-1, lanes)), own)
            found.append(x + self.outs[level](remembered.flatten(0, 1)))
            after.extend(level_state)
        return found, tuple(after)

    def _check_state(self, state: State, maps: list[Tensor], lanes: int) -> None:
        wanted = [(lanes, self.hidden, x.shape[2], x.shape[3]) for x in maps for _ in range(2)]
        if [tuple(tensor.shape) for tensor in state] != wanted:
            sizes = ", ".join(f"{x.shape[3]}x{x.shape[2]}" for x in maps)
            raise InputError(
                f"state must be what the last call returned for {lanes} lanes and maps of {sizes} cells, "
                f"got {len(state)} tensors of other shapes: {', '.join(str(tuple(tensor.shape)) for tensor in state)}."
            )
