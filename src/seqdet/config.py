"""What a run is made of. Plain frozen dataclasses: no parsing, no torch, no defaults elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .checks import InputError, check_at_least, check_range, fit_fields

MOST_FRAMES, MOST_STEPS, MOST_US, LARGEST_SEED = 10**6, 10**9, 10**9, 2**63


@dataclass(frozen=True)
class DigitsConfig:
    """The moving digits: how they look, how they move, and how many frames of them there are."""

    height: int = 128
    """Height of a frame in pixels."""
    width: int = 128
    """Width of a frame in pixels."""
    max_digits: int = 3
    """A video shows 1 to this many digits."""
    digit_heights: tuple[float, float] = (24.0, 60.0)
    """Smallest and largest height of the upright ink in pixels, at any moment."""
    scale_swing: float = 0.2
    """Largest size of a digit over its smallest, less one, within a cycle of its zoom."""
    max_rotation: float = 30.0
    """A digit turns between minus and plus this many degrees."""
    max_speed: float = 4.0
    """Fastest motion, in pixels per frame."""
    frames_per_video: int = 24
    """Length of a training video; short ones show more digits in as many frames."""
    held_out_frames_per_video: int = 24
    """Length of a video of validation and test."""
    frames_per_epoch: int = 4800
    """Training frames per epoch; every epoch shows new videos."""
    validation_frames: int = 960
    """Frames looked at during training, of digits that are not trained on."""
    test_frames: int = 4800
    """Frames of the held-out digits that ``seqdet evaluate`` scores."""
    delta_t_us: int = 50_000
    """Time from one frame to the next in microseconds."""
    folder: Path | None = None
    """Folder with the four original MNIST files; the packaged subset if not given."""

    def __post_init__(self) -> None:
        fit_fields(self)
        smallest, largest = self.digit_heights
        if not 4 <= smallest < largest:
            raise InputError(f"digit_heights must be two rising numbers of at least 4, got {self.digit_heights}.")
        if largest / smallest < 1 + self.scale_swing:
            raise InputError(f"scale_swing must fit between the digit_heights, got {self.scale_swing}.")
        check_range(self, 1, 8192, "height", "width")
        check_range(self, 1, 256, "max_digits")
        check_range(self, 0, 8192, "scale_swing")
        check_range(self, 0, 180, "max_rotation")
        check_range(self, 0, 10**6, "max_speed")
        check_range(self, 1, MOST_FRAMES, "frames_per_video", "held_out_frames_per_video")
        check_range(self, self.frames_per_video, MOST_FRAMES, "frames_per_epoch")
        check_range(self, self.held_out_frames_per_video, MOST_FRAMES, "validation_frames", "test_frames")
        check_range(self, 1, MOST_US, "delta_t_us")


@dataclass(frozen=True)
class EventDigitsConfig:
    """The moving digits as event recordings, in which every digit stands still now and then."""

    digits: DigitsConfig = field(
        default_factory=lambda: DigitsConfig(
            frames_per_video=96,
            held_out_frames_per_video=96,
            frames_per_epoch=40_320,
            validation_frames=1_920,
            test_frames=4_800,
        )
    )
    """The digits and their motion; a video is a recording, a frame a window, an epoch the training set."""
    moving_s: tuple[float, float] = (0.5, 2.0)
    """Shortest and longest time that a digit moves for, in seconds."""
    still_s: tuple[float, float] = (0.3, 1.5)
    """Shortest and longest time that a digit stands still for, in seconds."""

    def __post_init__(self) -> None:
        fit_fields(self)
        for name in ("moving_s", "still_s"):
            shortest, longest = getattr(self, name)
            if not 0.001 <= shortest <= longest <= MOST_US:
                raise InputError(f"{name} must be two rising times of at least 0.001, got {(shortest, longest)}.")


@dataclass(frozen=True)
class TensorConfig:
    """How events become frames."""

    representation: str = "stacked_histogram"
    """A function listed in ``seqdet.events.tensors.REPRESENTATIONS``, or one of yours: package.module:function."""
    parameters: dict[str, int | float | bool | str] = field(default_factory=dict)
    """Its own arguments, such as bins."""
    window_us: int = 50_000
    """Time that a frame shows, and from one frame to the next."""
    downscale: int = 1
    """Whole factor by which frames are smaller than the sensor."""
    to_hw: tuple[int, int] | None = None
    """Height and width of the frames instead, at most the sensor's."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, MOST_US, "window_us")
        check_range(self, 1, 65536, "downscale")
        if self.to_hw is not None and self.downscale != 1:
            raise InputError(f"to_hw and downscale must not both be given, got {self.to_hw} and {self.downscale}.")

    def frame_hw(self, sensor_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the frames of a sensor."""
        return self.to_hw or (max(sensor_hw[0] // self.downscale, 1), max(sensor_hw[1] // self.downscale, 1))


@dataclass(frozen=True)
class AugmentConfig:
    """How training recordings are changed, once per recording and epoch; a probability of 0 switches a change off."""

    flip: float = 0.0
    """Probability that left and right change places; 0.5 is usual."""
    zoom: float = 0.0
    """Probability of a zoom."""
    zoom_in_share: float = 0.8
    """Share of the zooms that enlarge; the others shrink."""
    zoom_in: tuple[float, float] = (1.0, 1.5)
    """Smallest and largest factor of enlarging; a part of the frame, anywhere, then fills it."""
    zoom_out: tuple[float, float] = (1.0, 1.2)
    """Smallest and largest factor of shrinking; the frame then lies anywhere in an empty one."""
    translate: float = 0.0
    """Probability of a shift."""
    max_shift: float = 0.1
    """Farthest shift, as a share of width and height."""
    rotate: float = 0.0
    """Probability of a rotation about the centre."""
    max_rotation: float = 6.0
    """Largest angle in degrees, either way; boxes grow to the hull of their turned corners."""
    polarity_dropout: float = 0.0
    """Probability that one polarity, either, is not seen."""
    event_dropout: float = 0.0
    """Probability that a share of all events is not seen."""
    max_dropped: float = 0.3
    """Largest such share."""
    time_flip: float = 0.0
    """Probability that the recording is played backwards."""
    least_visible: float = 0.25
    """A box that keeps less than this share of its area in the frame is neither a target nor an error."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 0, 1, "flip", "zoom", "translate", "rotate", "polarity_dropout", "event_dropout", "time_flip")
        check_range(self, 0, 1, "zoom_in_share", "max_shift", "max_dropped", "least_visible")
        check_range(self, 0, 180, "max_rotation")
        for name in ("zoom_in", "zoom_out"):
            smallest, largest = getattr(self, name)
            if not 1 <= smallest <= largest <= 16:
                raise InputError(f"{name} must be two rising factors of 1 to 16, got {(smallest, largest)}.")


@dataclass(frozen=True)
class DatasetConfig:
    """A folder of recordings with labels, and how they become clips."""

    folder: Path | None = None
    """Folder with train, val and test, which hold recordings or tensor files; moving digits as frames if not given."""
    simulate: bool = False
    """Write the moving digits as event recordings to the folder first, if they are not there."""
    scene: EventDigitsConfig = field(default_factory=EventDigitsConfig)
    """These digits."""
    tensor: TensorConfig = field(default_factory=TensorConfig)
    """What recordings are made into; tensor files are taken as they are."""
    tensors: Path | None = None
    """Folder of the tensors of recordings; beside theirs, named by the settings, if not given."""
    classes: tuple[str, ...] = ()
    """Classes to find: names, new=old to rename, new=old+old to merge; all of the folder if none."""
    other_classes: Literal["discard", "ignore"] = "discard"
    """Boxes of other classes are background, or neither targets nor errors."""
    policy: Literal["nearest", "causal"] = "nearest"
    """A label belongs to the window that ends nearest to it, or to the last that ends before it."""
    tolerance_us: int = 25_000
    """Longest time from a label to the end of its window; labels farther from all are left out."""
    skip_us: int = 0
    """Labels so soon after the start of a recording are neither trained on nor scored."""
    balance_classes: bool = False
    """Clips that are drawn on their own come more often if their classes are rare."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How training recordings are changed."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 0, MOST_US, "tolerance_us", "skip_us")
        if self.simulate and self.folder is None:
            raise InputError("folder must be given for simulate to write to.")


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


@dataclass(frozen=True)
class ModelConfig:
    """The detector."""

    name: str = "vanilla"
    """A builder listed in ``seqdet.models.zoo.BUILDERS``."""
    classes: tuple[str, ...] = tuple("0123456789")
    """Names of the classes, in the order of their labels."""
    in_channels: int = 3
    """Channels of a frame."""
    base: int = 8
    """Width of the stem."""
    channels: int = 128
    """Width of the recurrent levels."""
    cell: Literal["lstm", "gru"] = "lstm"
    """The memory."""
    anchors: Literal["psee", "coco", "digits"] = "digits"
    """Shapes of the anchors."""
    head_layers: int = 1
    """Hidden convolutions in each branch of the head."""
    activation: Literal["softmax", "sigmoid"] = "softmax"
    """Whether the classes exclude each other."""
    box_loss: Literal["smooth_l1", "giou"] = "giou"
    """Regression loss."""
    box_weight: float = 2.0
    """Factor of the regression loss."""
    foreground: float = 0.5
    """An anchor that overlaps a box by this IoU learns to find it."""
    background: float = 0.4
    """An anchor that overlaps no box by this IoU learns to be silent."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, 1024, "in_channels", "base")
        check_range(self, 1, 4096, "channels")
        check_range(self, 0, 64, "head_layers")
        check_at_least(self.box_weight, 0, "box_weight")
        if len(set(self.classes)) != len(self.classes) or not self.classes:
            raise InputError(f"classes must be one or more different names, got {self.classes}.")
        if not 0 < self.background <= self.foreground < 1:
            raise InputError(
                f"background and foreground must be rising IoU thresholds between 0 and 1, "
                f"got {self.background} and {self.foreground}."
            )


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation."""

    max_steps: int = 830
    """Optimiser steps."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """``muon``: for the convolutions, and AdamW for the rest."""
    lr: float = 2e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """Of the weights; norms and biases do not decay."""
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    """How the learning rate falls: to nothing at ``max_steps``, by ``decay`` after every epoch, or not at all."""
    decay: float = 0.98
    """Factor per epoch of the exponential schedule."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises to its peak."""
    gradient_clip: float = 10.0
    """Largest norm of the gradient."""
    accumulate: int = 1
    """Clips per lane whose gradients are summed before a step."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the layers; weights are float32. ``auto``: bfloat16 where the hardware computes with it."""
    channels_last: bool = True
    """Memory layout of the feature maps; the faster one on most hardware."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto``: a GPU if there is one."""
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
    """Seeds the weights."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, MOST_STEPS, "max_steps", "accumulate", "validate_epochs", "checkpoint_steps", "log_steps")
        check_range(self, 0, MOST_STEPS, "warmup_steps", "keep_epochs", "demo_epochs")
        check_range(self, 0, LARGEST_SEED, "seed")
        check_at_least(self.weight_decay, 0, "weight_decay")
        for name in ("lr", "gradient_clip", "decay"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}.")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides how a run goes: what ``config.yaml`` in its folder holds."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        fit_fields(self)
