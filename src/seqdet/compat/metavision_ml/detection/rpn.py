"""The head that predicts boxes and classes."""

from __future__ import annotations

from torch import Tensor, nn

from ....models import heads


class BoxHead(heads.BoxHead):
    """Two branches shared over all maps: features -> boxes (F, N, 4) and class logits (F, N, num_logits).

    Args:
        in_channels: of the maps.
        num_anchors: of a cell.
        num_logits: classes, and with the softmax the background in front of them.
        n_layers: hidden layers of each branch beside the one that is always there.
        act: "softmax", or "sigmoid" for classes that do not exclude each other, without a logit for the background.
    """

    def __init__(
        self, in_channels: int, num_anchors: int, num_logits: int, n_layers: int = 0, act: str = "softmax"
    ) -> None:
        classes = num_logits - (act == "softmax")
        super().__init__(in_channels, num_anchors, classes, hidden=n_layers + 1, activation=act)

    @property
    def box_head(self) -> nn.Sequential:
        """The branch of the boxes."""
        return self.boxes

    @property
    def cls_head(self) -> nn.Sequential:
        """The branch of the classes."""
        return self.classes

    def get_scores(self, cls_preds: Tensor) -> Tensor:
        """Probability of every class, without the background: (F, N, num_logits) -> (F, N, classes)."""
        return self.scores(cls_preds)
