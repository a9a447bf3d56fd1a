"""Draw boxes with readable labels: colours, fonts and lines that all pictures share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageDraw import ImageDraw as Canvas

from ..checks import InputError, check_at_least, check_shape

if TYPE_CHECKING:  # torch, which drawing events does not need
    from ..structures import Boxes

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels, half open."""

PALETTE: tuple[Colour, ...] = (
    (0, 150, 210),  # blue
    (255, 180, 15),  # amber
    (255, 0, 180),  # magenta
    (0, 210, 150),  # green
    (150, 75, 255),  # violet
    (105, 255, 255),  # cyan
    (195, 90, 105),  # rose
    (195, 255, 90),  # lime
    (195, 165, 255),  # lavender
    (150, 150, 0),  # olive
)
"""Colours of the classes, in turn. Any two are at least 0.17 apart in OKLab, and 0.09 as protanopes, deuteranopes and
tritanopes see them (Machado et al. 2009); none is grey or white, which stand for truth."""
WHITE, GREY, BLACK = (255, 255, 255), (150, 150, 150), (0, 0, 0)
BACKGROUND = (24, 26, 31)
CAPTION_INK = (225, 228, 232)
"""Of what lies around pictures and is written there."""
PADDING = 3
"""Pixels between a label's text and the rim of its plate, left and right."""
READABLE_SIDE = 512
"""Small frames are enlarged to about this many pixels on their longer side."""


class Label(NamedTuple):
    """A line of text for one box; the plate may cover ``at``."""

    text: str
    at: Rectangle
    above: bool
    ink: Colour
    plate: tuple[int, ...]


def readable_scale(size_hw: tuple[int, int]) -> int:
    """The whole factor by which a frame of this size is enlarged, so that its labels can be read."""
    return max(1, round(READABLE_SIDE / max(size_hw)))


def draw_boxes(
    image: np.ndarray,
    *,
    classes: Sequence[str],
    predictions: Boxes | None = None,
    truth: Boxes | None = None,
    scale: int | None = None,
) -> np.ndarray:
    """An enlarged copy of ``image`` with its objects drawn.

    Predictions are solid, in the colour of their class, with the class and the score on a plate above. Truth is
    dashed in white over black, so that it shows on any ground, with the class below; ignored truth is dotted in grey.
    Outlines lie on the outermost pixels inside the half-open boxes; what reaches out of the image is cut.

    Args:
        image: (H, W, 3) uint8.
        classes: name of every class index.
        predictions: found by a detector, in pixels of ``image``.
        truth: what there is to find, likewise.
        scale: whole factor of the enlargement; ``readable_scale`` if not given.

    Returns:
        (H * scale, W * scale, 3) uint8.

    Raises:
        InputError: if a box has a label without a name.
    """
    check_shape(image, "H W 3", "image")
    scale = readable_scale(image.shape[:2]) if scale is None else scale
    check_at_least(scale, 1, "scale")
    picture = Image.fromarray(image.repeat(scale, 0).repeat(scale, 1))
    canvas = ImageDraw.Draw(picture, "RGBA")
    line = line_width(picture)
    found = [] if predictions is None else list(_entries(predictions, classes, picture.size, scale))
    present = [] if truth is None else list(_entries(truth, classes, picture.size, scale))
    labels = []
    for box, _, _, is_ignored in present:
        if not is_ignored:
            outline(canvas, box, (*BLACK, 160), line - 1)
    labels += draw_detections(canvas, [(box, label, text) for box, label, text, _ in found], line)
    for box, _, text, is_ignored in present:
        _dashed_outline(canvas, box, GREY if is_ignored else WHITE, line - 1, 1 if is_ignored else 5)
        if not is_ignored:
            labels.append(Label(text, box, False, WHITE, (*BLACK, 150)))
    write_captions(canvas, labels, picture.size)
    return np.asarray(picture)


