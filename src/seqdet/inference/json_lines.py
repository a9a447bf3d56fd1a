"""What is found as lines of JSON, for another program that reads them as they come. Without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..checks import InputError
from ..data.detections import corners
from .inputs import FrameDetections

PIXEL_DIGITS = 2
"""Behind the point of a coordinate: detectors are not exact to a hundredth of a pixel."""
SCORE_DIGITS = 4


class Sink(Protocol):
    """What takes bytes at once, without a buffer of its own, and says how many of them, as ``io.FileIO``."""

    def write(self, data: bytes | memoryview, /) -> int | None: ...


class JsonLines:
    """Writes a line for every window or picture, with the names of the classes, and hands it over at once.

    is_gone: whether nobody reads any more, as after ``| head -1``; what is written then goes nowhere.

    Args:
        sink: where the lines go.
        classes: names by label.
        has_tracks: whether the lines have tracks, too.
    """

    def __init__(self, sink: Sink, classes: tuple[str, ...], *, has_tracks: bool) -> None:
        self.is_gone = False
        self._sink = sink
        self._classes = classes
        self._has_tracks = has_tracks

    def add(self, place: Path, frame: FrameDetections, tracks: np.ndarray) -> None:
        """Write what was found in one window or picture.

        Args:
            place: name of the recording.
            frame: what was found.
            tracks: at its end, (N,) ``TRACKED_BOX``.

        Raises:
            InputError: if it cannot be written, unless the reader is gone.
        """
        line = {
            "recording": place.as_posix(),
            "start_us": int(frame.start_us),
            "end_us": int(frame.end_us),
            "boxes": self._boxes(frame.boxes),
        }
        if self._has_tracks:
            line["tracks"] = self._boxes(tracks, "track_id")
        self._write(json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n")

    def _boxes(self, rows: np.ndarray, *more: str) -> list[dict[str, Any]]:
        """Rows with the fields of ``EVENT_BBOX``, with more fields of theirs; without rows of no finite numbers."""
        xyxy = corners(rows)
        rows = rows[np.isfinite(xyxy).all(axis=1) & np.isfinite(rows["class_confidence"])]
        columns = {
            "xyxy": (np.round(corners(rows), PIXEL_DIGITS) + 0.0).tolist(),  # as -0 is 0
            "label": [self._classes[label] for label in rows["class_id"].tolist()],
            "score": np.round(rows["class_confidence"].astype(np.float64), SCORE_DIGITS).tolist(),
            **{name: rows[name].tolist() for name in more},
        }
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest and not self.is_gone:
                rest = rest[self._sink.write(rest) or 0 :]  # a pipe may take a part
        except BrokenPipeError:
            self.is_gone = True
        except OSError as error:
            raise InputError(f"the standard output cannot be written: {error.strerror or error}.") from error
