"""Recordings in HDF5: the vendor's layout, that of DSEC and RVT, and those of other tools; the vendor's is written too.

The vendor's: ``/CD/events`` and ``/EXT_TRIGGER/events`` are tables with fields x, y, p, t and p, t, id; the root
attribute ``geometry`` is "<width>x<height>". The first table may be compressed with ECF, see ``hdf5_files``. DSEC and
RVT: columns ``/events/x``, ``y``, ``p``, ``t``, with an optional number ``/t_offset`` to add to t, and optional numbers
``/events/height`` and ``/events/width``. Others have columns, a table or an array (N, 4) or (4, N) under other names
and in other places, see ``find_layout``; names and units of time as in ``rows``.

Sources: https://docs.prophesee.ai/stable/data/file_formats/hdf5.html, https://dsec.ifi.uzh.ch/data-format,
https://github.com/uzh-rpg/RVT.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import hdf5plugin
import numpy as np

from ..checks import LARGEST_SIDE, InputError, check_choice, proposed
from ..files import patient, replacing
from .array import Events, Triggers
from .hdf5_files import DAMAGE, Column, Rows, check_filters, find, open_hdf5_file
from .reading import AS_IT_IS, PieceRecording, ReadOptions, Starts
from .rows import PLAIN, Meaning, column_names, find_meaning, find_order, order_note, sound_events
from .sieve import NEVER, Sieve, check_inside
from .time_units import TimeUnit

SIGNATURE = b"\x89HDF\r\n\x1a\n"
VENDORS = "CD/events"


def is_hdf5(path: Path) -> bool:
    """Whether the file begins as an HDF5 file does."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def open_hdf5(path: Path, options: ReadOptions = AS_IT_IS) -> PieceRecording:
    """A recording in the vendor's layout or in one that ``find_layout`` knows, found by content.

    Raises:
        InputError: if ``path`` is no HDF5 file, is cut short, or holds no events in a layout that we know.
    """
    try:
        file = open_hdf5_file(path)
    except OSError as error:
        raise InputError(f"{path} must be a whole HDF5 file; it is cut short or damaged. Copy it again.") from error
    try:
        pieces = _Pieces(file, path, options)
        return PieceRecording(
            path,
            options,
            format=pieces.format,
            pieces=pieces.read,
            size_hw=pieces.size_hw,
            meaning=pieces.meaning,
            starts=Starts(len(pieces.rows.starts), pieces.first_time_us),
            missing=pieces.rows.missing,
            triggers=pieces.triggers,
            close=file.close,
        )
    except DAMAGE as error:
        file.close()
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a sound HDF5 file: {error}. Copy it again.") from error


class _Pieces:
    """The events of an open HDF5 file, a few of its chunks at a time.

    format, size_hw, meaning: as of ``PieceRecording``. rows: where they are in the file.
    """

    def __init__(self, file: h5py.File, path: Path, options: ReadOptions) -> None:
        self._file = file
        self._path = path
        is_vendor = options.place in (None, VENDORS) and find(file, VENDORS) is not None
        if is_vendor:
            layout = EventTable(VENDORS, {name: Column(VENDORS, name) for name in "txyp"})
            self.rows = Rows(path, file, layout.columns)
            self.size_hw = _geometry(file)
        else:
            layout = find_layout(file, path, options.place)
            self.rows = Rows(path, file, layout.columns, kinds="iubf")
            self.size_hw = _pair(_number(file, "events/height"), _number(file, "events/width"))
        self.format = "HDF5 ECF" if self.rows.is_ecf else "HDF5" if is_vendor else "HDF5 columns"
        self.meaning = PLAIN if is_vendor else self._find_meaning(layout, options)
        self._offset_us = 0 if is_vendor else _offset_us(file, self.meaning.unit)

    def read(self, first: int, sieve: Sieve) -> Iterator[Events]:
        """The events from piece number ``first`` on."""
        for fields, count in self._read_pieces(first):
            if fields is None:
                sieve.drop("events in damaged chunks", count)
            else:
                yield sound_events(fields, self.meaning, sieve).later(self._offset_us)

    def first_time_us(self, number: int) -> int:
        """Of an unreadable piece, a time after all others: the pass then begins before it."""
        start = int(self.rows.starts[number])
        unit = self.meaning.unit
        try:
            t = self.rows.read(start, start + 1)["t"]
        except DAMAGE:
            return -NEVER
        return int(unit.to_us(t)[0]) + self._offset_us if -unit.limit <= t[0] <= unit.limit else -NEVER

    def triggers(self, _: Sieve) -> Triggers:
        """All edges on the trigger inputs; only the vendor's layout has them.

        Raises:
            InputError: if they cannot be read.
        """
        columns = {name: Column("EXT_TRIGGER/events", name) for name in ("t", "id", "p")}
        try:
            if find(self._file, "EXT_TRIGGER/events") is None:
                return Triggers.empty()
            rows = Rows(self._path, self._file, columns)
            read = [rows.read(start, stop) for start, stop in rows.pieces()]
        except DAMAGE as error:
            raise InputError(f"{self._path} must have sound triggers: {error}. Copy it again.") from error
        return Triggers.concatenate([Triggers.of(t=part["t"], channel=part["id"], p=part["p"]) for part in read])

    def _read_pieces(self, first: int) -> Iterator[tuple[dict[str, np.ndarray] | None, int]]:
        """The columns of each piece from one on, None if it is damaged, and how many rows it has."""
        for start, stop in self.rows.pieces(first):
            try:
                yield self.rows.read(start, stop), stop - start
            except DAMAGE:
                yield None, stop - start

    def _find_meaning(self, layout: EventTable, options: ReadOptions) -> Meaning:
        """By the first piece that can be read."""
        pieces = (fields for fields, _ in self._read_pieces(0) if fields is not None)
        first = next(pieces, None)
        if first is None:
            return PLAIN
        told = {"time_name": layout.time_name, "note": layout.note}
        return find_meaning(first, self._path, later=pieces, time_unit=options.time_unit, **told)


