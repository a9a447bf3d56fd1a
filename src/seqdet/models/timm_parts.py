"""Backbones of frames from timm, for detectors that get their memory elsewhere."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import InputError, one_line
from ..structures import State

COARSEST = 32
FINEST = 8
"""Strides of the maps that are taken, at most and at least."""


class TimmFrames(nn.Module):
    """The maps of a classifier of timm at the strides 8, 16 and 32, without its classes: see ``contracts.Backbone``.

    Its weights are drawn anew: nothing is downloaded. Frames are scaled as ``Detector`` does, and not normalised.

    Args:
        name: a model of ``timm.list_models()`` that gives features, such as resnet18.
        in_channels: of the frames.

    Raises:
        InputError: if timm is not installed, or has no such model that gives maps (N, C, H, W).
    """

    scaled = True
    exact = 1
    multiple = COARSEST

    def __init__(self, name: str, in_channels: int) -> None:
        super().__init__()
        self.name = name
        self.model = _features(name, in_channels)
        strides = list(self.model.feature_info.reduction())
        self.taken = tuple(n for n, stride in enumerate(strides) if FINEST <= stride <= COARSEST)
        self.strides = tuple(strides[n] for n in self.taken)
        channels = self.model.feature_info.channels()
        self.channels = tuple(channels[n] for n in self.taken)
        if not self.taken or list(self.strides) != sorted(set(self.strides)):
            raise InputError(
                f"frames must be a model of timm whose maps have rising strides of {FINEST} to {COARSEST}, and "
                f"{name!r} has {strides}."
            )

    def forward(self, frames: Tensor, state: State | None = None) -> tuple[list[Tensor], State]:
        maps = self.model(frames.flatten(0, 1))
        return [maps[n] for n in self.taken], ()


def _features(name: str, in_channels: int) -> Any:
    try:
        timm = import_module("timm")
    except ImportError as error:
        raise InputError(f"timm must be installed for {name!r}: pip install 'seqdet[timm]'") from error
    if name not in timm.list_models():
        raise InputError(f"frames must name a model of timm.list_models() after timm:, got {name!r}.")
    try:
        model = timm.create_model(name, features_only=True, in_chans=in_channels, pretrained=False)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        raise InputError(
            f"frames must be a model of timm that gives features, and {name!r} does not: {one_line(error)}"
        ) from error
    side = 2 * COARSEST
    facts = zip(model.feature_info.channels(), model.feature_info.reduction(), strict=True)
    wanted = [(1, channels, side // stride, side // stride) for channels, stride in facts]
    try:
        maps = copy.deepcopy(model).to("meta").eval()(torch.empty(1, in_channels, side, side, device="meta"))
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"frames must be a model of timm that takes any size of frames, and {name!r} does not: {one_line(error)}"
        ) from error
    if [tuple(x.shape) for x in maps] != wanted:
        raise InputError(f"frames must be a model of timm that gives maps (N, C, H, W), and {name!r} gives others.")
    return model
