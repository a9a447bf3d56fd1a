"""In which unit a recording counts its time: what the user says, a name says, or the numbers themselves can tell."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import InputError
from ..config import Unit

IN_US: Mapping[Unit, tuple[int, int]] = {"s": (1_000_000, 1), "ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}
"""Microseconds of a unit, as numerator and denominator."""
SPELT: Mapping[Unit, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
LATEST_US = 1 << 53
"""285 years; a time beyond that is damage."""
SINCE_1970_NS = 9e17, 4e18
"""Times between these, 1998 and 2096, are nanoseconds since 1970: as microseconds they would be 28,000 years."""
WEEK_US = 7 * 86_400_000_000
SHORT_US, STILL_HZ, SOME = 1000, 10, 20
"""A recording of so many events is hardly ever this short, or this slow."""
SLOW_HZ, MANY = 1000, 5000
"""So many events come faster than this from nearly every camera."""
COARSE, COARSE_HZ = 1000, 10_000
"""Where times are multiples of this alone, as those of microseconds in nanoseconds are, events are looked for faster
than this."""
USUAL_HZ, BRIEF_US = 3e5, 50_000
"""Events a second, in the middle between those of a quiet scene and of a busy one; few recordings are briefer."""
_NAMES = {
    "s": "s|secs?|seconds?",
    "ms": "ms|msecs?|millis?|millisecs?|milliseconds?",
    "us": "us|usecs?|micros?|microsecs?|microseconds?|\N{MICRO SIGN}s|\N{GREEK SMALL LETTER MU}s",
    "ns": "ns|nsecs?|nanos?|nanosecs?|nanoseconds?",
}
_UNITS = "|".join(f"(?P<{unit}>{words})" for unit, words in _NAMES.items())
_NAME = re.compile(
    # what ends in a mere s may be several times, as in times and ts
    rf"(?:t|ts|time|times|timestamp|timestamps)(?:[ _\-./]*[\[(]? *(?!(?<=[a-z])s$)(?:{_UNITS}) *[\])]?)?"
)
_UNIT_ALONE = re.compile(
    "|".join(f"(?P<{unit}>{word}seconds?)" for unit, word in zip(IN_US, ("", "milli", "micro", "nano"), strict=True))
)


class TimeUnit(NamedTuple):
    """A unit, and how it is known: whether somebody said it, or else a word about why it is taken."""

    unit: Unit
    is_stated: bool
    note: str = ""

    @property
    def limit(self) -> int:
        """The largest time in this unit that can be."""
        us, parts = IN_US[self.unit]
        return LATEST_US * parts // us

    def to_us(self, t: np.ndarray) -> np.ndarray:
        """(N,) int64 microseconds: of whole numbers those that have begun, of others the nearest."""
        us, parts = IN_US[self.unit]
        if t.dtype.kind == "f":
            return np.rint(t.astype(np.float64) * us / parts).astype(np.int64)
        whole = (t if parts == 1 else t // parts).astype(np.int64)
        return whole if us == 1 else whole * us


MICROSECONDS = TimeUnit("us", True)


def is_time_name(name: str) -> bool:
    """Whether a column of that name holds times."""
    return _read_name(name) is not None


def unit_in_name(name: str) -> Unit | None:
    """The unit that the name of a column of times says, as t_ns, timestampNs, "time [ms]" and seconds do."""
    found = _read_name(name)
    return next((unit for unit in IN_US if found and found[unit]), None)


def _read_name(name: str) -> re.Match[str] | None:
    bare = name.strip().lower()
    return _NAME.fullmatch(bare) or _UNIT_ALONE.fullmatch(bare)


def find_unit(t: np.ndarray, path: Path, *, name: str = "", stated: Unit | None = None) -> TimeUnit:
    """The unit of the times of a recording.

    What the user states, or the name of the column says; else seconds if a time has a fraction, nanoseconds if they can
    be nothing else, and microseconds. Its note has a word where these are hard to believe, see ``doubt``.

    Args:
        t: (N,) the first times.
        path: of the recording, for the message.
        name: of their column.
        stated: by the user.

    Raises:
        InputError: if name and user differ.
    """
    named = unit_in_name(name)
    if stated and named and stated != named:
        raise InputError(f"{path} must be read in {named}, which its column {name} says, got the time unit {stated}.")
    if stated or named:
        unit: Unit = stated or named or "us"
        is_told = stated is None and unit != "us"
        return TimeUnit(unit, True, f"times are {SPELT[unit]}, as the column {name} says" if is_told else "")
    finite = t[np.isfinite(t)]
    if t.dtype.kind == "f" and np.any(finite != np.floor(finite)):
        return TimeUnit("s", False, _early_doubt(finite, "s"))
    if len(finite) and SINCE_1970_NS[0] <= np.median(finite) <= SINCE_1970_NS[1]:
        return TimeUnit("ns", True, "times are taken for nanoseconds since 1970, as they can be nothing else")
    return TimeUnit("us", False, _early_doubt(finite, "us"))


def doubt(events: int, span_us: tuple[int, int], unit: Unit) -> str:
    """Why the unit of a recording, which nobody stated, may be another one; nothing if all is well.

    Args:
        events: how many there are.
        span_us: the times of the first and of the last.
        unit: in which they were read.
    """
    length_us = span_us[1] - span_us[0]
    if events >= SOME and length_us <= 0:
        return f"all {events:,} events have one time. Is another column the time?"
    if events >= SOME and length_us <= SHORT_US:
        return f"all {events:,} events are within {length_us / 1000:g} ms. {_proposal(events, length_us, unit)}"
    if _are_few(events, length_us):
        return f"{events:,} events in {length_us / 1e6:,.0f} s are few. {_proposal(events, length_us, unit)}"
    return ""


def _early_doubt(t: np.ndarray, unit: Unit) -> str:
    """As ``doubt``, by the first times alone, (N,) in the unit: whether so many events are too slow for a camera."""
    if len(t) < SOME:
        return ""
    early, late = np.quantile(t, [0.05, 0.95])  # some may be damaged
    length_us = float(late - early) / 0.9 * IN_US[unit][0]
    if not 0 < length_us < LATEST_US:
        return ""
    are_coarse = unit == "us" and len(t) >= MANY and not (t % COARSE).any() and len(np.unique(t)) >= SOME
    if not _are_few(len(t), length_us, COARSE_HZ if are_coarse else SLOW_HZ):
        return ""
    told = f"its first {len(t):,} events in {length_us / 1e6:,.0f} s are few"
    told += f", and all their times are multiples of {COARSE:,}" if are_coarse else ""
    return f"{told}. {_proposal(len(t), length_us, unit)}"


def _are_few(events: int, length_us: float, least_hz: int = SLOW_HZ) -> bool:
    """Whether hardly any camera is so slow."""
    rate_hz = events / max(length_us, 1) * 1e6
    return events >= SOME and (length_us >= WEEK_US or rate_hz < STILL_HZ or (events >= MANY and rate_hz < least_hz))


def _proposal(events: int, length_us: float, unit: Unit) -> str:
    """The unit in which so many events in that length of another are most like those of a camera."""
    others: dict[Unit, float] = {
        other: length_us * us * IN_US[unit][1] / (parts * IN_US[unit][0])
        for other, (us, parts) in IN_US.items()
        if other != unit
    }
    if unit == "s":
        del others["ns"]  # the times have fractions
    can_be: dict[Unit, float] = {other: length for other, length in others.items() if SHORT_US <= length < WEEK_US}
    if not can_be:
        return "Is another column the time?"
    likely, lasts_us = min(can_be.items(), key=lambda each: _oddness(events, each[1]))
    return (
        f"Are its times in {SPELT[likely]}, and not in {SPELT[unit]}? Then they last {lasts_us / 1e6:,.6g} s: "
        f"state that by --time-unit {likely}, or data.dataset.time_unit"
    )


def _oddness(events: int, length_us: float) -> float:
    """How far so many events in that length are from those of most recordings, in powers of e."""
    return abs(math.log(events / length_us * 1e6 / USUAL_HZ)) + 3 * max(math.log(BRIEF_US / length_us), 0)
