"""The head of YOLOX: one box a cell without anchors, its objectness and its classes in separate branches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import box_convert

from ..checks import check_choice
from ..config import NO_VOTE, DecodingConfig
from ..devices import one_thread
from ..ops.boxes import rows_at
from ..ops.losses import IGNORED_ANCHOR, pad_targets, per_process
from ..ops.simota import assign_cells
from ..structures import Boxes
from .necks import ConvNormSiLU

PRIOR = 0.01
"""Probability of an object, and of a class, that an untrained head gives every cell (Lin et al., arXiv 1708.02002)."""
BOX_WEIGHT = 5.0
LARGEST_LOG_SIZE = 10.0
"""A box is at most exp(10) strides wide, so that a wild prediction cannot overflow."""
SCORE_RULES = ("product", "class")
"""What ``YoloxConfig.score_rule`` lists."""


class YoloxOutputs(NamedTuple):
    """What the head says of F frames, before decoding.

    deltas: (F, A, 4) float32, centre from the corner of the cell and logarithm of the size, in strides.
    objectness: (F, A) float32 logits.
    logits: (F, A, K) float32, of the classes.
    cells: (A, 3) float32, centre x, centre y and stride of the cells in pixels.
    size_hw: height and width of the frames in pixels.
    """

    deltas: Tensor
    objectness: Tensor
    logits: Tensor
    cells: Tensor
    size_hw: tuple[int, int]


class YoloxLevel(nn.Module):
    """The branches on one map: (N, in_channels, h, w) -> box (N, 4, h, w), objectness (N, 1, h, w), classes.

    Args:
        in_channels: of the map.
        width: of all layers.
        classes: how many there are.
    """

    def __init__(self, in_channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.stem = ConvNormSiLU(in_channels, width)
        self.class_branch = nn.Sequential(ConvNormSiLU(width, width, 3), ConvNormSiLU(width, width, 3))
        self.box_branch = nn.Sequential(ConvNormSiLU(width, width, 3), ConvNormSiLU(width, width, 3))
        self.classes = nn.Conv2d(width, classes, 1)
        self.box = nn.Conv2d(width, 4, 1)
        self.objectness = nn.Conv2d(width, 1, 1)
        for predictor in (self.classes, self.objectness):
            assert predictor.bias is not None
            nn.init.constant_(predictor.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        from_box = self.box_branch(x)
        return self.box(from_box), self.objectness(from_box), self.classes(self.class_branch(x))


class YoloxHead(nn.Module):
    """Decoupled, anchor-free head, whose cells SimOTA gives to boxes (Ge et al., arXiv 2107.08430).

    Args:
        in_channels: of every map.
        strides: of every map, finest first.
        width: of the layers.
        classes: K.
        score_rule: what a detection's score is. "product": objectness times class, and every class of a cell can be
            one. "class": a cell has the label of its best class; the product chooses and suppresses, and the
            probability of the class alone is handed out, as RVT is evaluated.

    Shapes:
        maps (N, in_channels, h, w); A cells by map, row, column.
    """

    outputs = ("deltas", "objectness", "logits")
    suppresses = True
    decoding = DecodingConfig(iou=0.45, vote=NO_VOTE)

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        *,
        width: int,
        classes: int,
        score_rule: str = "product",
    ) -> None:
        super().__init__()
        check_choice(score_rule, SCORE_RULES, "score_rule")
        self.strides = tuple(strides)
        self.score_rule = score_rule
        self.levels = nn.ModuleList(YoloxLevel(channels, width, classes) for channels in in_channels)

    @property
    def predictors(self) -> tuple[nn.Module, ...]:
        """The last layers of each branch."""
        names = ("box", "objectness", "classes")
        return tuple(level.get_submodule(name) for level in self.levels for name in names)

    def forward(self, maps: list[Tensor], size_hw: tuple[int, int]) -> YoloxOutputs:
        predicted = [level(x) for level, x in zip(self.levels, maps, strict=True)]
        deltas, objectness, logits = (
            torch.cat([x.permute(0, 2, 3, 1).flatten(1, 2) for x in kind], dim=1).float()
            for kind in zip(*predicted, strict=True)
        )
        sizes = [(x.shape[2], x.shape[3]) for x in maps]
        return YoloxOutputs(
            deltas, objectness.squeeze(2), logits, cells_of(self.strides, sizes, deltas.device), size_hw
        )

    def scores(self, outputs: YoloxOutputs) -> Tensor:
        """Objectness times class (F, A, K); by the rule "class" 0 for all but the best class of a cell."""
        product = outputs.objectness.sigmoid()[..., None] * outputs.logits.sigmoid()
        if self.score_rule == "product":
            return product
        best = functional.one_hot(outputs.logits.argmax(dim=-1), product.shape[-1])
        return product * best

    def boxes_at(self, outputs: YoloxOutputs, places: Tensor) -> Tensor:
        """The boxes (F, M, 4) xyxy of the cells ``places`` (F, M)."""
        return decoded(rows_at(outputs.deltas, places), outputs.cells[places])

    def final_scores(self, outputs: YoloxOutputs, places: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        """The scores (F, M) that are handed out for detections of these cells and labels."""
        if self.score_rule == "product":
            return scores
        return rows_at(outputs.logits, places).gather(2, labels[..., None]).squeeze(2).sigmoid()

    @one_thread()
    def loss(self, outputs: YoloxOutputs, frames: Sequence[Boxes]) -> dict[str, Tensor]:
        """Losses ``boxes`` (1 - IoU^2), ``objectness`` and ``classes`` (cross-entropies), summed over all cells.

        Each is divided by the number of cells that have a box, as the mean over processes has it. The wanted
        probability of a class is the IoU that the predicted box has.

        Args:
            outputs: of F frames.
            frames: the truth, F entries.

        Raises:
            InputError: if there are not F entries, or ``pad_targets`` refuses one.
        """
        targets = pad_targets(
            frames, outputs.logits.device, classes=outputs.logits.shape[-1], outputs=len(outputs.logits)
        )
        found = decoded(outputs.deltas.detach(), outputs.cells)
        made = assign_cells(found, outputs.objectness, outputs.logits, cells=outputs.cells, targets=targets)
        frame, cell = (made.box >= 0).nonzero(as_tuple=True)
        box = made.box[frame, cell]
        positives = per_process(len(frame), outputs.logits.device)
        xyxy = decoded(outputs.deltas[frame, cell], outputs.cells[cell])
        box_loss = 1 - paired_iou(xyxy, targets.xyxy[frame, box]).square()
        counted = made.box != IGNORED_ANCHOR
        is_object = (made.box >= 0).float()
        object_loss = functional.binary_cross_entropy_with_logits(
            outputs.objectness, is_object, weight=counted.float(), reduction="sum"
        )
        wanted = functional.one_hot(targets.labels[frame, box], outputs.logits.shape[-1])
        class_loss = functional.binary_cross_entropy_with_logits(
            outputs.logits[frame, cell], wanted * made.overlap[frame, cell][:, None], reduction="sum"
        )
        return {
            "boxes": BOX_WEIGHT * box_loss.sum() / positives,
            "objectness": object_loss / positives,
            "classes": class_loss / positives,
        }


def cells_of(strides: Sequence[int], sizes_hw: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """Centre x, centre y and stride (A, 3) in pixels of the cells of maps of these sizes, by map, row, column."""
    levels = []
    for stride, (height, width) in zip(strides, sizes_hw, strict=True):
        y, x = torch.meshgrid(
            (torch.arange(height, device=device) + 0.5) * stride,
            (torch.arange(width, device=device) + 0.5) * stride,
            indexing="ij",
        )
        levels.append(torch.stack([x, y, torch.full_like(x, stride)], dim=-1).flatten(0, 1))
    return torch.cat(levels)


def decoded(deltas: Tensor, cells: Tensor) -> Tensor:
    """The boxes (..., 4) xyxy in pixels that ``deltas`` (..., 4) say of ``cells`` (..., 3)."""
    stride = cells[..., 2:]
    centre = cells[..., :2] + (deltas[..., :2] - 0.5) * stride
    size = deltas[..., 2:].clamp(max=LARGEST_LOG_SIZE).exp() * stride
    return box_convert(torch.cat([centre, size], dim=-1), "cxcywh", "xyxy")


def paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of box with box: (N, 4) and (N, 4) -> (N,)."""
    top_left = torch.maximum(first[:, :2], second[:, :2])
    bottom_right = torch.minimum(first[:, 2:], second[:, 2:])
    intersection = _area((bottom_right - top_left).clamp(min=0))
    union = _area(first[:, 2:] - first[:, :2]) + _area(second[:, 2:] - second[:, :2]) - intersection
    return intersection / union.clamp(min=torch.finfo(union.dtype).tiny)


def _area(sides: Tensor) -> Tensor:
    return sides[:, 0] * sides[:, 1]
