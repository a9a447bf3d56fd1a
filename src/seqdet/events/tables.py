"""Recordings as tables of numbers: npy, npz and records of N-MNIST, read without loading them whole; npz is written.

An array has rows with the fields of an event, or is (N, 4) or (4, N) with columns t, x, y, p. An npz has four arrays,
one for each column, or one such array, and may have ``size_hw``, height and width. Names as in ``rows.NAMES``. Without
names another order of the columns is found where but one makes sense, see ``rows``. Nothing is unpickled.
"""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ..checks import LARGEST_SIDE, InputError
from ..files import NpyHeader, read_npy_header, replacing
from .array import COLUMNS, Events
from .reading import AS_IT_IS, PieceRecording, ReadOptions, Starts, records_of
from .rows import PLAIN, USUAL_ORDER, column_names, find_meaning, find_order, order_note, sound_events
from .sieve import Sieve, check_inside
from .time_units import Unit

ZIP_DAMAGE = (
    *(EOFError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error),
    *(UnicodeDecodeError, RuntimeError, NotImplementedError),
)
"""What Python raises on a damaged zip or gzip, beside OSError."""
DAMAGE = (OSError, *ZIP_DAMAGE)
"""What reading a damaged table raises."""
RECORD = np.dtype((np.uint8, 5))
LOOKED_AT = 1 << 12  # records that tell whether they are some
MOST = 0.9  # the share of them that has to
OVERFLOW_Y, OVERFLOW_US = 240, 1 << 13
ROWS = 1 << 17  # of a piece
MOST_ROW_BYTES = 256
FORMAT_VERSION = 1


@contextmanager
def readable_table(path: Path) -> Iterator[None]:
    """Raise ``InputError`` where the block cannot read a table of events."""
    try:
        yield
    except InputError:
        raise
    except (*DAMAGE, ValueError, KeyError) as error:
        raise InputError(f"{path} must be a readable table of events: {error}.") from error


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


class _Stream(NamedTuple):
    """Rows that follow each other in a file."""

    open: Callable[[ExitStack], IO[bytes]]
    skip: int  # bytes before the first row
    dtype: np.dtype
    fields: dict[str, str]  # our name of a column: the field of ``dtype``
    rows: int  # that the header claims
    is_unnamed: bool = False  # and its fields are named by their places


def is_npy(path: Path) -> bool:
    """Whether the file begins as npy does."""
    return _begins(path, b"\x93NUMPY")


def open_npy(path: Path, options: ReadOptions = AS_IT_IS) -> PieceRecording:
    """A recording in an npy file, which is read from any of its rows on.

    Raises:
        InputError: if ``path`` cannot be read or holds no events, or the meaning of its columns cannot be told.
    """
    with readable_table(path):
        streams = _streams(path, lambda stack: stack.enter_context(path.open("rb")))
        rows = RowPieces(path, streams, options.time_unit)
    starts = Starts(rows.count, rows.first_time_us)
    return PieceRecording(path, options, format="npy", pieces=rows.read, meaning=rows.meaning, starts=starts)


def is_npz(path: Path) -> bool:
    """Whether the file begins as a zip does."""
    return _begins(path, b"PK")


def open_npz(path: Path, options: ReadOptions = AS_IT_IS) -> PieceRecording:
    """A recording in an npz file, whose rows are found by reading those before.

    Raises:
        InputError: as ``open_npy``.
    """
    with readable_table(path):
        rows, size_hw = _npz_pieces(path, options.time_unit)
    return PieceRecording(path, options, format="npz", pieces=rows.read, size_hw=size_hw, meaning=rows.meaning)


def _npz_pieces(path: Path, time_unit: Unit | None) -> tuple[RowPieces, tuple[int, int] | None]:
    """Reads the events of a file; and height and width of the sensor, if it says them."""
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        size_hw = _read_size(archive) if "size_hw" in members else None

    def opener(name: str) -> Callable[[ExitStack], IO[bytes]]:
        return lambda stack: stack.enter_context(stack.enter_context(zipfile.ZipFile(path)).open(members[name]))

    names = column_names(members)
    arrays = [name for name in members if name not in ("size_hw", "format_version")]
    if names:
        streams = [stream for our, name in names.items() for stream in _streams(path, opener(name), our)]
        return RowPieces(path, streams, time_unit, time_name=names["t"]), size_hw
    if len(arrays) == 1:
        return RowPieces(path, _streams(path, opener(arrays[0])), time_unit), size_hw
    raise InputError(f"{path} must hold arrays t, x, y, p or one array of events, got {', '.join(arrays[:9])}.")


