"""Trigger edges among events, as the encoders of RAW take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..checks import InputError
from .array import COLUMNS, Events, Triggers
from .sieve import NEVER

TRIGGER = 10  # the type of its words in EVT2 and EVT3, and here a polarity


def edges_of(triggers: Triggers | None, *, channels: int) -> Events:
    """Trigger edges sorted by time, as events of polarity ``TRIGGER``: x and y are the bits of channel << 8 | p.

    Raises:
        InputError: if a time is negative, a channel is not below ``channels``, or p is not 0 or 1.
    """
    if triggers is None or not len(triggers):
        return Events.empty()
    if triggers.t.min() < 0 or triggers.channel.max() >= channels or triggers.p.max() > 1:
        raise InputError(
            f"triggers must have times from 0, channels below {channels} and p 0 or 1, got times from "
            f"{triggers.t.min()} us, channels up to {triggers.channel.max()} and p up to {triggers.p.max()}."
        )
    order = np.argsort(triggers.t, kind="stable")
    values = (triggers.channel.astype(np.uint16) << 8 | triggers.p)[order]
    p = np.full(len(values), TRIGGER, np.uint8)
    return Events(triggers.t[order].astype(np.int64), values >> np.uint16(11), values & np.uint16(0x7FF), p)


def with_edges(pieces: Iterable[Events], edges: Events) -> Iterator[Events]:
    """The pieces with each edge before the first event that is not older."""
    newest, done = NEVER, 0
    for events in pieces:
        latest = np.maximum.accumulate(np.maximum(events.t, newest))
        newest = int(latest[-1])
        until = int(np.searchsorted(edges.t, newest, side="right"))
        if until == done:
            yield events
            continue
        now, done = edges[done:until], until
        places = np.searchsorted(latest, now.t)
        yield Events(*(np.insert(getattr(events, name), places, getattr(now, name)) for name in COLUMNS))
    if done < len(edges):
        yield edges[done:]
