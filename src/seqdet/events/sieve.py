"""Leave out what cannot be, and count it: for readers of formats that store events as numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numba import njit

from ..checks import InputError
from .array import Events

JITTER_US = 1000  # an event that is older than another one before it by more than this is dropped
NEVER = -(1 << 62)
LEAP_US = 100_000  # a time further ahead than this is asked about: is it damaged?
WITNESSES = 8  # events to ask
LATEST_US = 1 << 53  # 285 years
LARGEST = 1 << 16  # rows and columns that uint16 can address


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
    """Events of one pass over a recording, in; those that can be, out.

    dropped: how much was left out, by reason. A strict sieve raises instead.
    """

    def __init__(self, path: Path, size_hw: tuple[int, int] | None, *, strict: bool) -> None:
        self.dropped: Counter[str] = Counter()
        self._path, self._strict = path, strict
        self._limits_hw, self._latest_us = size_hw or (LARGEST, LARGEST), NEVER

    def drop(self, reason: str, count: int) -> None:
        """Count what was left out for ``reason``.

        Raises:
            InputError: if the sieve is strict and ``count`` is not 0.
        """
        if not count:
            return
        if self._strict:
            raise InputError(
                f"{self._path} must be without fault to be read strictly, got {count} {reason}. "
                "Without strict they are left out and counted."
            )
        self.dropped[reason] += count

    def keep(self, events: Events) -> Events:
        """The events that lie on the sensor and are at most ``JITTER_US`` older than one before them.

        An event more than ``LEAP_US`` ahead is left out if most of the next few are not: its time is damaged.

        Raises:
            InputError: if the sieve is strict and some do not.
        """
        kept = np.empty(len(events), np.bool_)
        outside, impossible, backwards, self._latest_us = _sift(
            events.t, events.x, events.y, *self._limits_hw, self._latest_us, kept
        )
        self.drop("events outside the sensor", outside)
        self.drop("events at times that cannot be", impossible)
        self.drop("events running back in time", backwards)
        return events[kept] if outside or impossible or backwards else events


@njit(cache=True, nogil=True)
def _sift(t, x, y, height, width, latest, kept):
    """Mark the events to keep; return how many are left out, by the first reason, and the greatest time kept."""
    outside = impossible = backwards = 0
    for index in range(len(t)):
        kept[index] = False
        if x[index] >= width or y[index] >= height:
            outside += 1
        elif not -LATEST_US <= t[index] <= LATEST_US or (t[index] > latest + LEAP_US and _is_astray(t, index, latest)):
            impossible += 1
        elif t[index] < latest - JITTER_US:
            backwards += 1
        else:
            kept[index] = True
            latest = max(latest, t[index])
    return outside, impossible, backwards, latest


@njit(cache=True, nogil=True)
def _is_astray(t, place, latest):
    """Whether most of the times after the one at a place lie between the latest so far and it."""
    between = 0
    stop = min(place + 1 + WITNESSES, len(t))
    for index in range(place + 1, stop):
        between += latest - JITTER_US <= t[index] < t[place] - JITTER_US
    return 2 * between > stop - place - 1
