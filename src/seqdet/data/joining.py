"""The labels of a recording, joined to its windows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import DatasetConfig
from .alignment import align
from .checking import check_labels
from .classes import ClassMap
from .dataset import label_place, labels_at
from .labels import IGNORED
from .store import Frames

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """A recording and its labels.

    path: of its file, of its tensor file or of its folder of RVT. ends_us: of the windows. shown: for each window the
    labelled time that it shows, an index, or -1. boxes: (N,) ``EVENT_BBOX`` with the classes of the dataset. firsts:
    for each labelled time, where its boxes begin, and a last entry that ends them.
    """

    path: Path
    ends_us: np.ndarray
    shown: np.ndarray
    boxes: np.ndarray
    firsts: np.ndarray

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
    ends_us, start_us = frames.ends_us, frames.description.start_us
    place = label_place(path)
    boxes, labelled_us = labels_at(place)
    if place is None:
        log.warning("%s has no labels beside it: it is seen, and neither trained on nor scored.", path)
    elif place.is_file():
        span_us = start_us, int(ends_us.max(initial=start_us))
        check_labels(place, boxes, labelled_us, span_us=span_us, sensor_hw=frames.description.sensor_hw)
    boxes = class_map.boxes(boxes)
    labelled_us = labelled_us[labelled_us >= start_us + config.skip_us]
    boxes = boxes[boxes["t"] >= start_us + config.skip_us]
    boxes["class_confidence"][np.hypot(boxes["w"], boxes["h"]) < config.least_diagonal] = IGNORED
    shown = align(labelled_us, ends_us, policy=config.policy, tolerance_us=config.tolerance_us)
    firsts = np.searchsorted(boxes["t"], np.append(labelled_us, np.iinfo(np.int64).max))
    return Labelled(path, ends_us, shown, boxes, firsts)
