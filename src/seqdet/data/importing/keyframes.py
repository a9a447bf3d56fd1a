"""Boxes of a track between the frames at which somebody drew it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...checks import InputError
from .drafts import Drafts
from .shapes import Box

FILLED = "boxes interpolated between keyframes"
MOST_FILLED = 20_000_000
"""More are no labels of a person."""


class Keyframe(NamedTuple):
    """A box of a track as it was drawn. frame: its number. box: before it is turned. angle: in degrees, clockwise."""

    frame: int
    box: Box
    angle: float = 0


def filled(drafts: Drafts, first: Keyframe, second: Keyframe, frames: Sequence[int]) -> list[Keyframe]:
    """The boxes at frames between two keyframes: every side moves evenly, and the angle the shorter way.

    Raises:
        InputError: if so many were asked for that the file must be damaged.
    """
    drafts.told[FILLED] += len(frames)
    if drafts.told[FILLED] > MOST_FILLED:
        raise InputError(f"{drafts.root} must have tracks of at most {MOST_FILLED:,} boxes together, and has more.")
    turn = (second.angle - first.angle + 180) % 360 - 180
    made = []
    for frame in frames:
        share = (frame - first.frame) / (second.frame - first.frame)
        x, y, w, h = (a + share * (b - a) for a, b in zip(first.box, second.box, strict=True))
        made.append(Keyframe(frame, (x, y, w, h), first.angle + share * turn))
    return made
