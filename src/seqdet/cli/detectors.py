"""Commands that train, score, run, export and measure detectors."""

from __future__ import annotations

import logging
import sys
from io import FileIO, UnsupportedOperation
from pathlib import Path
from typing import Literal

from ..checks import InputError, Stopped, check_at_least, proposed
from ..config import (
    DECODING,
    SHOWN_SCORE,
    DataConfig,
    Device,
    DiagnosisConfig,
    LatencyConfig,
    ModelConfig,
    TrainConfig,
    Unit,
    VanillaConfig,
    ViewConfig,
)
from ..config_files import read_config
from ..files import check_output, check_output_folder
from ..progress import log_lines
from ..runs import RunFolder
from .options import FILES, Typed

log = logging.getLogger("seqdet")


def train(
    data: DataConfig = DataConfig(),
    model: ModelConfig = VanillaConfig(),
    train: TrainConfig = TrainConfig(),
    out: Path | None = None,
    resume: Path | None = None,
    *,
    typed: Typed,
) -> None:
    """Train a detector; weights, configuration and TensorBoard logs go to one folder.

    Args:
        data: the clips.
        model: the detector.
        train: the optimisation.
        out: new folder of the run; runs/last if not given.
        resume: folder of a run to go on with, as it is configured there; of other options only --train.max_steps may be
            given, to train for longer.
        typed: which of these options a user gave.
    """
    if resume is not None and typed - {"--resume", "--train.max_steps"}:
        raise InputError(
            "--resume must be the only option but for --train.max_steps: a run goes on with the configuration in its "
            "folder."
        )
    folder = RunFolder(resume or out or Path("runs/last"))
    finished_before = folder.training.read_bytes() if folder.training.is_file() else None
    if resume is None:
        folder.check_free()  # at once, and not when torch is loaded
    try:
        from ..training import fit, starting

        if resume:
            fit.resume(resume, max_steps=train.max_steps if "--train.max_steps" in typed else None)
        else:
            if train.start is not None and not any(each.startswith("--model.") or each in FILES for each in typed):
                model = starting.model_of_start(train.start)
            fit.fit(model, data, train, folder.root)
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


