"""How fast is a training step, what does each choice of the default bring, and where does the time go?

python benchmarks/training_step.py            # two tables on the terminal, and the same on a plain processor
python benchmarks/training_step.py --json out.json

All variants are built first and take turns, so that whatever else the machine does meets them alike. The FLOPs of a
step are counted by torch; the bound is a 2048 x 2048 matrix product, measured in the same turns, in bfloat16 where the
processor computes in it and in float32 where not. All of it is then repeated in a process whose libraries are kept to
AVX2, which stands for an ordinary processor. Drawing the frames is measured beside: it is no part of a step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from seqdet.config import RunConfig
from seqdet.config_files import read_config
from seqdet.devices import choose_precision
from seqdet.loading import TrainingLoader, TrainingOrder, model_of_data, open_split
from seqdet.models.layers import detach
from seqdet.models.zoo import build_detector
from seqdet.structures import Clip
from seqdet.training.optimizers import OPTIMIZERS

RECIPES = Path(__file__).parents[1] / "recipes"
PLAIN = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""Settings by which PyTorch's libraries use no instructions beyond AVX2."""
PARTS = ("forward", "backward", "clipping", "optimiser")


class Step:
    """A training step: forward, backward, clipping and the optimiser of the recipe.

    Attributes:
        seconds: of each of ``PARTS`` in the fastest call so far.
    """

    def __init__(self, config: RunConfig, clip: Clip, *, precision: str, is_channels_last: bool) -> None:
        self.clip, self.is_bfloat16 = clip, precision == "bfloat16"
        self.detector = build_detector(model_of_data(config.model, config.data))
        if is_channels_last:
            self.detector.to(memory_format=torch.channels_last)
        self.optimizer = OPTIMIZERS[config.train.optimizer](self.detector, lr=1e-4, weight_decay=0.05)
        self.state = None
        self.seconds = [float("inf")]

    def __call__(self) -> None:
        times = [time.perf_counter()]
        total = self.forward()
        times.append(time.perf_counter())
        self.optimizer.zero_grad()
        total.backward()
        times.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(self.detector.parameters(), 10.0)
        times.append(time.perf_counter())
        self.optimizer.step()
        times.append(time.perf_counter())
        seconds = [after - before for before, after in pairwise(times)]
        if sum(seconds) < sum(self.seconds):
            self.seconds = seconds

    def forward(self) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.is_bfloat16):
            losses, after = self.detector.loss(self.clip, self.state)
        self.state = detach(after)
        return torch.stack(list(losses.values())).sum()


def matrix_product(kind: torch.dtype) -> Callable[[], torch.Tensor]:
    """A function that multiplies two 2048 x 2048 matrices."""
    first, second = torch.randn(2, 2048, 2048).to(kind)
    return lambda: torch.mm(first, second)


def fastest(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest call of each function, called in turns."""
    best = dict.fromkeys(functions, float("inf"))
    for round_ in range(rounds + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if round_ >= 2:  # the first two warm up
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def measured(config: RunConfig, rounds: int) -> list[dict[str, object]]:
    """Print the tables of this process, and return their rows."""
    dataset = open_split(config.data, "train")
    batches = iter(TrainingLoader(dataset, TrainingOrder(config.data, dataset.weights, steps=rounds + 3), workers=0))
    clip = next(batches)
    precision = choose_precision("auto", "cpu")
    variants = {
        f"{kind}, {'channels last' if is_last else 'NCHW'}": (kind, is_last)
        for kind in dict.fromkeys(("float32", precision))
        for is_last in (False, True)
    }
    steps = {
        name: Step(config, clip, precision=kind, is_channels_last=is_last) for name, (kind, is_last) in variants.items()
    }
    default = f"{precision}, channels last"
    with FlopCounterMode(display=False) as counter:
        Step(config, clip, precision="float32", is_channels_last=True).forward().backward()
    flops, frames = counter.get_total_flops(), clip.frames.shape[0] * clip.frames.shape[1]
    product = matrix_product(getattr(torch, precision))
    functions = {**steps, "product": product, "data": lambda: next(batches)}
    seconds = fastest(functions, rounds)
    bound, drawing = 2 * 2048**3 / seconds.pop("product"), seconds.pop("data")

    print(f"libraries use {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    print(f"T {config.data.clip_length}, B {config.data.lanes}, {flops / frames / 1e9:.2f} GFLOP a frame, both ways")
    print(f"{precision} matrix product: {bound / 1e9:.0f} GFLOP/s\n")
    print(f"{'':>34} {'frames/s':>9} {'times first':>12} {'GFLOP/s':>8} {'of product':>11}")
    rows: list[dict[str, object]] = []
    for name, each in seconds.items():
        row = {
            "variant": name + (" (default)" if name == default else ""),
            "frames_per_s": frames / each,
            "times_first": seconds["float32, NCHW"] / each,
            "gflop_per_s": flops / each / 1e9,
            "of_product": flops / each / bound,
        }
        rows.append(row)
        line = "{variant:>34} {frames_per_s:>9.1f} {times_first:>12.2f} {gflop_per_s:>8.0f} {of_product:>11.2f}"
        print(line.format(**row))
    parts = steps[default].seconds
    shares = {name: part / sum(parts) for name, part in zip(PARTS, parts, strict=True)}
    print(
        f"\nof the default step, {sum(parts) * 1e3:.0f} ms:",
        ", ".join(f"{name} {share:.1%}" for name, share in shares.items()) + ";",
        f"drawing the frames takes {drawing / sum(parts):.1%} of it in addition\n",
    )
    rows.append({"variant": "parts of the default", **shares, "drawing": drawing / sum(parts)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="moving_digits", help="name of the recipe")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each variant")
    parser.add_argument(
        "--frames", type=int, nargs=2, metavar=("T", "B"), help="clip length and lanes, if not the recipe's"
    )
    parser.add_argument("--here", action="store_true", help="as the libraries are set, without the plain processor")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    config = read_config(RECIPES / f"{args.recipe}.yaml")
    if args.frames:
        length, lanes = map(int, args.frames)
        sizes = {"frames_per_video": length, "held_out_frames_per_video": length, "frames_per_epoch": length * lanes}
        digits = replace(config.data.digits, **sizes)
        config = replace(config, data=replace(config.data, clip_length=length, lanes=lanes, digits=digits))
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, recipe {args.recipe}")
    rows = measured(config, args.rounds)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")
    if not args.here:
        print("kept to AVX2, as an ordinary processor", flush=True)
        again = [word for word in sys.argv[1:] if not word.startswith("--json") and word != str(args.json)]
        subprocess.run([sys.executable, __file__, *again, "--here"], env=os.environ | PLAIN, check=True)


if __name__ == "__main__":
    main()
