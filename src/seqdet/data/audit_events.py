"""How many events the boxes of a recording had inside, in one pass and bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view

from ..checks import InputError
from ..events.accounts import Account
from ..events.files import Recording
from ..events.inspection import HOT_FACTOR
from .detections import overlap
from .store import TensorFile

PIECE = 1 << 20  # events
MOST_REACH_US = 2_000_000
"""Events are looked for since the labels before, but not for longer: objects stand still."""
MOST_HOT = 10_000  # pixels
REACH, ALONE_FACTOR = 2, 20
"""A hot pixel sends so many times what the median one of those at most ``REACH`` away does; edges are not alone."""
BLOCK = 8  # pixels
PROBED = 8  # frames that tell what a pixel without events holds


@dataclass
class Watched:
    """What was seen beside the labels.

    inside: (N,) for each box, events in it within the window before its time; of tensors, values that are not those of
    a pixel without events. before: (N,) the same, since the labels before it; reach: (N,) how many windows that are.
    span_us: the first and the last time that is shown; None without events. ends_us: ends of
    the windows of tensors. counts: (H, W) events of every pixel, or sums of tensors. windows: how many of them are in
    ``counts``. account: what the reader left out, and took numbers for.
    """

    inside: np.ndarray
    before: np.ndarray
    reach: np.ndarray
    span_us: tuple[int, int] | None = None
    ends_us: np.ndarray | None = None
    counts: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    windows: float = 1
    account: Account = field(default_factory=Account)

    def few(self, areas: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """For boxes of some areas in pixels of the sensor, what noise alone puts into them, hardly ever more.

        The rate of the tenth of the blocks of pixels that sends least is that of noise.
        """
        height, width = (side // BLOCK * BLOCK for side in self.counts.shape)
        if not height * width:
            return np.zeros(len(areas))
        blocks = self.counts[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean(axis=(1, 3))
        rate = np.quantile(blocks, 0.1) / self.windows * self.counts.size / (size_hw[0] * size_hw[1])
        return rate * areas + 3 * np.sqrt(rate * areas)

    def hot_xy(self) -> np.ndarray:
        """(K, 2) pixels with far more than the median active one and than those around them, the hottest first."""
        active = self.counts[self.counts > 0]
        if not active.size:
            return np.zeros((0, 2), np.int64)
        y, x = np.nonzero(self.counts >= HOT_FACTOR * np.median(active))
        order = np.argsort(-self.counts[y, x], kind="stable")[:MOST_HOT]
        around = sliding_window_view(np.pad(self.counts, REACH), (2 * REACH + 1, 2 * REACH + 1))
        usual = np.array([np.median(around[y[n], x[n]]) for n in order])
        order = order[self.counts[y[order], x[order]] >= ALONE_FACTOR * np.maximum(usual, 1)]
        return np.stack([x[order], y[order]], axis=1)


def watch_recording(recording: Recording, boxes: np.ndarray, window_us: int) -> Watched:
    """Count the events of boxes (N,) ``EVENT_BBOX``, sorted by time, in ``[t - window_us, t)``."""
    times, edges, reach_us = boxes["t"], _edges(boxes, np.ones(2)), _reach_us(boxes["t"], window_us)
    watched = Watched(np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64), reach_us / window_us)
    for window in recording.windows(count=PIECE):
        t, x, y = window.events.t, window.events.x, window.events.y
        first, stop = np.searchsorted(times, [t[0], t[-1] + max(window_us, MOST_REACH_US)], side="right")
        near = slice(int(first), int(stop))
        inside, before = watched.inside[near], watched.before[near]
        _count(t, x, y, times[near], edges[near], window_us, reach_us[near], inside, before)
        grow = [
            (0, max(int(each.max()) + 1 - size, 0)) for each, size in zip((y, x), watched.counts.shape, strict=True)
        ]
        watched.counts = np.pad(watched.counts, grow) if any(map(any, grow)) else watched.counts
        _accumulate(x, y, watched.counts)
        watched.span_us = (watched.span_us or (int(t[0]), 0))[0], int(t[-1])
    if watched.span_us:
        watched.windows = max((watched.span_us[1] - watched.span_us[0]) / window_us, 1)
    watched.account = recording.account
    return watched


def watch_tensors(tensors: TensorFile, boxes: np.ndarray) -> Watched:
    """Look at the labelled frames; a box belongs to the window whose end is nearest."""
    ends_us, (_, channels, height, width) = tensors.ends_us, tensors.shape
    window_us = tensors.description.input.window_us
    reach = np.maximum(_reach_us(boxes["t"], window_us) // window_us, 1)
    watched = Watched(np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64), reach, ends_us=ends_us)
    watched.counts = np.zeros((height, width), np.int64)
    if not len(tensors):
        return watched
    watched.span_us = int(ends_us[0]) - window_us, int(ends_us[-1])
    probe = tensors.read(0, min(PROBED, len(tensors)))
    empty = np.median(probe.transpose(1, 0, 2, 3).reshape(channels, -1), axis=1).astype(probe.dtype)[:, None, None]
    sensor = tensors.description.input.sensor_hw
    edges = np.clip(_edges(boxes, np.array([width / sensor[1], height / sensor[0]])), 0, [width, height, width, height])
    frames = nearest(ends_us, boxes["t"])
    watched.windows = max(len(np.unique(frames)), 1)
    for last in np.unique(frames).tolist():
        chosen = np.flatnonzero(frames == last).tolist()
        seen = differs = np.zeros((height, width), np.int64)
        for frame in range(max(last + 1 - int(reach[chosen].max()), 0), last + 1):
            differs = (tensors.read(frame, frame + 1)[0] != empty).sum(axis=0)
            seen = seen + differs
        watched.counts += differs
        for n in chosen:
            x1, y1, x2, y2 = edges[n]
            watched.inside[n], watched.before[n] = differs[y1:y2, x1:x2].sum(), seen[y1:y2, x1:x2].sum()
    return watched


def damaged_frames(tensors: TensorFile) -> list[int]:
    """The frames that cannot be read, or whose checksum says that they are not what was written."""
    frame, damaged = np.empty((1, *tensors.shape[1:]), tensors.dtype), []
    for n in range(len(tensors)):
        try:
            tensors.read(n, n + 1, frame)
        except InputError:
            damaged.append(n)
    return damaged


def nearest(sorted_us: np.ndarray, times_us: np.ndarray) -> np.ndarray:
    """For each time the index of the nearest of some sorted ones, of which there is one at least."""
    after = np.clip(np.searchsorted(sorted_us, times_us), 1, max(len(sorted_us) - 1, 1))
    after = np.minimum(after, len(sorted_us) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(times_us - sorted_us[before] <= sorted_us[after] - times_us, before, after)


def _reach_us(times: np.ndarray, window_us: int) -> np.ndarray:
    """For each of some sorted times how long ago the one before was, from a window to ``MOST_REACH_US``."""
    different, place = np.unique(times, return_inverse=True)
    steps = np.diff(different, prepend=different[:1] - MOST_REACH_US)
    return np.clip(steps, window_us, max(window_us, MOST_REACH_US))[place.reshape(-1)]


def _edges(boxes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 in whole pixels, (N, 4) int64, half open: every pixel that a box touches."""
    x, y = boxes["x"].astype(np.float64), boxes["y"].astype(np.float64)
    low = np.floor(np.stack([x, y], axis=1) * scale)
    high = np.ceil(np.stack([x + boxes["w"], y + boxes["h"]], axis=1) * scale)
    return np.clip(np.concatenate([low, high], axis=1), -(1 << 30), 1 << 30).astype(np.int64)


@njit(cache=True, nogil=True)
def _count(t, x, y, times, edges, window_us, reach_us, inside, before):
    """Add the events of every box, those of its window and those of its reach."""
    for n in range(len(times)):
        first, stop = np.searchsorted(t, times[n] - reach_us[n]), np.searchsorted(t, times[n])
        for i in range(first, stop):
            column, row = np.int64(x[i]), np.int64(y[i])
            if edges[n, 0] <= column < edges[n, 2] and edges[n, 1] <= row < edges[n, 3]:
                before[n] += 1
                inside[n] += t[i] >= times[n] - window_us


@njit(cache=True, nogil=True)
def _accumulate(x, y, counts):
    for i in range(len(x)):
        counts[y[i], x[i]] += 1


@njit(cache=True, nogil=True)
def duplicates(times, edges, iou):
    """For each box, sorted by time, its largest overlap with an earlier one of the same time, if at least ``iou``."""
    found = np.zeros(len(times))
    first = 0
    for n in range(len(times)):
        if times[n] != times[first]:
            first = n
        for i in range(first, n):
            shared = overlap(edges[n], edges[i], False)
            if shared >= iou:
                found[n] = max(found[n], shared)
    return found
