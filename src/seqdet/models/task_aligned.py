"""A head without anchors whose scores say how well its boxes fit, and whose sides are means of distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import DecodingConfig
from ..devices import one_thread
from ..ops.boxes import rows_at
from ..ops.losses import IGNORED_ANCHOR, giou, pad_targets, per_process
from ..ops.task_alignment import align_cells
from ..structures import Boxes
from .single_shot import PRIOR, prediction_branch
from .yolox import cells_of

BINS = 40
"""Distances that a side can have from the centre of a cell, of which it is the mean."""
STEP = 0.25
"""From one to the next, in strides."""
FIRST = -1.0
"""The first: a side may lie a stride behind the centre, as ``REACH`` has it. The last is 8.75."""
SIDE_SHARE = 0.3
"""Weight of the loss of the distributions, as a share of that of the boxes."""


class TaskAlignedOutputs(NamedTuple):
    """What the head says of F frames, before decoding.

    sides: (F, A, 4 * BINS) float32, logits of the distances of the left, upper, right and lower side from the centre.
    logits: (F, A, K) float32, of the classes.
    cells: (A, 3) float32, centre x, centre y and stride of the cells in pixels.
    size_hw: height and width of the frames in pixels.
    """

    sides: Tensor
    logits: Tensor
    cells: Tensor
    size_hw: tuple[int, int]


class TaskAlignedHead(nn.Module):
    """One box a cell, after TOOD and Generalised Focal Loss: see ``contracts.Head``.

    The best cell of a box learns to score the overlap that its box has with the truth, others less, so that the best
    placed of many boxes ranks first (Feng et al., arXiv 2108.07755; plain cross-entropy here). A side is a distribution
    over distances, of which the mean is taken (Li et al., arXiv 2006.04388). Cells beside a thin box learn it as well
    as those inside. No box is wider or higher than 17.5 strides of the coarsest map.

    Args:
        in_channels: of all maps.
        strides: of the maps, finest first.
        classes: K.
        hidden: 3x3 convolutions with ReLU before the last one, in each of the two branches that all maps share.
        box_weight: factor of the losses of the boxes and of their sides.

    Shapes:
        maps (N, in_channels, h, w); A cells by map, row, column.
    """

    outputs = ("sides", "logits")
    suppresses = True
    decoding = DecodingConfig(iou=0.6, vote=0.8)

    def __init__(
        self, in_channels: int, strides: Sequence[int], classes: int, *, hidden: int, box_weight: float
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.box_weight = box_weight
        self.boxes = prediction_branch(in_channels, hidden, 4 * BINS)
        self.classes = prediction_branch(in_channels, hidden, classes)
        self.classes[-1].bias = nn.Parameter(torch.full((classes,), math.log(PRIOR / (1 - PRIOR))))

    @property
    def predictors(self) -> Sequence[nn.Module]:
        return self.boxes[-1], self.classes[-1]

    def forward(self, maps: list[Tensor], size_hw: tuple[int, int]) -> TaskAlignedOutputs:
        sides, logits = (
            torch.cat([branch(x).permute(0, 2, 3, 1).flatten(1, 2) for x in maps], dim=1).float()
            for branch in (self.boxes, self.classes)
        )
        cells = cells_of(self.strides, [(x.shape[2], x.shape[3]) for x in maps], sides.device)
        return TaskAlignedOutputs(sides, logits, cells, size_hw)

    def scores(self, outputs: TaskAlignedOutputs) -> Tensor:
        return outputs.logits.sigmoid()

    def boxes_at(self, outputs: TaskAlignedOutputs, places: Tensor) -> Tensor:
        return decoded(mean_distances(rows_at(outputs.sides, places)), outputs.cells[places])

    def final_scores(self, outputs: TaskAlignedOutputs, places: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        return scores

    @one_thread()
    def loss(self, outputs: TaskAlignedOutputs, frames: Sequence[Boxes]) -> dict[str, Tensor]:
        """The losses ``classes``, ``boxes`` (1 - GIoU) and ``sides``, the cross-entropies of the classes and distances.

        Cells count by the quality of their alignment, and the sums are divided by that of the qualities, as the mean
        over processes has it.

        Args:
            outputs: of F frames.
            frames: the truth, F entries.

        Raises:
            InputError: if there are not F entries, or ``pad_targets`` refuses one.
        """
        logits = outputs.logits
        targets = pad_targets(frames, logits.device, classes=logits.shape[-1], outputs=len(logits))
        found = decoded(mean_distances(outputs.sides.detach()), outputs.cells)
        made = align_cells(found, logits.detach().sigmoid(), cells=outputs.cells, targets=targets)
        frame, cell = (made.box >= 0).nonzero(as_tuple=True)
        box = made.box[frame, cell]
        quality = made.quality[frame, cell]
        total = per_process(float(quality.sum()), logits.device)
        wanted = torch.zeros_like(logits)
        wanted[frame, cell, targets.labels[frame, box]] = quality
        counted = (made.box != IGNORED_ANCHOR)[..., None].expand_as(logits)
        class_loss = functional.binary_cross_entropy_with_logits(
            logits, wanted, weight=counted.to(logits.dtype), reduction="sum"
        )
        sides = outputs.sides[frame, cell]
        cells = outputs.cells[cell]
        truth = targets.xyxy[frame, box]
        box_loss = quality * giou(decoded(mean_distances(sides), cells), truth)
        side_loss = quality * distance_loss(sides, distances_to(truth, cells))
        return {
            "classes": class_loss / total,
            "boxes": self.box_weight * box_loss.sum() / total,
            "sides": SIDE_SHARE * self.box_weight * side_loss.sum() / total,
        }


def mean_distances(sides: Tensor) -> Tensor:
    """The means (..., 4) in strides of the distributions ``sides`` (..., 4 * BINS)."""
    chances = sides.unflatten(-1, (4, BINS)).softmax(dim=-1)
    bins = torch.arange(BINS, dtype=sides.dtype, device=sides.device) * STEP + FIRST
    return (chances * bins).sum(dim=-1)  # a product of matrices would be rounded to bfloat16


def decoded(distances: Tensor, cells: Tensor) -> Tensor:
    """The boxes (..., 4) xyxy in pixels whose sides lie ``distances`` (..., 4) strides from ``cells`` (..., 3)."""
    centre = cells[..., :2]
    stride = cells[..., 2:]
    return torch.cat([centre - distances[..., :2] * stride, centre + distances[..., 2:] * stride], dim=-1)


def distances_to(xyxy: Tensor, cells: Tensor) -> Tensor:
    """How far the sides of boxes (N, 4) lie from the centres of cells (N, 3), in strides: (N, 4)."""
    centre = cells[:, :2]
    return torch.cat([centre - xyxy[:, :2], xyxy[:, 2:] - centre], dim=1) / cells[:, 2:]


def distance_loss(sides: Tensor, distances: Tensor) -> Tensor:
    """Cross-entropy of the two bins around each distance, mean over the sides: (N, 4 * BINS) and (N, 4) -> (N,).

    A distance beyond the bins counts as the nearest of them.
    """
    place = ((distances - FIRST) / STEP).clamp(0, BINS - 1)
    lower = place.floor().clamp(max=BINS - 2)
    share = place - lower
    logarithms = sides.unflatten(-1, (4, BINS)).log_softmax(dim=-1)
    index = lower.long()[..., None]
    below, above = (logarithms.gather(-1, index + offset).squeeze(-1) for offset in (0, 1))
    return -((1 - share) * below + share * above).mean(dim=-1)
