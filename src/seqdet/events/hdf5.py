"""Read recordings in HDF5: the vendor's layout, that of DSEC and RVT, and those of other tools.

The vendor's: ``/CD/events`` and ``/EXT_TRIGGER/events`` are tables with fields x, y, p, t and p, t, id; the root
attribute ``geometry`` is "<width>x<height>". The first table may be compressed with ECF (see ``ecf``). DSEC and RVT:
columns ``/events/x``, ``y``, ``p``, ``t``, with an optional number ``/t_offset`` to add to t, and optional numbers
``/events/height`` and ``/events/width``. Others have columns, a table or an array (N, 4) or (4, N) under other names
and in other places, see ``find_layout``; names and units of time as in ``rows``.

Sources: https://docs.prophesee.ai/stable/data/file_formats/hdf5.html, https://dsec.ifi.uzh.ch/data-format,
https://github.com/uzh-rpg/RVT.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..checks import InputError, proposed
from .array import Events, Triggers
from .column_order import find_order, order_note
from .gathering import gathered
from .hdf5_files import DAMAGE, check_filters, find, open_hdf5_file
from .hdf5_rows import Column, Rows
from .rows import Meaning, column_names, find_meaning, sound_events
from .sieve import JITTER_US, LARGEST, NEVER, Sieve
from .spans import end_span_us
from .time_units import TimeUnit, Unit

SIGNATURE = b"\x89HDF\r\n\x1a\n"
VENDORS = "CD/events"


def is_hdf5(path: Path) -> bool:
    """Whether the file begins as an HDF5 file does."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def open_hdf5(
    path: Path,
    *,
    place: str | None = None,
    strict: bool = False,
    joins_clocks: bool = False,
    time_unit: Unit | None = None,
) -> Hdf5Source:
    """A recording in the vendor's layout or in one that ``find_layout`` knows, found by content.

    Args:
        path: of the file.
        strict: raise where something would be left out.
        joins_clocks: go on in time where the clock of the camera begins anew, see ``Sieve``.
        time_unit: of the times of columns, where the file does not say.

    Raises:
        InputError: if ``path`` is no HDF5 file, is cut short, or holds no events in a layout that we know.
    """
    try:
        file = open_hdf5_file(path)
    except OSError as error:
        raise InputError(f"{path} must be a whole HDF5 file; it is cut short or damaged. Copy it again.") from error
    try:
        return Hdf5Source(file, path, place, strict=strict, joins_clocks=joins_clocks, time_unit=time_unit)
    except DAMAGE as error:
        file.close()
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a sound HDF5 file: {error}. Copy it again.") from error


