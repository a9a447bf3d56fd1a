"""Line charts as inline SVG: they take their colours and font from the page around them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

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


@dataclass(frozen=True)
class Chart:
    """Curves that share their axes.

    curves: name -> (x, y), one-dimensional and equally long. Points that are not finite are left out.
    y_limits: lowest and highest y of a linear axis; fitted to the curves, and to zero, if None; as x is.
    is_log: logarithmic y, if all values are above zero and spread over a decade or more.
    is_noisy: draw a running mean over long curves.
    is_ordered: the curves are a series from the strongest to the faintest shade of one colour.
    """

    title: str
    x_label: str
    curves: Mapping[str, tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]]
    y_limits: tuple[float, float] | None = None
    is_log: bool = False
    is_noisy: bool = False
    is_ordered: bool = False


def draw_chart(chart: Chart, *, width: int = 540) -> str:
    """The ``<figure>`` element of a chart, ``width`` pixels wide at full size; nothing if no curve has a point.

    Raises:
        InputError: if x and y of a curve differ in length.
    """
    curves = {name: _points(name, x, y) for name, (x, y) in chart.curves.items()}
    curves = {name: points for name, points in curves.items() if len(points)}
    if not curves:
        return ""
    x, y = np.concatenate(list(curves.values())).T
    is_log = chart.is_log and bool(y.min() > 0 and y.max() >= 10 * y.min())
    low, high = chart.y_limits or (min(y.min(), 0), max(y.max(), 0))
    if is_log:
        low, high = min(np.quantile(y, 0.01), y.max() / 10), y.max()
    y_ticks = _log_ticks(low, high) if is_log else ticks(low, high, 5)
    low, high = min(low, y_ticks[0]), max(high, y_ticks[-1])
    x_low, x_high = min(x.min(), 0), max(x.max(), 0)
    x_high += x_low == x_high
    x_ticks = [tick for tick in ticks(x_low, x_high, 6) if x_low <= tick <= x_high]

    def place(points: np.ndarray) -> np.ndarray:
        across = (points[:, 0] - x_low) / (x_high - x_low)
        rise, bottom, top = (np.log(v) if is_log else v for v in (points[:, 1], low, high))
        up = np.clip((rise - bottom) / (top - bottom), 0, 1)
        return np.stack([LEFT + across * (width - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)], 1)

    x_places = place(np.array([(tick, low) for tick in x_ticks]).reshape(-1, 2))[:, 0].tolist()
    y_places = place(np.array([(x_low, tick) for tick in y_ticks]))[:, 1].tolist()
    ticked = dict(zip(x_ticks, x_places, strict=True)), dict(zip(y_ticks, y_places, strict=True))
    parts = [draw_axes(*ticked, chart.x_label, width)]
    legend = []
    for i, (name, points) in enumerate(curves.items()):
        style = f"line-{i % COLOURS}" + (" dashed" if i // COLOURS % 2 else "")
        shade = f' style="--shade:{1 - 0.7 * i / len(curves):.2f}"' if chart.is_ordered else ""
        style = "shaded" if chart.is_ordered else style
        parts.append(
            f'<g class="{style}"{shade}><title>{escape(name)}</title>{_curve(place, points, chart.is_noisy)}</g>'
        )
        legend.append(f'<li class="{style}"{shade}>{escape(name)}</li>')
    title = escape(chart.title)
    return (
        f'<figure class="card chart"><figcaption>{title}</figcaption>'
        f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'
        + (f'<ul class="legend">{"".join(legend)}</ul>' if len(curves) > 1 else "")
        + "</figure>"
    )


def _points(name: str, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> np.ndarray:
    """The finite points (N, 2) of a curve, thinned out if they are many."""
    if len(x) != len(y):
        raise InputError(f"x and y of the curve {name} must be equally long, got {len(x)} and {len(y)}.")
    points = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
    points = points[np.isfinite(points).all(axis=1)]
    stretches = np.array_split(points, min(len(points), MOST_POINTS)) if len(points) else []
    return np.array([stretch.mean(axis=0) for stretch in stretches])


def draw_axes(x_places: Mapping[float, float], y_places: Mapping[float, float], x_label: str, width: int) -> str:
    """Grid lines, their numbers, and what the x axis shows; the places of the numbers are in pixels."""
    base = HEIGHT - BOTTOM
    parts = []
    for tick, y in y_places.items():
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{width - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick, x in x_places.items():
        parts.append(f'<path class="axis" d="M{x:.1f} {base}v5"/>')
        parts.append(f'<text x="{x:.1f}" y="{base + 18}" text-anchor="middle">{_number(tick)}</text>')
    middle = (LEFT + width - RIGHT) / 2
    parts.append(f'<path class="axis" d="M{LEFT} {base}H{width - RIGHT}"/>')
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    return "".join(parts)


def _curve(place, points: np.ndarray, is_noisy: bool) -> str:
    """The curve itself; if it is long and noisy, faint with its running mean on top."""
    if len(points) < DOTTED_BELOW:
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in place(points))
        return _polyline(place(points)) + dots
    if not is_noisy or len(points) <= NOISY_ABOVE:
        return _polyline(place(points))
    window = np.ones(2 * (len(points) // 40) + 1)
    weight = np.convolve(np.ones(len(points)), window, "same")
    smooth = np.stack([points[:, 0], np.convolve(points[:, 1], window, "same") / weight], axis=1)
    return f'<g class="faint">{_polyline(place(points))}</g>{_polyline(place(smooth))}'


def _polyline(places: np.ndarray) -> str:
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>'


SMALLEST_SPAN = 1e-300
"""Of an axis; what lies closer together is drawn as one value."""


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers, about ``count`` of them, from at or below ``low`` to at or above ``high``."""
    span = high - low if high - low > SMALLEST_SPAN else max(abs(high), 1.0)
    unit = 10 ** math.floor(math.log10(span / count))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= count + 1e-9)
    first, last = math.floor(low / step + 1e-9), math.ceil((low + span) / step - 1e-9)
    return [step * k for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between ``low`` and ``high``, or the powers alone over three decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [tick for tick in ticks if low <= tick <= high]


def _number(value: float) -> str:
    """A short spelling: 0.25, 40k, 2e-5."""
    if value and abs(value) >= 1000:
        return f"{value / 1000:.6g}k"
    return f"{value:.3g}".replace("e-0", "e-")
