"""Recurrent object detectors on sequential data: train, evaluate and run them."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .allowing import allow
    from .checks import InputError
    from .config import (
        AugmentConfig,
        DataConfig,
        DatasetConfig,
        DigitsConfig,
        EventDigitsConfig,
        ModelConfig,
        OwnConfig,
        PicturesConfig,
        TensorConfig,
        TrainConfig,
        VanillaConfig,
        model_config,
    )
    from .events.array import Events
    from .events.canvas import representation
    from .events.files import open_recording
    from .inference.evaluate import evaluate
    from .inference.loading import load_runner
    from .inference.streaming import StreamConfig, StreamingDetector
    from .models.checking import check_contract
    from .models.detector import Detector
    from .models.memory import with_memory
    from .models.weights import load_detector, save_detector
    from .models.zoo import build_detector
    from .structures import Boxes, Clip
    from .training.fit import fit, resume

# Torch's threads wait for each other by spinning, for some 20 ms and on cores that other processes need: a step beside
# one takes three times as long. So they sleep after some microseconds; this is read when torch is loaded.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "1000"

__version__ = "0.1.0"
__all__ = [
    "AugmentConfig",
    "Boxes",
    "Clip",
    "DataConfig",
    "DatasetConfig",
    "Detector",
    "DigitsConfig",
    "EventDigitsConfig",
    "Events",
    "InputError",
    "ModelConfig",
    "OwnConfig",
    "PicturesConfig",
    "StreamConfig",
    "StreamingDetector",
    "TensorConfig",
    "TrainConfig",
    "VanillaConfig",
    "allow",
    "build_detector",
    "check_contract",
    "evaluate",
    "fit",
    "load_detector",
    "load_runner",
    "model_config",
    "open_recording",
    "representation",
    "resume",
    "save_detector",
    "with_memory",
]

_HOMES = {
    "AugmentConfig": "config",
    "Boxes": "structures",
    "Clip": "structures",
    "DataConfig": "config",
    "DatasetConfig": "config",
    "Detector": "models.detector",
    "DigitsConfig": "config",
    "EventDigitsConfig": "config",
    "Events": "events.array",
    "InputError": "checks",
    "ModelConfig": "config",
    "OwnConfig": "config",
    "PicturesConfig": "config",
    "StreamConfig": "inference.streaming",
    "StreamingDetector": "inference.streaming",
    "TensorConfig": "config",
    "TrainConfig": "config",
    "VanillaConfig": "config",
    "allow": "allowing",
    "build_detector": "models.zoo",
    "check_contract": "models.checking",
    "evaluate": "inference.evaluate",
    "fit": "training.fit",
    "load_detector": "models.weights",
    "load_runner": "inference.loading",
    "model_config": "config",
    "open_recording": "events.files",
    "representation": "events.canvas",
    "resume": "training.fit",
    "save_detector": "models.weights",
    "with_memory": "models.memory",
}

_FORMER = {"load_step": "load_runner"}
"""Names that seqdet had before, and still answers to."""


def __getattr__(name: str) -> Any:
    """Import what takes time when it is first asked for, so that the command line answers at once."""
    name = _FORMER.get(name, name)
    if name not in _HOMES:
        raise AttributeError(f"module 'seqdet' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """What is public, imported or not."""
    return sorted([*__all__, "__version__"])
