"""How far figures would move with other recordings of the same kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import InputError, check_at_least
from ..progress import progress
from .frames import Frames
from .matching import match
from .scoring import figure


@dataclass(frozen=True)
class Interval:
    """Where 95 % of the resampled figures lie. None where no sample had truth."""

    low: float | None
    high: float | None

    def __str__(self) -> str:
        return f"{figure(self.low)} to {figure(self.high)}"


def bootstrap(frames: Frames, *, samples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """95 % intervals of AP, AP50 and AP75: the percentiles 2.5 and 97.5 of a bootstrap over recordings.

    A sample draws as many recordings as there are, with replacement, and scores them as if that were the data set.
    Recordings are drawn whole, for the boxes of one are not independent. The matching is done once; a sample only
    weighs its hits and errors, which is the same but for the order among detections of equal score. Samples without
    truth are left out.

    Raises:
        InputError: if there are fewer than two recordings, between which nothing can vary.
    """
    count = len(frames.recordings)
    if count < 2:
        raise InputError(f"a bootstrap needs at least 2 recordings to draw from, got {count}.")
    check_at_least(samples, 1, "samples")
    matches = [match(frames, label) for label in range(len(frames.classes))]
    drawn = np.random.default_rng(seed).integers(count, size=(samples, count))
    found = np.full((samples, len(matches), 10), np.nan)
    for sample, recordings in enumerate(progress(drawn, "resampling", unit="sample")):
        weights = np.bincount(recordings, minlength=count)
        for label, of_class in enumerate(matches):
            found[sample, label] = of_class.average_precision(weights)
    means = found[~np.isnan(found).all((1, 2))]
    means = np.nanmean(means, 1) if len(means) else np.zeros((0, 10))
    return {"AP": _interval(means.mean(1)), "AP50": _interval(means[:, 0]), "AP75": _interval(means[:, 5])}


def _interval(values: np.ndarray) -> Interval:
    return Interval(*map(float, np.percentile(values, [2.5, 97.5]))) if len(values) else Interval(None, None)
