"""Leave out what is not plausible, and count it: for readers of formats that store events as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numba import njit

from ..checks import LARGEST_SIDE, InputError, proposed
from .array import Events
from .time_units import LATEST_US

JITTER_US = 1000  # an event that is older than another one before it by more than this is dropped
NEVER = -(1 << 62)
LEAP_US = 100_000  # a time further ahead than this is asked about: is it damaged?
SLIGHT_US = 5 * JITTER_US  # where time goes back by more than this it is asked about: has the clock begun anew?
BACK_US = 2 * LEAP_US  # damage may move time by less than this, so that there more is asked
WITNESSES = 8  # events to ask
MOST_WITNESSES = 1 << 15  # events to ask whether the clock has begun anew: twice those of a damaged chunk of ECF
NEAR_WITNESSES = 1 << 12  # events to ask so where time goes back by less than ``BACK_US``
LEAST_RUN = 20  # events of one value in a column by which rows may be sorted
UNORDERED = 0.01  # so many of the steps from one event to the next go back in time in no recording of a camera
FINE = 32  # parts of a pixel that some tools write
MOST_NOTES = 5
OUTSIDE_EVENTS = "events outside the sensor"
BACKWARD_EVENTS = "events running back in time"
IMPLAUSIBLE_EVENTS = "events at implausible times"
SORT_IT = "Sort its rows by t, with all columns in the same order, as np.argsort(t, kind='stable') gives it"
GO_ON, WAIT, NEW_CLOCK = range(3)


def check_inside(events: Events, size_hw: tuple[int, int]) -> None:
    """Raise ``InputError`` unless all events lie on a sensor of that height and width, and are of polarity 0 or 1."""
    height, width = size_hw
    if len(events) and (events.x.max() >= width or events.y.max() >= height):
        raise InputError(
            f"events must lie on a sensor of height {height} and width {width}, got x up to {events.x.max()} and "
            f"y up to {events.y.max()}; were height and width swapped?"
        )
    if len(events) and events.p.max() > 1:
        raise InputError(f"p must be 0 or 1, got up to {events.p.max()}.")


class Sieve:
    """Events of one pass over a recording, in; those that are plausible, out.

    dropped: how much was left out, by reason. A strict sieve raises instead.

    Args:
        path: of the recording, for messages.
        size_hw: height and width of the sensor, if they are known.
        strict: whether to raise.
        joins_clocks: whether time goes on where the clock of the camera begins anew; it is an error otherwise.
    """

    def __init__(
        self, path: Path, size_hw: tuple[int, int] | None, *, strict: bool, joins_clocks: bool = False
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self.path = path
        self._strict = strict
        self._joins_clocks = joins_clocks
        self._limits_hw = size_hw or (LARGEST_SIDE, LARGEST_SIDE)
        self._latest_us = NEVER
        self._held = Events.empty()  # which wait for what comes after them
        self._before = Events.empty()  # the latest that were kept
        self._later_us = self._seen = 0
        self._largest_xy = 0, 0
        self._clocks: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed so far, and is to be said."""
        return (*self._clocks[:MOST_NOTES], *self._fine_coordinates(), *self._unordered())

    def drop(self, reason: str, count: int) -> None:
        """Count what was left out for ``reason``.

        Raises:
            InputError: if the sieve is strict and ``count`` is not 0.
        """
        if not count:
            return
        if self._strict:
            raise InputError(
                f"{self.path} must be without fault to be read strictly, got {count} {reason}. "
                "Without strict they are left out and counted."
            )
        self.dropped[reason] += count

    def passed(self, pieces: Iterable[Events]) -> Iterator[Events]:
        """What ``keep`` leaves of each piece, and at the end of what waited."""
        for events in pieces:
            yield self.keep(events)
        if len(self._held):
            yield self.keep(Events.empty(), is_last=True)

    def keep(self, events: Events, *, is_last: bool = False) -> Events:
        """The events that lie on the sensor and are at most ``JITTER_US`` older than one before them.

        An event more than ``LEAP_US`` ahead is left out if most of the next few are not: its time is damaged. Where
        time goes back by more than ``SLIGHT_US`` and stays there, the clock has begun anew. Events that nobody can
        judge before the next ones are known wait for these.

        Raises:
            InputError: if the clock begins anew, unless clocks are joined; if it does so as events are in no order of
                time; if the sieve is strict and events are left out.
        """
        events = events.later(self._later_us)
        if len(self._held):
            events, self._held = Events.concatenate([self._held, events]), Events.empty()
        are_usual, newest_us = _are_usual(events.t, events.x, events.y, *self._limits_hw, self._latest_us)
        if are_usual:
            self._latest_us = newest_us
            self._seen += len(events)
            self._remember(events)
            return events
        kept = np.empty(len(events), np.bool_)
        height, width = self._limits_hw
        stop = 0
        verdict = GO_ON
        lost = np.zeros(3, np.int64)
        while stop < len(events) and verdict != WAIT:
            t, x, y = events.t, events.x, events.y
            stop, verdict, self._latest_us = _sift(
                t, x, y, height, width, self._latest_us, self._before.t, kept, lost, stop, is_last
            )
            if verdict == NEW_CLOCK:
                events = self._on_one_clock(events, stop)
        if stop < len(events):
            self._held = Events.concatenate([events[stop:]])  # a copy, so that the others can go
            events, kept = events[:stop], kept[:stop]
        outside, impossible, backwards = lost.tolist()
        self._seen += stop
        if outside:
            furthest_x, furthest_y = int(events.x.max()), int(events.y.max())
            self._largest_xy = max(self._largest_xy[0], furthest_x), max(self._largest_xy[1], furthest_y)
        self.drop(OUTSIDE_EVENTS, outside)
        self.drop(IMPLAUSIBLE_EVENTS, impossible)
        self.drop(BACKWARD_EVENTS, backwards)
        events = events[kept] if outside or impossible or backwards else events
        self._remember(events)
        return events

    def _remember(self, events: Events) -> None:
        """Keep a copy of the latest that were kept, as many as are asked."""
        parts = [events[-NEAR_WITNESSES:]]
        if len(events) < NEAR_WITNESSES:
            parts.insert(0, self._before[len(events) - NEAR_WITNESSES :])
        self._before = Events.concatenate(parts)

    def _on_one_clock(self, events: Events, place: int) -> Events:
        """The same, with those from a place on as much later as they have to be to go on from the ones before."""
        time_us = int(events.t[place]) - self._later_us
        number = self._seen + place
        told = f"after {number:,} events: {self._latest_us:,} us are followed by {time_us:,} us"
        if disorder := self._disorder(events, place):
            raise InputError(f"{self.path} must have its events in order of time, and {disorder}. {SORT_IT}.")
        if not self._joins_clocks:
            raise InputError(
                f"{self.path} must have one clock, and it begins anew {told}. Write it with times that go on, and give "
                f"labels the same times: {proposed('convert', self.path, 'NEW.npz', '--join-clocks')}"
            )
        step_us = self._latest_us - int(events.t[place])
        self._later_us += step_us
        self._clocks.append(
            f"the clock begins anew {told}, and times from there on are made {self._later_us:,} us later"
        )
        t = events.t.copy()
        t[place:] += step_us
        return Events(t, events.x, events.y, events.p)

    def _disorder(self, events: Events, place: int) -> str:
        """Why time runs back at a place, if no clock begins anew there; nothing if one may."""
        around = Events.concatenate([self._before, events])
        place += len(self._before)
        steps = np.diff(around.t)
        backs = np.flatnonzero(steps < -JITTER_US) + 1
        start, stop = max(backs[backs < place], default=0), min(backs[backs > place], default=len(around))
        for name, meaning in (("p", "polarity"), ("x", "x"), ("y", "y")):
            before, after = around[name][start:place], around[name][place:stop]
            are_runs = min(len(before), len(after)) >= LEAST_RUN and before.min() == before.max()
            if are_runs and after.min() == after.max() and before[0] != after[0]:
                return f"they are sorted by {meaning}"
        if len(backs) >= WITNESSES and len(backs) > UNORDERED * len(steps):
            return f"{len(backs):,} of {len(steps):,} go back from the one before"
        return ""

    def _unordered(self) -> tuple[str, ...]:
        """That most events are earlier than others before them."""
        if not self._seen or 2 * self.dropped[BACKWARD_EVENTS] <= self._seen:
            return ()
        return (f"most of its events are earlier than others before them, in no order of time. {SORT_IT}",)

    def _fine_coordinates(self) -> tuple[str, ...]:
        """That places of events are parts of pixels, where most are outside the sensor and would then not be."""
        (height, width), (x, y) = self._limits_hw, self._largest_xy
        is_fine = FINE // 8 <= x // width < FINE and FINE // 8 <= y // height < FINE
        is_fine &= 2 * self.dropped[OUTSIDE_EVENTS] > self._seen
        if not is_fine:
            return ()
        return (f"x up to {x} and y up to {y} would lie on the sensor as parts of {FINE} of a pixel: divide them",)


