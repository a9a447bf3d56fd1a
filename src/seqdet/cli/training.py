"""Commands that train and score."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..checks import InputError, Stopped, check_at_least, proposed
from ..config import DataConfig, ModelConfig, RunConfig, TrainConfig
from ..config_files import read_config
from ..files import check_output, check_output_folder
from ..progress import log_lines
from ..runs import RunFolder

log = logging.getLogger("seqdet")


def train(
    data: DataConfig = DataConfig(),
    model: ModelConfig = ModelConfig(),
    train: TrainConfig = TrainConfig(),
    out: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train a detector; weights, configuration and TensorBoard logs go to one folder.

    Of recordings, its classes and channels are those of the data if not given.

    Args:
        data: the clips.
        model: the detector.
        train: the optimisation.
        out: new folder of the run; runs/last if not given.
        resume: folder of a run to go on with, as it is configured there; of other options only --train.max_steps may be
            given, to train for longer.
    """
    usual = TrainConfig()
    longer = train.max_steps if resume is not None and train.max_steps != usual.max_steps else None
    if resume is not None and (
        out is not None or RunConfig(data, model, replace(train, max_steps=usual.max_steps)) != RunConfig()
    ):
        raise InputError(
            "--resume must be the only option but for --train.max_steps: a run goes on with the configuration in its "
            "folder."
        )
    folder = RunFolder(resume or out or Path("runs/last"))
    finished_before = folder.training.read_bytes() if folder.training.is_file() else None
    if resume is None:
        folder.check_free()  # at once, and not when torch is loaded
    try:
        from ..models.zoo import build_detector
        from ..training import fit

        if resume:
            fit.resume(resume, max_steps=longer)
        else:
            fit.fit(build_detector(_fitted(model, data), seed=train.seed), data, train, folder.root)
    except KeyboardInterrupt as error:  # before the run asks whether to stop
        has_begun = folder.config.is_file()
        onward = f"Go on with: {proposed('train', '--resume', folder.root)}" if has_begun else "Nothing was begun."
        raise Stopped(f"Stopped before the first step. {onward}") from error
    if folder.training.read_bytes() != finished_before:
        next_command = proposed("evaluate", folder.root, *_other_split(folder))
        log.info("Trained: %s. Next, for scores, video and report: %s", folder.detector, next_command)


def _other_split(folder: RunFolder) -> list[str]:
    """The words that ``seqdet evaluate`` needs where the dataset of a run has no test split."""
    from ..data.checking import scored_splits

    dataset = read_config(folder.config).data.dataset.folder
    splits = [] if dataset is None else scored_splits(dataset)
    return ["--split", splits[0]] if splits and splits[0] != "test" else []


def _fitted(model: ModelConfig, data: DataConfig) -> ModelConfig:
    """The configuration with the classes and channels of a dataset, where it leaves them as they usually are."""
    from ..loading import classes_and_channels

    if data.dataset.folder is None:
        return model
    with suppress(InputError):  # which the training says, after what is wrong with the folder as a whole
        classes, channels = classes_and_channels(data.dataset)
        usual, given = ModelConfig(), model
        if given.classes == usual.classes:
            model = replace(model, classes=classes)
        if given.in_channels == usual.in_channels:
            model = replace(model, in_channels=channels)
        if model != given:
            log.info("From the data: %d channels, and the classes %s.", model.in_channels, ", ".join(model.classes))
    return model


def evaluate_results(
    path: Path,
    dataset: Path | None = None,
    protocol: str | None = None,
    compare: str | None = None,
    bootstrap: int = 0,
    split: Literal["train", "val", "test"] = "test",
    events: bool = True,
    figures: Path | None = None,
    detections: Path | None = None,
    tracks: bool = False,
    overwrite: bool = False,
) -> None:
    """Score a trained run on held-out recordings, with video and report; or files of detections by a protocol.

    Args:
        path: folder written by ``seqdet train``; or detections: npy, csv, txt, or a folder of them.
        dataset: folder with the truth of the detections; or another one than its own for a run.
        protocol: rules by which detections are scored, a name or name@version; files by coco if not given.
        compare: a second protocol; says rule by rule why its AP differs.
        bootstrap: resamplings of the recordings, for intervals of 95 %.
        split: of the dataset.
        events: read the recordings, where there are some, and score boxes by how long they have had no events.
        figures: JSON file for all figures of files; a run has its metrics.json.
        detections: new folder for the detections of a run as files.
        tracks: the files are of tracks: score whether they keep their objects, by IDF1, MOTA and HOTA; needs the extra
            track.
        overwrite: replace figures and detections that are there already; what lies in a run is replaced anyway.
    """
    if figures is not None:
        check_output(figures, inputs=[path], folders=[path, dataset], suffix=".json", overwrite=overwrite)
    if detections is not None:
        check_output_folder(detections, inputs=[dataset], overwrite=overwrite)
    check_at_least(bootstrap, 0, "--bootstrap")
    if tracks:
        from ..evaluation.tracks import evaluate_tracks

        if dataset is None or protocol or compare or bootstrap or detections or not events:
            raise InputError("--tracks must go with files of tracks, a dataset, and at most --split and --figures.")
        log_lines(log, evaluate_tracks(path, dataset, split=split, target=figures))
        _say_written(figures)
        return
    asked: Any = {"protocol": protocol, "other": compare, "samples": bootstrap, "events": events}
    if RunFolder(path).config.is_file() or (dataset is None and not path.is_file()):
        from ..inference.evaluating.evaluate import evaluate
        from ..inference.evaluating.report import summary

        if figures is not None:
            raise InputError(f"--figures must name a file for those of detections; a run writes {path}/metrics.json.")
        part: Any = "validation" if split == "val" else split
        try:
            metrics = evaluate(path, dataset, split=part, detections=detections, **asked)
        except KeyboardInterrupt as error:
            raise Stopped("Stopped. The same command starts again.") from error
        log_lines(log, summary(metrics, path))
        _say_written(detections)
        return
    from ..evaluation.report import evaluate_files

    if dataset is None:
        raise InputError("--dataset must name the folder of the truth where detections are scored, and is not given.")
    if detections is not None:
        raise InputError("--detections must be given for a run alone: these are detections in files already.")
    asked["protocol"] = protocol or "coco"
    log_lines(log, evaluate_files(path, dataset, split=split, target=figures, **asked))
    _say_written(figures)


def _say_written(path: Path | None) -> None:
    if path is not None:
        log.info("Written: %s", path)
