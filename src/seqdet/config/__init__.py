"""Settings: plain frozen dataclasses, without parsing, numpy or torch, so that a command line can offer them at once.

``datasets`` and ``digits`` are the data, ``run`` is all of a training, ``inference`` is how a trained detector is put
to work. ``limits`` are what bounds them.
"""

from .datasets import AugmentConfig, DatasetConfig, InputConfig, OtherClasses, TensorConfig, Unit
from .digits import DigitsConfig, EventDigitsConfig
from .inference import LatencyConfig, ViewConfig
from .limits import MOST_US
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
    "LatencyConfig",
    "ModelConfig",
    "OtherClasses",
    "RunConfig",
    "TensorConfig",
    "TrainConfig",
    "Unit",
    "ViewConfig",
]
