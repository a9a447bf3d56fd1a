"""Folders of recordings: how their events or pictures become frames, and how these are changed for training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..checks import LARGEST_SIDE, InputError, check_range, check_size, fit_fields
from .digits import EventDigitsConfig
from .limits import MOST_US

Unit = Literal["s", "ms", "us", "ns"]
"""Of the times of recordings."""
OtherClasses = Literal["discard", "ignore"]
"""What becomes of boxes of classes that are not kept: they are left out, or neither targets nor errors."""


Colour = Literal["rgb", "grey"]
"""Of pictures: three channels, or luma alone."""


@dataclass(frozen=True)
class PicturesConfig:
    """Which pictures of videos, or of folders of images, are taken, and what of them."""

    colour: Colour = "rgb"
    """What frames show: three channels, or one of luma."""
    every: int = 1
    """Of the pictures one in so many is taken, from the first on."""
    fps: float | None = None
    """Pictures a second, in place of the times of a video; for folders of images that say none."""
    bits: int = 16
    """Of the values of images of more than eight bits: 16, or the 10, 12 or 14 of many cameras."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, 10**6, "every")
        check_range(self, 9, 16, "bits")
        if self.fps is not None and not 0 < self.fps <= 10**6:
            raise InputError(f"fps must be above 0 and at most 1e6, got {self.fps}.")


@dataclass(frozen=True)
class TensorConfig:
    """How events, or pictures, become frames."""

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
    align: Literal["windows", "labels"] = "windows"
    """Windows begin at multiples of their length, or so that one ends with the first label of each recording."""
    pictures: PicturesConfig = field(default_factory=PicturesConfig)
    """For videos and images, which have no representation and no windows; downscale and to_hw are for them as well, and
    to_hw keeps their shape: what is left is black."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, MOST_US, "window_us")
        check_range(self, 1, LARGEST_SIDE, "downscale")
        if self.to_hw is not None and self.downscale != 1:
            raise InputError(f"to_hw and downscale must not both be given, got {self.to_hw} and {self.downscale}.")

    def of(self, sensor_hw: tuple[int, int]) -> InputConfig:
        """What the frames of a sensor show."""
        smaller = max(sensor_hw[0] // self.downscale, 1), max(sensor_hw[1] // self.downscale, 1)
        return InputConfig(self.representation, self.parameters, self.window_us, sensor_hw, self.to_hw or smaller)

    def of_pictures(self, size_hw: tuple[int, int], period_us: int) -> PictureInput:
        """What the frames of pictures of a size show, usually so many microseconds apart."""
        smaller = max(size_hw[0] // self.downscale, 1), max(size_hw[1] // self.downscale, 1)
        return PictureInput(self.pictures.colour, self.to_hw or smaller, period_us)

    def of_smallest(self) -> InputConfig:
        """What the frames of the smallest sensor show that has such: for their channels and their type."""
        return self.of(self.to_hw or (self.downscale, self.downscale))


@dataclass(frozen=True)
class InputConfig:
    """What frames show, those that a detector was trained on above all: frames of another kind mean nothing to it."""

    representation: str
    """As in ``TensorConfig``."""
    parameters: dict[str, int | float | bool | str]
    """Its own arguments."""
    window_us: int
    """Time that a frame shows, and from one frame to the next."""
    sensor_hw: tuple[int, int]
    """Height and width of the sensor, in whose pixels boxes are handed out."""
    frame_hw: tuple[int, int]
    """Height and width of the frames."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, MOST_US, "window_us")
        for name in ("sensor_hw", "frame_hw"):
            check_size(getattr(self, name), name)


