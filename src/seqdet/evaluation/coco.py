"""COCO average precision and recall: detections matched to the truth once, and every figure from the matches.

The numbers are those of pycocotools, which the tests hold against them.
Definitions: https://cocodataset.org/#detection-eval
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numba import njit

from ..checks import InputError
from ..data.detections import overlap
from ..structures import Boxes

FRAME_BOX = np.dtype(
    [("frame", np.int64), ("xyxy", np.float64, 4), ("labels", np.int64), ("scores", np.float32), ("is_ignored", bool)]
)
"""A box of a frame: a row of the tables of ``ScoredFrames``. Corners of float32 sizes are exact in float64."""
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
"""At which precision is averaged, and at which the curves of ``Scores`` give it."""
AREAS = {"": (0, 1e10), "_small": (0, 32**2), "_medium": (32**2, 96**2), "_large": (96**2, 1e10)}
"""Of the boxes that count for figures with such a name, in square pixels, both ends included."""
ALLOWED = (1, 10, 100)
"""Detections of a class in a frame that count for AR1, AR10 and everything else: the best."""


@dataclass(frozen=True, kw_only=True)
class ScoredFrames:
    """What is scored. A box that is in several frames has a row for each.

    truth, detections: tables of ``FRAME_BOX`` in scaled pixels; among equal scores the first row of a frame is best.
    truth_rows, detection_rows: which box every row is, counted through all recordings in their order.
    recording_of_frame: (F,) index into ``recordings``, rising.
    classes: names of the labels.
    dropped: how many boxes are in no frame, by whose they are and why.
    notes: what a reader of the figures must know, in sentences.
    """

    truth: np.ndarray
    detections: np.ndarray
    truth_rows: np.ndarray
    detection_rows: np.ndarray
    recording_of_frame: np.ndarray
    recordings: tuple[str, ...]
    classes: tuple[str, ...]
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Average precision and recall of one class, or their mean over the classes.

    A number is in [0, 1], or None where there is no truth box to score: COCO writes -1. Without a suffix it is the mean
    over the IoU thresholds 0.50, 0.55, ..., 0.95, over boxes of all sizes, with up to 100 detections per frame and
    class; AR1 and AR10 allow 1 and 10. Areas are ``width * height`` in square pixels: small up to 32**2, medium up to
    96**2, large above. ``truth_boxes`` are those to be found, without the ignored ones. ``curve`` is the precision at
    each of ``RECALLS`` averaged over the IoU thresholds, ``curve50`` at IoU 0.5; both are empty where AP is None.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR: float | None
    AR1: float | None
    AR10: float | None
    AR_small: float | None
    AR_medium: float | None
    AR_large: float | None
    truth_boxes: int
    detections: int
    curve: tuple[float, ...]
    curve50: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """The numbers without the curves, ready for JSON."""
        return {name: value for name, value in vars(self).items() if name not in ("curve", "curve50")}


def figure(value: float | None) -> str:
    """Three decimals, or a dash where there is nothing to score."""
    return "-" if value is None else f"{value:.3f}"


@dataclass(frozen=True, kw_only=True)
class CocoScores(Scores):
    """The scores of an evaluation: means over the classes that have truth boxes, and every class in label order."""

    frames: int
    per_class: dict[str, Scores]

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {"per_class": {name: scores.as_dict() for name, scores in self.per_class.items()}}


class CocoEvaluator:
    """Gathers boxes of labelled frames and scores them.

    An ignored truth box is COCO's crowd region: a detection of its class that lies in it and finds no other box is
    neither a hit nor an error. How far it lies in it is *intersection over the detection's own area*, held against each
    IoU threshold: with 0.7 of its area inside it is forgiven at the thresholds up to 0.7 and an error above. One region
    forgives any number of detections; detections of other classes there are errors. Among detections of equal score,
    those of the frame added first come first.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        """Start with no frame; ``classes[i]`` names label ``i``."""
        if len(set(classes)) != len(classes):
            raise InputError(f"classes must have different names, got {', '.join(classes)}.")
        self.classes = tuple(classes)
        self._frames = 0
        self._truth = [np.zeros(0, FRAME_BOX)]
        self._detections = [np.zeros(0, FRAME_BOX)]

    def add(self, truth: Sequence[Boxes], detections: Sequence[Boxes]) -> None:
        """Take in labelled frames: an entry of each per frame, on any device.

        Raises:
            InputError: if the lengths differ, detections have no scores, a label has no class, a number is not finite.
        """
        if len(truth) != len(detections):
            raise InputError(f"truth and detections must have equal lengths, got {len(truth)} and {len(detections)}.")
        if any(boxes.scores is None for boxes in detections):
            raise InputError("detections must have scores, got boxes without. Were truth and detections swapped?")
        if not truth:
            return
        truth_table, detection_table = self._table(truth, "truth"), self._table(detections, "detections")
        self._truth.append(truth_table)
        self._detections.append(detection_table)
        self._frames += len(truth)

    def merge(self, other: CocoEvaluator) -> None:
        """Take in all frames of ``other``, which another process may have gathered for the same classes."""
        if other.classes != self.classes:
            raise InputError(f"classes must be equal to merge, got {self.classes} and {other.classes}.")
        for mine, theirs in ((self._truth, other._truth), (self._detections, other._detections)):
            table = np.concatenate(theirs)
            table["frame"] += self._frames
            mine.append(table)
        self._frames += other._frames

    def compute(self) -> CocoScores:
        """The scores of all frames so far; any number of frames, boxes and classes may be zero."""
        truth = np.concatenate(self._truth)
        detections = np.concatenate(self._detections)
        frames = ScoredFrames(
            truth=truth,
            detections=detections,
            truth_rows=np.arange(len(truth)),
            detection_rows=np.arange(len(detections)),
            recording_of_frame=np.zeros(self._frames, np.int64),
            recordings=("all frames",),
            classes=self.classes,
        )
        return coco_scores(frames)

    def _table(self, frames: Sequence[Boxes], name: str) -> np.ndarray:
        table = np.zeros(sum(map(len, frames)), FRAME_BOX)
        table["frame"] = np.repeat(np.arange(len(frames)) + self._frames, [len(boxes) for boxes in frames])
        for column_name in ("xyxy", "labels", "scores", "is_ignored"):
            parts = [(getattr(boxes, column_name), boxes.labels) for boxes in frames]
            column = torch.cat([labels.new_zeros(len(labels)) if part is None else part for part, labels in parts])
            table[column_name] = column.cpu().double().numpy(force=True)
        if (unknown := np.setdiff1d(table["labels"], range(len(self.classes)))).size:
            raise InputError(f"labels of {name} must be 0 to {len(self.classes) - 1}, got {unknown[0]}.")
        if not (np.isfinite(table["xyxy"]).all() and np.isfinite(table["scores"]).all()):
            raise InputError(f"{name} must be finite, got NaN or infinity. Did the training diverge?")
        return table


