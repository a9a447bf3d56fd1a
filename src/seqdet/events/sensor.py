"""What a simulated event camera is like. Imports no numpy, so that a command line can offer it at once."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import check_range, fit_fields


@dataclass(frozen=True)
class Sensor:
    """Thresholds, dead time and noise of an event camera; the defaults are those of a usual one in daylight."""

    on_threshold: float = 0.2
    """A pixel reports brighter when the natural logarithm of its light has risen by this much."""
    off_threshold: float = 0.2
    """A pixel reports darker when the natural logarithm of its light has fallen by this much."""
    threshold_spread: float = 0.03
    """Standard deviation of the thresholds from pixel to pixel, as a share of the threshold."""
    refractory_us: int = 500
    """A pixel is silent for this many microseconds after an event."""
    leak_rate_hz: float = 0.05
    """Events per second of every pixel that report brighter for no reason."""
    shot_noise_hz: float = 0.05
    """Events per second of every pixel from noise of the light, half of them brighter."""
    dark_level: float = 0.02
    """Added to the light, of which white has 1, before the logarithm: what the pixel sees in black."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 0.01, 100, "on_threshold", "off_threshold")
        check_range(self, 0, 1, "threshold_spread")
        check_range(self, 0, 10**9, "refractory_us")
        check_range(self, 0, 10**4, "leak_rate_hz", "shot_noise_hz")
        check_range(self, 1e-6, 1, "dark_level")


USUAL = Sensor()
