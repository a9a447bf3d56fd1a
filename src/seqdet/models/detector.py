"""A recurrent single-shot detector: its parts at work, and how it is put together from a configuration."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..checks import InputError, check_choice
from ..config import DECODING, InputConfig, ModelConfig
from ..devices import one_thread
from ..ops.boxes import detections
from ..structures import Boxes, Clip, State, check_tensor
from .backbones import BACKBONES, FeatureExtractor
from .heads import PRESETS, Anchors, BoxHead, Criterion, Outputs
from .layers import pad_to_multiple, reset_lanes

VARIANCES = (0.1, 0.2)
"""Of the coding of boxes (Liu et al., arXiv 1512.02325)."""
PLAIN = (bool, int, float, str, tuple)
"""Types of the settings of a part."""
FULL_SCALE = {torch.uint8: 255, torch.int8: 127}
"""The number that stands for 1 in frames of whole numbers."""


class Detector(nn.Module):
    """Finds boxes in frames with the help of what it saw before.

    State is an argument and a result: ``outputs, state = detector(frames, state)``. A clip cut anywhere gives the same
    outputs as the whole.

    Args:
        backbone: frames to maps.
        head: maps to coded boxes and class logits.
        anchors: what the boxes are coded against.
        criterion: the loss.
        config: what the parts were built from: the channels of the frames, the names of the classes.

    Attributes:
        input: what the frames of events show that it is trained on; None for frames of another kind, or an untrained
            detector. It is kept with the weights.
    """

    def __init__(
        self,
        backbone: FeatureExtractor,
        head: BoxHead,
        *,
        anchors: Anchors,
        criterion: Criterion,
        config: ModelConfig,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.anchors = anchors
        self.criterion = criterion
        self.config = config
        self.input: InputConfig | None = None

    @property
    def channels(self) -> int:
        """Of the frames."""
        assert self.config.in_channels is not None  # nothing is built without
        return self.config.in_channels

    def forward(
        self, frames: Tensor, state: State | None = None, *, keep: Tensor | None = None
    ) -> tuple[Outputs, State]:
        """The outputs for F = T * B frames in (t, b) order, and the state after the last of them.

        Args:
            frames: (T, B, C, H, W), uint8 (divided by 255 here, so from 0 to 1), int8 (divided by 127, so from -1 to 1;
                -128, which a saturated sensor may count, is a little below) or floating point, whose values are taken
                as they are. Sides that are not multiples of the largest stride are padded with zeros on the right and
                at the bottom.
            state: what the last call returned, or None at the start.
            keep: (T, B) bool, the frames whose outputs are wanted; all if None. The memory sees every frame.
        """
        check_tensor(frames, "T B C H W", "frames", C=self.channels)
        time, lanes, _, height, width = frames.shape
        if not frames.numel():
            raise InputError(f"frames must not be empty, got shape {tuple(frames.shape)}.")
        if not (frames.is_floating_point() or frames.dtype in FULL_SCALE):
            raise InputError(f"frames must be uint8, int8 or floating point, got {frames.dtype}.")
        if keep is not None:
            check_tensor(keep, "T B", "keep", kind="boolean", T=time, B=lanes)
        _check_state(state)
        x = frames.to(next(self.parameters()).dtype)
        if frames.dtype in FULL_SCALE:
            x = x / FULL_SCALE[frames.dtype]
        maps, after = self.backbone(pad_to_multiple(x, self.backbone.strides[-1]), state)
        if keep is not None and not keep.all():
            maps = [x[keep.flatten()] for x in maps]
        deltas, logits = self.head(maps)
        anchors = self.anchors([(x.shape[2], x.shape[3]) for x in maps], deltas.device)
        return Outputs(deltas, logits, anchors, (height, width)), after

    def loss(self, clip: Clip, state: State | None = None) -> tuple[dict[str, Tensor], State]:
        """The losses by name over the labelled frames of ``clip``, and the state after it.

        Lanes on which a recording starts are reset first.
        """
        _check_state(state)
        outputs, after = self(clip.frames, reset_lanes(state, clip.is_first), keep=clip.is_labelled)
        return self.criterion(outputs, clip.labelled(clip.boxes)), after

    @torch.no_grad()
    @one_thread()
    def decode(
        self,
        outputs: Outputs,
        *,
        score: float = DECODING.score,
        iou: float = DECODING.iou,
        vote: float = DECODING.vote,
        candidates: int = DECODING.candidates,
        most: int = DECODING.most,
    ) -> list[Boxes]:
        """The detections of every frame, best score first; by what ``DecodingConfig`` says if nothing else is given.

        Args:
            outputs: of F frames.
            score: least score of a detection.
            iou: of two detections of one class that overlap by more than this, the better stays.
            vote: a detection that stays takes the mean of the boxes of its class that overlap it by this or more,
                weighted by their squared scores (box voting, Gidaris and Komodakis, arXiv 1505.01749); above 1: none.
            candidates: the best pairs of anchor and class per frame that suppression looks at.
            most: detections kept per frame.

        Returns:
            F entries; boxes are clipped to the frame, and those wholly outside are left out.
        """
        if not isinstance(outputs, Outputs):
            raise InputError(
                f"outputs must be the first of the detector's two results, got {type(outputs).__name__}. "
                "Write outputs, state = detector(frames, state)."
            )
        return detections(
            outputs.deltas,
            self.head.scores(outputs.logits),
            outputs.anchors,
            size_hw=outputs.size_hw,
            variances=self.criterion.variances,
            score=score,
            iou=iou,
            vote=vote,
            candidates=candidates,
            most=most,
        )


def _check_state(state: Any) -> None:
    if state is None or (isinstance(state, tuple) and all(isinstance(tensor, Tensor) for tensor in state)):
        return
    raise InputError(
        f"state must be the tuple of tensors that the last call returned, got {type(state).__name__}. "
        "Write outputs, state = detector(frames, state)."
    )


def build_detector(config: ModelConfig, *, seed: int = 0) -> Detector:
    """An untrained detector; its weights are drawn from ``seed`` and torch's own random state stays as it is.

    Raises:
        InputError: if the configuration names something unknown, or no classes or channels.
    """
    check_choice(config.name, BACKBONES, "model.name")
    if not config.classes or config.in_channels is None:
        missing = "in_channels" if config.classes else "classes"
        raise InputError(
            f"model.{missing} must be given, as build_detector sees no data; seqdet.fit takes a ModelConfig in place "
            "of a detector, and what it leaves open from the data."
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well
        return _built(config, config.in_channels)


def _built(config: ModelConfig, in_channels: int) -> Detector:
    """The parts, one after the other: their weights are drawn in this order."""
    backbone = BACKBONES[config.name](config, in_channels)
    anchors = Anchors(PRESETS[config.anchors], backbone.strides)
    head = BoxHead(
        backbone.channels,
        anchors.per_cell,
        len(config.classes),
        hidden=config.head_layers,
        activation=config.activation,
    )
    criterion = Criterion(
        activation=config.activation,
        box_loss=config.box_loss,
        box_weight=config.box_weight,
        foreground=config.foreground,
        background=config.background,
        variances=VARIANCES,
    )
    return Detector(backbone, head, anchors=anchors, criterion=criterion, config=config)


def check_built(detector: Detector) -> None:
    """Raise unless ``build_detector`` would build the same from the detector's configuration: its file says no more.

    Raises:
        InputError: naming a part that is of another kind, or of other settings.
    """
    with torch.device("meta"):
        usual = build_detector(detector.config)
    wanted, found = (dict(each.named_modules()) for each in (usual, detector))
    for name in [*sorted(wanted.keys() | found.keys()), "criterion"]:
        one = wanted.get(name)
        other = found.get(name)
        if name == "criterion":  # which is no module
            one = usual.criterion
            other = detector.criterion
        if _settings(one) != _settings(other):
            kinds = [type(each).__name__ if each is not None else "nothing" for each in (one, other)]
            what = f"a {kinds[1]} in place of a {kinds[0]}" if kinds[0] != kinds[1] else "of other settings"
            raise InputError(
                "detector must be what build_detector makes of its configuration, or its file could not be read "
                f"again; its part {name or type(detector).__name__} is {what}."
            )


def _settings(part: nn.Module | Criterion | None) -> tuple[object, dict[str, object]]:
    """What a part is, but for its tensors and its own parts."""
    if part is None:
        return None, {}
    plain = {name: value for name, value in vars(part).items() if isinstance(value, PLAIN) and name != "training"}
    tensors = part.named_parameters(recurse=False) if isinstance(part, nn.Module) else ()
    return type(part), {**plain, **{name: tuple(tensor.shape) for name, tensor in tensors}}
