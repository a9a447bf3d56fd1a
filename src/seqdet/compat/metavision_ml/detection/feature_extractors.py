"""Feature extractors that keep their memory between calls."""

from __future__ import annotations

from torch import Tensor

from ....checks import InputError, check_shape
from ....models import backbones
from ....models.layers import pad_to_multiple
from ...stateful import Stateful


class Vanilla(Stateful):
    """Recurrent pyramid of five levels at strides 8 to 128: (T, B, cin, H, W) -> five maps (T * B, cout, h, w).

    Frames are padded on the right and at the bottom to multiples of 128: 360x640 gives maps of 48x80 to 3x5.

    Args:
        cin: channels of a frame.
        base: width of the first layers.
        cout: channels of every map.
        cell: "lstm" or "gru".
    """

    def __init__(self, cin: int, base: int = 16, cout: int = 256, cell: str = "lstm") -> None:
        super().__init__()
        self.core = backbones.Vanilla(cin, base=base, channels=cout, cell=cell)
        self.cin, self.base, self.cout = cin, base, cout

    @property
    def levels(self) -> int:
        """How many maps there are."""
        return len(self.core.strides)

    def forward(self, x: Tensor) -> list[Tensor]:
        check_shape(x, "T B C H W", "x", C=self.cin)
        if not x.is_floating_point():
            raise InputError(f"x must be floating point, got {x.dtype}.")
        maps, state = self.core(pad_to_multiple(x, self.core.strides[-1]), self.recall(x))
        self.remember(state)
        return maps
