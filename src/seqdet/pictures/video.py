"""Videos: which frames there are, when each is shown, and reading any of them exactly."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.error import FFmpegError

from ..checks import InputError
from ..events.accounts import Account

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"})
CUT = "Was it cut short, by a download or a camera that lost power? Copy it again."
INDEXED = frozenset({"avi", "matroska", "mov"})
"""FFmpeg's names of containers that say where each picture is: of others it guesses times after a leap."""
UNDECODED = "pictures that cannot be decoded, in the place of which is the one before"
ABSENT = "pictures that it claims and has not: was it cut short, by a download or a camera that lost power?"


class VideoIndex(NamedTuple):
    """Which pictures a video has, in the order in which they are shown.

    times_us: (N,) int64, rising, from that of the first. marks: (N,) int64, what the file calls these times. keys: (K,)
    those of pictures from which decoding can begin; none where it begins at the first. size_hw: of a picture, as
    players turn it. claimed: how many pictures the file says it has; 0 if it does not say.
    """

    times_us: np.ndarray
    marks: np.ndarray
    keys: np.ndarray
    size_hw: tuple[int, int]
    claimed: int


def video_index(path: Path) -> VideoIndex:
    """The index of a video: a pass over its packets, or over its pictures where these do not say when they are shown.

    Raises:
        InputError: if it is no video, is damaged, or has no times.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path} must be a video, and cannot be found: {error.strerror}.") from error
    return _index(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _index(path: Path, size: int, modified_ns: int) -> VideoIndex:
    """As ``video_index``, of a file of that size and time: a video is opened again and again."""
    with opened(path) as (container, stream):
        claimed = stream.frames
        can_seek = container.format.name.partition(",")[0] in INDEXED
        packets = [(packet.pts, packet.is_keyframe) for packet in container.demux(stream) if packet.size]
    marks = sorted({mark for mark, _ in packets if mark is not None})
    with opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise InputError(f"{path} must be a video, and none of its pictures is there. {CUT}")
        size_hw = shown_size(first)
        keys = sorted(mark for mark, is_key in packets if is_key and mark is not None) if can_seek else []
        are_pictures = len(marks) == len(packets) and first.pts == marks[0]  # each with a time of its own
        if not are_pictures:
            shown = [first.pts, *(frame.pts for frame in container.decode(stream))]
            marks = sorted({mark for mark in shown if mark is not None})
            keys = []
            if len(marks) < len(shown):
                raise InputError(f"{path} must say when its frames were taken, and does not: put it into an MP4.")
        base = first.time_base or stream.time_base
        assert base is not None
    times_us = np.array([round((mark - marks[0]) * base * 10**6) for mark in marks], np.int64)
    return VideoIndex(times_us, np.array(marks, np.int64), np.array(keys, np.int64), size_hw, claimed)


class _DamagedError(Exception):
    """Something could not be decoded, for the first time."""


class Video:
    """The pictures of a video, by number: picture n is the same however it is reached.

    Reading goes on where it stopped, or begins at the last picture before that can be decoded alone. A picture that
    cannot be decoded is that before it, or after it at the start, so that the others keep their numbers.

    size_hw: height and width of a picture. times_us: (N,) int64, when each is shown, from the first on; rising.

    Args:
        path: of the file.

    Raises:
        InputError: as ``video_index``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._index = video_index(path)
        self.size_hw = self._index.size_hw
        self.times_us = self._index.times_us
        self._open: Any = None
        self._source: tuple[Any, Any] = (None, None)
        self._is_damaged = False
        """Whether something could not be decoded: several frames at once would then lose good ones with a bad one."""
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._next = -1
        self._ahead: av.VideoFrame | None = None
        self._missing = 0

    def __len__(self) -> int:
        return len(self.times_us)

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def account(self) -> Account:
        """What became of the pictures that the file claims, as far as they were read."""
        dropped = {UNDECODED: self._missing, ABSENT: max(self._index.claimed - len(self), 0)}
        return Account(len(self) - self._missing, +Counter(dropped))

    def read(self, first: int, stop: int) -> Iterator[np.ndarray]:
        """Pictures [first, stop), (H, W, 3) uint8 RGB each.

        Raises:
            InputError: while iterating, if the file is damaged, or a picture has another size.
        """
        if not 0 <= first <= stop <= len(self):
            raise InputError(f"pictures must be within 0 to {len(self)} of {self.path}, got {first} to {stop}.")
        if first != self._next:
            self._seek(first)
        last: np.ndarray | None = None
        waiting = 0
        for n in range(first, stop):
            self._next = n + 1
            picture = self._picture(n)
            if picture is None:
                self._missing += 1
                picture = last if n > first else self._before(n)
            if picture is None:
                waiting += 1
                continue
            yield from (picture for _ in range(waiting))
            waiting = 0
            last = picture
            yield picture
        if waiting:
            raise InputError(f"{self.path} must have pictures {first} to {stop}, and none can be decoded. {CUT}")

    def look_through(self) -> None:
        """Decode all pictures, which says what the account then has, without making them.

        Raises:
            InputError: if the file is damaged, or a picture has another size.
        """
        self._seek(0)
        for n in range(len(self)):
            self._missing += self._frame(n) is None
            self._next = n + 1

    def close(self) -> None:
        """Close the file."""
        if self._open is not None:
            self._open.__exit__(None, None, None)
        self._open = None
        self._ahead = None
        self._next = -1

    def _before(self, n: int) -> np.ndarray | None:
        """The last picture before ``n`` that can be decoded, if there is one; reading then goes on behind ``n``."""
        found = None
        for number in range(n - 1, -1, -1):
            self._seek(number)
            found = self._picture(number)
            if found is not None:
                break
        if n + 1 < len(self):
            self._seek(n + 1)
            self._next = n + 1
        return found

    def _seek(self, n: int) -> None:
        """Go to where picture ``n`` comes."""
        try:
            self._go_to(n)
        except _DamagedError:
            self._is_damaged = True
            self._go_to(n)

    def _go_to(self, n: int) -> None:
        self.close()
        self._open = opened(self.path)
        container, stream = self._source = self._open.__enter__()
        if self._is_damaged:
            stream.thread_type = "SLICE"
        mark = self._index.marks[n]
        before = self._index.keys[self._index.keys <= mark]
        if n and len(before):
            container.seek(int(before[-1]), stream=stream)
        self._frames = container.decode(stream)
        self._ahead = self._decoded()
        if self._ahead is not None and n and self._ahead.pts is not None and self._ahead.pts > mark:
            container.seek(0, stream=stream)  # the file's own index leads too far: from the start, then
            self._frames = container.decode(stream)
            self._ahead = self._decoded()

    def _decoded(self) -> av.VideoFrame | None:
        """The next picture of the file; None at its end."""
        for _ in range(len(self) + 1):  # of which each takes a packet at least
            try:
                return next(self._frames, None)
            except FFmpegError as error:
                if error.errno != DAMAGED:
                    raise _unreadable(self.path, error) from error
                if not self._is_damaged:
                    raise _DamagedError from error
                container, stream = self._source
                self._frames = container.decode(stream)  # the last one has ended by that
        return None

    def _picture(self, n: int) -> np.ndarray | None:
        """Picture ``n``, if it can be decoded."""
        frame = self._frame(n)
        return None if frame is None else picture_of(frame)

    def _frame(self, n: int) -> av.VideoFrame | None:
        """As ``_picture``, as it was decoded."""
        try:
            return self._next_frame(n)
        except _DamagedError:
            self._is_damaged = True
            self._seek(n)
            return self._next_frame(n)

    def _next_frame(self, n: int) -> av.VideoFrame | None:
        mark = self._index.marks[n]
        while self._ahead is not None and (self._ahead.pts is None or self._ahead.pts < mark):
            self._ahead = self._decoded()
        if self._ahead is None or self._ahead.pts != mark:
            return None
        frame = self._ahead
        self._ahead = self._decoded()
        height, width = shown_size(frame)
        if (height, width) != self.size_hw:
            raise InputError(
                f"{self.path} must have pictures of one size, {self.size_hw[1]}x{self.size_hw[0]}, and has one of "
                f"{width}x{height}, number {n}. Cut it there."
            )
        return frame


