"""How precise detections are by their score, as inline SVG: bars, and the line on which they should end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, draw_axes

INSET = 0.08
"""Of the width of a bin, on either side of its bar."""
HIGHEST_TEXT = 10
"""Baseline of a number that is still whole, in pixels from the top."""


def draw_reliability(bins: Sequence[Mapping[str, Any]], *, width: int = 1066) -> str:
    """The ``<figure>`` element of a chart, ``width`` pixels wide at full size; nothing without a detection.

    Args:
        bins: "low", "high", "detections", and "score" and "precision", which are None where there are no detections.
        width: pixels.
    """
    if not any(each["detections"] for each in bins):
        return ""

    def x(value: float) -> float:
        return LEFT + value * (width - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM)

    ticks = [n / 5 for n in range(6)]
    parts = [draw_axes({n / 10: x(n / 10) for n in range(11)}, {tick: y(tick) for tick in ticks}, "score", width)]
    for each in bins:
        if not each["detections"]:
            continue
        inset = INSET * (each["high"] - each["low"])
        left, right, top = x(each["low"] + inset), x(each["high"] - inset), y(each["precision"])
        above = max(min(top, y(each["score"])) - 6, HIGHEST_TEXT)
        title = f"{each['detections']} detections, mean score {each['score']:.3f}, precision {each['precision']:.3f}"
        parts.append(
            f"<g><title>{title}</title>"
            f'<path class="filled" d="M{left:.1f} {y(0):.1f}V{top:.1f}H{right:.1f}V{y(0):.1f}Z"/>'
            f'<path class="wanted" d="M{left:.1f} {y(each["score"]):.1f}H{right:.1f}"/>'
            f'<text x="{(left + right) / 2:.1f}" y="{above:.1f}" text-anchor="middle">'
            f"{_short(each['detections'])}</text></g>"
        )
    title = "Precision by score at IoU 0.50, and how many detections"
    return (
        f'<figure class="card chart"><figcaption>{title}</figcaption>'
        f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'
        '<ul class="legend"><li class="line-filled">precision</li><li class="line-wanted">mean score: where the bar '
        "should end</li></ul></figure>"
    )


def _short(count: int) -> str:
    """12, 3.4k or 56k."""
    return str(count) if count < 1000 else f"{count / 1000:.{0 if count >= 9950 else 1}f}k"
