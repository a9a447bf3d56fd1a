"""What ``seqdet evaluate --tracks`` says about files of tracks."""

from __future__ import annotations

import json
from pathlib import Path

from ..files import write_text
from .files import of_classes, read_detections, read_truth
from .rows import some
from .tracks import score_tracks

TOLERANCE_US = 2_000
"""How far the tracks of a labelled time may be from it."""


def evaluate_tracks(tracks: Path, dataset: Path, *, split: str = "test", target: Path | None = None) -> list[str]:
    """Score files of tracks; the lines to print.

    Args:
        tracks: file or folder, see ``read_detections``; where the folder lists classes, only these are scored.
        dataset: folder whose labels have tracks, see ``read_truth``.
        split: of the dataset.
        target: JSON file for all figures.

    Raises:
        InputError: if a file is missing, they do not belong together, or the extra ``track`` is not installed.
    """
    truth = of_classes(read_truth(dataset, split=split), tracks, kind="tracks")
    found = read_detections(tracks, kind="tracks")
    score = score_tracks(truth.boxes, found, labelled_us=truth.labelled_us, tolerance_us=TOLERANCE_US)
    if target:
        write_text(target, json.dumps(score, indent=2) + "\n")
    without = sorted(set(truth.boxes) - set(found))
    shares = ("IDF1", "MOTA", "HOTA", "DetA", "AssA")
    counts = ("identity_switches", "fragmentations", "misses", "false_alarms")
    return [
        "  ".join(f"{name} {score[name]:.3f}" if score[name] is not None else f"{name} -" for name in shares),
        f"{len(truth.boxes)} recordings, {score['frames']:,} labelled times, {score['truth_tracks']:,} objects with "
        f"{score['truth_boxes']:,} boxes, {score['tracks']:,} tracks with {score['tracked_boxes']:,}",
        ", ".join(f"{score[name]:,} {name.replace('_', ' ')}" for name in counts),
        *([f"no file of tracks, so that all is missed: {some(without)}"] if without else []),
    ]
