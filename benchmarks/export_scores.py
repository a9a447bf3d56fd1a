"""What does an exported detector find, in every precision, beside PyTorch?

python benchmarks/export_scores.py runs/demo
python benchmarks/export_scores.py runs/events --json out.json

The held-out recordings of the run, frame by frame, by COCO over the labelled frames, and the AP of the objects that are
the slowest by their labels, where these have identities: what makes few events needs the memory.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch

from seqdet.config_files import read_config
from seqdet.data.detections import Detections
from seqdet.evaluation.breakdown import breakdowns
from seqdet.evaluation.coco import CocoEvaluator
from seqdet.inference.export import export_run
from seqdet.inference.loading import load_runner
from seqdet.inference.runners import OnnxRunner, Runner, RunnerState
from seqdet.inference.scoring import HeldOut, LabelledFrames, held_out_config
from seqdet.loading import evaluation_loader, prepare_split
from seqdet.structures import Boxes, Clip

SCORE = 0.01
SLOWEST = "speed, px/s"


def found_in(runner: Runner, clip: Clip, state: RunnerState | None) -> tuple[list[Boxes], RunnerState | None]:
    """What a runner finds in a clip, in (t, b) order, and its memory after it."""
    goes_on = ~clip.is_first.numpy()[:, None, None, None]
    state = state and tuple(np.asarray(each) * goes_on for each in state)
    found: list[Detections] = []
    for frames in clip.frames.numpy():
        here, state = runner(frames, state)
        found += here
    return [Boxes(*map(torch.from_numpy, each)) for each in found], state


def scores(runner: Runner, data: HeldOut) -> dict[str, float | None]:
    """AP, AP50, and AP of the slowest where labels tell of speed."""
    evaluator, labelled = CocoEvaluator(runner.classes), LabelledFrames(data.known.scales_xy)
    state = None
    for clip in evaluation_loader(data.config.data, data.split):
        boxes, state = found_in(runner, clip, state)
        evaluator.add(clip.labelled(clip.boxes), clip.labelled(boxes))
        labelled.add(clip, boxes)
    frames, parts = labelled.joined(runner.classes)
    bins = breakdowns(frames, parts.truth).get(SLOWEST, [])
    computed = evaluator.compute()
    return {"AP": computed.AP, "AP50": computed.AP50, "AP_slowest": bins[0].AP if bins else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"), help="folder of a run")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    config = held_out_config(read_config(args.run / "config.yaml"))
    prepare_split(config.data, "test")
    data = HeldOut(config, "test")
    machine = platform.processor() or platform.machine()
    print(f"{machine}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    print(f"{args.run}: {len(data.names)} recordings\n\n{'':>8} {'AP':>7} {'AP50':>7} {'AP slowest':>11} {'MB':>6}")
    rows = []
    with TemporaryDirectory() as folder:
        for name in ("eager", "float32", "float16", "int8"):
            path = args.run / "detector.safetensors" if name == "eager" else Path(folder) / f"{name}.onnx"
            if name != "eager":
                export_run(args.run, path, precision=name, score=SCORE)
            runner = load_runner(path, score=SCORE, device="cpu") if name == "eager" else OnnxRunner(path)
            row = {"variant": name, **scores(runner, data), "MB": path.stat().st_size / 1e6}
            rows.append(row)
            figures = ("-" if row[key] is None else f"{row[key]:.3f}" for key in ("AP", "AP50", "AP_slowest"))
            print("{:>8} {:>7} {:>7} {:>11} {:>6.1f}".format(name, *figures, row["MB"]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
