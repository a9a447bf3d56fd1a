"""Write recordings in the vendor's HDF5 layout, see ``hdf5``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from ..checks import InputError, check_choice
from ..files import patient, replacing
from .array import Events, Triggers
from .sieve import check_inside

EVENT = np.dtype({"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8]})
TRIGGER = np.dtype({"names": ["p", "t", "id"], "formats": ["<i2", "<i8", "<i2"], "offsets": [0, 8, 16], "itemsize": 24})
COMPRESSIONS = {"none": {}, "blosc": hdf5plugin.Blosc(cname="zstd", clevel=1)}
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
        self._ids, self._times, self._length = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0

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
