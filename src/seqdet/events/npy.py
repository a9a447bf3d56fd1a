"""Read npy and npz without loading them whole, and write npz.

An array has rows with the fields of an event, or is (N, 4) or (4, N) with columns t, x, y, p. An npz has four arrays,
one for each column, or one such array, and may have ``size_hw``, height and width. Names as in ``rows.NAMES``. Without
names another order of the columns is found where but one makes sense, see ``column_order``. Nothing is unpickled.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..checks import InputError
from ..files import NpyHeader, read_npy_header, replacing
from .array import COLUMNS, Events
from .column_order import USUAL, find_order, order_note
from .packed import DAMAGE
from .rows import Meaning, column_names, find_meaning, sound_events
from .sieve import LARGEST, Sieve, check_inside
from .time_units import Unit

ROWS = 1 << 17  # of a piece
MOST_ROW_BYTES = 256
FORMAT_VERSION = 1
ZIP_DAMAGE = (OSError, *DAMAGE)  # what reading a damaged member raises


class _Stream(NamedTuple):
    """Rows that follow each other in a file."""

    open: Callable[[ExitStack], IO[bytes]]
    skip: int  # bytes before the first row
    dtype: np.dtype
    fields: dict[str, str]  # our name of a column: the field of ``dtype``
    rows: int  # that the header claims
    is_unnamed: bool = False  # and its fields are named by their places


def npy_pieces(path: Path, time_unit: Unit | None = None) -> RowPieces:
    """Reads an npy file, from any of its rows on. ``time_unit``: as the user states it.

    Raises:
        InputError: if it holds no events, or the meaning of its columns cannot be told.
    """
    return RowPieces(path, _streams(path, lambda stack: stack.enter_context(path.open("rb"))), time_unit)


def npz_pieces(path: Path, time_unit: Unit | None = None) -> tuple[RowPieces, tuple[int, int] | None]:
    """Reads an npz file, whose rows are found by reading those before; and height and width, if it says them.

    Raises:
        InputError: as ``npy_pieces``.
    """
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        size_hw = _read_size(archive) if "size_hw" in members else None

    def opener(name: str) -> Callable[[ExitStack], IO[bytes]]:
        return lambda stack: stack.enter_context(stack.enter_context(zipfile.ZipFile(path)).open(members[name]))

    names = column_names(members)
    arrays = [name for name in members if name not in ("size_hw", "format_version")]
    if names:
        streams = [stream for our, name in names.items() for stream in _streams(path, opener(name), our)]
        return RowPieces(path, streams, time_unit, time_name=names["t"], can_seek=False), size_hw
    if len(arrays) == 1:
        return RowPieces(path, _streams(path, opener(arrays[0])), time_unit, can_seek=False), size_hw
    raise InputError(f"{path} must hold arrays t, x, y, p or one array of events, got {', '.join(arrays[:9])}.")


def _read_size(archive: zipfile.ZipFile) -> tuple[int, int] | None:
    with archive.open("size_hw.npy") as file:
        size = np.frombuffer(file.read(4096)[-16:], "<i8")
    return (int(size[0]), int(size[1])) if len(size) == 2 and size.min() > 0 and size.max() <= LARGEST else None


def _read_header(path: Path, file: IO[bytes]) -> NpyHeader:
    try:
        return read_npy_header(file)
    except ValueError as error:
        raise InputError(f"{path} must be a sound npy file: {error}.") from error


def _streams(path: Path, opener: Callable[[ExitStack], IO[bytes]], only: str | None = None) -> list[_Stream]:
    """How to read one array; ``only``: it is that column alone."""
    with ExitStack() as stack:
        shape, is_fortran, dtype, begin = _read_header(path, opener(stack))
    is_number, fields = dtype.kind in "iufb", column_names(dtype.names or ())
    if only and is_number and len(shape) == 1:
        return [_Stream(opener, begin, np.dtype([(only, dtype)]), {only: only}, shape[0])]
    if not only and is_number and len(shape) == 2 and 4 in shape:
        is_across = shape[1] != 4
        count = shape[1 if is_across else 0]
        if is_across == is_fortran:
            rows = np.dtype([(name, dtype) for name in USUAL])
            return [_Stream(opener, begin, rows, {name: name for name in USUAL}, count, is_unnamed=True)]
        starts = {name: begin + place * count * dtype.itemsize for place, name in enumerate(USUAL)}
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

    count: how many there are by the headers. meaning: of the numbers in them. can_seek: whether a row is found without
    reading those before it.

    Args:
        path: of the file, for messages.
        streams: the rows; of an array without names their columns are named by their places, as those of t x y p.
        time_unit: as the user states it.
        time_name: what the column of the times is called, where that is not the name of a field.
        can_seek: see above.

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
        can_seek: bool = True,
    ) -> None:
        self._streams, self._rows = streams, min(stream.rows for stream in streams)
        self.count, self.can_seek = max(-(-self._rows // ROWS), 1), can_seek
        later = self._fields(0)
        sample, note = next(later, None), ""
        if sample is not None and any(stream.is_unnamed for stream in streams):
            order = find_order(np.stack([sample[name] for name in USUAL], axis=1), path)
            ours, note = dict(zip(USUAL, order, strict=True)), order_note(order)
            self._streams = [
                each._replace(fields={ours[name]: field for name, field in each.fields.items()}) for each in streams
            ]
            sample = {ours[name]: column for name, column in sample.items()}
            later = ({ours[name]: column for name, column in each.items()} for each in later)
        time_name = time_name or next((each.fields["t"] for each in self._streams if "t" in each.fields), "")
        options: Any = {"time_name": "" if note else time_name, "time_unit": time_unit, "note": note}
        self.meaning = Meaning() if sample is None else find_meaning(sample, path, later=later, **options)

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
            except (*DAMAGE, ValueError):
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
