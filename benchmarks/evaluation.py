"""How much faster than pycocotools are the COCO scores?

python benchmarks/evaluation.py            # a table on the terminal
python benchmarks/evaluation.py --json out.json

Timed in full: from the same lists of ``Boxes``, one per frame, to the twelve numbers. Of that, *gather* is everything
up to an index that can be evaluated (for seqdet: ``CocoEvaluator.add``, 48 frames at a time) and *evaluate* is the
rest (for seqdet ``compute``).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faster_coco_eval
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import torch

from seqdet.evaluation.coco import CocoEvaluator
from seqdet.structures import Boxes

Frames = list[Boxes]
CLASSES = [str(label) for label in range(10)]
NAMES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
NAMES += ["AR1", "AR10", "AR", "AR_small", "AR_medium", "AR_large"]


def make_frames(frames: int, targets: int, guesses: int) -> tuple[Frames, Frames]:
    """Truth, and detections that are noisy copies of it: a tenth of the size off, one in five of any class."""
    generator = torch.Generator().manual_seed(0)
    truth, detections = [], []
    for _ in range(frames):
        corner = torch.rand(targets, 2, generator=generator) * 500
        size = 10 + torch.rand(targets, 2, generator=generator) ** 2 * 150
        truth.append(Boxes(torch.cat([corner, corner + size], 1), torch.randint(10, (targets,), generator=generator)))
        copied = torch.arange(guesses) % targets
        noise = torch.randn(guesses, 4, generator=generator) * size.repeat(1, 2)[copied] / 10
        first, second = (truth[-1].xyxy[copied] + noise).split(2, dim=1)
        is_kept = torch.rand(guesses, generator=generator) < 0.8
        labels = torch.where(is_kept, truth[-1].labels[copied], torch.randint(10, (guesses,), generator=generator))
        xyxy = torch.cat([torch.minimum(first, second), torch.maximum(first, second)], 1)
        detections.append(Boxes(xyxy, labels, torch.rand(guesses, generator=generator)))
    return truth, detections


def seqdet_numbers(truth: Frames, detections: Frames) -> tuple[list[float], float]:
    evaluator = CocoEvaluator(CLASSES)
    for start in range(0, len(truth), 48):
        evaluator.add(truth[start : start + 48], detections[start : start + 48])
    gathered = time.perf_counter()
    scores = evaluator.compute()
    return [getattr(scores, name) for name in NAMES], gathered


def coco_numbers(truth: Frames, detections: Frames, coco: Any, evaluate: Any) -> tuple[list[float], float]:
    """As their users call them: a dictionary per box, ``createIndex``, ``loadRes``, then the evaluation."""

    def rows(frames: Frames) -> list[dict[str, Any]]:
        found = []
        for image, frame in enumerate(frames):
            first, second = frame.xyxy.double().split(2, dim=1)
            xywh = torch.cat([first, second - first], 1).tolist()
            scores = [0.0] * len(frame) if frame.scores is None else frame.scores.tolist()
            for box, label, score in zip(xywh, frame.labels.tolist(), scores, strict=True):
                kind = {"id": len(found) + 1, "image_id": image, "category_id": label, "iscrowd": 0}
                found.append({**kind, "bbox": box, "area": box[2] * box[3], "score": score})
        return found

    index = coco()
    index.dataset = {"info": {}, "images": [{"id": image} for image in range(len(truth))], "annotations": rows(truth)}
    index.dataset["categories"] = [{"id": label} for label in range(len(CLASSES))]
    index.createIndex()
    evaluation = evaluate(index, index.loadRes(rows(detections)), "bbox")
    gathered = time.perf_counter()
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return list(evaluation.stats), gathered


def timed(function: Callable[..., tuple[list[float], float]], *args: Any) -> tuple[float, float, list[float]]:
    """Seconds in total, seconds of it that went to gathering, and the numbers."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        numbers, gathered = function(*args)
    return time.perf_counter() - start, gathered - start, numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--targets", type=int, default=20, help="truth boxes per frame")
    parser.add_argument("--guesses", type=int, default=100, help="detections per frame")
    parser.add_argument("--rounds", type=int, default=3, help="the fastest of these counts")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    frames = make_frames(args.frames, args.targets, args.guesses)
    peers = {
        "pycocotools": (coco_numbers, *frames, pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
        "faster-coco-eval": (coco_numbers, *frames, faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
        "seqdet": (seqdet_numbers, *frames),
    }
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    versions = ", ".join(f"{name} {version(name)}" for name in ("pycocotools", "faster-coco-eval", "numpy", "torch"))
    print(f"{machine}, {versions}")
    print(f"{args.frames} frames of {args.targets} truth boxes and {args.guesses} detections, {len(CLASSES)} classes")
    rounds = [{name: timed(*call) for name, call in peers.items()} for _ in range(args.rounds)]  # side by side
    best = {name: min(times[name] for times in rounds) for name in peers}
    slow_total, slow_gather, expected = best["pycocotools"]
    rows = []
    print(f"{'':>16} {'gather s':>9} {'evaluate s':>11} {'total s':>8} {'x evaluate':>11} {'x total':>8} {'off by':>7}")
    for name, (total, gather, numbers) in best.items():
        row = {"name": name, "gather_s": gather, "evaluate_s": total - gather, "total_s": total}
        row |= {"times_evaluate": (slow_total - slow_gather) / (total - gather), "times_total": slow_total / total}
        row["off_by"] = float(np.abs(np.subtract(numbers, expected)).max())
        print("{name:>16} {gather_s:>9.2f} {evaluate_s:>11.2f} {total_s:>8.2f}".format(**row), end=" ")
        print("{times_evaluate:>11.1f} {times_total:>8.1f} {off_by:>7.0e}".format(**row))
        rows.append({**row, "numbers": numbers, "machine": machine, "versions": versions})
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