def _read_size(archive: zipfile.ZipFile) -> tuple[int, int] | None:
    with archive.open("size_hw.npy") as file:
        size = np.frombuffer(file.read(4096)[-16:], "<i8")
    return (int(size[0]), int(size[1])) if len(size) == 2 and size.min() > 0 and size.max() <= LARGEST_SIDE else None


def _read_header(path: Path, file: IO[bytes]) -> NpyHeader:
    try:
        return read_npy_header(file)
    except ValueError as error:
        raise InputError(f"{path} must be a sound npy file: {error}.") from error


def _streams(path: Path, opener: Callable[[ExitStack], IO[bytes]], only: str | None = None) -> list[_Stream]:
    """How to read one array; ``only``: it is that column alone."""
    with ExitStack() as stack:
        shape, is_fortran, dtype, begin = _read_header(path, opener(stack))
    is_number = dtype.kind in "iufb"
    fields = column_names(dtype.names or ())
    if only and is_number and len(shape) == 1:
        return [_Stream(opener, begin, np.dtype([(only, dtype)]), {only: only}, shape[0])]
    if not only and is_number and len(shape) == 2 and 4 in shape:
        is_across = shape[1] != 4
        count = shape[1 if is_across else 0]
        if is_across == is_fortran:
            rows = np.dtype([(name, dtype) for name in USUAL_ORDER])
            return [_Stream(opener, begin, rows, {name: name for name in USUAL_ORDER}, count, is_unnamed=True)]
        starts = {name: begin + place * count * dtype.itemsize for place, name in enumerate(USUAL_ORDER)}
        return [
            _Stream(opener, at, np.dtype([(name, dtype)]), {name: name}, count, is_unnamed=True)
            for name, at in starts.items()
        ]
    has_numbers = bool(fields) and all(dtype[name].kind in "iufb" for name in fields.values())
    if not only and has_numbers and len(shape) == 1 and dtype.itemsize <= MOST_ROW_BYTES:
        return [_Stream(opener, begin, dtype, fields, shape[0])]
    raise InputError(
        f"{path} must hold columns t, x, y, p of numbers, rows with these fields or an array (N, 4) or (4, N), "
        f"got {only or 'an array'} {shape} of {dtype}."
    )


