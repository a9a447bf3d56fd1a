"""The windows of a recording, and the frames that show them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..allowing import source_digest
from ..checks import InputError
from ..config import InputConfig, TensorConfig
from ..config_files import to_dict
from ..events.dataset_facts import DatasetFacts
from ..events.files import open_recording
from ..events.slicing import Window, check_windows
from ..events.tensors import blank_frame, make_frames
from .labels import labels_beside, read_labelled_us, read_labels
from .store import Description

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
    """The windows from that of the first event to that of the last; cheap where reading can begin anywhere.

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
    digest = source_digest(tensor.representation)
    return [settings, digest] if digest else [settings]


def file_digest(path: Path) -> str:
    """SHA-256 of the size of a file and of 64 pieces of it, evenly spread: tells files apart, fast at any size."""
    size = path.stat().st_size
    total = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for place in np.linspace(0, max(size - DIGEST_BYTES, 0), DIGEST_PIECES).astype(int):
            file.seek(int(place))
            total.update(file.read(DIGEST_BYTES))
    return total.hexdigest()
