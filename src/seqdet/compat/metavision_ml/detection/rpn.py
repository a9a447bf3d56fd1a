"""The head that predicts boxes and classes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ....models import heads


class ConvLayer(nn.Sequential):
    """A convolution between a normalisation, which heads do without, and its ReLU."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(nn.Identity(), convolution, nn.ReLU())


class BoxHead(nn.Module):
    """Two branches shared over all maps: features -> boxes (F, N, 4) and class logits (F, N, num_logits).

    It starts as ``models.heads.BoxHead`` does; the layers have the names and the order of the reference.

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
        super().__init__()
        classes = num_logits - (act == "softmax")
        plain = heads.BoxHead(in_channels, num_anchors, classes, hidden=n_layers + 1, activation=act)
        self.num_logits, self.act = num_logits, act
        self.box_head = _branch(plain.boxes)
        self.cls_head = _branch(plain.classes)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        boxes = heads.per_anchor(self.box_head, features, 4)
        return boxes, heads.per_anchor(self.cls_head, features, self.num_logits)

    def get_scores(self, cls_preds: Tensor) -> Tensor:
        """Probability of every class, without the background: (F, N, num_logits) -> (F, N, classes)."""
        return heads.class_scores(cls_preds, self.act)


def _branch(plain: nn.Sequential) -> nn.Sequential:
    """The convolutions of a branch, each but the last in a layer of its own."""
    *hidden, last = (layer for layer in plain if isinstance(layer, nn.Conv2d))
    return nn.Sequential(*(ConvLayer(convolution) for convolution in hidden), last)
