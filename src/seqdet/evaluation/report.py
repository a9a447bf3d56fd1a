"""What ``seqdet evaluate`` says about detections by a protocol, be they from files or of a detector."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files import write_text
from .bootstrap import bootstrap
from .box_events import events_in_boxes
from .breakdown import breakdown_lines, breakdowns
from .files import Truth, of_classes, read_detections, read_truth, split_folder
from .frames import join
from .protocol import Protocol
from .protocols import find_protocol
from .rows import Recordings
from .scoring import compare, score_frames


class Verdict(NamedTuple):
    """What there is to say: the lines to print, the protocol and its digest beside every figure; all for JSON."""

    lines: list[str]
    facts: dict[str, Any]


def evaluate_files(
    detections: Path,
    dataset: Path,
    *,
    protocol: str = "coco",
    split: str = "test",
    other: str | None = None,
    samples: int = 0,
    events: bool = True,
    target: Path | None = None,
) -> list[str]:
    """Score files of detections; the lines to print.

    Args:
        detections: file or folder, see ``read_detections``; where the folder lists classes, only these are scored.
        dataset: folder, see ``read_truth``.
        protocol: ``name@version``, or a name, whose newest version it is.
        split: of the dataset.
        other: a protocol whose figure to explain, starting from the first.
        samples: of a bootstrap over recordings for intervals; 0 for none.
        events: read the recordings beside the labels, and score boxes by how long they have had no events.
        target: JSON file for all figures.

    Raises:
        InputError: if a file or a protocol is missing, or they do not belong together.
    """
    rules, second = find_protocol(protocol), find_protocol(other) if other else None
    truth = of_classes(read_truth(dataset, split=split, classes=rules.dataset_classes), detections)
    found = read_detections(detections)
    counts = events_in_boxes(split_folder(dataset, split), truth.boxes) if events else None
    verdict = judge(truth, found, rules, other=second, samples=samples, events=counts)
    if target:
        write_text(target, json.dumps(verdict.facts, indent=2) + "\n")
    return verdict.lines


def judge(
    truth: Truth,
    found: Recordings,
    protocol: Protocol,
    *,
    other: Protocol | None = None,
    samples: int = 0,
    events: Mapping[str, np.ndarray] | None = None,
) -> Verdict:
    """Score detections by the name of their recording.

    Args:
        truth: what there is to find.
        found: the detections, of recordings of the truth.
        protocol: the rules.
        other: a protocol whose figure to explain, starting from the first.
        samples: of a bootstrap over recordings for intervals; 0 for none.
        events: by recording (N,), how many events were in every box of the truth since the label before.

    Raises:
        InputError: if truth, detections and protocol do not belong together.
    """
    given: Any = {"class_names": truth.class_names, "labelled_us": truth.labelled_us}
    frames = join(truth.boxes, found, protocol, **given)
    score = score_frames(frames, protocol)
    tag, facts = f"[{protocol.title} {protocol.digest}]", score.as_dict()
    first, *others = score.lines()
    lines = [first]
    if samples:
        intervals = bootstrap(frames, samples=samples)
        text = "  ".join(f"{name} {interval}" for name, interval in intervals.items())
        lines.append(f"95 % of {samples} resamplings of the recordings: {text}  {tag}")
        facts["intervals"] = {name: asdict(interval) for name, interval in intervals.items()}
    parts = breakdowns(frames, truth.boxes, events=events)
    lines += [others[0], *breakdown_lines(parts, tag), *others[1:]]
    facts["breakdowns"] = {name: [finite(asdict(each)) for each in bins] for name, bins in parts.items()}
    if other:
        comparison = compare(truth.boxes, found, protocol, other, **given)
        lines += comparison.lines()
        facts["comparison"] = {"to": other.title, "digest": other.digest} | {
            "steps": [asdict(step) for step in comparison.steps]
        }
    return Verdict(lines, facts)


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """With None for infinity, which JSON does not know."""
    return {name: None if value == math.inf else value for name, value in values.items()}
