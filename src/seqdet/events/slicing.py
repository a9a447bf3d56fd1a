"""Cut events into windows of time or of number: those of a recording, and of a stream, each as soon as it is full."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ..checks import InputError, check_at_least
from .array import COLUMNS, Events
from .filters import chosen_events
from .sieve import JITTER_US, NEVER
from .time_units import LATEST_US

MOST_WINDOWS = 10**7
"""Of a recording: six days of 50 ms, three hours of 1 ms."""
REASONS = ("events before the first window", "events that came too late", "events at impossible times")


class Window(NamedTuple):
    """The events with times in ``[start_us, end_us)``, sorted by time."""

    start_us: int
    end_us: int
    events: Events


def windows(
    chunks: Iterable[Events],
    *,
    window_us: int | None = None,
    count: int | None = None,
    start_us: int | None = None,
    end_us: int | None = None,
) -> Iterator[Window]:
    """Cut events that come in pieces, in order up to the jitter, into windows; see ``Recording.windows``.

    Args:
        chunks: the events.
        window_us: length of a window.
        count: most events of a window.
        start_us: no event before this; the time of the first event if None.
        end_us: no event from this on; the last event is the last if None.

    Raises:
        InputError: if neither length is given, or one is below 1.
    """
    for name, length in (("window_us", window_us), ("count", count)):
        if length is not None:
            check_at_least(length, 1, name)
    if window_us is None and count is None:
        raise InputError("windows must have a window_us, a count or both, got neither.")
    start = start_us
    parts = []  # the events of the window so far
    held = 0  # how many they are
    for events, is_last in _sorted(chunks, start_us, end_us):
        done = 0
        if start is None and len(events):
            start = int(events.t[0])
        while start is not None:
            if count is not None and not held:
                if done == len(events):
                    break
                start = int(events.t[done])
            end = None if window_us is None else start + window_us
            if end_us is not None and end is not None:
                end = min(end, end_us)
            until = len(events) if end is None else done + int(np.searchsorted(events.t[done:], end))
            is_full = count is not None and held + until - done >= count
            if is_full:
                assert count is not None
                until = done + count - held
            if until > done:
                parts.append(events[done:until])
                held += until - done
                done = until
            if not is_full and done == len(events):
                if not is_last:
                    break
                if not held and (end_us is None or start >= end_us):
                    break
            whole = parts[0] if len(parts) == 1 else Events.concatenate(parts)
            if is_full or end is None:
                end = int(whole.t[-1]) + 1
            yield Window(start, end, whole)
            start = end
            parts = []
            held = 0


def check_windows(path: Path, first_us: int, last_us: int, step_us: int) -> int:
    """How many windows of a length there are from one time to another.

    Args:
        path: of the recording, for the message.
        first_us, last_us: times of its first and its last event.
        step_us: from the start of a window to that of the next.

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
    waiting = Events.empty()
    newest = None
    for chunk in chunks:
        if not len(chunk):
            continue
        events = chunk.in_order()
        newest = max(int(events.t[-1]), newest if newest is not None else int(events.t[0]))
        events = events[_range(events.t, start_us, end_us)]
        if len(waiting):
            among = int(np.searchsorted(events.t, waiting.t[-1]))
            waiting = Events.concatenate([waiting, events[:among]]).in_order()
            events = events[among:]
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


