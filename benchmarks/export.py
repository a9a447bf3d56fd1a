"""How long does a detector take for one window, in PyTorch and exported?

python benchmarks/export.py runs/demo                     # a table on the terminal
python benchmarks/export.py runs/demo --size-hw 240 304 --json out.json

Frames to detections, batch 1, decoding and suppression included. All variants take turns of 25 windows, so that
whatever else the machine does meets them alike; the first 5 of a turn do not count, as the threads of the variant
before go on spinning for a while, and hold the cores. The FLOPs of the network are counted by torch; beside them stands
the rate of torch's 2048 x 2048 matrix product and that of a 3x3 convolution of 128 channels on 64 x 64 pixels, in
float32, measured in the same turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch.utils.flop_counter import FlopCounterMode

from seqdet.devices import choose_precision
from seqdet.inference.export import export_run, resized
from seqdet.inference.loading import load_runner
from seqdet.inference.runners import OnnxRunner, Runner
from seqdet.inference.sample_frames import made_up_frames
from seqdet.inference.torch_runner import TorchRunner

UNCOUNTED, COUNTED = 5, 20  # windows at the begin of a turn, and after it


def playing(runner: Runner, frames: np.ndarray) -> Callable[[], None]:
    """A function that takes the next window, in a stream that has begun."""
    state, t = None, 0

    def window() -> None:
        nonlocal state, t
        _, state = runner(frames[t % len(frames)], state)
        t += 1

    return window


def seconds_of(functions: dict[str, Callable[[], object]], turns: int) -> dict[str, np.ndarray]:
    """Seconds of the counted calls of each function; the first turn of each warms it up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            for call in range(UNCOUNTED + COUNTED):
                start = time.perf_counter()
                function()
                if turn and call >= UNCOUNTED:
                    seconds[name].append(time.perf_counter() - start)
    return {name: np.array(each) for name, each in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"), help="folder of a run")
    parser.add_argument("--size-hw", type=int, nargs=2, help="of the frames, if not the run's; then without int8")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, and of ONNX Runtime")
    parser.add_argument("--turns", type=int, default=10, help="of each variant")
    parser.add_argument("--compiled", action="store_true", help="torch.compile too, which takes minutes")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    loaded: Any = load_runner(args.run, device="cpu")
    size_hw = tuple(args.size_hw) if args.size_hw else None
    with TemporaryDirectory() as folder:
        exported = {}
        for precision in ("float32", "float16") if args.size_hw else ("float32", "float16", "int8"):
            path = Path(folder) / f"{precision}.onnx"
            export_run(args.run, path, precision=precision, size_hw=size_hw)
            exported[f"ONNX Runtime {precision}"] = OnnxRunner(path, threads=args.threads)
    size_hw = next(iter(exported.values())).size_hw
    detector, _ = resized(loaded.detector, size_hw)
    steps: dict[str, Runner] = {"eager float32": TorchRunner(detector)}
    if choose_precision("auto", "cpu") == "bfloat16":
        steps["eager bfloat16"] = TorchRunner(detector, precision="bfloat16")
    else:
        print("eager bfloat16 is left out: this machine is not faster in it.")
    if args.compiled:
        steps["compiled float32"] = TorchRunner(detector, compiled=True)
    steps |= exported
    frames = made_up_frames(detector.input, loaded.channels, size_hw, windows=20, seed=0)[:, None]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        detector(torch.from_numpy(frames[:1]))
    functions: dict[str, Callable[[], object]] = {name: playing(runner, frames) for name, runner in steps.items()}
    first, second = torch.randn(2, 2048, 2048)
    pixels, kernel = torch.randn(1, 128, 66, 66), torch.randn(128, 128, 3, 3)
    bounds = {"matrix product": lambda: torch.mm(first, second), "convolution": lambda: torch.conv2d(pixels, kernel)}
    seconds = seconds_of({**functions, **bounds}, args.turns)
    product_rate = 2 * 2048**3 / seconds.pop("matrix product").min()
    convolution_rate = 2 * 9 * 128**2 * 64**2 / seconds.pop("convolution").min()
    flops, plain = counter.get_total_flops(), seconds["eager float32"]

    machine = platform.processor() or platform.machine()
    print(f"{machine}, {args.threads} threads, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    print(f"{size_hw[0]}x{size_hw[1]}, {flops / 1e9:.2f} GFLOP a window")
    print(f"float32 matrix product {product_rate / 1e9:.0f}, convolution {convolution_rate / 1e9:.0f} GFLOP/s\n")
    print(f"{'ms':>24} {'best':>7} {'p50':>7} {'p95':>7} {'times eager':>12} {'GFLOP/s':>8}")
    rows = []
    for name, each in seconds.items():
        row = {"variant": name, "best_ms": each.min() * 1e3, "p50_ms": np.median(each) * 1e3}
        row |= {"p95_ms": np.quantile(each, 0.95) * 1e3, "times_eager": plain.min() / each.min()}
        row |= {"gflop_per_s": flops / each.min() / 1e9, "size_hw": size_hw, "threads": args.threads}
        rows.append(row)
        line = "{variant:>24} {best_ms:>7.2f} {p50_ms:>7.2f} {p95_ms:>7.2f} {times_eager:>12.2f} {gflop_per_s:>8.0f}"
        print(line.format(**row))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
