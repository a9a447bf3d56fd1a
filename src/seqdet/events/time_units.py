"""In which unit a recording counts its time: what the user says, a name says, or the numbers themselves can tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..checks import InputError

Unit = Literal["s", "ms", "us", "ns"]
IN_US: Mapping[Unit, tuple[int, int]] = {"s": (1_000_000, 1), "ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}
"""Microseconds of a unit, as numerator and denominator."""
SPELT: Mapping[Unit, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
COARSER: Mapping[Unit, Unit] = {"ns": "us", "us": "ms", "ms": "s"}
FINER: Mapping[Unit, Unit] = {"s": "ms", "ms": "us", "us": "ns"}
LATEST_US = 1 << 53
"""285 years; a time beyond that is damage."""
SINCE_1970_NS = 9e17, 4e18
"""Times between these, 1998 and 2096, are nanoseconds since 1970: as microseconds they would be 28,000 years."""
WEEK_US = 7 * 86_400_000_000
SHORT_US, SLOW_HZ, MANY = 1000, 10, 20
"""A recording of so many events is hardly ever this short, or this slow."""
_NAMES = {
    "s": "s|sec|secs|seconds",
    "ms": "ms|msec|millis|milliseconds",
    "us": "us|usec|micros|microseconds|\N{MICRO SIGN}s|\N{GREEK SMALL LETTER MU}s",
    "ns": "ns|nsec|nanos|nanoseconds",
}
_NAME = re.compile(
    r"(?:t|ts|time|times|timestamp|timestamps)(?:[ _\-.]*[\[(]? *(?:"
    + "|".join(f"(?P<{unit}>(?<![a-z]){words})" for unit, words in _NAMES.items())
    + r") *[\])]?)?"
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
    return _NAME.fullmatch(name.strip().lower()) is not None


def unit_in_name(name: str) -> Unit | None:
    """The unit that the name of a column of times says, as t_ns, timestamp_us and "time [ms]" do."""
    found = _NAME.fullmatch(name.strip().lower())
    return next((unit for unit in IN_US if found and found[unit]), None)


def find_unit(t: np.ndarray, path: Path, *, name: str = "", stated: Unit | None = None) -> TimeUnit:
    """The unit of the times of a recording.

    What the user states, or the name of the column says; else seconds if a time has a fraction, nanoseconds if they can
    be nothing else, and microseconds.

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
        return TimeUnit("s", False)
    if len(finite) and SINCE_1970_NS[0] <= np.median(finite) <= SINCE_1970_NS[1]:
        return TimeUnit("ns", True, "times are taken for nanoseconds since 1970, as they can be nothing else")
    return TimeUnit("us", False)


def doubt(events: int, span_us: tuple[int, int], unit: Unit) -> str:
    """Why the unit of a recording, which nobody stated, may be another one; nothing if all is well.

    Args:
        events: how many there are.
        span_us: the times of the first and of the last.
        unit: in which they were read.
    """
    length_us = span_us[1] - span_us[0]
    if events < MANY:
        return ""
    if length_us <= SHORT_US:
        likely = COARSER.get(unit, unit)
        told = f"all {events:,} events are within {length_us / 1000:g} ms"
    elif length_us >= WEEK_US or events / length_us * 1e6 < SLOW_HZ:
        likely = FINER.get(unit, unit)
        told = f"{events:,} events in {length_us / 1e6:,.0f} s are few"
    else:
        return ""
    if likely == unit:
        return ""
    factor = (IN_US[likely][0] * IN_US[unit][1]) / (IN_US[likely][1] * IN_US[unit][0])
    return (
        f"{told}. Are its times in {SPELT[likely]}, and not in {SPELT[unit]}? Then it lasts "
        f"{length_us * factor / 1e6:,.6g} s: state that by --time-unit {likely}, or data.dataset.time_unit"
    )
