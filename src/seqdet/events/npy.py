"""Read npy and npz without loading them whole, and write npz.

An array has rows with the fields of an event, or is (N, 4) with columns t, x, y, p. An npz has four arrays, one for
each column, or one such array, and may have ``size_hw``, height and width. Names as in ``rows.NAMES``. Nothing is
unpickled.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from math import inf, isfinite
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ..checks import InputError
from ..files import replacing
from ..npy_files import Header, read_header
from .array import COLUMNS, Events
from .rows import Pieces, column_names, sound_events, time_unit_us
from .sieve import LARGEST, Sieve, check_inside

ROWS = 1 << 17  # of a piece
MOST_ROW_BYTES = 256
FORMAT_VERSION = 1
ZIP_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)  # what reading a damaged member raises


class _Stream(NamedTuple):
    """Rows that follow each other in a file."""

    open: Callable[[ExitStack], IO[bytes]]
    skip: int  # bytes before the first row
    dtype: np.dtype
    fields: dict[str, str]  # our name of a column: the field of ``dtype``
    rows: int  # that the header claims


def npy_pieces(path: Path) -> RowPieces:
    """Reads an npy file, from any of its rows on. Raises InputError if it holds no events."""
    return RowPieces(_streams(path, lambda stack: stack.enter_context(path.open("rb"))))


def npz_pieces(path: Path) -> tuple[Pieces, tuple[int, int] | None]:
    """Reads an npz file; and height and width, if it says them. Raises InputError if it holds no events."""
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        size_hw = _read_size(archive) if "size_hw" in members else None

    def opener(name: str) -> Callable[[ExitStack], IO[bytes]]:
        return lambda stack: stack.enter_context(stack.enter_context(zipfile.ZipFile(path)).open(members[name]))

    names = column_names(members)
    arrays = [name for name in members if name not in ("size_hw", "format_version")]
    if names:
        streams = [stream for our, name in names.items() for stream in _streams(path, opener(name), our)]
        return RowPieces(streams).all, size_hw
    if len(arrays) == 1:
        return RowPieces(_streams(path, opener(arrays[0]))).all, size_hw
    raise InputError(f"{path} must hold arrays t, x, y, p or one array of events, got {', '.join(arrays[:9])}.")


def _read_size(archive: zipfile.ZipFile) -> tuple[int, int] | None:
    with archive.open("size_hw.npy") as file:
        size = np.frombuffer(file.read(4096)[-16:], "<i8")
    return (int(size[0]), int(size[1])) if len(size) == 2 and size.min() > 0 and size.max() <= LARGEST else None


def _read_header(path: Path, file: IO[bytes]) -> Header:
    try:
        return read_header(file)
    except ValueError as error:
        raise InputError(f"{path} must be a sound npy file: {error}.") from error


def _streams(path: Path, opener: Callable[[ExitStack], IO[bytes]], only: str | None = None) -> list[_Stream]:
    """How to read one array; ``only``: it is that column alone."""
    with ExitStack() as stack:
        shape, is_fortran, dtype, begin = _read_header(path, opener(stack))
    is_number, fields = dtype.kind in "iufb", column_names(dtype.names or ())
    if only and is_number and len(shape) == 1:
        return [_Stream(opener, begin, np.dtype([(only, dtype)]), {only: only}, shape[0])]
    if not only and is_number and len(shape) == 2 and shape[1] == 4:
        if not is_fortran:
            rows = np.dtype([(name, dtype) for name in "txyp"])
            return [_Stream(opener, begin, rows, {name: name for name in "txyp"}, shape[0])]
        starts = {name: begin + place * shape[0] * dtype.itemsize for place, name in enumerate("txyp")}
        return [_Stream(opener, at, np.dtype([(name, dtype)]), {name: name}, shape[0]) for name, at in starts.items()]
    has_numbers = bool(fields) and all(dtype[name].kind in "iufb" for name in fields.values())
    if not only and has_numbers and len(shape) == 1 and dtype.itemsize <= MOST_ROW_BYTES:
        return [_Stream(opener, begin, dtype, fields, shape[0])]
    raise InputError(
        f"{path} must hold columns t, x, y, p of numbers, rows with these fields or an array (N, 4), "
        f"got {only or 'an array'} {shape} of {dtype}."
    )


class RowPieces:
    """Pieces of ``ROWS`` rows of streams of rows. ``count``: how many there are by the headers."""

    def __init__(self, streams: list[_Stream]) -> None:
        self._streams, self._rows = streams, min(stream.rows for stream in streams)
        self.count = max(-(-self._rows // ROWS), 1)

    def all(self, sieve: Sieve) -> Iterator[Events]:
        """Every piece."""
        return self.read(0, sieve)

    def read(self, first: int, sieve: Sieve) -> Iterator[Events]:
        """The events from piece number ``first`` on."""
        unit_us, read = (self._unit_us() if first else 0), first * ROWS
        for fields in self._fields(read):
            unit_us = unit_us or time_unit_us(fields["t"])
            read += len(fields["t"])
            yield sound_events(fields, unit_us, sieve)
        sieve.drop("rows missing at the end of the file", max(stream.rows for stream in self._streams) - read)

    def first_time_us(self, number: int) -> float:
        """The time in the first row of a piece, whatever it is; of a missing row, one after all others."""
        for fields in self._fields(number * ROWS, 1):
            time = float(fields["t"][0]) * self._unit_us()
            return time if isfinite(time) else inf
        return inf

    def _unit_us(self) -> int:
        return next((time_unit_us(fields["t"]) for fields in self._fields(0)), 1)

    def _fields(self, row: int, most: int = ROWS) -> Iterator[dict[str, np.ndarray]]:
        """Columns of equal length from a row on, until a stream ends or is damaged."""
        left = self._rows - row
        with ExitStack() as stack:
            try:
                files = [stream.open(stack) for stream in self._streams]
                for file, stream in zip(files, self._streams, strict=True):
                    file.seek(stream.skip + row * stream.dtype.itemsize)
            except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError):
                return
            while left > 0:
                fields: dict[str, np.ndarray] = {}
                wanted = min(most, left)
                for file, stream in zip(files, self._streams, strict=True):
                    try:
                        content = file.read(wanted * stream.dtype.itemsize)
                    except ZIP_DAMAGE:
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
