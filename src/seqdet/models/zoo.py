"""The detectors by name: how each is put together of its parts."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..allowing import find_allowed
from ..checks import InputError, one_line
from ..config import (
    EvrtDetrConfig,
    LowrecConfig,
    ModelConfig,
    OwnConfig,
    RvtConfig,
    S5VitConfig,
    VanillaConfig,
    WithMemoryConfig,
    YoloxConfig,
    model_config,
    usual_config,
)
from .checking import check_contract
from .detector import Detector
from .hybrid_encoder import HybridEncoder
from .lowrec import Lowrec
from .memory import with_memory
from .necks import FPN, PAFPN
from .peephole_memory import PeepholeMemory
from .resnet_vd import ResNetVd
from .rtdetr import RtDetrHead
from .rvt import RVT
from .single_shot import single_shot_head
from .state_space import s5_vit
from .task_aligned import TaskAlignedHead
from .timm_parts import TimmFrames
from .torchvision_parts import torchvision_detector
from .vanilla import Vanilla
from .yolox import YoloxHead

log = logging.getLogger(__name__)
PLAIN = (bool, int, float, str, tuple)
"""Types of the settings of a part."""


def vanilla(config: VanillaConfig, in_channels: int) -> Detector:
    """The reference architecture."""
    backbone = Vanilla(in_channels, base=config.base, channels=config.channels, levels=config.levels, cell=config.cell)
    head = single_shot_head(config, config.channels, backbone.strides)
    return Detector(backbone, head, classes=config.classes, in_channels=in_channels)


def lowrec(config: LowrecConfig, in_channels: int) -> Detector:
    """Low-level recurrence."""
    backbone = Lowrec(
        in_channels,
        base=config.base,
        blocks=config.blocks,
        cell=config.cell,
        kernel_size=config.kernel_size,
        aligned=config.aligned,
    )
    head = TaskAlignedHead(
        backbone.channels[0],
        backbone.strides,
        len(config.classes),
        hidden=config.head_layers,
        box_weight=config.box_weight,
    )
    return Detector(backbone, head, classes=config.classes, in_channels=in_channels)


def remembering(config: WithMemoryConfig, in_channels: int) -> Detector:
    """A detector of frames with memory."""
    source, _, name = config.frames.partition(":")
    if source == "torchvision":
        frame_detector = torchvision_detector(name, len(config.classes), in_channels)
    else:
        backbone = TimmFrames(name, in_channels)
        neck = FPN(backbone.channels, backbone.strides, config.channels)
        head = single_shot_head(config, config.channels, neck.strides)
        frame_detector = Detector(backbone, head, neck=neck, classes=config.classes, in_channels=in_channels)
    return with_memory(
        frame_detector,
        levels=config.levels or None,
        cell=config.cell,
        channels=config.memory_channels,
        classes=config.classes,
        in_channels=in_channels,
    )


def rvt(config: RvtConfig, in_channels: int) -> Detector:
    """Recurrent vision transformers."""
    settings = {name: getattr(config, name) for name in ("dim", "head_width", "split", "partition")}
    return _with_yolox(config, RVT(in_channels, **settings), in_channels)


def s5vit(config: S5VitConfig, in_channels: int) -> Detector:
    """Vision transformers with state spaces."""
    settings = {name: getattr(config, name) for name in ("dim", "head_width", "split", "partition", "carry")}
    return _with_yolox(config, s5_vit(in_channels, **settings), in_channels)


def _with_yolox(config: YoloxConfig, backbone: RVT, in_channels: int) -> Detector:
    neck = PAFPN(backbone.channels, backbone.strides, depth=config.neck_depth)
    width = backbone.channels[-1] // 4
    head = YoloxHead(
        neck.channels, neck.strides, width=width, classes=len(config.classes), score_rule=config.score_rule
    )
    return Detector(backbone, head, neck=neck, classes=config.classes, in_channels=in_channels)


def evrt_detr(config: EvrtDetrConfig, in_channels: int) -> Detector:
    """A frame detector of queries, with memory between neck and head."""
    backbone = ResNetVd(in_channels, depth=config.depth, base=config.base)
    attention = {"heads": config.heads, "feed_forward": config.feed_forward}
    neck = HybridEncoder(
        backbone.channels, backbone.strides, channels=config.width, expansion=config.expansion, **attention
    )
    memory = PeepholeMemory(neck.channels, hidden=config.memory) if config.memory else None
    head = RtDetrHead(
        neck.channels,
        neck.strides,
        classes=len(config.classes),
        channels=config.width,
        queries=config.queries,
        layers=config.decoder_layers,
        **attention,
    )
    return Detector(backbone, head, neck=neck, memory=memory, classes=config.classes, in_channels=in_channels)


def own(config: OwnConfig, in_channels: int) -> Detector:
    """What a function of the user makes, if it was allowed by name."""
    if not config.name:
        raise InputError(
            "model.name must be the function that puts the detector together, package.module:function, and this one "
            "was put together by hand: its file could not be read again."
        )
    function = find_allowed(config.name)
    try:
        inspect.signature(function).bind(config.classes, in_channels, **config.parameters)
    except TypeError as error:
        given = ", ".join(["classes", "in_channels", *config.parameters])
        raise InputError(f"{config.name} must take {' and '.join(given.rsplit(', ', 1))}: {error}.") from error
    try:
        detector = function(config.classes, in_channels, **config.parameters)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{config.name} raised {type(error).__name__} when it was built: {one_line(error)}."
        ) from error
    if not isinstance(detector, Detector):
        raise InputError(f"{config.name} must return a seqdet.Detector, got {type(detector).__name__}.")
    if (detector.classes, detector.channels) != (config.classes, in_channels):
        raise InputError(
            f"{config.name} must return a detector of the classes and channels that it is given, "
            f"{', '.join(config.classes)} and {in_channels}; got {', '.join(detector.classes)} and {detector.channels}."
        )
    if not any(each.is_meta for each in detector.parameters()):
        try:
            check_contract(detector)
        except InputError as error:
            raise InputError(
                f"{config.name} must return a detector whose parts keep their contract: {error}"
            ) from error
    return detector


BUILDERS: dict[type[ModelConfig], Callable[..., Detector]] = {
    VanillaConfig: vanilla,
    LowrecConfig: lowrec,
    WithMemoryConfig: remembering,
    RvtConfig: rvt,
    S5VitConfig: s5vit,
    EvrtDetrConfig: evrt_detr,
    OwnConfig: own,
}
"""How the detector of each kind of configuration is put together, of it and of the channels of the frames."""


def build_detector(model: ModelConfig | str, *, seed: int = 0, **settings: Any) -> Detector:
    """An untrained detector; its weights are drawn from ``seed`` and torch's own random state stays as it is.

    Args:
        model: its configuration, or the name of one: a key of ``seqdet.config.MODELS``, or a function of yours,
            package.module:function, which was allowed (``seqdet.allow``). That is called with the names of the classes,
            the channels of the frames and its own ``parameters``, and returns a ``Detector``.
        seed: of the weights.
        settings: of the architecture that a name stands for: classes, in_channels and its own.

    Raises:
        InputError: if the configuration names something unknown, or no classes or channels.
    """
    config = model_config(model, **settings) if isinstance(model, str) else model
    if type(config) is not type(usual_config(config.name or ":")):
        raise InputError(f"model.name must be one of a {type(config).__name__}, got {config.name!r}.")
    if not config.classes or config.in_channels is None:
        missing = "in_channels" if config.classes else "classes"
        raise InputError(
            f"model.{missing} must be given, as build_detector sees no data; seqdet.fit takes a ModelConfig in place "
            "of a detector, and what it leaves open from the data."
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well
        detector = BUILDERS[type(config)](config, config.in_channels)
    detector.config = config
    return detector


def check_built(detector: Detector) -> None:
    """Raise unless ``build_detector`` would build the same from the detector's configuration: its file says no more.

    Raises:
        InputError: naming a part that is of another kind, or of other settings.
    """
    with torch.device("meta"):
        usual = build_detector(detector.config)
    wanted, found = (dict(each.named_modules()) for each in (usual, detector))
    for name in sorted(wanted.keys() | found.keys()):
        one = wanted.get(name)
        other = found.get(name)
        if _settings(one) != _settings(other):
            kinds = [type(each).__name__ if each is not None else "nothing" for each in (one, other)]
            what = f"a {kinds[1]} in place of a {kinds[0]}" if kinds[0] != kinds[1] else "of other settings"
            raise InputError(
                "detector must be what build_detector makes of its configuration, or its file could not be read "
                f"again; its part {name or type(detector).__name__} is {what}."
            )


def check_takes(config: ModelConfig, size_hw: tuple[int, int]) -> None:
    """Raise if the detector of a configuration refuses frames of this size; nothing is computed but shapes.

    Args:
        config: with classes and channels.
        size_hw: height and width of the frames in pixels, before they are padded.

    Raises:
        InputError: as the part that refuses them says. Whatever else a part raises where there are shapes alone, it may
            not raise where there are numbers: that is left to be seen there.
    """
    assert config.in_channels is not None  # nothing is built without
    try:
        with torch.device("meta"), torch.no_grad():
            build_detector(config).eval()(torch.empty(1, 1, config.in_channels, *size_hw))
    except InputError:
        raise
    except Exception as error:
        log.debug("%s was not tried on frames of %dx%d: %s", config.name, *reversed(size_hw), one_line(error))


def _settings(part: nn.Module | None) -> tuple[object, dict[str, object]]:
    """What a part is, but for its tensors and its own parts."""
    if part is None:
        return None, {}
    tensors = {name: tuple(tensor.shape) for name, tensor in part.named_parameters(recurse=False)}
    return type(part), {**_plain(part), **tensors}


def _plain(thing: object) -> dict[str, object]:
    """The settings of a part, or of an object of seqdet's that is one of them, such as a loss."""
    values = {name: value for name, value in vars(thing).items() if name != "training"}
    found: dict[str, object] = {name: value for name, value in values.items() if isinstance(value, PLAIN)}
    for name, value in values.items():
        is_own = type(value).__module__.startswith(f"{__package__}.") and not isinstance(value, nn.Module | ModelConfig)
        if is_own and name not in found:
            found[name] = (type(value), _plain(value))
    return found
