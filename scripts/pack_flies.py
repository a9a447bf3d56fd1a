"""Pack the flies of samples/flies: videos of 1024x1024 become small, and their labels follow.

The originals are test data of SLEAP and DREEM (see samples/flies/README.md): ``train/long.mp4``, ``train/clip.mp4`` and
``val/two.mp4``, each with a text of MOT of its boxes beside it.

python scripts/pack_flies.py originals samples/flies
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from seqdet.pictures.sequence import open_pictures

SIDE = 192
ENCODER = {"crf": "16", "preset": "veryslow", "threads": "1"}


class Part(NamedTuple):
    """Pictures [first, stop) of an original."""

    source: str
    first: int
    stop: int
    target: str


PARTS = (
    Part("train/long", 0, 3000, "train/long"),
    Part("train/clip", 0, 1200, "train/clip"),
    Part("train/clip", 1200, 1500, "val/clip_end"),
    Part("val/two", 0, 128, "test/two"),
)


def write_video(part: Part, source: Path, target: Path) -> float:
    """Write the pictures of a part; by which factor they became smaller."""
    pictures = open_pictures(source)
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=ENCODER)
        stream.width = SIDE
        stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for picture in pictures.read(part.first, part.stop):
            small = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(small), format="rgb24")))
        container.mux(stream.encode())
    pictures.close()
    return SIDE / pictures.size_hw[1]


def write_labels(part: Part, source: Path, target: Path, scale: float) -> None:
    """Write the labels of a part, numbered from 1."""
    lines = []
    for line in source.read_text(encoding="utf-8").splitlines():
        frame, identity, *box, confidence, kind, visible = line.split(",")
        if part.first < int(frame) <= part.stop:
            sides = [f"{float(side) * scale:.2f}" for side in box]
            lines.append(",".join([str(int(frame) - part.first), identity, *sides, confidence, kind, visible]))
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("originals", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    for part in PARTS:
        source = args.originals / part.source
        target = args.target / part.target
        target.parent.mkdir(parents=True, exist_ok=True)
        scale = write_video(part, source.with_suffix(".mp4"), target.with_suffix(".mp4"))
        write_labels(part, source.with_suffix(".txt"), target.with_suffix(".txt"), scale)


if __name__ == "__main__":
    main()
