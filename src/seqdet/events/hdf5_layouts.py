"""Where an HDF5 file of anybody has its events: groups of columns, tables with fields, and arrays (N, 4) or (4, N)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ..checks import InputError, proposed
from .column_order import find_order, order_note
from .hdf5_files import check_filters, find
from .hdf5_rows import Column
from .rows import column_names

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
