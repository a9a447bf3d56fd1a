"""How many events the boxes of a recording had inside, in one pass and bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from ..events.accounts import Account
from ..events.files import Recording
from .detections import corners
from .joining import window_of
from .store import TensorFile

PIECE = 1 << 20  # events
MOST_REACH_US = 2_000_000
"""Events are looked for since the labels before, but not for longer: objects stand still."""
BLOCK = 8  # pixels
ALWAYS = np.int64(1 << 62)
PROBED = 8  # frames that tell what a pixel without events holds


@dataclass
class BoxEvents:
    """What a recording, or its tensors, showed in the boxes of its labels and around them.

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

    def noise(self, areas: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
        """For boxes of some areas in pixels of the sensor, what noise alone puts into them, hardly ever more.

        The rate of the tenth of the blocks of pixels that sends least is that of noise.
        """
        height, width = (side // BLOCK * BLOCK for side in self.counts.shape)
        if not height * width:
            return np.zeros(len(areas))
        blocks = self.counts[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean(axis=(1, 3))
        rate = np.quantile(blocks, 0.1) / self.windows * self.counts.size / (size_hw[0] * size_hw[1])
        return rate * areas + 3 * np.sqrt(rate * areas)


def seen_in_pictures(boxes: np.ndarray, times_us: np.ndarray, account: Account) -> BoxEvents:
    """Of pictures, in which boxes can always be seen.

    Args:
        boxes: (N,) ``EVENT_BBOX``.
        times_us: (M,) int64, of the pictures.
        account: what became of them.
    """
    always = np.full(len(boxes), ALWAYS)
    span_us = (int(times_us[0]), int(times_us[-1])) if len(times_us) else None
    return BoxEvents(always, always, np.ones(len(boxes), np.int64), span_us, times_us, account=account)


def count_in_recording(recording: Recording, boxes: np.ndarray, window_us: int) -> BoxEvents:
    """Count the events in boxes, in one pass over a recording.

    Args:
        recording: read from begin to end.
        boxes: (N,) ``EVENT_BBOX``, sorted by time.
        window_us: those in ``[t - window_us, t)`` are inside.
    """
    times = boxes["t"]
    edges = _edges(boxes, np.ones(2))
    reach_us = _reach_us(times, window_us)
    found = BoxEvents(np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64), reach_us / window_us)
    for window in recording.windows(count=PIECE):
        t, x, y = window.events.t, window.events.x, window.events.y
        first, stop = np.searchsorted(times, [t[0], t[-1] + max(window_us, MOST_REACH_US)], side="right")
        near = slice(int(first), int(stop))
        _count(t, x, y, times[near], edges[near], window_us, reach_us[near], found.inside[near], found.before[near])
        grow = [(0, max(int(each.max()) + 1 - size, 0)) for each, size in zip((y, x), found.counts.shape, strict=True)]
        found.counts = np.pad(found.counts, grow) if any(map(any, grow)) else found.counts
        _accumulate(x, y, found.counts)
        found.span_us = (found.span_us or (int(t[0]), 0))[0], int(t[-1])
    if found.span_us:
        found.windows = max((found.span_us[1] - found.span_us[0]) / window_us, 1)
    found.account = recording.account
    return found


def count_in_tensors(tensors: TensorFile, boxes: np.ndarray) -> BoxEvents:
    """As ``count_in_recording``, of the labelled frames; a box belongs to the window whose end is nearest."""
    ends_us = tensors.ends_us
    _, channels, height, width = tensors.shape
    window_us = tensors.description.period_us
    reach = np.maximum(_reach_us(boxes["t"], window_us) // window_us, 1)
    found = BoxEvents(np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.int64), reach, ends_us=ends_us)
    found.counts = np.zeros((height, width), np.int64)
    if not len(tensors):
        return found
    found.span_us = int(ends_us[0]) - window_us, int(ends_us[-1])
    probe = tensors.read(0, min(PROBED, len(tensors)))
    empty = np.median(probe.transpose(1, 0, 2, 3).reshape(channels, -1), axis=1).astype(probe.dtype)[:, None, None]
    sensor = tensors.description.sensor_hw
    edges = np.clip(_edges(boxes, np.array([width / sensor[1], height / sensor[0]])), 0, [width, height, width, height])
    frames = nearest_window(boxes["t"], ends_us)
    found.windows = max(len(np.unique(frames)), 1)
    for last in np.unique(frames).tolist():
        chosen = np.flatnonzero(frames == last).tolist()
        seen = differs = np.zeros((height, width), np.int64)
        for frame in range(max(last + 1 - int(reach[chosen].max()), 0), last + 1):
            differs = (tensors.read(frame, frame + 1)[0] != empty).sum(axis=0)
            seen = seen + differs
        found.counts += differs
        for n in chosen:
            x1, y1, x2, y2 = edges[n]
            found.inside[n] = differs[y1:y2, x1:x2].sum()
            found.before[n] = seen[y1:y2, x1:x2].sum()
    return found


def nearest_window(times_us: np.ndarray, ends_us: np.ndarray) -> np.ndarray:
    """For each time the index of the window whose end is nearest, however far; there is a window at least."""
    return window_of(times_us, ends_us, policy="nearest", tolerance_us=np.iinfo(np.int64).max)


def _reach_us(times: np.ndarray, window_us: int) -> np.ndarray:
    """For each of some sorted times how long ago the one before was, from a window to ``MOST_REACH_US``."""
    different, place = np.unique(times, return_inverse=True)
    steps = np.diff(different, prepend=different[:1] - MOST_REACH_US)
    return np.clip(steps, window_us, max(window_us, MOST_REACH_US))[place.reshape(-1)]


def _edges(boxes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 in whole pixels, (N, 4) int64, half open: every pixel that a box touches."""
    low, high = np.split(corners(boxes), 2, axis=1)
    edges = np.concatenate([np.floor(low * scale), np.ceil(high * scale)], axis=1)
    return np.clip(edges, -(1 << 30), 1 << 30).astype(np.int64)


@njit(cache=True, nogil=True)
def _count(t, x, y, times, edges, window_us, reach_us, inside, before):
    """Add the events of every box, those of its window and those of its reach."""
    for n in range(len(times)):
        first = np.searchsorted(t, times[n] - reach_us[n])
        stop = np.searchsorted(t, times[n])
        for i in range(first, stop):
            column = np.int64(x[i])
            row = np.int64(y[i])
            if edges[n, 0] <= column < edges[n, 2] and edges[n, 1] <= row < edges[n, 3]:
                before[n] += 1
                inside[n] += t[i] >= times[n] - window_us


@njit(cache=True, nogil=True)
def _accumulate(x, y, counts):
    for i in range(len(x)):
        counts[y[i], x[i]] += 1
