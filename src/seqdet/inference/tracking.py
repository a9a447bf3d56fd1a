"""Identities for detections: which detection of now is which track of before, by one of ``TRACKERS``. Without torch.

``DataAssociation`` is what the Metavision SDK documents under that name
(https://docs.prophesee.ai/stable/api/python/ml/bindings.html), with its parameters and their defaults. The others are
those of the library ``trackers`` (Apache-2.0), an extra. SORT: Bewley et al., 2016. ByteTrack: Zhang et al., 2022.
OC-SORT: Cao et al., 2023. All three predict with a Kalman filter, which our association does not, and know nothing of
events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from inspect import signature
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np
from numba import njit

from ..checks import InputError, check_at_least, check_choice, check_range, fit_fields
from ..data.detections import TRACKED_BOX, best_pairs, checked_detections, corners, first_of_close, overlaps
from ..data.labels import EVENT_BBOX
from ..events.array import Events

OURS = "association"
MOST_US = 1 << 60
MOST_OVERLAP = 0.7
"""Of detections that overlap more, whatever their classes, the best alone is to be followed: they are of one object."""
LONG_AGO_US = -(1 << 60)
REACH = 8
"""Pixels that a box moves at most, each way, in one call of ``follow``."""
SIDE = 8
"""Rows and columns of a descriptor."""
_SAMPLES = 32  # of a side of a box that are compared; larger boxes are thinned out
_TRACK = np.dtype(
    [
        *((name, TRACKED_BOX[name]) for name in TRACKED_BOX.names or ()),
        ("anchor_xy", "<f4", (2,)),
        ("descriptor", "<f4", (SIDE * SIDE,)),
    ]
)
MOST_TRACKS = 2**31 - 1


class Tracker(Protocol):
    """Follows the objects of one stream; see ``DataAssociation`` for what its methods promise."""

    def push(self, time_us: int, boxes: np.ndarray | None = None, events: Events | None = None) -> np.ndarray: ...

    def reset(self) -> None: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


def as_settings(tracker: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The name of a tracker and its options as a state has them: objects by their type."""
    return tuple(f"{name} {value}".partition(" object at ")[0] for name, value in {"name": tracker, **options}.items())


def check_settings(own: Iterable[str], state: Mapping[str, Any]) -> None:
    """Raise ``InputError`` unless a state is of a tracker with the same settings; the message says what differs."""
    for mine, theirs in zip_longest(own, state.get("settings", ()), fillvalue="nothing of the kind"):
        if mine != theirs:
            raise InputError(f"state must be of a tracker with {mine}, got {theirs}.")


def check_time(time_us: int, last_us: int) -> None:
    """Raise ``InputError`` if the time of a call is before that of the last, or is none."""
    if not last_us <= time_us <= MOST_US:
        raise InputError(f"time_us must be at least {last_us}, that of the last call, got {time_us}.")


@dataclass(frozen=True, kw_only=True)
class AssociationConfig:
    """How detections become tracks."""

    detection_update_weight: float = 0.7
    """Share of the detection in the new box of its track; the rest is the box that the track had."""
    deletion_time_us: int = 100_000
    """A track ends when its last detection is more than this long ago."""
    max_iou_inter_track: float = 0.5
    """Of two tracks that are more similar than this, that with the older last detection ends."""
    iou_to_match_a_detection: float = 0.2
    """Least similarity of a track and its detection."""
    max_iou_for_one_det_to_many_tracks: float = 0.5
    """A detection that is more similar than this to two tracks or more is left out."""
    use_descriptor: bool = False
    """Whether similarity is also that of the events in the boxes, which fade where nothing moves: see
    ``TimeSurface.descriptors``."""
    number_of_consecutive_detections_to_create_a_new_track: int = 1
    """So many times in a row must an object be detected before its track is shown."""
    score_to_create_a_new_track: float = 0.0
    """Least score of the first of these detections; the Metavision SDK asks for none."""
    time_surface_delta_t_us: int = 200_000
    """Events are forgotten after this long."""
    update_tracklets_between_detections: bool = True
    """Whether tracks move with the events."""
    tracking_confidence_decay: float = 0.9
    """Factor on the confidence of a track for every time that it is looked for and not detected."""
    sim_matrix: tuple[tuple[float, ...], ...] = ()
    """Likeness of two classes, in [0, 1], as rows in the order of the labels: similarity is overlap times likeness.
    Without rows a class is like itself alone, so that classes never mix."""

    def __post_init__(self) -> None:
        fit_fields(self)
        overlaps = "max_iou_inter_track", "iou_to_match_a_detection", "max_iou_for_one_det_to_many_tracks"
        shares = "detection_update_weight", "tracking_confidence_decay", "score_to_create_a_new_track"
        check_range(self, 0, 1, *shares, *overlaps)
        check_range(self, 0, MOST_US, "deletion_time_us")
        check_range(self, 1, MOST_US, "time_surface_delta_t_us")
        check_range(self, 1, 10**6, "number_of_consecutive_detections_to_create_a_new_track")
        likeness = np.array([row for row in self.sim_matrix if len(row) == len(self.sim_matrix)])
        if len(likeness) < len(self.sim_matrix) or not ((likeness >= 0) & (likeness <= 1)).all():
            raise InputError(f"sim_matrix must be square, of numbers from 0 to 1, got {self.sim_matrix}.")


