"""The detections of recordings as files hold them: in pixels of the sensor, at times of the recording."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...data.classes import write_classes
from ...data.joining import window_of
from ...data.labels import EVENT_BBOX, LABEL_SUFFIX, write_labels
from ...data.recorded import RecordedClips
from ...evaluation.from_boxes import event_boxes
from ...evaluation.protocol import Protocol
from ...structures import Boxes, Clip
from .held_out import HeldOut

AT_LABELS = "truth", "labelled"
"""Moments of a protocol at which a detector is asked only where somebody looked."""


class Answers:
    """What a detector says, at the times at which a protocol asks.

    Where a protocol scores at labelled times, a labelled time gets the detections of the window that it belongs to by
    the policy and the tolerance of the dataset, as in training; one that belongs to none gets nothing. Where it scores
    elsewhere too, every window gives its detections at its end. A recording without labels gives none.

    Args:
        data: what the detector is run over.
        protocol: the rules.
    """

    def __init__(self, data: HeldOut, protocol: Protocol) -> None:
        self._names, self._scale_xy = data.names, data.scale_xy
        self._times_us = _asked(data) if protocol.moments in AT_LABELS else None
        known = data.names if data.truth is None else data.truth.boxes
        self._found: dict[str, list[np.ndarray]] = {name: [] for name in data.names if name in known}

    def add(self, clip: Clip, detections: Sequence[Boxes]) -> None:
        """Take those of a clip; ``detections`` are T * B entries in (t, b) order."""
        numbers, ends_us = clip.recordings.tolist() * len(clip.frames), clip.end_us.flatten().tolist()
        for number, end_us, boxes in zip(numbers, ends_us, detections, strict=True):
            if number >= 0 and end_us > 0 and self._names[number] in self._found:
                times_us = [end_us] if self._times_us is None else self._times_us[number].get(end_us, ())
                tables = [event_boxes(boxes, time_us, scale_xy=self._scale_xy) for time_us in times_us]
                self._found[self._names[number]] += tables

    def by_recording(self) -> dict[str, np.ndarray]:
        """The detections (N,) ``EVENT_BBOX`` of every recording with labels, by its name, sorted by time."""
        tables = {name: np.concatenate([np.zeros(0, EVENT_BBOX), *parts]) for name, parts in self._found.items()}
        return {name: rows[np.argsort(rows["t"], kind="stable")] for name, rows in tables.items()}


def write_detections(folder: Path, found: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Write the detections as label files, one for each recording, and the names of the classes, to a folder.

    Raises:
        InputError: if a file cannot be written.
    """
    write_classes(folder, classes)
    for name, rows in found.items():
        write_labels(folder / f"{name}{LABEL_SUFFIX}", rows)


def _asked(data: HeldOut) -> list[Mapping[int, Sequence[int]]] | None:
    """For every recording, by the end of a window, the labelled times that belong to it; None: at the end of each."""
    if data.truth is None or not isinstance(data.source, RecordedClips):
        return None
    rules = data.source.config
    asked = []
    for name, recording in zip(data.names, data.source.recordings, strict=True):
        times: defaultdict[int, list[int]] = defaultdict(list)
        labelled_us = data.truth.labelled_us.get(name, np.zeros(0, np.int64))
        windows = window_of(labelled_us, recording.ends_us, policy=rules.policy, tolerance_us=rules.tolerance_us)
        for time_us, window in zip(labelled_us.tolist(), windows.tolist(), strict=True):
            if window >= 0:
                times[int(recording.ends_us[window])].append(time_us)
        asked.append(times)
    return asked
