"""The labels of a recording, joined to its windows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..checks import check_at_least, check_choice
from ..config import DatasetConfig
from .checking import check_labels
from .classes import ClassMap
from .labels import IGNORED
from .layouts import label_place, labels_at, layout_of
from .store import Frames

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """A recording and its labels.

    path: of its file, of its tensor file or of its folder of RVT. ends_us: of the windows. shown: for each window the
    labelled time that it shows, an index, or -1. boxes: (N,) ``EVENT_BBOX`` with the classes of the dataset. firsts:
    for each labelled time, where its boxes begin, and a last entry that ends them. scale_xy: pixels of the labels
    across one of a frame.
    """

    path: Path
    ends_us: np.ndarray
    shown: np.ndarray
    boxes: np.ndarray
    firsts: np.ndarray
    scale_xy: tuple[float, float]

    @property
    def windows(self) -> int:
        """How many there are."""
        return len(self.ends_us)

    def at(self, window: int) -> np.ndarray:
        """The boxes of a labelled window."""
        time = self.shown[window]
        return self.boxes[self.firsts[time] : self.firsts[time + 1]]


def join_labels(path: Path, frames: Frames, config: DatasetConfig, class_map: ClassMap) -> Labelled:
    """The labels of a recording as a dataset has them; without any, all of its windows are unlabelled.

    Args:
        path: of the recording, its tensor file or its folder of RVT.
        frames: of that recording.
        config: how labels are joined, which are left out, which are ignored.
        class_map: to the classes of the dataset.

    Raises:
        InputError: if the labels are damaged, or cannot be those of the recording.
    """
    ends_us = frames.ends_us
    start_us = frames.description.start_us
    place = label_place(path)
    boxes, labelled_us = labels_at(place)
    if place is None:
        log.warning("%s has no labels beside it: it is seen, and neither trained on nor scored.", path)
    elif layout_of(path).labels_are_independent:
        span_us = start_us, int(ends_us.max(initial=start_us))
        check_labels(place, boxes, labelled_us, span_us=span_us, sensor_hw=frames.description.sensor_hw)
    boxes = class_map.boxes(boxes)
    labelled_us = labelled_us[labelled_us >= start_us + config.skip_us]
    boxes = boxes[boxes["t"] >= start_us + config.skip_us]
    boxes["class_confidence"][np.hypot(boxes["w"], boxes["h"]) < config.least_diagonal] = IGNORED
    shown = align(labelled_us, ends_us, policy=config.policy, tolerance_us=config.tolerance_us)
    firsts = np.searchsorted(boxes["t"], np.append(labelled_us, np.iinfo(np.int64).max))
    return Labelled(path, ends_us, shown, boxes, firsts, frames.description.scale_xy)


Policy = Literal["nearest", "causal"]


def align(labelled_us: np.ndarray, ends_us: np.ndarray, *, policy: Policy, tolerance_us: int) -> np.ndarray:
    """The labelled time that every window shows, (N,) int64 as indices into ``labelled_us``, or -1 for none.

    ``nearest`` gives a labelled time to the window whose end is nearest to it; ``causal`` to the last window that ends
    at or before it, which sees nothing of what comes after the label. A time farther from the end than the tolerance
    is given to none. Of several times that come to one window it shows the nearest; of two as near, the earlier.

    Args:
        labelled_us: (M,) int64, rising.
        ends_us: (N,) int64, rising, the end of every window.
        policy: one of the two.
        tolerance_us: the farthest that a labelled time may be from the end of its window.
    """
    shown = np.full(len(ends_us), -1)
    windows = window_of(labelled_us, ends_us, policy=policy, tolerance_us=tolerance_us)
    kept = np.flatnonzero(windows >= 0)
    distances = np.abs(labelled_us[kept] - ends_us[windows[kept]])
    farthest_first = kept[np.lexsort((-kept, -distances))]
    shown[windows[farthest_first]] = farthest_first
    return shown


def window_of(labelled_us: np.ndarray, ends_us: np.ndarray, *, policy: Policy, tolerance_us: int) -> np.ndarray:
    """The window that every labelled time is given to, (M,) int64, or -1 for none. Arguments as those of ``align``."""
    check_choice(policy, ("nearest", "causal"), "policy")
    check_at_least(tolerance_us, 0, "tolerance_us")
    if not len(labelled_us) or not len(ends_us):
        return np.full(len(labelled_us), -1)
    before = np.searchsorted(ends_us, labelled_us, side="right") - 1
    if policy == "nearest":
        after = np.minimum(before + 1, len(ends_us) - 1)
        earlier = np.maximum(before, 0)
        is_nearer = np.abs(ends_us[after] - labelled_us) < np.abs(ends_us[earlier] - labelled_us)
        windows = np.where(is_nearer, after, earlier)
    else:
        windows = before
    return np.where((windows >= 0) & (np.abs(labelled_us - ends_us[windows]) <= tolerance_us), windows, -1)


def length_between(labelled_us: np.ndarray, window_us: int) -> int:
    """The length nearest to ``window_us`` of which a whole number lies between two of the times (M,) int64, rising."""
    if len(labelled_us) < 2:
        return window_us
    period_us = float(np.median(np.diff(labelled_us)))
    return max(1, round(period_us / max(1, round(period_us / window_us))))
