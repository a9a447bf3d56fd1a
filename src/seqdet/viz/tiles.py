"""From frames to pictures: what a sensor's channels look like, and several pictures side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ..checks import InputError, check_at_least, check_shape
from .draw import draw_boxes, load_font

if TYPE_CHECKING:  # torch, which drawing events does not need
    from torch import Tensor

    from ..structures import Boxes, Clip

OFF_AND_ON = np.array([[86, 180, 233], [255, 190, 80]]) / 255
"""Sky blue for events of falling brightness, amber for rising: apart for the colour-blind too."""
BACKGROUND, CAPTION_INK = (24, 26, 31), (225, 228, 232)
GAP = 6
"""Pixels between tiles and around them."""
CAPTION_SIZE = 15
TITLE_STEP = CAPTION_SIZE + 8
LEGEND = "Solid: detections and their scores. Dashed: truth. Dotted: neither a target nor an error."


def frame_image(frame: Tensor | np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 of one frame (C, H, W).

    Three channels are RGB: uint8, or floats from 0 to 1. Two are counts of OFF and ON events, painted blue and
    amber. Any other number is added up to a grey picture. Outside RGB the sign is dropped and 99 % of the pixels that
    are not 0 stay below full brightness.
    """
    values = frame if isinstance(frame, np.ndarray) else frame.numpy(force=True)
    check_shape(values, "C H W", "frame")
    if len(values) == 3:
        painted = values.transpose(1, 2, 0) * (255.0 if np.issubdtype(values.dtype, np.floating) else 1)
    else:
        colours = OFF_AND_ON if len(values) == 2 else np.ones((len(values), 3))
        painted = np.einsum("chw,cp->hwp", np.abs(values.astype(np.float32)), colours)
        lit = painted[painted > 0]
        painted *= 255 / np.quantile(lit, 0.99) if lit.size else 0
    return np.ascontiguousarray(np.clip(painted, 0, 255).astype(np.uint8))


Paint = Callable[["Tensor | np.ndarray"], np.ndarray]
"""From a frame (C, H, W) to a picture (H, W, 3) uint8."""


