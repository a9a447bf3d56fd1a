"""Run a detector over held-out clips, and score what it finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from ...data.labels import EVENT_BBOX
from ...evaluation.breakdown import Bin, breakdowns
from ...evaluation.coco import CocoEvaluator, CocoScores
from ...evaluation.errors import Errors, find_errors
from ...evaluation.frames import Frames
from ...evaluation.from_boxes import Labelled
from ...evaluation.protocol import Protocol
from ...evaluation.protocols import find_protocol
from ...evaluation.reliability import Reliability, reliability
from ...evaluation.report import finite
from ...loading import evaluation_loader
from ...models.detector import Detector
from ...progress import progress
from ...structures import Boxes, Clip
from .answers import Answers
from .held_out import HeldOut
from .labelled import LabelledFrames, Moment
from .predict import predict

SHOWN_SCORE = 0.3
"""Least score of a detection in the video and the pictures; the evaluation counts those from 0.01 on."""
COUNTED_SCORE = 0.01
VIDEO_FRAMES = 96
"""Least frames of every lane that the video shows."""
STILL = "still, s"


class Scored(NamedTuple):
    """What was found in a split.

    scores: plain COCO over the labelled windows, in pixels of the frames. protocol: that of which these are the
    figures too, as all labels count as they are in their files; None if some do not. still: the scores of what has
    stood still, where there are recordings. frames, parts: all labelled windows, in pixels of the sensor; moments: the
    same, one by one. errors, reliability: of these. answers: detections (N,) ``EVENT_BBOX`` by recording, if a protocol
    was given. shown: the first clips.
    """

    scores: CocoScores
    protocol: Protocol | None
    still: dict[str, Any]
    frames: Frames
    parts: Labelled
    moments: list[Moment]
    errors: Errors
    reliability: Reliability
    answers: dict[str, np.ndarray] | None
    shown: list[tuple[Clip, list[Boxes]]]


def score(detector: Detector, data: HeldOut, *, precision: str, protocol: Protocol | None = None) -> Scored:
    """Run over a split, where there are recordings once more without memory.

    Args:
        detector: the detector.
        data: the split.
        precision: "float32" or "bfloat16" layers.
        protocol: by whose times detections are gathered as files hold them; none are if not given.
    """
    classes, clip_length = detector.config.classes, data.config.data.clip_length
    evaluator, labelled = CocoEvaluator(classes), LabelledFrames(data.scale_xy)
    answers = Answers(data, protocol) if protocol else None
    shown: list[tuple[Clip, list[Boxes]]] = []
    for clip, detections in _predicted(detector, data, precision, "evaluating", remembers=True):
        evaluator.add(clip.labelled(clip.boxes), clip.labelled(detections))
        labelled.add(clip, detections)
        if answers:
            answers.add(clip, detections)
        if len(shown) * clip_length < VIDEO_FRAMES:
            shown.append((clip, [boxes.above(SHOWN_SCORE) for boxes in detections]))
    frames, parts = labelled.joined(classes)
    return Scored(
        scores=evaluator.compute(),
        protocol=find_protocol("coco") if _is_whole(data, parts) else None,
        still={} if data.truth is None else _still(detector, data, precision, (frames, parts)),
        frames=frames,
        parts=parts,
        moments=labelled.moments(),
        errors=find_errors(frames, least_score=SHOWN_SCORE),
        reliability=reliability(frames, shown_score=SHOWN_SCORE),
        answers=answers.by_recording() if answers else None,
        shown=shown,
    )


def bins(scored: Scored, data: HeldOut, *, events: bool) -> dict[str, list[dict[str, Any]]]:
    """The scores of the labelled windows by what the objects do, ready for JSON.

    Args:
        scored: what was found.
        data: in which recordings.
        events: read these, where there are some, to score boxes by how long they have had no events.
    """
    names = {data.names[int(number)]: number for number in scored.frames.recordings}
    counts = data.events({name: scored.parts.truth[number] for name, number in names.items()}) if events else None
    by_number = counts and {number: counts[name] for name, number in names.items()}
    found = breakdowns(scored.frames, scored.parts.truth, events=by_number)
    return {name: [finite(asdict(each)) for each in of_name] for name, of_name in found.items()}


def _still(detector: Detector, data: HeldOut, precision: str, remembered: tuple[Frames, Labelled]) -> dict[str, Any]:
    """The scores of boxes that have stood still for 0.3 s or more, as they are and without memory."""
    forgotten = LabelledFrames(data.scale_xy)
    for clip, detections in _predicted(detector, data, precision, "without memory", remembers=False):
        forgotten.add(clip, detections)
    without = forgotten.joined(detector.config.classes)
    return {"still": _longest(*remembered), "still_without_memory": _longest(*without)}


def _longest(frames: Frames, parts: Labelled) -> dict[str, Any] | None:
    """The scores of what has stood still longest; None if there is none, or no tracks."""
    longest: list[Bin] = breakdowns(frames, parts.truth).get(STILL, [])[-1:]
    return finite(asdict(longest[0])) if longest and longest[0].truth_boxes else None


def _is_whole(data: HeldOut, parts: Labelled) -> bool:
    """Whether the labelled windows show all labels of the files just as they are, in frames as large as the sensor."""
    if data.truth is None:
        return True
    if data.scale_xy != (1, 1):
        return False
    nothing, never = np.zeros(0, EVENT_BBOX), np.zeros(0, np.int64)
    for number, name in enumerate(data.names):
        shown, labels = parts.truth.get(str(number), nothing), data.truth.boxes.get(name, nothing)
        times = parts.labelled_us.get(str(number), never), data.truth.labelled_us.get(name, never)
        if len(shown) != len(labels) or len(times[0]) != len(times[1]):
            return False
        fields = ("x", "y", "w", "h", "class_id", "class_confidence")
        sides = [np.stack([rows[field] for field in fields]) for rows in (shown, labels)]
        if not np.allclose(*sides, atol=1e-3):
            return False
    return True


def _predicted(
    detector: Detector, data: HeldOut, precision: str, title: str, *, remembers: bool
) -> Iterable[tuple[Clip, list[Boxes]]]:
    clips = evaluation_loader(data.config.data, data.split)
    found = predict(detector, clips, score=COUNTED_SCORE, precision=precision, remembers=remembers)
    return progress(found, title, unit="clip", total=len(clips))
