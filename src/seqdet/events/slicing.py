"""Cut a stream of events into windows of time or of number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import InputError, check_at_least
from .array import Events
from .sieve import JITTER_US

MOST_WINDOWS = 10**7
"""Of a recording: six days of 50 ms, three hours of 1 ms."""


class Window(NamedTuple):
    """The events with times in ``[start_us, end_us)``, sorted by time."""

    start_us: int
    end_us: int
    events: Events


def windows(
    chunks: Iterable[Events],
    *,
    duration_us: int | None = None,
    count: int | None = None,
    start_us: int | None = None,
    end_us: int | None = None,
) -> Iterator[Window]:
    """Cut events that come in pieces, in order up to the jitter, into windows; see ``Recording.windows``."""
    for name, length in (("duration_us", duration_us), ("count", count)):
        if length is not None:
            check_at_least(length, 1, name)
    if duration_us is None and count is None:
        raise InputError("windows must have a duration_us, a count or both, got neither.")
    start, parts, held = start_us, [], 0  # the events of the window so far, in pieces, and how many they are
    for events, is_last in _sorted(chunks, start_us, end_us):
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


def check_windows(path: Path, first_us: int, last_us: int, step_us: int) -> int:
    """How many windows of a length there are from one time to another.

    Raises:
        InputError: if they are more than anyone waits for, as one damaged time can make them.
    """
    if (count := (last_us - first_us) // step_us + 1) > MOST_WINDOWS:
        raise InputError(
            f"{path} must have at most {MOST_WINDOWS:,} windows of {step_us:,} us, and its times, from {first_us:,} to "
            f"{last_us:,} us, make {count:,}. Is a time damaged? seqdet convert --duration-us cuts what comes after."
        )
    return count


def _sorted(chunks: Iterable[Events], start_us: int | None, end_us: int | None) -> Iterator[tuple[Events, bool]]:
    """Events that none can precede any more, sorted, and whether they are the last."""
    waiting, newest = Events.empty(), None
    for chunk in chunks:
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


def _range(t: np.ndarray, start_us: int | None, end_us: int | None) -> slice:
    """Where sorted times lie in ``[start_us, end_us)``."""
    first = 0 if start_us is None else int(np.searchsorted(t, start_us))
    return slice(first, len(t) if end_us is None else int(np.searchsorted(t, end_us)))


def _by_time(events: Events) -> Events:
    """The events sorted by time, those of equal times in their order."""
    if (events.t[1:] >= events.t[:-1]).all():
        return events
    return events[np.argsort(events.t, kind="stable")]
