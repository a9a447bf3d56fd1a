"""Do tracks keep their objects, for every tracker, and how long does one take for a window?

python benchmarks/tracking.py runs/demo                     # the held-out videos of a run
python benchmarks/tracking.py runs/demo --frames 48         # moving digits in longer videos than in training
python benchmarks/tracking.py runs/events --json out.json

Detections of the held-out recordings go through each tracker as ``seqdet predict --track`` has it; recordings of events
are played without their events, which move tracks between detections. Needs the extra ``track``. *vendor* is
association with the defaults of the Metavision SDK.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from seqdet.config import DataConfig
from seqdet.config_files import read_config
from seqdet.data.detections import TRACKED_BOX, best_of_place
from seqdet.evaluation.tracks import score_tracks
from seqdet.inference import tracking
from seqdet.inference.scoring import LabelledRecordings, labelled_recordings
from seqdet.inference.torch_runner import predict
from seqdet.inference.tracking import MOST_OVERLAP, USUAL, DataAssociation, Tracker, find_tracker
from seqdet.loading import evaluation_loader
from seqdet.models.weights import load_detector

TRACKERS: dict[str, Callable[[], Tracker]] = {
    "association": lambda: DataAssociation(config=USUAL),
    "vendor": DataAssociation,
    **{name: lambda name=name: find_tracker(name) for name in [*tracking.TRACKERS][1:]},
}
FIGURES = ("IDF1", "MOTA", "HOTA", "AssA")


def detections(run: Path, data: DataConfig, score: float) -> LabelledRecordings:
    """Truth and detections of the labelled test frames of a run."""
    detector = load_detector(run / "detector.safetensors")
    truth, found, recordings, times_us = [], [], [], []
    for clip, boxes in predict(detector, evaluation_loader(data, "test"), score=score):
        here = clip.is_labelled.flatten()
        truth += clip.labelled(clip.boxes)
        found += clip.labelled(boxes)
        recordings += clip.recordings.repeat(len(clip.frames))[here].tolist()
        times_us += clip.end_us.flatten()[here].tolist()
    return labelled_recordings(truth, found, recordings, times_us)


def followed(
    parts: LabelledRecordings, make: Callable[[], Tracker], *, apart: bool
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Tracks of every recording, and the seconds of every window."""
    tracks, seconds = {}, []
    for name, times_us in parts.labelled_us.items():
        tracker, rows = make(), [np.zeros(0, TRACKED_BOX)]
        for time_us in times_us:
            boxes = parts.detections[name][parts.detections[name]["t"] == time_us]
            start = time.perf_counter()
            rows.append(tracker.push(int(time_us), best_of_place(boxes, MOST_OVERLAP) if apart else boxes))
            seconds.append(time.perf_counter() - start)
        tracks[name] = np.concatenate(rows)
    return tracks, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"), help="folder of a run")
    parser.add_argument("--frames", type=int, help="of a video of moving digits, if not as in the run")
    parser.add_argument("--score", type=float, default=0.3, help="least score of a detection")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()
    if find_spec("trackers") is None:
        sys.exit("The scores need the extra track: pip install 'seqdet[track]'")

    data = read_config(args.run / "config.yaml").data
    if args.frames:
        digits = replace(data.digits, held_out_frames_per_video=args.frames)
        data = replace(data, digits=digits)
    parts = detections(args.run, data, args.score)
    count = sum(map(len, parts.labelled_us.values()))
    print(f"{platform.processor() or platform.machine()}, trackers {version('trackers')}, numpy {np.__version__}")
    print(f"{args.run}: {len(parts.truth)} recordings, {count:,} windows, detections of {args.score} and more\n")
    print(f"{'':>12} " + " ".join(f"{name:>6}" for name in FIGURES) + "  switches  ms a window, p50")
    rows = []
    for name, make in TRACKERS.items():
        tracks, seconds = followed(parts, make, apart=name != "vendor")
        score = score_tracks(parts.truth, tracks, labelled_us=parts.labelled_us)
        row = {"tracker": name, **score, "p50_ms": float(np.median(seconds)) * 1e3}
        rows.append(row)
        shares = " ".join(f"{score[each]:>6.3f}" for each in FIGURES)
        print(f"{name:>12} {shares} {score['identity_switches']:>9,} {row['p50_ms']:>17.2f}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
