"""Does memory stay flat over an hour of stream?

python benchmarks/stream_memory.py                  # a table on the terminal
python benchmarks/stream_memory.py --hours 2 --json out.json

A second of made-up events, 20,000 on 128x128 pixels, comes again and again, moved on in time, in pieces of 10 ms. It
goes through a noise filter, a small exported detector that is not trained, and data association; the five best
detections of a window and the tracks are written down. *memory* is what the process holds, in MB.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import psutil

from seqdet.config import InputConfig, VanillaConfig
from seqdet.data.detections import best_of_place
from seqdet.events.array import Events
from seqdet.events.filters import FilterConfig
from seqdet.inference.result_files import ResultFiles
from seqdet.inference.runners import OnnxRunner
from seqdet.inference.streaming import StreamConfig, StreamingDetector
from seqdet.inference.tracking import MOST_OVERLAP, DataAssociation

SIDE, WINDOW_US, PIECE_US, EVENTS, BOXES = 128, 50_000, 10_000, 20_000, 5


def write_model(path: Path) -> None:
    """A detector that sees something everywhere; in a process of its own, as PyTorch takes a gigabyte."""
    import torch

    from seqdet.inference.export import export
    from seqdet.models.zoo import build_detector

    detector = build_detector(VanillaConfig(classes=tuple("0123456789"), in_channels=10, base=1, channels=8))
    detector.input = InputConfig("stacked_histogram", {"bins": 5}, WINDOW_US, (SIDE, SIDE), (SIDE, SIDE))
    bias: Any = detector.head.predictors[1].bias
    torch.nn.init.zeros_(bias)
    export(detector, path)


def second() -> Events:
    """A bar that goes from left to right, and noise."""
    draw = np.random.default_rng(0)
    t = np.sort(draw.integers(0, 1_000_000, EVENTS))
    bar, anywhere = t * (SIDE - 8) // 1_000_000 + draw.integers(0, 8, EVENTS), draw.integers(0, SIDE, (2, EVENTS))
    x = np.where(draw.random(EVENTS) < 0.5, bar, anywhere[0]).astype(np.uint16)
    return Events(t, x, anywhere[1].astype(np.uint16), draw.integers(0, 2, EVENTS).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0, help="of stream")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(write_model, path).result()
        rows = play(path, Path(folder) / "found", round(args.hours * 3600))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


def play(model: Path, out: Path, seconds: int) -> list[dict[str, float]]:
    """So many seconds through everything; a row for each sixth of them."""
    config = StreamConfig(filters=(FilterConfig("activity"),))
    stream, tracker = StreamingDetector(OnnxRunner(model, threads=1), config), DataAssociation((SIDE, SIDE))
    whole = second()
    pieces = np.searchsorted(whole.t, range(0, 1_000_001, PIECE_US)).tolist()
    machine = platform.processor() or platform.machine()
    print(f"{machine}, onnxruntime {onnxruntime.__version__}, numpy {np.__version__}")
    print(f"{'minutes':>8} {'memory':>8} {'x real time':>12} {'windows':>9} {'tracks':>8} {'written MB':>11}")
    rows, windows, newest, start = [], 0, 0, time.perf_counter()
    with ResultFiles(out, Path("stream"), has_tracks=True) as outputs:
        for n in range(1, seconds + 1):
            moved = Events(whole.t + n * 1_000_000, whole.x, whole.y, whole.p)
            for begin, end in pairwise(pieces):
                for found in stream.push(moved[begin:end]):
                    boxes = best_of_place(found.boxes[:BOXES], MOST_OVERLAP)
                    tracks = tracker.push(found.end_us, boxes, found.events)
                    outputs.add(boxes, tracks, tracks)
                    windows, newest = windows + 1, max(newest, int(tracks["track_id"].max(initial=0)))
            if n % max(seconds // 6, 1) == 0:
                row = {"minutes": n / 60, "memory_mb": psutil.Process().memory_info().rss / 1e6, "windows": windows}
                row |= {"x_real_time": n / (time.perf_counter() - start), "tracks": newest}
                row["written_mb"] = sum(each.stat().st_size for each in out.rglob("*") if each.is_file()) / 1e6
                rows.append(row)
                columns = "{minutes:>8.1f} {memory_mb:>8.1f} {x_real_time:>12.1f} {windows:>9,} {tracks:>8,}"
                print(f"{columns} {{written_mb:>11.1f}}".format(**row), flush=True)
    return rows


if __name__ == "__main__":
    main()
