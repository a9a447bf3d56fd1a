"""What a detector finds in a recording of events or in pictures, moment by moment. Without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, takewhile
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...checks import InputError
from ...events.array import Events
from ...events.frames import TimedFrame
from ...events.sieve import NEVER
from ...viz.images import events_image
from ..steps.step import Step
from ..streaming.choice import chosen, event_rows
from ..streaming.detector import Detections, StreamingDetector

SILENCE = 100
"""Windows without events after which a pipe that was stopped is taken to have no more."""


class Moment(NamedTuple):
    """A window of events, or a picture, and what was found.

    start_us, end_us: of the window, or both the time of the picture. boxes: (N,) ``EVENT_BBOX`` in pixels of the sensor
    or the picture. events: of the window, none of a picture; by time. new: those that were in no moment before.
    picture: makes what is shown of it, (H, W, 3) uint8.
    """

    start_us: int
    end_us: int
    boxes: np.ndarray
    events: Events
    new: Events
    picture: Callable[[], np.ndarray]


def event_moments(
    chunks: Iterable[Events], detector: StreamingDetector, is_stopped: Callable[[], bool], *, to_silence: bool = False
) -> Iterator[Moment]:
    """Those of a recording, up to the window that it ends in, or that it is stopped in.

    Args:
        chunks: the events.
        detector: of one stream, from its start.
        is_stopped: ends the work after a window.
        to_silence: only after ``SILENCE`` in a row in which nothing happens, so that what came is looked at; ``chunks``
            must end by themselves.
    """
    read = chunks if to_silence else takewhile(lambda _: not is_stopped(), chunks)
    closed = (found for events in read for found in detector.push(events))
    seen_us, silent = NEVER, 0
    for found in chain(closed, _ending(detector)):
        first = int(np.searchsorted(found.events.t, seen_us)) if detector.config.count is None else 0
        picture = partial(events_image, found.events, size_hw=detector.sensor_hw)
        yield Moment(found.start_us, found.end_us, found.boxes, found.events, found.events[first:], picture)
        seen_us = found.end_us
        silent = 0 if len(found.events) else silent + 1
        if is_stopped() and not (to_silence and silent < SILENCE):
            return


def _ending(detector: StreamingDetector) -> Iterator[Detections]:
    """What is left, once everything else was asked for."""
    yield from detector.flush()


def picture_moments(
    frames: Iterable[TimedFrame],
    step: Step,
    least: np.ndarray,
    is_stopped: Callable[[], bool],
    *,
    frame_hw: tuple[int, int] | None = None,
) -> Iterator[Moment]:
    """Those of a video or of images, all of one size.

    Args:
        frames: pictures and their times.
        step: a detector for pictures.
        least: score of each class.
        is_stopped: ends the work after a picture.
        frame_hw: height and width in which the detector sees the pictures: they are made to fit, keep their shape and
            lie at the top left, and the rest is black. As they are, if None.

    Raises:
        InputError: if their sizes differ, or the detector takes none.
    """
    if step.input is not None or step.channels != 3:
        raise InputError(f"detector must be one for pictures of 3 channels, got one of {step.channels}.")
    memory, size_hw = None, None
    for image, time_us in frames:
        size_hw = size_hw or image.shape[:2]
        if image.shape[:2] != size_hw:
            raise InputError(f"pictures must all be {size_hw[1]}x{size_hw[0]}, got {image.shape[1]}x{image.shape[0]}.")
        fitted, scale = fit(image, frame_hw or size_hw)
        (found,), memory = step(np.ascontiguousarray(fitted.transpose(2, 0, 1))[None], memory)
        limits = np.tile(size_hw[::-1], 2)
        found = chosen(found, least)
        rows = event_rows(found._replace(xyxy=np.clip(found.xyxy / scale, 0, limits)), time_us)
        rows = rows[(rows["w"] > 0) & (rows["h"] > 0)]  # others lay beside the picture
        yield Moment(time_us, time_us, rows, Events.empty(), Events.empty(), lambda image=image: image)
        if is_stopped():
            return


def fit(image: np.ndarray, size_hw: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The image (H, W, 3) in a picture of another size, at the top left, and the factor by which it was resized."""
    height, width = image.shape[:2]
    if (height, width) == size_hw:
        return image, 1.0
    scale = min(size_hw[0] / height, size_hw[1] / width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    fitted = np.zeros((*size_hw, 3), np.uint8)
    fitted[: inner[1], : inner[0]] = np.asarray(Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR))
    return fitted, scale
