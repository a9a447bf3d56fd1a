"""From maps of features to one box and one score vector per anchor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..checks import check_choice

PRIOR = 0.01
"""Probability of an object that an untrained head gives every anchor (Lin et al., arXiv 1708.02002, section 4.1)."""


class Outputs(NamedTuple):
    """What a detector says of F frames, before decoding.

    deltas: (F, A, 4) float32, boxes coded against the anchors.
    logits: (F, A, K) or, with a background in front, (F, A, 1 + K) float32.
    anchors: (A, 4) centre x, centre y, width, height in pixels.
    size_hw: height and width of the frames in pixels.
    """

    deltas: Tensor
    logits: Tensor
    anchors: Tensor
    size_hw: tuple[int, int]


class BoxHead(nn.Module):
    """Two branches, boxes and classes, shared by all maps.

    Args:
        in_channels: of the maps.
        anchors_per_cell: boxes predicted at every cell.
        classes: K.
        hidden: 3x3 convolutions with ReLU before the last one, in each branch.
        activation: "softmax" predicts K + 1 logits that exclude each other, background first; "sigmoid" predicts K
            independent ones.

    Shapes:
        maps, each (N, in_channels, h, w); deltas (N, A, 4) and logits (N, A, K or K + 1), anchors in the order of
        ``Anchors``.
    """

    def __init__(self, in_channels: int, anchors_per_cell: int, classes: int, *, hidden: int, activation: str) -> None:
        super().__init__()
        check_choice(activation, ("softmax", "sigmoid"), "activation")
        self.activation = activation
        self.logits = classes + (activation == "softmax")
        self.boxes = _branch(in_channels, hidden, anchors_per_cell * 4)
        self.classes = _branch(in_channels, hidden, anchors_per_cell * self.logits)
        odds = PRIOR / (1 - PRIOR)
        bias = [math.log(odds)] * classes if activation == "sigmoid" else [0.0] + [math.log(odds / classes)] * classes
        self.classes[-1].bias = nn.Parameter(torch.tensor(bias * anchors_per_cell))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return per_anchor(self.boxes, maps, 4), per_anchor(self.classes, maps, self.logits)

    @property
    def predictors(self) -> tuple[nn.Conv2d, nn.Conv2d]:
        """The last layer of each branch."""
        boxes, classes = self.boxes[-1], self.classes[-1]
        assert isinstance(boxes, nn.Conv2d)
        assert isinstance(classes, nn.Conv2d)
        return boxes, classes

    def scores(self, logits: Tensor) -> Tensor:
        """Probability of every class: (N, A, K)."""
        return class_scores(logits, self.activation)


def per_anchor(branch: nn.Module, maps: Sequence[Tensor], numbers: int) -> Tensor:
    """What a branch says of every anchor: maps (N, C, h, w), predicted anchors * numbers -> (N, A, numbers) float32."""
    predicted = [branch(x).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, numbers)) for x in maps]
    return torch.cat(predicted, dim=1).float()


def class_scores(logits: Tensor, activation: str) -> Tensor:
    """Probability of every class, without the background that "softmax" has in front: (..., K or 1 + K) -> (..., K)."""
    return logits.softmax(-1)[..., 1:] if activation == "softmax" else logits.sigmoid()


def _branch(channels: int, hidden: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(hidden):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
    last = nn.Conv2d(channels, out, 3, padding=1)
    last.weight = nn.Parameter(0.01 * torch.randn_like(last.weight))
    last.bias = nn.Parameter(torch.zeros(out))
    return nn.Sequential(*layers, last)
