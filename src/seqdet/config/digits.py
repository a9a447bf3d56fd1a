"""The moving digits, as frames and as event recordings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..checks import InputError, check_range, fit_fields
from .limits import MOST_FRAMES, MOST_US


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
    training_digits: tuple[int, int] | None = None
    """A training video shows from so many to so many; 1 to ``max_digits`` if not given. Crowded ones teach more."""
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
        if self.training_digits is not None and not 1 <= self.training_digits[0] <= self.training_digits[1] <= 256:
            raise InputError(
                f"training_digits must be two numbers from 1 to 256, the larger one last, got {self.training_digits}."
            )
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
