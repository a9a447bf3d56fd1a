"""Leave out events that are noise, or that say again what was said before: filters of a stream.

Every filter looks at an event, at what it remembers of the pixels near it, and at nothing to come: an event passes or
not, unchanged and in its turn. So a stream that comes in pieces is filtered as the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from ..checks import LARGEST_SIDE, InputError, check_choice, check_range, fit_fields, is_size
from .array import Events
from .sieve import check_inside

MOST_PIXELS = 1 << 26
"""Many more than any sensor has: memory is not taken on the word of a damaged header."""


@njit(nogil=True, cache=True)
def activity(t, x, y, p, last, width, threshold, kept):
    """Mark the events that pass; see ``FilterConfig``.

    Args:
        t, x, y, p: (N,) columns of the events.
        last: what is known of every pixel, (cells,) int64, which is brought up to date. Here it has a rim of one pixel:
            the time of the latest event next to a pixel.
        width: of the sensor in pixels.
        threshold: microseconds up to which an event is recent.
        kept: (N,) uint8, becomes 1 where an event passes and 0 elsewhere.
    """
    across, one, two = np.uint64(width + 2), np.uint64(1), np.uint64(2)
    for i in range(len(t)):
        time = t[i]
        above = np.uint64(y[i]) * across + np.uint64(x[i])
        here = above + across
        below = here + across
        kept[i] = abs(time - last[here + one]) <= threshold
        last[above] = time
        last[above + one] = time
        last[above + two] = time
        last[here] = time
        last[here + two] = time
        last[below] = time
        last[below + one] = time
        last[below + two] = time


@njit(nogil=True, cache=True)
def trail(t, x, y, p, last, width, threshold, kept):
    """As ``activity``; ``last`` is time * 4 + polarity of the latest event of a pixel."""
    across = np.uint64(width)
    for i in range(len(t)):
        sign = np.int64(p[i])
        cell = np.uint64(y[i]) * across + np.uint64(x[i])
        is_other = (last[cell] ^ sign) & 1
        is_old = np.int64(abs(t[i] - (last[cell] >> 2)) >= threshold)
        kept[i] = is_other | is_old
        last[cell] = (t[i] << 2) | sign


@njit(nogil=True, cache=True)
def contrast(t, x, y, p, last, width, threshold, kept):
    """As ``trail``; in ``last`` plus 2 where an event of this polarity has passed since the other one."""
    across = np.uint64(width)
    for i in range(len(t)):
        sign = np.int64(p[i])
        cell = np.uint64(y[i]) * across + np.uint64(x[i])
        before = last[cell]
        is_same = 1 ^ ((before ^ sign) & 1)
        is_cut = is_same & (before >> 1)
        follows = is_same & np.int64(abs(t[i] - (before >> 2)) <= threshold)
        last[cell] = (t[i] << 2) | ((follows | is_cut) << 1) | sign
        kept[i] = follows > is_cut


@njit(nogil=True, cache=True)
def contrast_with_trail(t, x, y, p, last, width, threshold, kept):
    """As ``trail``."""
    across = np.uint64(width)
    for i in range(len(t)):
        sign = np.int64(p[i])
        cell = np.uint64(y[i]) * across + np.uint64(x[i])
        is_same = 1 ^ ((last[cell] ^ sign) & 1)
        kept[i] = is_same & np.int64(abs(t[i] - (last[cell] >> 2)) <= threshold)
        last[cell] = (t[i] << 2) | sign


@njit(nogil=True, cache=True)
def chosen(column, kept, count):
    """The entries that are kept: many times as fast as a mask of numpy, whose branches are mispredicted.

    Args:
        column: (N,) of any type.
        kept: (N,) uint8, 1 where an entry is kept and else 0.
        count: how many are.
    """
    out = np.empty(count + 1, column.dtype)  # one more, for those behind the last that are written over each other
    place = np.uint64(0)
    for i in range(len(column)):
        out[place] = column[i]
        place += np.uint64(kept[i])
    return out[:count]


FILTERS: dict[str, Callable[..., None]] = {
    "activity": activity,
    "trail": trail,
    "stc": contrast,
    "stc_keep_trail": contrast_with_trail,
}
"""``FilterConfig`` says what they do."""


@dataclass(frozen=True)
class FilterConfig:
    """Which events pass. A time is *recent* if it differs by at most ``threshold_us``.

    - ``activity``: those that had a recent event of any polarity in one of the eight pixels around them. It removes
      noise: what happens alone. A pixel is no witness of its own, so that one which never rests is removed too.
    - ``trail``: those whose pixel had its latest event of the other polarity, or ``threshold_us`` ago or more: the
      first of every burst. It removes no noise but repetition. A pixel's first event passes.
    - ``stc``, spatio-temporal contrast: the second event of a burst, that is one whose pixel had its latest event of
      this polarity and recently; then nothing until the polarity changes, however long that takes. It removes noise
      and repetition. A pixel's first event does not pass.
    - ``stc_keep_trail``: the second and all later events of a burst.

    An event counts for those after it whether it passed or not. Events of the same microsecond count in the order in
    which they come; those that run back in time by a jitter count as recent. Beyond the rim of the sensor nothing
    happens.

    The first lines of https://docs.prophesee.ai/stable/metavision_sdk/modules/cv/api/algorithms.html define activity,
    trail and STC, and https://docs.prophesee.ai/stable/hw/manuals/esp.html bursts and the two kinds of STC. They leave
    open which pixels and polarities count for activity: that is as in Delbruck, "Frame-free dynamic digital vision",
    2008.
    """

    name: str = "trail"
    """activity, trail, stc or stc_keep_trail."""
    threshold_us: int = 10_000
    """Microseconds. More lets more events pass ``activity`` and ``stc_keep_trail``, and fewer pass ``trail``."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_choice(self.name, FILTERS, "filter")
        check_range(self, 1, 10**9, "threshold_us")