@dataclass(frozen=True)
class PictureInput:
    """What frames of videos or images show, those that a detector was trained on above all."""

    colour: Colour
    """As in ``PicturesConfig``."""
    frame_hw: tuple[int, int]
    """Height and width of the frames, into which pictures are fitted."""
    period_us: int
    """Usual time from one to the next."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 0, MOST_US, "period_us")
        check_size(self.frame_hw, "frame_hw")


Shown = InputConfig | PictureInput
"""What frames show: events, or pictures."""


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
    brightness: float = 0.0
    """Probability that pictures are brighter or darker."""
    max_brightness: float = 0.2
    """Largest such change, as a share of white."""
    contrast: float = 0.0
    """Probability of more or less contrast."""
    max_contrast: float = 0.5
    """Largest such change: values are that share farther from the middle, or as much nearer."""
    blur: float = 0.0
    """Probability that pictures are out of focus."""
    max_blur: float = 1.5
    """Largest standard deviation of the blur, in pixels of the frame."""
    noise: float = 0.0
    """Probability that pictures are noisy."""
    max_noise: float = 0.06
    """Largest standard deviation of the noise, as a share of white."""
    erase: float = 0.0
    """Probability of each picture that it loses a patch."""
    max_erased: float = 0.3
    """Largest sides of a patch, as a share of those of the picture."""
    faults: float = 0.0
    """Probability that the sensor has a fault, any of those of ``seqdet evaluate --faults`` alike."""
    fault_severity: int = 3
    """Severest fault, 1 to 5; the milder ones are as likely."""
    least_visible: float = 0.25
    """A box that keeps less than this share of its area in the frame is neither a target nor an error."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 0, 1, "flip", "zoom", "translate", "rotate", "polarity_dropout", "event_dropout", "time_flip")
        check_range(self, 0, 1, "zoom_in_share", "max_shift", "max_dropped", "least_visible")
        check_range(self, 0, 1, "brightness", "contrast", "blur", "noise", "erase")
        check_range(self, 0, 1, "max_brightness", "max_noise", "max_erased")
        check_range(self, 0, 16, "max_contrast", "max_blur")
        check_range(self, 0, 1, "faults")
        check_range(self, 1, 5, "fault_severity")
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
    compression: Literal["lz4", "zstd", "gzip", "none"] | None = None
    """Of the tensors of recordings: lz4 if they are made and it is not given. Any HDF5 library reads gzip and none."""
    cache_gb: float | None = None
    """Make nothing beforehand: read recordings as they play, and keep at most so many GB of tensors in that folder."""
    size_hw: tuple[int, int] | None = None
    """Height and width of the sensor, for recordings that do not say; dataset.json in the folder says it otherwise."""
    time_unit: Literal["auto", Unit] = "auto"
    """Of the times of recordings, for tables and HDF5 columns that do not say; auto goes by what they look like."""
    classes: tuple[str, ...] = ()
    """Classes to find: names, new=old to rename, new=old+old to merge; all of the folder if none."""
    other_classes: OtherClasses = "discard"
    """Boxes of other classes are background, or neither targets nor errors."""
    policy: Literal["nearest", "causal"] = "nearest"
    """A label belongs to the window that ends nearest to it, or to the last that ends before it."""
    tolerance_us: int = 25_000
    """Longest time from a label to the end of its window; labels farther from all are left out."""
    skip_us: int = 0
    """Labels so soon after the start of a recording are neither trained on nor scored."""
    least_diagonal: float = 0.0
    """Boxes with a shorter diagonal, in pixels of the sensor, are neither targets nor errors."""
    balance_classes: bool = False
    """Clips that are drawn on their own come more often if their classes are rare."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How training recordings are changed."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 0, MOST_US, "tolerance_us", "skip_us")
        check_range(self, 0, 10**6, "least_diagonal")
        check_size(self.size_hw, "size_hw")
        if self.cache_gb is not None and self.cache_gb <= 0:
            raise InputError(f"cache_gb must be above 0, got {self.cache_gb}. Leave it out to make all tensors first.")
        if self.cache_gb is not None and self.compression is not None:
            raise InputError(
                f"cache_gb and compression must not both be given, got {self.cache_gb} and {self.compression}: what is "
                "kept in a cache is for seqdet alone."
            )
        if self.simulate and self.folder is None:
            raise InputError("folder must be given for simulate to write to.")
