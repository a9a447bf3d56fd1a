"""Read the curves of a training from its TensorBoard logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator


def read_curves(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps and values, by name, of every curve in the logs; none if there are no logs.

    Where a resumed training went over the same steps again, the later points count.
    """
    if not folder.is_dir():
        return {}
    logs = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    logs.Reload()
    curves = {}
    for name in logs.Tags()["scalars"]:
        latest = {point.step: point.value for point in logs.Scalars(name)}
        steps = np.array(sorted(latest))
        curves[name] = steps, np.array([latest[step] for step in steps])
    return curves
