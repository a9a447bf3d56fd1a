"""What ``seqdet inspect`` found in a recording, as a picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from PIL.ImageDraw import ImageDraw as Canvas

from ..checks import InputError
from ..events.inspection import FINE_BIN_US, Inspection
from ..files import write_bytes
from .draw import BLACK, Rectangle, load_font
from .event_images import accumulated_image, count_limit, heat
from .rate_curve import BRIGHTER, DARKER, FAINT_INK, GAP_SHADE, TEXT_SIZE, TRIGGER, draw_rates, rate_columns
from .tiles import BACKGROUND, CAPTION_INK

WIDTH, HEIGHT, MARGIN = 1280, 900, 24
TITLE_SIZE, FACTS_SIZE = 22, 17
PLOT = (84, 92, WIDTH - MARGIN, 318)
MAP = (MARGIN, 378, 820, HEIGHT - 58)
"""Where the accumulated image may lie; its scale is below it."""
SHORTEST_US = 2 * FINE_BIN_US
"""Shorter recordings have no curve."""
RINGED, RING, RING_RADIUS = 20, (90, 255, 255), 8
"""At most so many hot pixels have a ring."""


def inspection_image(inspection: Inspection, *, title: str) -> np.ndarray:
    """A picture (900, 1280, 3) uint8 of a recording.

    On top the rate over time, brighter events piled on darker ones, with gaps shaded and triggers ticked; below how
    many events every pixel had, the hottest pixels ringed, and the facts beside it.

    Args:
        inspection: of the recording.
        title: one line, cut at the width of the picture.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    canvas = ImageDraw.Draw(picture, "RGBA")
    canvas.text((MARGIN, 14), _cut(title, TITLE_SIZE, WIDTH - 2 * MARGIN), fill=CAPTION_INK, font=load_font(TITLE_SIZE))
    if inspection.duration_us >= SHORTEST_US:
        columns = rate_columns(inspection, PLOT[2] - PLOT[0])
        _write_legend(canvas, inspection, columns.bin_us)
        draw_rates(canvas, inspection, columns, PLOT)
    else:
        number = {0: "no events", 1: "a single event"}.get(inspection.events, f"{inspection.events:,} events")
        text = number + (f" within {inspection.duration_us:,} us: no curve" if inspection.events > 1 else "")
        canvas.rectangle(PLOT, outline=FAINT_INK)
        middle = (PLOT[0] + PLOT[2]) / 2, (PLOT[1] + PLOT[3]) / 2
        canvas.text(middle, text, fill=CAPTION_INK, font=load_font(TITLE_SIZE), anchor="mm")
    right = _draw_map(picture, canvas, inspection) if inspection.counts.size else MARGIN
    _write_facts(canvas, inspection.lines(), (right + MARGIN, MAP[1], WIDTH - MARGIN, HEIGHT - MARGIN))
    return np.asarray(picture)


def write_inspection_image(path: Path, inspection: Inspection, *, title: str) -> None:
    """Write ``inspection_image`` as a PNG file.

    Raises:
        InputError: if the name does not end in .png, or the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"the name of the picture must end in .png, got {path.name}.")
    stream = BytesIO()
    Image.fromarray(inspection_image(inspection, title=title)).save(stream, "PNG")
    write_bytes(path, stream.getbuffer())


def _write_legend(canvas: Canvas, inspection: Inspection, bin_us: int) -> None:
    """What the colours of the curve mean, those that occur."""
    entries = [(BRIGHTER, "brighter"), (DARKER, "darker")]
    entries += [(GAP_SHADE, "no events for 100 ms or more")] if inspection.gaps_us else []
    entries += [(TRIGGER, "trigger edges")] if len(inspection.edges) else []
    font, x, y = load_font(TEXT_SIZE), MARGIN, 52
    text = f"events per second, in steps of {bin_us // 1000} ms:"
    canvas.text((x, y), text, fill=FAINT_INK, font=font)
    x += font.getlength(text) + 16
    for colour, name in entries:
        canvas.rectangle((x, y + 3, x + 10, y + 13), fill=colour)
        canvas.text((x + 17, y), name, fill=CAPTION_INK, font=font)
        x += font.getlength(name) + 38


def _draw_map(picture: Image.Image, canvas: Canvas, inspection: Inspection) -> int:
    """Draw the accumulated image with its rings and its scale; its right end."""
    left, top, right, bottom = MAP
    height, width = inspection.counts.shape
    scale = min((right - left) / width, (bottom - top) / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(accumulated_image(inspection.counts)).resize(size, Image.Resampling.BOX)
    picture.paste(image, (left, top))
    canvas.rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=FAINT_INK)
    for x, y in inspection.hot_xy[:RINGED]:
        centre = left + (x + 0.5) * scale, top + (y + 0.5) * scale
        canvas.circle(centre, RING_RADIUS + 1, outline=BLACK, width=4)
        canvas.circle(centre, RING_RADIUS, outline=RING, width=2)
    _draw_scale(picture, canvas, inspection, top + size[1] + 10)
    return left + max(size[0], 330)


def _draw_scale(picture: Image.Image, canvas: Canvas, inspection: Inspection, top: int) -> None:
    """The colours of the numbers of events, and what a ring is."""
    if not inspection.events:
        return
    font, limit = load_font(TEXT_SIZE), count_limit(inspection.counts)
    few, many = ("events: 1", f"{limit:,}") if limit > 1 else ("events:", "1")
    x = round(MARGIN + font.getlength(few) + 8)
    bar = heat(np.linspace(0 if limit > 1 else 1, 1, 140)[None].repeat(14, axis=0))
    picture.paste(Image.fromarray(bar), (x, top))
    canvas.text((MARGIN, top - 1), few, fill=CAPTION_INK, font=font)
    or_more = " or more" if inspection.counts.max() > limit else ""
    canvas.text((x + 148, top - 1), many + or_more, fill=CAPTION_INK, font=font)
    if inspection.hot_xy:
        ringed, hot = min(RINGED, len(inspection.hot_xy)), len(inspection.hot_xy)
        canvas.circle((MARGIN + 7, top + 29), 6, outline=RING, width=2)
        text = "hot pixels" if ringed == hot else f"the {ringed} hottest of {hot:,} hot pixels"
        canvas.text((MARGIN + 22, top + 20), text, fill=CAPTION_INK, font=font)


def _write_facts(canvas: Canvas, facts: list[str], box: Rectangle) -> None:
    """Write the facts, their lines broken at the width of the box; what finds no place is said to be left out."""
    left, y, right, bottom = box
    font = load_font(FACTS_SIZE)
    for i, fact in enumerate(facts):
        lines = [""]
        for word in fact.split():
            longer = f"{lines[-1]} {word}".strip()
            if font.getlength(longer) <= right - left or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(word)
        if y + (len(lines) + 1) * (FACTS_SIZE + 5) > bottom and i < len(facts) - 1:
            canvas.text((left, y), f"and {len(facts) - i} more lines", fill=FAINT_INK, font=font)
            return
        for line in lines:
            canvas.text((left, y), line, fill=CAPTION_INK, font=font)
            y += FACTS_SIZE + 5
        y += 9


def _cut(text: str, size: int, width: int) -> str:
    """The text, or as much of it as fits and three dots."""
    font = load_font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
