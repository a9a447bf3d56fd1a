"""Score a trained run on held-out clips, and show what it does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ..checks import InputError
from ..config import RunConfig
from ..config_files import read_config, to_yaml
from ..data.loading import evaluation_loader
from ..devices import choose_device
from ..evaluation.coco import CocoEvaluator, CocoScores
from ..files import write_text
from ..models.detector import Detector
from ..models.weights import load_detector
from ..runs import METRICS_FORMAT, TRAINING_FORMAT, RunFolder, versions
from ..structures import Boxes, Clip
from ..viz.charts import Chart
from ..viz.html import Report, write_report
from ..viz.tiles import play
from ..viz.video import write_video
from .curves import read_curves
from .pictures import painter, strips
from .predict import predict
from .still import LabelledFrames

SHOWN_SCORE = 0.3
"""Least score of a detection in the video and the pictures; the evaluation counts those from 0.01 on."""
COUNTED_SCORE = 0.01
VIDEO_FRAMES, VIDEO_FPS, VIDEO_COLUMNS = 96, 10, 4
"""Least frames of every lane that the video shows, pictures a second (half as fast as they came), lanes in a row."""


def evaluate(run: Path | str) -> dict[str, Any]:
    """Score the detector of a run on its test split; the content of ``metrics.json``.

    Writes ``metrics.json``, ``demo.mp4`` (held-out clips, truth and detections) and ``report.html`` to the folder, over
    those of an earlier evaluation.

    Args:
        run: folder of a finished training.

    Raises:
        InputError: if there is no trained detector, or a file is damaged or cannot be written.
    """
    folder = RunFolder(Path(run))
    folder.check_holds_run()
    if not folder.training.is_file():
        raise InputError(
            f"{folder.root} must hold a finished training. Go on with: seqdet train --resume {folder.root}"
        )
    config, training = read_config(folder.config), _training_facts(folder.training)
    detector = load_detector(folder.detector, device=choose_device(config.train.device))
    started = time.monotonic()
    scores, still, shown = _score(detector, config, training["precision"])
    seconds = round(time.monotonic() - started, 1)
    metrics = {
        "format": METRICS_FORMAT,
        **scores.as_dict(),
        **still,
        "split": "test",
        "evaluation_seconds": seconds,
        "training_frames": training["frames"],
        "training_seconds": training["seconds"],
        "training_frames_per_second": training["frames_per_second"],
        "parameters": training["parameters"],
        "precision": training["precision"],
        "versions": versions(),
    }
    write_text(folder.metrics, json.dumps(metrics, indent=2) + "\n")
    classes = detector.config.classes
    look: Any = {"classes": classes, "columns": VIDEO_COLUMNS, "paint": (paint := painter(config))}
    write_video(folder.video, (image for clip, boxes in shown for image in play(clip, boxes, **look)), fps=VIDEO_FPS)
    write_report(
        folder.report, _report(config, scores, metrics, strips(shown, config, paint), read_curves(folder.logs))
    )
    return metrics


def summary(metrics: dict[str, Any], run: Path | str) -> str:
    """The main numbers of ``evaluate`` and where its files are, as a few lines of text."""
    folder = RunFolder(Path(run))
    figures = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR")
    numbers = "  ".join(f"{name} {_figure(metrics[name])}" for name in figures)
    return "\n".join(
        [
            f"{metrics['frames']} held-out frames: {numbers}",
            *_still_lines(metrics),
            f"trained on {metrics['training_frames']} frames in {metrics['training_seconds']:.0f} s "
            f"({metrics['training_frames_per_second']:.0f} frames/s, {metrics['precision']})",
            *(f"{path}" for path in (folder.report, folder.video, folder.metrics, folder.detector)),
        ]
    )


def _still_lines(metrics: dict[str, Any]) -> list[str]:
    """What the objects score that have stood still, where that is known."""
    return [
        f"{title}: AP {_figure(metrics[name]['AP'])}  AP50 {_figure(metrics[name]['AP50'])} "
        f"({metrics[name]['truth_boxes']} boxes)"
        for name, title in (
            ("still", "still for 0.3 s or more"),
            ("still_without_memory", "the same, forgetting after every frame"),
        )
        if metrics.get(name)
    ]


def _training_facts(path: Path) -> dict[str, Any]:
    """What ``fit`` wrote about the training."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} must be the JSON that a finished training writes; it is damaged ({error})."
        ) from error
    if isinstance(facts, dict) and facts.get("format", TRAINING_FORMAT) != TRAINING_FORMAT:
        raise InputError(f"{path} must have the format {TRAINING_FORMAT!r}, got {facts['format']!r}.")
    needed = {"format", "precision", "frames", "seconds", "frames_per_second", "parameters"}
    if not isinstance(facts, dict) or not needed <= facts.keys():
        raise InputError(f"{path} must hold {', '.join(sorted(needed))}; it is damaged or of another kind.")
    return facts


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


