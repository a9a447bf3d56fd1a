"""The frames of a detector as recordings, to score them as files are scored."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ..checks import InputError
from ..data.labels import EVENT_BBOX
from ..structures import Boxes


class Labelled(NamedTuple):
    """Boxes ``EVENT_BBOX`` and labelled times by the name of the recording, as ``join`` takes them."""

    truth: dict[str, np.ndarray]
    detections: dict[str, np.ndarray]
    labelled_us: dict[str, np.ndarray]


def from_boxes(
    truth: Sequence[Boxes],
    detections: Sequence[Boxes],
    recordings: Sequence[int],
    times_us: Sequence[int],
    *,
    scale_xy: tuple[float, float] = (1, 1),
) -> Labelled:
    """The labelled frames of any number of recordings, in any order.

    Args:
        truth: one entry per frame; ignored boxes get a confidence of 0.
        detections: with scores.
        recordings: number of the recording of every frame, which becomes its name.
        times_us: of every frame.
        scale_xy: what pixels are multiplied by.

    Raises:
        InputError: if the lengths differ, detections have no scores, or two frames have one recording and time.
    """
    lengths = {len(truth), len(detections), len(recordings), len(times_us)}
    if len(lengths) > 1:
        raise InputError(f"truth, detections, recordings and times_us must be as long, got {sorted(lengths)}.")
    if any(boxes.scores is None for boxes in detections):
        raise InputError("detections must have scores, got boxes without. Were truth and detections swapped?")
    of_frame, times = np.array(recordings, np.int64), np.array(times_us, np.int64)
    if len(np.unique(np.stack([of_frame, times]), axis=1).T) < len(times):
        raise InputError("frames must be of different times of their recording, got one twice.")
    names = {str(number): number for number in np.unique(of_frame).tolist()}
    tables = []
    for boxes in (truth, detections):
        parts = map(partial(event_boxes, scale_xy=scale_xy), boxes, times.tolist())
        rows = np.concatenate([np.zeros(0, EVENT_BBOX), *parts])
        owners = np.repeat(of_frame, [len(each) for each in boxes])
        tables.append({name: rows[owners == number] for name, number in names.items()})
    labelled_us = {name: np.sort(times[of_frame == number]) for name, number in names.items()}
    return Labelled(tables[0], tables[1], labelled_us)


def event_boxes(boxes: Boxes, time_us: int, *, scale_xy: tuple[float, float] = (1, 1)) -> np.ndarray:
    """The boxes of a frame as (N,) ``EVENT_BBOX``, their pixels times ``scale_xy``; ignored ones of confidence 0."""
    rows = np.zeros(len(boxes), EVENT_BBOX)
    xyxy = boxes.xyxy.double().numpy(force=True) * np.tile(scale_xy, 2)
    rows["t"], rows["class_id"] = time_us, boxes.labels.numpy(force=True)
    rows["x"], rows["y"], rows["w"], rows["h"] = *xyxy[:, :2].T, *(xyxy[:, 2:] - xyxy[:, :2]).T
    rows["class_confidence"] = 1
    if boxes.track_ids is not None:
        rows["track_id"] = boxes.track_ids.numpy(force=True)
    if boxes.is_ignored is not None:
        rows["class_confidence"] = ~boxes.is_ignored.numpy(force=True)
    if boxes.scores is not None:
        rows["class_confidence"] = boxes.scores.float().numpy(force=True)
    return rows