def _offset_us(file: h5py.File, unit: TimeUnit) -> int:
    """What is to be added to all times; written in their unit."""
    offset = _number(file, "t_offset", "iuf") or 0
    return int(unit.to_us(np.array([offset]))[0]) if abs(offset) <= unit.limit else 0


def _number(file: h5py.File, name: str, kinds: str = "iu") -> int | float | None:
    dataset = find(file, name)
    if isinstance(dataset, h5py.Dataset) and dataset.size == 1 and dataset.dtype.kind in kinds:
        return np.asarray(dataset[()]).reshape(()).item()
    return None


def _pair(height: float | None, width: float | None) -> tuple[int, int] | None:
    """Height and width if both are known and can be."""
    if height is None or width is None or not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        return None
    return int(height), int(width)


def _geometry(file: h5py.File) -> tuple[int, int] | None:
    value: Any = file.attrs.get("geometry")
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text)
    return _pair(int(found[2]), int(found[1])) if found else None


USUAL = "events"
"""The place of the events in most files: of DSEC and RVT, and of what many tools write."""
ARRAYS = USUAL, "event_data"
"""Names of arrays of events; boxes are such arrays too."""
# Places that are looked at, in one group and how deep; some files hold a data set for every picture.
MOST_PLACES = 1000
MOST_BESIDE = 100
DEEPEST = 4
LOOKED_AT = 1 << 12  # rows of an array that say which column is which


class EventTable(NamedTuple):
    """Where events are.

    place: the name of their group, table or array; "/" for the root. columns: of t, x, y, p. time_name: what the file
    calls the column of the times. note: what is to be said about the order of the columns.
    """

    place: str
    columns: dict[str, Column]
    time_name: str = ""
    note: str = ""


def find_layout(file: h5py.File, path: Path, place: str | None) -> EventTable:
    """The events of a file, those at a place if one is named.

    Raises:
        InputError: if there are none, or there are several and none of them is in the usual place.
    """
    if place is not None:
        return _at(file, path, place.strip("/") or "/")
    if usual := _layout(file, path, USUAL):
        return usual
    found = list(_layouts(file, path))
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(layout.place for layout in found)
        raise InputError(
            f"{path} must have events in one place, and has them in {places}. Choose one and write it to a file "
            f"of its own: {proposed('convert', path, 'part.raw', '--place', found[0].place)}"
        )
    held = ", ".join(list(file)[:9]) or "nothing"
    raise InputError(
        f"{path} must hold /CD/events, columns t, x, y, p in one group, a table with these fields or an array 'events' "
        f"(N, 4) or (4, N) to be a recording; it has {held}."
    )


def _at(file: h5py.File, path: Path, place: str) -> EventTable:
    if layout := _layout(file, path, place):
        return layout
    places = ", ".join(layout.place for layout in _layouts(file, path)) or "nowhere"
    raise InputError(f"the place must be one where {path} has events, {places}; got {place}.")


def _layouts(file: h5py.File, path: Path) -> Iterator[EventTable]:
    """Of all places that are near the root and no links."""
    waiting = deque(["/"])
    for _ in range(MOST_PLACES):
        if not waiting:
            return
        place = waiting.popleft()
        if layout := _layout(file, path, place):
            yield layout
            continue
        group = file if place == "/" else find(file, place)
        if not isinstance(group, h5py.Group) or place.count("/") + 1 >= DEEPEST:
            continue
        names = [
            name for name in islice(group, MOST_BESIDE) if isinstance(group.get(name, getlink=True), h5py.HardLink)
        ]
        waiting += [name if place == "/" else f"{place}/{name}" for name in names]


