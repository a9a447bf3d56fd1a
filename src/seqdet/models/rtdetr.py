"""The head of RT-DETR: queries, each of which becomes at most one box, so that nothing has to be suppressed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import NO_VOTE, DecodingConfig
from ..ops.boxes import rows_at
from ..ops.losses import Targets, pad_targets
from ..structures import Boxes
from .attention import Attention, DeformableAttention
from .layers import ConvNormAct
from .rtdetr_losses import as_pixels, denoising_loss, matched_losses, noisy_queries

PRIOR = 0.01
"""Probability of an object that an untrained head gives every query (Lin et al., arXiv 1708.02002, section 4.1)."""
POINTS = 4
"""Places of each map that a head of a query looks at."""
FIRST_SIDE = 0.05
"""Of the boxes from which the cells of the finest map start, as a share of the frame; it doubles from map to map."""
MARGIN = 0.01
"""Cells whose centre or box is nearer than this to 0 or 1 start no query."""
EPSILON = 1e-5


class Passed(NamedTuple):
    """What a layer of the decoder was given, for queries that come later.

    contents, positions: (F, Q, C) of the queries.
    maps: what they looked at.
    """

    contents: Tensor
    positions: Tensor
    maps: tuple[Tensor, ...]


class RtDetrOutputs(NamedTuple):
    """What the head says of F frames, by Q queries.

    logits: (F, Q, K) float32, of the classes, after the last layer.
    boxes: (F, Q, 4) float32, centre x, centre y, width and height as shares of the padded frame.
    size_hw: height and width of the frames in pixels.
    padded_hw: those of the padded frames.
    every_logits, every_boxes: the same of the cells that became queries and after every layer, in this order: what the
        loss is about.
    passed: of every layer, for the denoising queries of the loss.
    margin: (F,) float32, by how much the worst cell that became a query is better than the best that did not.
    """

    logits: Tensor
    boxes: Tensor
    size_hw: tuple[int, int]
    padded_hw: tuple[int, int]
    every_logits: tuple[Tensor, ...]
    every_boxes: tuple[Tensor, ...]
    passed: tuple[Passed, ...]
    margin: Tensor


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the maps, then each at itself: (N, Q, channels), shape kept.

    Args:
        channels: of queries and maps.
        heads: of both attentions.
        levels: maps.
        feed_forward: width of the perceptron.
    """

    def __init__(self, channels: int, heads: int, *, levels: int, feed_forward: int) -> None:
        super().__init__()
        self.attention = Attention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross = DeformableAttention(channels, heads, levels=levels, points=POINTS)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, feed_forward), nn.ReLU(), nn.Linear(feed_forward, channels))
        self.norm3 = nn.LayerNorm(channels)

    def forward(
        self,
        queries: Tensor,
        position: Tensor,
        boxes: Tensor,
        maps: Sequence[Tensor],
        *,
        others: Passed | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The queries after this layer.

        Args:
            queries, position, boxes: of Q queries.
            maps: as ``DeformableAttention.looked_at`` gives them.
            others: queries that these may look at beside each other.
            mask: (N, Q, Q + others) bool, which they may look at.
        """
        keys = queries + position
        values = queries
        if others is not None:
            keys = torch.cat([keys, others.contents + others.positions], dim=1)
            values = torch.cat([values, others.contents], dim=1)
        queries = self.norm1(queries + self.attention(queries + position, keys, values, mask))
        queries = self.norm2(queries + self.cross(queries + position, boxes, maps))
        return self.norm3(queries + self.mlp(queries))


class RtDetrHead(nn.Module):
    """The decoder of RT-DETR (Zhao et al., arXiv 2304.08069): see ``contracts.Head``. The places are the queries.

    The cells of the maps that are most likely objects become queries. Every layer moves their boxes. Where maps have
    fewer cells than there are queries, all become some.

    Args:
        in_channels: of every map.
        strides: of every map, finest first.
        classes: K.
        channels: of the queries.
        queries: Q at most.
        layers: of the decoder.
        heads: of its attentions.
        feed_forward: width of its perceptrons.
    """

    outputs = ("logits", "boxes")
    suppresses = False
    decoding = DecodingConfig(iou=1.0, vote=NO_VOTE)

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        *,
        classes: int,
        channels: int = 256,
        queries: int = 300,
        layers: int = 3,
        heads: int = 8,
        feed_forward: int = 1024,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.queries = queries
        self.inputs = nn.ModuleList(ConvNormAct(width, channels, 1, act=False) for width in in_channels)
        self.cells = nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels))
        self.cell_classes = nn.Linear(channels, classes)
        self.cell_boxes = perceptron(channels, channels, channels, 4)
        self.position = perceptron(4, 2 * channels, channels)
        levels = len(self.strides)
        self.layers = nn.ModuleList(
            DecoderLayer(channels, heads, levels=levels, feed_forward=feed_forward) for _ in range(layers)
        )
        class_layers = [nn.Linear(channels, classes) for _ in range(layers)]
        box_layers = [perceptron(channels, channels, channels, 4) for _ in range(layers)]
        self.classes = nn.ModuleList(class_layers)
        self.boxes = nn.ModuleList(box_layers)
        self.noisy_labels = nn.Embedding(classes + 1, channels, padding_idx=classes)  # the last one stands for nothing
        for layer in (self.cell_classes, *class_layers):
            nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))
        for layer in (each[-1] for each in (self.cell_boxes, *box_layers)):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    @property
    def predictors(self) -> tuple[nn.Module, ...]:
        """The last layers of boxes and classes."""
        boxes = (self.cell_boxes, *self.boxes)
        return (self.cell_classes, *self.classes, *(list(each.children())[-1] for each in boxes))

    def forward(self, maps: list[Tensor], size_hw: tuple[int, int]) -> RtDetrOutputs:
        maps = [layer(x) for layer, x in zip(self.inputs, maps, strict=True)]
        sizes_hw = [(x.shape[2], x.shape[3]) for x in maps]
        memory = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)
        starts, is_valid = starting_boxes(sizes_hw, memory.device)
        cells = self.cells(memory * is_valid[:, None].to(memory.dtype))
        cell_logits = self.cell_classes(cells).float()
        count = min(self.queries, cells.shape[1])
        best, ranked = cell_logits.amax(dim=2).topk(min(count + 1, cells.shape[1]), dim=1)
        chosen = ranked[:, :count]
        margin = best[:, count - 1] - best[:, count] if count < best.shape[1] else best[:, 0] + torch.inf
        contents = rows_at(cells, chosen)
        boxes = (self.cell_boxes(contents).float() + starts[chosen]).sigmoid()
        looked_at = [layer.cross.looked_at(memory, sizes_hw) for layer in self._layers()]
        logits, layer_boxes, passed = self._decoded(contents.detach(), boxes.detach(), looked_at)
        return RtDetrOutputs(
            logits[-1],
            layer_boxes[-1],
            size_hw,
            (sizes_hw[0][0] * self.strides[0], sizes_hw[0][1] * self.strides[0]),
            (rows_at(cell_logits, chosen), *logits),
            (boxes, *layer_boxes),
            passed,
            margin,
        )

    def _layers(self) -> Iterator[DecoderLayer]:
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            yield layer

    def _decoded(
        self,
        contents: Tensor,
        boxes: Tensor,
        looked_at: Sequence[tuple[Tensor, ...]],
        *,
        others: Sequence[Passed] | None = None,
        mask: Tensor | None = None,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Passed, ...]]:
        """Logits and boxes after every layer, and what each was given.

        Args:
            contents: (F, Q, C) of the queries.
            boxes: (F, Q, 4) of them; no gradient passes through those that a layer starts from.
            looked_at: for each layer, as ``DeformableAttention.looked_at`` gives it.
            others: for each layer, what other queries were given that these may look at.
            mask: (F, Q, Q + others) bool, which queries they may look at.
        """
        every_logits = []
        every_boxes = []
        passed = []
        for number, layer in enumerate(self._layers()):
            position = self.position(boxes.to(contents.dtype))
            passed.append(Passed(contents, position, looked_at[number]))
            seen = None if others is None else others[number]
            contents = layer(contents, position, boxes, looked_at[number], others=seen, mask=mask)
            moved = (self.boxes[number](contents).float() + logit(boxes)).sigmoid()
            every_logits.append(self.classes[number](contents).float())
            every_boxes.append(moved)
            boxes = moved.detach()
        return tuple(every_logits), tuple(every_boxes), tuple(passed)

    def loss(self, outputs: RtDetrOutputs, frames: Sequence[Boxes]) -> dict[str, Tensor]:
        """Losses of the last layer, ``classes``, ``boxes`` and ``overlaps``, of all others and of denoising queries.

        Those of the cells that became queries, and of every layer but the last, are ``auxiliary``. ``denoising``
        queries start from the truth with noise, which is drawn by torch's own generator on the CPU. They are decoded
        here, beside the queries of ``outputs``, which do not see them (Zhang et al., arXiv 2203.03605, section 3.3).

        Args:
            outputs: of F frames.
            frames: the truth, F entries.

        Raises:
            InputError: if there are not F entries, or ``pad_targets`` refuses one.
        """
        targets = self._targets(outputs, frames)
        padded_hw = outputs.padded_hw
        losses = matched_losses(outputs.every_logits, outputs.every_boxes, targets, padded_hw)
        _, others, classes = outputs.logits.shape
        noise = noisy_queries(targets, padded_hw, classes=classes, others=others)
        logits: tuple[Tensor, ...] = ()
        boxes: tuple[Tensor, ...] = ()
        if noise.labels.numel():
            contents = self.noisy_labels(noise.labels)
            looked_at = [each.maps for each in outputs.passed]
            logits, boxes, _ = self._decoded(contents, noise.boxes, looked_at, others=outputs.passed, mask=noise.mask)
        denoising = denoising_loss(logits, boxes, noise, targets, padded_hw)
        losses["denoising"] = denoising + 0 * self.noisy_labels.weight.sum()  # all weights have a gradient at any truth
        return losses

    def _targets(self, outputs: RtDetrOutputs, frames: Sequence[Boxes]) -> Targets:
        """The truth, of which boxes without area are none."""
        targets = pad_targets(
            frames, outputs.logits.device, classes=outputs.logits.shape[2], outputs=len(outputs.logits)
        )
        has_area = (targets.xyxy[..., :2] < targets.xyxy[..., 2:]).all(dim=-1)
        return targets._replace(is_target=targets.is_target & has_area)

    def scores(self, outputs: RtDetrOutputs) -> Tensor:
        """The probability of every class at every query (F, Q, K)."""
        return outputs.logits.sigmoid()

    def boxes_at(self, outputs: RtDetrOutputs, places: Tensor) -> Tensor:
        """The boxes (F, M, 4) xyxy of the queries ``places`` (F, M)."""
        return as_pixels(rows_at(outputs.boxes, places), outputs.padded_hw)

    def final_scores(self, outputs: RtDetrOutputs, places: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        """The scores as they are."""
        return scores


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers from width to width, with ReLU between."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def logit(x: Tensor) -> Tensor:
    """The inverse of the sigmoid, for shares that may be 0 or 1."""
    return x.clamp(min=EPSILON).log() - (1 - x).clamp(min=EPSILON).log()


def starting_boxes(
    sizes_hw: Sequence[tuple[int, int]], device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Logits (A, 4) of the boxes from which all cells of maps of these sizes start, and which of them can (A,)."""
    levels = []
    for level, (height, width) in enumerate(sizes_hw):
        y, x = torch.meshgrid(
            (torch.arange(height, device=device) + 0.5) / height,
            (torch.arange(width, device=device) + 0.5) / width,
            indexing="ij",
        )
        side = torch.full_like(x, FIRST_SIDE * 2**level)
        levels.append(torch.stack([x, y, side, side], dim=-1).flatten(0, 1))
    boxes = torch.cat(levels)
    is_valid = ((boxes > MARGIN) & (boxes < 1 - MARGIN)).all(dim=1)
    return torch.where(is_valid[:, None], (boxes / (1 - boxes)).log(), torch.inf), is_valid
