"""Moments of clips with their detections, as pictures for a page."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..config import RunConfig
from ..data.recorded import FOLDERS
from ..data.sources import open_tensors, tensor_files, tensor_folder
from ..structures import Boxes, Clip
from ..viz.tensor_images import tensor_image
from ..viz.tiles import Paint, film_strip, frame_image

STRIPS, STRIP_FRAMES, STRIP_SPAN = 4, 4, 12
"""Lanes that the page shows, moments of each, frames over which these are spread."""


def painter(config: RunConfig) -> Paint:
    """How frames are shown: events in the colours of their polarity."""
    dataset = config.data.dataset
    if dataset.folder is None:
        return frame_image
    with open_tensors(tensor_files(tensor_folder(dataset) / FOLDERS["test"])[0]) as first:
        window = first.description
    split = bool(window.parameters.get("split_polarity", True))
    return partial(tensor_image, representation=window.representation, split_polarity=split)


def strips(shown: list[tuple[Clip, list[Boxes]]], config: RunConfig, paint: Paint) -> list[tuple[str, np.ndarray]]:
    """Of some lanes a few moments of their first recording, side by side, with a caption."""
    start = shown[: max(1, STRIP_SPAN // config.data.clip_length)]
    recordings = [number for number in start[0][0].recordings.tolist()[:STRIPS] if number >= 0]
    return [
        (
            f"Video {number}",
            film_strip(start, lane=lane, classes=config.model.classes, frames=STRIP_FRAMES, scale=2, paint=paint),
        )
        for lane, number in enumerate(recordings)
    ]