def coco_scores(frames: ScoredFrames) -> CocoScores:
    """The scores of all frames, and of each class."""
    count = len(frames.classes)
    precision = np.full((len(IOU_THRESHOLDS), len(RECALLS), count, len(AREAS)), -1.0)
    recall = np.full((len(IOU_THRESHOLDS), count, len(AREAS), len(ALLOWED)), -1.0)
    for label in range(count):
        for n, area in enumerate(AREAS.values()):
            of_class = match(frames, label, area=area)
            if of_class.targets.any():
                precision[:, :, label, n] = of_class.precision()
                recall[:, label, n] = of_class.recall()
    targets = np.bincount(frames.truth["labels"][~frames.truth["is_ignored"]], minlength=count)
    parts = precision, recall, targets, np.bincount(frames.detections["labels"], minlength=count)
    per_class = {name: Scores(**_summary(*parts, [k])) for k, name in enumerate(frames.classes)}
    whole = _summary(*parts, list(range(count)))
    return CocoScores(frames=len(frames.recording_of_frame), per_class=per_class, **whole)


def _summary(
    precision: np.ndarray, recall: np.ndarray, targets: np.ndarray, detections: np.ndarray, labels: list[int]
) -> dict[str, Any]:
    """The fields of ``Scores`` over the classes ``labels``, which are along axis 2, 1, 0 and 0 of the arrays.

    What has no target is -1 in precision (IoU, recall, class, area) and recall (IoU, class, area, detections allowed).
    """
    precision, recall = precision[:, :, labels], recall[:, labels]
    curves = precision[:, :, precision[0, 0, :, 0] > -1, 0]
    numbers = {f"AP{suffix}": precision[..., n] for n, suffix in enumerate(AREAS)}
    numbers |= {f"AR{suffix}": recall[..., n, -1] for n, suffix in enumerate(AREAS)}
    numbers |= {"AP50": precision[0, ..., 0], "AP75": precision[5, ..., 0]}
    numbers |= {"AR1": recall[..., 0, 0], "AR10": recall[..., 0, 1]}
    return {
        **{name: float(v[v > -1].mean()) if (v > -1).any() else None for name, v in numbers.items()},
        "truth_boxes": int(targets[labels].sum()),
        "detections": int(detections[labels].sum()),
        "curve": tuple(curves.mean((0, 2)).tolist()) if curves.size else (),
        "curve50": tuple(curves[0].mean(1).tolist()) if curves.size else (),
    }


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The detections of one class that are among the best ``ALLOWED`` of their frame, the highest score first.

    outcomes: (10, D) int8, by IoU threshold: 1 a hit, 0 an error, -1 neither: it matched an ignored box, or is of
        another area and matched none.
    ranks: (D,) how many of the class are better in its frame.
    detection_recordings: (D,) index of the recording of each.
    rows: (D,) of each in the table of the detections.
    owners: (D,) row in the table of the truth of what each matched at the lowest threshold, or -1.
    targets: (recordings,) how many truth boxes there are to be found in each.
    """

    outcomes: np.ndarray
    ranks: np.ndarray
    detection_recordings: np.ndarray
    rows: np.ndarray
    owners: np.ndarray
    targets: np.ndarray

    def precision(self, weights: np.ndarray | None = None) -> np.ndarray:
        """(10, 101) the best precision at each of ``RECALLS`` or a higher one, by IoU threshold; NaN without targets.

        Args:
            weights: (recordings,) int64, how often every recording is there; once if None.
        """
        times = np.ones(len(self.targets), np.int64) if weights is None else weights
        return _precision(self.outcomes, times[self.detection_recordings], int(self.targets @ times), RECALLS)

    def recall(self) -> np.ndarray:
        """(10, 3) the share of the targets that is found, by IoU threshold and by ``ALLOWED``."""
        is_hit = self.outcomes == 1
        counts = [is_hit[:, self.ranks < most].sum(axis=1) for most in ALLOWED]
        return np.stack(counts, axis=1) / self.targets.sum()


def average_precision(frames: ScoredFrames) -> float | None:
    """The AP of ``coco_scores`` alone, which is faster to have; None where there is no target."""
    scored = [each for each in (match(frames, label) for label in range(len(frames.classes))) if each.targets.any()]
    return float(np.mean([each.precision() for each in scored])) if scored else None


def match(
    frames: ScoredFrames,
    label: int,
    *,
    is_left_out: np.ndarray | None = None,
    area: tuple[float, float] = AREAS[""],
) -> Matches:
    """Match the boxes of one class as pycocotools does.

    Args:
        frames: the boxes.
        label: of the class.
        is_left_out: (rows of the truth,) truth boxes that are neither targets nor, where they are found, errors. Other
            than an ignored region such a box takes one detection and by its IoU.
        area: least and most square pixels. Truth of another area is left out likewise, and a detection of another area
            that matches nothing is no error.
    """
    of_truth = np.flatnonzero(frames.truth["labels"] == label)
    of_truth = of_truth[np.argsort(frames.truth["frame"][of_truth], kind="stable")]
    truth = frames.truth[of_truth]
    left_out = truth["is_ignored"] | ~_has_area(truth, area)
    if is_left_out is not None:
        left_out |= is_left_out[of_truth]
    rows = np.flatnonzero(frames.detections["labels"] == label)
    rows = rows[np.lexsort((-frames.detections["scores"][rows], frames.detections["frame"][rows]))]
    frame = frames.detections["frame"][rows]
    ranks = np.arange(len(rows)) - np.searchsorted(frame, frame)
    rows = rows[ranks < ALLOWED[-1]]
    ranks = ranks[ranks < ALLOWED[-1]]
    detections = frames.detections[rows]
    edges = np.arange(len(frames.recording_of_frame) + 1)
    outcomes, owners = _match(
        np.ascontiguousarray(truth["xyxy"]),
        left_out,
        np.ascontiguousarray(truth["is_ignored"]),
        np.searchsorted(truth["frame"], edges),
        np.ascontiguousarray(detections["xyxy"]),
        _has_area(detections, area),
        np.searchsorted(detections["frame"], edges),
        IOU_THRESHOLDS,
    )
    best_first = np.argsort(-detections["scores"], kind="stable")
    of_target = frames.recording_of_frame[truth["frame"][~left_out]]
    return Matches(
        outcomes=np.ascontiguousarray(outcomes[:, best_first]),
        ranks=ranks[best_first],
        detection_recordings=frames.recording_of_frame[detections["frame"][best_first]],
        rows=rows[best_first],
        owners=np.append(of_truth, -1)[owners][best_first],
        targets=np.bincount(of_target, minlength=len(frames.recordings)),
    )


def _has_area(boxes: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    sizes = (boxes["xyxy"][:, 2:] - boxes["xyxy"][:, :2]).prod(axis=1)
    return (sizes >= area[0]) & (sizes <= area[1])


@njit(cache=True, nogil=True)
def _match(truth, is_left_out, is_crowd, truth_edges, detections, has_area, detection_edges, thresholds):
    """Outcomes (thresholds, D), and the truth (D,) that each detection matched at the first threshold, or -1.

    Boxes are sorted by frame; in it scores fall.
    """
    outcomes = np.zeros((len(thresholds), len(detections)), np.int8)
    owners = np.full(len(detections), -1)
    for frame in range(len(truth_edges) - 1):
        first, last = truth_edges[frame], truth_edges[frame + 1]
        start, stop = detection_edges[frame], detection_edges[frame + 1]
        overlaps = np.zeros((stop - start, last - first))
        for d in range(start, stop):
            for g in range(first, last):
                overlaps[d - start, g - first] = overlap(detections[d], truth[g], is_crowd[g])
        for n in range(len(thresholds)):
            is_taken = np.zeros(last - first, np.bool_)
            for d in range(start, stop):
                best = min(thresholds[n], 1 - 1e-10)
                found = -1
                for left_out in (False, True):  # only what finds no target may match what is none
                    for g in range(first, last if found < 0 else first):
                        if is_left_out[g] != left_out or (is_taken[g - first] and not is_crowd[g]):
                            continue
                        if overlaps[d - start, g - first] >= best:
                            best = overlaps[d - start, g - first]
                            found = g
                if found >= 0:
                    is_taken[found - first] = True
                    outcomes[n, d] = -1 if is_left_out[found] else 1
                    if n == 0:
                        owners[d] = found
                elif not has_area[d]:
                    outcomes[n, d] = -1
    return outcomes, owners


@njit(cache=True, nogil=True)
def _precision(outcomes, weights, total, recalls):
    """For each row of outcomes the best precision at each recall or a higher one."""
    result = np.full((len(outcomes), len(recalls)), np.nan)
    if total == 0:
        return result
    hits, counted = np.zeros(len(weights) + 1, np.int64), np.zeros(len(weights) + 1, np.int64)
    for n in range(len(outcomes)):
        points = hit = count = 0
        for d in range(len(weights)):  # without a branch, which would be guessed wrong half of the time
            is_hit = outcomes[n, d] == 1
            count += weights[d] * (outcomes[n, d] >= 0)
            hit += weights[d] * is_hit
            hits[points], counted[points] = hit, count
            points += is_hit and weights[d] > 0  # the best precisions are those right after a hit
        k = len(recalls) - 1
        best = 0.0
        for p in range(points - 1, -1, -1):
            while k >= 0 and recalls[k] > hits[p] / total:
                result[n, k] = best
                k -= 1
            best = max(best, hits[p] / counted[p])
        result[n, : k + 1] = best
    return result
