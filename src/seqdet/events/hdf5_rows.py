"""Rows of an HDF5 file that are really there: a file may claim more than it holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..checks import InputError
from . import ecf
from .hdf5_files import check_filters, filters, find

ROWS = 1 << 17  # of a piece, unless the chunks of the file are longer
MOST_ROWS = 1 << 24  # of a chunk of the file: it is read as a whole
ECF_TABLE = "CD/events"  # the only one that the codec is for


class Rows:
    """Integer columns of equal length: fields of one table, or data sets side by side.

    starts, stops: (N,) int64, the rows of each piece, rising; what lies between two pieces is missing in the file.
    missing: the number of rows that the file claims and does not hold.

    Args:
        path: of the file.
        group: where the table or the data sets are.
        names: of the columns, with blanks between them.
        table: the name of the table; None for data sets side by side.

    Raises:
        InputError: if a column is missing or does not hold integers, or the data cannot be read in pieces.
    """

    def __init__(self, path: Path, group: h5py.Group, names: str, *, table: str | None = None) -> None:
        self._names = names.split()
        found = [find(group, name) for name in ([table] if table else self._names)]
        self._parts = [part for part in found if isinstance(part, h5py.Dataset) and part.ndim == 1]
        if table:
            fields = [(self._parts[0].dtype.fields or {}).get(name) for name in self._names] if self._parts else []
            dtypes = [field[0] for field in fields if field]
        else:
            dtypes = [part.dtype for part in self._parts]
        if len(dtypes) < len(self._names) or any(dtype.kind not in "iub" for dtype in dtypes):
            where = f"the table {table}" if table else f"the group {group.name}"
            raise InputError(f"{path} must have columns {names} of integers in {where}; it is no such recording.")
        self.is_ecf = table == ECF_TABLE and _is_ecf(self._parts[0], path)
        self._step = step = max((part.chunks[0] for part in self._parts if part.chunks), default=1)
        for part in () if self.is_ecf else self._parts:
            check_filters(part, path)
        if step > MOST_ROWS:
            raise InputError(f"{path} must have chunks of at most {MOST_ROWS} rows, got {step}; try h5repack.")
        length, file_bytes = min(len(part) for part in self._parts), path.stat().st_size
        runs = _common([_stored(part, length, file_bytes) for part in self._parts])
        self.missing = max(len(part) for part in self._parts) - int((runs[:, 1] - runs[:, 0]).sum())
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
        if len(self._parts) == 1:
            rows = self._parts[0][start:stop]
            return {name: rows[name] for name in self._names}
        return {name: part[start:stop] for name, part in zip(self._names, self._parts, strict=True)}

    def _read_ecf(self, start: int, stop: int) -> dict[str, np.ndarray]:
        part, first = self._parts[0], start - start % self._step
        mask, content = part.id.read_direct_chunk((first,))
        if mask:  # the filter was skipped: rows as they are
            rows: Any = np.frombuffer(content, part.dtype)[start - first : stop - first]
            return {name: rows[name] for name in self._names}
        events = ecf.decode(content)
        if not stop - first <= len(events) <= self._step:
            raise InputError(f"an ECF chunk must have {stop - first} to {self._step} events, got {len(events)}.")
        return {name: getattr(events, name)[start - first : stop - first] for name in self._names}


def _is_ecf(dataset: h5py.Dataset, path: Path) -> bool:
    found = [number for number, _ in filters(dataset)]
    if ecf.FILTER in found and len(found) > 1:
        raise InputError(f"{path} must be compressed by ECF alone, got the HDF5 filters {found}.")
    return ecf.FILTER in found


def _stored(dataset: h5py.Dataset, length: int, file_bytes: int) -> np.ndarray:
    """(N, 2) int64, rising: the first row and the row after the last of each run that lies in the file."""
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.COMPACT:
        return np.array([[0, length]])
    if layout == h5py.h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        rows = 0 if offset is None else max(file_bytes - offset, 0) // dataset.dtype.itemsize
        return np.array([[0, min(rows, length)]])
    step, found = (dataset.chunks or (1,))[0], []
    dataset.id.chunk_iter(found.append)
    if not properties.get_nfilters():  # the HDF5 library reads beyond a chunk of another size
        found = [each for each in found if each.size == step * dataset.dtype.itemsize]
    inside = [each.chunk_offset[0] for each in found if each.byte_offset + each.size <= file_bytes]
    starts = np.unique(np.array([start for start in inside if start < length], np.int64))
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
