"""Settings. Plain frozen dataclasses: no parsing, no torch, no defaults elsewhere."""

from .datasets import AugmentConfig, DatasetConfig, InputConfig, OtherClasses, TensorConfig
from .digits import MOST_US, DigitsConfig, EventDigitsConfig
from .run import DECODING, SHOWN_SCORE, DataConfig, DecodingConfig, Device, ModelConfig, RunConfig, TrainConfig

__all__ = [
    "DECODING",
    "MOST_US",
    "SHOWN_SCORE",
    "AugmentConfig",
    "DataConfig",
    "DatasetConfig",
    "DecodingConfig",
    "Device",
    "DigitsConfig",
    "EventDigitsConfig",
    "InputConfig",
    "ModelConfig",
    "OtherClasses",
    "RunConfig",
    "TensorConfig",
    "TrainConfig",
]