@njit(cache=True, nogil=True)
def _are_usual(t, x, y, height, width, latest):
    """Whether all events are to be kept without a question, as those of nearly every piece; and the greatest time.

    Without branches, in half of the time that ``_sift`` takes.
    """
    if len(t) and latest == NEVER:
        latest = t[0]
    are_usual = True
    for index in range(len(t)):
        time = t[index]
        are_usual &= (x[index] < width) & (y[index] < height)
        are_usual &= (max(latest - JITTER_US, -LATEST_US) <= time) & (time <= latest + LEAP_US)
        latest = max(latest, time)
    return are_usual and latest <= LATEST_US, latest


@njit(cache=True, nogil=True)
def _sift(t, x, y, height, width, latest, before, kept, lost, start, is_last):
    """Mark the events to keep from one on, and count those left out, by the first reason.

    Returns where it stopped, why, and the greatest time kept.
    """
    is_judged = False  # that the clock did not begin anew where time runs back
    for index in range(start, len(t)):
        kept[index] = False
        if x[index] >= width or y[index] >= height:
            lost[0] += 1
            continue
        if not -LATEST_US <= t[index] <= LATEST_US:
            lost[1] += 1
            continue
        if t[index] > latest + LEAP_US:
            if latest > NEVER and index + WITNESSES >= len(t) and not is_last:
                return index, WAIT, latest
            if _is_astray(t, index, latest):
                lost[1] += 1
                continue
        elif t[index] < latest - JITTER_US:
            if t[index] < latest - SLIGHT_US and not is_judged:
                is_far = t[index] < latest - BACK_US
                if is_far:
                    verdict = _begins_anew(t, index, latest, is_last)
                else:
                    verdict = _begins_anew_near(t, index, latest, is_last)
                if verdict != GO_ON and not is_far and _leapt_up(t, index, latest, before, kept):
                    verdict = GO_ON
                if verdict != GO_ON:
                    return index, verdict, latest
                is_judged = True
            lost[2] += 1
            continue
        kept[index] = True
        is_judged = False
        latest = max(latest, t[index])
    return len(t), GO_ON, latest


