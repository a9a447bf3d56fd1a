"""What ``seqdet inspect`` found in a recording, as a picture: its rate over time, its pixels, its facts."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from PIL.ImageDraw import ImageDraw as Canvas

from ..checks import InputError
from ..events.inspection import FINE_BIN_US, FINE_BINS, RATE_BIN_US, Inspection
from ..files import write_bytes
from .charts import ticks
from .draw import BACKGROUND, BLACK, CAPTION_INK, Rectangle, load_font, short_number
from .images import OFF_AND_ON, accumulated_image, count_limit, heat

WIDTH = 1280
HEIGHT = 900
MARGIN = 24
TITLE_SIZE = 22
FACTS_SIZE = 17
PLOT = (84, 92, WIDTH - MARGIN, 318)
MAP = (MARGIN, 378, 820, HEIGHT - 58)
"""Where the accumulated image may lie; its scale is below it."""
SHORTEST_US = 2 * FINE_BIN_US
"""Shorter recordings have no curve."""
RINGED = 20
"""At most so many hot pixels have a ring."""
RING = (90, 255, 255)
RING_RADIUS = 8
DARKER, BRIGHTER = (tuple(int(part) for part in colour) for colour in np.round(255 * OFF_AND_ON))
FAINT_INK = (148, 154, 166)
GRID = (58, 62, 72)
GAP_SHADE = (82, 42, 66)
TRIGGER = (130, 230, 130)
FINE_ENOUGH = 400
"""Bins are the shortest round ones of which there are no more."""
TEXT_SIZE = 14
TRIGGER_ROW = 9
"""Pixels above the plot that belong to the ticks of the triggers."""


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

    Args:
        path: of the file, which ends in .png.
        inspection, title: as there.

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
    font = load_font(TEXT_SIZE)
    x = MARGIN
    y = 52
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
    font = load_font(TEXT_SIZE)
    limit = count_limit(inspection.counts)
    few, many = ("events: 1", f"{limit:,}") if limit > 1 else ("events:", "1")
    x = round(MARGIN + font.getlength(few) + 8)
    bar = heat(np.linspace(0 if limit > 1 else 1, 1, 140)[None].repeat(14, axis=0))
    picture.paste(Image.fromarray(bar), (x, top))
    canvas.text((MARGIN, top - 1), few, fill=CAPTION_INK, font=font)
    or_more = " or more" if inspection.counts.max() > limit else ""
    canvas.text((x + 148, top - 1), many + or_more, fill=CAPTION_INK, font=font)
    if inspection.hot_xy:
        hot = len(inspection.hot_xy)
        ringed = min(RINGED, hot)
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


class Columns(NamedTuple):
    """Events a second in each pixel column of a plot.

    darker, brighter: means over the column's time. lowest, highest: of both together in the bins of the column.
    bin_us: length of a bin.
    """

    darker: np.ndarray
    brighter: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    bin_us: int


def rate_columns(inspection: Inspection, width: int) -> Columns:
    """The rates of a recording with events, from its first event to its last, in ``width`` columns.

    What is left after the last whole bin counts to that bin, so that the end of a recording does not look quieter.
    """
    total_us = inspection.duration_us + 1
    if total_us <= FINE_BINS * FINE_BIN_US:
        lengths_us = [FINE_BIN_US * n for n in (1, 2, 5, 10, 20, 50)]
        bin_us = next((length for length in lengths_us if total_us <= FINE_ENOUGH * length), RATE_BIN_US)
        starts_us = np.arange(FINE_BINS) * FINE_BIN_US
        rates = inspection.fine_rates
    else:
        bin_us = RATE_BIN_US
        on = inspection.brighter_rates
        both = inspection.rates
        starts_us = np.array(sorted(both), np.int64) * RATE_BIN_US
        rates = np.array([(both[n] - on[n], on[n]) for n in sorted(both)])
    bins = max(1, total_us // bin_us)
    numbers, firsts = np.unique(np.minimum(starts_us // bin_us, bins - 1), return_index=True)
    lengths_us = np.where(numbers == bins - 1, total_us - (bins - 1) * bin_us, bin_us)
    rates = np.add.reduceat(rates, firsts, axis=0) * 1e6 / lengths_us[:, None]
    edges_us = np.linspace(0, total_us, width + 1)
    begins = np.minimum(edges_us[:-1] // bin_us, bins - 1)
    ends = np.maximum(np.minimum(np.ceil(edges_us[1:] / bin_us), bins), begins + 1)
    darker, brighter, lowest, highest = columns = np.zeros((4, width))
    for i, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        inside = rates[slice(*np.searchsorted(numbers, (begin, end)))]
        if len(inside):
            totals = inside.sum(axis=1)
            columns[:2, i] = inside.sum(axis=0) / (end - begin)
            columns[2:, i] = totals.min() if len(inside) == end - begin else 0, totals.max()
    return Columns(darker, brighter, lowest, highest, bin_us)


def draw_rates(canvas: Canvas, inspection: Inspection, columns: Columns, box: Rectangle) -> None:
    """Draw the curve, its axes, its gaps and its triggers; ``box`` is the plot itself, the axes lie around it.

    ``columns`` are the rates of the recording in as many columns as the box has.
    Brighter events are piled on darker ones. Where a column has several bins the areas are their mean, and a veil
    reaches from the lowest to the highest.
    """
    left, top, right, bottom = box
    y_ticks = ticks(0, float(columns.highest.max()), 4)
    total_us = inspection.duration_us + 1
    font = load_font(TEXT_SIZE)

    def x_of(time_us: float | np.ndarray) -> Any:
        return left + (time_us - inspection.first_us) / total_us * (right - left)

    for start_us, end_us in inspection.gaps_us:
        canvas.rectangle((x_of(start_us), top, max(x_of(end_us) - 1, x_of(start_us)), bottom - 1), fill=GAP_SHADE)
    for tick in y_ticks:
        y = bottom - tick / y_ticks[-1] * (bottom - top)
        canvas.line((left, y, right - 1, y), fill=GRID)
        canvas.text((left - 8, y), short_number(tick), fill=FAINT_INK, font=font, anchor="rm")
    heights = [bottom - rate / y_ticks[-1] * (bottom - top) for rate in columns[:4]]
    is_veiled = total_us > columns.bin_us * (right - left)
    for x, darker, brighter, lowest, highest in zip(range(left, right), *heights, strict=True):
        mean = darker + brighter - bottom
        if mean < bottom:
            canvas.line((x, bottom, x, darker), fill=DARKER)
            canvas.line((x, darker, x, mean), fill=BRIGHTER)
        if is_veiled and highest < lowest:
            canvas.line((x, lowest, x, highest), fill=(*CAPTION_INK, 140))
    _draw_time(canvas, inspection, box)
    for x in np.unique(np.floor(x_of(inspection.edges.t))).tolist():
        if left <= x < right:
            canvas.line((x, top - TRIGGER_ROW, x, top - 4), fill=TRIGGER)


def _draw_time(canvas: Canvas, inspection: Inspection, box: Rectangle) -> None:
    """The axis of time, in a unit that gives short numbers."""
    left, _, right, bottom = box
    total_us = inspection.duration_us + 1
    font = load_font(TEXT_SIZE)
    units = (("us", 1), ("ms", 1e3), ("s", 1e6), ("min", 60e6), ("h", 3600e6))
    name, unit_us = next((unit for unit in reversed(units) if total_us >= unit[1]), units[0])
    end = total_us / unit_us
    for tick in ticks(0, end, 10):
        if tick <= end:
            x = left + tick / end * (right - left - 1)
            canvas.line((x, bottom, x, bottom + 5), fill=FAINT_INK)
            canvas.text((x, bottom + 8), f"{tick:.6g}", fill=FAINT_INK, font=font, anchor="ma")
    canvas.line((left, bottom, right - 1, bottom), fill=FAINT_INK)
    text = f"time after the first event in {name}"
    canvas.text(((left + right) / 2, bottom + 27), text, fill=FAINT_INK, font=font, anchor="ma")
