"""What an HDF5 file that somebody else wrote really holds: it may name other files, and claim more rows than it has.

Rows may be compressed by ECF, HDF5 filter 36559 = 0x8ECF, which is decoded without a native plugin. A chunk of it holds
up to 65535 events, one column after the other; all words are little endian:

* 4 bytes: number of events << 2 | 2 where y, x and p are packed together | 1 where x and p are;
* 8 bytes: the time of the first event; then runs of events of the same time, a byte each: step in time << 4 | count.
  A count of 15 means that the count follows in 2 bytes. A step of 15 makes the low 4 bits part of a longer step, the
  least significant part first, which goes on until a byte with another step;
* y, x, p together: 4 events of 24 bits, y << 12 | x << 1 | p, in three 4-byte words, filled from the top with the low
  bits of the event that comes later in the word; the last group is whole;
* or y in runs, 2 bytes each: y << 5 | count, where a count of 31 means that it follows in 2 bytes; then
  either x and p together: 4 events of 12 bits, x << 1 | p, in three 2-byte words, packed likewise,
  or x in groups, 2 bytes each: x << 5 | five bits that say, from the top, whether x + 1 ... x + 5 come next;
  then p in runs, a byte each: p << 7 | count, where a count of 127 means that it follows in 2 bytes.

Source: https://github.com/prophesee-ai/hdf5_ecf (Apache-2.0).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import hdf5plugin
import numpy as np
from numba import njit

from ..checks import InputError
from .array import COLUMNS, Events

DAMAGE = (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, AttributeError)
"""What h5py raises on a damaged file, and Python where its values are of another kind than they should be."""


def open_hdf5_file(path: Path) -> h5py.File:
    """The file, open for reading, with the filters that hdf5plugin brings.

    Raises:
        InputError: if it holds what the library does not survive.
        OSError: if it cannot be read, or is no whole HDF5 file.
    """
    hdf5plugin.register(force=False)
    check_heaps(path)
    return h5py.File(path, "r", locking="best-effort")


def find(group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group | None:
    """What lies in a group under a name, with slashes between its parts; None if nothing does.

    Raises:
        InputError: if it lies elsewhere: a file may name any file of this machine as a part of its own, which is then
            read, or opened for good if it is a pipe.
    """
    found: h5py.Group | h5py.Dataset | h5py.Datatype = group
    for part in name.split("/"):
        if not isinstance(found, h5py.Group) or (link := found.get(part, getlink=True)) is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f"{group.file.filename} must hold '{name}' itself, and has a link there.")
        found = found[part]
    if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
        raise InputError(f"{group.file.filename} must hold '{name}' itself, and takes it from other files.")
    return found if isinstance(found, h5py.Dataset | h5py.Group) else None


def check_filters(dataset: h5py.Dataset, path: Path) -> None:
    """Raise ``InputError`` if the HDF5 library lacks what a dataset is compressed with."""
    for number, name in filters(dataset):
        if not h5py.h5z.filter_avail(number):
            named = f"{number} ({name})" if name else f"{number}"
            raise InputError(
                f"{path} is compressed with the HDF5 filter {named}, which cannot be loaded. Install it, most by "
                "pip install -U hdf5plugin, or write the file again with gzip or without a filter."
            )


def filters(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    """Number and name of each filter that the chunks of a dataset pass, in the order of writing."""
    properties = dataset.id.get_create_plist()
    found = map(properties.get_filter, range(properties.get_nfilters()))
    return [(number, name.decode(errors="replace")) for number, _, _, name in found]


SEARCHED_BYTES = 1 << 20  # at both ends of a file, where attributes are
_COLLECTION = struct.Struct("<4sB3xQ")  # signature, version, size
_OBJECT = struct.Struct("<HH4xQ")  # index, references, size


def check_heaps(path: Path) -> None:
    """Refuse collections of strings that are free space of size zero: libhdf5 looks for its end for ever.

    That is what zeros in place of a block make of it. Only those are found that are near an end of the file, where
    the strings of attributes are. "Disk Format: Level 1E" in https://docs.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html

    Raises:
        InputError: if there is one.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        for start in {0, max(file.seek(0, 2) - SEARCHED_BYTES, 0)}:
            file.seek(start)
            if _has_endless_heap(file.read(SEARCHED_BYTES)):
                raise InputError(f"{path} must be a sound HDF5 file: its strings are damaged. Copy it again.")


def _has_endless_heap(content: bytes) -> bool:
    start = content.find(b"GCOL")
    while start >= 0 and start + _COLLECTION.size <= len(content):
        _, version, size = _COLLECTION.unpack_from(content, start)
        place, end = start + _COLLECTION.size, min(start + size, len(content))
        while version == 1 and place + _OBJECT.size <= end:
            index, _, length = _OBJECT.unpack_from(content, place)
            step = _OBJECT.size + (length + 7 & ~7) if index else length
            if step & (1 << 64) - 1 == 0:
                return True
            place += step
        start = content.find(b"GCOL", start + 4)
    return False


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
        length = min(lengths)
        file_bytes = path.stat().st_size
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
            DAMAGE: one of these, if they cannot be read.
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
        events = decode_ecf(content)
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
    if ECF_FILTER in found and len(found) > 1:
        raise InputError(f"{path} must be compressed by ECF alone, got the HDF5 filters {found}.")
    return ECF_FILTER in found


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
    chunk = dataset.chunks or (1,)
    found = []
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


ECF_FILTER = 0x8ECF  # the number of the filter in HDF5
MOST_ECF_EVENTS = 65535
_HEADER_BYTES = 12
_LATEST = 1 << 60  # a time beyond this, 36,000 years, is damage
_BROKEN = -1  # where a position in the bytes is expected