@njit(cache=True, nogil=True)
def _is_astray(t, place, latest):
    """Whether most of the times after the one at a place lie between the latest so far and it."""
    between = 0
    stop = min(place + 1 + WITNESSES, len(t))
    for index in range(place + 1, stop):
        between += latest - JITTER_US <= t[index] < t[place] - JITTER_US
    return 2 * between > stop - place - 1


@njit(cache=True, nogil=True)
def _begins_anew(t, place, latest, is_last):
    """Whether the clock begins anew at a place: what follows goes on from there, and not from the latest so far."""
    newest, here, there = t[place], 1, 0
    for index in range(place + 1, len(t)):
        if t[index] >= latest - JITTER_US and t[index] > newest + LEAP_US:
            there += 1
        elif t[index] >= newest - JITTER_US:
            here += 1
            newest = max(newest, t[index])
        if there >= WITNESSES and there > here:
            return GO_ON
        if here + there >= MOST_WITNESSES:
            return NEW_CLOCK if here > there else GO_ON
    if not is_last:
        return WAIT
    return NEW_CLOCK if here >= WITNESSES and here > there else GO_ON


@njit(cache=True, nogil=True)
def _leapt_up(t, place, latest, before, kept):
    """Whether time came to the latest so far from where it is at a place by a leap, as it does by damage."""
    leap, least = (latest - t[place]) // 2, latest
    for index in range(place - 1, -1 - len(before), -1):
        time = t[index] if index >= 0 else before[index]
        if (index < 0 or kept[index]) and time < least:
            if least - time > leap:
                return True
            least = time
        if least <= t[place]:
            return False
    return False


@njit(cache=True, nogil=True)
def _begins_anew_near(t, place, latest, is_last):
    """Whether time goes on from a place to the latest so far step by step; events that are late go on by a leap."""
    leap, newest, count = (latest - t[place]) // 2, t[place], 1
    for index in range(place + 1, len(t)):
        if newest + leap < t[index] <= latest + LEAP_US:
            return GO_ON
        if newest - JITTER_US <= t[index] <= newest + leap:
            count += 1
            newest = max(newest, t[index])
        if newest >= latest - JITTER_US or count >= NEAR_WITNESSES:
            return NEW_CLOCK if count >= WITNESSES else GO_ON
    if not is_last:
        return WAIT
    return NEW_CLOCK if count >= WITNESSES else GO_ON
