"""Settings. Plain frozen dataclasses: no parsing, no torch, no defaults elsewhere."""

from .datasets import AugmentConfig, DatasetConfig, InputConfig, TensorConfig
from .digits import DigitsConfig, EventDigitsConfig
from .run import DataConfig, ModelConfig, RunConfig, TrainConfig

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "DatasetConfig",
    "DigitsConfig",
    "EventDigitsConfig",
    "InputConfig",
    "ModelConfig",
    "RunConfig",
    "TensorConfig",
    "TrainConfig",
]
