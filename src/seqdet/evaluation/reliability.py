"""Whether scores are what they say: of the detections of score 0.8, are eight in ten right?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..checks import check_at_least
from .frames import Frames
from .matching import match


@dataclass(frozen=True)
class ScoreBin:
    """The detections whose score is in [low, high); the last bin has those of score 1 too.

    score: their mean. precision: the share that matches truth of its class at IoU 0.5. Both None where there are none.
    """

    low: float
    high: float
    detections: int
    score: float | None
    precision: float | None


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Precision by score, at IoU 0.5. Detections of ignored truth are left out.

    expected_error: the expected calibration error: the mean distance of precision and score, over the bins, by how many
        detections they have (Guo et al. 2017, https://arxiv.org/abs/1706.04599); None without detections.
    expected_error_shown: the same over those bins alone that begin at ``shown_score`` or above.
    """

    bins: tuple[ScoreBin, ...]
    expected_error: float | None
    shown_score: float
    expected_error_shown: float | None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"bins": [asdict(each) for each in self.bins]}


def reliability(frames: Frames, *, shown_score: float, bins: int = 10) -> Reliability:
    """How precise detections are by their score.

    Most detections have low scores, and an error over all is mostly theirs; another one is over those that are shown.
    """
    check_at_least(bins, 1, "bins")
    matches = [match(frames, label) for label in range(len(frames.classes))]
    outcomes = np.concatenate([np.zeros(0, np.int8), *(each.outcomes[0] for each in matches)])
    rows = np.concatenate([np.zeros(0, np.int64), *(each.rows for each in matches)])[outcomes >= 0]
    is_right = outcomes[outcomes >= 0] == 1
    scores = frames.detections["scores"][rows].astype(np.float64)
    edges = np.linspace(0, 1, bins + 1).round(12)
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums, hits = np.bincount(place, scores, bins), np.bincount(place, is_right, bins)
    found = tuple(
        ScoreBin(float(edges[n]), float(edges[n + 1]), int(counts[n]), *_means(counts[n], sums[n], hits[n]))
        for n in range(bins)
    )
    gaps, is_shown = abs(hits - sums), edges[:-1] >= shown_score - 1e-9
    return Reliability(
        bins=found,
        expected_error=_share(gaps, counts),
        shown_score=shown_score,
        expected_error_shown=_share(gaps[is_shown], counts[is_shown]),
    )


def _means(count: int, *sums: float) -> list[float | None]:
    return [float(each / count) if count else None for each in sums]


def _share(gaps: np.ndarray, counts: np.ndarray) -> float | None:
    return float(gaps.sum() / counts.sum()) if counts.sum() else None
