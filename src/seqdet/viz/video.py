"""Pictures as a video that any browser plays, and recordings of events as such pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numba import njit
from PIL import Image, ImageDraw

from ..checks import InputError, check_at_least, check_shape
from ..events.array import Events
from ..events.files import Recording
from ..events.tensors import NEVER
from ..files import replacing
from ..progress import progress
from .draw import BACKGROUND, CAPTION_INK, load_font, readable_scale, short_number
from .images import Palette, choose_palette

ENCODER = {"crf": "18", "preset": "veryfast"}
"""Constant rate factor 18 keeps lines and text sharp. ``veryfast`` takes 0.6 of the time of the default, for a file a
tenth larger that looks the same."""
INDEX_IN_FRONT = {"movflags": "+faststart"}
"""A browser shows the first picture before it has the last."""
BT709 = 1
"""Code of ITU-T H.273 for colour space, primaries and transfer: without it players guess from the size."""
LIMITED_RANGE = 1
"""Code of FFmpeg for the range, likewise."""
RECORDING_FPS = 30.0
"""Pictures per second of the video of a recording."""
STRIP = 24
"""Rows of the caption, below the picture so that it hides no event."""
CAPTION_SIZE = 14
MOST_STILL = 60
"""Pictures in a row without events, after which the rest of a gap is left out."""
FOREVER_US = 1 << 60
"""The longest window, which begins before any time."""
PIECE = 1 << 18
"""Events that are read at a time."""


def write_video(path: Path, images: Iterable[np.ndarray], *, fps: float) -> None:
    """Write an MP4 file: H.264, 4:2:0, BT.709, which every browser plays.

    Images are encoded as they come: a generator of any length takes the memory of a few. A last odd row or column is
    doubled, as 4:2:0 needs even sizes. The file appears when it is complete.

    Args:
        path: file to create or replace.
        images: (H, W, 3) uint8 each, all of one size.
        fps: pictures per second.

    Raises:
        InputError: if there are no images, their sizes differ, or the file cannot be written.
    """
    if not fps > 0:
        raise InputError(f"fps must be above 0, got {fps}.")
    pictures = iter(images)
    first = next(pictures, None)
    if first is None:
        raise InputError(f"images must be at least one, got none for {path}.")
    height, width = first.shape[:2]
    with replacing(path) as temporary, av.open(temporary, "w", format="mp4", options=INDEX_IN_FRONT) as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream = cast(VideoStream, container.add_stream("libx264", rate=rate, options=ENCODER))
        stream.width = width + width % 2
        stream.height = height + height % 2
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = LIMITED_RANGE
        for image in chain([first], pictures):
            check_shape(image, "H W 3", "image", H=height, W=width)
            even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=BT709)))
        container.mux(stream.encode())


def write_recording_video(
    path: Path,
    recording: Recording,
    *,
    speed: float = 1.0,
    window_us: int | None = None,
    start_us: int | None = None,
    duration_us: int | None = None,
    palette: str = "dark",
    size_hw: tuple[int, int] | None = None,
) -> None:
    """Write a recording, or a part of it, as an MP4 video; ``recording_images`` says what is in its pictures.

    Args:
        path: file to create or replace.
        recording: what to show.
        speed: 1 plays in real time, 0.1 ten times slower. A picture stands for a whole number of microseconds.
        window_us: how far a picture looks back; to the one before if None.
        start_us: no event before this; the first event if None.
        duration_us: how much of the recording; all if None.
        palette, size_hw: as there.

    Raises:
        InputError: if there are no events, a number is out of range, or the file cannot be written.
    """
    if not 0 < speed <= 1e6:
        raise InputError(f"speed must be above 0, to 1e6, got {speed}.")
    if size_hw is not None and min(size_hw) < 1:
        raise InputError(f"{recording.path} must have events to show, and has none.")
    step_us = round(speed * 1e6 / RECORDING_FPS)
    if step_us < 1:
        raise InputError(
            f"speed must leave a microsecond for each picture, at least {RECORDING_FPS / 1e6:g}, got {speed}."
        )
    if duration_us is not None:
        check_at_least(duration_us, 1, "duration_us")
        if start_us is None:
            start_us = next((window.start_us for window in recording.windows(count=1)), None)
    end_us = None if start_us is None or duration_us is None else start_us + duration_us
    images = recording_images(
        recording,
        duration_us=step_us,
        window_us=window_us,
        start_us=start_us,
        end_us=end_us,
        palette=palette,
        size_hw=size_hw,
    )
    first = next(images, None)
    if first is None:
        raise InputError(f"{recording.path} must have events to show, and has none in the time chosen.")
    total = None if duration_us is None else -(-duration_us // step_us)
    shown = progress(chain([first], images), path.name, unit="picture", total=total)
    write_video(path, shown, fps=RECORDING_FPS)


def recording_images(
    recording: Recording,
    *,
    duration_us: int,
    window_us: int | None = None,
    start_us: int | None = None,
    end_us: int | None = None,
    palette: str = "dark",
    size_hw: tuple[int, int] | None = None,
) -> Iterator[np.ndarray]:
    """Pictures of consecutive stretches of a recording: what ``write_video`` takes.

    Picture n shows the last ``window_us`` of the stretch that begins n * ``duration_us`` after the start; by default
    all of it, so that every event is in exactly one picture. A longer window leaves trails, a shorter one is a fast
    shutter. A strip below says when the stretch begins, in the time of the file, and how many events a second it has.
    Small sensors are enlarged. Where nothing happens for more than ``MOST_STILL`` pictures the rest of the gap is left
    out, and the pictures before say so. Memory grows with the sensor alone.

    Args:
        recording: what to show, with events sorted by time.
        duration_us: from one picture to the next.
        window_us: how far a picture looks back; ``duration_us`` if None.
        start_us: no event before this; the first event if None.
        end_us: no event from this on; the last event is the last if None.
        palette: one of ``PALETTES``.
        size_hw: of the sensor; only needed where the file does not say.

    Yields:
        (H * scale + 24, W * scale, 3) uint8; nothing if there are no events.

    Raises:
        InputError: if a time is below 1, the palette is unknown, or the size of the sensor is.
    """
    check_at_least(duration_us, 1, "duration_us")
    window_us = duration_us if window_us is None else window_us
    check_at_least(window_us, 1, "window_us")
    size_hw = recording.size_hw if size_hw is None else size_hw
    check_at_least(min(size_hw), 1, "size_hw")
    scene = _Scene(size_hw, choose_palette(palette), min(window_us, FOREVER_US))
    begin = start_us
    for piece in recording.windows(count=PIECE, start_us=start_us, end_us=end_us):
        events = piece.events
        begin = int(events.t[0]) if begin is None else begin
        while True:
            until = int(np.searchsorted(events.t, begin + duration_us))
            scene.add(events[:until])
            events = events[until:]
            if not len(events):
                break
            yield scene.picture(begin, duration_us)
            begin += duration_us
            rest_us = ((int(events.t[0]) - begin) // duration_us - MOST_STILL) * duration_us
            if rest_us > 0:
                for _ in range(MOST_STILL):
                    yield scene.picture(begin, duration_us, note=f"no events; {rest_us / 1e6:,.3f} s are left out")
                    begin += duration_us
                begin += rest_us
    if begin is not None and scene.count:
        yield scene.picture(begin, duration_us)


class _Scene:
    """The last event of every pixel, and its picture; ``count`` events since the last one."""

    def __init__(self, size_hw: tuple[int, int], palette: Palette, window_us: int) -> None:
        self._latest = np.full(size_hw, NEVER, np.int64)
        self._image = np.empty((*size_hw, 3), np.uint8)
        self._colours = np.array([palette.off, palette.on, palette.background], np.uint8)
        self._scale = readable_scale(size_hw)
        self._window_us = window_us
        self.count = 0

    def add(self, events: Events) -> None:
        """Remember the events, sorted by time."""
        if not _remember(events.t, events.x, events.y, events.p, self._latest):
            reach = f"x up to {events.x.max()}, y up to {events.y.max()}"
            raise InputError(f"size_hw must hold all events, got {self._latest.shape} and {reach}.")
        self.count += len(events)

    def picture(self, begin_us: int, duration_us: int, *, note: str = "") -> np.ndarray:
        """The picture of a stretch whose events are all there, with its time and the note or the rate."""
        _show(self._latest, begin_us + duration_us - self._window_us, self._colours, self._image)
        enlarged = self._image.repeat(self._scale, 0).repeat(self._scale, 1) if self._scale > 1 else self._image
        width = enlarged.shape[1]
        font = load_font(CAPTION_SIZE)
        strip = Image.new("RGB", (width, STRIP), BACKGROUND)
        canvas = ImageDraw.Draw(strip)
        digits = 3 if duration_us >= 1000 else 6
        canvas.text((8, 4), f"{begin_us / 1e6:,.{digits}f} s", fill=CAPTION_INK, font=font)
        rate = note or f"{short_number(self.count / duration_us * 1e6)} events/s"
        canvas.text((width - 8, 4), rate, fill=CAPTION_INK, font=font, anchor="ra")
        self.count = 0
        return np.concatenate([enlarged, np.asarray(strip)])


@njit(nogil=True, cache=True)
def _remember(t, x, y, p, latest):
    """Keep twice the time and the polarity of every pixel's last event; whether all events lie on the sensor."""
    height, width = latest.shape
    for i in range(len(t)):
        if y[i] >= height or x[i] >= width:
            return False
        latest[y[i], x[i]] = 2 * t[i] + (1 if p[i] else 0)
    return True


@njit(nogil=True, cache=True)
def _show(latest, since_us, colours, image):
    """Paint the pixels whose last event is not before ``since_us``, and the background elsewhere."""
    height, width = latest.shape
    for row in range(height):
        for column in range(width):
            cell = latest[row, column]
            index = cell & 1 if cell >= 2 * since_us else 2
            for part in range(3):
                image[row, column, part] = colours[index, part]
