"""What a run is made of: data, model and optimisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..checks import InputError, check_at_least, check_range, fit_fields
from .datasets import DatasetConfig
from .digits import DigitsConfig
from .limits import LARGEST_SEED, MOST_STEPS
from .models import ModelConfig, VanillaConfig

Device = Literal["auto", "cpu", "cuda"]
"""Where to compute."""


@dataclass(frozen=True)
class DataConfig:
    """Where the clips come from and how they are cut."""

    clip_length: int = 12
    """Frames per clip (T): how far back the gradient reaches."""
    lanes: int = 4
    """Recordings played at once (B)."""
    workers: int = 0
    """Loader processes; the batches are the same for any number."""
    seed: int = 0
    """Seeds the videos and their order."""
    random_share: float = 0.0
    """Share of the lanes that play clips on their own, by chance and without memory of what came before."""
    digits: DigitsConfig = field(default_factory=DigitsConfig)
    """The moving digits as frames."""
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    """Recordings instead."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, 4096, "clip_length", "lanes")
        check_range(self, 0, 1, "random_share")
        check_range(self, 0, 256, "workers")
        check_range(self, 0, LARGEST_SEED, "seed")
        clip = self.clip_length
        for name in ("frames_per_video", "held_out_frames_per_video") if self.dataset.folder is None else ():
            if (frames := getattr(self.digits, name)) % clip:
                raise InputError(f"digits.{name} must be a multiple of clip_length, got {frames} and {clip}.")


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How the outputs of a detector become detections: in validation, evaluation, prediction and exported files alike.

    ``iou`` and ``vote`` are those of its head: published ones come without votes, and with an IoU of their own.

    The boxes depend on all of this, so those that are scored are those that are predicted only if it is the same.
    Whoever wants fewer detections chooses among these afterwards.
    """

    score: float = 0.01
    """Least score of a detection. A box is a mean of the detections around it, down to this score; average precision
    wants the unlikely ones too, and those below change it by nothing that counts."""
    iou: float = 0.5
    """Of two detections of one class that overlap by more than this, the better stays."""
    vote: float = 0.7
    """A detection that stays takes the mean of the boxes of its class that overlap it by this or more."""
    candidates: int = 300
    """The best pairs of place and class of a frame that suppression looks at."""
    most: int = 100
    """Detections that are kept of a frame."""


NO_VOTE = 2.0
"""An overlap that no two boxes have: detections stay where they are."""
DECODING = DecodingConfig()
SHOWN_SCORE = 0.3
"""Least score of a detection in pictures and videos."""


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation."""

    start: Path | None = None
    """Begin with the weights of this file, or run, as far as they fit; classes of the same name keep theirs. On the
    command line the detector is of its kind too, unless an option, a recipe or a configuration says of which."""
    max_steps: int = 830
    """Optimiser steps."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """``muon``: for the convolutions, and AdamW for the rest."""
    lr: float = 2e-3
    """Peak learning rate."""
    lr_factors: dict[str, float] = field(default_factory=dict)
    """Factors of the learning rate for parts of the detector, by names as in ``freeze``, such as {backbone: 0.1}; the
    longest name that fits counts."""
    weight_decay: float = 0.05
    """Of the weights; norms and biases do not decay."""
    schedule: Literal["cosine", "one_cycle", "exponential", "constant"] = "cosine"
    """How the learning rate falls: to nothing at ``max_steps``; in a straight line to a ten-thousandth there, after a
    warm-up from a twentieth, as RVT's; by ``decay`` after every epoch; or not at all."""
    decay: float = 0.98
    """Factor per epoch of the exponential schedule."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises to its peak."""
    gradient_clip: float = 10.0
    """Largest norm of the gradient."""
    gradient_clip_value: float | None = None
    """Largest size of each entry of the gradient; they are cut before its norm. Any if not given."""
    ema: float = 0.0
    """What a step keeps of a moving average of the weights, which is then validated, kept and handed out: 0.999 for one
    over some 1000 steps, over fewer at first; 0: no average."""
    freeze: tuple[str, ...] = ()
    """Parts of the detector that stay as they are, in evaluation mode: modules or parameters, such as backbone."""
    accumulate: int = 1
    """Clips per lane whose gradients are summed before a step."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the layers; weights are float32. ``auto``: bfloat16 where the hardware computes with it."""
    channels_last: bool = True
    """Memory layout of the feature maps; the faster one on most hardware."""
    device: Device = "auto"
    """``auto``: a GPU if there is one."""
    processes: int = 1
    """Processes that share the lanes: one for each GPU, or side by side on the CPU."""
    validate_epochs: int = 2
    """Epochs between validations; there is one at the end in any case."""
    checkpoint_steps: int = 100
    """Steps between checkpoints to resume from; the last one is kept."""
    keep_epochs: int = 0
    """Epochs between weights that are kept for good; 0: only the best and the last."""
    demo_epochs: int = 2
    """Epochs between demo clips in TensorBoard; 0: none."""
    log_steps: int = 10
    """Steps between points of the curves."""
    seed: int = 0
    """Seeds the weights, and what losses draw."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, MOST_STEPS, "max_steps", "accumulate", "validate_epochs", "checkpoint_steps", "log_steps")
        check_range(self, 1, 1024, "processes")
        check_range(self, 0, MOST_STEPS, "warmup_steps", "keep_epochs", "demo_epochs")
        check_range(self, 0, LARGEST_SEED, "seed")
        check_at_least(self.weight_decay, 0, "weight_decay")
        for name in ("lr", "gradient_clip", "gradient_clip_value", "decay"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}.")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema must be at least 0 and below 1, got {self.ema}.")
        if self.schedule == "one_cycle" and self.warmup_steps >= self.max_steps:
            raise InputError(
                f"warmup_steps must be fewer than the {self.max_steps} max_steps with the schedule one_cycle, got "
                f"{self.warmup_steps}: the learning rate falls behind them."
            )
        for part, factor in self.lr_factors.items():
            if not factor > 0:
                raise InputError(
                    f"lr_factors must be positive, got {factor} for {part}. What shall stay as it is belongs in freeze."
                )


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides how a run goes: what ``config.yaml`` in its folder holds."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=VanillaConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        fit_fields(self)
