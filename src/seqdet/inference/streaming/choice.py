"""Which detections are wanted: of some classes, above a score, or above one for each class."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ...checks import InputError
from ...config_files import suggestion
from ...data.labels import EVENT_BBOX
from ..steps.step import Found


def thresholds(classes: Sequence[str], wanted: Sequence[str] = (), score: float = 0.0) -> np.ndarray:
    """The least score of each class, (N,) float64; infinity for those that are not wanted.

    Args:
        classes: names of the classes of a detector.
        wanted: ``name``, or ``name:score`` for a class with a score of its own; all classes if empty.
        score: of the classes that have none of their own.

    Raises:
        InputError: if there is no such class, it is named twice, or a score is not in [0, 1].
    """
    least = np.full(len(classes), np.inf if wanted else _share(score))
    for entry in wanted:
        name, colon, own = (entry, "", "") if entry in classes else entry.rpartition(":")
        name, own = (name, own) if colon else (entry, str(score))
        if name not in classes:
            known = ", ".join(classes)
            raise InputError(f"classes must be among {known}; got {name!r}.{suggestion(name, list(classes))}")
        if least[list(classes).index(name)] != np.inf:
            raise InputError(f"every class must be named once, got {name} twice.")
        least[list(classes).index(name)] = _share(own)
    return least


def least_score(wanted: Sequence[str], score: float) -> float:
    """The least of the scores that ``thresholds`` takes: what a detector has to give."""
    least = score
    for entry in wanted:
        with suppress(ValueError):  # thresholds says what is wrong with it
            least = min(least, float(entry.rpartition(":")[2])) if ":" in entry else least
    return least


def _share(value: float | str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = np.nan
    if not 0 <= share <= 1:
        raise InputError(f"a score must be a number from 0 to 1, got {value}.")
    return share


def event_rows(found: Found, time_us: int) -> np.ndarray:
    """Detections as (N,) ``EVENT_BBOX`` at one time, best score first, of track 0."""
    rows = np.zeros(len(found.scores), EVENT_BBOX)
    xyxy = found.xyxy.astype(np.float64)
    rows["t"], rows["class_id"], rows["class_confidence"] = time_us, found.labels, found.scores
    rows["x"], rows["y"], rows["w"], rows["h"] = *xyxy[:, :2].T, *(xyxy[:, 2:] - xyxy[:, :2]).T
    return rows


def chosen(found: Found, least: np.ndarray) -> Found:
    """Those whose score is at least that of their class."""
    kept = found.scores >= least[found.labels]
    return Found(found.xyxy[kept], found.labels[kept], found.scores[kept])
