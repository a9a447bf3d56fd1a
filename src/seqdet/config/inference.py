"""How a trained detector is put to work: what it sees of a sensor, and how its latency is measured."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import check_range, check_roi, fit_fields
from .datasets import Unit
from .run import SHOWN_SCORE


@dataclass(frozen=True)
class ViewConfig:
    """What a detector sees of a sensor. First the rest is left out, then x and y change places, then it is flipped."""

    roi: tuple[int, int, int, int] | None = None
    """x1, y1, x2, y2: events outside are left out, and the others stay where they are."""
    transpose: bool = False
    """Whether x and y change places."""
    flip_x: bool = False
    """Whether left and right change places, as seen after ``transpose``."""
    flip_y: bool = False
    """Whether top and bottom change places, as seen after ``transpose``."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_roi(self.roi)


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """What is measured."""

    windows: int = 400
    """Most windows of a pass."""
    warm_up: int = 20
    """Windows that every backend sees before its pass, which then begins anew."""
    passes: int = 1
    """How often each backend plays the recording; they take turns."""
    threads: int | None = None
    """Of PyTorch, and of ONNX Runtime; as many as there are cores if not given."""
    score: float = SHOWN_SCORE
    """Least score of a detection that is handed out."""
    track: bool = True
    """Whether objects are followed."""
    live: bool = False
    """Take up each window when it would come from a sensor, not at once. Between windows the machine then rests, and
    finds its caches and threads as it does at work; where it is too slow, windows wait for it, which counts."""
    any_size: bool = False
    """Take a sensor of another size than in training."""
    size_hw: tuple[int, int] | None = None
    """Height and width of the sensor, for recordings that do not say."""
    time_unit: Unit | None = None
    """Of the times, for recordings that do not say."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, 10**6, "windows", "warm_up", "passes")
        check_range(self, 0, 1, "score")
        if self.threads is not None:
            check_range(self, 1, 1024, "threads")


@dataclass(frozen=True, kw_only=True)
class DiagnosisConfig:
    """How much is played for a diagnosis."""

    recordings: int | None = None
    """Recordings of the split that are played, spread over it; as many as 800 windows take if not given."""
    windows: int = 100
    """Windows of each at most, from its beginning."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 2, 10**6, "windows")
        if self.recordings is not None:
            check_range(self, 1, 10**6, "recordings")
