"""Pictures of representations: what a detector sees of a window, in the colours of the events."""

from __future__ import annotations

from functools import partial

import numpy as np
from PIL import Image
from torch import Tensor

from ..checks import check_shape
from ..config import InputConfig
from ..events.tensors import NEVER
from .event_images import FAINTEST, Palette, choose_palette
from .tiles import Paint, frame_image, grid

TIME_SURFACES = "time_surface", "multi_channel_time_surface"
SIGNED = "difference", "difference_quantized", "mixed_density_stack"
ALTERNATING = "histogram", "histogram_quantized", "event_cube"
"""Representations with channels of darker and brighter events in turn."""
TILE_SIDE = 320
"""Channels of a contact sheet are brought to about this many pixels on their longer side."""


def painter(shown: InputConfig | None) -> Paint:
    """How frames are painted of which that is known: events in the colours of their polarity."""
    if shown is None:
        return frame_image
    split = bool(shown.parameters.get("split_polarity", True))
    return partial(tensor_image, representation=shown.representation, split_polarity=split)


def tensor_image(
    frame: Tensor | np.ndarray, *, representation: str, split_polarity: bool = True, palette: str = "dark"
) -> np.ndarray:
    """A picture (H, W, 3) uint8 of one frame (C, H, W) of a representation.

    The colour says which polarity a pixel had, the distance from the background how much of it:

    * histograms, also quantized and stacked: events of the whole window, all bins added up; a pixel with both
      polarities has a mixed colour. An event cube likewise; without ``split_polarity`` the bins in which brighter
      events prevail count as brighter.
    * differences, and the last channel of a mixed density stack: the polarity that prevails in the whole window, and
      by how much. Where both are equal there is background.
    * time surfaces, of all bins: the more recent, the stronger; the polarity is that of the last event. Without decay
      the scale reaches from the oldest to the newest time in the frame.

    Counts and sums are scaled so that 99 % of the pixels that are not 0 stay below full colour: pictures of different
    frames do not compare. Other representations look as ``frame_image`` shows them.

    Args:
        frame: one window, as the representation makes it.
        representation: its name.
        split_polarity: the parameter of ``event_cube``; not used by others.
        palette: one of ``PALETTES``.

    Raises:
        InputError: for another shape, or an unknown palette.
    """
    colours, values = choose_palette(palette), _array(frame)
    if representation in TIME_SURFACES:
        off, on = (_recency(values)[polarity::2].max(axis=0) for polarity in (0, 1))
        return _mixed(np.where(off > on, off, 0), np.where(off > on, 0, on), colours)
    if representation in SIGNED or (representation == "event_cube" and not split_polarity):
        values = values[-1:] if representation == "mixed_density_stack" else values
        parts = np.maximum(-values.astype(np.float32), 0), np.maximum(values.astype(np.float32), 0)
    elif representation == "stacked_histogram":
        parts = np.split(values, 2)
    elif representation in ALTERNATING:
        parts = values[0::2], values[1::2]
    else:
        return frame_image(values)
    off, on = (part.sum(axis=0, dtype=np.float32) for part in parts)
    scale = _scale(off + on)
    return _mixed(off * scale, on * scale, colours)


def channels_image(frame: Tensor | np.ndarray, *, palette: str = "dark", columns: int = 5) -> np.ndarray:
    """A contact sheet of the channels of one frame (C, H, W), each with its number, lowest and highest value.

    Values above 0 have the colour of brighter events and values below that of darker ones, on one scale for all
    channels, so that they compare; times of a surface without decay are the stronger, the newer.

    Raises:
        InputError: for another shape, or an unknown palette.
    """
    colours, values = choose_palette(palette), _array(frame)
    shown = _recency(values) if values.dtype == np.int64 else values.astype(np.float32)
    shown = shown * _scale(np.abs(shown))
    tiles = [_fitted(_mixed(np.maximum(-channel, 0), np.maximum(channel, 0), colours)) for channel in shown]
    captions = [f"{i}: {_range(channel)}" for i, channel in enumerate(values)]
    return grid(tiles, columns=columns, captions=captions)


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


def _fitted(image: np.ndarray) -> np.ndarray:
    """The image at a whole factor below or, averaged, at the size of a tile."""
    height, width, _ = image.shape
    longer = max(height, width)
    if longer <= TILE_SIDE:
        factor = TILE_SIDE // longer
        return image.repeat(factor, 0).repeat(factor, 1)
    size = max(1, round(width * TILE_SIDE / longer)), max(1, round(height * TILE_SIDE / longer))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _range(channel: np.ndarray) -> str:
    known = channel[channel != NEVER] if channel.dtype == np.int64 else channel
    if not known.size:
        return "no events"
    return f"{known.min():.4g} to {known.max():.4g}" if channel.dtype.kind == "f" else f"{known.min()} to {known.max()}"
