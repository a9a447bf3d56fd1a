"""Settings: plain frozen dataclasses, without parsing, numpy or torch, so that a command line can offer them at once.

``datasets`` and ``digits`` are the data, ``models`` the detectors, ``run`` is all of a training, ``inference`` is how a
trained detector is put to work. ``limits`` are what bounds them.
"""

from .datasets import (
    AugmentConfig,
    Colour,
    DatasetConfig,
    InputConfig,
    OtherClasses,
    PictureInput,
    PicturesConfig,
    Shown,
    TensorConfig,
    Unit,
)
from .digits import DigitsConfig, EventDigitsConfig
from .inference import DiagnosisConfig, LatencyConfig, ViewConfig
from .limits import MOST_US
from .models import (
    MODELS,
    EvrtDetrConfig,
    LowrecConfig,
    ModelConfig,
    OwnConfig,
    RvtConfig,
    S5VitConfig,
    SingleShotConfig,
    VanillaConfig,
    WithMemoryConfig,
    YoloxConfig,
    anchors_in_words,
    model_config,
    usual_config,
)
from .run import DECODING, NO_VOTE, SHOWN_SCORE, DataConfig, DecodingConfig, Device, RunConfig, TrainConfig

__all__ = [
    "DECODING",
    "MODELS",
    "MOST_US",
    "NO_VOTE",
    "SHOWN_SCORE",
    "AugmentConfig",
    "Colour",
    "DataConfig",
    "DatasetConfig",
    "DecodingConfig",
    "Device",
    "DiagnosisConfig",
    "DigitsConfig",
    "EventDigitsConfig",
    "EvrtDetrConfig",
    "InputConfig",
    "LatencyConfig",
    "LowrecConfig",
    "ModelConfig",
    "OtherClasses",
    "OwnConfig",
    "PictureInput",
    "PicturesConfig",
    "RunConfig",
    "RvtConfig",
    "S5VitConfig",
    "Shown",
    "SingleShotConfig",
    "TensorConfig",
    "TrainConfig",
    "Unit",
    "VanillaConfig",
    "ViewConfig",
    "WithMemoryConfig",
    "YoloxConfig",
    "anchors_in_words",
    "model_config",
    "usual_config",
]
