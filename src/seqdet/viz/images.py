"""Pictures of events, and of the frames that are made of them: a pixel is a pixel.

Events: the last polarity of every pixel, or how many it had. Frames: what a detector sees of a window, in the colours
of the events where the representation is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from ..checks import InputError, check_choice, check_shape
from ..config import InputConfig, PictureInput
from ..events.array import Events
from ..events.canvas import Channel
from ..events.tensors import NEVER, channels_of, known_representation
from .draw import Colour

if TYPE_CHECKING:  # torch, which drawing events does not need
    from torch import Tensor

Paint = Callable[["Tensor | np.ndarray"], np.ndarray]
"""From a frame (C, H, W) to a picture (H, W, 3) uint8."""
OFF_AND_ON = np.array([[86, 180, 233], [255, 190, 80]]) / 255
"""Sky blue for events of falling brightness, amber for rising: apart for the colour-blind too."""
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
"""By name: those that ``palette`` of ``seqdet inspect`` lists, in ``cli.recordings``. ``dark`` is what users of the
vendor's viewer know; the three colours of ``colour_blind`` stay apart for protanopes, deuteranopes and tritanopes."""


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
        row = np.int64(y[i])
        column = np.int64(x[i])
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
    lightness = 0.16 + 0.8 * along
    chroma = 0.16 * np.sin(np.pi * (0.1 + 0.82 * along))
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


def frame_image(frame: Tensor | np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 of one frame (C, H, W).

    Three channels are RGB: uint8, or floats from 0 to 1. Two are counts of OFF and ON events, painted blue and
    amber. Any other number is added up to a grey picture. Outside RGB the sign is dropped and 99 % of the pixels that
    are not 0 stay below full brightness.
    """
    values = _array(frame)
    if len(values) == 3:
        painted = values.transpose(1, 2, 0) * (255.0 if np.issubdtype(values.dtype, np.floating) else 1)
    else:
        colours = OFF_AND_ON if len(values) == 2 else np.ones((len(values), 3))
        painted = np.einsum("chw,cp->hwp", np.abs(values.astype(np.float32)), colours)
        lit = painted[painted > 0]
        painted *= 255 / np.quantile(lit, 0.99) if lit.size else 0
    return np.ascontiguousarray(np.clip(painted, 0, 255).astype(np.uint8))


def painter(shown: InputConfig | PictureInput | None) -> Paint:
    """How frames are painted of which that is known: events in the colours of their polarity, grey pictures in grey."""
    if isinstance(shown, PictureInput):
        return _picture_image
    if shown is None:
        return frame_image
    return partial(tensor_image, shown=shown)


def tensor_image(frame: Tensor | np.ndarray, *, shown: InputConfig, palette: str = "dark") -> np.ndarray:
    """A picture (H, W, 3) uint8 of one frame (C, H, W) of a representation.

    The colour says which polarity a pixel had, the distance from the background how much of it:

    * histograms, also quantized and stacked: events of the whole window, all bins added up; a pixel with both
      polarities has a mixed colour. An event cube likewise; without ``split_polarity`` the bins in which brighter
      events prevail count as brighter. One of yours likewise, if it states what its channels show.
    * differences, and the last channel of a mixed density stack: the polarity that prevails in the whole window, and
      by how much. Where both are equal there is background.
    * time surfaces, of all bins: the more recent, the stronger; the polarity is that of the last event. Without decay
      the scale reaches from the oldest to the newest time in the frame.

    Counts and sums are scaled so that 99 % of the pixels that are not 0 stay below full colour: pictures of different
    frames do not compare. Other representations look as ``frame_image`` shows them.

    Args:
        frame: one window, as the representation makes it.
        shown: what it shows: the representation and its parameters.
        palette: one of ``PALETTES``.

    Raises:
        InputError: for another shape, or an unknown palette.
    """
    colours = choose_palette(palette)
    values = _array(frame)
    representation = known_representation(shown.representation)
    channels = channels_of(shown, len(values))
    if representation is None or channels is None:
        return frame_image(values)
    if representation.drawn == "newest":
        off, on = (planes.max(axis=0, initial=0) for planes in _by_polarity(_recency(values), channels))
        return _mixed(np.where(off > on, off, 0), np.where(off > on, 0, on), colours)
    first = len(values) - 1 if representation.drawn == "last" else 0
    off, on = (planes.sum(axis=0) for planes in _by_polarity(values[first:], channels[first:]))
    scale = _scale(off + on)
    return _mixed(off * scale, on * scale, colours)


def _picture_image(frame: Tensor | np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 of a frame (C, H, W) of three channels, or one."""
    values = _array(frame)
    return frame_image(np.repeat(values, 3, axis=0) if len(values) == 1 else values)


def _by_polarity(values: np.ndarray, channels: Sequence[Channel]) -> tuple[np.ndarray, np.ndarray]:
    """Darker and brighter events of every pixel, (n, H, W) float32 each; "any" is half of either."""
    off, on = [], []
    for plane, channel in zip(values.astype(np.float32), channels, strict=True):
        if channel.polarity is None:
            off.append(np.maximum(-plane, 0))
            on.append(np.maximum(plane, 0))
        elif channel.polarity == "any":
            off.append(plane / 2)
            on.append(plane / 2)
        else:
            (on if channel.polarity else off).append(plane)
    none = np.zeros((0, *values.shape[1:]), np.float32)
    return np.stack(off) if off else none, np.stack(on) if on else none


def _array(frame: Tensor | np.ndarray) -> np.ndarray:
    values = frame if isinstance(frame, np.ndarray) else frame.numpy(force=True)
    check_shape(values, "C H W", "frame")
    return values


def _recency(values: np.ndarray) -> np.ndarray:
    """How recent, from 0 for never to 1; times, which are the whole numbers, from the oldest to the newest."""
    if values.dtype != np.int64:
        return values.astype(np.float32)
    is_known = values != NEVER
    if not is_known.any():
        return np.zeros(values.shape, np.float32)
    oldest, newest = values[is_known].min(), values[is_known].max()
    ages = np.where(is_known, newest - np.maximum(values, oldest), 0)
    return np.where(is_known, 1 - 0.9 * ages / max(newest - oldest, 1), 0).astype(np.float32)


def _scale(values: np.ndarray) -> float:
    """The factor that brings 99 % of the values above 0 below 1."""
    lit = values[values > 0]
    return 1 / float(np.quantile(lit, 0.99)) if lit.size else 0.0


def _mixed(off: np.ndarray, on: np.ndarray, palette: Palette) -> np.ndarray:
    """Background where both are 0, and away from it, the further the more there is, the colours by their shares."""
    total = off + on
    share = np.divide(on, total, out=np.zeros_like(total), where=total > 0)[..., None]
    strength = np.where(total > 0, FAINTEST + (1 - FAINTEST) * np.clip(total, 0, 1), 0)[..., None]
    background, bright, dark = (np.array(colour, np.float32) for colour in palette)
    return np.round(background + strength * (dark + share * (bright - dark) - background)).astype(np.uint8)
