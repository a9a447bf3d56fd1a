"""What is in a recording, found in one pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..checks import InputError
from ..progress import progress
from .accounts import Account
from .array import Triggers
from .files import Recording

RATE_BIN_US = 100_000
FINE_BIN_US, FINE_BINS = 1000, 60_000
"""The first minute is counted by the millisecond too."""
LARGEST_SIDE = 4096
LONG_GAP_US = 100_000
"""A stretch without any event that is worth a word."""
HOT_FACTOR = 100
"""A pixel is hot if it sends this many times the events of the median active pixel."""


@dataclass(frozen=True)
class Inspection:
    """Facts about a recording; times in microseconds.

    format: of the file. size_hw: of the sensor; the smallest that holds all events where the file does not say.
    events, brighter: how many there are, and how many of them are brighter. first_us, last_us: of the events.
    rates: events in each stretch of ``RATE_BIN_US``, by its number from the first event on, where there are any.
    brighter_rates: how many of them are brighter. fine_rates: (FINE_BINS, 2) darker and brighter events in each
    stretch of ``FINE_BIN_US``. counts: (H, W) events of every pixel.
    hot_xy: pixels that send far more than others, most first. longest_gap_us: between two events. gaps_us: those of
    ``LONG_GAP_US`` or more, from an event to the next. edges: of the triggers. account: what was left out, and said.
    """

    format: str
    size_hw: tuple[int, int]
    events: int
    brighter: int
    first_us: int
    last_us: int
    rates: Counter[int]
    brighter_rates: Counter[int]
    fine_rates: np.ndarray
    counts: np.ndarray
    hot_xy: list[tuple[int, int]]
    longest_gap_us: int
    gaps_us: list[tuple[int, int]]
    edges: Triggers
    account: Account

    @property
    def duration_us(self) -> int:
        """From the first event to the last."""
        return self.last_us - self.first_us

    @property
    def long_gaps(self) -> int:
        """How many gaps last ``LONG_GAP_US`` or more."""
        return len(self.gaps_us)

    @property
    def triggers(self) -> Counter[int]:
        """Edges by channel."""
        return Counter(self.edges.channel.tolist())

    def lines(self) -> list[str]:
        """The facts in words, and what is to be said of how they were found."""
        return [*self.facts(), *self.account.notes, *(f"left out: {each}" for each in self.account.reasons())]

    def facts(self) -> list[str]:
        """The facts in words."""
        height, width = self.size_hw
        text = [f"{self.format}, {width}x{height}, {self.events:,} events"]
        if self.events:
            seconds = max(self.duration_us, 1) / 1e6
            text.append(f"{self.first_us:,} to {self.last_us:,} us, {seconds:.3f} s")
            if self.duration_us >= RATE_BIN_US:
                text.append(f"{self.events / seconds:,.0f} events/s, at most {self.peak_rate:,.0f}")
            text.append(f"{self.brighter / self.events:.1%} brighter, {1 - self.brighter / self.events:.1%} darker")
            active = int((self.counts > 0).sum())
            text.append(f"{active:,} of {height * width:,} pixels active, {len(self.hot_xy)} hot{_some(self.hot_xy)}")
            text.append(f"longest gap {self.longest_gap_us / 1e3:,.1f} ms, {self.long_gaps} of 100 ms or more")
        for channel, edges in sorted(self.triggers.items()):
            text.append(f"{edges:,} edges on trigger channel {channel}")
        return text

    @property
    def peak_rate(self) -> float:
        """Events a second in the busiest stretch; in a short recording the mean, as that is no whole one."""
        return max(max(self.rates.values(), default=0) / RATE_BIN_US, self.events / max(self.duration_us, 1)) * 1e6


def inspect(recording: Recording) -> Inspection:
    """The facts about a recording; memory grows with the sensor and, by 2 kB a second, with its length."""
    rates: Counter[int] = Counter()
    brighter_rates: Counter[int] = Counter()
    fine_rates = np.zeros((FINE_BINS, 2), np.int64)
    gaps: list[tuple[int, int]] = []
    counts = np.zeros((0, 0), np.int64)
    events = first = last = longest = 0
    windows = recording.windows(count=1 << 20)
    for window in progress(windows, "inspecting", unit="event", size=lambda window: len(window.events)):
        t, x, y, p = window.events.t, window.events.x, window.events.y, window.events.p
        steps = np.diff(t, prepend=last if events else t[0])
        gaps.extend((int(t[i] - steps[i]), int(t[i])) for i in np.flatnonzero(steps >= LONG_GAP_US))
        first = first if events else int(t[0])
        last = int(t[-1])
        longest = max(longest, int(steps.max()))
        bins = (t - first) // RATE_BIN_US
        starts = np.flatnonzero(np.diff(bins, prepend=-1))
        numbers = bins[starts].tolist()
        rates.update(dict(zip(numbers, np.diff(starts, append=len(t)).tolist(), strict=True)))
        brighter_rates.update(dict(zip(numbers, np.add.reduceat(p, starts, dtype=np.int64).tolist(), strict=True)))
        fine = slice(0, int(np.searchsorted(t, first + FINE_BINS * FINE_BIN_US)))
        cells = 2 * ((t[fine] - first) // FINE_BIN_US) + p[fine]
        fine_rates += np.bincount(cells, minlength=fine_rates.size).reshape(fine_rates.shape)
        size = int(y.max()) + 1, int(x.max()) + 1
        if max(size) > LARGEST_SIDE:
            raise InputError(
                f"{recording.path} must be of a sensor of at most {LARGEST_SIDE} rows and columns to be inspected, "
                f"got an event at x up to {size[1] - 1} and y up to {size[0] - 1}. Give size_hw to leave it out."
            )
        counts = _grown(counts, size)
        counts += np.bincount(y.astype(np.int64) * counts.shape[1] + x, minlength=counts.size).reshape(counts.shape)
        events += len(t)
    counts = _grown(counts, recording.stated_size_hw or counts.shape)
    return Inspection(
        format=recording.format,
        size_hw=(counts.shape[0], counts.shape[1]),
        events=events,
        brighter=brighter_rates.total(),
        first_us=first,
        last_us=last,
        rates=rates,
        brighter_rates=brighter_rates,
        fine_rates=fine_rates,
        counts=counts,
        hot_xy=[(x, y) for x, y in hot_xy(counts).tolist()],
        longest_gap_us=longest,
        gaps_us=gaps,
        edges=recording.triggers(),
        account=recording.account,
    )


def _grown(counts: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The counts on a sensor of at least that size."""
    height, width = max(size[0], counts.shape[0]), max(size[1], counts.shape[1])
    if counts.shape == (height, width):
        return counts
    return np.pad(counts, ((0, height - counts.shape[0]), (0, width - counts.shape[1])))


def hot_xy(counts: np.ndarray) -> np.ndarray:
    """(K, 2) pixels x, y with ``HOT_FACTOR`` times the events of the median active one, the hottest first.

    ``counts`` are the events of all, (H, W).
    """
    active = counts[counts > 0]
    if not active.size:
        return np.zeros((0, 2), np.int64)
    y, x = np.nonzero(counts >= HOT_FACTOR * np.median(active))
    order = np.argsort(-counts[y, x], kind="stable")
    return np.stack([x[order], y[order]], axis=1)


def _some(hot_xy: list[tuple[int, int]]) -> str:
    return f" ({', '.join(f'{x},{y}' for x, y in hot_xy[:5])}{', ...' if len(hot_xy) > 5 else ''})" if hot_xy else ""
