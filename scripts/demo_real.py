"""Flies that a detector remembers: train on a real video and on events simulated of it, and film both side by side.

Runs the commands that it prints, in about 8 minutes on two cores, and goes on where it was stopped:

python scripts/demo_real.py runs/flies

The film has the video with what is found in it, the events with what is found by a detector with memory, and the same
with its memory emptied before every window. A fly that stands still sends no events.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqdet.config import SHOWN_SCORE
from seqdet.inference.finished import finished_run
from seqdet.inference.scoring import HeldOut
from seqdet.inference.torch_runner import predict
from seqdet.loading import evaluation_loader, prepare_split
from seqdet.progress import progress
from seqdet.runs import RunFolder
from seqdet.structures import Boxes
from seqdet.viz.draw import draw_boxes
from seqdet.viz.images import painter
from seqdet.viz.tiles import grid
from seqdet.viz.video import write_video

SAMPLES = Path(__file__).parents[1] / "samples" / "flies"
SCALE = 3
FPS = 12.5
"""Half of real time: flies are quick."""
CAPTIONS = ("video", "events, with memory", "events, memory emptied before each window")


class Seen(NamedTuple):
    """A picture (H, W, 3) uint8 of one moment, and what was found in it."""

    image: np.ndarray
    boxes: Boxes


def run(*words: object) -> None:
    """Run a command of seqdet, as a user would type it."""
    typed = [str(word) for word in words]
    print(f"\n$ seqdet {shlex.join(typed)}", flush=True)
    subprocess.run([sys.executable, "-m", "seqdet", *typed], check=True)


def make_data(out: Path) -> None:
    """The videos as a dataset, and their events as another."""
    if not (out / "video" / "test").is_dir():
        run("import", SAMPLES, "--from", "mot", "--classes", "fly", "-o", out / "video")
    recordings = out / "recordings"
    for film in sorted(SAMPLES.glob("*/*.mp4")):
        target = recordings / film.parent.name / f"{film.stem}.raw"
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            run("simulate", film, "-o", target)
    if not (out / "events" / "test").is_dir():
        run(
            "import", SAMPLES, recordings, "--from", "mot", "--classes", "fly", "--label-rate", 25, "-o", out / "events"
        )


def train(kind: str, data: Path, out: Path) -> None:
    """Train, or go on training, and evaluate."""
    folder = RunFolder(out)
    if not folder.training.is_file():
        if folder.config.is_file():
            run("train", "--resume", out)
        else:
            run("train", "--recipe", f"flies_{kind}", "--data.dataset.folder", data, "--out", out)
    if not folder.metrics.is_file():
        run("evaluate", out)


def seen(out: Path, *, remembers: bool) -> Iterator[tuple[int, Seen]]:
    """Every moment of the held-out recording: its time in microseconds, and what was found then."""
    found = finished_run(RunFolder(out))
    prepare_split(found.config.data, "test")
    data = HeldOut(found.config, "test")
    paint = painter(found.detector.input)
    clips = evaluation_loader(found.config.data, "test", source=data.source)
    precision = found.training["precision"]
    for clip, boxes in predict(found.detector, clips, precision=precision, remembers=remembers):
        lanes = clip.frames.shape[1]
        for t in range(len(clip.frames)):
            if clip.is_labelled[t, 0]:
                shown = boxes[t * lanes].above(SHOWN_SCORE)
                yield int(clip.end_us[t, 0]), Seen(paint(clip.frames[t, 0]), shown)


def film(out: Path) -> list[np.ndarray]:
    """The pictures of the film: those moments that both detectors saw."""
    ways = [
        dict(seen(out / "as_video", remembers=True)),
        dict(seen(out / "as_events", remembers=True)),
        dict(seen(out / "as_events", remembers=False)),
    ]
    times_us = sorted(set.intersection(*map(set, ways)))
    images = []
    for time_us in progress(times_us, "film", unit="picture"):
        tiles = [
            draw_boxes(moment.image, classes=["fly"], predictions=moment.boxes, scale=SCALE)
            for moment in (way[time_us] for way in ways)
        ]
        images.append(grid(tiles, columns=len(tiles), captions=CAPTIONS))
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for data, runs and the film")
    args = parser.parse_args()
    try:
        make_data(args.out)
        train("video", args.out / "video", args.out / "as_video")
        train("events", args.out / "events", args.out / "as_events")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    images = film(args.out)
    path = args.out / "film.mp4"
    write_video(path, images, fps=FPS)
    print(f"\n{path}: the video, its events, and the events without memory, side by side")


if __name__ == "__main__":
    main()