def evaluate_results(
    path: Path,
    *,
    dataset: Path | None = None,
    protocol: str | None = None,
    compare: str | None = None,
    bootstrap: int = 0,
    split: Literal["train", "val", "test"] = "test",
    events: bool = True,
    figures: Path | None = None,
    detections: Path | None = None,
    tracks: bool = False,
    faults: bool = False,
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
        faults: score a run also with faults of the sensor, such as hot pixels and flicker, in five severities each; if
            Ctrl-C comes, what is done of it is kept.
        overwrite: replace figures and detections that are there already; what lies in a run is replaced anyway.
    """
    if figures is not None:
        check_output(figures, inputs=[path], folders=[path, dataset], suffix=".json", overwrite=overwrite)
    if detections is not None:
        check_output_folder(detections, inputs=[dataset], overwrite=overwrite)
    check_at_least(bootstrap, 0, "--bootstrap")
    if tracks:
        from ..evaluation.tracks import evaluate_tracks

        if dataset is None or protocol or compare or bootstrap or detections or faults or not events:
            raise InputError("--tracks must go with files of tracks, a dataset, and at most --split and --figures.")
        log_lines(log, evaluate_tracks(path, dataset, split=split, target=figures))
        _say_written(figures)
        return
    if RunFolder(path).config.is_file() or (dataset is None and not path.is_file()):
        from ..inference.evaluate import evaluate, summary

        if figures is not None:
            raise InputError(f"--figures must name a file for those of detections; a run writes {path}/metrics.json.")
        try:
            metrics = evaluate(
                path,
                dataset,
                split="validation" if split == "val" else split,
                protocol=protocol,
                other=compare,
                samples=bootstrap,
                events=events,
                detections=detections,
                faults=faults,
            )
        except KeyboardInterrupt as error:
            raise Stopped("Stopped. The same command starts again.") from error
        log_lines(log, summary(metrics, path))
        _say_written(detections)
        return
    from ..evaluation.report import evaluate_files

    if dataset is None:
        raise InputError("--dataset must name the folder of the truth where detections are scored, and is not given.")
    if faults:
        raise InputError("--faults must be given for a run alone: in files of detections there is no sensor any more.")
    if detections is not None:
        raise InputError("--detections must be given for a run alone: these are detections in files already.")
    lines = evaluate_files(
        path,
        dataset,
        split=split,
        protocol=protocol or "coco",
        other=compare,
        samples=bootstrap,
        events=events,
        target=figures,
    )
    log_lines(log, lines)
    _say_written(figures)


def _say_written(path: Path | None) -> None:
    if path is not None:
        log.info("Written: %s", path)


def predict_recording(
    detector: Path,
    recordings: list[str],
    view: ViewConfig,
    *,
    out: Path | None = None,
    json: bool = False,
    track: bool = False,
    video: bool = False,
    score: float = SHOWN_SCORE,
    classes: str = "",
    filter: str = "",
    step_us: int | None = None,
    count: int | None = None,
    tracker: Literal["association", "sort", "bytetrack", "ocsort"] = "association",
    track_score: float | None = None,
    track_us: int | None = None,
    size_hw: tuple[int, int] | None = None,
    time_unit: Unit | None = None,
    any_size: bool = False,
    fps: float | None = None,
    frame_hw: tuple[int, int] | None = None,
    device: Device = "auto",
    overwrite: bool = False,
) -> None:
    """Find objects in recordings, also as they come by a pipe or from a camera: detections, tracks and videos.

    Args:
        detector: folder of a run, detector.safetensors, or an exported model.onnx, which needs no torch.
        recordings: files, and folders of them; - for RAW by the standard input; camera:0 for an event camera; for a
            detector of pictures videos, images, - for a video by the standard input, camera:0 or the address of a
            stream, rtsp:, http:, https: or udp:.
        view: what the detector sees of the sensor.
        out: folder for detections/, csv/, tracks/, mot/ and videos/; may be left out with --json.
        json: write a line of JSON for each window or picture to the standard output, for other programs; all that is
            said goes to the standard error.
        track: follow the objects, and write their tracks.
        video: write MP4 files, detections on the left and tracks on the right.
        score: least score of a detection.
        classes: names of those wanted, with a least score of their own if wanted: car,person:0.5.
        filter: leave out noise before all else: activity:10000, trail, stc or stc_keep_trail, with microseconds; or
            several between commas.
        roi: x1,y1,x2,y2; leave out the events outside.
        step_us: time from a window to the next, at most its length; windows then overlap.
        count: events of a window, in place of its length.
        tracker: how objects are followed; all but the first need the extra track.
        track_score: least score of a detection that starts a track of association; 0.5 if not given.
        track_us: write tracks so often, moved by the events between detections; at detections alone if not given.
        any_size: take a sensor of another size than in training.
        fps: pictures a second, of a folder of images, or of a video in place of its own.
        frame_hw: height and width in which pictures are shown to the detector.
        device: where to compute.
        overwrite: replace results of recordings of the same names that are in the folder already.
    """
    if out is None and not json:
        raise InputError(
            "--out must be given: folder for detections/, csv/, tracks/, mot/ and videos/; or --json, for lines on the "
            "standard output."
        )
    if out is None and video:
        raise InputError("--out must be given for --video, which is a file, and is not.")
    from ..events.filters import find_filters
    from ..inference.inputs import PredictConfig
    from ..inference.live import as_source
    from ..inference.loading import load_runner
    from ..inference.prediction import predict_recordings
    from ..inference.streaming import StreamConfig, least_score

    if not track and (track_us is not None or track_score is not None or tracker != "association"):
        raise InputError("--track must be given where --tracker, --track-us or --track-score says how to follow.")
    names = tuple(each for each in classes.split(",") if each)
    stream = StreamConfig(
        step_us=step_us,
        count=count,
        filters=find_filters(filter),
        view=view,
        any_size=any_size,
        classes=names,
        score=score,
    )
    config = PredictConfig(
        stream=stream,
        track=track,
        tracker=tracker,
        track_score=track_score,
        track_us=track_us,
        video=video,
        size_hw=size_hw,
        time_unit=time_unit,
        fps=fps,
        frame_hw=frame_hw,
        overwrite=overwrite,
    )
    runner = load_runner(detector, score=min(DECODING.score, least_score(names, score)), device=device)
    sources = [as_source(each) for each in recordings]
    predict_recordings(runner, sources, out, config, sink=_standard_output() if json else None)
    if out is not None:
        log.info("The results are in %s.", out)


def _standard_output() -> FileIO:
    """The standard output without a buffer: what is written is there at once, and nothing is left for the end."""
    try:
        if sys.stdout is not None:  # as it is where it was closed before the command began
            return FileIO(sys.stdout.fileno(), "w", closefd=False)
    except UnsupportedOperation:
        pass
    raise InputError("--json must have a standard output to write to, and there is none.")


def export_model(
    path: Path,
    *,
    out: Path,
    int8: bool = False,
    fp16: bool = False,
    program: Path | None = None,
    size_hw: tuple[int, int] | None = None,
    score: float = DECODING.score,
    input: Literal["auto", "float32"] = "auto",
    calibration: Path | None = None,
    time_unit: Unit | None = None,
    overwrite: bool = False,
) -> None:
    """Write a detector as an ONNX file, which runs without PyTorch; only if both compute the same.

    Args:
        path: folder of a run, or its detector.safetensors.
        out: the file, model.onnx.
        int8: quantise the convolutions, by what training frames of the run do in them.
        fp16: half precision, for hardware that computes in it.
        program: also write this file, which torch.export.load reads.
        size_hw: height and width of the frames; those that the detector was trained on if not given.
        score: least score of a detection.
        input: type of the frames in the file: that of the detector, or float32 with the same numbers, for other runners
            of recurrent ONNX models, some of which know no other.
        calibration: recording to quantise by, in place of training frames.
        time_unit: of the times of that recording, where it does not say; guessed if not given.
        overwrite: replace files that are there already.
    """
    from ..inference.export import export_run

    if int8 and fp16:
        raise InputError("--int8 and --fp16 must not both be given.")
    if out.suffix != ".onnx":
        raise InputError(f"--out must end in .onnx, got {out}.")
    for each in filter(None, (out, program)):
        check_output(each, inputs=[path, RunFolder(path).detector, calibration], overwrite=overwrite)
    done = export_run(
        path,
        out,
        precision="int8" if int8 else "float16" if fp16 else "float32",
        size_hw=size_hw,
        score=score,
        program=program,
        frames_as=input,
        calibration=calibration,
        time_unit=time_unit,
    )
    log.info("%s", done)


def diagnose_run(
    path: Path,
    config: DiagnosisConfig,
    *,
    dataset: Path | None = None,
    split: Literal["val", "test"] = "test",
    out: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Show whether the memory of a trained detector matters, for how long, and whether lanes keep apart.

    Args:
        path: folder of a finished run.
        config: how much is played.
        dataset: another folder of recordings than its own.
        split: of the dataset.
        out: the page, .html, with its figures in a .json beside it; diagnosis.html in the run if not given.
        overwrite: replace files that are there already; what lies in a run is replaced anyway.
    """
    from ..inference.diagnose import diagnose, summary

    for each in (out, out.with_suffix(".json")) if out is not None else ():
        check_output(each, inputs=[path], folders=[dataset], overwrite=overwrite)
    if out is not None and out.suffix != ".html":
        raise InputError(f"--out must end in .html, got {out}.")
    page = out or RunFolder(path).diagnosis
    try:
        facts = diagnose(path, page, dataset=dataset, split="validation" if split == "val" else split, config=config)
    except KeyboardInterrupt as error:
        raise Stopped("Stopped. The same command starts again.") from error
    log_lines(log, summary(facts, page))


def import_weights(
    path: Path,
    *,
    out: Path,
    name: str | None = None,
    classes: tuple[str, ...] = (),
    input: Literal["gen1", "1mpx"] | None = None,
    carry: bool = False,
    head_width: int | None = None,
    overwrite: bool = False,
) -> None:
    """Make a detector that others trained one of ours: RVT, S5-ViT, EvRT-DETR, as their authors publish them.

    Only tensors are read from the checkpoint; code in it is refused.

    Args:
        path: the checkpoint; or a folder, where a detector is in several, as EvRT-DETR is.
        out: the file, detector.safetensors.
        name: of the architecture, such as rvt_tiny; what the tensors say if not given.
        classes: names of the classes, in the order of their labels; those of the dataset if none.
        input: what it was trained on, which says what frames show; what has so many classes if not given.
        carry: for S5-ViT alone: let its memory go from call to call, which its authors did not.
        head_width: for RVT and S5-ViT: channels of one head of attention, for sizes that nobody published: the tensors
            do not say it.
        overwrite: replace a file that is there already.
    """
    check_output(out, inputs=[path], suffix=".safetensors", overwrite=overwrite)
    from ..models import published
    from ..models.weights import save_detector

    settings = {"carry": True} if carry else {}
    settings |= {} if head_width is None else {"head_width": head_width}
    made = published.import_weights(path, name=name, classes=classes, input=input, **settings)
    save_detector(made.detector, out, source=made.source)
    log_lines(log, made.notes)
    _say_written(out)


def list_models(*, size_hw: tuple[int, int] = (240, 304), channels: int = 20) -> None:
    """List the detectors that there are: what each costs, what is published of it, and whose weights there are.

    Args:
        size_hw: height and width of the frames in pixels, by which the operations are counted.
        channels: of these frames.
    """
    from ..models.measuring import models_table

    log_lines(log, models_table(size_hw=size_hw, channels=channels))


def benchmark_model(
    detector: Path,
    recording: Path,
    config: LatencyConfig,
    *,
    backends: str = "",
    device: Device = "auto",
    json: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Measure how soon after a window its boxes are there, stage by stage, and how much faster than real time.

    Args:
        detector: folder of a run, detector.safetensors, or an exported model.onnx, which needs no torch.
        recording: file of events.
        config: what is measured.
        backends: which to compare, between commas: eager, eager_bfloat16, compiled (takes minutes), onnx; all but
            compiled if not given, and bfloat16 only where it is faster. A model.onnx has onnx alone.
        device: where PyTorch computes; ONNX Runtime stays on the CPU.
        json: write the figures to this file too.
        overwrite: replace a file that is there already.
    """
    from json import dumps

    from ..files import write_text
    from ..inference.latency import benchmark, table

    if json is not None:
        check_output(json, inputs=[recording], folders=[detector], suffix=".json", overwrite=overwrite)
    names = [each for each in backends.split(",") if each]
    report = benchmark(detector, recording, config, names=names, device=device)
    log_lines(log, table(report))
    if json is not None:
        write_text(json, dumps(report, indent=2) + "\n")
        log.info("The figures are in %s.", json)
