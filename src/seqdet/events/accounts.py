"""What a recording lost while it was read: by reason, its share of the events or pictures, when that is too much."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..checks import InputError
from .time_units import TimeUnit, doubt

TOLD, REFUSED = 0.01, 0.5
"""More than these shares of the events are a warning, and an error."""
PICTURES = "pictures "
OF_EVENTS = ("events ", "rows ", "words ", PICTURES)
"""How reasons begin that count events, what would have been events, or pictures; others count bytes, sizes, labels."""
OF_NO_EVENTS = ("bytes of a last ", "sensor sizes ")
"""How reasons begin that cost no event, so that a recording with nothing else had none."""
NAMED = 3
"""So many recordings are named where several have the same to tell."""
MOST_LINES = 10


@dataclass(frozen=True)
class Account:
    """What became of the events of a recording, or of the pictures of a video.

    events: how many were kept. dropped: how much was left out, by reason. notes: what is to be said of how its numbers
    were taken.
    """

    events: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()

    @property
    def lost(self) -> int:
        """How many events were left out."""
        return sum(count for reason, count in self.dropped.items() if reason.startswith(OF_EVENTS))

    @property
    def share(self) -> float:
        """Of the events that were left out."""
        return self.lost / max(self.events + self.lost, 1)

    @property
    def is_too_little(self) -> bool:
        """Whether what is left is of no use: fewer than half of the events, or none where there was something."""
        rest = [count for reason, count in self.dropped.items() if not reason.startswith(OF_NO_EVENTS)]
        return self.share > REFUSED or (self.events == 0 and sum(rest) > 0)

    @property
    def is_silent(self) -> bool:
        """Whether there were no events."""
        return self.events == 0 and not self.is_too_little

    @property
    def is_much(self) -> bool:
        """Whether what was left out is worth a warning."""
        return self.share > TOLD or self.is_too_little

    def reasons(self) -> list[str]:
        """What was left out, by reason and share."""
        total = max(self.events + self.lost, 1)
        return [
            f"{count:,} {reason}" + (f" ({_percent(count / total)})" if reason.startswith(OF_EVENTS) else "")
            for reason, count in self.dropped.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"events": self.events, "left_out": dict(self.dropped), "notes": list(self.notes)}

    @classmethod
    def of(cls, facts: Any) -> Account:
        """From what ``as_dict`` gave. Raises ValueError if it is something else."""
        if not isinstance(facts, dict) or not isinstance(facts.get("left_out"), dict):
            raise ValueError("it is no account of what was left out")
        counts = {"events": facts.get("events"), **facts["left_out"]}
        notes = facts.get("notes", [])
        if not all(isinstance(count, int) and count >= 0 for count in counts.values()) or not isinstance(notes, list):
            raise ValueError("it is no account of what was left out")
        return cls(facts["events"], Counter(facts["left_out"]), tuple(map(str, notes)))


def account(
    events: int, dropped: Mapping[str, int], notes: Iterable[str], unit: TimeUnit, span_us: tuple[int, int] | None
) -> Account:
    """That of a recording that was passed, from its first to its last event; with a word where its unit is doubtful.

    Args:
        events: how many were kept.
        dropped: how much was left out, by reason.
        notes: what was noticed.
        unit: of its times.
        span_us: its least and its greatest time, if it has events.
    """
    doubtful = "" if unit.is_stated or unit.note or span_us is None else doubt(events, span_us, unit.unit)
    return Account(events, +Counter(dropped), (*notes, *([doubtful] if doubtful else ())))


def check(name: object, found: Account) -> None:
    """Raise ``InputError`` if most of a recording was left out.

    Args:
        name: of the recording.
        found: what became of its events.
    """
    if found.is_too_little:
        notes = "".join(f" {_sentence(note)}" for note in found.notes)
        kind = "pictures" if any(reason.startswith(PICTURES) for reason in found.dropped) else "events"
        raise InputError(
            f"{name} must have {kind} of which most can be read; {found.events:,} were kept, and left out were "
            f"{', '.join(found.reasons())}.{notes}"
        )


def tell(log: logging.Logger, accounts: Mapping[str, Account]) -> None:
    """Say what was left out, and what numbers were taken for; what several recordings have in common once.

    Args:
        log: where.
        accounts: of recordings, by their names.

    Raises:
        InputError: if most of a recording was left out, see ``check``.
    """
    refused = next((name for name, each in accounts.items() if each.is_too_little), None)
    rest = {name: each for name, each in accounts.items() if name != refused}
    for note, names in _by_note(rest).items():
        log.warning("%s: %s.", _named(names), note)
    large = sorted((name for name, each in rest.items() if each.is_much), key=lambda name: -rest[name].share)
    small = [name for name, each in rest.items() if each.dropped and not each.is_much]
    for name in large[:MOST_LINES]:
        log.warning("%s: left out %s", name, ", ".join(rest[name].reasons()))
    if more := large[MOST_LINES:]:
        log.warning("%s: left out up to %s of the events", _named(more), _percent(rest[more[0]].share))
    if small:
        log.info("%s: left out %s", _named(small), ", ".join(total(rest[name] for name in small).reasons()))
    if refused is not None:
        check(refused, accounts[refused])


def total(accounts: Iterable[Account]) -> Account:
    """That of several recordings together, without notes."""
    found = list(accounts)
    return Account(sum(each.events for each in found), sum((each.dropped for each in found), Counter()))


def _by_note(accounts: Mapping[str, Account]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, found in accounts.items():
        for note in found.notes:
            names.setdefault(note, []).append(name)
    return names


def _named(names: list[str]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else f"{share:.2g} of all"
