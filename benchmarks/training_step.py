"""How fast is a training step, and what does each choice of the default bring?

python benchmarks/training_step.py            # a table on the terminal
python benchmarks/training_step.py --json out.json

All variants are built first and take turns, so that whatever else the machine does meets them alike. The FLOPs of a
step are counted by torch; the bound is a 2048 x 2048 matrix product in bfloat16, measured in the same turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from seqdet.config_files import read_config
from seqdet.data.loading import TrainingLoader, TrainingOrder, open_split
from seqdet.models.recurrent import detach
from seqdet.models.zoo import build_detector
from seqdet.structures import Clip
from seqdet.training.optimizers import OPTIMIZERS

RECIPE = Path(__file__).parents[1] / "recipes" / "moving_digits.yaml"
VARIANTS = {
    "float32, NCHW": (False, False),
    "float32, channels last": (False, True),
    "bfloat16, NCHW": (True, False),
    "bfloat16, channels last (default)": (True, True),
}


def training_step(
    clip: Clip, *, is_bfloat16: bool, is_channels_last: bool, optimizer_name: str | None = None
) -> Callable[[], None]:
    """A function that makes one step: forward, backward, clipping and the optimiser, the recipe's if not named."""
    config = read_config(RECIPE)
    detector = build_detector(config.model)
    if is_channels_last:
        detector.to(memory_format=torch.channels_last)
    optimizer = OPTIMIZERS[optimizer_name or config.train.optimizer](detector, lr=1e-4, weight_decay=0.05)
    state = None

    def step() -> None:
        nonlocal state
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
            losses, after = detector.loss(clip, state)
        state = detach(after)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()

    return step


def matrix_product() -> Callable[[], torch.Tensor]:
    """A function that multiplies two 2048 x 2048 bfloat16 matrices."""
    first, second = torch.randn(2, 2048, 2048).bfloat16()
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each variant")
    parser.add_argument(
        "--frames", type=int, nargs=2, metavar=("T", "B"), help="clip length and lanes, if not the recipe's"
    )
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    data = read_config(RECIPE).data
    if args.frames:
        length, lanes = args.frames
        sizes = {"frames_per_video": length, "held_out_frames_per_video": length, "frames_per_epoch": length * lanes}
        digits = replace(data.digits, **sizes)
        data = replace(data, clip_length=length, lanes=lanes, digits=digits)
    dataset = open_split(data, "train")
    clip = next(iter(TrainingLoader(dataset, TrainingOrder(data, dataset.weights, steps=1), workers=0)))
    frames = data.clip_length * data.lanes
    steps = {
        name: training_step(clip, is_bfloat16=is_bfloat16, is_channels_last=is_channels_last)
        for name, (is_bfloat16, is_channels_last) in VARIANTS.items()
    }
    with FlopCounterMode(display=False) as counter:
        training_step(clip, is_bfloat16=False, is_channels_last=True, optimizer_name="adamw")()  # multiplies nothing
    flops = counter.get_total_flops()

    seconds = fastest({**steps, "matrix product": matrix_product()}, args.rounds)
    bound = 2 * 2048**3 / seconds.pop("matrix product")
    plain = seconds["float32, NCHW"]
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"T {data.clip_length}, B {data.lanes}, {flops / frames / 1e9:.2f} GFLOP a frame, forward and backward")
    print(f"bfloat16 matrix product: {bound / 1e9:.0f} GFLOP/s\n")
    print(f"{'':>34} {'frames/s':>9} {'times plain':>12} {'GFLOP/s':>8} {'of product':>11}")
    rows = []
    for name, each in seconds.items():
        row = {
            "variant": name,
            "frames_per_s": frames / each,
            "times_plain": plain / each,
            "gflop_per_s": flops / each / 1e9,
            "of_product": flops / each / bound,
        }
        rows.append(row)
        print(
            "{variant:>34} {frames_per_s:>9.1f} {times_plain:>12.2f} {gflop_per_s:>8.0f} {of_product:>11.2f}".format(
                **row
            )
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
