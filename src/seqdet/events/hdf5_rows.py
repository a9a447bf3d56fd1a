"""Rows of an HDF5 file that are really there: a file may claim more than it holds."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..checks import InputError
from . import ecf
from .hdf5_files import check_filters, filters, find

ROWS = 1 << 17  # of a piece, unless the chunks of the file are longer
MOST_ROWS = 1 << 24  # of a chunk of the file: it is read as a whole
ECF_TABLE = "CD/events"  # the only one that the codec is for


class Column(NamedTuple):
    """Where a column is: in a data set, and there a field or the number of a column; None if it is all of it.

    is_across: whether it is a row there, as in an array (4, N).
    """

    dataset: str
    part: str | int | None = None
    is_across: bool = False


class Rows:
    """Columns of numbers of equal length: data sets side by side, or fields or columns of one.

    starts, stops: (N,) int64, the rows of each piece, rising; what lies between two pieces is missing in the file.
    missing: the number of rows that the file claims and does not hold.

    Args:
        path: of the file.
        file: open.
        columns: where they are, by our names of them.
        kinds: of numbers that they may hold, as numpy writes them.

    Raises:
        InputError: if a column is missing or does not hold numbers, or the data cannot be read in pieces.
    """

    def __init__(self, path: Path, file: h5py.File, columns: dict[str, Column], *, kinds: str = "iub") -> None:
        self._columns = columns
        names = dict.fromkeys(column.dataset for column in columns.values())
        found = {name: find(file, name) for name in names}
        self._datasets = {name: part for name, part in found.items() if isinstance(part, h5py.Dataset)}
        if not all(_dtype(self._datasets.get(column.dataset), column).kind in kinds for column in columns.values()):
            numbers = "numbers" if "f" in kinds else "integers"
            wanted = f"columns {' '.join(columns)} of {numbers} in {', '.join(names)}"
            raise InputError(f"{path} must have {wanted}; it is no such recording.")
        parts = list(self._datasets.values())
        self._axes = {column.dataset: int(column.is_across) for column in columns.values()}
        axes = list(self._axes.values())
        self.is_ecf = list(names) == [ECF_TABLE] and _is_ecf(parts[0], path)
        chunks = [part.chunks[axis] for part, axis in zip(parts, axes, strict=True) if part.chunks]
        self._step = step = max(chunks, default=1)
        for part in () if self.is_ecf else parts:
            check_filters(part, path)
        if step > MOST_ROWS:
            raise InputError(f"{path} must have chunks of at most {MOST_ROWS} rows, got {step}; try h5repack.")
        lengths = [part.shape[axis] for part, axis in zip(parts, axes, strict=True)]
        length, file_bytes = min(lengths), path.stat().st_size
        runs = _common([_stored(part, length, file_bytes, axis) for part, axis in zip(parts, axes, strict=True)])
        self.missing = max(lengths) - int((runs[:, 1] - runs[:, 0]).sum())
        size = step if self.is_ecf else max(step, ROWS - ROWS % step)
        grid = [np.arange(start - start % size, stop, size) for start, stop in runs]
        starts = [np.maximum(each, start) for each, (start, _) in zip(grid, runs, strict=True)]
        stops = [np.minimum(each + size, stop) for each, (_, stop) in zip(grid, runs, strict=True)]
        self.starts, self.stops = (np.concatenate([*each, np.zeros(0, np.int64)]) for each in (starts, stops))

    def pieces(self, first: int = 0) -> Iterator[tuple[int, int]]:
        """The bounds of the pieces from number ``first`` on."""
        return zip(self.starts[first:].tolist(), self.stops[first:].tolist(), strict=True)

    def read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """The columns from row ``start`` up to ``stop``; of ECF, both within one chunk.

        Raises:
            DAMAGE: of ``hdf5_files``, one of these, if they cannot be read.
        """
        if self.is_ecf:
            return self._read_ecf(start, stop)
        rows = {
            name: part[:, start:stop].T if self._axes[name] else part[start:stop]
            for name, part in self._datasets.items()
        }
        return {name: _part_of(rows[column.dataset], column) for name, column in self._columns.items()}

    def _read_ecf(self, start: int, stop: int) -> dict[str, np.ndarray]:
        part = next(iter(self._datasets.values()))
        first = start - start % self._step
        mask, content = part.id.read_direct_chunk((first,))
        if mask:  # the filter was skipped: rows as they are
            rows: Any = np.frombuffer(content, part.dtype)[start - first : stop - first]
            return {name: _part_of(rows, column) for name, column in self._columns.items()}
        events = ecf.decode(content)
        if not stop - first <= len(events) <= self._step:
            raise InputError(f"an ECF chunk must have {stop - first} to {self._step} events, got {len(events)}.")
        return {name: getattr(events, name)[start - first : stop - first] for name in self._columns}


def _dtype(dataset: h5py.Dataset | None, column: Column) -> np.dtype:
    """Of the numbers of a column; of one that is missing, one of no numbers."""
    nothing = np.dtype("V")
    if dataset is None or dataset.ndim != (2 if isinstance(column.part, int) else 1):
        return nothing
    if isinstance(column.part, str):
        return (dataset.dtype.fields or {}).get(column.part, (nothing,))[0]
    return dataset.dtype if column.part is None or column.part < dataset.shape[1 - column.is_across] else nothing


def _part_of(rows: np.ndarray, column: Column) -> np.ndarray:
    """A column by itself, so that the rows can go."""
    if column.part is None:
        return rows
    return np.ascontiguousarray(rows[column.part] if isinstance(column.part, str) else rows[:, column.part])


def _is_ecf(dataset: h5py.Dataset, path: Path) -> bool:
    found = [number for number, _ in filters(dataset)]
    if ecf.FILTER in found and len(found) > 1:
        raise InputError(f"{path} must be compressed by ECF alone, got the HDF5 filters {found}.")
    return ecf.FILTER in found


def _stored(dataset: h5py.Dataset, length: int, file_bytes: int, axis: int) -> np.ndarray:
    """(N, 2) int64, rising: the first row and the row after the last of each run that lies in the file.

    Rows are counted along an axis.
    """
    width = dataset.shape[1 - axis] if dataset.ndim == 2 else 1
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.COMPACT:
        return np.array([[0, length]])
    if layout == h5py.h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        numbers = 0 if offset is None else max(file_bytes - offset, 0) // dataset.dtype.itemsize
        rows = max(numbers - (width - 1) * dataset.shape[1], 0) if axis else numbers // width
        return np.array([[0, min(rows, length)]])
    chunk, found = dataset.chunks or (1,), []
    step = chunk[axis]
    beside = -(-width // chunk[1 - axis]) if dataset.ndim == 2 else 1  # so many chunks hold the same rows
    dataset.id.chunk_iter(found.append)
    if not properties.get_nfilters():  # the HDF5 library reads beyond a chunk of another size
        found = [each for each in found if each.size == prod(chunk) * dataset.dtype.itemsize]
    inside = [each.chunk_offset[axis] for each in found if each.byte_offset + each.size <= file_bytes]
    starts, counts = np.unique(np.array([start for start in inside if start < length], np.int64), return_counts=True)
    starts = starts[counts == beside]
    if not len(starts):
        return np.zeros((0, 2), np.int64)
    breaks = np.flatnonzero(np.diff(starts) != step) + 1
    firsts, lasts = np.append(0, breaks), np.append(breaks, len(starts)) - 1
    return np.stack([starts[firsts], np.minimum(starts[lasts] + step, length)], axis=1)


def _common(runs: list[np.ndarray]) -> np.ndarray:
    """The runs of rows that lie in one run of every part."""
    edges = np.concatenate([run.T.reshape(-1) for run in runs])
    change = np.concatenate([np.repeat([1, -1], len(run)) for run in runs])
    order = np.lexsort((change, edges))
    begins = np.flatnonzero(np.cumsum(change[order]) == len(runs))
    return edges[order][begins[:, None] + [0, 1]]
