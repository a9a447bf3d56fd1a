"""Files of detections, scored in one call."""

from __future__ import annotations

from typing import Any

from seqdet.evaluation.protocols import Protocol, join
from seqdet.evaluation.report import ProtocolScores, score_frames


def score(truth: Any, detections: Any, protocol: Protocol, **given: Any) -> ProtocolScores:
    """The scores under a protocol; other arguments are those of ``join``."""
    return score_frames(join(truth, detections, protocol, **given), protocol)
