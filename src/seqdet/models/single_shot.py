"""The single-shot head: from maps to one box and one score vector per anchor, and the loss by which it learns them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from ..checks import InputError, check_choice
from ..config import DECODING, SingleShotConfig
from ..devices import one_thread
from ..ops.boxes import decode_boxes, encode_boxes, rows_at
from ..ops.losses import (
    IGNORED_ANCHOR,
    giou,
    match_anchors,
    pad_targets,
    per_process,
    sigmoid_focal,
    smooth_l1,
    softmax_focal,
)
from ..structures import Boxes

PRIOR = 0.01
"""Probability of an object that an untrained head gives every anchor (Lin et al., arXiv 1708.02002, section 4.1)."""
CLASS_LOSSES = {"softmax": softmax_focal, "sigmoid": sigmoid_focal}
"""What ``SingleShotConfig.activation`` lists."""
BOX_LOSSES = ("smooth_l1", "giou")
"""What ``SingleShotConfig.box_loss`` lists."""


VARIANCES = (0.1, 0.2)
"""Of the coding of boxes (Liu et al., arXiv 1512.02325)."""


class AnchorPreset(NamedTuple):
    """Shapes of the anchors in one cell.

    size: side of an anchor of ratio 1 and scale 1 on the finest map, in cells; so pixels double from level to level.
    shapes: one (ratio, scale) per anchor; the ratio is height over width, and the area does not depend on it.
    """

    size: float
    shapes: tuple[tuple[float, float], ...]


PRESETS = {
    "psee": AnchorPreset(4.0, ((1 / 3, 1.0), (1 / 2, 1.0), (1.0, 1.0), (1.0, 1.5), (2.0, 1.0), (3.0, 1.0))),
    "coco": AnchorPreset(4.0, tuple((ratio, 2 ** (octave / 3)) for octave in range(3) for ratio in (0.5, 1.0, 2.0))),
    "digits": AnchorPreset(3.5, ((1.0, 1.0), (1.5, 0.9), (1.5, 1.3), (3.0, 0.9))),
}
"""Presets of ``SingleShotConfig.anchors``. ``psee``: six a cell, for road scenes; ``coco``: nine, as in RetinaNet
(arXiv 1708.02002); ``digits``: fitted to the moving digits."""


ANCHORS = (*PRESETS, "fitted")
"""What ``SingleShotConfig.anchors`` lists."""


def anchor_preset(config: SingleShotConfig) -> AnchorPreset:
    """The shapes that a configuration describes.

    Raises:
        InputError: if they are to be fitted, and were not.
    """
    if config.anchors != "fitted":
        return PRESETS[config.anchors]
    if not config.anchor_shapes:
        raise InputError(
            "model.anchor_shapes must be given with anchors fitted, as build_detector sees no data; seqdet.fit takes a "
            "ModelConfig in place of a detector, and fits them to the boxes of the training data."
        )
    return AnchorPreset(1.0, tuple((height / width, (width * height) ** 0.5) for width, height in config.anchor_shapes))


class Anchors:
    """The anchors of all maps, computed when asked for.

    Args:
        preset: the shapes in one cell, such as an entry of ``PRESETS``.
        strides: pixels from cell to cell of every map, finest first.
    """

    def __init__(self, preset: AnchorPreset, strides: Sequence[int]) -> None:
        self.preset = preset
        self.strides = tuple(strides)

    @property
    def per_cell(self) -> int:
        return len(self.preset.shapes)

    def __call__(self, sizes_hw: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> Tensor:
        """Anchors (A, 4) as centre x, centre y, width, height in pixels, for maps of ``sizes_hw`` cells.

        Ordered by map, row, column, shape. They may reach beyond the image.
        """
        return torch.tensor(_anchors(self.preset, self.strides, tuple(sizes_hw)), device=device)


@lru_cache(maxsize=64)
def _anchors(preset: AnchorPreset, strides: tuple[int, ...], sizes_hw: tuple[tuple[int, int], ...]) -> np.ndarray:
    ratio, scale = np.array(preset.shapes).T
    shapes = preset.size * scale[:, None] * np.stack([ratio**-0.5, ratio**0.5], axis=1)  # width and height in cells
    levels = []
    for stride, (height, width) in zip(strides, sizes_hw, strict=True):
        anchors = np.empty((height, width, len(shapes), 4), np.float32)
        anchors[..., 0] = (np.arange(width)[:, None] + 0.5) * stride
        anchors[..., 1] = (np.arange(height)[:, None, None] + 0.5) * stride
        anchors[..., 2:] = shapes * stride
        levels.append(anchors.reshape(-1, 4))
    return np.concatenate(levels)


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


def box_and_class_branches(
    in_channels: int, anchors_per_cell: int, classes: int, *, hidden: int, activation: str
) -> tuple[nn.Sequential, nn.Sequential]:
    """Two branches, each shared by all maps, for four numbers and for the logits of every anchor.

    Args:
        in_channels: of the maps.
        anchors_per_cell: boxes predicted at every cell.
        classes: K.
        hidden: 3x3 convolutions with ReLU before the last one, in each branch.
        activation: "softmax" predicts K + 1 logits that exclude each other, background first; "sigmoid" predicts K
            independent ones.
    """
    check_choice(activation, CLASS_LOSSES, "activation")
    logits = classes + (activation == "softmax")
    of_boxes = prediction_branch(in_channels, hidden, anchors_per_cell * 4)
    of_classes = prediction_branch(in_channels, hidden, anchors_per_cell * logits)
    odds = PRIOR / (1 - PRIOR)
    bias = [math.log(odds)] * classes if activation == "sigmoid" else [0.0] + [math.log(odds / classes)] * classes
    of_classes[-1].bias = nn.Parameter(torch.tensor(bias * anchors_per_cell))
    return of_boxes, of_classes


def per_anchor(branch: nn.Module, maps: Sequence[Tensor], numbers: int) -> Tensor:
    """What a branch says of every anchor: maps (N, C, h, w), predicted anchors * numbers -> (N, A, numbers) float32."""
    predicted = [branch(x).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, numbers)) for x in maps]
    return torch.cat(predicted, dim=1).float()


def class_scores(logits: Tensor, activation: str) -> Tensor:
    """Probability of every class, without the background that "softmax" has in front: (..., K or 1 + K) -> (..., K)."""
    return logits.softmax(-1)[..., 1:] if activation == "softmax" else logits.sigmoid()


def prediction_branch(channels: int, hidden: int, out: int) -> nn.Sequential:
    """``hidden`` 3x3 convolutions with ReLU, and one that says nothing yet: (N, channels, h, w) -> (N, out, h, w)."""
    layers: list[nn.Module] = []
    for _ in range(hidden):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
    last = nn.Conv2d(channels, out, 3, padding=1)
    last.weight = nn.Parameter(0.01 * torch.randn_like(last.weight))
    last.bias = nn.Parameter(torch.zeros(out))
    return nn.Sequential(*layers, last)


class Criterion:
    """Focal loss of the classes and a regression loss of the boxes, both divided by the number of positive anchors.

    Where several processes train, that is the mean of their numbers: the mean of their gradients is then the gradient
    that one process would have had of all frames.

    Args:
        activation: "softmax" or "sigmoid", as in the head.
        box_loss: one of ``BOX_LOSSES``; smooth L1 compares coded boxes, GIoU decoded ones.
        box_weight: factor of the box loss.
        foreground, background: IoU thresholds of ``match_anchors``.
        variances: of the box coding.
    """

    def __init__(
        self,
        *,
        activation: str,
        box_loss: str,
        box_weight: float,
        foreground: float,
        background: float,
        variances: tuple[float, float],
    ) -> None:
        check_choice(activation, CLASS_LOSSES, "activation")
        check_choice(box_loss, BOX_LOSSES, "box_loss")
        self.activation = activation
        self.box_loss = box_loss
        self.box_weight = box_weight
        self.foreground = foreground
        self.background = background
        self.variances = variances

    @one_thread()
    def __call__(self, outputs: Outputs, frames: Sequence[Boxes]) -> dict[str, Tensor]:
        """The losses ``classes`` and ``boxes`` of F labelled frames: scalars, zero where there is nothing to learn.

        Args:
            outputs: of F frames.
            frames: the truth, F entries.

        Raises:
            InputError: if there are not F entries, or ``pad_targets`` refuses one.
        """
        classes = outputs.logits.shape[-1] - (self.activation == "softmax")
        targets = pad_targets(frames, outputs.logits.device, classes=classes, outputs=len(outputs.logits))
        corners = box_convert(outputs.anchors, "cxcywh", "xyxy")
        matched = match_anchors(corners, targets, foreground=self.foreground, background=self.background)
        counted = matched != IGNORED_ANCHOR
        frame, anchor = (matched >= 0).nonzero(as_tuple=True)
        box = matched[frame, anchor]
        labels = torch.full_like(matched, -1)
        labels[frame, anchor] = targets.labels[frame, box]
        positives = per_process(len(frame), outputs.logits.device)
        class_loss = CLASS_LOSSES[self.activation](outputs.logits[counted], labels[counted])
        deltas = outputs.deltas[frame, anchor]
        anchors = outputs.anchors[anchor]
        wanted = targets.xyxy[frame, box]
        if self.box_loss == "giou":
            box_loss = giou(decode_boxes(deltas, anchors, variances=self.variances), wanted)
        else:
            box_loss = smooth_l1(deltas, encode_boxes(wanted, anchors, variances=self.variances))
        return {"classes": class_loss.sum() / positives, "boxes": self.box_weight * box_loss.sum() / positives}


class SingleShotHead(nn.Module):
    """Boxes coded against anchors, as in SSD and RetinaNet: see ``contracts.Head``. The places are the anchors.

    Args:
        in_channels: of the maps.
        anchors: of the maps.
        classes: K.
        hidden: as for ``box_and_class_branches``.
        criterion: the loss; its activation is that of the classes.
    """

    outputs = ("deltas", "logits")
    suppresses = True
    decoding = DECODING

    def __init__(self, in_channels: int, anchors: Anchors, classes: int, *, hidden: int, criterion: Criterion) -> None:
        super().__init__()
        self.anchors = anchors
        self.criterion = criterion
        self.logits = classes + (criterion.activation == "softmax")
        self.boxes, self.classes = box_and_class_branches(
            in_channels, anchors.per_cell, classes, hidden=hidden, activation=criterion.activation
        )

    def forward(self, maps: Sequence[Tensor], size_hw: tuple[int, int]) -> Outputs:
        deltas = per_anchor(self.boxes, maps, 4)
        logits = per_anchor(self.classes, maps, self.logits)
        anchors = self.anchors([(x.shape[2], x.shape[3]) for x in maps], deltas.device)
        return Outputs(deltas, logits, anchors, size_hw)

    @property
    def predictors(self) -> Sequence[nn.Module]:
        return self.boxes[-1], self.classes[-1]

    def loss(self, outputs: Outputs, frames: Sequence[Boxes]) -> dict[str, Tensor]:
        return self.criterion(outputs, frames)

    def scores(self, outputs: Outputs) -> Tensor:
        return class_scores(outputs.logits, self.criterion.activation)

    def boxes_at(self, outputs: Outputs, places: Tensor) -> Tensor:
        deltas = rows_at(outputs.deltas, places)
        return decode_boxes(deltas, outputs.anchors[places], variances=self.criterion.variances)

    def final_scores(self, outputs: Outputs, places: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        return scores


def single_shot_head(config: SingleShotConfig, channels: int, strides: Sequence[int]) -> SingleShotHead:
    """The head that a configuration describes, for maps of equally many channels at some strides."""
    criterion = Criterion(
        activation=config.activation,
        box_loss=config.box_loss,
        box_weight=config.box_weight,
        foreground=config.foreground,
        background=config.background,
        variances=VARIANCES,
    )
    anchors = Anchors(anchor_preset(config), strides)
    return SingleShotHead(channels, anchors, len(config.classes), hidden=config.head_layers, criterion=criterion)
