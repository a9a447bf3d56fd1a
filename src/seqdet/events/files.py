"""Open any recording, and read it by time or by number of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from ..checks import InputError, check_at_least
from .aedat4 import SIGNATURE, open_aedat4
from .array import Events, Source, Triggers
from .dat import is_dat, open_dat
from .evt import is_evt, open_evt
from .hdf5 import is_hdf5, open_hdf5
from .sieve import JITTER_US
from .tables import open_table


class Window(NamedTuple):
    """The events with times in ``[start_us, end_us)``, sorted by time."""

    start_us: int
    end_us: int
    events: Events


class Recording:
    """A recording, open for reading. Everything streams: memory does not grow with the length of the file.

    Args:
        path: of the file, for messages.
        source: its reader.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path, self._source = path, source

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
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the sensor in pixels.

        Raises:
            InputError: if the file does not say.
        """
        if self._source.size_hw is None:
            raise InputError(f"{self.path} must state the size of its sensor, and does not. Give size_hw.")
        return self._source.size_hw

    @property
    def stated_size_hw(self) -> tuple[int, int] | None:
        """``size_hw``, or None if the file does not say."""
        return self._source.size_hw

    @property
    def is_indexed(self) -> bool:
        """Whether reading from a time on is cheap: it skips what comes before.

        DAT, HDF5 and npy are as they are, RAW after a whole pass; in text, AEDAT4 and the others all before it is read.
        """
        with _readable(self.path):
            return self._source.is_indexed

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events in pieces of bounded size, in the order of the file; see ``Source.chunks``.

        Raises:
            InputError: if the file vanished; if strict, where something would be dropped.
        """
        with _readable(self.path):
            yield from self._source.chunks(start_us)

    def span_us(self) -> tuple[int, int] | None:
        """The time of the first and of the last event; None without events.

        Cheap where ``is_indexed``; otherwise a whole pass, which leaves an index where the format can have one.
        """
        with _readable(self.path):
            return self._source.span_us()

    def triggers(self) -> Triggers:
        """All trigger events; none where the format has none."""
        with _readable(self.path):
            return self._source.triggers()

    def read(self, start_us: int, end_us: int) -> Events:
        """The events with times in ``[start_us, end_us)``, in the order of the file."""
        check_at_least(end_us, start_us, "end_us")
        parts = []
        for chunk in self.chunks(start_us):
            parts.append(chunk[(chunk.t >= start_us) & (chunk.t < end_us)])
            if len(chunk) and chunk.t.max() >= end_us + JITTER_US:
                break
        return Events.concatenate(parts)

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
        for name, length in (("duration_us", duration_us), ("count", count)):
            if length is not None:
                check_at_least(length, 1, name)
        if duration_us is None and count is None:
            raise InputError("windows must have a duration_us, a count or both, got neither.")
        start, parts, held = start_us, [], 0  # the events of the window so far, in pieces, and how many they are
        for events, is_last in self._sorted(start_us, end_us):
            done = 0
            if start is None and len(events):
                start = int(events.t[0])
            while start is not None:
                if count is not None and not held:
                    if done == len(events):
                        break
                    start = int(events.t[done])
                end = None if duration_us is None else start + duration_us
                if end_us is not None and end is not None:
                    end = min(end, end_us)
                until = len(events) if end is None else done + int(np.searchsorted(events.t[done:], end))
                is_full = count is not None and held + until - done >= count
                if is_full:
                    assert count is not None
                    until = done + count - held
                if until > done:
                    parts.append(events[done:until])
                    held, done = held + until - done, until
                if not is_full and done == len(events):
                    if not is_last:
                        break
                    if not held and (end_us is None or start >= end_us):
                        break
                whole = parts[0] if len(parts) == 1 else Events.concatenate(parts)
                if is_full or end is None:
                    end = int(whole.t[-1]) + 1
                yield Window(start, end, whole)
                start, parts, held = end, [], 0

    def _sorted(self, start_us: int | None, end_us: int | None) -> Iterator[tuple[Events, bool]]:
        """Events that none can precede any more, sorted, and whether they are the last."""
        waiting, newest = Events.empty(), None
        for chunk in self.chunks(start_us):
            if not len(chunk):
                continue
            events = _by_time(chunk)
            newest = max(int(events.t[-1]), newest if newest is not None else int(events.t[0]))
            events = events[_range(events.t, start_us, end_us)]
            if len(waiting):
                among = int(np.searchsorted(events.t, waiting.t[-1]))
                waiting, events = _by_time(Events.concatenate([waiting, events[:among]])), events[among:]
                settled = int(np.searchsorted(waiting.t, newest - JITTER_US))
                yield waiting[:settled], False
                if settled < len(waiting):
                    events = Events.concatenate([waiting[settled:], events])
            settled = int(np.searchsorted(events.t, newest - JITTER_US))
            yield events[:settled], False
            waiting = Events.concatenate([events[settled:]])  # a copy, so that the chunk can go
            if end_us is not None and newest >= end_us + JITTER_US:
                break
        yield waiting, True

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def open_recording(
    path: Path | str, *, size_hw: tuple[int, int] | None = None, strict: bool = False, time_shift: bool = False
) -> Recording:
    """Any recording that seqdet reads, told by its content first and its name second.

    RAW (EVT2, EVT2.1, EVT3), DAT, HDF5 of events (the vendor's, also ECF-compressed; DSEC and RVT), AEDAT4 with the
    extra of that name, npy, npz, text, and the .bin of N-MNIST.

    Args:
        path: the file.
        size_hw: height and width of the sensor for formats that do not say.
        strict: raise where something would be dropped, while reading.
        time_shift: subtract from the times of EVT3 what the vendor's tools subtract.

    Raises:
        InputError: if there is no such file, or it is no recording.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} must be a recording, and there is no such file.")
    with _readable(path):
        with path.open("rb") as file:
            start = file.read(len(SIGNATURE))
        if start == SIGNATURE:
            source: Source = open_aedat4(path, strict=strict)
        elif is_hdf5(path):
            source = open_hdf5(path, strict=strict)
        elif is_evt(path):
            source = open_evt(path, strict=strict, time_shift=time_shift)
        elif is_dat(path) or path.suffix == ".dat":
            source = open_dat(path, strict=strict)
        else:
            source = open_table(path, size_hw=size_hw, strict=strict)
    return Recording(path, source)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise InputError where the block cannot read the file."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Was it moved or deleted?") from error


def _range(t: np.ndarray, start_us: int | None, end_us: int | None) -> slice:
    """Where sorted times lie in ``[start_us, end_us)``."""
    first = 0 if start_us is None else int(np.searchsorted(t, start_us))
    return slice(first, len(t) if end_us is None else int(np.searchsorted(t, end_us)))


def _by_time(events: Events) -> Events:
    """The events sorted by time, those of equal times in their order."""
    if (events.t[1:] >= events.t[:-1]).all():
        return events
    return events[np.argsort(events.t, kind="stable")]
