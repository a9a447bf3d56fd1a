"""COCO's matching of detections and truth, as tables of hits that can be counted again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .frames import Frames

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


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


def average_precision(frames: Frames) -> float | None:
    """The AP of ``score_tables`` alone, which is many times as fast to have; None where there is no target."""
    once = np.ones(len(frames.recordings), np.int64)
    scored = [each for each in (match(frames, label) for label in range(len(frames.classes))) if each.targets.any()]
    return float(np.mean([each.average_precision(once) for each in scored])) if scored else None


def match(frames: Frames, label: int, is_left_out: np.ndarray | None = None) -> Matches:
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
                best, found = min(thresholds[n], 1 - 1e-10), -1
                for g in range(first, last):
                    if is_taken[g - first] and not is_crowd[g]:
                        continue
                    if found >= 0 and not is_left_out[found] and is_left_out[g]:
                        break
                    if overlaps[d - start, g - first] >= best:
                        best, found = overlaps[d - start, g - first], g
                if found >= 0:
                    is_taken[found - first] = True
                    outcomes[n, d] = -1 if is_left_out[found] else 1
                    if n == 0:
                        owners[d] = found
    return outcomes, owners


@njit(cache=True, nogil=True)
def overlap(box, other, is_crowd):
    """Intersection over union, or over the area of ``box`` where the other is a crowd."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = (box[2] - box[0]) * (box[3] - box[1])
    both = area if is_crowd else area + (other[2] - other[0]) * (other[3] - other[1]) - width * height
    return width * height / both


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
        k, best, area = len(recalls) - 1, 0.0, 0.0
        for p in range(points - 1, -1, -1):
            while k >= 0 and recalls[k] > hits[p] / total:
                area += best
                k -= 1
            best = max(best, hits[p] / counted[p])
        result[n] = (area + best * (k + 1)) / len(recalls)
    return result
