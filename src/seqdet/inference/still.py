"""What a detector remembers of objects that stand still, which an event camera does not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..evaluation.breakdown import breakdowns
from ..evaluation.frames import join
from ..evaluation.from_boxes import from_boxes
from ..evaluation.protocols import find_protocol
from ..structures import Boxes, Clip

STILL = "still, s"


class LabelledFrames:
    """Truth and detections of the labelled frames of many clips."""

    def __init__(self) -> None:
        self._truth: list[Boxes] = []
        self._detections: list[Boxes] = []
        self._recordings: list[int] = []
        self._times_us: list[int] = []

    def add(self, clip: Clip, detections: Sequence[Boxes]) -> None:
        """Take those of a clip; ``detections`` are T * B entries in (t, b) order."""
        time = len(clip.frames)
        self._truth += clip.labelled(clip.boxes)
        self._detections += clip.labelled(detections)
        labelled = clip.is_labelled.flatten()
        self._recordings += clip.recordings.repeat(time)[labelled].tolist()
        self._times_us += clip.end_us.flatten()[labelled].tolist()

    def still(self, classes: Sequence[str]) -> dict[str, Any] | None:
        """The scores of boxes that have stood still for 0.3 s or more; None if there are none, or no tracks."""
        parts = from_boxes(self._truth, self._detections, self._recordings, self._times_us)
        frames = join(
            parts.truth, parts.detections, find_protocol("coco"), class_names=classes, labelled_us=parts.labelled_us
        )
        longest = breakdowns(frames, parts.truth).get(STILL, [])[-1:]
        return asdict(longest[0]) | {"high": None} if longest and longest[0].truth_boxes else None
