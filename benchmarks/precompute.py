"""Which layout of a tensor file reads fastest, and what does ``seqdet precompute`` cost beside its parts alone?

python benchmarks/precompute.py                  # tables on the terminal
python benchmarks/precompute.py --json out.json --seconds 60 --hour

Recordings of 1280x720 are made up, blobs with moving rims and noise, and turned into stacked histograms of half that
size in windows of 50 ms: sparse, 21,000 events a window, and dense, 500,000. The parts: the pass that finds out what
has to be left out, decoding the file, making the tensors, compressing them in memory, writing the compressed bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import psutil

from seqdet.config import TensorConfig
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.data.store import COMPRESSIONS
from seqdet.data.surveys import look_through
from seqdet.events.array import Events, columns
from seqdet.events.dat import write_dat
from seqdet.events.evt import write_evt3
from seqdet.events.files import open_recording
from seqdet.events.hdf5 import write_hdf5
from seqdet.events.tensors import stacked_histogram

SIZE, HALF, WINDOW_US = (720, 1280), (360, 640), 50_000
FILTERS = {
    **COMPRESSIONS,
    "blosc lz4": dict(hdf5plugin.Blosc(cname="lz4", clevel=1, shuffle=hdf5plugin.Blosc.NOSHUFFLE)),
    "blosc lz4, bits": dict(hdf5plugin.Blosc(cname="lz4", clevel=1, shuffle=hdf5plugin.Blosc.BITSHUFFLE)),
    "gzip 1": {"compression": "gzip", "compression_opts": 1},
    "lzf": {"compression": "lzf"},
}


def events_of(start_us: int, count: int, windows: int) -> Events:
    """Rims of 40 moving blobs, and 15 % noise."""
    random = np.random.default_rng(start_us)
    total = windows * count
    t = start_us + np.sort(random.integers(0, windows * WINDOW_US, total))
    blobs = np.random.default_rng(1)
    centre, speed, radius = (
        blobs.uniform(200, 600, (40, 2)),
        blobs.uniform(-200, 200, (40, 2)),
        blobs.uniform(20, 90, 40),
    )
    chosen, angle = random.integers(0, 40, total), random.uniform(0, 2 * np.pi, total)
    reach = radius[chosen] + random.normal(0, 1.5, total)
    seconds = t / 1e6
    x = centre[chosen, 0] * 2 + speed[chosen, 0] * seconds + reach * np.cos(angle)
    y = centre[chosen, 1] + speed[chosen, 1] * seconds + reach * np.sin(angle)
    is_noise = random.random(total) < 0.15
    x[is_noise], y[is_noise] = random.uniform(0, 1280, is_noise.sum()), random.uniform(0, 720, is_noise.sum())
    x, y = np.mod(x, 1279).astype(np.uint16), np.mod(y, 719).astype(np.uint16)
    return columns(t=t, x=x, y=y, p=random.integers(0, 2, total))


def repeated(count: int, windows: int, step: int = 20) -> Iterator[Events]:
    """The same second of events over and over, later each time."""
    events = events_of(0, count, step)
    for first in range(0, windows, step):
        yield Events(events.t + first * WINDOW_US, events.x, events.y, events.p)


def seconds(work: Callable[..., object], *args: object, repeats: int = 3) -> float:
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        work(*args)
        best = min(best, time.perf_counter() - begin)
    return best


def represent(events: Events, out: np.ndarray) -> None:
    stacked_histogram(events, size_hw=SIZE, to_hw=HALF, start_us=0, window_us=WINDOW_US, windows=len(out), out=out)


def store(path: Path, frames: np.ndarray, chunk: int, name: str) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=frames, chunks=(chunk, *frames.shape[1:]), **FILTERS[name])


def load(path: Path, buffer: np.ndarray, windows: int) -> None:
    with h5py.File(path) as file:
        data: Any = file["data"]
        for first in range(0, windows, len(buffer)):
            data.read_direct(buffer, np.s_[first : first + len(buffer)])


def layouts(count: int, folder: Path, windows: int = 48, clip: int = 12) -> list[dict[str, object]]:
    """Size, and milliseconds per window to write and to read clips of 12 windows, of each filter and chunk."""
    frames, buffer = np.empty((windows, 20, *HALF), np.uint8), np.empty((clip, 20, *HALF), np.uint8)
    represent(events_of(0, count, windows), frames)
    rows: list[dict[str, object]] = []
    for chunk, name in [(1, name) for name in FILTERS] + [(clip, name) for name in ("lz4", "zstd", "blosc")]:
        path = folder / "layout.h5"
        row = {"filter": name, "windows a chunk": chunk, "write ms": seconds(store, path, frames, chunk, name)}
        row |= {"read ms": seconds(load, path, buffer, windows), "size": path.stat().st_size / frames.nbytes}
        rows.append(row | {key: row[key] / windows * 1e3 for key in ("write ms", "read ms")})
    copied = seconds(frames.copy) / windows * 1e3
    return [*rows, {"filter": "memory copy", "windows a chunk": 0, "write ms": copied, "read ms": copied, "size": 1.0}]


def decode(recording: Path) -> None:
    with open_recording(recording) as opened:
        for _ in opened.chunks():
            pass


def compress(frames: np.ndarray, packed: list[bytes]) -> None:
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]), **FILTERS["lz4"])
        packed[:] = [data.id.read_direct_chunk((n, 0, 0, 0))[1] for n in range(len(frames))]


def save(path: Path, packed: list[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(packed)


def whole(recording: Path, folder: Path, workers: int) -> float:
    """Seconds to make the tensors of a recording, the start of the processes included."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    options = PrecomputeConfig(folder / "out", TensorConfig(window_us=WINDOW_US, downscale=2))
    begin = time.perf_counter()
    outcome = precompute([recording], options, workers=workers)
    assert not outcome.failed, outcome.failed
    return time.perf_counter() - begin


