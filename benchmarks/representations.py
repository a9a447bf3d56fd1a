"""How many million events per second become frames, against copying the events and against clearing the frames?

python benchmarks/representations.py            # a table on the terminal
python benchmarks/representations.py --json out.json

Two windows of 50 ms, their events spread evenly: dense, 539,000 events at 640x480, and sparse, 21,000 at 1280x720. All
draw into one buffer, cleared each time. *x copy* is the time of copying the 13 bytes of each event over that of the
representation, *x clear* the time of the representation over that of clearing its frames: 1 is the bound of each.
The peers are what one would write by hand in numpy and torch, on one thread; *x peer* is their time over ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numba
import numpy as np
import torch

from seqdet.events.array import Events
from seqdet.events.tensors import REPRESENTATIONS

DURATION_US = 50_000
SCENES = {"dense": (539_000, (480, 640)), "sparse": (21_000, (720, 1280))}
Function = Callable[[], object]


def make_events(count: int, height: int, width: int) -> Events:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, size, count).astype(np.uint16) for size in (width, height))
    p = rng.integers(0, 2, count).astype(np.uint8)
    return Events(np.sort(rng.integers(0, DURATION_US, count)), x, y, p)


def copying(events: Events) -> Function:
    columns = [events.t, events.x, events.y, events.p]
    pairs = [(np.empty_like(column), column) for column in columns]
    return lambda: [np.copyto(*pair) for pair in pairs]


def peers(events: Events, size_hw: tuple[int, int]) -> dict[str, dict[str, Function]]:
    """The same frames by hand, by name of the representation."""
    area, width = size_hw[0] * size_hw[1], size_hw[1]
    t, x, y, p = (torch.from_numpy(column.astype(np.int64)) for column in (events.t, events.x, events.y, events.p))

    def cells() -> torch.Tensor:
        return p * area + y * width + x

    def numpy_cells() -> np.ndarray:
        return events.p * np.int64(area) + events.y * np.int64(width) + events.x

    def add_at() -> np.ndarray:
        counts = np.zeros(2 * area, np.uint8)
        np.add.at(counts, numpy_cells(), 1)
        return counts

    def stacked() -> torch.Tensor:
        bins = t * 10 // DURATION_US
        return torch.bincount(cells() + (9 * p + bins) * area, minlength=20 * area).clamp(max=255).byte()

    def cube() -> torch.Tensor:
        time = t * (5 / DURATION_US) - 0.5
        left = time.floor()
        share, frame = (time - left).float(), torch.zeros(7 * 2 * area)  # one bin more on either side
        cell = cells() + 2 * area * (left.long() + 1)
        frame.index_add_(0, cell, 1 - share)
        return frame.index_add_(0, cell + 2 * area, share)[2 * area : -2 * area].clamp(max=63.75) / 63.75

    def surface() -> np.ndarray:
        kept = np.zeros(2 * area, np.float32)
        kept[numpy_cells()] = np.exp((events.t - (DURATION_US - 1)) / np.float32(DURATION_US))
        return kept

    def bincount() -> torch.Tensor:
        return torch.bincount(cells(), minlength=2 * area).clamp(max=255).byte()

    return {
        "histogram_quantized": {"np.add.at": add_at, "torch.bincount": bincount},
        "stacked_histogram": {"torch.bincount": stacked},
        "event_cube": {"torch index_add_": cube},
        "time_surface": {"numpy assignment": surface},
    }


def fastest(functions: dict[str, Function], rounds: int) -> dict[str, float]:
    """Seconds of the fastest call of each function, called in turns."""
    best = dict.fromkeys(functions, float("inf"))
    for round_ in range(rounds + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if round_ >= 2:  # the first two warm up
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def in_two_threads(pool: ThreadPoolExecutor, functions: Sequence[Function]) -> None:
    """Eight calls of each of two functions, side by side."""
    list(pool.map(lambda function: [function() for _ in range(8)], functions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="turns of each function; the fastest counts")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    torch.set_num_threads(1)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    versions = f"numpy {np.__version__}, numba {numba.__version__}, torch {torch.__version__}"
    print(f"{machine}, {versions}")
    rows = []
    for scene, (count, size_hw) in SCENES.items():
        events = make_events(count, *size_hw)
        window = {"size_hw": size_hw, "start_us": 0, "window_us": DURATION_US}
        functions, pool = {"copy": copying(events)}, ThreadPoolExecutor(2)
        clearing, threaded = {}, {}
        for name, function in REPRESENTATIONS.items():
            options = {"decay": "exponential"} if "surface" in name else {}
            buffers = [function(events, **window, **options) for _ in range(2)]
            calls = [partial(function, events, **window, **options, out=buffer) for buffer in buffers]
            functions[name] = calls[0]
            clearing[f"{name} clear"] = partial(buffers[0].fill, 0)
            threaded[f"{name} twice"] = partial(in_two_threads, pool, calls)
        functions |= clearing | threaded  # in this order all find the caches as full of something else
        by_hand = peers(events, size_hw)
        functions |= {f"{name} {peer}": each for name, group in by_hand.items() for peer, each in group.items()}
        seconds = fastest(functions, args.rounds)
        copy = seconds["copy"]
        print(f"\n{scene}: {count} events at {size_hw[1]}x{size_hw[0]}, copied at {count / copy / 1e6:.0f} M events/s")
        print(f"{'':>27} {'ms':>7} {'M events/s':>11} {'x copy':>7} {'x clear':>8} {'2 threads':>10}  x peer")
        for name in REPRESENTATIONS:
            own = seconds[name]
            row = {
                "scene": scene,
                "name": name,
                "ms": own * 1e3,
                "mev_per_s": count / own / 1e6,
                "times_copy": copy / own,
            }
            row |= {"times_clear": own / seconds[f"{name} clear"], "threads": 16 * own / seconds[f"{name} twice"]}
            row["times_peers"] = {peer: seconds[f"{name} {peer}"] / own for peer in by_hand.get(name, {})}
            said = ", ".join(f"{times:.1f} {peer}" for peer, times in row["times_peers"].items())
            print("{name:>27} {ms:>7.3f} {mev_per_s:>11.0f} {times_copy:>7.2f}".format(**row), end=" ")
            print("{times_clear:>8.2f} {threads:>10.2f}  {said}".format(**row, said=said))
            rows.append({**row, "machine": machine, "versions": versions})
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
