"""torchvision's SSD, SSDLite, RetinaNet and FCOS as a backbone and a head of a detector."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.ssd import SSD

from ..checks import InputError, check_choice
from ..config import NO_VOTE, DecodingConfig
from ..devices import one_thread
from ..ops.boxes import box_iou, rows_at
from ..ops.losses import Targets, pad_targets
from ..structures import Boxes, State

PROBE = 512
"""Side of the frame, without memory for its pixels, by which the maps of a backbone are told."""
SILENT = 50.0
"""Size of logits that give no loss and no gradient."""
NAMES = {"classification": "classes", "bbox_regression": "boxes", "bbox_ctrness": "centres"}
"""Our names of the losses."""
FRAME_DETECTORS: dict[str, Callable[..., nn.Module]] = {
    "fcos_resnet50_fpn": detection.fcos_resnet50_fpn,
    "retinanet_resnet50_fpn": detection.retinanet_resnet50_fpn,
    "ssd300_vgg16": detection.ssd300_vgg16,
    "ssdlite320_mobilenet_v3_large": detection.ssdlite320_mobilenet_v3_large,
}
"""What may follow ``torchvision:`` in ``WithMemoryConfig.frames``."""


class TorchvisionFrames(nn.Module):
    """The backbone and the pyramid of a torchvision detector, behind its normalisation: see ``contracts.Backbone``.

    Frames keep their size, so that a cell of a memory stays where its pixels are. Frames of another number of channels
    than the normalisation has are divided by its first divisor, and nothing is taken off.

    Args:
        backbone: of the detector.
        in_channels: of the frames.
        mean, std: of every channel, as torchvision normalises.
        multiple: that torchvision pads to.
        strides: pixels from cell to cell of every map; found by a frame of 512x512 pixels if None.
    """

    scaled = True
    exact = 1

    def __init__(
        self,
        backbone: nn.Module,
        in_channels: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        multiple: int,
        strides: Sequence[int] | None,
    ) -> None:
        super().__init__()
        for place, layer in list(backbone.named_modules()):
            if type(layer) is nn.Conv2d and layer.groups == layer.in_channels > 1 and place:
                backbone.set_submodule(place, DepthwiseConv2d(layer))
        self.backbone = backbone
        self.in_channels = in_channels
        fits = len(mean) == in_channels
        self.mean = tuple(map(float, mean)) if fits else (0.0,) * in_channels
        self.std = tuple(map(float, std)) if fits else (float(std[0]),) * in_channels
        self.multiple = multiple
        probe = _maps_of_shapes(backbone, in_channels, PROBE, PROBE)
        self.channels = tuple(x.shape[1] for x in probe)
        self.strides = tuple(strides or (round(PROBE / x.shape[2]) for x in probe))

    def forward(self, frames: Tensor, state: State | None = None) -> tuple[list[Tensor], State]:
        height, width = frames.shape[-2:]
        mean, std = (frames.new_tensor(each)[:, None, None] for each in (self.mean, self.std))
        try:
            maps = _maps(self.backbone, (frames.flatten(0, 1) - mean) / std)
        except RuntimeError as error:
            if self._takes(height, width):
                raise
            raise InputError(
                f"frames must be larger than {width}x{height} pixels, of which the coarsest maps of this backbone have "
                "nothing left."
            ) from error
        return maps, ()

    def _takes(self, height: int, width: int) -> bool:
        try:
            return bool(_maps_of_shapes(self.backbone, self.in_channels, height, width))
        except RuntimeError:
            return False


class DepthwiseConv2d(nn.Conv2d):
    """The same convolution with one filter a channel, and its gradient on maps of a single pixel.

    There the taps beside the middle meet padding alone. In bfloat16, channels last, torch (2.14) leaves their gradient
    unwritten: it is whatever was in memory.

    Args:
        layer: the convolution, whose weights are shared.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            cast(Any, layer.kernel_size),
            cast(Any, layer.stride),
            cast(Any, layer.padding),
            cast(Any, layer.dilation),
            groups=layer.groups,
            bias=layer.bias is not None,
            padding_mode=layer.padding_mode,
            device="meta",
        )
        self.weight = layer.weight
        self.bias = layer.bias
        self.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        middle = tuple(size // 2 for size in self.kernel_size)
        around = tuple(step * size for step, size in zip(self.dilation, middle, strict=True))
        is_centred = self.padding == around and self.padding_mode == "zeros" and all(n % 2 for n in self.kernel_size)
        if input.shape[-2:] != (1, 1) or not is_centred or self.out_channels != self.in_channels:
            return super().forward(input)
        scaled = input * self.weight[:, 0, middle[0], middle[1], None, None].to(input.dtype)
        return scaled if self.bias is None else scaled + self.bias[:, None, None].to(input.dtype)


def _maps(backbone: nn.Module, frames: Tensor) -> list[Tensor]:
    maps = backbone(frames)
    return [maps] if isinstance(maps, Tensor) else list(maps.values())


def _maps_of_shapes(backbone: nn.Module, in_channels: int, height: int, width: int) -> list[Tensor]:
    """Of a frame of this size, computed without numbers."""
    shapes_only = copy.deepcopy(backbone).to("meta").eval()
    with torch.no_grad():
        return _maps(shapes_only, torch.empty(1, in_channels, height, width, device="meta"))


class TorchvisionOutputs(NamedTuple):
    """What a torchvision head says of F frames.

    deltas: (F, A, 4) float32, boxes as its coder has them.
    logits: (F, A, K) float32, with the background in front where the head has one.
    anchors: (A, 4) xyxy in pixels.
    counts: how many of them each map has.
    size_hw: height and width of the frames in pixels.
    """

    deltas: Tensor
    logits: Tensor
    anchors: Tensor
    counts: tuple[int, ...]
    size_hw: tuple[int, int]


class CentredOutputs(NamedTuple):
    """``TorchvisionOutputs`` of FCOS.

    centres: (F, A, 1) float32, logits of how near a point is to the middle of its box.
    """

    deltas: Tensor
    logits: Tensor
    centres: Tensor
    anchors: Tensor
    counts: tuple[int, ...]
    size_hw: tuple[int, int]


class TorchvisionHead(nn.Module):
    """The head of SSD or SSDLite, its anchors, matching, coding and losses: see ``contracts.Head``.

    The losses are torchvision's own, of the boxes that are to be found. An anchor of no box that overlaps an ignored
    box, as much as is asked of one that is no background, gives none. Boxes without area teach nothing. Where several
    processes train, each divides by its own positives.

    Args:
        detector: torchvision's.
        classes: how many there are; a head of one more has a background in front.
        multiple: that frames are padded to.
    """

    suppresses = True
    outputs: tuple[str, ...] = ("deltas", "logits")
    _said_of: tuple[str, ...] = ("bbox_regression", "cls_logits")
    _losses: tuple[str, ...] = ("boxes", "classes")

    def __init__(self, detector: SSD | RetinaNet | FCOS, classes: int, multiple: int) -> None:
        super().__init__()
        self.detector = _without_backbone(detector)
        self.decoding = DecodingConfig(iou=detector.nms_thresh, vote=NO_VOTE)
        self.classes = classes
        self.multiple = multiple
        self.in_front = self._logits - classes
        self.anchors = _anchors_of(detector.anchor_generator)

    @property
    def _logits(self) -> int:
        return self.detector.head.classification_head.num_columns

    @property
    def predictors(self) -> Sequence[nn.Module]:
        head = self.detector.head
        layers = [*head.classification_head.module_list, *head.regression_head.module_list]
        return [layer[-1] if isinstance(layer, nn.Sequential) else layer for layer in layers]

    def forward(self, maps: list[Tensor], size_hw: tuple[int, int]) -> Any:
        height, width = (-(-side // self.multiple) * self.multiple for side in size_hw)
        of_maps = self.anchors(tuple((x.shape[2], x.shape[3]) for x in maps), (height, width))
        anchors = torch.tensor(np.concatenate(of_maps), device=maps[0].device)
        said = self._said(maps, len(anchors))
        deltas = said["bbox_regression"].float()
        logits = said["cls_logits"].float()
        counts = tuple(map(len, of_maps))
        if "bbox_ctrness" in said:
            return CentredOutputs(deltas, logits, said["bbox_ctrness"].float(), anchors, counts, size_hw)
        return TorchvisionOutputs(deltas, logits, anchors, counts, size_hw)

    def _said(self, maps: list[Tensor], anchors: int) -> dict[str, Tensor]:
        """What torchvision's head says; it takes no zero frames, and batch norm that learns no single one."""
        frames = maps[0].shape[0]
        if frames and not (frames == 1 and self.training):
            return self.detector.head(maps)
        if frames:
            twice = self.detector.head([x.repeat(2, 1, 1, 1) for x in maps])
            return {name: tensor[:1] for name, tensor in twice.items()}
        nothing = torch.stack([each.sum() for each in (*maps, *self.detector.head.parameters())]).sum()
        sizes = {"bbox_regression": 4, "cls_logits": self._logits, "bbox_ctrness": 1}
        return {name: nothing * maps[0].new_zeros(0, anchors, sizes[name]) for name in self._said_of}

    @one_thread()
    def loss(self, outputs: Any, frames: Sequence[Boxes]) -> dict[str, Tensor]:
        targets = pad_targets(frames, outputs.logits.device, classes=self.classes, outputs=len(outputs.logits))
        to_find = targets.is_target & (targets.xyxy[..., 2:] > targets.xyxy[..., :2]).all(dim=-1)
        truth = [
            {"boxes": xyxy[chosen], "labels": labels[chosen] + self.in_front}
            for xyxy, labels, chosen in zip(targets.xyxy, targets.labels, to_find, strict=True)
        ]
        if not truth:
            return {name: outputs.logits.sum() + outputs.deltas.sum() for name in self._losses}
        losses = self._loss(outputs, truth, targets)
        return {NAMES[name]: loss for name, loss in losses.items()}

    def _loss(self, outputs: Any, truth: list[dict[str, Tensor]], targets: Targets) -> dict[str, Tensor]:
        matched = [self._matched(each["boxes"], outputs.anchors) for each in truth]
        overlaps = box_iou(outputs.anchors, targets.xyxy).masked_fill(~targets.is_ignored[:, None], -1)
        threshold = self.detector.proposal_matcher.low_threshold
        is_excused = (overlaps >= threshold).any(dim=2) & (torch.stack(matched) < 0)
        said = {"bbox_regression": outputs.deltas, "cls_logits": self._silent(outputs.logits, is_excused)}
        return self._compute(truth, said, [outputs.anchors] * len(truth), matched)

    def _compute(
        self, truth: list[dict[str, Tensor]], said: dict[str, Tensor], anchors: list[Tensor], matched: list[Tensor]
    ) -> dict[str, Tensor]:
        return self.detector.compute_loss(truth, said, anchors, matched)

    def _matched(self, xyxy: Tensor, anchors: Tensor) -> Tensor:
        """The number of the box of every anchor, or below 0."""
        if not len(xyxy):
            return torch.full((len(anchors),), -1, device=anchors.device)
        return self.detector.proposal_matcher(box_iou(xyxy, anchors))

    def _silent(self, logits: Tensor, is_excused: Tensor) -> Tensor:
        """Logits (F, A, K) that are sure of no class, and cannot be moved, where (F, A) says so."""
        sure = torch.full_like(logits[0, 0], -SILENT)
        if isinstance(self.detector, SSD):
            sure[0] = SILENT
        return logits.where(~is_excused[..., None], sure)

    def scores(self, outputs: Any) -> Tensor:
        return outputs.logits.softmax(-1)[..., self.in_front :]

    def boxes_at(self, outputs: Any, places: Tensor) -> Tensor:
        deltas = rows_at(outputs.deltas, places)
        anchors = outputs.anchors[places]
        decoded = self.detector.box_coder.decode_single(deltas.flatten(0, 1), anchors.flatten(0, 1))
        return decoded.view(deltas.shape)

    def final_scores(self, outputs: Any, places: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
        return scores


class RetinaNetHead(TorchvisionHead):
    """The same of RetinaNet, which asks of every class alone."""

    @property
    def _logits(self) -> int:
        return self.detector.head.classification_head.num_classes

    @property
    def predictors(self) -> Sequence[nn.Module]:
        return self.detector.head.classification_head.cls_logits, self.detector.head.regression_head.bbox_reg

    def _compute(
        self, truth: list[dict[str, Tensor]], said: dict[str, Tensor], anchors: list[Tensor], matched: list[Tensor]
    ) -> dict[str, Tensor]:
        return self.detector.head.compute_loss(truth, said, anchors, matched)

    def scores(self, outputs: Any) -> Tensor:
        return outputs.logits.sigmoid()[..., self.in_front :]


class FCOSHead(RetinaNetHead):
    """The same of FCOS: points in place of anchors, and a score of how near they are to the middle of their box.

    A point within an ignored box and no target gives no loss.
    """

    outputs = ("deltas", "logits", "centres")
    _said_of = ("bbox_regression", "cls_logits", "bbox_ctrness")
    _losses = ("boxes", "classes", "centres")

    @property
    def predictors(self) -> Sequence[nn.Module]:
        return *super().predictors, self.detector.head.regression_head.bbox_ctrness

    def _loss(self, outputs: Any, truth: list[dict[str, Tensor]], targets: Targets) -> dict[str, Tensor]:
        points = (outputs.anchors[:, :2] + outputs.anchors[:, 2:]) / 2
        xyxy = targets.xyxy[:, None]
        is_within = ((points[:, None] > xyxy[..., :2]) & (points[:, None] < xyxy[..., 2:])).all(dim=-1)
        is_excused = (is_within & targets.is_ignored[:, None]).any(dim=2)
        is_excused &= ~(is_within & targets.is_target[:, None]).any(dim=2)
        said = {
            "bbox_regression": outputs.deltas,
            "cls_logits": self._silent(outputs.logits, is_excused),
            "bbox_ctrness": outputs.centres,
        }
        return self.detector.compute_loss(truth, said, [outputs.anchors] * len(truth), list(outputs.counts))

    def scores(self, outputs: Any) -> Tensor:
        return (super().scores(outputs) * outputs.centres.sigmoid()).sqrt()

    def boxes_at(self, outputs: Any, places: Tensor) -> Tensor:
        return self.detector.box_coder.decode(rows_at(outputs.deltas, places), outputs.anchors[places])


HEADS: dict[type[nn.Module], type[TorchvisionHead]] = {SSD: TorchvisionHead, RetinaNet: RetinaNetHead, FCOS: FCOSHead}
"""By the kind of detector."""


def torchvision_parts(
    detector: nn.Module, classes: int, in_channels: int | None
) -> tuple[TorchvisionFrames, TorchvisionHead]:
    """Backbone and head of a detector of torchvision, which share its weights.

    Args:
        detector: SSD, SSDLite, RetinaNet or FCOS.
        classes: how many there are.
        in_channels: of the frames; those of its first convolution if None.

    Raises:
        InputError: if it is of another kind, or was built for other classes or channels.
    """
    kind = next((each for each in HEADS if isinstance(detector, each)), None)
    if kind is None:
        raise InputError(
            "frame_detector must be a seqdet.Detector or torchvision's SSD, SSDLite, RetinaNet or FCOS, got "
            f"{type(detector).__name__}. One of your own becomes a Detector of a backbone, a neck and a head."
        )
    known = cast(SSD, detector)
    taken = _first_convolution(known.backbone)[1].in_channels
    if in_channels not in (None, taken):
        raise InputError(f"in_channels must be {taken}, as frame_detector takes frames of so many, got {in_channels}.")
    transform = known.transform
    backbone = TorchvisionFrames(
        known.backbone,
        taken,
        mean=transform.image_mean,
        std=transform.image_std,
        multiple=transform.size_divisible,
        strides=getattr(known.anchor_generator, "steps", None),
    )
    head = HEADS[kind](known, classes, transform.size_divisible)
    if head.in_front != 1 and not (head.in_front == 0 and kind is not SSD):
        of_head = head.classes + head.in_front
        raise InputError(
            f"classes must be those that frame_detector was built for, whose num_classes is {of_head}, the background "
            f"counted, got {classes}."
        )
    return backbone, head


def torchvision_detector(name: str, classes: int, in_channels: int) -> nn.Module:
    """One of ``FRAME_DETECTORS`` with weights drawn anew, for any number of classes and channels.

    Raises:
        InputError: if there is none of this name.
    """
    check_choice(name, FRAME_DETECTORS, "what follows torchvision: in frames")
    logits = classes + name.startswith("ssd")
    detector = FRAME_DETECTORS[name](weights=None, weights_backbone=None, num_classes=logits)
    backbone = cast(nn.Module, detector.backbone)
    place, first = _first_convolution(backbone)
    if first.in_channels != in_channels:
        size, stride, padding = (cast(Any, each) for each in (first.kernel_size, first.stride, first.padding))
        other = nn.Conv2d(in_channels, first.out_channels, size, stride, padding, bias=first.bias is not None)
        backbone.set_submodule(place, other)
    return detector


def _first_convolution(backbone: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, layer) for name, layer in backbone.named_modules() if isinstance(layer, nn.Conv2d))


def _without_backbone(detector: Any) -> Any:
    """The same detector, less its backbone, for what else it can do."""
    shell = copy.copy(detector)
    shell.__dict__["_modules"] = {name: part for name, part in detector._modules.items() if name != "backbone"}
    return shell


Sizes = tuple[tuple[int, int], ...]


def _anchors_of(generator: nn.Module) -> Callable[[Sizes, tuple[int, int]], tuple[np.ndarray, ...]]:
    """From the sizes of the maps and of the padded frames to torchvision's anchors (A, 4) xyxy of every map."""
    if isinstance(generator, AnchorGenerator):
        return partial(_grid_anchors, _plain(generator.cell_anchors))
    assert isinstance(generator, DefaultBoxGenerator)
    steps = None if generator.steps is None else tuple(generator.steps)
    shapes = [each.clamp(min=0, max=1) if generator.clip else each for each in generator._wh_pairs]
    return partial(_default_boxes, _plain(shapes), steps)


def _plain(tensors: Sequence[Tensor]) -> tuple[tuple[tuple[float, ...], ...], ...]:
    return tuple(tuple(map(tuple, each.tolist())) for each in tensors)


@lru_cache(maxsize=64)
def _grid_anchors(
    cells: tuple[tuple[tuple[float, ...], ...], ...], sizes_hw: Sizes, frame_hw: tuple[int, int]
) -> tuple[np.ndarray, ...]:
    levels = []
    for shapes, (height, width) in zip(cells, sizes_hw, strict=True):
        x = np.arange(width, dtype=np.float32) * (frame_hw[1] // width)
        y = np.arange(height, dtype=np.float32) * (frame_hw[0] // height)
        corners = np.stack([*np.meshgrid(x, y)] * 2, axis=-1)[:, :, None] + np.array(shapes, np.float32)
        levels.append(corners.reshape(-1, 4))
    return tuple(levels)


@lru_cache(maxsize=64)
def _default_boxes(
    shapes: tuple[tuple[tuple[float, ...], ...], ...],
    steps: tuple[int, ...] | None,
    sizes_hw: Sizes,
    frame_hw: tuple[int, int],
) -> tuple[np.ndarray, ...]:
    frame = np.array([frame_hw[1], frame_hw[0]], np.float32)
    levels = []
    for level, (height, width) in enumerate(sizes_hw):
        cells = np.array([width, height], np.float32) if steps is None else frame / np.float32(steps[level])
        columns_and_rows = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        centres = ((columns_and_rows + np.float32(0.5)) / cells)[:, :, None]
        halves = np.float32(0.5) * np.array(shapes[level], np.float32)
        corners = np.concatenate([(centres - halves) * frame, (centres + halves) * frame], axis=-1)
        levels.append(corners.reshape(-1, 4))
    return tuple(levels)