DAMAGED = 1094995529
"""What FFmpeg says of a packet that makes no sense (AVERROR_INVALIDDATA): the next one may."""


@contextmanager
def opened(source: Path | str, **settings: Any) -> Iterator[tuple[Any, av.VideoStream]]:
    """The container and the first video in it, whatever FFmpeg says in one sentence.

    Args:
        source: a file, or an address.
        settings: of ``av.open``.

    Raises:
        InputError: if there is no video, or FFmpeg does not read it.
    """
    try:
        # titles, which nobody reads, may be in any encoding
        with av.open(os.fspath(source), metadata_errors="replace", **settings) as container:
            if not container.streams.video:
                raise InputError(f"{source} must be a video, and no pictures are found in it. {CUT}")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except FFmpegError as error:
        raise _unreadable(source, error) from error


def picture_of(frame: av.VideoFrame) -> np.ndarray:
    """The picture (H, W, 3) uint8 RGB of a decoded frame, as players turn it."""
    return np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))


def shown_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Height and width of ``picture_of`` a frame."""
    return (frame.width, frame.height) if round(frame.rotation / 90) % 2 else (frame.height, frame.width)


def _unreadable(source: Path | str, error: FFmpegError) -> InputError:
    told = str(error.strerror).rstrip(".")
    return InputError(f"{source} must be a video that FFmpeg reads: {told}. {CUT}")
