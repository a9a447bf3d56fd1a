"""Scores by what the objects do: how fast they move, and for how long they have stood still or sent no events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..checks import InputError
from .frames import Frames
from .matching import match
from .motion import has_tracks, quiet_us, speed, still_us
from .rows import Recordings
from .scoring import figure

STILL_S = (0.0, 0.3, np.inf)
QUIET_S = (0.0, 0.3, 1.0, np.inf)
SPEED = (0.0, 1.0, 30.0, 100.0, 300.0, np.inf)
"""Edges of the bins in pixels per second."""


@dataclass(frozen=True)
class Bin:
    """The scores of truth boxes whose value is in [low, high), over all classes that have some; None where none has.

    Other truth boxes are neither targets nor, where they are found, errors, as COCO does with areas. A detection that
    finds no box at all is an error in every bin, for it has no value: the AP of a bin with few boxes suffers more.
    recall50 does not, being the share of the targets that are found at IoU 0.5, by any score.
    """

    low: float
    high: float
    truth_boxes: int
    AP: float | None
    AP50: float | None
    recall50: float | None


def breakdown(frames: Frames, values: np.ndarray, edges: Sequence[float]) -> list[Bin]:
    """The scores by a value of the truth boxes.

    Args:
        frames: the boxes.
        values: (truth boxes before any was left out,) through all recordings in their order; NaN is in no bin.
        edges: of the bins, rising.

    Raises:
        InputError: if the edges do not rise or a value is missing.
    """
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"edges must be at least 2 and rise, got {tuple(edges)}.")
    if len(frames.truth_rows) and len(values) <= frames.truth_rows.max():
        raise InputError(f"values must be one for every truth box of all recordings, got {len(values)}.")
    of_row = np.asarray(values, np.float64)[frames.truth_rows]
    return [_bin(frames, low, high, ~((of_row >= low) & (of_row < high))) for low, high in pairwise(edges)]


def breakdowns(
    frames: Frames, truth: Recordings, *, events: Mapping[str, np.ndarray] | None = None
) -> dict[str, list[Bin]]:
    """The scores by speed in sensor pixels per second, by seconds of standing still, and by seconds without events.

    None of them if the labels have no tracks.

    Args:
        frames: the boxes.
        truth: the labels that they were joined from.
        events: by recording (N,), how many events were in the box of every label since the label before; without it
            the last part is missing.
    """
    parts = [truth[name] for name in frames.recordings]
    if not all(map(has_tracks, parts)):
        return {}
    found = {
        "speed, px/s": breakdown(frames, np.concatenate([speed(labels) for labels in parts]), SPEED),
        "still, s": breakdown(frames, np.concatenate([still_us(labels) for labels in parts]) / 1e6, STILL_S),
    }
    if events is not None:
        quiet = [quiet_us(labels, events[name]) for name, labels in zip(frames.recordings, parts, strict=True)]
        found["without events, s"] = breakdown(frames, np.concatenate(quiet) / 1e6, QUIET_S)
    return found


def breakdown_lines(found: Mapping[str, list[Bin]], protocol: str) -> list[str]:
    """One line for every bin; ``protocol`` stands beside the figures."""
    return [
        f"{name} [{each.low:g}, {each.high:g}): AP {figure(each.AP)}  AP50 {figure(each.AP50)}  "
        f"recall at IoU 0.5 {figure(each.recall50)}  ({each.truth_boxes} boxes)  {protocol}"
        for name, bins in found.items()
        for each in bins
    ]


def _bin(frames: Frames, low: float, high: float, is_left_out: np.ndarray) -> Bin:
    matches = [match(frames, label, is_left_out) for label in range(len(frames.classes))]
    once = np.ones(len(frames.recordings), np.int64)
    scored = [each for each in matches if each.targets.sum()]
    precision = np.array([each.average_precision(once) for each in scored])
    recall = [(each.outcomes[0] == 1).sum() / each.targets.sum() for each in scored]
    total = sum(int(each.targets.sum()) for each in matches)
    if not scored:
        return Bin(float(low), float(high), 0, None, None, None)
    return Bin(
        float(low), float(high), total, float(precision.mean()), float(precision[:, 0].mean()), float(np.mean(recall))
    )
