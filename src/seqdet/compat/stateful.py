"""A module that keeps its state between calls, around one that takes and returns it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..checks import InputError
from ..models.recurrent import detach, reset_lanes
from ..structures import State


class Stateful(nn.Module):
    """Remembers the state of the last call, cut off from its gradient, and gives it to the next.

    A call with another number of lanes, or frames of other sides, starts from silence, as the reference does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: State | None = None
        self.size: tuple[int, ...] = ()
        self.announced: int | None = None
        """Lanes of the next call, if the last mask was for another number than the state has."""

    def reset(self, mask: Tensor) -> None:
        """Forget the lanes whose entry is 0, keep those whose entry is 1: (B,) or (B, 1, 1, 1).

        Nothing happens before the first call. A mask for another number of lanes than the last call had announces a
        call of that number, which starts from silence.
        """
        if self.state is None:
            return
        forget = torch.as_tensor(mask, device=self.state[0].device).reshape(-1) == 0
        if forget.all():
            self.reset_all()
        elif len(forget) == self.size[0]:
            self.state, self.announced = reset_lanes(self.state, forget), None
        else:
            self.announced = len(forget)

    def reset_all(self) -> None:
        """Forget everything."""
        self.state, self.announced = None, None

    def recall(self, x: Tensor) -> State | None:
        """The state for the next call on ``x`` (T, B, C, H, W); None where it starts from silence.

        Raises:
            InputError: if the last mask was for another number of lanes; the state is left as it was.
        """
        size = (x.shape[1], *x.shape[3:])
        if self.announced not in (None, size[0]):
            raise InputError(
                f"mask must have one entry for each of the {size[0]} lanes of x, got {self.announced}. "
                "Call reset() with such a mask, or reset_all() to start from silence."
            )
        if size != self.size:
            self.reset_all()
        self.size = size
        return None if self.state is None else tuple(tensor.to(x.device) for tensor in self.state)

    def remember(self, state: State) -> None:
        """Keep what a call returned."""
        self.state = detach(state)