def costs(recording: Path, count: int, windows: int) -> dict[str, float]:
    """Milliseconds per window of every part alone and of the whole."""
    events, frames, packed = events_of(0, count, 20), np.empty((20, 20, *HALF), np.uint8), []
    represent(events, frames)
    row = {"look": seconds(look_through, recording) / windows, "decode": seconds(decode, recording) / windows}
    row |= {"tensor": seconds(represent, events, frames) / 20, "compress": seconds(compress, frames, packed) / 20}
    row["write"] = seconds(save, recording.with_name("packed"), packed) / 20
    row["sum"] = sum(row.values())
    for name, workers in (("one process", 1), ("two processes", 2)):
        row[name] = min(whole(recording, recording.parent, workers) for _ in range(2)) / windows
    return {name: 1e3 * value for name, value in row.items()} | {"of sum": row["one process"] / row["sum"]}


def hour(folder: Path, count: int = 5000) -> dict[str, float]:
    """Seconds and peak memory for five minutes and for an hour of events, by the command line."""
    row = {}
    for name, windows in (("5 minutes", 6000), ("an hour", 72_000)):
        write_evt3(folder / "long.raw", repeated(count, windows), size_hw=SIZE)
        command = [sys.executable, "-m", "seqdet.cli", "precompute", str(folder / "long.raw"), "-o", str(folder / name)]
        begin = time.perf_counter()
        process = psutil.Popen([*command, "--downscale", "2"], stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, process.memory_info().rss)
            time.sleep(0.02)
        assert process.returncode == 0
        row |= {f"{name}: s": time.perf_counter() - begin, f"{name}: peak MB": peak / 1e6}
        shutil.rmtree(folder / name)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--seconds", type=int, default=20, help="of dense recordings; the sparse are 3 times as long")
    parser.add_argument("--hour", action="store_true", help="also an hour of events: minutes, and 5 GB of disk")
    args = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}, h5py {h5py.version.version}")
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for density, count in (("sparse", 21_000), ("dense", 500_000)):
            figures[f"layouts {density}"] = rows = layouts(count, folder)
            print(f"\n{density}: {count} events a window, frames of {20 * HALF[0] * HALF[1] / 1e6:.1f} MB")
            print(f"{'filter':>16} {'windows a chunk':>16} {'write ms':>9} {'read ms':>8} {'size':>7}")
            for row in rows:
                print("{filter:>16} {windows a chunk:>16} {write ms:9.2f} {read ms:8.2f} {size:7.4f}".format(**row))
        print("\nms a window  " + " ".join(f"{name:>13}" for name in COLUMNS))
        for density, count, length in (("sparse", 21_000, 3), ("dense", 500_000, 1)):
            for form, write in (("raw", write_evt3), ("dat", write_dat), ("hdf5", write_hdf5)):
                windows = args.seconds * 20 * length
                write(folder / f"a.{form}", repeated(count, windows), size_hw=SIZE)
                figures[f"{form} {density}"] = row = costs(folder / f"a.{form}", count, windows)
                print(f"{form:>5} {density:>6} " + " ".join(f"{row[name]:13.2f}" for name in COLUMNS))
                (folder / f"a.{form}").unlink()
        if args.hour:
            figures["hour"] = hour(folder)
            print("\n" + ", ".join(f"{name} {value:.0f}" for name, value in figures["hour"].items()))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2))


COLUMNS = ("look", "decode", "tensor", "compress", "write", "sum", "one process", "of sum", "two processes")

if __name__ == "__main__":
    main()
