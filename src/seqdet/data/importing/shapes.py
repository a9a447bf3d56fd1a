"""Upright boxes of what tools draw besides boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import cos, radians, sin
from typing import Any

from ...checks import InputError
from .reading import real

Box = tuple[float, float, float, float]
"""x, y of the top left corner, width, height; in what the file has them."""


def hull(points: Iterable[tuple[float, float]]) -> Box:
    """The upright box around points (x, y), of which there is one at least."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def corners(numbers: Sequence[Any], place: str) -> list[tuple[float, float]]:
    """The points of x1, y1, x2, y2, ...

    Raises:
        InputError: if their number is odd or 0, or one is no number.
    """
    if not numbers or len(numbers) % 2:
        raise InputError(f"{place} must have x and y of every corner, got {len(numbers)} numbers.")
    values = [real(each, place) for each in numbers]
    return list(zip(values[::2], values[1::2], strict=True))


def turned_box(box: Box, angle: float, *, about_corner: bool = False) -> Box:
    """The upright box around one that was turned clockwise, as one sees it.

    Args:
        box: before it was turned.
        angle: in degrees.
        about_corner: it was turned about its top left corner, and else about its centre.
    """
    if not angle:
        return box
    x, y, w, h = box
    across, down = cos(radians(angle)), sin(radians(angle))
    px, py = (x, y) if about_corner else (x + w / 2, y + h / 2)
    sides = [(dx - px, dy - py) for dx in (x, x + w) for dy in (y, y + h)]
    return hull((px + dx * across - dy * down, py + dx * down + dy * across) for dx, dy in sides)