class WindowStream:
    """Cuts events that come in pieces of any size into windows; where the pieces are cut makes no difference.

    By time, window n is ``[start + n * step_us, start + n * step_us + window_us)``, with events or without, as for
    representations. By number, a window begins with its first event and ends with its ``count``-th.

    A window closes once there was an event ``lateness_us`` after its end, or once ``advance`` says so. Until then
    events that belong to it are taken in any order and sorted, those of one microsecond as they come. Events earlier
    than the end of the last closed window are dropped and counted; by number, and before the start of the first window
    is known, those more than ``lateness_us`` earlier than one before them. With the default, the windows of a recording
    are those of ``Recording.windows``, and nothing is dropped.

    What comes out is an iterator over the windows that are closed now, each made when it is asked for: a silence of an
    hour takes no memory. Windows that were not asked for come first the next time. Memory is that of the events of one
    window and of ``lateness_us``, 13 bytes each, and of the last piece; how many events that is, the sensor decides.

    dropped: how many events were left out, by reason.

    Args:
        window_us: length of a window.
        step_us: from the start of a window to that of the next, at most ``window_us``, which it is if None.
        count: events of a window; either this or ``window_us``.
        start_us: start of the first window, earlier events are dropped; the time of the first event if None.
        lateness_us: how far events may be behind others. 0 closes windows soonest, where none ever is.

    Raises:
        InputError: if the lengths are out of range, or not one of them is given.
    """

    def __init__(
        self,
        *,
        window_us: int | None = None,
        step_us: int | None = None,
        count: int | None = None,
        start_us: int | None = None,
        lateness_us: int = JITTER_US,
    ) -> None:
        if (window_us is None) == (count is None):
            raise InputError(f"a stream must have either window_us or count, got {window_us} and {count}.")
        if step_us is not None and not 1 <= step_us <= (window_us or 0):
            raise InputError(f"step_us must be from 1 to window_us, got {step_us} and {window_us}.")
        check_at_least(1 if window_us is None else window_us, 1, "window_us")
        check_at_least(1 if count is None else count, 1, "count")
        check_at_least(lateness_us, 0, "lateness_us")
        lengths = int(window_us or 0), int(step_us or window_us or 0), int(count or 0)
        self._rule = Rule(*lengths, NEVER if start_us is None else possible(start_us), int(lateness_us))
        possible(max(self._rule))
        self.dropped: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget all events and times: what comes next is another stream. ``dropped`` counts on."""
        self._clock = Clock(*[self._rule.start_us] * 3)
        self._events = Events.empty()  # sorted ones
        self._parts = []  # those as they came
        self._held = 0  # how many of both

    def push(self, events: Events, wanted: np.ndarray | None = None) -> Iterator[Window]:
        """Take the events, which are copied; give the windows that are closed now.

        The events are taken at once, whether the windows are asked for or not. One damaged time far ahead closes all
        windows up to it, and what follows is late: events that did not come from a reader should pass a ``Sieve``.

        Args:
            events: the next of the stream.
            wanted: (N,) bool, which of them go into windows; the others only tell what time it is. All if None.
        """
        kept = np.empty(len(events), np.bool_)
        wanted = np.ones(len(events), np.bool_) if wanted is None else wanted
        self._clock, *counts = take(np.ascontiguousarray(events.t), wanted, self._clock, self._rule, kept)
        self.dropped += Counter(dict(zip(REASONS, counts, strict=True)))
        part = Events.concatenate([events]) if kept.all() else chosen_events(events, kept)
        if len(part):
            self._parts.append(part)
            self._held += len(part)
        return self._closed()

    def advance(self, time_us: int) -> Iterator[Window]:
        """Promise that no event before ``time_us`` comes any more; give the windows that are closed now."""
        clock = self._clock
        settled, newest = (max(possible(time_us), time) for time in (clock.settled_us, clock.newest_us))
        start, horizon = settle(settled, clock.earliest_us, clock.start_us, clock.horizon_us, self._rule)
        self._clock = Clock(start, horizon, settled, newest, clock.earliest_us)
        return self._closed()

    def close(self) -> Iterator[Window]:
        """End the stream; give the windows left. The stream is as after ``reset``.

        Windows that the stream did not reach the end of are among them, while there are events in them; they are not
        shorter, but by number they have fewer events.
        """
        rest = copy.copy(self)
        self.reset()
        return rest._remaining()

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, as numbers and arrays, for ``load_state_dict``."""
        self._sort()
        columns = {name: getattr(self._events, name).copy() for name in COLUMNS}
        return {**columns, "clock": list(self._clock), "rule": list(self._rule), "dropped": dict(self.dropped)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            InputError: if it is not that of a stream with the same arguments.
        """
        if list(state.get("rule", ())) != list(self._rule):
            raise InputError(f"state must be of a stream with {self._rule}, got {state.get('rule')}.")
        self._events = Events(*(state[name].copy() for name in COLUMNS))
        self._parts = []
        self._clock = Clock(*map(int, state["clock"]))
        self._held = len(self._events)
        self.dropped = Counter(state["dropped"])

    def _closed(self) -> Iterator[Window]:
        """Windows that no event can come into."""
        if self._rule.events:
            while self._held >= self._rule.events:
                self._sort()
                if self._clock.settled_us < self._events.t[self._rule.events - 1]:
                    break
                yield self._by_number(self._rule.events)
        else:
            while NEVER < self._clock.start_us <= self._clock.settled_us - self._rule.window_us:
                yield self._by_time()

    def _remaining(self) -> Iterator[Window]:
        """All windows that are left."""
        clock = self._clock
        settled = -NEVER if self._rule.events else self._clock.newest_us
        start, _ = settle(settled, clock.earliest_us, clock.start_us, clock.horizon_us, self._rule)
        self._clock = clock._replace(start_us=start, settled_us=settled)
        yield from self._closed()
        while self._held:
            yield self._by_number(self._held) if self._rule.events else self._by_time()

    def _by_time(self) -> Window:
        self._sort()
        start = self._clock.start_us
        end, next_start = start + self._rule.window_us, start + self._rule.step_us
        stop, begin = np.searchsorted(self._events.t, [end, next_start])
        window = Window(start, end, self._events[:stop])
        self._clock = self._clock._replace(start_us=next_start)
        self._forget(int(begin))
        return window

    def _by_number(self, count: int) -> Window:
        self._sort()
        events = self._events[:count]
        self._forget(count)
        return Window(int(events.t[0]), int(events.t[-1]) + 1, events)

    def _sort(self) -> None:
        if self._parts:
            self._events = Events.concatenate([self._events, *self._parts]).in_order()
            self._parts = []

    def _forget(self, count: int) -> None:
        self._events = self._events[count:]
        self._held -= count


class Rule(NamedTuple):
    """How windows lie, see ``WindowStream``. ``events`` is the count or 0; ``NEVER`` is an unknown start."""

    window_us: int
    step_us: int
    events: int
    start_us: int
    lateness_us: int


class Clock(NamedTuple):
    """Where a stream is.

    start_us: of the next window by time; ``NEVER`` while that is unknown. horizon_us: what is earlier is dropped.
    settled_us: nothing earlier is waited for. newest_us: the greatest time so far, of an event or of ``advance``.
    earliest_us: the least of an event while ``start_us`` is unknown.
    """

    start_us: int
    horizon_us: int
    settled_us: int
    newest_us: int = NEVER
    earliest_us: int = -NEVER


def possible(time_us: int) -> int:
    """The time.

    Raises:
        InputError: if no recording reaches so far.
    """
    if not -LATEST_US <= time_us <= LATEST_US:
        raise InputError(f"times must be from {-LATEST_US} to {LATEST_US} microseconds, got {time_us}.")
    return int(time_us)


@njit(cache=True, nogil=True)
def settle(settled, earliest, start, horizon, rule):
    """The start of the next window and the horizon once nothing before ``settled`` is waited for."""
    if rule.events > 0:
        return start, max(horizon, settled)
    if start == NEVER:
        if settled < earliest:
            return start, settled
        start = horizon = earliest
    since = settled - start - rule.window_us
    if since >= 0:
        horizon = max(horizon, settled - since % rule.step_us)
    return start, horizon


@njit(cache=True, nogil=True)
def take(t, wanted, clock, rule, kept):
    """Mark the wanted events that are taken, one after the other; return the clock and how many are not, by reason."""
    start, horizon, settled, newest, earliest = clock
    early = late = impossible = 0
    is_plain = len(t) > 0 and max(horizon, -LATEST_US) <= t[0] and t[-1] <= LATEST_US
    is_plain &= start != NEVER or wanted.all()
    for i in range(1, len(t)):
        is_plain &= t[i - 1] <= t[i]
    kept[:] = wanted & is_plain
    stride = max(len(t) - 1, 1) if is_plain else 1  # of events in order the first and the last say it all
    for i in range(0, len(t), stride):
        time = t[i]
        if not -LATEST_US <= time <= LATEST_US:
            impossible += wanted[i]
        elif time < horizon:
            early += wanted[i] and horizon == rule.start_us
            late += wanted[i] and horizon != rule.start_us
        else:
            kept[i] = wanted[i]
            if start == NEVER and wanted[i]:
                earliest = min(earliest, time)
            newest = max(newest, time)
            if newest - rule.lateness_us > settled:
                settled = newest - rule.lateness_us
                start, horizon = settle(settled, earliest, start, horizon, rule)
    return Clock(start, horizon, settled, newest, earliest), early, late, impossible
