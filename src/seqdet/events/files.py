"""Open any recording, and read it by time or by number of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from ..checks import InputError, check_at_least
from ..files import as_on_disk
from .accounts import Account, account
from .aedat import START, open_aedat
from .array import Events, Source, Triggers
from .dat import is_dat, open_dat
from .dataset_facts import facts_about
from .evt import is_evt, open_evt
from .foreign import check_foreign
from .hdf5 import is_hdf5, open_hdf5
from .packed import Unpacked, is_packed, unpack
from .sieve import LARGEST
from .slicing import Window, windows
from .tables import open_table
from .time_units import Unit
from .words import WordSource

BINARY = (".raw", ".hdf5", ".h5", ".aedat", ".aedat4")
"""Endings of formats that are known by how their files begin."""


class Recording:
    """A recording, open for reading. Everything streams: memory does not grow with the length of the file.

    stated_size_hw: ``size_hw``, or None if neither the file says it nor the user.

    Args:
        path: of the file, for messages.
        source: its reader.
        size_hw: height and width of the sensor where the file does not say.
        unpacked: what the source reads, where the file is packed; deleted when the recording is closed.
    """

    def __init__(
        self,
        path: Path,
        source: Source,
        *,
        size_hw: tuple[int, int] | None = None,
        unpacked: Unpacked | None = None,
    ) -> None:
        self.path, self._source, self._unpacked = path, source, unpacked
        if source.size_hw is None:
            source.size_hw = size_hw
        self.stated_size_hw = source.size_hw
        self._passed = 0
        self._span_us: tuple[int, int] | None = None

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @property
    def format(self) -> str:
        """Name of the file's format."""
        return self._source.format

    @property
    def dropped(self) -> Counter[str]:
        """How much of what was read so far was left out, by reason."""
        return self._source.dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """What its numbers are taken for where they could mean something else, and what was noticed so far."""
        return self._source.notes

    @property
    def account(self) -> Account:
        """What became of the events that the latest pass over ``chunks``, or ``windows``, came by."""
        return account(self._passed, self.dropped, self.notes, self._source.time_unit, self._span_us)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the sensor in pixels.

        Raises:
            InputError: if the file does not say.
        """
        if self.stated_size_hw is None:
            raise InputError(
                f"{self.path} must state the size of its sensor, and does not. Give size_hw; for a training, "
                "data.dataset.size_hw."
            )
        return self.stated_size_hw

    @property
    def is_indexed(self) -> bool:
        """Whether reading from a time on is cheap: it skips what comes before.

        DAT, HDF5 and npy are as they are, RAW after a whole pass; in text, AEDAT4 and the others all before it is read.
        """
        with _readable(self.path, self._unpacked):
            return self._source.is_indexed

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events in pieces of bounded size, in the order of the file; see ``Source.chunks``.

        Raises:
            InputError: if the file vanished; if strict, where something would be dropped.
        """
        self._passed, self._span_us = 0, None
        with _readable(self.path, self._unpacked):
            for events in self._source.chunks(start_us):
                if len(events):
                    first_us, last_us = int(events.t.min()), int(events.t.max())
                    before = self._span_us or (first_us, last_us)
                    self._span_us = min(first_us, before[0]), max(last_us, before[1])
                    self._passed += len(events)
                yield events

    def span_us(self) -> tuple[int, int] | None:
        """The time of the first and of the last event; None without events.

        Cheap where ``is_indexed``; otherwise a whole pass, which leaves an index where the format can have one.
        """
        with _readable(self.path, self._unpacked):
            return self._source.span_us()

    def triggers(self) -> Triggers:
        """All trigger events; none where the format has none."""
        with _readable(self.path, self._unpacked):
            return self._source.triggers()

    def read(self, start_us: int, end_us: int) -> Events:
        """The events with times in ``[start_us, end_us)``, in the order of the file.

        Memory is little more than theirs, 13 bytes each; of HDF5, AEDAT4 and tables 1.6 times that while they are read.

        Raises:
            InputError: as ``chunks``.
        """
        check_at_least(end_us, start_us, "end_us")
        with _readable(self.path, self._unpacked):
            return self._source.read(start_us, end_us)

    def windows(
        self,
        *,
        duration_us: int | None = None,
        count: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> Iterator[Window]:
        """Consecutive windows that share no event and lose none.

        With ``duration_us`` alone they lie on a grid from ``start_us``, empty ones included. With ``count`` a window
        begins at its first event and ends with its ``count``-th; with both, after ``duration_us`` if that comes first.

        Args:
            duration_us: length of a window.
            count: most events of a window.
            start_us: no event before this; the time of the first event if None.
            end_us: no event from this on; the last event is the last if None.

        Raises:
            InputError: if neither length is given, or one is below 1.
        """
        return windows(self.chunks(start_us), duration_us=duration_us, count=count, start_us=start_us, end_us=end_us)

    def close(self) -> None:
        """Close the file."""
        self._source.close()
        if self._unpacked:
            self._unpacked.folder.cleanup()


def open_recording(
    path: Path | str,
    *,
    size_hw: tuple[int, int] | None = None,
    strict: bool = False,
    time_shift: bool = False,
    place: str | None = None,
    time_unit: Unit | None = None,
    joins_clocks: bool = False,
) -> Recording:
    """Any recording that seqdet reads, told by its content first and its name second.

    RAW (EVT2, EVT2.1, EVT3), DAT, HDF5 of events (the vendor's, also ECF-compressed; DSEC, RVT and others), AEDAT 2.0,
    3.1 and, with the extra of that name, 4, npy, npz, text, and the .bin of N-MNIST; each also packed by gzip or alone
    in a zip, see ``packed``.

    Args:
        path: the file.
        size_hw: height and width of the sensor, where the file does not say; what its dataset says if not given, see
            ``dataset_facts``.
        strict: raise where something would be dropped, while reading.
        time_shift: subtract from the times of EVT3 what the vendor's tools subtract.
        place: the group, table or array of an HDF5 file that has the events, where there are several.
        time_unit: of the times, for tables and HDF5 columns that do not say.
        joins_clocks: where the clock of the camera begins anew, go on from the time before; it is an error otherwise.

    Raises:
        InputError: if there is no such file, or it is no recording.
    """
    path = as_on_disk(Path(path))
    if not path.is_file():
        raise InputError(f"{path} must be a recording, and there is no such file.")
    if size_hw is not None and not 1 <= min(size_hw) <= max(size_hw) <= LARGEST:
        raise InputError(f"size_hw must be from 1 to {LARGEST} each, got {size_hw}.")
    size_hw, time_unit = facts_about(path).or_given(size_hw, time_unit)
    options: Any = {"strict": strict, "time_shift": time_shift, "place": place}
    options |= {"size_hw": size_hw, "time_unit": time_unit, "joins_clocks": joins_clocks}
    with _readable(path):
        if not path.stat().st_size:
            raise InputError(f"{path} must be a recording, and it is empty.")
        if not is_packed(path):
            return Recording(path, _open_source(path, **options), size_hw=size_hw)
        unpacked = unpack(path)
    with _readable(path, unpacked):
        try:
            source = _open_source(unpacked.path, **options)
            if isinstance(source, WordSource):
                source.keeps_index = False
        except BaseException:
            unpacked.folder.cleanup()
            raise
    return Recording(path, source, size_hw=size_hw, unpacked=unpacked)


def _open_source(
    path: Path,
    *,
    size_hw: tuple[int, int] | None,
    strict: bool,
    time_shift: bool,
    place: str | None,
    time_unit: Unit | None,
    joins_clocks: bool,
) -> Source:
    """The reader of a file that is there and not empty."""
    check_foreign(path)
    if place is not None and not is_hdf5(path):
        raise InputError(f"a place in {path}, {place}, must be of an HDF5 file, and it is none.")
    with path.open("rb") as file:
        start = file.read(len(START))
    options: Any = {"strict": strict, "joins_clocks": joins_clocks}
    if start == START:
        return open_aedat(path, size_hw=size_hw, **options)
    if is_hdf5(path):
        return open_hdf5(path, place=place, time_unit=time_unit, **options)
    if is_evt(path):
        return open_evt(path, time_shift=time_shift, **options)
    if is_dat(path) or path.suffix == ".dat":
        return open_dat(path, **options)
    if path.suffix in BINARY:
        raise InputError(f"{path} must begin as a {path.suffix} file does; it is damaged, or of another format.")
    return open_table(path, size_hw=size_hw, time_unit=time_unit, **options)


@contextmanager
def _readable(path: Path, unpacked: Unpacked | None = None) -> Iterator[None]:
    """Raise InputError where the block cannot read the file; messages name a packed one as the user does."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Was it moved or deleted?") from error
    except InputError as error:
        if unpacked is None:
            raise
        raise InputError(str(error).replace(str(unpacked.path), str(path))) from error
