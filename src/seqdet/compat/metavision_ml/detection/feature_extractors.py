"""Feature extractors that keep their memory between calls."""

from __future__ import annotations

from torch import Tensor

from ....checks import check_shape
from ....models import backbones
from ...stateful import Stateful


class Vanilla(Stateful):
    """Recurrent pyramid of five levels at strides 8 to 128: (T, B, cin, H, W) -> five maps (T * B, cout, h, w).

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
        maps, state = self.core(x, self.recall(x))
        self.remember(state)
        return maps
