"""COCO average precision and recall over the labelled frames of recordings.

The numbers are those of pycocotools, computed by faster-coco-eval one class at a time.
Definitions: https://cocodataset.org/#detection-eval
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numba import njit

from ..checks import InputError
from ..data.detections import overlap
from ..structures import Boxes

FRAME_BOX = np.dtype(
    [("frame", np.int64), ("xyxy", np.float64, 4), ("labels", np.int64), ("scores", np.float32), ("is_ignored", bool)]
)
"""A box of a frame: a row of the tables that ``score_tables`` takes. Corners of float32 sizes are exact in float64."""
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
"""At which precision is averaged, and at which the curves of ``Scores`` give it."""


@dataclass(frozen=True, kw_only=True)
class ScoredFrames:
    """What is scored. A box that is in several frames has a row for each.

    truth, detections: tables of ``FRAME_BOX``, sorted by frame, in scaled pixels.
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
    dropped: dict[str, int]
    notes: tuple[str, ...]


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
            raise InputError(f"truth and detections must be as many frames, got {len(truth)} and {len(detections)}.")
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
        return score_tables(np.concatenate(self._truth), np.concatenate(self._detections), self.classes, self._frames)

    def _table(self, frames: Sequence[Boxes], name: str) -> np.ndarray:
        table = np.zeros(sum(map(len, frames)), FRAME_BOX)
        table["frame"] = np.repeat(np.arange(len(frames)) + self._frames, [len(boxes) for boxes in frames])
        for field in ("xyxy", "labels", "scores", "is_ignored"):
            parts = [(getattr(boxes, field), boxes.labels) for boxes in frames]
            column = torch.cat([labels.new_zeros(len(labels)) if part is None else part for part, labels in parts])
            table[field] = column.cpu().double().numpy(force=True)
        if (unknown := np.setdiff1d(table["labels"], range(len(self.classes)))).size:
            raise InputError(f"labels of {name} must be 0 to {len(self.classes) - 1}, got {unknown[0]}.")
        if not (np.isfinite(table["xyxy"]).all() and np.isfinite(table["scores"]).all()):
            raise InputError(f"{name} must be finite, got NaN or infinity. Did the training diverge?")
        return table


def score_tables(truth: np.ndarray, detections: np.ndarray, classes: Sequence[str], frames: int) -> CocoScores:
    """The scores of two tables of ``FRAME_BOX``, finite and with labels of ``classes``, over ``frames`` frames."""
    count = len(classes)
    targets = np.bincount(truth["labels"][~truth["is_ignored"]], minlength=count)
    precision, recall = np.full((10, 101, count, 4, 3), -1.0), np.full((10, count, 4, 3), -1.0)
    with _collector_paused():
        for k in np.flatnonzero(targets):  # one by one: only one class is held as dictionaries, which are large
            of_class = truth[truth["labels"] == k], detections[detections["labels"] == k]
            precision[:, :, [k]], recall[:, [k]] = _evaluate(*of_class)
    parts = precision, recall, targets, np.bincount(detections["labels"], minlength=count)
    per_class = {name: Scores(**_summary(*parts, [k])) for k, name in enumerate(classes)}
    return CocoScores(frames=frames, per_class=per_class, **_summary(*parts, list(range(count))))