USUAL = AssociationConfig(
    number_of_consecutive_detections_to_create_a_new_track=2,
    score_to_create_a_new_track=0.5,
    deletion_time_us=300_000,
)
"""For detectors whose scores are low at times: the vendor's 100 ms to deletion are two windows of 50 ms."""


class TimeSurface:
    """The time of the last event of every pixel, and the same at an earlier moment, the anchor.

    A pixel weighs 1 at its event, then less and less in a straight line, and nothing ``delta_t_us`` later.

    Args:
        size_hw: height and width of the sensor in pixels.
        delta_t_us: how long an event counts.
    """

    def __init__(self, size_hw: tuple[int, int], delta_t_us: int) -> None:
        check_at_least(min(size_hw), 1, "size_hw")
        self._delta_t_us = delta_t_us
        self._last_us = np.full(size_hw, LONG_AGO_US)
        self._anchor_us = self._last_us.copy()
        self._anchored_us = 0

    def add(self, events: Events) -> None:
        """Take in events in the order in which they were sent.

        Raises:
            InputError: if one is outside of the sensor.
        """
        height, width = self._last_us.shape
        if len(events) and (events.y.max() >= height or events.x.max() >= width):
            raise InputError(f"events must lie in the {width}x{height} pixels of the sensor, got others.")
        self._last_us[events.y, events.x] = events.t

    def anchor(self, time_us: int) -> None:
        """From now on boxes move as the events do since ``time_us``."""
        self._anchor_us[...] = self._last_us
        self._anchored_us = time_us

    def follow(self, boxes: np.ndarray, anchors_xy: np.ndarray, time_us: int) -> np.ndarray:
        """(N, 2) top left corners to which the events have carried boxes since the anchor, by whole pixels.

        What was in a box at the anchor is looked for around the place that the box has now, uphill by the cosine
        of the two patches of weights. A box without events stays.

        Args:
            boxes: (N,) rows with fields x, y, w, h.
            anchors_xy: (N, 2) corners that they had at the anchor.
            time_us: now.
        """
        corners = np.stack([boxes["x"], boxes["y"]], axis=1)
        shifts = np.rint(corners - anchors_xy).astype(np.int64)
        places = self._pixels(anchors_xy, np.stack([boxes["w"], boxes["h"]], axis=1))
        times_us = self._anchored_us, time_us, self._delta_t_us
        steps = shifts + _carried(self._anchor_us, self._last_us, times_us, places, shifts)
        return anchors_xy + steps.astype(corners.dtype)

    def descriptors(self, boxes: np.ndarray, time_us: int) -> np.ndarray:
        """(N, SIDE * SIDE) float32 of length 1: the weights in a box, pooled. Flat where there was no event."""
        result = np.full((len(boxes), SIDE * SIDE), 1 / SIDE, np.float32)
        corners, sizes = (np.stack([boxes[name] for name in names], axis=1) for names in ("xy", "wh"))
        for k, (x, y, w, h) in enumerate(self._pixels(corners, sizes)):
            patch = self._weights(self._last_us[y : y + h, x : x + w], time_us)
            rows, columns = (np.arange(SIDE) * length // SIDE for length in patch.shape)
            pooled = np.add.reduceat(np.add.reduceat(patch, rows, axis=0), columns, axis=1).ravel()
            if (length := np.linalg.norm(pooled)) > 0:
                result[k] = pooled / length
        return result

    def state(self) -> dict[str, np.ndarray]:
        """What ``restore`` takes."""
        return {
            "last_us": self._last_us.copy(),
            "anchor_us": self._anchor_us.copy(),
            "anchored_us": np.array(self._anchored_us),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what ``state`` gave; raises ``InputError`` if that was of another sensor size."""
        if state["last_us"].shape != self._last_us.shape:
            raise InputError(f"state must be of a sensor {self._last_us.shape}, got {state['last_us'].shape}.")
        self._last_us = state["last_us"].copy()
        self._anchor_us = state["anchor_us"].copy()
        self._anchored_us = int(state["anchored_us"])

    def _pixels(self, corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """(N, 4) first pixel x, y, width and height of what boxes cover of the sensor, at least one pixel."""
        most = np.array(self._last_us.shape[::-1])
        low = np.floor(corners).clip(0, most - 1).astype(np.int64)
        high = np.ceil(corners.astype(np.float64) + sizes).clip(low + 1, most).astype(np.int64)
        return np.concatenate([low, high - low], axis=1)

    def _weights(self, last_us: np.ndarray, time_us: int) -> np.ndarray:
        return (1 - (time_us - last_us).astype(np.float32) / self._delta_t_us).clip(0, 1)


@njit(nogil=True, cache=True)
def _weight(last_us, time_us, delta_t_us):
    return min(max(1.0 - (time_us - last_us) / delta_t_us, 0.0), 1.0)


@njit(nogil=True, cache=True)
def _likeness(anchor_us, last_us, times_us, place, x_shift, y_shift):
    """Cosine of the weights in a place at the anchor and in the shifted one now, but for the length of the former."""
    x, y, w, h = place
    height, width = last_us.shape
    both, length = 0.0, 0.0
    for row in range(y, y + h, -(-h // _SAMPLES)):
        for column in range(x, x + w, -(-w // _SAMPLES)):
            if 0 <= row + y_shift < height and 0 <= column + x_shift < width:
                now = _weight(last_us[row + y_shift, column + x_shift], times_us[1], times_us[2])
                both += now * _weight(anchor_us[row, column], times_us[0], times_us[2])
                length += now * now
    return both / max(np.sqrt(length), 1e-6)


@njit(nogil=True, cache=True)
def _carried(anchor_us, last_us, times_us, places, shifts):
    """(N, 2) steps (x, y), at most REACH each, from shifted places uphill to where they are most like at the anchor.

    ``times_us``: of the anchor, now, and how long an event counts. ``places``: (N, 4) x, y, width and height in pixels.
    """
    steps = np.zeros(shifts.shape, np.int64)
    known = np.empty((2 * REACH + 1, 2 * REACH + 1))
    for k in range(len(places)):
        known[...] = -1
        step = steps[k]
        while True:
            x = step[0]
            y = step[1]
            most = -1.0
            for next_y in range(max(y - 1, -REACH), min(y + 1, REACH) + 1):
                for next_x in range(max(x - 1, -REACH), min(x + 1, REACH) + 1):
                    cell = next_y + REACH, next_x + REACH
                    if known[cell] < 0:
                        x_shift, y_shift = shifts[k, 0] + next_x, shifts[k, 1] + next_y
                        known[cell] = _likeness(anchor_us, last_us, times_us, places[k], x_shift, y_shift)
                    if known[cell] > most:
                        most = known[cell]
                        step[0] = next_x
                        step[1] = next_y
            if most <= known[y + REACH, x + REACH] + 1e-6:
                step[0], step[1] = x, y
                break
    return steps


class DataAssociation:
    """Follows the objects of one stream: feed it with ``push``, time after time. Equal input gives equal tracks.

    Detections and tracks are paired best first by their similarity, the overlap (intersection over union) of boxes of
    one class. A track takes on the box of its detection in part and its score; ``tracking_confidence`` grows by score
    times similarity, up to 1. A detection without a track starts one. The class of a track never changes, and its
    ``track_id``, from 1 on, is never given again.

    Args:
        size_hw: height and width of the sensor in pixels; None if there are no events to move with.
        config: the parameters.
    """

    def __init__(self, size_hw: tuple[int, int] | None = None, config: AssociationConfig | None = None) -> None:
        self.config = config or AssociationConfig()
        if size_hw is None and self.config.use_descriptor:
            raise InputError("size_hw must be given with use_descriptor: it is taken from the events.")
        self._size_hw = size_hw
        self._settings = as_settings("association", asdict(self.config))
        self.reset()

    def reset(self) -> None:
        """Forget everything, the identities given so far too: for another stream."""
        self._tracks = np.zeros(0, _TRACK)
        self._born = 0
        self._now = -MOST_US
        self._surface = self._size_hw and TimeSurface(self._size_hw, self.config.time_surface_delta_t_us)

    def push(self, time_us: int, boxes: np.ndarray | None = None, events: Events | None = None) -> np.ndarray:
        """All tracks at ``time_us``, (N,) ``TRACKED_BOX`` by identity, also those not detected now.

        Args:
            time_us: not before that of the last call.
            boxes: detections at this time, (M,) ``EVENT_BBOX`` of any ``t``, with scores. None says that nobody looked,
                while no rows say that there is nothing: then tracks lose confidence.
            events: those since the last call.

        Raises:
            InputError: if time goes backwards, or a number is none that a box can have.
        """
        check_time(time_us, self._now)
        found = np.zeros(0, EVENT_BBOX) if boxes is None else checked_detections(boxes)
        if self.config.sim_matrix and (found["class_id"] >= len(self.config.sim_matrix)).any():
            raise InputError(f"boxes must be of the {len(self.config.sim_matrix)} classes of sim_matrix, got others.")
        if self._surface and events is not None:
            self._surface.add(events)
            if self.config.update_tracklets_between_detections:
                moved = self._surface.follow(self._tracks, self._tracks["anchor_xy"], time_us)
                self._tracks["x"], self._tracks["y"] = moved.T
        self._now = int(time_us)
        age_us = time_us - self._tracks["last_detection_update_time"]
        self._tracks = self._tracks[age_us <= self.config.deletion_time_us]
        if boxes is not None:
            self._associate(found)
        self._tracks["t"] = time_us
        return self._tracks[self._is_shown][list(TRACKED_BOX.names or ())].astype(TRACKED_BOX)

    def state(self) -> dict[str, np.ndarray]:
        """What ``restore`` takes to go on from here, in this object or another of the same settings: plain arrays."""
        surface = self._surface.state() if self._surface else {}
        return {
            "settings": np.array(self._settings),
            "tracks": self._tracks.copy(),
            "counts": np.array([self._born, self._now]),
            **surface,
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what ``state`` gave.

        Raises:
            InputError: if it is of a tracker with other settings.
        """
        check_settings(self._settings, state)
        if set(state) != set(self.state()) or state["tracks"].dtype != _TRACK:
            raise InputError(f"state must hold {', '.join(self.state())} of such a tracker, got {', '.join(state)}.")
        if self._surface:
            self._surface.restore(state)
        self._tracks = state["tracks"].copy()
        self._born, self._now = state["counts"].tolist()

    @property
    def _is_shown(self) -> np.ndarray:
        return self._tracks["nb_detections"] >= self.config.number_of_consecutive_detections_to_create_a_new_track

    def _associate(self, found: np.ndarray) -> None:
        config = self.config
        found = self._as_tracks(found)
        similarity = self._similarity(self._tracks, found)
        if config.use_descriptor:
            similarity *= self._tracks["descriptor"] @ found["descriptor"].T
        is_unclear = (similarity > config.max_iou_for_one_det_to_many_tracks).sum(axis=0) > 1
        similarity[:, is_unclear] = 0
        tracks, detections = best_pairs(similarity, config.iou_to_match_a_detection)
        self._update(tracks, found[detections], similarity[tracks, detections])
        is_missed = ~np.isin(np.arange(len(self._tracks)), tracks)
        self._tracks["tracking_confidence"][is_missed] *= config.tracking_confidence_decay
        is_new = ~is_unclear & ~np.isin(np.arange(len(found)), detections)
        is_new &= found["class_confidence"] >= config.score_to_create_a_new_track
        self._tracks = np.concatenate([self._tracks[~is_missed | self._is_shown], self._started(found[is_new])])
        self._tracks = self._tracks[self._is_apart()]
        self._tracks["anchor_xy"] = np.stack([self._tracks["x"], self._tracks["y"]], axis=1)
        if self._surface:
            self._surface.anchor(self._now)

    def _as_tracks(self, boxes: np.ndarray) -> np.ndarray:
        """Detections as tracks of one detection, without an identity."""
        rows = np.zeros(len(boxes), _TRACK)
        for name in ("x", "y", "w", "h", "class_id", "class_confidence"):
            rows[name] = boxes[name]
        rows["tracking_confidence"] = np.minimum(boxes["class_confidence"], 1)
        rows["last_detection_update_time"] = self._now
        rows["nb_detections"] = 1
        if self._surface and self.config.use_descriptor:
            rows["descriptor"] = self._surface.descriptors(boxes, self._now)
        return rows

    def _update(self, tracks: np.ndarray, found: np.ndarray, similarity: np.ndarray) -> None:
        """Give every one of ``tracks`` its detection."""
        weight = self.config.detection_update_weight
        rows = self._tracks
        for name in "xywh":
            rows[name][tracks] = (1 - weight) * rows[name][tracks] + weight * found[name]
        gained = rows["tracking_confidence"][tracks] + found["class_confidence"] * similarity
        rows["tracking_confidence"][tracks] = np.minimum(gained, 1)
        for name in ("class_confidence", "descriptor"):
            rows[name][tracks] = found[name]
        rows["last_detection_update_time"][tracks] = self._now
        rows["nb_detections"][tracks] += 1

    def _started(self, found: np.ndarray) -> np.ndarray:
        if self._born + len(found) > MOST_TRACKS:
            raise InputError(f"a stream must have at most {MOST_TRACKS} tracks. Reset the tracker to go on.")
        found["track_id"] = self._born + 1 + np.arange(len(found))
        self._born += len(found)
        return found

    def _is_apart(self) -> np.ndarray:
        """Which tracks are not too similar to one that was detected later, or as late and more often, or longer ago."""
        rows = self._tracks
        order = np.lexsort((rows["track_id"], -rows["nb_detections"], -rows["last_detection_update_time"]))
        return first_of_close(self._similarity(rows, rows) > self.config.max_iou_inter_track, order)

    def _similarity(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(N, M) overlaps times the likeness of the classes."""
        if not self.config.sim_matrix:
            return overlaps(first, second) * (first["class_id"][:, None] == second["class_id"])
        likeness = np.array(self.config.sim_matrix)
        return overlaps(first, second) * likeness[first["class_id"][:, None], second["class_id"]]


_KEPT = ("_of_class", "_identities", "_detections", "_shown", "_now", "_stamp_us")
"""What a state of the following holds."""


class LibraryTracker:
    """A tracker of the library, one of its objects for every class, so that classes never mix.

    Only what is detected now is shown; ``tracking_confidence`` is the score. Identities count from 1 in the order in
    which tracks are shown first.

    Args:
        name: one of ``TRACKERS``.
        class_name: what the library calls it.
        options: of its class. Detections below its thresholds, which are high, start no tracks.
    """

    def __init__(self, name: str, class_name: str, options: Mapping[str, Any]) -> None:
        try:
            self._boxes_type = import_module("supervision").Detections
            self._type = getattr(import_module("trackers"), class_name)  # takes a second: OpenCV comes along
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
        check_time(time_us, self._now)
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
        return deepcopy({"settings": self._settings} | {name: getattr(self, name) for name in _KEPT})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` of such a tracker gave.

        Raises:
            InputError: if it is of a tracker with other settings.
        """
        check_settings(self._settings, state)
        vars(self).update(deepcopy({name: state[name] for name in _KEPT}))

    def _followed(self, label: int, found: np.ndarray, time_us: int) -> np.ndarray:
        """The tracks of one class that are detected now."""
        result = self._of_class[label].update(
            self._boxes_type(
                xyxy=corners(found),
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


TRACKERS: dict[str, Callable[[tuple[int, int] | None, Mapping[str, Any]], Tracker]] = {
    OURS: lambda size_hw, options: DataAssociation(size_hw, AssociationConfig(**options)),
    "sort": lambda _, options: LibraryTracker("sort", "SORTTracker", options),
    "bytetrack": lambda _, options: LibraryTracker("bytetrack", "ByteTrackTracker", options),
    "ocsort": lambda _, options: LibraryTracker("ocsort", "OCSORTTracker", options),
}
"""By name, what makes one of the size of the sensor and of options: those that ``tracker`` of ``seqdet predict`` lists,
in ``cli.detectors``."""


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
        return TRACKERS[name](size_hw, options)
    except TypeError as error:
        raise InputError(f"options of the tracker {name} must be among those that it has: {error}.") from error


def usual_tracker(name: str = OURS, size_hw: tuple[int, int] | None = None, *, score: float | None = None) -> Tracker:
    """A tracker with the options that suit detectors as ``seqdet train`` makes them: ours with ``USUAL``.

    Args:
        name, size_hw: as for ``find_tracker``.
        score: least score of a detection that starts a track of ours, in place of that in ``USUAL``.
    """
    if name != OURS:
        return find_tracker(name, size_hw)
    return DataAssociation(size_hw, USUAL if score is None else replace(USUAL, score_to_create_a_new_track=score))
