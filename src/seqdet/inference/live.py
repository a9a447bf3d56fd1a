"""Pictures of cameras, of streams in a network and of the standard input, while they are sent. Without torch.

What is late is worth less than what is new: of pictures that come while the detector is busy only the newest is kept. A
source that says how long it is, is a file wherever it lies, and all of its pictures are looked at.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EIO
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError
from av.format import Flags

from ..checks import InputError
from ..events.evt import stays_silent
from ..pictures.sequence import TimedFrame
from ..pictures.video import picture_of

CAMERA = "camera:"
ADDRESS = re.compile(r"(?:rtsp|https?|udp)://.+", re.DOTALL)
SILENCE_S = 10.0
"""A source that sends nothing for so long is taken to have gone away."""
POLL_S = 0.1
"""Between two times that a wait asks whether to stop."""
AGAIN_S = 0.005
"""Until a camera that has nothing yet is asked again."""
CLOSING_S = 2.0
"""How long the end of the work waits for the source to be closed."""
LONGEST_NAME = 100


@dataclass(frozen=True)
class LiveSource:
    """A camera of this machine, or a stream in a network.

    word: ``camera:`` and the camera's number, name or device, or an address.
    """

    word: str

    @property
    def camera(self) -> str | None:
        """Which camera, if it is one."""
        return self.word[len(CAMERA) :] if self.word.startswith(CAMERA) else None

    @property
    def place(self) -> Path:
        """Of its results in a folder, without an ending."""
        name = re.sub(r"[^\w.-]+", "_", str(self).partition("://")[2] or str(self))
        return Path(name.strip("._-")[:LONGEST_NAME] or "live")

    def __str__(self) -> str:
        """For messages and logs: without passwords, which stand before the host or behind a question mark."""
        if self.camera is not None:
            return self.word
        parts = urlsplit(self.word)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


Source = Path | LiveSource
"""What a user names to be looked at."""


def as_source(word: str) -> Source:
    """A word of the command line: a live source by how it begins, or a path; ``./camera:0`` is a file of that name."""
    return LiveSource(word) if word.startswith(CAMERA) or ADDRESS.fullmatch(word) else Path(word)


class LivePictures:
    """The pictures of a source that is opened here and read by a thread; each time it is asked, the newest.

    passed_over: how many pictures came and were not asked for.

    Args:
        source: a ``LiveSource``, or the standard input.
        is_stopped: ends the pictures; asked often, also while none comes.
    """

    def __init__(self, source: Source, is_stopped: Callable[[], bool]) -> None:
        self.passed_over = 0
        self._source = source
        self._name = str(source) if isinstance(source, LiveSource) else "stdin"
        self._is_stopped = is_stopped
        self._changed = threading.Condition()
        self._newest: tuple[av.VideoFrame, int] | None = None
        self._heard_s = time.monotonic()
        self._is_closing = False
        self._has_ended = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._read, name=f"reader of {self._name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the source go; one that does not react is left to the end of the process."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(CLOSING_S)

    def frames(self) -> Iterator[TimedFrame]:
        """The newest picture each time, and its time: that of the stream if it has one, else that of the clock.

        Raises:
            InputError: if the source cannot be opened, sends no pictures, or goes away; a pipe may end.
        """
        ended_us = None
        while (taken := self._take()) is not None:
            frame, ended_us = taken
            yield picture_of(frame), ended_us
        if not self._is_stopped():
            self._check_end(ended_us)

    def _check_end(self, ended_us: int | None) -> None:
        """Raise unless the source may end there: a pipe, with the last picture at this time; None if there was none."""
        failure = self._failure
        if failure is not None and not isinstance(failure, FFmpegError | OSError):
            raise failure
        if not self._has_ended or isinstance(failure, ExitError):
            why = f"nothing came for {SILENCE_S:g} s"
        elif failure is not None:
            why = "it broke off" if failure.errno == EIO else str(failure.strerror or failure).rstrip(".")
        elif isinstance(self._source, LiveSource) or ended_us is None:
            why = "it ended"
        else:
            return
        if ended_us is None:
            raise InputError(f"{self._name} must be a source of pictures, and none came: {why}.") from failure
        raise InputError(
            f"{self._name} must go on sending pictures, and went away after {ended_us / 1e6:.2f} s: {why}. What came "
            "before was looked at."
        ) from failure

    def _take(self) -> tuple[av.VideoFrame, int] | None:
        """The newest picture and its time, when there is one; None if none will come, or nothing came for long."""
        while True:
            with self._changed:
                if self._newest is None and not self._has_ended:
                    self._changed.wait(POLL_S)
                taken, self._newest = self._newest, None
                is_over = self._has_ended or time.monotonic() > self._heard_s + SILENCE_S
                if taken is not None:
                    self._heard_s = time.monotonic()
                    self._changed.notify_all()
            if taken is not None or is_over or self._is_stopped():
                return taken

    def _read(self) -> None:
        """What the thread does."""
        try:
            with self._opened() as container:
                self._pass_on(container)
        except Exception as error:  # raised where the pictures are asked for
            self._failure = error
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _pass_on(self, container: InputContainer) -> None:
        """Decode what comes. What cannot be decoded is left out: networks lose parts, and streams begin in between."""
        if not container.streams.video:
            raise InputError(f"{self._name} must be a source of pictures, and has none.")
        stream = container.streams.video[0]
        is_file = container.duration is not None
        has_times = is_file or not container.format.flags & Flags.no_timestamps.value
        times = _Times(has_times=has_times)
        for packet in self._packets(container, stream):
            try:
                frames = packet.decode()
            except InvalidDataError:
                continue
            for frame in frames:
                if not self._offer(frame, times.of(frame), is_file=is_file):
                    return

    def _packets(self, container: InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
        """What the source sends. Cameras of macOS say that they have nothing yet, where others wait."""
        while not self._is_closing:
            try:
                yield from container.demux(stream)
                return
            except BlockingIOError:
                time.sleep(AGAIN_S)

    def _offer(self, frame: av.VideoFrame, time_us: int, *, is_file: bool) -> bool:
        """Have a picture taken, of a file before the next; whether more are wanted."""
        with self._changed:
            while is_file and self._newest is not None and not self._is_closing:
                self._changed.wait()
            if self._is_closing:
                return False
            self.passed_over += self._newest is not None
            self._newest = frame, time_us
            self._heard_s = time.monotonic()
            self._changed.notify_all()
            return True

    def _opened(self) -> InputContainer:
        if not isinstance(self._source, LiveSource):
            return av.open(_standard_input(lambda: self._is_closing), "r", metadata_errors="replace")
        if self._source.camera is not None:
            device, form, options = camera_device(self._source.camera, sys.platform)
            return av.open(device, "r", format=form, options=options, timeout=SILENCE_S, metadata_errors="replace")
        options = {"rtsp_flags": "prefer_tcp"} if self._source.word.startswith("rtsp") else {}
        return av.open(self._source.word, "r", options=options, timeout=SILENCE_S, metadata_errors="replace")


def camera_device(name: str, platform: str) -> tuple[str, str, dict[str, str]]:
    """What FFmpeg opens for a camera of this machine: a device, its format and options.

    Args:
        name: a number from 0, where the system counts its cameras; a name, or a file of a device.
        platform: of ``sys.platform``.

    Raises:
        InputError: if cameras have no numbers there, or there is no name.
    """
    if not name:
        raise InputError(f"a camera must be named by its number, as in {CAMERA}0, and is not.")
    if platform == "darwin":
        return name, "avfoundation", {"framerate": "30"}  # its default, 30000 / 1001, is none that cameras have
    if platform == "win32":
        if name.isdecimal():
            raise InputError(f"a camera must be named by its name here, as in {CAMERA}Integrated Camera, got {name}.")
        return f"video={name}", "dshow", {}
    return f"/dev/video{name}" if name.isdecimal() else name, "v4l2", {}


class _Times:
    """When pictures were taken, in microseconds from the first; never back: a source may begin anew.

    has_times: whether the stream says it; some formats have no times, and those that FFmpeg makes up are of no use.
    """

    def __init__(self, *, has_times: bool) -> None:
        self._has_times = has_times
        self._first_us: int | None = None
        self._last_us = 0

    def of(self, frame: av.VideoFrame) -> int:
        """The time of the next picture."""
        if self._first_us is None:
            self._has_times &= frame.pts is not None
        if not self._has_times:
            now_us = time.monotonic_ns() // 1000
        elif frame.pts is None or frame.time_base is None:
            return self._last_us
        else:
            now_us = round(frame.pts * frame.time_base * 10**6)
        if self._first_us is None or now_us < self._first_us + self._last_us:
            self._first_us = now_us - self._last_us
        self._last_us = now_us - self._first_us
        return self._last_us


class _Pipe:
    """A pipe as FFmpeg reads it: what there is, and an end when nobody wants more."""

    def __init__(self, number: int, is_closing: Callable[[], bool]) -> None:
        self._number = number
        self._is_closing = is_closing

    def read(self, size: int) -> bytes:
        """Up to so many bytes; none at the end."""
        while not self._is_closing() and stays_silent(self._number):
            pass
        return b"" if self._is_closing() else os.read(self._number, size)


def _standard_input(is_closing: Callable[[], bool]) -> BinaryIO | _Pipe:
    """The standard input as FFmpeg reads it: a file as a file, anything else as it comes.

    A pipe is read below Python's buffer, whose lock a thread that waits would hold at the end of the process.
    """
    buffer: BinaryIO = sys.stdin.buffer
    try:
        number = buffer.fileno()
    except OSError:  # none of the system's
        return buffer
    return buffer if S_ISREG(os.fstat(number).st_mode) else _Pipe(number, is_closing)
