"""``seqdet evaluate`` of a run: a detector scored on held-out clips, and the page that shows what it does."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from ..checks import InputError, check_at_least
from ..config import SHOWN_SCORE, ModelConfig, RunConfig, anchors_in_words
from ..config_files import to_yaml
from ..data.dataset import Split
from ..data.schedule import Cue
from ..evaluation.breakdown import ERROR_KINDS, has_tracks, still_us
from ..evaluation.files import Truth
from ..evaluation.protocols import find_protocol, scored_labels
from ..evaluation.report import FIGURES, figure, judge
from ..events.accounts import Account, total
from ..files import make_folder, write_text
from ..loading import left_out, prepare_split
from ..models.measuring import measure
from ..runs import METRICS_FORMAT, RunFolder, versions
from ..structures import Boxes, Clip
from ..viz.charts import Chart
from ..viz.draw import draw_boxes
from ..viz.images import Paint, painter
from ..viz.pages import ReportPage, write_report
from ..viz.tiles import film_strip, play
from ..viz.video import write_video
from .faulty import clips_of_events, fault_lines, score_faults
from .finished import check_finished, finished_run
from .scoring import HeldOut, Scored, bins, score, write_detections

log = logging.getLogger(__name__)
VIDEO_FPS = 10
"""Pictures a second: half as fast as they came."""
VIDEO_COLUMNS = 4
"""Lanes in a row."""
HELD_OUT = {
    "test": "held-out frames",
    "validation": "frames that chose the best weights",
    "train": "frames of the kind that was trained on",
}
"""What is scored, by split."""
STRIPS = 4
"""Lanes that the page shows."""
STRIP_FRAMES = 4
"""Moments of each."""
STRIP_SPAN = 12
"""Frames over which these are spread."""
PICTURES = 6
"""Of misses, and of false alarms."""
CROP = 4
"""A picture is a part of a larger frame, so many times as large as the box."""
LEAST_CROP = 160
"""Pixels of it at least."""
FAULTS_NOTE = (
    "The same recordings with faults put into their frames, none and from mild (1) to severe (5); "
    "docs/datasets.md of seqdet says what a severity means."
)
Captioned = tuple[str, np.ndarray]
"""A caption and (H, W, 3) uint8."""


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
    faults: bool = False,
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
        faults: score it again with faults of the sensor, each in five severities; Ctrl-C keeps what is done of these.

    Raises:
        InputError: if there is no trained detector, a protocol or the data do not fit it, they are pictures, which have
            no faults of event cameras, or a file is damaged or cannot be written.
    """
    folder = RunFolder(Path(run))
    check_finished(folder)
    if (other or samples) and not protocol:
        raise InputError("--protocol must be given to compare it with another or to resample its figures.")
    rules = find_protocol(protocol or "coco")
    second = find_protocol(other) if other else None
    found = finished_run(folder, Path(dataset) if dataset else None)
    training = found.training
    detector = found.detector
    prepare_split(found.config.data, split)
    data = HeldOut(found.config, split, called=found.called)
    for each in (rules, second or rules):
        scored_labels(each, detector.classes)  # which may refuse, and should before minutes have passed
    if faults:
        clips_of_events(data)
    if samples:
        check_at_least(len(data.names), 2, "recordings to resample")
    if detections:
        make_folder(detections)
    started = time.monotonic()
    asked = rules if protocol or detections else None
    scored = score(detector, data, precision=training["precision"], protocol=asked)
    by_protocol: dict[str, Any] = {}
    if protocol and scored.detections is not None:
        truth = data.truth or Truth(scored.parts.truth, scored.parts.labelled_us, detector.classes)
        counts = data.events(truth.boxes) if events else None
        verdict = judge(truth, scored.detections, rules, other=second, samples=samples, events=counts)
        by_protocol = {"by_protocol": {**verdict.facts, "lines": verdict.lines}}
    if detections and scored.detections is not None:
        write_detections(detections, scored.detections, detector.classes)
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
        **({"faults": score_faults(detector, data, scored, precision=training["precision"])} if faults else {}),
        "dataset": found.dataset,
        "split": split,
        "left_out": left_out(data.source),
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "training_frames": training["frames"],
        "training_seconds": training["seconds"],
        "training_frames_per_second": training["frames_per_second"],
        **measure(detector, _frame_hw(scored))._asdict(),
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


