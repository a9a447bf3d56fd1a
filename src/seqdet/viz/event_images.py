"""Pictures of events: the last polarity of every pixel, and how many events it had."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit

from ..checks import InputError, check_choice, check_shape
from ..events.array import Events

Colour = tuple[int, int, int]
FAINTEST = 0.25
"""Part of the way along a scale of colours at which the smallest value above 0 stands, so that one event shows."""


class Palette(NamedTuple):
    """Colours of a pixel without events, and with events of rising and of falling brightness."""

    background: Colour
    on: Colour
    off: Colour


PALETTES: dict[str, Palette] = {
    "dark": Palette(background=(30, 37, 52), on=(216, 223, 236), off=(64, 126, 201)),
    "light": Palette(background=(255, 255, 255), on=(64, 126, 201), off=(30, 37, 52)),
    "grey": Palette(background=(128, 128, 128), on=(255, 255, 255), off=(0, 0, 0)),
    "cool_warm": Palette(background=(255, 255, 255), on=(206, 32, 41), off=(44, 94, 214)),
    "colour_blind": Palette(background=(18, 18, 24), on=(255, 214, 74), off=(38, 120, 214)),
}
"""By name. ``dark`` is what users of the vendor's viewer know; the three colours of ``colour_blind`` stay apart for
protanopes, deuteranopes and tritanopes."""


def events_image(events: Events, *, size_hw: tuple[int, int], palette: str = "dark") -> np.ndarray:
    """A picture (H, W, 3) uint8 of events: every pixel in the colour of its last one in the order of ``events``.

    Args:
        events: any number.
        size_hw: height and width of the sensor in pixels.
        palette: one of ``PALETTES``.

    Raises:
        InputError: for events outside the sensor, or an unknown palette.
    """
    height, width = size_hw
    colours = choose_palette(palette)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = np.full((width, 3), colours.background, np.uint8)
    if not _paint(events.x, events.y, events.p, np.array([colours.off, colours.on], np.uint8), image):
        raise InputError(
            f"events must lie on a sensor of {width}x{height}, got x up to {events.x.max()}, y up to {events.y.max()}."
        )
    return image


def choose_palette(name: str) -> Palette:
    """The palette of that name.

    Raises:
        InputError: if there is none.
    """
    check_choice(name, PALETTES, "palette")
    return PALETTES[name]


@njit(nogil=True, cache=True)
def _paint(x, y, p, colours, image):
    """Whether all events lie on the image; paints up to the first that does not."""
    height, width, _ = image.shape
    for i in range(len(x)):
        row, column = np.int64(y[i]), np.int64(x[i])
        if row >= height or column >= width:
            return False
        sign = 1 if p[i] else 0
        image[row, column, 0] = colours[sign, 0]
        image[row, column, 1] = colours[sign, 1]
        image[row, column, 2] = colours[sign, 2]
    return True


def accumulated_image(counts: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 of how many events every pixel had, (H, W), on the scale of ``heat``.

    Logarithmic from 1 to ``count_limit``; pixels with more have its colour, so that hot ones do not blacken the rest.
    """
    check_shape(counts, "H W", "counts")
    limit = count_limit(counts)
    return heat(np.log(np.maximum(counts, 1)) / np.log(limit) if limit > 1 else counts, counts > 0)


def count_limit(counts: np.ndarray) -> int:
    """The count that 99.8 % of the pixels with events do not pass; 1 if there are none."""
    active = counts[counts > 0]
    return int(np.quantile(active, 0.998, method="lower")) if active.size else 1


def heat(values: np.ndarray, is_active: np.ndarray | bool = True) -> np.ndarray:
    """Colours (..., 3) uint8 of values from 0 to 1, on a scale from violet over red to pale yellow; else near black."""
    colours = _heat_colours()
    steps = (FAINTEST + (1 - FAINTEST) * np.clip(values, 0, 1)) * (len(colours) - 1)
    return colours[np.where(is_active, np.round(steps), 0).astype(np.intp)]


@cache
def _heat_colours() -> np.ndarray:
    """(256, 3) uint8 whose lightness rises evenly: a path in OKLCh, https://bottosson.github.io/posts/oklab/."""
    along = np.linspace(0, 1, 256)
    lightness, chroma = 0.16 + 0.8 * along, 0.16 * np.sin(np.pi * (0.1 + 0.82 * along))
    hue = np.radians(-75 + 180 * along)
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    to_cones = [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    to_linear = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
    linear = np.clip((lab @ np.transpose(to_cones)) ** 3 @ np.transpose(to_linear), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)
