"""What a simulated event camera is like. Imports no numpy, so that a command line can offer it at once."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import InputError, check_range, fit_fields


@dataclass(frozen=True)
class Sensor:
    """Thresholds, dead time, noise and flaws of an event camera; the defaults are those of a usual one in daylight.

    Thresholds, their spread and the dead time are those of ESIM (Rebecq et al., CoRL 2018); bandwidth and noise that
    depend on the light follow v2e (Hu, Liu and Delbruck, CVPRW 2021, https://arxiv.org/abs/2006.07722). That single
    pixels are much noisier than others is measured in Joubert et al., "Event Camera Simulator Improvements via
    Characterized Parameters", Frontiers in Neuroscience 15, 2021. What is 0 by default is a flaw that is not there.
    """

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
    shot_noise_in_white: float = 1.0
    """Share of the shot noise that is left in white, and in proportion to the light between; v2e has 0.25."""
    photoreceptor_hz: float = 0.0
    """Cutoff of the photoreceptor in white, less in proportion to light and dark level; 0: endlessly fast. v2e takes
    300 as a rule."""
    hot_pixels: float = 0.0
    """Share of the pixels that send events all the time, always the same ones of a seed."""
    hot_pixel_hz: float = 100.0
    """Events per second of each of these, half of them brighter."""
    readout_hz: float = 0.0
    """Events per second that the whole sensor can send; more of them wait, and their pixels see nothing meanwhile. 0:
    no limit. Makers state 1e6 (DVS128), 12e6 (DAVIS346) and 1.06e9 (IMX636)."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 0.01, 100, "on_threshold", "off_threshold")
        check_range(self, 0, 1, "threshold_spread")
        check_range(self, 0, 10**9, "refractory_us")
        check_range(self, 0, 10**4, "leak_rate_hz", "shot_noise_hz")
        check_range(self, 1e-6, 1, "dark_level")
        check_range(self, 0, 1, "shot_noise_in_white", "hot_pixels")
        check_range(self, 0, 10**6, "hot_pixel_hz")
        check_range(self, 0, 10**12, "photoreceptor_hz", "readout_hz")
        for name in ("photoreceptor_hz", "readout_hz"):
            if 0 < (value := getattr(self, name)) < 0.001:
                raise InputError(f"{name} must be 0, for no limit, or at least 0.001, got {value}.")


USUAL = Sensor()