def _evaluate(truth: np.ndarray, detections: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision (IoU, recall point, 1, area, detections allowed) and recall (IoU, 1, area, ...) of one class."""
    frames = np.union1d(truth["frame"], detections["frame"]).tolist()
    result = COCOeval_faster(_coco(truth, frames), _coco(detections, frames), "bbox", print_function=lambda *_: None)
    result.evaluate()
    result.accumulate()
    return result.eval["precision"], result.eval["recall"]


def _coco(boxes: np.ndarray, frames: list[int]) -> COCO:
    """The boxes of one class as faster-coco-eval takes them. Its ``loadRes`` is slow: it adds a polygon per box."""
    xyxy = boxes["xyxy"]
    sizes = xyxy[:, 2:] - xyxy[:, :2]
    columns = boxes["frame"], np.hstack([xyxy[:, :2], sizes]), sizes.prod(1), boxes["scores"], boxes["is_ignored"]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    annotations = [  # numbered from 1, for 0 means unmatched
        {"id": i, "image_id": frame, "category_id": 0, "bbox": xywh, "area": area, "score": score, "iscrowd": crowd}
        for i, (frame, xywh, area, score, crowd) in enumerate(rows, start=1)
    ]
    return COCO({"images": [{"id": f} for f in frames], "categories": [{"id": 0}], "annotations": annotations})


def _summary(
    precision: np.ndarray, recall: np.ndarray, targets: np.ndarray, detections: np.ndarray, labels: list[int]
) -> dict[str, Any]:
    """The fields of ``Scores`` over the classes ``labels``, which are along axis 2, 1, 0 and 0 of the arrays."""
    precision, recall = precision[:, :, labels], recall[:, labels]
    curves = precision[:, :, precision[0, 0, :, 0, 2] > -1, 0, 2]
    areas = {"": 0, "_small": 1, "_medium": 2, "_large": 3}
    numbers = {f"AP{suffix}": precision[..., area, 2] for suffix, area in areas.items()}
    numbers |= {f"AR{suffix}": recall[..., area, 2] for suffix, area in areas.items()}
    numbers |= {"AP50": precision[0, ..., 0, 2], "AP75": precision[5, ..., 0, 2]}
    numbers |= {"AR1": recall[..., 0, 0], "AR10": recall[..., 0, 1]}
    return {
        **{name: float(v[v > -1].mean()) if (v > -1).any() else None for name, v in numbers.items()},
        "truth_boxes": int(targets[labels].sum()),
        "detections": int(detections[labels].sum()),
        "curve": tuple(curves.mean((0, 2)).tolist()) if curves.size else (),
        "curve50": tuple(curves[0].mean(1).tolist()) if curves.size else (),
    }


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No searches for reference cycles: a third of the time when there are many dictionaries, and these have none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The detections of one class, the highest score first.

    outcomes: (10, D) int8, by IoU threshold: 1 a hit, 0 an error, -1 neither as it matched an ignored box.
    detection_recordings: (D,) index of the recording of each.
    rows: (D,) of each in the table of the detections.
    owners: (D,) row in the table of the truth of what each matched at the lowest threshold, or -1.
    targets: (recordings,) how many truth boxes there are to be found in each.
    """

    outcomes: np.ndarray
    detection_recordings: np.ndarray
    rows: np.ndarray
    owners: np.ndarray
    targets: np.ndarray

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """(10,) AP by IoU threshold where every recording is there so many times; NaN where there is no target."""
        total = int(self.targets @ weights)
        return _average_precision(self.outcomes, weights[self.detection_recordings], total, RECALLS)


def average_precision(frames: ScoredFrames) -> float | None:
    """The AP of ``score_tables`` alone, which is many times as fast to have; None where there is no target."""
    once = np.ones(len(frames.recordings), np.int64)
    scored = [each for each in (match(frames, label) for label in range(len(frames.classes))) if each.targets.any()]
    return float(np.mean([each.average_precision(once) for each in scored])) if scored else None


def match(frames: ScoredFrames, label: int, is_left_out: np.ndarray | None = None) -> Matches:
    """Match the boxes of one class as pycocotools does.

    Args:
        frames: the boxes.
        label: of the class.
        is_left_out: (rows of the truth,) truth boxes that are neither targets nor, where they are found, errors. Other
            than an ignored region such a box takes one detection and by its IoU, as COCO's boxes of other areas.
    """
    chosen = np.flatnonzero(frames.truth["labels"] == label)
    truth = frames.truth[chosen]
    left_out = truth["is_ignored"] if is_left_out is None else truth["is_ignored"] | is_left_out[chosen]
    order = np.lexsort((left_out, truth["frame"]))
    chosen, truth, left_out = chosen[order], truth[order], left_out[order]
    rows = np.flatnonzero(frames.detections["labels"] == label)
    rows = rows[np.lexsort((-frames.detections["scores"][rows], frames.detections["frame"][rows]))]
    detections = frames.detections[rows]
    edges = np.arange(len(frames.recording_of_frame) + 1)
    outcomes, owners = _match(
        np.ascontiguousarray(truth["xyxy"]),
        left_out,
        np.ascontiguousarray(truth["is_ignored"]),
        np.searchsorted(truth["frame"], edges),
        np.ascontiguousarray(detections["xyxy"]),
        np.searchsorted(detections["frame"], edges),
        IOU_THRESHOLDS,
    )
    best_first = np.argsort(-detections["scores"], kind="stable")
    of_target = frames.recording_of_frame[truth["frame"][~left_out]]
    return Matches(
        outcomes=np.ascontiguousarray(outcomes[:, best_first]),
        detection_recordings=frames.recording_of_frame[detections["frame"][best_first]],
        rows=rows[best_first],
        owners=np.append(chosen, -1)[owners][best_first],
        targets=np.bincount(of_target, minlength=len(frames.recordings)),
    )


@njit(cache=True, nogil=True)
def _match(truth, is_left_out, is_crowd, truth_edges, detections, detection_edges, thresholds):
    """Outcomes (thresholds, D), and the truth (D,) that each detection matched at the first threshold, or -1.

    Boxes are sorted by frame; in it truth that is left out comes last, scores fall.
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
                for g in range(first, last):
                    if is_taken[g - first] and not is_crowd[g]:
                        continue
                    if found >= 0 and not is_left_out[found] and is_left_out[g]:
                        break
                    if overlaps[d - start, g - first] >= best:
                        best = overlaps[d - start, g - first]
                        found = g
                if found >= 0:
                    is_taken[found - first] = True
                    outcomes[n, d] = -1 if is_left_out[found] else 1
                    if n == 0:
                        owners[d] = found
    return outcomes, owners


@njit(cache=True, nogil=True)
def _average_precision(outcomes, weights, total, recalls):
    """Mean over the recalls of the best precision at that recall or a higher one."""
    result = np.full(len(outcomes), np.nan)
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
        area = 0.0
        for p in range(points - 1, -1, -1):
            while k >= 0 and recalls[k] > hits[p] / total:
                area += best
                k -= 1
            best = max(best, hits[p] / counted[p])
        result[n] = (area + best * (k + 1)) / len(recalls)
    return result
