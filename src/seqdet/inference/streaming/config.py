"""How a detector looks at streams of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...checks import InputError, fit_fields
from ...events.filters import FilterConfig
from ...events.sieve import JITTER_US
from ...events.stream import WindowStream
from .view import ViewConfig


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How a detector looks at streams, and which of its detections are wanted."""

    step_us: int | None = None
    """From the start of a window to that of the next, at most the length of a window, which it is if not given. A
    detector has learnt to see each event once: shorter steps answer sooner and may answer worse."""
    count: int | None = None
    """Events of a window, instead of windows of the length that the detector was trained on."""
    lateness_us: int = JITTER_US
    """How far events may be behind others; windows are closed so much later."""
    filters: tuple[FilterConfig, ...] = ()
    """Which events are left out before everything else, one after the other."""
    view: ViewConfig = field(default_factory=ViewConfig)
    """What the detector sees of the sensor."""
    any_size: bool = False
    """Take a sensor of another size than in training; its frames are smaller than it by the same factor."""
    classes: tuple[str, ...] = ()
    """Classes that are wanted, each ``name`` or ``name:score``; all if none."""
    score: float = 0.0
    """Least score of a detection of a class that has none of its own."""

    def __post_init__(self) -> None:
        fit_fields(self)
        if self.step_us is not None and self.count is not None:
            raise InputError(f"step_us and count must not both be given, got {self.step_us} and {self.count}.")

    def windows(self, length_us: int, start_us: int = 0) -> WindowStream:
        """Those of one stream, for a detector that was trained on windows of this length; the first begins here.

        Raises:
            InputError: if steps are longer than windows.
        """
        if self.count is not None:
            return WindowStream(count=self.count, lateness_us=self.lateness_us)
        lengths: Any = {"duration_us": length_us, "step_us": self.step_us}
        return WindowStream(**lengths, start_us=start_us, lateness_us=self.lateness_us)
