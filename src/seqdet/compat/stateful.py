"""A module that keeps its state between calls, around one that takes and returns it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..models.recurrent import detach, reset_lanes
from ..structures import State


class Stateful(nn.Module):
    """Remembers the state of the last call, cut off from its gradient, and gives it to the next.

    A call with another number of lanes or other sides than the state has is an error: reset first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: State | None = None
        self.size: tuple[int, ...] = ()

    def reset(self, mask: Tensor) -> None:
        """Forget the lanes whose entry is 0, keep those whose entry is 1: (B,) or (B, 1, 1, 1).

        Nothing happens before the first call. A mask of all zeros may have any length.
        """
        if self.state is None:
            return
        forget = torch.as_tensor(mask, device=self.state[0].device).reshape(-1) == 0
        if forget.all():
            self.reset_all()
        elif len(forget) != self.size[0]:
            raise InputError(
                f"mask must have one entry for each of the {self.size[0]} lanes of the last call, got {len(forget)}. "
                "Call reset_all() to start with another batch size."
            )
        else:
            self.state = reset_lanes(self.state, forget)

    def reset_all(self) -> None:
        """Forget everything; the next call may have any batch size."""
        self.state = None

    def recall(self, x: Tensor) -> State | None:
        """The state for the next call on ``x`` (T, B, C, H, W)."""
        size = (x.shape[1], *x.shape[3:])
        if self.state is not None and size != self.size:
            raise InputError(
                f"x must have {self.size[0]} lanes of {self.size[1]}x{self.size[2]} pixels, as the call before, got "
                f"{size[0]} of {size[1]}x{size[2]}. Call reset_all() before other data."
            )
        self.size = size
        return None if self.state is None else tuple(tensor.to(x.device) for tensor in self.state)

    def remember(self, state: State) -> None:
        """Keep what a call returned."""
        self.state = detach(state)
