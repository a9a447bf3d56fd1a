"""Identities for detections, by association: which detection of now is which track of before.

The data association that the Metavision SDK documents (``DataAssociation`` in
https://docs.prophesee.ai/stable/api/python/ml/bindings.html), with its parameters and their defaults. Without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from ...checks import InputError
from ...data.labels import EVENT_BBOX
from ...data.tracks import TRACKED_BOX, best_pairs, checked_boxes, first_of_close, overlaps
from ...events.array import Events
from .config import MOST_US, AssociationConfig, as_settings, check_settings
from .time_surface import SIDE, TimeSurface

_TRACK = np.dtype(
    [
        *((name, TRACKED_BOX[name]) for name in TRACKED_BOX.names or ()),
        ("anchor_xy", "<f4", (2,)),
        ("descriptor", "<f4", (SIDE * SIDE,)),
    ]
)
MOST_TRACKS = 2**31 - 1


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
        self._born, self._now = 0, -MOST_US
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
        if not self._now <= time_us <= MOST_US:
            raise InputError(f"time_us must be at least {self._now}, that of the last call, got {time_us}.")
        found = np.zeros(0, EVENT_BBOX) if boxes is None else checked_boxes(boxes)
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
        counts, settings = np.array([self._born, self._now]), np.array(self._settings)
        return {"settings": settings, "tracks": self._tracks.copy(), "counts": counts} | surface

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
        config, found = self.config, self._as_tracks(found)
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
        rows["last_detection_update_time"], rows["nb_detections"] = self._now, 1
        if self._surface and self.config.use_descriptor:
            rows["descriptor"] = self._surface.descriptors(boxes, self._now)
        return rows

    def _update(self, tracks: np.ndarray, found: np.ndarray, similarity: np.ndarray) -> None:
        """Give every one of ``tracks`` its detection."""
        weight, rows = self.config.detection_update_weight, self._tracks
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
