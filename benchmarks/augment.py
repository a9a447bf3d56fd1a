"""How long does a change of a clip take, in copies of its frames?

python benchmarks/augment.py                  # a table on the terminal
python benchmarks/augment.py --json out.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numba
import torch
from torch import Tensor

from seqdet.config import AugmentConfig
from seqdet.data.augmentation import draw_transform
from seqdet.events.tensors import stacked_histogram

SIZE_HW, TIME, CHANNELS = (360, 640), 12, 20
CHANGES = {
    "flip": {"flip": 1.0},
    "zoom in 1.5": {"zoom": 1.0, "zoom_in_share": 1.0, "zoom_in": (1.5, 1.5)},
    "zoom out 1.2": {"zoom": 1.0, "zoom_in_share": 0.0, "zoom_out": (1.2, 1.2)},
    "translate": {"translate": 1.0},
    "rotate": {"rotate": 1.0, "max_rotation": 30.0},
    "event dropout": {"event_dropout": 1.0},
    "polarity dropout": {"polarity_dropout": 1.0},
    "time flip": {"time_flip": 1.0},
}


def milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of some runs, after one that compiles."""
    work()
    ticks = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        ticks.append(time.perf_counter() - start)
    return min(ticks) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    versions = f"torch {torch.__version__}, numba {numba.__version__}"
    print(f"{machine}, {versions}\na clip of {TIME} frames {CHANNELS} x {SIZE_HW[0]} x {SIZE_HW[1]} uint8, one thread")
    shares = (0.005, 0.02, 0.1)
    print(f"{'':>16} " + " ".join(f"{f'{share:.1%} not 0':>18}" for share in shares))
    torch.set_num_threads(1)
    rows = []
    channels = stacked_histogram.channels(CHANNELS, {})
    clips = {share: random_frames(share) for share in shares}
    for name, probabilities in CHANGES.items():
        config = AugmentConfig(**probabilities)
        transform = draw_transform(config, seed=0, recording=0, epoch=0, size_hw=SIZE_HW, channels=channels)
        row: dict[str, object] = {"change": name, "machine": machine, "versions": versions}
        cells = []
        for share, frames in clips.items():
            change, copy = milliseconds(lambda f=frames, t=transform: t.frames(f)), milliseconds(frames.numpy().copy)
            row[f"ms_{share}"], row[f"copies_{share}"] = change, change / copy
            cells.append(f"{change:>7.1f} ms {change / copy:>4.1f} x")
        rows.append(row)
        print(f"{name:>16} " + " ".join(f"{cell:>18}" for cell in cells))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))


def random_frames(share: float) -> Tensor:
    """Counts of which ``share`` are not 0."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(TIME, CHANNELS, *SIZE_HW, generator=generator) < share).to(torch.uint8)


if __name__ == "__main__":
    main()
