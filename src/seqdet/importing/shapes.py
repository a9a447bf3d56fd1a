"""Upright boxes of what tools draw besides boxes, and boxes between those that were drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import cos, radians, sin
from typing import Any, NamedTuple

from ..checks import InputError
from .files import real, whole

Box = tuple[float, float, float, float]
"""x, y of the top left corner, width, height; in what the file has them."""


def hull(points: Iterable[tuple[float, float]]) -> Box:
    """The upright box around points (x, y), of which there is one at least."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def mask_box(rle: dict[str, Any], place: str) -> Box:
    """The box of a mask whose lengths of runs are written as COCO does: 0 first, down each column, left to right.

    The lengths are numbers, or a text: five bits a character, the least first, of the difference to the length before
    the last. Source: https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h

    Args:
        rle: ``size``, height and width, and ``counts``.
        place: for messages.

    Raises:
        InputError: if the runs are not of that size.
    """
    height, width = (whole(each, place) for each in rle["size"])
    lengths = rle["counts"]
    lengths = _unpacked_runs(lengths, place) if isinstance(lengths, str) else [whole(each, place) for each in lengths]
    if min(height, width) < 1 or min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise InputError(f"{place} must have a mask of {height} rows and {width} columns, and its runs are of another.")
    ends = list(accumulate(lengths))
    runs = [(end - length, end - 1) for end, length in zip(ends[1::2], lengths[1::2], strict=True) if length]
    if not runs:
        return 0, 0, 0, 0
    x, last_x = runs[0][0] // height, runs[-1][1] // height
    is_across = [first // height != last // height for first, last in runs]
    y = min(0 if across else first % height for (first, _), across in zip(runs, is_across, strict=True))
    last_y = max(height - 1 if across else last % height for (_, last), across in zip(runs, is_across, strict=True))
    return x, y, last_x - x + 1, last_y - y + 1


def _unpacked_runs(text: str, place: str) -> list[int]:
    """The lengths of runs that a text packs."""
    lengths = list[int]()
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError(f"{place} must have a mask as COCO packs it, got {text[:40]!r}.")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (1 << shift) if bits & 16 else 0
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise InputError(f"{place} must have a whole mask, and it ends within a number.")
    return lengths


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


class Keyframe(NamedTuple):
    """A box of a track as it was drawn. frame: its number. box: before it is turned. angle: in degrees, clockwise."""

    frame: int
    box: Box
    angle: float = 0

    def upright(self) -> Box:
        """The upright box around it."""
        return turned_box(self.box, self.angle)


def between(first: Keyframe, second: Keyframe, frames: Sequence[int]) -> list[Keyframe]:
    """The boxes at frames between two keyframes: every side moves evenly, and the angle the shorter way."""
    turn = (second.angle - first.angle + 180) % 360 - 180
    made = []
    for frame in frames:
        share = (frame - first.frame) / (second.frame - first.frame)
        x, y, w, h = (a + share * (b - a) for a, b in zip(first.box, second.box, strict=True))
        made.append(Keyframe(frame, (x, y, w, h), first.angle + share * turn))
    return made