@cache
def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, so that pictures are the same on every machine; ``size`` in pixels."""
    return ImageFont.load_default(size)


def _entries(
    boxes: Boxes, classes: Sequence[str], size_wh: tuple[int, int], scale: int
) -> Iterator[tuple[Rectangle, int, str, bool]]:
    """Rectangle, class, text and whether it is ignored, of each box in view, the highest score first."""
    corners = (boxes.xyxy.numpy(force=True) * scale).round()
    labels = boxes.labels.tolist()
    scores = None if boxes.scores is None else boxes.scores.tolist()
    ignored = [False] * len(boxes) if boxes.is_ignored is None else boxes.is_ignored.tolist()
    order = range(len(boxes)) if scores is None else np.argsort(scores)[::-1].tolist()
    for i in order:
        label = int(labels[i])
        if not 0 <= label < len(classes):
            raise InputError(f"labels must be indices of the {len(classes)} classes, got {label}.")
        rectangle = in_view(corners[i], size_wh)
        if rectangle is not None:
            yield rectangle, label, classes[label] + ("" if scores is None else f"  {scores[i]:.2f}"), ignored[i]


def in_view(corners: Sequence[float] | np.ndarray, size_wh: tuple[int, int]) -> Rectangle | None:
    """The part of a box, corners x1, y1, x2, y2 in whole pixels, that is in the picture; None if nothing is."""
    width, height = size_wh
    x1, y1, x2, y2 = corners
    if not (x2 > 0 and y2 > 0 and x1 < width and y1 < height):
        return None
    left = int(max(x1, 0))
    top = int(max(y1, 0))
    return left, top, int(max(left + 1, min(x2, width))), int(max(top + 1, min(y2, height)))


def draw_detections(canvas: Canvas, found: Sequence[tuple[Rectangle, int, str]], line: int) -> list[Label]:
    """Outline detections in the colours of their classes, the first on top; their labels, which are to be written.

    Args:
        canvas: of the picture.
        found: rectangle, class index and text of each.
        line: width of the outlines in pixels.
    """
    coloured = [(text, box, PALETTE[label % len(PALETTE)]) for box, label, text in found]
    for _, box, colour in reversed(coloured):
        outline(canvas, box, colour, line)
    return [label_above(*each) for each in coloured]


def line_width(picture: Image.Image) -> int:
    """Of the outlines in a picture, in pixels."""
    return max(2, picture.height // 170)


def label_above(text: str, box: Rectangle, colour: Colour) -> Label:
    """A label above a box on a plate of its colour, written in what can be read on it."""
    return Label(text, box, True, WHITE if luminance(colour) < 0.3 else BLACK, colour)


def luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 to 1, with a gamma of 2.2."""
    return float(np.dot((np.array(colour) / 255) ** 2.2, (0.2126, 0.7152, 0.0722)))


def short_number(value: float) -> str:
    """Three digits and a thousand, million or billion: 1.25 M."""
    for size, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{name}"
    return f"{value:.3g}"


def outline(canvas: Canvas, box: Rectangle, colour: tuple[int, ...], line: int) -> None:
    """Lines of ``line`` pixels along the inner side of a box."""
    x1, y1, x2, y2 = box
    canvas.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour, width=line)


def _dashed_outline(canvas: Canvas, box: Rectangle, colour: Colour, line: int, dash: int) -> None:
    """Dashes of about ``dash`` times the line width, as long as their gaps; every side starts and ends with one."""
    x1, y1, x2, y2 = box
    for start, end, place in ((x1, x2, "row"), (y1, y2, "column")):
        pieces = 2 * round((end - start) / (2 * dash * max(line, 2))) + 1
        cuts = np.linspace(start, end, pieces + 1).round().astype(int).tolist()
        for a, b in zip(cuts[::2], cuts[1::2], strict=True):
            if place == "row":
                canvas.rectangle((a, y1, b - 1, min(y1 + line, y2) - 1), fill=colour)
                canvas.rectangle((a, max(y2 - line, y1), b - 1, y2 - 1), fill=colour)
            else:
                canvas.rectangle((x1, a, min(x1 + line, x2) - 1, b - 1), fill=colour)
                canvas.rectangle((max(x2 - line, x1), a, x2 - 1, b - 1), fill=colour)


def write_captions(canvas: Canvas, labels: Sequence[Label], size_wh: tuple[int, int]) -> None:
    """Write every label where it covers least of its own box and of the labels before it."""
    width, height = size_wh
    font = load_font(max(14, height // 32))
    _, top, _, bottom = font.getbbox("Äg0")
    taken: list[Rectangle] = []
    for label in labels:
        x1, y1, x2, y2 = label.at
        plate_w = round(font.getlength(label.text)) + 2 * PADDING
        plate_h = round(bottom - top) + 2
        rows = (y1 - plate_h, y2, y1) if label.above else (y2, y1 - plate_h, y2 - plate_h)
        places = [
            (max(0, min(x, width - plate_w)), max(0, min(y, height - plate_h)))
            for y in rows
            for x in (x1, x2 - plate_w)
        ]
        plates = [(x, y, x + plate_w, y + plate_h) for x, y in places]
        plate = min(plates, key=lambda p: sum(_overlap(p, other) for other in taken) + _overlap(p, label.at) / 2)
        taken.append(plate)
        canvas.rectangle((plate[0], plate[1], plate[2] - 1, plate[3] - 1), fill=label.plate)
        canvas.text((plate[0] + PADDING, plate[1] + 1 - top), label.text, fill=label.ink, font=font)


def _overlap(a: Rectangle, b: Rectangle) -> int:
    """Pixels that two rectangles share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
