"""How fast is a training step of each architecture, beside the operations that it consists of?

python benchmarks/zoo_step.py                        # rvt_tiny, on frames of 128x128
python benchmarks/zoo_step.py --models rvt_tiny vanilla s5vit_small --json out.json

A step is forward, loss and backward of clips of five frames on four lanes, with two boxes a frame; the optimiser is
left out. All variants are built first and take turns, so that whatever else the machine does meets them alike. The
FLOPs of a step are counted by torch; the bound is a 2048 x 2048 matrix product in the same precision and turns.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from training_step import fastest, matrix_product

from seqdet.models.zoo import build_detector
from seqdet.structures import Boxes, Clip

CLASSES = tuple("0123456789")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def make_clip(channels: int, side: int, *, length: int, lanes: int) -> Clip:
    """Noise with two boxes on every frame."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor([[0.1, 0.1, 0.35, 0.45], [0.5, 0.5, 0.85, 0.8]]) * side
    return Clip(
        frames=torch.randint(0, 11, (length, lanes, channels, side, side), generator=generator, dtype=torch.uint8),
        is_first=torch.zeros(lanes, dtype=torch.bool),
        is_blank=torch.zeros(lanes, dtype=torch.bool),
        is_labelled=torch.ones(length, lanes, dtype=torch.bool),
        boxes=[Boxes(corners, torch.tensor([1, 2]))] * (length * lanes),
        recordings=torch.arange(lanes),
        end_us=torch.zeros(length, lanes, dtype=torch.int64),
    )


def training_step(name: str, clip: Clip, kind: torch.dtype) -> Callable[[], None]:
    """Forward, loss and backward of an architecture in a precision."""
    detector = build_detector(name, classes=CLASSES, in_channels=clip.frames.shape[2])
    detector.to(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
            losses, _ = detector.loss(clip)
        torch.stack(list(losses.values())).sum().backward()
        detector.zero_grad()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["rvt_tiny"], help="names of architectures")
    parser.add_argument("--channels", type=int, nargs="+", default=[3, 20], help="of the frames")
    parser.add_argument("--side", type=int, default=128, help="height and width of the frames")
    parser.add_argument("--frames", type=int, nargs=2, metavar=("T", "B"), default=(5, 4), help="clip length and lanes")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS), help="of the layers")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each variant")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    length, lanes = args.frames
    functions: dict[str, Callable[[], object]] = {}
    operations: dict[str, float] = {}
    for channels in args.channels:
        clip = make_clip(channels, args.side, length=length, lanes=lanes)
        for name in args.models:
            for precision in args.precisions:
                variant = f"{name}, {channels} channels, {precision}"
                functions[variant] = training_step(name, clip, PRECISIONS[precision])
            with FlopCounterMode(display=False) as counter:
                training_step(name, clip, torch.float32)()
            operations |= dict.fromkeys(
                (f"{name}, {channels} channels, {precision}" for precision in args.precisions),
                counter.get_total_flops(),
            )
    functions |= {precision: matrix_product(PRECISIONS[precision]) for precision in args.precisions}
    seconds = fastest(functions, args.rounds)

    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"T {length}, B {lanes}, {args.side}x{args.side}\n")
    print(f"{'':>36} {'frames/s':>9} {'GFLOP a frame':>14} {'GFLOP/s':>8} {'of product':>11}")
    rows: list[dict[str, object]] = []
    for variant, flop in operations.items():
        product = 2 * 2048**3 / seconds[variant.rsplit(", ", 1)[1]]
        row = {
            "variant": variant,
            "frames_per_s": length * lanes / seconds[variant],
            "gflop_a_frame": flop / length / lanes / 1e9,
            "gflop_per_s": flop / seconds[variant] / 1e9,
            "of_product": flop / seconds[variant] / product,
        }
        rows.append(row)
        line = "{variant:>36} {frames_per_s:>9.1f} {gflop_a_frame:>14.2f} {gflop_per_s:>8.0f} {of_product:>11.2f}"
        print(line.format(**row))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
