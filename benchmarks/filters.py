"""How many million events per second pass the noise filters, and how much noise and signal do they remove?

python benchmarks/filters.py [RECORDING ...]          # a table on the terminal
python benchmarks/filters.py RECORDING --json out.json

Two streams are made up: sparse, single events all over 1280x720, two a microsecond, and dense, rows of 640x480 read out
one after the other; recordings are added to these. All come in pieces of 100,000 events. The bound is numpy copying
the columns of the pieces, 13 bytes an event, to new arrays. *passed* is the share of events that pass.

The second table is about a simulated bright disc, which crosses 320x240 pixels in a second, and noise of so many
events a second from every pixel, anywhere at any time. A scene with more edges supports more noise beside them.
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

from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording
from seqdet.events.filters import FILTERS, FilterConfig, NoiseFilter
from seqdet.events.sensor import Sensor
from seqdet.events.simulation import simulate

PIECE = 100_000
SETTINGS = [("activity", 2000), ("activity", 10_000), ("trail", 10_000), ("stc", 10_000), ("stc_keep_trail", 10_000)]
Stream = tuple[Events, tuple[int, int]]


def sparse(count: int) -> Stream:
    random = np.random.default_rng(1)
    x, y, p = random.integers(1280, size=count), random.integers(720, size=count), random.integers(2, size=count)
    return columns(t=np.sort(random.integers(count // 2, size=count)), x=x, y=y, p=p), (720, 1280)


def dense(count: int) -> Stream:
    """Three quarters of the pixels in stretches of 64 having an event."""
    random = np.random.default_rng(1)
    stretches = count // 48
    begin, row = random.integers(0, 640 - 64, size=stretches), np.arange(stretches) % 480
    which, place = (random.random((stretches, 64)) < 0.75).nonzero()
    return columns(t=which, x=begin[which] + place, y=row[which], p=row[which] % 2), (480, 640)


def recorded(path: Path) -> Stream:
    with open_recording(path) as recording:
        return Events.concatenate(list(recording.chunks())), recording.size_hw


def disc(size_hw: tuple[int, int]) -> Events:
    """What a sensor without noise sees."""
    down, across = np.indices(size_hw)
    centres = np.linspace(20, size_hw[1] - 20, 1001)
    distances = (np.hypot(down - size_hw[0] / 2, across - centre) for centre in centres)
    frames = (0.2 + 0.6 / (1 + np.exp(2 * (distance - 25))) for distance in distances)
    sensor = Sensor(leak_rate_hz=0, shot_noise_hz=0)
    return Events.concatenate(list(simulate(frames, range(0, 1_001_000, 1000), sensor=sensor)))


def noise(rate_hz: float, size_hw: tuple[int, int]) -> Events:
    random, (height, width) = np.random.default_rng(2), size_hw
    count = random.poisson(rate_hz * height * width)
    x, y, p = (random.integers(0, size, count) for size in (width, height, 2))
    return columns(t=np.sort(random.integers(0, 10**6, count)), x=x, y=y, p=p)


def million_per_s(stream: Stream, config: FilterConfig | None, repeats: int) -> tuple[float, float]:
    """Of the fastest pass, and the share that passes; a copy without a filter."""
    events, size_hw = stream
    pieces = [events[start : start + PIECE] for start in range(0, len(events), PIECE)]
    best, passed = float("inf"), 0
    for _ in range(repeats + 1):  # the first warms up
        work = (lambda piece: Events.concatenate([piece])) if config is None else NoiseFilter(config, size_hw).keep
        start = time.perf_counter()
        passed = sum(len(work(piece)) for piece in pieces)
        best = min(best, time.perf_counter() - start)
    return len(events) / best / 1e6, passed / len(events)


def shares(signal: Events, dirt: Events, config: FilterConfig, size_hw: tuple[int, int]) -> tuple[float, float]:
    """Of the noise that is removed and of the signal that passes."""
    both = Events.concatenate([signal, dirt])
    order = np.argsort(both.t, kind="stable")
    noise_filter, is_noise = NoiseFilter(config, size_hw), order >= len(signal)
    steps = np.flatnonzero(np.diff(is_noise, prepend=not is_noise[0]))  # runs of events of one kind
    removed, kept = 0, 0
    for start, end in zip(steps, [*steps[1:], len(order)], strict=True):
        passed = len(noise_filter.keep(both[order[start:end]]))
        removed, kept = (removed + end - start - passed, kept) if is_noise[start] else (removed, kept + passed)
    return removed / len(dirt), kept / len(signal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path, help="to filter beside the streams that are made up")
    parser.add_argument("--events", type=int, default=5_000_000, help="about how many, in each that is made up")
    parser.add_argument("--repeats", type=int, default=7, help="the best of so many passes is shown")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    versions = f"numba {numba.__version__}, numpy {np.__version__}"
    print(f"{machine}, {versions}")
    rows = []
    streams = {"sparse": sparse(args.events), "dense": dense(args.events)}
    for name, stream in (streams | {path.name: recorded(path) for path in args.recordings}).items():
        events, (height, width) = stream
        copied, _ = million_per_s(stream, None, args.repeats)
        print(f"\n{name}: {len(events):,} events at {width}x{height}, copied at {copied:.0f} M events/s")
        print(f"{'10 ms':>16} {'M events/s':>11} {'of a copy':>10} {'passed':>7}")
        for filter_name in FILTERS:
            rate, passed = million_per_s(stream, FilterConfig(filter_name), args.repeats)
            row = {"stream": name, "filter": filter_name, "mev_per_s": rate, "of_a_copy": rate / copied}
            rows.append({**row, "passed": passed, "machine": machine, "versions": versions})
            print(f"{filter_name:>16} {rate:>11.0f} {rate / copied:>10.2f} {passed:>7.3f}")

    signal = disc(size_hw := (240, 320))
    print(f"\na disc, {len(signal):,} events, and noise at {size_hw[1]}x{size_hw[0]}")
    print(f"{'':>22} {'noise Hz':>9} {'noise removed':>14} {'signal kept':>12}")
    for rate_hz in (0.1, 1, 10):
        dirt = noise(rate_hz, size_hw)
        for name, threshold_us in SETTINGS:
            removed, kept = shares(signal, dirt, FilterConfig(name, threshold_us), size_hw)
            row = {"filter": f"{name}:{threshold_us}", "noise_hz": rate_hz, "noise_removed": removed}
            rows.append({**row, "signal_kept": kept, "machine": machine, "versions": versions})
            print(f"{name + ':' + str(threshold_us):>22} {rate_hz:>9} {removed:>14.3f} {kept:>12.3f}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
