"""The detectors that a configuration can name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..checks import check_choice
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
