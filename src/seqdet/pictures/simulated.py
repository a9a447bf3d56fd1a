"""A recording of the events that an event camera would have sent before a video or a folder of images."""

from __future__ import annotations

from itertools import chain, tee
from pathlib import Path

from ..checks import InputError
from ..events.formats import ENCODINGS, encoding_of
from ..events.sensor import USUAL, Sensor
from ..events.simulation import simulate
from ..progress import progress
from .sequence import read_frames


def write_simulated(
    source: Path, target: Path, *, fps: float | None = None, sensor: Sensor = USUAL, seed: int = 0
) -> None:
    """Write the events that an event camera would have sent before the frames of ``source``; see ``simulate``.

    A video of 30 frames per second has big jumps between frames, and gives bursts of events that are spread over the
    interval. Slow motion, shown at the speed at which it was taken (``fps``), is better.

    Args:
        source: a video, or a folder of images, as ``read_frames`` takes them.
        target: the recording; the ending of its name says the format, see ``formats.ENCODINGS``.
        fps: frames per second; those of the video if None.
        sensor: thresholds and noise.
        seed: of the noise.

    Raises:
        InputError: if the frames cannot be read or are fewer than two, or the recording cannot be written.
    """
    encoding = ENCODINGS[encoding_of(target)]
    frames = read_frames(source, fps=fps)
    if (first := next(frames, None)) is None:
        raise InputError(f"{source} must hold frames, and there are none.")
    pictures, times = tee(progress(chain([first], frames), "simulating", unit="frame"))
    events = simulate((frame for frame, _ in pictures), (time for _, time in times), sensor=sensor, seed=seed)
    height, width = first[0].shape[:2]
    encoding.write(target, events, size_hw=(height, width))
