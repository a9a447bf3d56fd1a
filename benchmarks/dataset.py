"""How many windows a second does the dataset deliver from tensor files, beside RVT's way of reading and the raw bytes?

python benchmarks/dataset.py                  # a table on the terminal
python benchmarks/dataset.py --json out.json

Tensors are stacked histograms of 10 bins and 2 polarities at half of 1280x720, of made up events: sparse, 21,000 a
window, and dense, 500,000. Clips of 12 windows. RVT's way: h5py, blosc with Zstandard and byte shuffle, a chunk a
window. Raw: the same bytes from a file without compression. The dataset also joins the labels and makes the boxes.
x bare: the rate of the dataset as a multiple of that from files without checksums, in turns.
First and again: without tensor files, from a recording in EVT3 with an empty cache, and from the cache that this fills.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from precompute import HALF, SIZE, WINDOW_US, events_of, repeated, represent
from torch.utils.data import DataLoader

from seqdet.config import DatasetConfig, TensorConfig
from seqdet.data.clips import RecordedClips
from seqdet.data.description import Description
from seqdet.data.disk_cache import SUFFIX
from seqdet.data.labels import EVENT_BBOX, write_labels
from seqdet.data.schedule import schedule
from seqdet.data.store import COMPRESSIONS, write_tensors
from seqdet.events.evt import write_evt3
from seqdet.structures import Clip

CLIP, WINDOWS = 12, 96


def boxes_of(windows: int) -> np.ndarray:
    """Five boxes at the end of every window."""
    boxes = np.zeros(5 * windows, EVENT_BBOX)
    boxes["t"] = np.repeat(np.arange(1, windows + 1) * WINDOW_US, 5)
    boxes["x"], boxes["y"], boxes["w"], boxes["h"], boxes["class_confidence"] = 100, 100, 200, 150, 1
    return boxes


def write(folder: Path, frames: np.ndarray, compression: str) -> Path:
    (folder / "train").mkdir(parents=True)
    (folder / "label_map_dictionary.json").write_text('{"0": "car"}')
    window = Description(TensorConfig(parameters={"bins": 10}, window_us=WINDOW_US).of(SIZE))
    write_tensors(folder / "train" / "a.h5", [frames], window, compression=compression)
    write_labels(folder / "train" / "a_bbox.npy", boxes_of(len(frames)))
    return folder


def without_checksums(folder: Path, source: Path) -> Path:
    """A copy of the folder whose frames are compressed alike and are not checked."""
    shutil.copytree(source, folder)
    path = folder / "train" / "a.h5"
    with h5py.File(path) as file:
        data: Any = file["data"]
        frames, attributes = data[:], dict(data.attrs)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]), **COMPRESSIONS["lz4"])
        file["data"].attrs.update(attributes)
    return folder


def ratio(checked: DatasetConfig, bare: DatasetConfig, turns: int = 15) -> float:
    """The rate with checksums over that without, by processor time, the best of each."""
    best = [math.inf, math.inf]
    for _ in range(turns):
        for n, config in enumerate((checked, bare)):
            begin = time.process_time()
            by_dataset(config, 0)
            best[n] = min(best[n], time.process_time() - begin)
    return best[1] / best[0]


def windows_per_s(work: Callable[..., int], *args: object) -> float:
    best = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        best = max(best, work(*args) / (time.perf_counter() - begin))
    return best


def write_recording(folder: Path, count: int) -> DatasetConfig:
    (folder / "train").mkdir(parents=True)
    (folder / "label_map_dictionary.json").write_text('{"0": "car"}')
    write_evt3(folder / "train" / "a.raw", repeated(count, WINDOWS), size_hw=SIZE)
    write_labels(folder / "train" / "a_bbox.npy", boxes_of(WINDOWS))
    return DatasetConfig(folder, tensor=TensorConfig(downscale=2), tensors=folder / "cache", cache_gb=4.0)


def by_empty_cache(config: DatasetConfig) -> int:
    assert config.tensors is not None
    for path in config.tensors.rglob(f"*{SUFFIX}"):
        path.unlink()
    return by_dataset(config, 0)


def by_dataset(config: DatasetConfig, workers: int) -> int:
    clips = RecordedClips(config, "train", clip_length=CLIP)
    steps = schedule(clips.clip_counts, 1)
    loader = DataLoader(clips, batch_sampler=steps, num_workers=workers, collate_fn=Clip.collate)
    return sum(len(clip.frames) for clip in loader)


def by_h5py(path: Path) -> int:
    with h5py.File(path) as file:
        data: Any = file["data"]
        for first in range(0, WINDOWS, CLIP):
            torch.from_numpy(data[first : first + CLIP])
    return WINDOWS


def by_bytes(path: Path) -> int:
    size = CLIP * 20 * HALF[0] * HALF[1]
    with path.open("rb", buffering=0) as file:
        while len(file.read(size)) == size:
            pass
    return WINDOWS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    args = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, h5py {h5py.version.version}")
    names = f"{'dataset':>9} {'a worker':>9} {'RVT':>9} {'raw bytes':>10} {'first':>7} {'again':>7}"
    names += f" {'x RVT':>7} {'x bare':>7}"
    print(f"{'':>7} {'windows/s:':>10} {names}")
    figures = {}
    for density, count in (("sparse", 21_000), ("dense", 500_000)):
        frames = np.empty((WINDOWS, 20, *HALF), np.uint8)
        for first in range(0, WINDOWS, CLIP):
            represent(events_of(0, count, CLIP), frames[first : first + CLIP])
        with tempfile.TemporaryDirectory() as name:
            ours, theirs, raw = (
                write(Path(name, "ours"), frames, "lz4"),
                write(Path(name, "rvt"), frames, "blosc"),
                Path(name, "raw"),
            )
            raw.write_bytes(frames.tobytes())
            cached = write_recording(Path(name, "recordings"), count)
            row = {
                "dataset": windows_per_s(by_dataset, DatasetConfig(ours), 0),
                "a worker": windows_per_s(by_dataset, DatasetConfig(ours), 1),
                "RVT": windows_per_s(by_h5py, theirs / "train" / "a.h5"),
                "raw bytes": windows_per_s(by_bytes, raw),
                "first": windows_per_s(by_empty_cache, cached),
                "again": windows_per_s(by_dataset, cached, 0),
                "x bare": ratio(DatasetConfig(ours), DatasetConfig(without_checksums(Path(name, "bare"), ours))),
            }
        figures[density] = row
        print(
            f"{density:>7} {'':>10} {row['dataset']:9.0f} {row['a worker']:9.0f} {row['RVT']:9.0f} "
            f"{row['raw bytes']:10.0f} {row['first']:7.0f} {row['again']:7.0f} {row['dataset'] / row['RVT']:7.2f} "
            f"{row['x bare']:7.3f}"
        )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
