"""Make the tensors of a stretch of a recording, in pieces that are complete or not there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..allowing import source_digest
from ..checks import InputError
from ..config import InputConfig, TensorConfig
from ..config_files import to_dict
from ..events.files import Window, open_recording
from ..events.slicing import check_windows
from ..events.tensors import blank_frame, make_frames
from ..events.time_units import Unit
from ..files import make_folder
from .labels import labels_beside, read_labelled_us, read_labels
from .store import Description, TensorFile, write_tensors

BATCH = 8  # windows at a time
SEGMENT_WINDOWS = 256  # so many are lost at most when the work is cut short
DIGEST_PIECES, DIGEST_BYTES = 64, 1 << 16


class Segment(NamedTuple):
    """Consecutive windows of a recording: those of a file that is written at once. path: of that file."""

    path: Path
    first: int
    windows: int


@dataclass(frozen=True)
class Stretch:
    """Consecutive segments of a recording, for one process.

    recording: its file. size_hw: of its sensor, and time_unit: of its times, for formats that do not say. window: what
    its first frame shows.
    """

    recording: Path
    size_hw: tuple[int, int] | None
    window: Description
    tensor: TensorConfig
    compression: str
    segments: tuple[Segment, ...] = ()
    time_unit: Unit | None = None

    @property
    def windows(self) -> int:
        """How many there are in all segments."""
        return sum(segment.windows for segment in self.segments)


class Extent(NamedTuple):
    """The windows of a recording. first: what the first one shows. can_seek: whether reading can begin at any."""

    first: Description
    windows: int
    can_seek: bool


def extent(
    path: Path,
    tensor: TensorConfig,
    *,
    size_hw: tuple[int, int] | None = None,
    time_unit: Unit | None = None,
    span_us: tuple[int, int] | None = None,
    first_label_us: int = 0,
) -> Extent:
    """The windows from that of the first event to that of the last; cheap where reading can begin anywhere.

    They begin at multiples of their length, or, with ``align`` of labels, so that one ends with the first label.

    Args:
        path: of the recording.
        tensor: the windows, and their frames.
        size_hw: of the sensor, for formats that do not say.
        time_unit: of the times, for formats that do not say.
        span_us: the times of the first and of the last event, where they are known.
        first_label_us: labels before this do not count.

    Raises:
        InputError: if the recording cannot be read, has no events or too many windows, or frames cannot be made of it;
            or if windows shall end with its labels, and it has none.
    """
    with open_recording(path, size_hw=size_hw, time_unit=time_unit) as recording:
        span_us = span_us or recording.span_us()
        if span_us is None:
            raise InputError(f"{path} must have events, and has none.")
        sensor_hw, can_seek = recording.size_hw, recording.is_indexed
    blank_frame(tensor.of(sensor_hw))  # which raises what is wrong with the settings
    first_us, last_us = span_us
    start_us = first_us // tensor.window_us * tensor.window_us
    if tensor.align == "labels":
        label_us = _first_label_us(path, first_label_us)
        start_us = label_us - -(-max(label_us - first_us, 0) // tensor.window_us) * tensor.window_us
    windows = check_windows(path, start_us, last_us, tensor.window_us)
    return Extent(described(path, tensor, start_us, sensor_hw), windows, can_seek)


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


def make(stretch: Stretch, report: Callable[[int], None]) -> None:
    """Write the segments that are not there yet.

    Args:
        stretch: what to make.
        report: called with the number of windows that were finished since the last call.
    """
    missing = [segment for segment in stretch.segments if not is_made(segment, stretch)]
    report(stretch.windows - sum(segment.windows for segment in missing))
    for run in _runs(missing):
        options: Any = {"size_hw": stretch.size_hw, "time_unit": stretch.time_unit}
        with open_recording(stretch.recording, **options) as recording:
            shown = stretch.window.input
            start_us = stretch.window.after(run[0].first).start_us
            end_us = stretch.window.after(run[-1].first + run[-1].windows).start_us
            windows = recording.windows(duration_us=shown.window_us, start_us=start_us, end_us=end_us)
            for segment in run:
                make_folder(segment.path.parent)
                batches = frames(islice(windows, segment.windows), shown, report)
                description = stretch.window.after(segment.first)
                write_tensors(segment.path, batches, description, compression=stretch.compression)


def is_made(segment: Segment, stretch: Stretch) -> bool:
    """Whether the file of a segment is there and holds just that."""
    if not segment.path.is_file():
        return False
    try:
        with TensorFile(segment.path) as file:
            return (file.description, len(file)) == (stretch.window.after(segment.first), segment.windows)
    except InputError:
        return False


def frames(
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


def identity(tensor: TensorConfig) -> list[Any]:
    """What decides about the tensors of a recording, as plain values.

    A setting that came later, and is not used, is not among them: tensors of before are found.
    """
    settings = to_dict(tensor)
    if tensor.align == "windows":
        del settings["align"]
    digest = source_digest(tensor.representation)
    return [settings, digest] if digest else [settings]


def _runs(segments: list[Segment]) -> Iterator[list[Segment]]:
    """Segments that follow each other, together: one pass over the recording each."""
    run: list[Segment] = []
    for segment in segments:
        if run and run[-1].first + run[-1].windows != segment.first:
            yield run
            run = []
        run.append(segment)
    if run:
        yield run


def digest(path: Path) -> str:
    """SHA-256 of the size of a file and of 64 pieces of it, evenly spread: tells files apart, fast at any size."""
    size = path.stat().st_size
    total = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for place in np.linspace(0, max(size - DIGEST_BYTES, 0), DIGEST_PIECES).astype(int):
            file.seek(int(place))
            total.update(file.read(DIGEST_BYTES))
    return total.hexdigest()
