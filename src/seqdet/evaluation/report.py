"""What ``seqdet evaluate`` says about files of detections."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..files import write_text
from .bootstrap import bootstrap
from .breakdown import breakdown_lines, breakdowns
from .files import read_detections, read_truth
from .frames import join
from .protocols import find_protocol
from .scoring import compare, score_frames


def evaluate_files(
    detections: Path,
    dataset: Path,
    *,
    protocol: str = "coco",
    split: str = "test",
    other: str | None = None,
    samples: int = 0,
    target: Path | None = None,
) -> list[str]:
    """Score files of detections; the lines to print, with the protocol and its digest beside every figure.

    Args:
        detections: file or folder, see ``read_detections``.
        dataset: folder, see ``read_truth``.
        protocol: ``name@version``, or a name, whose newest version it is.
        split: of the dataset.
        other: a protocol whose figure to explain, starting from the first.
        samples: of a bootstrap over recordings for intervals; 0 for none.
        target: JSON file for all figures.

    Raises:
        InputError: if a file or a protocol is missing, or they do not belong together.
    """
    rules, second = find_protocol(protocol), find_protocol(other) if other else None
    truth, found = read_truth(dataset, split=split, classes=rules.dataset_classes), read_detections(detections)
    given: Any = {"class_names": truth.class_names, "labelled_us": truth.labelled_us}
    frames = join(truth.boxes, found, rules, **given)
    score = score_frames(frames, rules)
    tag, facts = f"[{rules.title} {rules.digest}]", score.as_dict()
    first, *others = score.lines()
    lines = [first]
    if samples:
        intervals = bootstrap(frames, samples=samples)
        text = "  ".join(f"{name} {interval}" for name, interval in intervals.items())
        lines.append(f"95 % of {samples} resamplings of the recordings: {text}  {tag}")
        facts["intervals"] = {name: asdict(interval) for name, interval in intervals.items()}
    parts = breakdowns(frames, truth.boxes)
    lines += [others[0], *breakdown_lines(parts, tag), *others[1:]]
    facts["breakdowns"] = {name: [_finite(asdict(each)) for each in bins] for name, bins in parts.items()}
    if second:
        comparison = compare(truth.boxes, found, rules, second, **given)
        lines += comparison.lines()
        facts["comparison"] = {"to": second.title, "digest": second.digest} | {
            "steps": [asdict(step) for step in comparison.steps]
        }
    if target:
        write_text(target, json.dumps(facts, indent=2) + "\n")
    return lines


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """With None for infinity, which JSON does not know."""
    return {name: None if value == math.inf else value for name, value in values.items()}
