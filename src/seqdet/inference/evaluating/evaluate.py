"""Score a trained run on held-out clips, and show what it does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ...allowing import recall
from ...checks import InputError, check_at_least, proposed
from ...config_files import read_config
from ...data.dataset import Split
from ...devices import choose_device
from ...evaluation.files import Truth
from ...evaluation.frames import labels_of
from ...evaluation.protocols import find_protocol
from ...evaluation.report import judge
from ...files import make_folder, write_text
from ...loading import left_out
from ...models.weights import load_detector
from ...runs import METRICS_FORMAT, RunFolder, training_facts, versions
from ...viz.images import painter
from ...viz.pages import write_report
from ...viz.tiles import play
from ...viz.video import write_video
from .held_out import HeldOut, place_of_dataset
from .report import page
from .scoring import Scored, bins, score, write_detections

VIDEO_FPS, VIDEO_COLUMNS = 10, 4
"""Pictures a second (half as fast as they came), lanes in a row."""


def evaluate(
    run: Path | str,
    dataset: Path | str | None = None,
    *,
    split: Split = "test",
    protocol: str | None = None,
    other: str | None = None,
    samples: int = 0,
    events: bool = True,
    detections: Path | None = None,
) -> dict[str, Any]:
    """Score the detector of a run on held-out recordings; the content of ``metrics.json``.

    Writes ``metrics.json``, ``demo.mp4`` (held-out clips, truth and detections) and ``report.html`` to the folder, over
    those of an earlier evaluation. The scores are those of plain COCO over the labelled windows as the detector sees
    them; a protocol goes by the labels in the files, and its scores stand under ``by_protocol``.

    Args:
        run: folder of a finished training.
        dataset: another folder of recordings or tensors that fit the detector; the run's own if not given.
        split: of the dataset.
        protocol: ``name@version``, or a name, by which to score as files of detections are scored.
        other: a protocol whose figure to explain, starting from the first.
        samples: of a bootstrap over recordings for intervals of the protocol; 0 for none.
        events: read the recordings, where there are some, and score boxes by how long they have had no events.
        detections: folder for the detections as files, which ``evaluate_files`` scores the same.

    Raises:
        InputError: if there is no trained detector, a protocol or the data do not fit it, or a file is damaged or
            cannot be written.
    """
    folder = RunFolder(Path(run))
    folder.check_holds_run()
    if not folder.training.is_file():
        onward = proposed("train", "--resume", folder.root)
        raise InputError(f"{folder.root} must hold a finished training. Go on with: {onward}")
    if (other or samples) and not protocol:
        raise InputError("--protocol must be given to compare it with another or to resample its figures.")
    rules = find_protocol(protocol or "coco")
    second = find_protocol(other) if other else None
    config = read_config(folder.config)
    training = training_facts(folder.training)
    recall(folder.config)
    detector = load_detector(folder.detector, device=choose_device(config.train.device))
    place = Path(dataset) if dataset else place_of_dataset(config, training, folder.root)
    data = HeldOut(config, split, dataset=place)
    for each in (rules, second or rules):
        labels_of(each, detector.config.classes)  # which may refuse, and should before minutes have passed
    if samples:
        check_at_least(len(data.names), 2, "recordings to resample")
    if detections:
        make_folder(detections)
    started = time.monotonic()
    asked = rules if protocol or detections else None
    scored = score(detector, data, precision=training["precision"], protocol=asked)
    by_protocol: dict[str, Any] = {}
    if protocol and scored.detections is not None:
        truth = data.truth or Truth(scored.parts.truth, scored.parts.labelled_us, detector.config.classes)
        counts = data.events(truth.boxes) if events else None
        verdict = judge(truth, scored.detections, rules, other=second, samples=samples, events=counts)
        by_protocol = {"by_protocol": {**verdict.facts, "lines": verdict.lines}}
    if detections and scored.detections is not None:
        write_detections(detections, scored.detections, detector.config.classes)
    metrics = {
        "format": METRICS_FORMAT,
        **scored.scores.as_dict(),
        "protocol": scored.protocol and scored.protocol.title,
        "digest": scored.protocol and scored.protocol.digest,
        **scored.still,
        "breakdowns": by_protocol["by_protocol"]["breakdowns"] if by_protocol else bins(scored, data, events=events),
        "reliability": scored.reliability.as_dict(),
        "errors": scored.errors.as_dict(),
        **by_protocol,
        "dataset": str(dataset or config.data.dataset.folder or "moving digits"),
        "split": split,
        "left_out": left_out(data.source),
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "training_frames": training["frames"],
        "training_seconds": training["seconds"],
        "training_frames_per_second": training["frames_per_second"],
        "parameters": training["parameters"],
        "precision": training["precision"],
        "versions": versions(),
    }
    write_text(folder.metrics, json.dumps(metrics, indent=2) + "\n")
    _show(scored, data, metrics, folder)
    return metrics


def _show(scored: Scored, data: HeldOut, metrics: dict[str, Any], folder: RunFolder) -> None:
    """Write the video and the page."""
    paint = painter(data.source.input)
    lanes = sorted({lane for clip, _ in scored.shown for lane in (~clip.is_blank).nonzero().flatten().tolist()})
    images = (
        image
        for clip, boxes in scored.shown
        for image in play(
            clip,
            boxes,
            classes=data.config.model.classes,
            lanes=lanes,
            columns=VIDEO_COLUMNS,
            names=data.titles,
            paint=paint,
        )
    )
    write_video(folder.video, images, fps=VIDEO_FPS)
    write_report(folder.report, page(scored, data, metrics, folder, paint=paint))