class RowPieces:
    """Pieces of ``ROWS`` rows of streams of rows.

    count: how many there are by the headers. meaning: of the numbers in them.

    Args:
        path: of the file, for messages.
        streams: the rows; of an array without names their columns are named by their places, as those of t x y p.
        time_unit: as the user states it.
        time_name: what the column of the times is called, where that is not the name of a field.

    Raises:
        InputError: if the meaning of the columns cannot be told.
    """

    def __init__(
        self,
        path: Path,
        streams: list[_Stream],
        time_unit: Unit | None = None,
        *,
        time_name: str = "",
    ) -> None:
        self._streams = streams
        self._rows = min(stream.rows for stream in streams)
        self.count = max(-(-self._rows // ROWS), 1)
        later = self._fields(0)
        sample = next(later, None)
        note = ""
        if sample is not None and any(stream.is_unnamed for stream in streams):
            order = find_order(np.stack([sample[name] for name in USUAL_ORDER], axis=1), path)
            ours = dict(zip(USUAL_ORDER, order, strict=True))
            note = order_note(order)
            self._streams = [
                each._replace(fields={ours[name]: field for name, field in each.fields.items()}) for each in streams
            ]
            sample = {ours[name]: column for name, column in sample.items()}
            later = ({ours[name]: column for name, column in each.items()} for each in later)
        time_name = time_name or next((each.fields["t"] for each in self._streams if "t" in each.fields), "")
        self.meaning = PLAIN
        if sample is not None:
            named = "" if note else time_name
            self.meaning = find_meaning(sample, path, later=later, time_name=named, time_unit=time_unit, note=note)

    def read(self, first: int, sieve: Sieve) -> Iterator[Events]:
        """The events from piece number ``first`` on."""
        read = first * ROWS
        for fields in self._fields(read):
            read += len(fields["t"])
            yield sound_events(fields, self.meaning, sieve)
        sieve.drop("rows missing at the end of the file", max(stream.rows for stream in self._streams) - read)

    def first_time_us(self, number: int) -> float:
        """The time in the first row of a piece, whatever it is; of a missing row, one after all others."""
        unit = self.meaning.unit
        for fields in self._fields(number * ROWS, 1):
            t = fields["t"][:1]
            return int(unit.to_us(t)[0]) if abs(float(t[0])) <= unit.limit else inf
        return inf

    def _fields(self, row: int, most: int = ROWS) -> Iterator[dict[str, np.ndarray]]:
        """Columns of equal length from a row on, until a stream ends or is damaged."""
        left = self._rows - row
        with ExitStack() as stack:
            try:
                files = [stream.open(stack) for stream in self._streams]
                for file, stream in zip(files, self._streams, strict=True):
                    file.seek(stream.skip + row * stream.dtype.itemsize)
            except (*ZIP_DAMAGE, ValueError):
                return
            while left > 0:
                fields: dict[str, np.ndarray] = {}
                wanted = min(most, left)
                for file, stream in zip(files, self._streams, strict=True):
                    try:
                        content = file.read(wanted * stream.dtype.itemsize)
                    except DAMAGE:
                        return
                    rows = np.frombuffer(content, stream.dtype, len(content) // stream.dtype.itemsize)
                    fields |= {name: rows[field] for name, field in stream.fields.items()}
                count = min(map(len, fields.values()))
                if not count:
                    return
                yield {name: column[:count] for name, column in fields.items()}
                left = left - count if count == wanted else 0


def write_npz(path: Path | str, chunks: Iterable[Events], *, size_hw: tuple[int, int]) -> None:
    """Write events as they come: arrays t, x, y, p, ``size_hw`` and ``format_version``, not compressed.

    Columns wait in temporary files beside ``path``: twice the space is needed for a while.

    Args:
        path: of the new file.
        chunks: events on the sensor.
        size_hw: height and width of the sensor in pixels.

    Raises:
        InputError: if an event lies outside the sensor, or as ``replacing`` does.
    """
    with replacing(path) as temporary, ExitStack() as stack:
        folder = temporary.parent if temporary.parent.is_dir() else None
        columns = {name: stack.enter_context(tempfile.TemporaryFile(dir=folder)) for name in COLUMNS}
        count = 0
        for events in chunks:
            check_inside(events, size_hw)
            count += len(events)
            for name, file in columns.items():
                file.write(getattr(events, name).data)
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, file in columns.items():
                file.seek(0)
                _write_member(archive, name, COLUMNS[name], (count,), file)
            for name, value in (("size_hw", size_hw), ("format_version", (FORMAT_VERSION,))):
                array = np.array(value, "<i8")
                _write_member(archive, name, array.dtype, array.shape, io.BytesIO(array.tobytes()))


def _write_member(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...], content: IO[bytes]
) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        shutil.copyfileobj(content, member, 1 << 20)


def _are_records(records: np.ndarray) -> bool:
    """Whether the first records have rows that sensors of that format have, and rising times."""
    t = (records[:, 2] & 0x7F).astype(np.int64) << 16 | records[:, 3].astype(np.int64) << 8 | records[:, 4]
    is_overflow = records[:, 1] == OVERFLOW_Y
    t += OVERFLOW_US * np.cumsum(is_overflow)
    steps = np.diff(t[~is_overflow])
    return bool((records[:, 1] <= OVERFLOW_Y).mean() >= MOST and (not len(steps) or (steps >= 0).mean() >= MOST))


def is_nmnist(path: Path) -> bool:
    """Whether the name of the file ends as those of N-MNIST do."""
    return path.suffix.lower() == ".bin"


def open_nmnist(path: Path, options: ReadOptions = AS_IT_IS) -> PieceRecording:
    """A recording in the 5-byte records of N-MNIST and N-Caltech101.

    A record is x, y, and 3 bytes, big endian: p << 23 | microseconds. One with y = 240 is no event: 8192 us are to be
    added to all times after it. Source: https://www.garrickorchard.com/datasets/n-mnist.

    Raises:
        InputError: if the file does not hold such records.
    """
    with readable_table(path), path.open("rb") as file:
        if path.stat().st_size < RECORD.itemsize:
            raise InputError(f"{path} must hold records of {RECORD.itemsize} bytes, got {path.stat().st_size} bytes.")
        if not _are_records(next(records_of(file, RECORD, Sieve(path, None, strict=False), LOOKED_AT))):
            raise InputError(
                f"{path} must hold records as N-MNIST has them, as its name ends in .bin: x, y and 3 bytes of polarity "
                "and time, and its times do not rise. If it is of another format, name it by the ending of that."
            )

    def pieces(_: int, sieve: Sieve) -> Iterator[Events]:
        overflow_us = 0
        with path.open("rb") as file:
            for records in records_of(file, RECORD, sieve):
                is_overflow = records[:, 1] == OVERFLOW_Y
                x, y, high, middle, low = records.T.astype(np.int64)
                t = (high & 0x7F) << 16 | middle << 8 | low
                t += overflow_us + OVERFLOW_US * np.cumsum(is_overflow)
                overflow_us += OVERFLOW_US * int(is_overflow.sum())
                events = Events(t, x.astype(np.uint16), y.astype(np.uint16), (high >> 7).astype(np.uint8))
                yield events[~is_overflow]

    return PieceRecording(path, options, format="N-MNIST", pieces=pieces)
