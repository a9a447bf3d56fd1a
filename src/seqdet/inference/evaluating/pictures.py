"""Moments of clips with their detections, as pictures for a page."""

from __future__ import annotations

import numpy as np

from ...config import RunConfig
from ...structures import Boxes, Clip
from ...viz.images import Paint
from ...viz.tiles import film_strip

STRIPS, STRIP_FRAMES, STRIP_SPAN = 4, 4, 12
"""Lanes that the page shows, moments of each, frames over which these are spread."""


def strips(
    shown: list[tuple[Clip, list[Boxes]]], config: RunConfig, paint: Paint, titles: list[str]
) -> list[tuple[str, np.ndarray]]:
    """Of some lanes a few moments of their first recording, side by side, with a caption."""
    start = shown[: max(1, STRIP_SPAN // config.data.clip_length)]
    playing = [(lane, number) for lane, number in enumerate(start[0][0].recordings.tolist()) if number >= 0]
    return [
        (
            titles[number],
            film_strip(start, lane=lane, classes=config.model.classes, frames=STRIP_FRAMES, scale=2, paint=paint),
        )
        for lane, number in playing[:STRIPS]
    ]
