"""What a detector gets wrong, the worst first: objects that it misses, and false alarms by their kind.

The kinds are those of TIDE (Bolya et al. 2020, https://arxiv.org/abs/2008.08115).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numba import njit

from ..checks import check_at_least
from ..data.detections import overlap
from .coco import ScoredFrames, match

KINDS = ("found twice", "wrong class", "badly placed", "wrong class, badly placed", "background")
"""At IoU 0.5 or more with a box of its class that a better detection has, or with one of another class; at 0.1 or more
with a box of its class, or with one of another class; or at less with all."""
TOUCHES, FITS = 0.1, 0.5


@dataclass(frozen=True, kw_only=True)
class Errors:
    """The errors at IoU 0.5 of detections from a score on, those of each recording in turn, the worst first.

    least_score: of the detections that count.
    missed: rows of the truth that none of them matches, by their area.
    nearest: (missed, ) row of the detection that overlaps each most, of any class; -1 for none.
    nearest_iou: (missed, ) by how much.
    alarms: rows of the detections that match nothing, by their score.
    kinds: (alarms, ) indices into ``KINDS``.
    right: how many detections match.
    """

    least_score: float
    missed: np.ndarray
    nearest: np.ndarray
    nearest_iou: np.ndarray
    alarms: np.ndarray
    kinds: np.ndarray
    right: int

    def as_dict(self) -> dict[str, int | float]:
        """How many there are, ready for JSON."""
        counts = np.bincount(self.kinds, minlength=len(KINDS)).tolist()
        totals = {"least_score": self.least_score, "right": self.right, "missed": len(self.missed)}
        return totals | dict(zip(KINDS, counts, strict=True))


def find_errors(frames: ScoredFrames, *, least_score: float) -> Errors:
    """The errors of the detections whose score is at least ``least_score``.

    Ignored truth is none to miss, and a detection that matches it is no error.
    """
    truth, detections = frames.truth, frames.detections
    is_right, is_wrong = np.zeros(len(detections), bool), np.zeros(len(detections), bool)
    is_found = truth["is_ignored"].copy()
    counts = detections["scores"] >= np.float32(least_score)
    for label in range(len(frames.classes)):
        of_class = match(frames, label)
        is_right[of_class.rows] = of_class.outcomes[0] == 1
        is_wrong[of_class.rows] = of_class.outcomes[0] == 0
        is_found[of_class.owners[counts[of_class.rows] & (of_class.owners >= 0)]] = True
    size = truth["xyxy"][:, 2:] - truth["xyxy"][:, :2]
    missed = _worst(np.flatnonzero(~is_found), size.prod(1), frames.recording_of_frame[truth["frame"]])
    scores = detections["scores"].astype(np.float64)
    recordings = frames.recording_of_frame[detections["frame"]]
    alarms = _worst(np.flatnonzero(is_wrong & counts), scores, recordings)
    targets = truth[~truth["is_ignored"]]
    same, other, _, _ = _best(detections[alarms], targets, len(frames.recording_of_frame))
    _, _, nearest_iou, nearest = _best(truth[missed], detections[counts], len(frames.recording_of_frame))
    return Errors(
        least_score=least_score,
        missed=missed,
        nearest=np.append(np.flatnonzero(counts), -1)[nearest],
        nearest_iou=nearest_iou,
        alarms=alarms,
        kinds=np.select([same >= FITS, other >= FITS, same >= TOUCHES, other >= TOUCHES], range(4), 4),
        right=int((is_right & counts).sum()),
    )


def _worst(rows: np.ndarray, values: np.ndarray, recordings: np.ndarray) -> np.ndarray:
    """The worst row of every recording, then the next of every one, and so on, each time by falling values."""
    order = rows[np.lexsort((-values[rows], recordings[rows]))]
    begins = np.searchsorted(recordings[order], recordings[order])
    return order[np.lexsort((-values[order], np.arange(len(order)) - begins))]


def _best(boxes: np.ndarray, others: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each box the largest IoU with others of its frame and class, of another class, and of any, with its row."""
    edges = np.searchsorted(others["frame"], np.arange(frames + 1))
    xyxy, labels, frame = (np.ascontiguousarray(boxes[name]) for name in ("xyxy", "labels", "frame"))
    other_xyxy, other_labels = (np.ascontiguousarray(others[name]) for name in ("xyxy", "labels"))
    return _largest(xyxy, labels, frame, other_xyxy, other_labels, edges)


@njit(cache=True, nogil=True)
def _largest(boxes, labels, frames, others, other_labels, edges):
    same, other = np.zeros(len(boxes)), np.zeros(len(boxes))
    most = np.zeros(len(boxes))
    row = np.full(len(boxes), -1)
    for n in range(len(boxes)):
        for m in range(edges[frames[n]], edges[frames[n] + 1]):
            iou = overlap(boxes[n], others[m], False)
            if other_labels[m] == labels[n]:
                same[n] = max(same[n], iou)
            else:
                other[n] = max(other[n], iou)
            if iou > most[n]:
                most[n], row[n] = iou, m
    return same, other, most, row


@dataclass(frozen=True)
class ScoreBin:
    """The detections whose score is in [low, high); the last bin has those of score 1 too.

    score: their mean. precision: the share that matches truth of its class at IoU 0.5. Both None where there are none.
    """

    low: float
    high: float
    detections: int
    score: float | None
    precision: float | None


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Precision by score, at IoU 0.5. Detections of ignored truth are left out.

    expected_error: the expected calibration error: the mean distance of precision and score, over the bins, by how many
        detections they have (Guo et al. 2017, https://arxiv.org/abs/1706.04599); None without detections.
    expected_error_shown: the same over those bins alone that begin at ``shown_score`` or above.
    """

    bins: tuple[ScoreBin, ...]
    expected_error: float | None
    shown_score: float
    expected_error_shown: float | None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"bins": [asdict(each) for each in self.bins]}


def reliability(frames: ScoredFrames, *, shown_score: float, bins: int = 10) -> Reliability:
    """How precise detections are by their score.

    Most detections have low scores, and an error over all is mostly theirs; another one is over those that are shown.
    """
    check_at_least(bins, 1, "bins")
    matches = [match(frames, label) for label in range(len(frames.classes))]
    outcomes = np.concatenate([np.zeros(0, np.int8), *(each.outcomes[0] for each in matches)])
    rows = np.concatenate([np.zeros(0, np.int64), *(each.rows for each in matches)])[outcomes >= 0]
    is_right = outcomes[outcomes >= 0] == 1
    scores = frames.detections["scores"][rows].astype(np.float64)
    edges = np.linspace(0, 1, bins + 1).round(12)
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums, hits = np.bincount(place, scores, bins), np.bincount(place, is_right, bins)
    found = tuple(
        ScoreBin(float(edges[n]), float(edges[n + 1]), int(counts[n]), *_means(counts[n], sums[n], hits[n]))
        for n in range(bins)
    )
    gaps = abs(hits - sums)
    is_shown = edges[:-1] >= shown_score - 1e-9
    return Reliability(
        bins=found,
        expected_error=_share(gaps, counts),
        shown_score=shown_score,
        expected_error_shown=_share(gaps[is_shown], counts[is_shown]),
    )


def _means(count: int, *sums: float) -> list[float | None]:
    return [float(each / count) if count else None for each in sums]


def _share(gaps: np.ndarray, counts: np.ndarray) -> float | None:
    return float(gaps.sum() / counts.sum()) if counts.sum() else None
