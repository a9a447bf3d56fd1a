"""Truth and detections of the labelled frames that a detector was shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...evaluation.frames import Frames, join
from ...evaluation.from_boxes import Labelled, from_boxes
from ...evaluation.protocols import find_protocol
from ...structures import Boxes, Clip


class Moment(NamedTuple):
    """A labelled frame: number of the recording, and of the window in it; what was found, in pixels of the frame."""

    recording: int
    window: int
    detections: Boxes


class LabelledFrames:
    """Truth and detections of the labelled frames of many clips, those of a recording one after the other.

    Args:
        scale_xy: pixels of the sensor across a pixel of a frame.
    """

    def __init__(self, scale_xy: tuple[float, float] = (1, 1)) -> None:
        self.scale_xy = scale_xy
        self._truth: list[Boxes] = []
        self._moments: list[Moment] = []
        self._times_us: list[int] = []
        self._windows: Counter[int] = Counter()

    def add(self, clip: Clip, detections: Sequence[Boxes]) -> None:
        """Take those of a clip; ``detections`` are T * B entries in (t, b) order."""
        time = len(clip.frames)
        recordings = clip.recordings.tolist()
        self._truth += clip.labelled(clip.boxes)
        self._times_us += clip.end_us.flatten()[clip.is_labelled.flatten()].tolist()
        places = [(number, self._windows[number] + t) for t in range(time) for number in recordings]
        labelled = zip(places, detections, clip.is_labelled.flatten().tolist(), strict=True)
        self._moments += [Moment(*place, boxes) for place, boxes, wanted in labelled if wanted]
        for number in recordings:
            self._windows[number] += time

    def parts(self) -> Labelled:
        """The boxes in pixels of the sensor, by the number of the recording."""
        numbers, found = [each.recording for each in self._moments], [each.detections for each in self._moments]
        return from_boxes(self._truth, found, numbers, self._times_us, scale_xy=self.scale_xy)

    def joined(self, classes: Sequence[str]) -> tuple[Frames, Labelled]:
        """All of them as frames of plain COCO, in pixels of the sensor, and the boxes that they come from."""
        parts = self.parts()
        given = {"class_names": classes, "labelled_us": parts.labelled_us}
        return join(parts.truth, parts.detections, find_protocol("coco"), **given), parts

    def moments(self) -> list[Moment]:
        """The labelled frames in the order of those that were joined."""
        order = np.lexsort((self._times_us, [each.recording for each in self._moments]))
        return [self._moments[n] for n in order]
