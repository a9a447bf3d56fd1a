"""Where the parts of a chart lie: curves over numbers, and how precise detections are by their score.

The template ``chart.html`` draws them as inline SVG, in the colours and the font of the page around them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError

HEIGHT = 300
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 42
"""Height of a chart and its margins in SVG units, which are pixels at full size."""
COLOURS = 10
"""Lines that differ in colour, classes ``line-0`` and so on of the style sheet; the next as many are dashed."""
MOST_POINTS = 400
"""A longer curve is drawn as the means of so many stretches."""
DOTTED_BELOW = 25
"""A curve with fewer points shows each as a dot."""
NOISY_ABOVE = 60
"""A curve with more points gets its running mean drawn over it."""
SMALLEST_SPAN = 1e-300
"""Of an axis; what lies closer together is drawn as one value."""
INSET = 0.08
"""Of the width of a bin of scores, on either side of its bar."""
HIGHEST_TEXT = 10
"""Baseline of a number that is still whole, in pixels from the top."""


@dataclass(frozen=True)
class Chart:
    """Curves that share their axes.

    curves: name -> (x, y), one-dimensional and equally long. Points that are not finite are left out.
    y_limits: lowest and highest y of a linear axis; fitted to the curves, and to zero, if None; as x is.
    is_log: logarithmic y, if all values are above zero and spread over a decade or more.
    is_noisy: draw a running mean over long curves.
    is_ordered: the curves are a series from the strongest to the faintest shade of one colour.
    x_names: what stands at the places 0, 1, 2, ... of the x axis instead of numbers.
    """

    title: str
    x_label: str
    curves: Mapping[str, tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]]
    y_limits: tuple[float, float] | None = None
    is_log: bool = False
    is_noisy: bool = False
    is_ordered: bool = False
    x_names: Sequence[str] = ()


class Curve(NamedTuple):
    """A curve as it is drawn; all places (N, 2) in pixels.

    style: its class in the style sheet. shade: from 0 to 1 where it has one.
    faint: the curve itself where ``line`` is its running mean.
    """

    name: str
    style: str
    shade: float | None
    line: np.ndarray
    faint: np.ndarray | None
    dots: np.ndarray


class Bar(NamedTuple):
    """The detections of a bin of scores: the sides of a bar in pixels, and where it should end."""

    title: str
    left: float
    right: float
    top: float
    wanted: float
    above: float
    number: str


@dataclass(frozen=True)
class Figure:
    """A chart that is laid out: what ``chart.html`` takes. Ticks are place and number."""

    title: str
    x_label: str
    width: int
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    curves: Sequence[Curve] = ()
    bars: Sequence[Bar] = ()
    height: int = field(default=HEIGHT, init=False)
    left: int = field(default=LEFT, init=False)
    right: int = field(default=RIGHT, init=False)
    base: int = field(default=HEIGHT - BOTTOM, init=False)


def lay_out(chart: Chart, *, width: int) -> Figure | None:
    """The figure of a chart, ``width`` pixels wide at full size; None if no curve has a point.

    Raises:
        InputError: if x and y of a curve differ in length.
    """
    curves = {name: _points(name, x, y) for name, (x, y) in chart.curves.items()}
    curves = {name: points for name, points in curves.items() if len(points)}
    if not curves:
        return None
    x, y = np.concatenate(list(curves.values())).T
    is_log = chart.is_log and bool(y.min() > 0 and y.max() >= 10 * y.min())
    low, high = chart.y_limits or (min(y.min(), 0), max(y.max(), 0))
    if is_log:
        low = min(np.quantile(y, 0.01), y.max() / 10)
        high = y.max()
    y_ticks = _log_ticks(low, high) if is_log else ticks(low, high, 5)
    low = min(low, y_ticks[0])
    high = max(high, y_ticks[-1])
    x_low = min(x.min(), 0)
    x_high = max(x.max(), 0)
    if chart.x_names:  # with room for the first and the last
        x_low = -0.5
        x_high = len(chart.x_names) - 0.5
    x_high += x_low == x_high
    x_ticks = [tick for tick in ticks(x_low, x_high, 6) if x_low <= tick <= x_high]
    if chart.x_names:
        x_ticks = list(map(float, range(len(chart.x_names))))

    def place(points: np.ndarray) -> np.ndarray:
        across = (points[:, 0] - x_low) / (x_high - x_low)
        rise, bottom, top = (np.log(v) if is_log else v for v in (points[:, 1], low, high))
        up = np.clip((rise - bottom) / (top - bottom), 0, 1)
        return np.stack([LEFT + across * (width - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)], 1)

    x_places = place(np.array([(tick, low) for tick in x_ticks]).reshape(-1, 2))[:, 0]
    y_places = place(np.array([(x_low, tick) for tick in y_ticks]))[:, 1]
    drawn = []
    for i, (name, points) in enumerate(curves.items()):
        style = "shaded" if chart.is_ordered else f"line-{i % COLOURS}" + (" dashed" if i // COLOURS % 2 else "")
        shade = 1 - 0.7 * i / len(curves) if chart.is_ordered else None
        drawn.append(Curve(name, style, shade, *_lines(place, points, is_noisy=chart.is_noisy)))
    return Figure(
        chart.title,
        chart.x_label,
        width,
        list(zip(x_places, chart.x_names, strict=True)) if chart.x_names else _numbered(x_places, x_ticks),
        _numbered(y_places, y_ticks),
        curves=drawn,
    )


def lay_out_reliability(bins: Sequence[Mapping[str, Any]], *, width: int) -> Figure | None:
    """The figure of how precise detections are by their score: bars, and where they should end.

    Args:
        bins: "low", "high", "detections", and "score" and "precision", which are None where there are no detections.
        width: pixels.

    Returns:
        The figure; None without a detection.
    """
    filled = [each for each in bins if each["detections"]]
    if not filled:
        return None

    def x(value: float) -> float:
        return LEFT + value * (width - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM)

    bars = []
    for each in filled:
        inset = INSET * (each["high"] - each["low"])
        top = y(each["precision"])
        wanted = y(each["score"])
        title = f"{each['detections']} detections, mean score {each['score']:.3f}, precision {each['precision']:.3f}"
        sides = (x(each["low"] + inset), x(each["high"] - inset), top, wanted, max(min(top, wanted) - 6, HIGHEST_TEXT))
        bars.append(Bar(title, *sides, _short(each["detections"])))
    x_ticks = [n / 10 for n in range(11)]
    y_ticks = [n / 5 for n in range(6)]
    return Figure(
        "Precision by score at IoU 0.50, and how many detections",
        "score",
        width,
        _numbered(map(x, x_ticks), x_ticks),
        _numbered(map(y, y_ticks), y_ticks),
        bars=bars,
    )


def _numbered(places: Iterable[float], values: Iterable[float]) -> list[tuple[float, str]]:
    return [(place, _number(value)) for place, value in zip(places, values, strict=True)]


def _points(name: str, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> np.ndarray:
    """The finite points (N, 2) of a curve, thinned out if they are many."""
    if len(x) != len(y):
        raise InputError(f"x and y of the curve {name} must be equally long, got {len(x)} and {len(y)}.")
    points = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
    points = points[np.isfinite(points).all(axis=1)]
    stretches = np.array_split(points, min(len(points), MOST_POINTS)) if len(points) else []
    return np.array([stretch.mean(axis=0) for stretch in stretches])


def _lines(
    place: Callable[[np.ndarray], np.ndarray], points: np.ndarray, *, is_noisy: bool
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Line, faint line and dots of a curve: a short one has dots, a long and noisy one its running mean on top."""
    whole = place(points)
    if len(points) < DOTTED_BELOW:
        return whole, None, whole
    if not is_noisy or len(points) <= NOISY_ABOVE:
        return whole, None, whole[:0]
    window = np.ones(2 * (len(points) // 40) + 1)
    weight = np.convolve(np.ones(len(points)), window, "same")
    smooth = np.stack([points[:, 0], np.convolve(points[:, 1], window, "same") / weight], axis=1)
    return place(smooth), whole, whole[:0]


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers, about ``count`` of them, from at or below ``low`` to at or above ``high``."""
    span = high - low if high - low > SMALLEST_SPAN else max(abs(high), 1.0)
    unit = 10 ** math.floor(math.log10(span / count))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= count + 1e-9)
    first = math.floor(low / step + 1e-9)
    last = math.ceil((low + span) / step - 1e-9)
    return [step * k for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between ``low`` and ``high``, or the powers alone over three decades."""
    first = math.floor(math.log10(low))
    last = math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [tick for tick in ticks if low <= tick <= high]


def _number(value: float) -> str:
    """A number beside an axis, narrower than ``draw.short_number``: 0.25, 40k, 2e-5."""
    if value and abs(value) >= 1000:
        return f"{value / 1000:.6g}k"
    return f"{value:.3g}".replace("e-0", "e-")


def _short(count: int) -> str:
    """A count above a bar, in two digits from a thousand on: 12, 3.4k or 56k."""
    return str(count) if count < 1000 else f"{count / 1000:.{0 if count >= 9950 else 1}f}k"
