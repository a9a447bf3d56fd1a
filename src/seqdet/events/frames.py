"""Frames of a video or of a folder of images, and their events as a recording."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import chain, tee
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image

from ..checks import InputError, check_choice
from ..progress import progress
from .accounts import REFUSED, TOLD
from .convert import FORMATS, WRITERS
from .sensor import USUAL, Sensor
from .simulate import simulate

log = logging.getLogger(__name__)
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"})
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

IMAGE_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Which Pillow may try: it would start another program for some of the others."""
CUT = "Was it cut short, by a download or a camera that lost power? Copy it again."
TimedFrame = tuple[np.ndarray, int]
"""(H, W, 3) uint8 RGB and its time in microseconds from the first frame."""


def write_simulated(
    source: Path, target: Path, *, fps: float | None = None, sensor: Sensor = USUAL, seed: int = 0
) -> None:
    """Write the events that an event camera would have sent before the frames of ``source``; see ``simulate``.

    A video of 30 frames per second has big jumps between frames, and gives bursts of events that are spread over the
    interval. Slow motion, shown at the speed at which it was taken (``fps``), is better.

    Args:
        source: a video, or a folder of images, as ``read_frames`` takes them.
        target: the recording; the ending of its name says the format, see ``convert.FORMATS``.
        fps: frames per second; those of the video if None.
        sensor: thresholds and noise.
        seed: of the noise.

    Raises:
        InputError: if the frames cannot be read or are fewer than two, or the recording cannot be written.
    """
    check_choice(target.suffix, FORMATS, "the ending of the file's name")
    frames = read_frames(source, fps=fps)
    if (first := next(frames, None)) is None:
        raise InputError(f"{source} must hold frames, and there are none.")
    pictures, times = tee(progress(chain([first], frames), "simulating", unit="frame"))
    events = simulate((frame for frame, _ in pictures), (time for _, time in times), sensor=sensor, seed=seed)
    height, width = first[0].shape[:2]
    WRITERS[FORMATS[target.suffix]](target, events, size_hw=(height, width))


def read_frames(path: Path, *, fps: float | None = None) -> Iterator[TimedFrame]:
    """The frames of a video file or a folder of images, and when they were taken.

    Of a video the times are its presentation timestamps, counted from the first, and pictures are as players turn them.
    Images are in the order of the numbers in their names: frame_2.png comes before frame_10.png.

    Args:
        path: a file that FFmpeg reads, or a folder of png, jpg, bmp, tif, webp, pgm or ppm.
        fps: frames per second; a folder needs it, and for a video it replaces the timestamps.

    Raises:
        InputError: if there is no such path, it holds no frames, or is damaged; the latter while iterating.
    """
    if fps is not None and not 0 < fps <= 1e6:
        raise InputError(f"fps must be above 0 and at most 1e6, got {fps}.")
    if not path.exists():
        raise InputError(f"{path} must be a video or a folder of images, and there is no such file.")
    if not path.is_dir():
        return _video_frames(path, fps)
    if fps is None:
        raise InputError(f"fps must be given for {path}: a folder of images has no times.")
    images = sorted((each for each in path.iterdir() if each.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
    if not images:
        raise InputError(f"{path} must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}), and there are none.")
    return ((_image(each), round(n * 1e6 / fps)) for n, each in enumerate(images))


def _video_frames(path: Path, fps: float | None) -> Iterator[TimedFrame]:
    try:
        with av.open(path, metadata_errors="replace") as container:  # titles, which nobody reads here
            if not container.streams.video:
                raise InputError(f"{path} must be a video, and no pictures are found in it. {CUT}")
            first = n = None
            stream = container.streams.video[0]
            for n, frame in enumerate(container.decode(stream)):
                picture = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                if fps is not None:
                    yield picture, round(n * 1e6 / fps)
                elif frame.pts is None or frame.time_base is None:
                    raise InputError(f"{path} must say when its frames were taken, and does not. Give fps.")
                else:
                    first = frame.pts if first is None else first
                    yield picture, round((frame.pts - first) * frame.time_base * 10**6)
            if n is None:
                raise InputError(f"{path} must be a video, and none of its pictures is there. {CUT}")
            _check_whole(path, stream, n + 1)
    except FFmpegError as error:
        told = str(error.strerror).rstrip(".")
        raise InputError(f"{path} must be a video that FFmpeg reads: {told}. {CUT}") from error


def _check_whole(path: Path, stream: av.VideoStream, pictures: int) -> None:
    """Say that a video has fewer pictures than it claims; raise ``InputError`` if most of them are missing."""
    missing = max(stream.frames - pictures, 0)  # nothing where it does not say how many it has
    told = f"{path} must have the {stream.frames:,} pictures that it claims, and has {pictures:,}. {CUT}"
    if missing > REFUSED * stream.frames:
        raise InputError(told)
    if missing > TOLD * stream.frames:
        log.warning("%s", told)


def _image(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{path} must have 8 bits a colour, and has more. Convert it.")
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be an image that Pillow reads: {error}.") from error


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts names by the numbers in them, not by their digits."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