def grid(images: Sequence[np.ndarray], *, columns: int, captions: Sequence[str] = (), title: str = "") -> np.ndarray:
    """One picture of equally large ``images``, row by row, with a caption above each and a title on top.

    Args:
        images: (H, W, 3) uint8 each.
        columns: tiles per row; a last, shorter row is filled with background.
        captions: one line per image, shortened to its width in the middle; none leaves no room for them.
        title: above all, in as many lines as it needs.

    Raises:
        InputError: if there are no images, or they differ in size.
    """
    check_at_least(columns, 1, "columns")
    if len({image.shape for image in images}) != 1:
        raise InputError(f"images must be at least one, all of one size, got {[image.shape for image in images]}.")
    height, width, _ = images[0].shape
    strip = CAPTION_SIZE + 8 if captions else 0
    columns, rows = min(columns, len(images)), -(-len(images) // columns)
    across = columns * (width + GAP) + GAP
    lines = _wrapped(title, across - 2 * GAP)
    head = len(lines) * TITLE_STEP + 4 if lines else 0
    picture = Image.new("RGB", (across, head + rows * (height + strip + GAP) + GAP), BACKGROUND)
    for i, line in enumerate(lines):
        picture.paste(_line(line, across - 2 * GAP, TITLE_STEP), (GAP, GAP + i * TITLE_STEP))
    for i, image in enumerate(images):
        x, y = GAP + i % columns * (width + GAP), head + GAP + i // columns * (height + strip + GAP)
        if captions:
            picture.paste(_line(captions[i], width, strip), (x, y))
        picture.paste(Image.fromarray(image), (x, y + strip))
    return np.asarray(picture)


def play(
    clip: Clip,
    predictions: Sequence[Boxes],
    *,
    classes: Sequence[str],
    columns: int,
    lanes: Sequence[int] | None = None,
    names: Sequence[str] = (),
    scale: int | None = None,
    paint: Paint = frame_image,
) -> Iterator[np.ndarray]:
    """One picture per time bin, the lanes side by side, with truth and predictions: what ``write_video`` takes.

    Args:
        clip: B recordings.
        predictions: T * B entries in (t, b) order, as ``Detector.decode`` returns them.
        classes: name of every class index.
        columns: lanes per row.
        lanes: those that are shown; all if not given.
        names: of the recordings, by their numbers; the number of a video if not given.
        scale: whole factor of the enlargement; ``readable_scale`` if not given.
        paint: makes a picture of a frame.
    """
    shown = range(clip.frames.shape[1]) if lanes is None else lanes
    for t in range(clip.frames.shape[0]):
        tiles = [_tile(clip, predictions, t, lane, classes, scale, paint) for lane in shown]
        captions = [_caption(clip, t, lane, names) for lane in shown]
        yield grid(tiles, columns=columns, captions=captions, title=LEGEND)


def _caption(clip: Clip, t: int, lane: int, names: Sequence[str]) -> str:
    """The recording and the time in it; nothing where nothing plays."""
    if clip.is_blank[lane]:
        return ""
    number = int(clip.recordings[lane])
    return f"{names[number] if names else f'video {number}'}, {_seconds(clip, t, lane)}"


def film_strip(
    shown: Sequence[tuple[Clip, Sequence[Boxes]]],
    *,
    lane: int,
    classes: Sequence[str],
    frames: int,
    scale: int,
    paint: Paint = frame_image,
) -> np.ndarray:
    """One picture of up to ``frames`` moments of a lane, evenly spread and side by side.

    Args:
        shown: consecutive clips, each with its T * B predictions in (t, b) order.
        lane: which of the B.
        classes: name of every class index.
        frames: moments shown.
        scale: whole factor of the enlargement.
        paint: makes a picture of a frame.
    """
    moments = [(clip, predictions, t) for clip, predictions in shown for t in range(len(clip.frames))]
    chosen = [moments[i] for i in np.linspace(0, len(moments) - 1, min(len(moments), frames)).astype(int)]
    tiles = [_tile(clip, predictions, t, lane, classes, scale, paint) for clip, predictions, t in chosen]
    return grid(tiles, columns=len(tiles), captions=[_seconds(clip, t, lane) for clip, _, t in chosen])


def _tile(
    clip: Clip,
    predictions: Sequence[Boxes],
    t: int,
    lane: int,
    classes: Sequence[str],
    scale: int | None,
    paint: Paint,
) -> np.ndarray:
    """One frame of a clip with its truth and predictions."""
    image, found = paint(clip.frames[t, lane]), predictions[t * clip.frames.shape[1] + lane]
    return draw_boxes(image, classes=classes, predictions=found, truth=clip.at(t)[lane], scale=scale)


def _seconds(clip: Clip, t: int, lane: int) -> str:
    return f"{clip.end_us[t, lane].item() / 1e6:.2f} s"


def _line(text: str, width: int, height: int) -> Image.Image:
    """One line of text on the background; without its middle if it is too long."""
    strip = Image.new("RGB", (width, height), BACKGROUND)
    kept = text
    for left_out in range(1, len(text)):
        if _fits(kept, width):
            break
        begin = (len(text) - left_out) // 2
        kept = f"{text[:begin]}…{text[begin + left_out :]}"
    ImageDraw.Draw(strip).text((2, 1), kept, fill=CAPTION_INK, font=load_font(CAPTION_SIZE))
    return strip


def _wrapped(text: str, width: int) -> list[str]:
    """The words in lines that fit a width, unless one alone does not."""
    lines: list[str] = []
    for word in text.split():
        if lines and _fits(f"{lines[-1]} {word}", width):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _fits(text: str, width: int) -> bool:
    return load_font(CAPTION_SIZE).getlength(text) <= width - 4
