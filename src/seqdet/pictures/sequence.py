"""A sequence of pictures, whatever holds it: a video, or a folder of images with their times beside it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np

from ..checks import InputError
from ..events.accounts import Account, tell
from ..files import read_npy, write_bytes
from .images import DEEPEST, IMAGE_SUFFIXES, image_size, images_in, read_image
from .video import VIDEO_SUFFIXES, Video

log = logging.getLogger(__name__)
TimedFrame = tuple[np.ndarray, int]
"""(H, W, 3) uint8 RGB and its time in microseconds from the first frame."""
TIMES_SUFFIX = "_times.npy"
"""How the file beside a folder of images ends that says when each was taken: (N,) int64 microseconds."""
MOST_FPS = 1e6


class Pictures(Protocol):
    """Pictures by number. path: of the video or folder. size_hw: of each. times_us: (N,) int64, rising.

    account: what became of those that were read so far.
    """

    path: Path
    size_hw: tuple[int, int]
    times_us: np.ndarray

    @property
    def account(self) -> Account: ...

    def __len__(self) -> int: ...

    def read(self, first: int, stop: int) -> Iterator[np.ndarray]: ...

    def look_through(self) -> None: ...

    def close(self) -> None: ...


def is_sequence(path: Path) -> bool:
    """Whether a path is named as a video, or is a folder that has images in it, and not only below."""
    if path.is_dir():
        return not path.name.startswith(".") and any(each.suffix.lower() in IMAGE_SUFFIXES for each in path.iterdir())
    return path.suffix.lower() in VIDEO_SUFFIXES


def times_path(folder: Path) -> Path:
    """Where the times of a folder of images are."""
    return folder.with_name(folder.name + TIMES_SUFFIX)


def write_times(folder: Path, times_us: np.ndarray) -> None:
    """Write when the images of a folder, in the order of their names, were taken."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(times_us, np.int64))
    write_bytes(times_path(folder), buffer.getvalue())


def open_pictures(path: Path, *, fps: float | None = None, bits: int = DEEPEST) -> Pictures:
    """The pictures of a video, or of a folder of images.

    The times of a video are its presentation timestamps, counted from the first; those of images are in a file beside
    their folder (``times_path``).

    Args:
        path: of either.
        fps: pictures a second, in place of these times.
        bits: of the values of images of more than eight.

    Raises:
        InputError: if there is no such path, it holds no pictures, is damaged, or says no times.
    """
    check_fps(fps)
    if not path.exists():
        raise InputError(f"{path} must be a video or a folder of images, and there is no such file.")
    pictures: Pictures = ImageFolder(path, bits, has_times=fps is None) if path.is_dir() else Video(path)
    if fps is not None:
        pictures.times_us = regular_us(len(pictures), fps)
    return pictures


def check_fps(fps: float | None) -> None:
    """Raise ``InputError`` if there cannot be so many pictures a second."""
    if fps is not None and not 0 < fps <= MOST_FPS:
        raise InputError(f"fps must be above 0 and at most 1e6, got {fps}.")


def regular_us(count: int, fps: float) -> np.ndarray:
    """When so many pictures are taken, (N,) int64."""
    return np.rint(np.arange(count) * 1e6 / fps).astype(np.int64)


class ImageFolder:
    """The images of a folder, in the order of the numbers in their names: see ``Pictures``.

    Args:
        path: of the folder.
        bits: of the values of images of more than eight.
        has_times: whether their times must be known.

    Raises:
        InputError: if there are none, or their times are missing or damaged.
    """

    def __init__(self, path: Path, bits: int, *, has_times: bool = True) -> None:
        self.path = path
        self._bits = bits
        self._images = images_in(path)
        if not self._images:
            raise InputError(f"{path} must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}), and there are none.")
        self.size_hw = image_size(self._images[0])
        self.times_us = self._times() if has_times else np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def account(self) -> Account:
        """All images are kept: one that cannot be read is an error."""
        return Account(len(self))

    def read(self, first: int, stop: int) -> Iterator[np.ndarray]:
        """As ``Video.read``; an image that cannot be read is an error."""
        if not 0 <= first <= stop <= len(self):
            raise InputError(f"pictures must be within 0 to {len(self)} of {self.path}, got {first} to {stop}.")
        for path in self._images[first:stop]:
            picture = read_image(path, bits=self._bits)
            self._check_size(path, picture.shape[:2])
            yield picture

    def look_through(self) -> None:
        """As ``Video.look_through``: that sizes are equal; an image that is damaged within says so when it is read."""
        for path in self._images:
            self._check_size(path, image_size(path))

    def close(self) -> None:
        """Nothing stays open."""

    def _check_size(self, path: Path, size_hw: tuple[int, ...]) -> None:
        if size_hw != self.size_hw:
            raise InputError(
                f"{self.path} must have pictures of one size, {self.size_hw[1]}x{self.size_hw[0]}, and {path.name} is "
                f"{size_hw[1]}x{size_hw[0]}."
            )

    def _times(self) -> np.ndarray:
        path = times_path(self.path)
        if not path.is_file():
            raise InputError(
                f"fps must be given for {self.path}: a folder of images has no times, unless {path.name} is beside it."
            )
        try:
            with path.open("rb") as file:
                times_us = read_npy(file)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} must hold the times of the images, and is damaged: {error}.") from error
        is_sound = times_us.dtype == np.int64 and times_us.shape == (len(self),) and (np.diff(times_us) > 0).all()
        if not is_sound:
            raise InputError(
                f"{path} must hold a rising time (int64, microseconds) for each of the {len(self)} images, got "
                f"{times_us.dtype} {times_us.shape}."
            )
        return times_us


def look_through_pictures(path: Path, *, fps: float | None = None, bits: int = DEEPEST) -> tuple[Account, np.ndarray]:
    """What can be read of a sequence, and the times (N,) of its pictures: one pass over all of it.

    Raises:
        InputError: if pictures differ in size, or as ``open_pictures``.
    """
    with closing(open_pictures(path, fps=fps, bits=bits)) as pictures:
        pictures.look_through()
        return pictures.account, pictures.times_us


def read_frames(path: Path, *, fps: float | None = None, bits: int = DEEPEST) -> Iterator[TimedFrame]:
    """The frames of a video file or a folder of images, one after the other, and when they were taken.

    Args:
        path, fps, bits: as of ``open_pictures``.

    Raises:
        InputError: as there; while iterating, if it is damaged, or at its end, if most of it was.
    """
    return timed_pictures(open_pictures(path, fps=fps, bits=bits))


def timed_pictures(pictures: Pictures) -> Iterator[TimedFrame]:
    """All pictures with their times; what could not be read of them is said at the end, and they are closed."""
    with closing(pictures):
        yield from zip(pictures.read(0, len(pictures)), pictures.times_us.tolist(), strict=True)
        tell(log, {str(pictures.path): pictures.account})