def find_filters(text: str) -> tuple[FilterConfig, ...]:
    """The filters that a user names between commas, each ``name`` or ``name:microseconds``, such as ``activity:10000``.

    Raises:
        InputError: if there is no such filter, or a number is none or out of range.
    """
    return tuple(_find_filter(each) for each in text.split(",") if each)


def _find_filter(text: str) -> FilterConfig:
    name, colon, threshold = text.partition(":")
    if not colon:
        return FilterConfig(name)
    if not (threshold.isascii() and threshold.isdigit()):
        raise InputError(f"filter must be name or name:microseconds, such as activity:10000, got {text!r}.")
    return FilterConfig(name, int(threshold[:20]))


class NoiseFilter:
    """A filter of one stream, with what it remembers: 8 bytes a pixel, whatever the length of the stream.

    seen, removed: how many events came so far, and how many of these did not pass.

    Args:
        config: which filter.
        size_hw: height and width of the sensor in pixels.
    """

    def __init__(self, config: FilterConfig, size_hw: tuple[int, int]) -> None:
        self.config = config
        self.size_hw = (int(size_hw[0]), int(size_hw[1]))
        height, width = self.size_hw
        if not is_size(self.size_hw) or height * width > MOST_PIXELS:
            raise InputError(
                f"size_hw must be from 1 to {LARGEST_SIDE} each and at most {MOST_PIXELS} pixels, got {self.size_hw}."
            )
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next event is the first."""
        height, width = self.size_hw
        is_activity = self.config.name == "activity"
        cells, never = ((height + 2) * (width + 2), 1) if is_activity else (height * width, 4)
        self._last = np.full(cells, never * NOT_YET_US)
        self.seen = self.removed = 0

    def keep(self, events: Events) -> Events:
        """The events that pass, as new arrays, in their order; see ``passes``."""
        return chosen_events(events, self.passes(events))

    def passes(self, events: Events) -> np.ndarray:
        """Which events pass, (N,) bool. Their times must be within 2**53 microseconds of 0.

        Raises:
            InputError: if an event is outside the sensor or has no polarity of 0 or 1; then nothing was remembered.
        """
        check_inside(events, self.size_hw)
        columns = [np.ascontiguousarray(column) for column in (events.t, events.x, events.y, events.p)]
        kept = np.empty(len(events), np.uint8)
        FILTERS[self.config.name](*columns, self._last, self.size_hw[1], self.config.threshold_us, kept)
        self.seen += len(kept)
        self.removed += len(kept) - int(np.count_nonzero(kept))
        return kept.view(np.bool_)

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, as a copy and as numbers, for ``load_state_dict``."""
        kept = {"last": self._last.copy(), "seen": self.seen, "removed": self.removed}
        return {"name": self.config.name, "size_hw": list(self.size_hw), **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            InputError: if it is not that of a filter of the same name and size.
        """
        if (state.get("name"), list(state.get("size_hw", ()))) != (self.config.name, list(self.size_hw)):
            wanted = f"{self.config.name} for a sensor of {self.size_hw}"
            raise InputError(f"state must be of a filter {wanted}, got {state.get('name')} for {state.get('size_hw')}.")
        self._last = state["last"].copy()
        self.seen = int(state["seen"])
        self.removed = int(state["removed"])


def chosen_events(events: Events, mask: np.ndarray) -> Events:
    """The events that a mask (N,) bool chooses, as new arrays; faster than by an index where they are mixed."""
    count = int(np.count_nonzero(mask))
    columns = (np.ascontiguousarray(column) for column in (events.t, events.x, events.y, events.p))
    return Events(*(chosen(column, mask.view(np.uint8), count) for column in columns))


def is_inside(events: Events, roi: tuple[int, int, int, int]) -> np.ndarray:
    """Which events are in a region x1, y1, x2, y2, (N,) bool."""
    x1, y1, x2, y2 = roi
    return (events.x >= x1) & (events.x < x2) & (events.y >= y1) & (events.y < y2)


def filtered(chunks: Iterable[Events], filters: Sequence[NoiseFilter]) -> Iterator[Events]:
    """The events of a stream that pass all filters, one after the other, in pieces as they come."""
    for events in chunks:
        for each in filters:
            events = each.keep(events)
        yield events


NOT_YET_US = -(1 << 61)
"""The time of the latest event where there was none: ages away from all others, and its quadruple is an int64."""