def page(scored: Scored, data: HeldOut, metrics: dict[str, Any], run: RunFolder, *, paint: Paint) -> ReportPage:
    """Scores, curves, errors and pictures of a run.

    Args:
        scored: what was found.
        data: in which frames.
        metrics: what goes to ``metrics.json``.
        run: the folder with the curves of the training.
        paint: how frames are shown.
    """
    curves = read_curves(run.logs)
    config = data.config
    losses = {name.removeprefix("loss/"): curve for name, curve in curves.items() if name.startswith("loss/")}
    validation = {
        name.removeprefix("validation/"): curve for name, curve in curves.items() if name.startswith("validation/")
    }
    charts = [Chart("Loss", "step", losses, is_log=True, is_noisy=True)]
    if "lr" in curves:
        charts.append(Chart("Learning rate", "step", {"learning rate": curves["lr"]}))
    charts.append(Chart("Validation", "step", validation, y_limits=(0, 1)))
    by_protocol = metrics.get("by_protocol", {})
    scores = scored.scores
    return ReportPage(
        title=data.known.title,
        summary=" ".join(
            f"{line[0].upper()}{line[1:]}."
            for line in (
                f"a recurrent detector, scored on {scores.frames} {HELD_OUT[metrics['split']]}",
                *still_lines(metrics),
                *left_out_lines(metrics),
            )
        ),
        scores=metrics,
        notes={
            "Scores": "Plain COCO over the labelled windows, in pixels of the frames" + _tag(metrics) + ".",
            "Faults of the sensor": FAULTS_NOTE,
            "What the objects do": f"In pixels of the sensor{_tag(by_protocol or metrics)}.",
            **_anchors_note(config.model),
        },
        protocol="\n".join(by_protocol.get("lines", [])),
        training_frames=metrics["training_frames"],
        breakdowns=metrics["breakdowns"],
        precision={name: np.array(of_class.curve50) for name, of_class in scores.per_class.items()},
        precision_by_iou={"0.50": np.array(scores.curve50), "0.50 to 0.95": np.array(scores.curve)},
        faults=metrics.get("faults", {}),
        reliability=metrics["reliability"],
        errors=metrics["errors"],
        misses=_misses(scored, data, paint),
        false_alarms=_false_alarms(scored, data, paint),
        training=charts,
        pictures=_strips(scored.shown, config, paint, data.titles),
        config=to_yaml(config),
        versions=metrics["versions"],
        costs={
            "parameters": f"{metrics['parameters'] / 1e6:.2f} M",
            "work of a frame": f"{metrics['flop'] / 1e9:.2f} GFLOP in convolutions, matrix products and attention",
            "memory of a lane": f"{metrics['state_bytes'] / 1e3:.0f} kB",
        },
        seconds={"training": metrics["training_seconds"], "evaluation": metrics["evaluation_seconds"]},
    )


def _anchors_note(model: ModelConfig) -> dict[str, str]:
    """A line about anchors that were fitted to the training data."""
    words = anchors_in_words(model)
    return {"Configuration": f"Fitted to the boxes of the training data: {words}."} if words else {}


def _frame_hw(scored: Scored) -> tuple[int, int]:
    """Height and width of the frames."""
    height, width = scored.shown[0][0].frames.shape[-2:]
    return height, width


def _tag(facts: dict[str, Any]) -> str:
    """Protocol and digest, where there are some."""
    return f", {facts['protocol']} {facts['digest']}" if facts.get("protocol") else ""


