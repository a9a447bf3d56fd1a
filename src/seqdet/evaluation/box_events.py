"""How many events the boxes of a dataset had inside, counted in its recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data.audit_events import watch_recording
from ..data.dataset import holds_tensors
from ..data.labels import labels_beside
from ..data.layouts import recording_files
from ..events.files import open_recording
from ..events.time_units import Unit
from ..progress import progress
from .files import name_of
from .rows import Recordings


def events_in_boxes(
    folder: Path, truth: Recordings, *, size_hw: tuple[int, int] | None = None, time_unit: Unit | None = None
) -> dict[str, np.ndarray] | None:
    """By recording (N,), how many events were in the box of every label since the labels before; 0 for noise alone.

    Labels of another time count as those before, and at most 2 s of events. Noise is what the quiet parts of the
    recording send, with three standard deviations.

    Args:
        folder: with recordings beside their labels, also in folders below.
        truth: the labels.
        size_hw: of the sensor, for recordings that do not say.
        time_unit: of the times of recordings that do not say.

    Returns:
        None unless there is a recording for all labels.

    Raises:
        InputError: if a recording is damaged.
    """
    labels = [(path, labels_beside(path)) for path in reversed(recording_files(folder))]
    paths = {name_of(found): path for path, found in labels if found is not None}
    if not truth.keys() <= paths.keys() or any(map(holds_tensors, paths.values())):
        return None
    shown = progress(truth.items(), "events in boxes", unit="recording")
    how: Any = {"size_hw": size_hw, "time_unit": time_unit}
    return {name: _counted(paths[name], boxes, how) for name, boxes in shown}


def _counted(path: Path, boxes: np.ndarray, how: Any) -> np.ndarray:
    with open_recording(path, **how) as recording:
        watched = watch_recording(recording, boxes, window_us=1)
        areas = boxes["w"].astype(np.float64) * boxes["h"]
        noise = watched.few(areas * watched.reach, recording.stated_size_hw or watched.counts.shape)
    return np.where(watched.before > noise, watched.before, 0)
