"""The rate of a recording over time, drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL.ImageDraw import ImageDraw as Canvas

from ..events.inspection import FINE_BIN_US, FINE_BINS, RATE_BIN_US, Inspection
from .charts import ticks
from .draw import Rectangle, load_font
from .tiles import CAPTION_INK, OFF_AND_ON

DARKER, BRIGHTER = (tuple(int(part) for part in colour) for colour in np.round(255 * OFF_AND_ON))
FAINT_INK, GRID, GAP_SHADE, TRIGGER = (148, 154, 166), (58, 62, 72), (82, 42, 66), (130, 230, 130)
FINE_ENOUGH = 400
"""Bins are the shortest round ones of which there are no more."""
TEXT_SIZE = 14
TRIGGER_ROW = 9
"""Pixels above the plot that belong to the ticks of the triggers."""


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
        starts_us, rates = np.arange(FINE_BINS) * FINE_BIN_US, inspection.fine_rates
    else:
        bin_us, on, both = RATE_BIN_US, inspection.brighter_rates, inspection.rates
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
    total_us, font = inspection.duration_us + 1, load_font(TEXT_SIZE)

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
    total_us, font = inspection.duration_us + 1, load_font(TEXT_SIZE)
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


def short_number(value: float) -> str:
    """Three digits and a thousand, million or billion: 1.25 M."""
    for size, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{name}"
    return f"{value:.3g}"
