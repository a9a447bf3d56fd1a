"""The detectors that a configuration can name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..checks import InputError, check_choice
from ..config import ModelConfig
from .anchors import PRESETS, Anchors
from .backbones import Vanilla
from .criterion import Criterion
from .detector import Detector
from .heads import BoxHead


def vanilla(config: ModelConfig) -> Detector:
    """The reference architecture: squeeze-excite stem, recurrent pyramid, single-shot head."""
    backbone = Vanilla(
        config.in_channels, base=config.base, channels=config.channels, levels=config.levels, cell=config.cell
    )
    anchors = Anchors(PRESETS[config.anchors], backbone.strides)
    head = BoxHead(
        config.channels,
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
        variances=(0.1, 0.2),
    )
    return Detector(backbone, head, anchors=anchors, criterion=criterion, config=config)


PLAIN = (bool, int, float, str, tuple)
BUILDERS: dict[str, Callable[[ModelConfig], Detector]] = {"vanilla": vanilla}


def build_detector(config: ModelConfig, *, seed: int = 0) -> Detector:
    """An untrained detector; its weights are drawn from ``seed`` and torch's own random state stays as it is.

    Raises:
        InputError: if the configuration names something unknown.
    """
    check_choice(config.name, BUILDERS, "model.name")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well
        return BUILDERS[config.name](config)


def check_built(detector: Detector) -> None:
    """Raise unless ``build_detector`` would build the same from the detector's configuration: its file says no more.

    Raises:
        InputError: naming a part that is of another kind, or of other settings.
    """
    with torch.device("meta"):
        usual = build_detector(detector.config)
    wanted, found = (dict(each.named_modules()) for each in (usual, detector))
    for name in [*sorted(wanted.keys() | found.keys()), "criterion"]:
        one, other = wanted.get(name), found.get(name)
        if name == "criterion":  # which is no module
            one, other = usual.criterion, detector.criterion
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
