"""Trackers by name: our data association, or those of the library ``trackers`` (Apache-2.0), an extra.

SORT: Bewley et al., 2016. ByteTrack: Zhang et al., 2022. OC-SORT: Cao et al., 2023. All three predict with a Kalman
filter, which our association does not, and know nothing of events. Without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from inspect import signature
from typing import Any, Protocol

import numpy as np

from ...checks import InputError, check_choice
from ...data.detections import TRACKED_BOX, checked_detections
from ...events.array import Events
from .association import MOST_US, AssociationConfig, DataAssociation, as_settings, check_settings

OURS = "association"
LIBRARY = {"sort": "SORTTracker", "bytetrack": "ByteTrackTracker", "ocsort": "OCSORTTracker"}
TRACKERS = (OURS, *LIBRARY)
_CHANGES = ("_of_class", "_identities", "_detections", "_shown", "_now", "_stamp_us")  # what a state holds


class Tracker(Protocol):
    """Follows the objects of one stream; see ``DataAssociation`` for what its methods promise."""

    def push(self, time_us: int, boxes: np.ndarray | None = None, events: Events | None = None) -> np.ndarray: ...

    def reset(self) -> None: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


def find_tracker(name: str = OURS, size_hw: tuple[int, int] | None = None, **options: Any) -> Tracker:
    """A tracker for one stream.

    Args:
        name: one of ``TRACKERS``.
        size_hw: height and width of the sensor in pixels, to move tracks with events.
        options: fields of ``AssociationConfig``, or arguments of the class of the library.

    Raises:
        InputError: if there is no such tracker or option, or the library is not installed.
    """
    check_choice(name, TRACKERS, "tracker")
    try:
        return DataAssociation(size_hw, AssociationConfig(**options)) if name == OURS else LibraryTracker(name, options)
    except TypeError as error:
        raise InputError(f"options of the tracker {name} must be among those that it has: {error}.") from error


class LibraryTracker:
    """A tracker of the library, one of its objects for every class, so that classes never mix.

    Only what is detected now is shown; ``tracking_confidence`` is the score. Identities count from 1 in the order in
    which tracks are shown first.

    Args:
        name: a key of ``LIBRARY``.
        options: of its class. Detections below its thresholds, which are high, start no tracks.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        try:
            self._boxes_type = import_module("supervision").Detections
            self._type = getattr(import_module("trackers"), LIBRARY[name])  # takes a second: OpenCV comes along
        except ImportError as error:
            raise InputError(
                f"the tracker {name} needs the library trackers ({error}). Install it: pip install 'seqdet[track]'"
            ) from error
        bound = signature(self._type).bind(**options)
        bound.apply_defaults()
        self._options = dict(bound.arguments)
        self._settings = as_settings(name, self._options)
        self._type(**self._options)
        self.reset()

    def reset(self) -> None:
        """Forget everything, the identities given so far too: for another stream."""
        self._of_class: dict[int, Any] = {}
        self._identities: dict[tuple[int, int], int] = {}
        self._detections: dict[int, int] = {}
        self._shown = np.zeros(0, TRACKED_BOX)
        self._now = -MOST_US
        self._stamp_us = -MOST_US

    def push(self, time_us: int, boxes: np.ndarray | None = None, events: Events | None = None) -> np.ndarray:
        """The detected tracks at ``time_us``, (N,) ``TRACKED_BOX`` by identity.

        Args:
            time_us: not before that of the last call.
            boxes: detections at this time, (M,) ``EVENT_BBOX`` of any ``t``. None says that nobody looked: the tracks
                of the last call stay where they were.
            events: make no difference.

        Raises:
            InputError: if time goes backwards, or a number is none that a box can have.
        """
        if not self._now <= time_us <= MOST_US:
            raise InputError(f"time_us must be at least {self._now}, that of the last call, got {time_us}.")
        if boxes is not None:
            self._stamp_us = max(time_us, self._stamp_us + 1)  # the library asks for times that rise
            found = checked_detections(boxes)
            for label in np.unique(found["class_id"]).tolist():
                self._of_class.setdefault(label, self._type(**self._options))
            parts = [self._followed(label, found[found["class_id"] == label], time_us) for label in self._of_class]
            shown = np.concatenate([np.zeros(0, TRACKED_BOX), *parts])
            self._shown = shown[np.argsort(shown["track_id"])]
        self._now = time_us
        self._shown["t"] = time_us
        return self._shown.copy()

    def state(self) -> dict[str, Any]:
        """What ``restore`` takes to go on from here; objects of the library are in it, so it is not for a file."""
        return deepcopy({"settings": self._settings} | {name: getattr(self, name) for name in _CHANGES})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` of such a tracker gave.

        Raises:
            InputError: if it is of a tracker with other settings.
        """
        check_settings(self._settings, state)
        vars(self).update(deepcopy({name: state[name] for name in _CHANGES}))

    def _followed(self, label: int, found: np.ndarray, time_us: int) -> np.ndarray:
        """The tracks of one class that are detected now."""
        x, y, w, h = (found[name].astype(np.float64) for name in ("x", "y", "w", "h"))
        result = self._of_class[label].update(
            self._boxes_type(
                xyxy=np.stack([x, y, x + w, y + h], axis=1),
                confidence=found["class_confidence"].astype(np.float64),
                data={"row": np.arange(len(found))},
            ),
            timestamp=self._stamp_us / 1e6,
        )
        chosen = [k for k in range(len(result)) if result.tracker_id[k] >= 0]
        rows = np.zeros(len(chosen), TRACKED_BOX)
        source = found[result.data["row"][chosen]] if chosen else found[:0]
        for name in ("x", "y", "w", "h", "class_id", "class_confidence"):
            rows[name] = source[name]
        rows["tracking_confidence"] = source["class_confidence"]
        rows["last_detection_update_time"] = time_us
        for row, identity in zip(rows, result.tracker_id[chosen].tolist() if chosen else [], strict=True):
            row["track_id"] = self._identities.setdefault((label, identity), len(self._identities) + 1)
            row["nb_detections"] = self._detections.get(int(row["track_id"]), 0) + 1
            self._detections[int(row["track_id"])] = int(row["nb_detections"])
        return rows
