"""Folders of recordings: how their events become frames, and how these are changed for training."""

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
    align: Literal["windows", "labels"] = "windows"
    """Windows begin at multiples of their length, or so that one ends with the first label of each recording."""

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
