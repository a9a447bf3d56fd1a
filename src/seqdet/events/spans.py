"""The time of the first and of the last event of a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .array import Events
from .sieve import JITTER_US, NEVER, Sieve


def whole_span_us(chunks: Iterable[Events]) -> tuple[int, int] | None:
    """The least and the greatest time; None if there is no event."""
    first_us, last_us = -NEVER, NEVER
    for events in chunks:
        if len(events):
            first_us, last_us = min(first_us, int(events.t.min())), max(last_us, int(events.t.max()))
    return (first_us, last_us) if first_us <= last_us else None


def end_span_us(
    pieces: Callable[[int, Sieve], Iterator[Events]], count: int, new_sieve: Callable[[], Sieve]
) -> tuple[int, int] | None:
    """As ``whole_span_us`` of all pieces, by reading the first and the last of them.

    No event lies more than the jitter behind one before it. So the first is among those until time is past that, and
    the last among those from a piece on that lasts longer than that. Where the last pieces are damaged, all are read.

    Args:
        pieces: gives the events that pass a sieve from one of ``count`` pieces on.
    """
    first_us = newest_us = None
    for events in pieces(0, new_sieve()):
        if len(events):
            first_us = min(int(events.t.min()), -NEVER if first_us is None else first_us)
            newest_us = int(events.t.max())
            if newest_us > first_us + 2 * JITTER_US:
                break
    if first_us is None or newest_us is None:
        return None
    back = 1
    while back < count and newest_us > first_us + 2 * JITTER_US:
        sieve = new_sieve()
        before = sieve.dropped.total()
        found = [(int(events.t[0]), int(events.t.max())) for events in pieces(count - back, sieve) if len(events)]
        if sieve.dropped.total() > before:
            break
        if found and max(last for _, last in found) > found[0][0] + 2 * JITTER_US:
            return first_us, max(last for _, last in found)
        back *= 2
    return whole_span_us(pieces(0, new_sieve()))
