"""What a detector still finds when its sensor has a fault: the same recordings once for each fault and severity."""

from __future__ import annotations

import logging
from typing import Any

from ..checks import InputError
from ..config import DECODING
from ..data.clips import RecordedClips
from ..data.faults import SEVERITIES
from ..evaluation.coco import figure
from ..loading import evaluation_loader
from ..models.detector import Detector
from ..progress import Progress
from ..viz.pages import FAULT_FIGURES
from .probing import Marks, marks_of
from .scoring import HeldOut, LabelledFrames, Scored
from .torch_runner import predict

log = logging.getLogger(__name__)


def clips_of_events(data: HeldOut) -> RecordedClips:
    """The clips of a split, if a sensor of events could have a fault in them.

    Raises:
        InputError: if they are pictures, or it is not known what their frames show.
    """
    if not isinstance(data.source, RecordedClips):
        raise InputError(
            "--faults must be left out: the detector was trained on pictures, and these are faults of event cameras."
        )
    data.source.fault_names()
    return data.source


def score_faults(detector: Detector, data: HeldOut, scored: Scored, *, precision: str) -> dict[str, Any]:
    """The scores of a split by fault and severity, beside those without, ready for JSON.

    The faults depend on the recordings alone, so that they are the same for every detector. What Ctrl-C leaves of the
    work is handed out; the milder faults come first.

    Args:
        detector: the detector.
        data: the split.
        scored: what was found in it without faults.
        precision: "float32" or "bfloat16" layers.

    Returns:
        "severities"; "without": the ``FAULT_FIGURES``; "by_fault": for each fault, by figure, its value at each
        severity, None where there is nothing to score or nobody played it; "played", "planned": how many of them.

    Raises:
        InputError: as ``clips_of_events``.
    """
    source = clips_of_events(data)
    names = source.fault_names()
    columns: dict[str, dict[str, list[float | None]]] = {
        name: {each: [None] * len(SEVERITIES) for each in FAULT_FIGURES} for name in names
    }
    planned = [(severity, name) for severity in SEVERITIES for name in names]
    played = 0
    clips = len(evaluation_loader(data.config.data, data.split, source=source))
    with Progress("with faults", unit="clip", total=len(planned) * clips) as shown:
        try:
            for severity, name in planned:
                marks = _marks(detector, data, source.with_fault(name, severity), precision, shown)
                for each in FAULT_FIGURES:
                    columns[name][each][SEVERITIES.index(severity)] = getattr(marks, each)
                played += 1
        except KeyboardInterrupt:
            log.warning("Stopped after %d of %d faults and severities: these are kept.", played, len(planned))
    without = marks_of(scored.frames, scored.parts)
    return {
        "severities": list(SEVERITIES),
        "without": {each: getattr(without, each) for each in FAULT_FIGURES},
        "by_fault": columns,
        "played": played,
        "planned": len(planned),
    }


def _marks(detector: Detector, data: HeldOut, source: RecordedClips, precision: str, shown: Progress) -> Marks:
    """The scores of clips of the split."""
    labelled = LabelledFrames(data.known.scales_xy)
    clips = evaluation_loader(data.config.data, data.split, source=source)
    for clip, found in predict(detector, clips, score=DECODING.score, precision=precision):
        labelled.add(clip, found)
        shown.update()
    return marks_of(*labelled.joined(detector.classes))


def fault_lines(found: dict[str, Any]) -> list[str]:
    """The scores by fault and severity as tables, one below the other; no table of what there is nothing of."""
    lines = []
    width = max(map(len, found["by_fault"]))
    for name, title in FAULT_FIGURES.items():
        if found["without"][name] is None:
            continue
        lines.append(f"{title} with a fault of the sensor, by severity:")
        heads = ["none", *map(str, found["severities"])]
        lines.append(f"  {'':{width}}" + "".join(f"{each:>7}" for each in heads))
        for fault, columns in found["by_fault"].items():
            values = [found["without"][name], *columns[name]]
            lines.append(f"  {fault:{width}}" + "".join(f"{figure(each):>7}" for each in values))
    if found["played"] < found["planned"]:
        lines.append(f"{found['played']} of {found['planned']} faults and severities were played.")
    return lines
