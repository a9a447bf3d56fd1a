"""Where a stream of events is, event by event: which are taken, and which windows can have no more."""

from __future__ import annotations

from typing import NamedTuple

from numba import njit

from ..checks import InputError
from .sieve import NEVER
from .time_units import LATEST_US


class Rule(NamedTuple):
    """How windows lie, see ``WindowStream``. ``events`` is the count or 0; ``NEVER`` is an unknown start."""

    duration_us: int
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
    since = settled - start - rule.duration_us
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