class _Scored(NamedTuple):
    """The scores over the test split, those of still objects where there are recordings, and the first clips."""

    scores: CocoScores
    still: dict[str, Any]
    shown: list[tuple[Clip, list[Boxes]]]


def _score(detector: Detector, config: RunConfig, precision: str) -> _Scored:
    evaluator = CocoEvaluator(detector.config.classes)
    shown: list[tuple[Clip, list[Boxes]]] = []
    frames, has_recordings = LabelledFrames(), config.data.dataset.folder is not None
    for clip, detections in _predicted(detector, config, precision, "evaluating", remembers=True):
        evaluator.add(clip.labelled(clip.boxes), clip.labelled(detections))
        if has_recordings:
            frames.add(clip, detections)
        if len(shown) * config.data.clip_length < VIDEO_FRAMES:
            shown.append((clip, [boxes.above(SHOWN_SCORE) for boxes in detections]))
    if not has_recordings:
        return _Scored(evaluator.compute(), {}, shown)
    still = {"still": frames.still(detector.config.classes)}
    frames = LabelledFrames()
    for clip, detections in _predicted(detector, config, precision, "without memory", remembers=False):
        frames.add(clip, detections)
    return _Scored(evaluator.compute(), still | {"still_without_memory": frames.still(detector.config.classes)}, shown)


def _predicted(
    detector: Detector, config: RunConfig, precision: str, title: str, *, remembers: bool
) -> Iterable[tuple[Clip, list[Boxes]]]:
    clips = evaluation_loader(config.data, "test")
    found = predict(detector, clips, score=COUNTED_SCORE, precision=precision, remembers=remembers)
    return tqdm(found, title, total=len(clips), unit="clip", leave=False)


def _report(
    config: RunConfig,
    scores: CocoScores,
    metrics: dict[str, Any],
    pictures: list[tuple[str, np.ndarray]],
    curves: dict[str, tuple[np.ndarray, np.ndarray]],
) -> Report:
    losses = {name.removeprefix("loss/"): curve for name, curve in curves.items() if name.startswith("loss/")}
    validation = {
        name.removeprefix("validation/"): curve for name, curve in curves.items() if name.startswith("validation/")
    }
    charts = [Chart("Loss", "step", losses, is_log=True, is_noisy=True)]
    if "lr" in curves:
        charts.append(Chart("Learning rate", "step", {"learning rate": curves["lr"]}))
    charts.append(Chart("Validation", "step", validation, y_limits=(0, 1)))
    return Report(
        title="Moving digits" if config.data.dataset.folder is None else config.data.dataset.folder.name,
        summary=" ".join(
            f"{line[0].upper()}{line[1:]}."
            for line in (
                f"a recurrent detector, scored on {scores.frames} frames that it never saw",
                *_still_lines(metrics),
            )
        ),
        scores=metrics,
        training_frames=metrics["training_frames"],
        precision={name: np.array(of_class.curve50) for name, of_class in scores.per_class.items()},
        precision_by_iou={"0.50": np.array(scores.curve50), "0.50 to 0.95": np.array(scores.curve)},
        training=charts,
        pictures=pictures,
        config=to_yaml(config),
        versions=metrics["versions"],
        seconds={"training": metrics["training_seconds"], "evaluation": metrics["evaluation_seconds"]},
    )