class Hdf5Source:
    """A ``Source`` of an open HDF5 file; ``open_hdf5`` makes it."""

    is_indexed = True

    def __init__(
        self,
        file: h5py.File,
        path: Path,
        place: str | None,
        *,
        strict: bool,
        joins_clocks: bool = False,
        time_unit: Unit | None = None,
    ) -> None:
        self._file, self._path, self._strict, self._joins_clocks = file, path, strict, joins_clocks
        is_vendor = place in (None, VENDORS) and find(file, VENDORS) is not None
        layout = None if is_vendor else find_layout(file, path, place)
        if layout:
            self._rows = Rows(path, file, layout.columns, kinds="iubf")
        else:
            self._rows = Rows(path, file, {name: Column(VENDORS, name) for name in "txyp"})
        self.format = "HDF5 ECF" if self._rows.is_ecf else "HDF5" if is_vendor else "HDF5 columns"
        self.size_hw: tuple[int, int] | None = (
            _geometry(file) if is_vendor else _pair(_number(file, "events/height"), _number(file, "events/width"))
        )
        self._meaning = self._find_meaning(layout, time_unit) if layout else Meaning()
        self._offset_us = 0 if is_vendor else _offset_us(file, self._meaning.unit)
        self._sieve = self._new_sieve()

    @property
    def dropped(self) -> Counter[str]:
        """What the latest pass over ``chunks`` left out."""
        return self._sieve.dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """What its numbers are taken for, and what the latest pass noticed."""
        return (*self._meaning.notes, *self._sieve.notes)

    @property
    def time_unit(self) -> TimeUnit:
        """Of its times, and how that is known."""
        return self._meaning.unit

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events in the order of the file, a few chunks of it at a time; see ``Source``."""
        self._sieve = sieve = self._new_sieve()
        first = 0
        if start_us is not None:  # the events before a piece are younger than its first one by less than the jitter
            pieces = range(len(self._rows.starts))
            first = max(bisect_left(pieces, start_us - JITTER_US, key=self._first_time) - 1, 0)
        yield from self._pieces(first, sieve)

    def read(self, start_us: int, end_us: int) -> Events:
        """The events with times in ``[start_us, end_us)``, in the order of the file."""
        return gathered(self.chunks(start_us), start_us, end_us)

    def span_us(self) -> tuple[int, int] | None:
        """From the first and the last chunks of the file."""
        return end_span_us(self._pieces, len(self._rows.starts), self._new_sieve)

    def triggers(self) -> Triggers:
        """All edges on the trigger inputs; only the vendor's layout has them.

        Raises:
            InputError: if they cannot be read.
        """
        parts = {"t": [np.zeros(0, np.int64)], "id": [np.zeros(0, np.uint8)], "p": [np.zeros(0, np.uint8)]}
        try:
            if find(self._file, "EXT_TRIGGER/events") is not None:
                columns = {name: Column("EXT_TRIGGER/events", name) for name in ("t", "id", "p")}
                rows = Rows(self._path, self._file, columns)
                for start, stop in rows.pieces():
                    for name, column in rows.read(start, stop).items():
                        parts[name].append(column.astype(parts[name][0].dtype))
        except DAMAGE as error:
            raise InputError(f"{self._path} must have sound triggers: {error}. Copy it again.") from error
        return Triggers(*(np.concatenate(each) for each in parts.values()))

    def close(self) -> None:
        """Close the file; no pass goes on after it."""
        self._file.close()

    def _pieces(self, first: int, sieve: Sieve) -> Iterator[Events]:
        return sieve.passed(self._sound_pieces(first, sieve))

    def _sound_pieces(self, first: int, sieve: Sieve) -> Iterator[Events]:
        for fields, count in self._read_pieces(first):
            if fields is None:
                sieve.drop("events in damaged chunks", count)
            else:
                yield self._later(sound_events(fields, self._meaning, sieve))

    def _read_pieces(self, first: int) -> Iterator[tuple[dict[str, np.ndarray] | None, int]]:
        """The columns of each piece from one on, None if it is damaged, and how many rows it has."""
        for start, stop in self._rows.pieces(first):
            try:
                yield self._rows.read(start, stop), stop - start
            except DAMAGE:
                yield None, stop - start

    def _find_meaning(self, layout: Layout, time_unit: Unit | None) -> Meaning:
        """By the first piece that can be read."""
        known: Any = {"time_name": layout.time_name, "time_unit": time_unit, "note": layout.note}
        pieces = (fields for fields, _ in self._read_pieces(0) if fields is not None)
        first = next(pieces, None)
        return Meaning() if first is None else find_meaning(first, self._path, later=pieces, **known)

    def _new_sieve(self) -> Sieve:
        sieve = Sieve(self._path, self.size_hw, strict=self._strict, joins_clocks=self._joins_clocks)
        sieve.drop("events in missing chunks", self._rows.missing)
        return sieve

    def _later(self, events: Events) -> Events:
        """The events with the offset of the file added to their times."""
        return Events(events.t + self._offset_us, events.x, events.y, events.p) if self._offset_us else events

    def _first_time(self, piece: int) -> int:
        """Of an unreadable piece, a time after all others: the pass then begins before it."""
        start, unit = int(self._rows.starts[piece]), self._meaning.unit
        try:
            t = self._rows.read(start, start + 1)["t"]
        except DAMAGE:
            return -NEVER
        return int(unit.to_us(t)[0]) + self._offset_us if -unit.limit <= t[0] <= unit.limit else -NEVER


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
    if height is None or width is None or not (0 < height <= LARGEST and 0 < width <= LARGEST):
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
MOST_PLACES, MOST_BESIDE, DEEPEST = 1000, 100, 4  # that are looked at: some files hold a data set for every picture
LOOKED_AT = 1 << 12  # rows of an array that say which column is which


class Layout(NamedTuple):
    """Where events are.

    place: the name of their group, table or array; "/" for the root. columns: of t, x, y, p. time_name: what the file
    calls the column of the times. note: what is to be said about the order of the columns.
    """

    place: str
    columns: dict[str, Column]
    time_name: str = ""
    note: str = ""


def find_layout(file: h5py.File, path: Path, place: str | None) -> Layout:
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


def _at(file: h5py.File, path: Path, place: str) -> Layout:
    if layout := _layout(file, path, place):
        return layout
    places = ", ".join(layout.place for layout in _layouts(file, path)) or "nowhere"
    raise InputError(f"the place must be one where {path} has events, {places}; got {place}.")


def _layouts(file: h5py.File, path: Path) -> Iterator[Layout]:
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


def _layout(file: h5py.File, path: Path, place: str) -> Layout | None:
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
        return Layout(place, columns, names["t"]) if names and are_numbers else None
    is_array = found.ndim == 2 and 4 in found.shape and found.dtype.kind in "iuf"
    if not is_array or place.rpartition("/")[2].lower() not in ARRAYS:
        return None
    check_filters(found, path)
    is_across = found.shape[1] != 4
    order = find_order(np.asarray(found[:, :LOOKED_AT]).T if is_across else np.asarray(found[:LOOKED_AT]), path)
    columns = {name: Column(place, order.index(name), is_across) for name in "txyp"}
    return Layout(place, columns, note=order_note(order))


def _side_by_side(file: h5py.File, group: h5py.Group, place: str) -> Layout | None:
    names = column_names(group)
    prefix = "" if place == "/" else f"{place}/"
    columns = {ours: Column(prefix + name) for ours, name in names.items()}
    parts = [find(file, column.dataset) for column in columns.values()]
    are_columns = all(isinstance(part, h5py.Dataset) and part.ndim == 1 and part.dtype.kind in "iufb" for part in parts)
    return Layout(place, columns, names["t"]) if columns and are_columns else None
