"""The files of ``seqdet predict``: they grow with the work, and are whole whenever it ends. Without torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import TracebackType

import numpy as np

from ..checks import InputError
from ..data.detections import TRACKED_BOX
from ..data.labels import EVENT_BBOX, LABEL_SUFFIX, TEXT_COLUMNS
from ..evaluation.files import KIND_ENDINGS, TEXTS
from ..files import make_folder, make_way

TRACK_COLUMNS = (*TEXT_COLUMNS, "tracking_confidence", "last_detection_update_time", "nb_detections")
"""Of lines of text, between spaces, without a line of names: the order of the Metavision SDK."""
RESULTS = tuple(KIND_ENDINGS)
RESULT_FOLDERS = (*RESULTS, TEXTS, "videos")
"""Those that hold results."""
FLUSH_S = 1.0
"""What is older than this can be read from the files."""


class GrowingNpy:
    """An npy file (N,) to which rows are added; its header counts those that are surely there: it is always whole."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.path = path
        self._dtype = dtype
        self._count = 0
        self._file = make_way(path).open("xb")
        self.flush()

    def add(self, rows: np.ndarray) -> None:
        """Append rows, which have the fields of the file."""
        written = np.zeros(len(rows), self._dtype)  # also between the fields, where a copy of rows has anything
        for name in self._dtype.names or ():
            written[name] = rows[name]
        self._file.write(written.tobytes())
        self._count += len(rows)

    def flush(self) -> None:
        """Have what was added on the disk, and then counted."""
        self._file.flush()
        self._write_header()
        self._file.flush()
        self._file.seek(0, 2)

    def close(self) -> None:
        """Flush and close; the file is closed even if it cannot be flushed."""
        with self._file:
            self.flush()

    def _write_header(self) -> None:
        """Over the one before: numpy leaves room in it for a number of any length."""
        self._file.seek(0)
        header = np.lib.format.header_data_from_array_1_0(np.zeros(0, self._dtype))
        np.lib.format.write_array_header_1_0(self._file, {**header, "shape": (self._count,)})


class GrowingText:
    """A text file with one line for each row: the given fields, numbers as short as they can be told apart."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path = path
        self._columns = columns
        self._file = make_way(path).open("x", encoding="ascii")

    def add(self, rows: np.ndarray) -> None:
        """Append a line for each row."""
        words = [rows[name].astype(str) for name in self._columns]
        self._file.writelines(" ".join(line) + "\n" for line in zip(*words, strict=True))

    def flush(self) -> None:
        """Have what was added on the disk."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


def results(folder: Path, place: Path) -> list[Path]:
    """The files of one recording in a folder of results: those that there may be."""
    suffixes = LABEL_SUFFIX, "_tracks.npy"
    tables = [
        (folder / kind / f"{place}{suffix}", folder / TEXTS / f"{place}{ending}.csv")
        for (kind, ending), suffix in zip(KIND_ENDINGS.items(), suffixes, strict=True)
    ]
    return [*chain.from_iterable(tables), folder / "videos" / f"{place}.mp4"]


class ResultFiles:
    """The files of one recording in a folder of results, over those that were there.

    detections/NAME_bbox.npy (N,) ``EVENT_BBOX`` and csv/NAME_detections.csv; with tracks also tracks/NAME_tracks.npy
    (N,) ``TRACKED_BOX`` and csv/NAME_tracks.csv. Whenever the work ends, and however, the npy files hold all rows but
    those of the last second, and of a work that is stopped or fails all rows.

    Raises:
        InputError: if a file cannot be written, here or later.
    """

    def __init__(self, folder: Path, place: Path, *, has_tracks: bool) -> None:
        self._tables: list[list[GrowingNpy | GrowingText]] = [[], []] if has_tracks else [[]]
        self._flushed_s = time.monotonic()
        detections, detections_text, tracks, tracks_text, video = results(folder, place)
        tables = [
            (detections, EVENT_BBOX, detections_text, TEXT_COLUMNS),
            (tracks, TRACKED_BOX, tracks_text, TRACK_COLUMNS),
        ]
        for array, _, text, _ in tables[: len(self._tables)]:
            make_folder(array.parent)
            make_folder(text.parent)
        stale = [video] if has_tracks else [video, tracks, tracks_text]
        for path in stale:  # those of an earlier work do not belong to these detections
            with _writing(path):
                path.unlink(missing_ok=True)
        try:
            for files, (array, dtype, text, columns) in zip(self._tables, tables, strict=False):
                with _writing(array):
                    files.append(GrowingNpy(array, dtype))
                with _writing(text):
                    files.append(GrowingText(text, columns))
        except InputError:
            self._close()
            raise

    def __enter__(self) -> ResultFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        failed = self._close()
        if failed and error is None:
            raise failed[0]

    def add(self, *tables: np.ndarray) -> None:
        """Append detections and, if there are tracks, tracks."""
        for rows, files in zip(tables, self._tables, strict=True):
            for file in files:
                with _writing(file.path):
                    file.add(rows)
        self.settle()

    def settle(self) -> None:
        """Have on the disk what was not for ``FLUSH_S``; called often, also where nothing is added for long."""
        if time.monotonic() <= self._flushed_s + FLUSH_S:
            return
        for file in (file for files in self._tables for file in files):
            with _writing(file.path):
                file.flush()
        self._flushed_s = time.monotonic()

    def _close(self) -> list[InputError]:
        """Close all files; what was wrong with some."""
        failed = []
        for file in (file for files in self._tables for file in files):
            try:
                with _writing(file.path):
                    file.close()
            except InputError as error:
                failed.append(error)
        return failed


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
