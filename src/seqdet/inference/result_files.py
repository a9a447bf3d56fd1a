"""The files of ``seqdet predict``: they grow with the work, and are whole whenever it ends. Without torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
MOT_COLUMNS = ("track_id", "x", "y", "w", "h", "class_confidence")
"""Of lines of MOTChallenge, behind the number of the frame."""
NO_PLACE = ("-1", "-1", "-1")
"""At the end of these lines: where it is in space, which nobody knows."""
RESULTS = tuple(KIND_ENDINGS)
MOT = "mot"
VIDEOS = "videos"
RESULT_FOLDERS = (*RESULTS, TEXTS, MOT, VIDEOS)
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
        self._file.writelines(" ".join(line) + "\n" for line in self._words(rows))

    def _words(self, rows: np.ndarray) -> Iterator[tuple[str, ...]]:
        """The fields of each row."""
        return zip(*(rows[name].astype(str).tolist() for name in self._columns), strict=True)

    def flush(self) -> None:
        """Have what was added on the disk."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


class GrowingMot(GrowingText):
    """Tracks as text of MOTChallenge: frame, id, left, top, width, height, score, -1, -1, -1, between commas.

    Corners are as in the other files, where the first pixel goes from 0 to 1.
    Source: https://motchallenge.net/instructions
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, MOT_COLUMNS)
        self._frame = 0

    def add(self, rows: np.ndarray) -> None:
        """Append a line for each track at the next frame; the first is 1."""
        self._frame += 1
        self._file.writelines(",".join((str(self._frame), *line, *NO_PLACE)) + "\n" for line in self._words(rows))


def results(folder: Path, place: Path) -> list[Path]:
    """The files of one recording in a folder of results: those that there may be."""
    suffixes = LABEL_SUFFIX, "_tracks.npy"
    tables = [
        (folder / kind / f"{place}{suffix}", folder / TEXTS / f"{place}{ending}.csv")
        for (kind, ending), suffix in zip(KIND_ENDINGS.items(), suffixes, strict=True)
    ]
    return [*chain.from_iterable(tables), folder / MOT / f"{place}.txt", folder / VIDEOS / f"{place}.mp4"]


class ResultFiles:
    """The files of one recording in a folder of results, over those that were there.

    detections/NAME_bbox.npy (N,) ``EVENT_BBOX`` and csv/NAME_detections.csv; with tracks also tracks/NAME_tracks.npy
    (N,) ``TRACKED_BOX``, csv/NAME_tracks.csv and mot/NAME.txt. Whenever the work ends, and however, the npy files hold
    all rows but those of the last second, and of a work that is stopped or fails all rows.

    Raises:
        InputError: if a file cannot be written, here or later.
    """

    def __init__(self, folder: Path, place: Path, *, has_tracks: bool) -> None:
        self._tables: list[list[GrowingNpy | GrowingText]] = []
        self._flushed_s = time.monotonic()
        detections, detections_text, tracks, tracks_text, mot, video = results(folder, place)
        wanted = [detections, detections_text, *((tracks, tracks_text, mot) if has_tracks else ())]
        for path in wanted:
            make_folder(path.parent)
        stale = [video] if has_tracks else [video, tracks, tracks_text, mot]
        for path in stale:  # those of an earlier work do not belong to these detections
            with _writing(path):
                path.unlink(missing_ok=True)
        try:
            self._add_table(
                (detections, partial(GrowingNpy, dtype=EVENT_BBOX)),
                (detections_text, partial(GrowingText, columns=TEXT_COLUMNS)),
            )
            if has_tracks:
                self._add_table(
                    (tracks, partial(GrowingNpy, dtype=TRACKED_BOX)),
                    (tracks_text, partial(GrowingText, columns=TRACK_COLUMNS)),
                )
                self._add_table((mot, GrowingMot))
        except InputError:
            self._close()
            raise

    def _add_table(self, *files: tuple[Path, Callable[[Path], GrowingNpy | GrowingText]]) -> None:
        """Open the files in which the same rows are written."""
        self._tables.append([])
        for path, opened in files:
            with _writing(path):
                self._tables[-1].append(opened(path))

    def __enter__(self) -> ResultFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        failed = self._close()
        if failed and error is None:
            raise failed[0]

    def add(self, *tables: np.ndarray) -> None:
        """Append the detections of a window or picture; with tracks those up to its end, and those at its end."""
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
