"""Write a recording, or a part of it, in another format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError, check_at_least, check_choice, check_roi
from ..files import check_output
from ..progress import progress
from .accounts import Account, check
from .array import Events
from .files import Recording
from .filters import FilterConfig, NoiseFilter, filtered, is_inside
from .formats import ENCODINGS, encoding_of
from .sieve import JITTER_US


class Converted(NamedTuple):
    """What became of a recording.

    events, triggers: how many events and trigger edges were written. lost: what was not, by wish or for want of room,
    by reason. account: what could not be read. earlier_us: so much earlier are the times that are read back, where the
    format cannot count so far.
    """

    events: int
    triggers: int
    lost: Counter[str]
    account: Account
    earlier_us: int = 0

    def __str__(self) -> str:
        """In one line."""
        lost = "".join(f", left out {count:,} {reason}" for reason, count in self.lost.items())
        earlier = f", times are {self.earlier_us:,} us earlier: the format counts no farther" if self.earlier_us else ""
        return f"{self.events:,} events and {self.triggers:,} trigger edges written{earlier}{lost}"


def convert(
    recording: Recording,
    target: Path | str,
    *,
    encoding: str | None = None,
    start_us: int | None = None,
    duration_us: int | None = None,
    filters: Sequence[FilterConfig] = (),
    roi: tuple[int, int, int, int] | None = None,
    compression: str | None = None,
    overwrite: bool = False,
) -> Converted:
    """Write ``target``. Memory is bounded.

    Trigger edges within the range go along where the format has room for them; otherwise the answer counts them.

    Args:
        recording: what to write; times stay as they are, where the format can count so far.
        target: the file.
        encoding: a key of ``ENCODINGS``; by the ending of the name if None.
        start_us: no event before this; the first event if None.
        duration_us: so much from ``start_us`` on, or from the first event; to the end if None.
        filters: which events of the part are left out, one after the other; they know nothing of what came before it.
        roi: x1, y1, x2, y2 in pixels, half open: only events within, which keep their coordinates.
        compression: of HDF5, see ``write_hdf5``.
        overwrite: replace a file that is there, once the new one is complete; never the recording itself.

    Raises:
        InputError: if the format is not one that can be written, a number is out of range, there are no events in the
            part, most of them cannot be read, or the file is there already or cannot be written.
    """
    check_output(Path(target), inputs=[recording.path], overwrite=overwrite)
    encoding = encoding_of(Path(target)) if encoding is None else encoding
    check_choice(encoding, ENCODINGS, "encoding")
    written = ENCODINGS[encoding]
    if duration_us is not None:
        check_at_least(duration_us, 1, "duration_us")
    check_roi(roi)
    if start_us is None and duration_us is not None:
        start_us = next((int(chunk.t[0]) for chunk in recording.chunks() if len(chunk)), 0)
    end_us = None if start_us is None or duration_us is None else start_us + duration_us
    found = recording.triggers()
    triggers = found[_between(found.t, start_us, end_us)]
    count = Counter({"events": 0, "first_us": 0})
    has_room = written.holds_triggers and len(triggers) > 0
    options: dict[str, Any] = {"triggers": triggers} if has_room else {}
    if compression is not None:
        able = [name for name, each in ENCODINGS.items() if each.is_compressible]
        check_choice(encoding, able, "the format, to be compressed,")
        options["compression"] = compression
    chain = [NoiseFilter(each, recording.size_hw) for each in filters]
    part = _checked(_inside(filtered(_part(recording, start_us, end_us), chain), roi, count), recording)
    if not has_room and (start_us, end_us, roi) != (None, None, None):
        part = _not_empty(part, recording.path)
    written.write(target, part, size_hw=recording.size_hw, **options)
    lost: Counter[str] = Counter()
    for each in chain:
        if each.removed:
            lost[f"events that did not pass {each.config.name}"] += each.removed
    if not has_room and len(triggers):
        lost[f"trigger edges, for which {encoding} has no room"] = len(triggers)
    earlier_us = count["first_us"] // written.loop_us * written.loop_us
    return Converted(count["events"], len(triggers) * has_room, lost, recording.account, earlier_us)


def _part(recording: Recording, start_us: int | None, end_us: int | None) -> Iterator[Events]:
    """The events between two times, in pieces, in the order of the file."""
    for chunk in progress(recording.chunks(start_us), "converting", unit="event", size=len):
        yield chunk[_between(chunk.t, start_us, end_us)]
        if end_us is not None and len(chunk) and chunk.t.max() >= end_us + JITTER_US:
            return


def _inside(pieces: Iterable[Events], roi: tuple[int, int, int, int] | None, count: Counter[str]) -> Iterator[Events]:
    """Those within the region, which are counted."""
    for events in pieces:
        if roi is not None:
            events = events[is_inside(events, roi)]
        if len(events) and not count["events"]:
            count["first_us"] = int(events.t[0])
        count["events"] += len(events)
        yield events


def _checked(pieces: Iterator[Events], recording: Recording) -> Iterator[Events]:
    """The pieces, at whose end it is an error if most events could not be read: nothing is written then."""
    yield from pieces
    check(recording.path, recording.account)


def _not_empty(pieces: Iterable[Events], path: Path) -> Iterator[Events]:
    """The pieces, of which one must have events."""
    has_events = False
    for events in pieces:
        has_events |= len(events) > 0
        yield events
    if not has_events:
        raise InputError(f"{path} must have events in the part that is asked for, and has none.")


def _between(t: np.ndarray, start_us: int | None, end_us: int | None) -> np.ndarray:
    keep = np.ones(len(t), bool)
    if start_us is not None:
        keep &= t >= start_us
    if end_us is not None:
        keep &= t < end_us
    return keep
