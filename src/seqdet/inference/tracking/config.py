"""How detections become tracks: the parameters of the Metavision SDK with its defaults, and what is usual here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from ...checks import InputError, check_range, fit_fields

MOST_US = 1 << 60


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


def as_settings(tracker: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The name of a tracker and its options as a state has them: objects by their type."""
    return tuple(f"{name} {value}".partition(" object at ")[0] for name, value in {"name": tracker, **options}.items())


def check_settings(own: Iterable[str], state: Mapping[str, Any]) -> None:
    """Raise ``InputError`` unless a state is of a tracker with the same settings; the message says what differs."""
    for mine, theirs in zip_longest(own, state.get("settings", ()), fillvalue="nothing of the kind"):
        if mine != theirs:
            raise InputError(f"state must be of a tracker with {mine}, got {theirs}.")


USUAL = AssociationConfig(
    number_of_consecutive_detections_to_create_a_new_track=2,
    score_to_create_a_new_track=0.5,
    deletion_time_us=300_000,
)
"""For detectors whose scores are low at times: the vendor's 100 ms to deletion are two windows of 50 ms."""
MOST_OVERLAP = 0.7
"""Of detections that overlap more, whatever their classes, the best alone is to be followed: they are of one object."""