def decode_ecf(content: bytes) -> Events:
    """The events of one chunk of ECF, the codec of the vendor's event files, as stored.

    Raises:
        InputError: if the chunk does not end where its columns end, or its header or its times cannot be.
    """
    if len(content) < _HEADER_BYTES:
        raise InputError(f"an ECF chunk must have at least {_HEADER_BYTES} bytes, got {len(content)}; it is damaged.")
    word = int.from_bytes(content[:4], "little")
    first = int.from_bytes(content[4:_HEADER_BYTES], "little", signed=True)
    count = word >> 2
    if count > MOST_ECF_EVENTS or abs(first) > _LATEST:
        raise InputError(
            f"an ECF chunk must have at most {MOST_ECF_EVENTS} events, got {count} from {first} µs; it is damaged."
        )
    t, x, y, p = (np.empty(count, dtype) for dtype in COLUMNS.values())
    end = _decode(np.frombuffer(content, np.uint8), first, bool(word & 2), bool(word & 1), t, x, y, p)
    if end != len(content):
        raise InputError("an ECF chunk must end where its events end; it is damaged.")
    return Events(t, x, y, p)


@njit(cache=True, nogil=True)
def _decode(content, first, yxp_packed, xp_packed, t, x, y, p):
    """Fill the columns; return the position after the last byte used, or ``_BROKEN``."""
    position = _decode_times(content, _HEADER_BYTES, first, t)
    if yxp_packed:
        return _unpack_yxp(content, position, y, x, p)
    position = _decode_runs(content, position, 2, 5, y)
    if xp_packed:
        return _unpack_xp(content, position, x, p)
    position = _decode_groups(content, position, x)
    return _decode_runs(content, position, 1, 7, p)


@njit(cache=True, nogil=True)
def _word(content, position, width):
    """The little-endian number in ``width`` bytes; signed, as numba makes floats of signed and unsigned."""
    word = np.int64(0)
    for byte in range(width):
        word |= np.int64(content[position + byte]) << (8 * byte)
    return word


@njit(cache=True, nogil=True)
def _decode_times(content, position, now, t):
    filled = 0
    while filled < len(t):
        if position >= len(content):
            return _BROKEN
        step, count = np.int64(content[position]) >> 4, np.int64(content[position]) & 15
        position += 1
        shift = 0
        while step == 15:
            if position >= len(content) or shift > 56:
                return _BROKEN
            now += count << shift
            shift += 4
            step, count = np.int64(content[position]) >> 4, np.int64(content[position]) & 15
            position += 1
        now += step
        if count == 15:
            if position + 2 > len(content):
                return _BROKEN
            count = _word(content, position, 2)
            position += 2
        if count > len(t) - filled or now > _LATEST:
            return _BROKEN
        for index in range(filled, filled + count):
            t[index] = now
        filled += count
    return position


@njit(cache=True, nogil=True)
def _decode_runs(content, position, width, count_bits, column):
    """Runs of equal values in words of ``width`` bytes, whose low ``count_bits`` count; all ones: the count follows."""
    if position == _BROKEN:
        return _BROKEN
    escape = (1 << count_bits) - 1
    filled = 0
    while filled < len(column):
        if position + width > len(content):
            return _BROKEN
        word = _word(content, position, width)
        position += width
        count = word & escape
        if count == escape:
            if position + 2 > len(content):
                return _BROKEN
            count = _word(content, position, 2)
            position += 2
        if count > len(column) - filled:
            return _BROKEN
        for index in range(filled, filled + count):
            column[index] = word >> count_bits
        filled += count
    return position


@njit(cache=True, nogil=True)
def _decode_groups(content, position, x):
    """One to six rising values in 2 bytes; bits that reach beyond the last event mean nothing."""
    if position == _BROKEN:
        return _BROKEN
    filled = 0
    while filled < len(x):
        if position + 2 > len(content):
            return _BROKEN
        word = _word(content, position, 2)
        position += 2
        x[filled] = word >> 5
        filled += 1
        for ahead in range(1, 6):
            if word >> (5 - ahead) & 1 and filled < len(x):
                x[filled] = (word >> 5) + ahead
                filled += 1
    return position


@njit(cache=True, nogil=True)
def _unpack_xp(content, position, x, p):
    """Groups of 4 events of 12 bits."""
    end = position + (len(x) + 3) // 4 * 6
    if position == _BROKEN or end > len(content):
        return _BROKEN
    for group in range(0, len(x), 4):
        a, b, c = _word(content, position, 2), _word(content, position + 2, 2), _word(content, position + 4, 2)
        position += 6
        values = (a >> 4, a & 0xF | b >> 8 << 4, b & 0xFF | c >> 12 << 8, c & 0xFFF)
        for slot in range(min(4, len(x) - group)):
            x[group + slot], p[group + slot] = values[slot] >> 1, values[slot] & 1
    return end


@njit(cache=True, nogil=True)
def _unpack_yxp(content, position, y, x, p):
    """Groups of 4 events of 24 bits."""
    end = position + (len(x) + 3) // 4 * 12
    if position == _BROKEN or end > len(content):
        return _BROKEN
    for group in range(0, len(x), 4):
        a, b, c = _word(content, position, 4), _word(content, position + 4, 4), _word(content, position + 8, 4)
        position += 12
        values = (a >> 8, a & 0xFF | b >> 16 << 8, b & 0xFFFF | c >> 24 << 16, c & 0xFFFFFF)
        for slot in range(min(4, len(x) - group)):
            value, index = values[slot], group + slot
            y[index], x[index], p[index] = value >> 12 & 0x7FF, value >> 1 & 0x7FF, value & 1
    return end
