"""What the frames of a recording or of pictures show, and reading them: windows of events, or pictures."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..allowing import source_digest
from ..checks import InputError
from ..config import InputConfig, PictureInput, PicturesConfig, TensorConfig
from ..config_files import to_dict
from ..events.dataset_facts import DatasetFacts
from ..events.files import Recording, open_recording
from ..events.slicing import MOST_WINDOWS, Window, check_windows
from ..events.tensors import blank_frame, make_frames
from ..pictures.fitting import CHANNELS, fitted
from ..pictures.images import images_in
from ..pictures.sequence import Pictures, is_sequence, open_pictures
from .description import Description
from .labels import labels_beside, read_labelled_us, read_labels

BATCH = 8  # windows at a time
DIGEST_PIECES = 64
DIGEST_BYTES = 1 << 16


class WindowsOfRecording(NamedTuple):
    """The windows of a recording. first: what the first one shows. can_seek: whether reading can begin at any."""

    first: Description
    windows: int
    can_seek: bool


def windows_of(
    path: Path,
    tensor: TensorConfig,
    *,
    stated: DatasetFacts,
    span_us: tuple[int, int] | None = None,
    first_label_us: int = 0,
) -> WindowsOfRecording:
    """The windows from that of the first event to that of the last, or the pictures of a sequence.

    It is cheap where reading can begin anywhere.

    They begin at multiples of their length, or, with ``align`` of labels, so that one ends with the first label.

    Args:
        path: of the recording.
        tensor: the windows, and their frames.
        stated: about its sensor and its clock, for formats that do not say.
        span_us: the times of the first and of the last event, where they are known.
        first_label_us: labels before this do not count.

    Raises:
        InputError: if the recording cannot be read, has no events or too many windows, or frames cannot be made of it;
            or if windows shall end with its labels, and it has none.
    """
    if is_sequence(path):
        return _pictures_of(path, tensor)
    with open_recording(path, size_hw=stated.size_hw, time_unit=stated.time_unit) as recording:
        span_us = span_us or recording.span_us()
        if span_us is None:
            raise InputError(f"{path} must have events, and has none.")
        sensor_hw = recording.size_hw
        can_seek = recording.is_indexed
    blank_frame(tensor.of(sensor_hw))  # which raises what is wrong with the settings
    first_us, last_us = span_us
    start_us = first_us // tensor.window_us * tensor.window_us
    if tensor.align == "labels":
        label_us = _first_label_us(path, first_label_us)
        start_us = label_us - -(-max(label_us - first_us, 0) // tensor.window_us) * tensor.window_us
    windows = check_windows(path, start_us, last_us, tensor.window_us)
    return WindowsOfRecording(described(path, tensor, start_us, sensor_hw), windows, can_seek)


def _pictures_of(path: Path, tensor: TensorConfig) -> WindowsOfRecording:
    """The pictures that are taken of a video or a folder of images."""
    settings = tensor.pictures
    with closing(open_pictures(path, fps=settings.fps, bits=settings.bits)) as pictures:
        times_us = pictures.times_us[:: settings.every]
        size_hw = pictures.size_hw
    if len(times_us) > MOST_WINDOWS:
        raise InputError(f"{path} must have at most {MOST_WINDOWS:,} pictures, got {len(times_us):,}.")
    period_us = round(float(np.median(np.diff(times_us)))) if len(times_us) > 1 else 0
    first = Description(
        tensor.of_pictures(size_hw, period_us),
        start_us=int(times_us[0]),
        source=path.name,
        times_us=tuple(times_us.tolist()),
        size_hw=size_hw,
    )
    return WindowsOfRecording(first, len(times_us), can_seek=True)


def _first_label_us(recording: Path, least_us: int) -> int:
    """The first time from ``least_us`` on at which a recording is labelled."""
    if (labels := labels_beside(recording)) is None:
        raise InputError(f"{recording} must have labels beside it for windows that end with them.")
    times_us = read_labelled_us(labels, read_labels(labels))
    if not (usable := times_us[times_us >= least_us]).size:
        raise InputError(f"{labels} must have a label for windows to end with, and has none after {least_us} us.")
    return int(usable[0])


def described(path: Path, tensor: TensorConfig, start_us: int, sensor_hw: tuple[int, int]) -> Description:
    """What the frames of a recording show, the first of which begins at ``start_us``."""
    return Description(
        tensor.of(sensor_hw),
        start_us=start_us,
        source=path.name,
        function_digest=source_digest(tensor.representation),
    )


def empty_frame(shown: InputConfig | PictureInput) -> np.ndarray:
    """The frame (C, H, W) that shows nothing. Raises ``InputError`` as ``blank_frame``."""
    if isinstance(shown, PictureInput):
        return np.zeros((CHANNELS[shown.colour], *shown.frame_hw), np.uint8)
    return blank_frame(shown)


class FrameReader(Protocol):
    """Makes frames of one recording, one after the other. Going on where it stopped costs nothing."""

    def batches(self, first: int, count: int, report: Callable[[int], None] = ...) -> Iterator[np.ndarray]:
        """Frames [first, first + count), (n, C, H, W) each; some in a buffer that is filled again and again.

        Args:
            first, count: which.
            report: called with how many were made since the last call.

        Raises:
            InputError: while iterating, if the recording cannot be read, or has become shorter.
        """
        ...

    def close(self) -> None:
        """Close the recording."""
        ...


def open_reader(
    path: Path, tensor: TensorConfig, described: Description, windows: int, *, stated: DatasetFacts
) -> FrameReader:
    """What makes the frames of a recording, or of pictures.

    Args:
        path: of it.
        tensor: as it is to be made.
        described: what the frames show, as ``windows_of`` says.
        windows: how many there are.
        stated: about its sensor and its clock, for formats that do not say.
    """
    if isinstance(described.input, PictureInput):
        return PictureReader(path, tensor, described)
    return EventReader(path, described, windows, stated)


class EventReader:
    """See ``open_reader``."""

    def __init__(self, path: Path, described: Description, windows: int, stated: DatasetFacts) -> None:
        assert isinstance(described.input, InputConfig)
        self._path = path
        self._shown = described.input
        self._described = described
        self._count = windows
        self._stated = stated
        self._recording: Recording | None = None
        self._reading: tuple[int, Iterator[Window]] | None = None

    def batches(
        self, first: int, count: int, report: Callable[[int], None] = lambda count: None
    ) -> Iterator[np.ndarray]:
        windows = self._windows(first)
        done = 0
        for batch in frames_of(islice(windows, count), self._shown, report):
            done += len(batch)
            yield batch
        if done < count:
            raise InputError(f"{self._path} must stay as it is while it is read, and has changed.")
        self._reading = first + count, windows

    def close(self) -> None:
        if self._recording is not None:
            self._recording.close()
        self._recording = None
        self._reading = None

    def _windows(self, first: int) -> Iterator[Window]:
        """The windows from ``first`` on: reading goes on, or begins anew where the format lets it."""
        if self._recording is None:
            self._recording = open_recording(self._path, size_hw=self._stated.size_hw, time_unit=self._stated.time_unit)
        reading = self._reading
        self._reading = None  # which a failure ends
        if reading is not None and (reading[0] == first or (reading[0] < first and not self._recording.is_indexed)):
            deque(islice(reading[1], first - reading[0]), maxlen=0)
            return reading[1]
        return self._recording.windows(
            window_us=self._shown.window_us,
            start_us=self._described.edge_us(first),
            end_us=self._described.edge_us(self._count),
        )


class PictureReader:
    """See ``open_reader``."""

    def __init__(self, path: Path, tensor: TensorConfig, described: Description) -> None:
        assert isinstance(described.input, PictureInput)
        self._path = path
        self._settings = tensor.pictures
        self._described = described
        self._shown = described.input
        self._pictures: Pictures | None = None

    def batches(
        self, first: int, count: int, report: Callable[[int], None] = lambda count: None
    ) -> Iterator[np.ndarray]:
        if self._pictures is None:
            settings = self._settings
            self._pictures = open_pictures(self._path, fps=settings.fps, bits=settings.bits)
        pictures = self._pictures
        every = self._settings.every
        begin = int(np.searchsorted(pictures.times_us, self._described.times_us[first]))
        stop = begin + (count - 1) * every + 1
        if stop > len(pictures) or pictures.size_hw != self._described.size_hw:
            raise InputError(f"{self._path} must stay as it is while it is read, and has changed.")
        for picture in islice(pictures.read(begin, stop), 0, None, every):
            yield fitted(picture, self._shown.frame_hw, self._shown.colour)[None]
            report(1)

    def close(self) -> None:
        if self._pictures is not None:
            self._pictures.close()
        self._pictures = None


def frames_of(
    windows: Iterator[Window], shown: InputConfig, report: Callable[[int], None] = lambda count: None
) -> Iterator[np.ndarray]:
    """The frames of some windows, (n, C, H, W), in one buffer that is filled again and again.

    Args:
        windows: of a recording, one after the other.
        shown: what their frames show.
        report: called with how many were made since the last call.
    """
    frame = blank_frame(shown)
    buffer = np.empty((BATCH, *frame.shape), frame.dtype)
    while batch := list(islice(windows, BATCH)):
        for n, window in enumerate(batch):
            make_frames(shown, window.events, start_us=window.start_us, out=buffer[n : n + 1])
        yield buffer[: len(batch)]
        report(len(batch))


def settings_of(tensor: TensorConfig) -> list[Any]:
    """What decides about the tensors of a recording, as plain values.

    A setting that came later, and is not used, is not among them: tensors of before are found.
    """
    settings = to_dict(tensor)
    if tensor.align == "windows":
        del settings["align"]
    if tensor.pictures == PicturesConfig():
        del settings["pictures"]
    digest = source_digest(tensor.representation)
    return [settings, digest] if digest else [settings]


def file_digest(path: Path) -> str:
    """SHA-256 of the size of a file and of 64 pieces of it, evenly spread: tells files apart, fast at any size.

    Of a folder of images it is that of their names and of 64 of them.
    """
    if path.is_dir():
        images = images_in(path)
        total = hashlib.sha256("\n".join(each.name for each in images).encode())
        for place in np.linspace(0, len(images) - 1, min(DIGEST_PIECES, len(images))).astype(int):
            total.update(file_digest(images[place]).encode())
        return total.hexdigest()
    size = path.stat().st_size
    total = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for place in np.linspace(0, max(size - DIGEST_BYTES, 0), DIGEST_PIECES).astype(int):
            file.seek(int(place))
            total.update(file.read(DIGEST_BYTES))
    return total.hexdigest()
