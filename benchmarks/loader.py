"""How many frames of moving digits per second does the loader give, and how many times is that the training rate?

python benchmarks/loader.py                        # a table on the terminal
python benchmarks/loader.py --training-rate 120    # frames/s of benchmarks/training_step.py on this machine
python benchmarks/loader.py --json out.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numba
import numpy as np
import torch
from torch.utils.data import DataLoader

from seqdet.config import DataConfig
from seqdet.data.schedule import schedule
from seqdet.digits.videos import MovingDigits
from seqdet.structures import Clip


def frames_per_second(config: DataConfig, *, workers: int, steps: int) -> float:
    """Rate over the quarter of the steps that the rest of the machine disturbed least; starting up does not count."""
    dataset = MovingDigits(config.digits, "train", clip_length=config.clip_length, seed=config.seed)
    playlist = schedule(dataset.clip_counts, config.lanes)[: steps + 1]
    loader = DataLoader(dataset, batch_sampler=playlist, num_workers=workers, collate_fn=Clip.collate)
    batches, ticks, frames = iter(loader), [], 0
    for _ in playlist:
        frames = next(batches).frames.shape[:2].numel()
        ticks.append(time.perf_counter())
    stretch = max(len(ticks) // 4, 1)
    seconds = min(after - before for before, after in zip(ticks, ticks[stretch:], strict=False))
    return frames * stretch / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training-rate", type=float, default=100.0, help="frames/s that training takes")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    config = DataConfig()
    size = f"{config.digits.height}x{config.digits.width}"
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    versions = f"torch {torch.__version__}, numba {numba.__version__}, numpy {np.__version__}"
    print(f"{machine}, {versions}\nbatches of {config.lanes} x {config.clip_length} frames of {size}")
    print(f"{'workers':>8} {'frames/s':>10} {'x training':>11}")
    rows = []
    for workers in (0, 2):
        rate = frames_per_second(config, workers=workers, steps=96)
        row = {"workers": workers, "frames_per_s": rate, "times_training": rate / args.training_rate}
        rows.append({**row, "training_frames_per_s": args.training_rate, "machine": machine, "versions": versions})
        print("{workers:>8} {frames_per_s:>10.0f} {times_training:>11.1f}".format(**row))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