def read_curves(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps and values, by name, of every curve in the logs; none if there are no logs.

    Where a resumed training went over the same steps again, the later points count.
    """
    if not folder.is_dir():
        return {}
    logs = EventAccumulator(str(folder), size_guidance={SCALARS: 0})
    logs.Reload()
    curves = {}
    for name in logs.Tags()["scalars"]:
        latest = {point.step: point.value for point in logs.Scalars(name)}
        steps = np.array(sorted(latest))
        curves[name] = steps, np.array([latest[step] for step in steps])
    return curves


def _strips(
    shown: list[tuple[Clip, list[Boxes]]], config: RunConfig, paint: Paint, titles: list[str]
) -> list[Captioned]:
    """Of some lanes a few moments of their first recording, side by side, with a caption."""
    start = shown[: max(1, STRIP_SPAN // config.data.clip_length)]
    playing = [(lane, number) for lane, number in enumerate(start[0][0].recordings.tolist()) if number >= 0]
    return [
        (
            titles[number],
            film_strip(start, lane=lane, classes=config.model.classes, frames=STRIP_FRAMES, scale=2, paint=paint),
        )
        for lane, number in playing[:STRIPS]
    ]


def _misses(scored: Scored, data: HeldOut, paint: Paint) -> list[Captioned]:
    """The largest boxes that nothing found, one of each recording first, among the detections of that time.

    The box in question is drawn as truth, the others as if they were ignored.
    """
    frames = scored.frames
    errors = scored.errors
    still_s = _still_s(scored)
    pictures = []
    for n, row in enumerate(errors.missed[:PICTURES].tolist()):
        box = frames.truth[row]
        nearest = errors.nearest[n]
        width, height = np.round(box["xyxy"][2:] - box["xyxy"][:2]).astype(int)
        text = f"{frames.classes[box['labels']]} of {width} x {height} px"
        if still_s[frames.truth_rows[row]] > 0:
            text += f", still for {still_s[frames.truth_rows[row]]:.2f} s"
        if nearest >= 0:
            other = frames.detections[nearest]
            text += f"; {frames.classes[other['labels']]} {other['scores']:.2f} is at IoU {errors.nearest_iou[n]:.2f}"
        here = np.flatnonzero(frames.truth["frame"] == box["frame"])
        frame = scored.labelled_frames[box["frame"]]
        truth = _boxes(frames.truth[here], data.known.scales_xy[frame.recording])
        truth = replace(truth, is_ignored=torch.from_numpy(here != row))
        found = frame.detections.above(SHOWN_SCORE)
        place, image = _picture(scored, data, frames.truth[row : row + 1], paint, truth=truth, predictions=found)
        pictures.append((f"{place}: {text}", image))
    return pictures


def _false_alarms(scored: Scored, data: HeldOut, paint: Paint) -> list[Captioned]:
    """The wrong detections of the highest scores, one of each recording first, among the truth of that time."""
    frames = scored.frames
    errors = scored.errors
    pictures = []
    for row, kind in zip(errors.alarms[:PICTURES].tolist(), errors.kinds[:PICTURES].tolist(), strict=True):
        box = frames.detections[row : row + 1]
        scale_xy = data.known.scales_xy[scored.labelled_frames[int(box["frame"][0])].recording]
        truth = _boxes(frames.truth[frames.truth["frame"] == box["frame"]], scale_xy)
        text = f"{frames.classes[box['labels'][0]]} {box['scores'][0]:.2f}: {ERROR_KINDS[kind]}"
        predictions = replace(_boxes(box, scale_xy), scores=torch.from_numpy(box["scores"].copy()))
        place, image = _picture(scored, data, box, paint, truth=truth, predictions=predictions)
        pictures.append((f"{place}: {text}", image))
    return pictures


def _picture(
    scored: Scored, data: HeldOut, box: np.ndarray, paint: Paint, *, truth: Boxes, predictions: Boxes
) -> Captioned:
    """Recording and time of a box, a table of one row, and the frame around it."""
    frame = scored.labelled_frames[int(box["frame"][0])]
    clip_length = data.config.data.clip_length
    clip = data.source[Cue(frame.recording, frame.window // clip_length)]
    t = frame.window % clip_length
    image = paint(clip.frames[t, 0])
    x, y, width, height = _around(box["xyxy"][0] / np.tile(data.known.scales_xy[frame.recording], 2), image.shape[:2])
    moved = [replace(boxes, xyxy=boxes.xyxy.cpu() - torch.tensor([x, y, x, y])) for boxes in (truth, predictions)]
    part = np.ascontiguousarray(image[y : y + height, x : x + width])
    shown = draw_boxes(part, classes=scored.frames.classes, truth=moved[0], predictions=moved[1])
    return f"{data.titles[frame.recording]}, {clip.end_us[t, 0].item() / 1e6:.2f} s", shown


def _around(xyxy: np.ndarray, size_hw: tuple[int, ...]) -> list[int]:
    """x, y, width and height of a square around a box, within the frame, in whole pixels."""
    side = max(LEAST_CROP, int(CROP * (xyxy[2:] - xyxy[:2]).max()))
    width, height = min(side, size_hw[1]), min(side, size_hw[0])
    centre = (xyxy[:2] + xyxy[2:]) / 2
    corner = np.clip(centre - [width / 2, height / 2], 0, [size_hw[1] - width, size_hw[0] - height])
    return [*corner.astype(int).tolist(), width, height]


def _boxes(rows: np.ndarray, scale_xy: tuple[float, float]) -> Boxes:
    """Rows of ``FRAME_BOX`` in pixels of the frame, without scores."""
    return Boxes(
        torch.from_numpy((rows["xyxy"] / np.tile(scale_xy, 2)).astype(np.float32)),
        torch.from_numpy(rows["labels"].copy()),
        is_ignored=torch.from_numpy(rows["is_ignored"].copy()),
    )


def _still_s(scored: Scored) -> np.ndarray:
    """For every box of the truth how long it has stood still; 0 where there are no tracks."""
    parts = [scored.parts.truth[name] for name in scored.frames.recordings]
    return np.concatenate([still_us(each) if has_tracks(each) else np.zeros(len(each)) for each in parts]) / 1e6


def summary(metrics: dict[str, Any], run: Path | str) -> list[str]:
    """The main numbers of ``evaluate`` and where its files are."""
    folder = RunFolder(Path(run))
    numbers = "  ".join(f"{name} {figure(metrics[name])}" for name in FIGURES)
    protocol = f"  [{metrics['protocol']} {metrics['digest']}]" if metrics.get("protocol") else ""
    return [
        f"{metrics['frames']} {HELD_OUT[metrics['split']]}: {numbers}{protocol}",
        *still_lines(metrics),
        *left_out_lines(metrics),
        *metrics.get("by_protocol", {}).get("lines", []),
        *(fault_lines(metrics["faults"]) if "faults" in metrics else []),
        f"trained on {metrics['training_frames']} frames in {metrics['training_seconds']:.0f} s "
        f"({metrics['training_frames_per_second']:.0f} frames/s, {metrics['precision']})",
        *(f"{path}" for path in (folder.report, folder.video, folder.metrics, folder.detector)),
    ]


def left_out_lines(metrics: dict[str, Any]) -> list[str]:
    """What could not be read of the recordings, in all."""
    accounts = [Account.of(facts) for facts in metrics.get("left_out", {}).values()]
    lost = total(accounts)
    return [f"left out of {len(accounts)} recordings: {', '.join(lost.reasons())}"] if lost.dropped else []


def still_lines(metrics: dict[str, Any]) -> list[str]:
    """What the objects score that have stood still, where that is known."""
    return [
        f"{title}: AP {figure(metrics[name]['AP'])}  AP50 {figure(metrics[name]['AP50'])} "
        f"({metrics[name]['truth_boxes']} boxes)"
        for name, title in (
            ("still", "still for 0.3 s or more"),
            ("still_without_memory", "the same, forgetting after every frame"),
        )
        if metrics.get(name)
    ]