def _layout(file: h5py.File, path: Path, place: str) -> EventTable | None:
    """The events at a place, if it has some."""
    found = file if place == "/" else find(file, place)
    if isinstance(found, h5py.Group):
        return _side_by_side(file, found, place)
    if not isinstance(found, h5py.Dataset):
        return None
    if found.ndim == 1:
        names = column_names(found.dtype.names or ())
        are_numbers = all(found.dtype[name].kind in "iufb" for name in names.values())
        columns = {ours: Column(place, name) for ours, name in names.items()}
        return EventTable(place, columns, names["t"]) if names and are_numbers else None
    is_array = found.ndim == 2 and 4 in found.shape and found.dtype.kind in "iuf"
    if not is_array or place.rpartition("/")[2].lower() not in ARRAYS:
        return None
    check_filters(found, path)
    is_across = found.shape[1] != 4
    order = find_order(np.asarray(found[:, :LOOKED_AT]).T if is_across else np.asarray(found[:LOOKED_AT]), path)
    columns = {name: Column(place, order.index(name), is_across) for name in "txyp"}
    return EventTable(place, columns, note=order_note(order))


def _side_by_side(file: h5py.File, group: h5py.Group, place: str) -> EventTable | None:
    names = column_names(group)
    prefix = "" if place == "/" else f"{place}/"
    columns = {ours: Column(prefix + name) for ours, name in names.items()}
    parts = [find(file, column.dataset) for column in columns.values()]
    are_columns = all(isinstance(part, h5py.Dataset) and part.ndim == 1 and part.dtype.kind in "iufb" for part in parts)
    return EventTable(place, columns, names["t"]) if columns and are_columns else None


EVENT = np.dtype({"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8]})
TRIGGER = np.dtype({"names": ["p", "t", "id"], "formats": ["<i2", "<i8", "<i2"], "offsets": [0, 8, 16], "itemsize": 24})
COMPRESSIONS = {"none": {}, "blosc": hdf5plugin.Blosc(cname="zstd", clevel=1)}
"""Those that ``compression`` of ``seqdet convert`` lists, in ``cli.recordings``."""
CHUNK_ROWS = 16384  # the vendor's
INDEX_US = 2000
LONGEST_LEAP = 1 << 24  # rows of the index


def write_hdf5(
    path: Path | str,
    chunks: Iterable[Events],
    *,
    size_hw: tuple[int, int],
    triggers: Triggers | None = None,
    compression: str | None = None,
) -> None:
    """Write events as they come in the vendor's layout, with the index, a row every 2 ms, by which its tools seek.

    Args:
        path: of the new file, usually .hdf5.
        chunks: events on the sensor, rising in time.
        size_hw: height and width of the sensor in pixels.
        triggers: edges on the trigger inputs.
        compression: None, or "blosc", whose filter a reader needs: the package hdf5plugin, not the vendor's tools.

    Raises:
        InputError: if an event lies outside the sensor, times leap by more than nine hours, or the compression is
            unknown; and as ``replacing`` does.
    """
    check_choice(compression or "none", COMPRESSIONS, "compression")
    storage = {"maxshape": (None,), "chunks": (CHUNK_ROWS,)}
    with replacing(path) as temporary, patient(temporary) as target, h5py.File(target, "w") as file:
        file.attrs.update({"format": "HDF5", "version": "1.0", "geometry": f"{size_hw[1]}x{size_hw[0]}"})
        table = file.create_dataset("CD/events", (0,), EVENT, **storage, **COMPRESSIONS[compression or "none"])
        index = _Index()
        for events in chunks:
            check_inside(events, size_hw)
            start, stop = len(table), len(table) + len(events)
            index.add(events.t, start)
            table.resize((stop,))
            table[start:] = _table(EVENT, x=events.x, y=events.y, p=events.p, t=events.t)
        rows = file.create_dataset("CD/indexes", data=index.table(len(table)), **storage)
        rows.attrs["offset"] = str(-(index.first_us or 0))
        if triggers is not None:
            edges = _table(TRIGGER, p=triggers.p, t=triggers.t, id=triggers.channel)
            file.create_dataset("EXT_TRIGGER/events", data=edges, **storage)


def _table(dtype: np.dtype, **fields: np.ndarray) -> np.ndarray:
    rows = np.zeros(len(next(iter(fields.values()))), dtype)
    for name, column in fields.items():
        rows[name] = column
    return rows


class _Index:
    """For every 2 ms from the first event on: number and time of the first event that is not older."""

    def __init__(self) -> None:
        self.first_us: int | None = None
        self._ids = [np.zeros(0, np.int64)]
        self._times = [np.zeros(0, np.int64)]
        self._length = 0

    def add(self, t: np.ndarray, start: int) -> None:
        """Take the times of the events from number ``start`` on."""
        if not len(t):
            return
        self.first_us = int(t[0]) if self.first_us is None else self.first_us
        latest = np.maximum.accumulate(t - self.first_us) // INDEX_US
        if latest[-1] - self._length > LONGEST_LEAP:
            raise InputError(
                f"events must rise in time without long gaps, got a leap to {t.max()} µs; is a time damaged?"
            )
        found = np.searchsorted(latest, np.arange(self._length, latest[-1] + 1))
        self._length += len(found)
        self._ids.append(found + start)
        self._times.append(t[found])

    def table(self, count: int) -> np.ndarray:
        """All rows, and a last one that ends them."""
        ids, times = np.concatenate([*self._ids, [count]]), np.concatenate([*self._times, [-1]])
        return _table(np.dtype([("id", "<u8"), ("ts", "<i8")]), id=ids, ts=times)
