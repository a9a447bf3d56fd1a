"""Digests of what the commands compute: equal before and after a change that shall change no result.

python scripts/golden.py > before.txt     # and on the changed tree, on the same machine, > after.txt; diff them

Trains the toy and a folder of recordings for some steps, resumes, evaluates, exports, predicts, converts, and makes
every representation, in a folder that is thrown away. Takes about two minutes. Weights are compared as numbers, so that
the order of a header does not count; numbers of one machine do not hold on another.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import yaml
from safetensors.numpy import load_file

REPRESENTATIONS = ("histogram", "difference", "histogram_quantized", "difference_quantized", "event_cube")
REPRESENTATIONS += ("time_surface", "multi_channel_time_surface", "stacked_histogram", "mixed_density_stack")
TOY = {"frames_per_video": 24, "held_out_frames_per_video": 24, "validation_frames": 96, "test_frames": 96}
FEW = {"frames_per_video": 24, "held_out_frames_per_video": 24, "frames_per_epoch": 192, "validation_frames": 48}
SCENE = {"digits": {**FEW, "test_frames": 48}}
MODEL = {"base": 4, "channels": 16, "levels": 3}
TRAIN = {"max_steps": 30, "warmup_steps": 5, "precision": "float32", "device": "cpu", "checkpoint_steps": 10}
AUGMENT = {"flip": 0.5, "zoom": 0.5, "rotate": 0.3, "time_flip": 0.5, "polarity_dropout": 0.2, "event_dropout": 0.5}


def main() -> None:
    """Run everything and print a line for each result."""
    with tempfile.TemporaryDirectory() as name:
        for what, digest in results(Path(name)):
            print(f"{digest}  {what}", flush=True)


def results(root: Path) -> Iterator[tuple[str, str]]:
    """What was computed, and its digest."""
    write_config(
        root / "toy.yaml",
        {"data": {"digits": TOY}, "model": MODEL, "train": {**TRAIN, "optimizer": "muon", "schedule": "exponential"}},
    )
    run(root, "train", "--config", "toy.yaml", "--out", "toy")
    yield from run_results(root, "toy")
    run(root, "evaluate", "toy")
    yield "toy/metrics.json", metrics(root / "toy" / "metrics.json")
    run(root, "train", "--resume", "toy", "--train.max_steps", "40")
    yield from run_results(root, "toy")
    run(root, "export", "toy", "-o", "toy.onnx")
    yield "toy.onnx", onnx_outputs(root / "toy.onnx")

    write_config(root / "scene.yaml", {"scene": SCENE})
    run(root, "simulate", "digits", "--config", "scene.yaml", "-o", "events")
    yield from folder_results(root, "events")
    for representation in REPRESENTATIONS:
        run(root, "precompute", "events", "-o", f"made/{representation}", "--tensor", representation)
    run(root, "precompute", "events", "-o", "made/small", "--downscale", "2", "--window-us", "20000")
    run(root, "precompute", "events", "-o", "made/rvt", "--layout", "rvt")
    yield from folder_results(root, "made")

    tensor = {"representation": "stacked_histogram", "parameters": {"bins": 3}}
    dataset = {"folder": "events", "tensor": tensor, "augment": AUGMENT}
    model = {**MODEL, "in_channels": 6}
    write_config(root / "events.yaml", {"data": {"dataset": dataset}, "model": model, "train": TRAIN})
    run(root, "train", "--config", "events.yaml", "--out", "run")
    yield from run_results(root, "run")
    run(root, "evaluate", "run")
    yield "run/metrics.json", metrics(root / "run" / "metrics.json")
    write_config(
        root / "cached.yaml", {"data": {"dataset": {**dataset, "cache_gb": 1}}, "model": model, "train": TRAIN}
    )
    run(root, "train", "--config", "cached.yaml", "--out", "cached")
    yield from run_results(root, "cached")
    recording = sorted((root / "events" / "test").glob("*.*"))[0]
    run(root, "predict", "run", str(recording.relative_to(root)), "-o", "found", "--track")
    yield from folder_results(root, "found")
    (root / "converted").mkdir()
    for ending in ("raw", "dat", "hdf5", "npz", "h5"):
        run(root, "convert", str(recording.relative_to(root)), f"converted/as_{ending}.{ending}")
    yield from folder_results(root, "converted")
    yield "inspect", text(run(root, "inspect", str(recording.relative_to(root))))
    yield "audit", text(run(root, "audit", "events", "--page", "audit.html", status=1))  # it finds something


def run(root: Path, *words: str, status: int = 0) -> str:
    """The output of one command, which must end with that status."""
    done = subprocess.run([sys.executable, "-m", "seqdet", *words], cwd=root, capture_output=True, text=True)
    if done.returncode != status:
        raise SystemExit(f"seqdet {' '.join(words)}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def write_config(path: Path, content: dict) -> None:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def run_results(root: Path, name: str) -> Iterator[tuple[str, str]]:
    """Of the weights of a run."""
    for path in sorted((root / name).glob("*.safetensors")):
        total = hashlib.sha256()
        for key, array in sorted(load_file(path).items()):
            total.update(key.encode() + array.tobytes())
        yield f"{name}/{path.name}", total.hexdigest()[:16]


def folder_results(root: Path, name: str) -> Iterator[tuple[str, str]]:
    """Of all files below a folder."""
    for path in sorted((root / name).rglob("*")):
        if path.is_file() and path.suffix not in (".mp4", ".html"):
            yield str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def metrics(path: Path) -> str:
    """Of the figures, to twelve places, without times and the versions of libraries."""
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in content.items() if name != "versions" and "second" not in name}
    rounded = json.loads(json.dumps(kept), parse_float=lambda number: round(float(number), 12))
    return text(json.dumps(rounded, sort_keys=True))


def onnx_outputs(path: Path) -> str:
    """Of what an exported detector makes of three steps of noise."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    kinds = {"uint8": np.uint8, "float": np.float32, "bool": np.bool_, "int64": np.int64}
    total = hashlib.sha256()
    for _ in range(3):
        fed = {}
        for each in session.get_inputs():
            shape = [size if isinstance(size, int) else 1 for size in each.shape]
            kind = each.type.removeprefix("tensor(").removesuffix(")")
            fed[each.name] = (random.random(shape) * 9).astype(kinds[kind])
        for output in session.run(None, fed):
            total.update(np.asarray(output).tobytes())
    return total.hexdigest()[:16]


def text(output: str) -> str:
    """Of a text, without durations and the time of day."""
    return hashlib.sha256(re.sub(r"[\d.:]+ (ms|s|min|h)\b|\d\d:\d\d(:\d\d)?", "", output).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
