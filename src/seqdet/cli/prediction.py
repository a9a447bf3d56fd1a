"""The command that runs detectors."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from ..checks import InputError

log = logging.getLogger("seqdet")


def predict_recording(
    detector: Path,
    recordings: list[str],
    out: Path | None = None,
    track: bool = False,
    video: bool = False,
    score: float = 0.3,
    classes: str = "",
    filter: str = "",
    roi: tuple[int, int, int, int] | None = None,
    step_us: int | None = None,
    count: int | None = None,
    transpose: bool = False,
    flip_x: bool = False,
    flip_y: bool = False,
    tracker: Literal["association", "sort", "bytetrack", "ocsort"] = "association",
    track_score: float | None = None,
    track_us: int | None = None,
    size_hw: tuple[int, int] | None = None,
    time_unit: Literal["s", "ms", "us", "ns"] | None = None,
    any_size: bool = False,
    fps: float | None = None,
    frame_hw: tuple[int, int] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    overwrite: bool = False,
) -> None:
    """Find objects in recordings, also as they come by a pipe: detections, tracks and videos.

    Args:
        detector: folder of a run, detector.safetensors, or an exported model.onnx, which needs no torch.
        recordings: files, and folders of them; - for RAW by the standard input; for a detector of pictures videos or
            images.
        out: folder for detections/, csv/, tracks/ and videos/.
        track: follow the objects, and write their tracks.
        video: write MP4 files, detections on the left and tracks on the right.
        score: least score of a detection.
        classes: names of those wanted, with a least score of their own if wanted: car,person:0.5.
        filter: leave out noise before all else: activity:10000, trail, stc or stc_keep_trail, with microseconds; or
            several between commas.
        roi: x1,y1,x2,y2; leave out the events outside.
        step_us: time from a window to the next, at most its length; windows then overlap.
        count: events of a window, in place of its length.
        transpose: x and y change places before the detector sees the events.
        flip_x: left and right change places, after transpose.
        flip_y: top and bottom change places, after transpose.
        tracker: how objects are followed; all but the first need the extra track.
        track_score: least score of a detection that starts a track of association; 0.5 if not given.
        track_us: write tracks so often, moved by the events between detections; at detections alone if not given.
        size_hw: height and width of the sensor, for recordings that do not say.
        time_unit: of the times, for tables and HDF5 columns that do not say; guessed if not given.
        any_size: take a sensor of another size than in training.
        fps: pictures a second, of a folder of images, or of a video in place of its own.
        frame_hw: height and width in which pictures are shown to the detector.
        device: where to compute.
        overwrite: replace results of recordings of the same names that are in the folder already.
    """
    from ..config import DECODING
    from ..events.filters import find_filters
    from ..inference.loading import load_runner
    from ..inference.prediction.inputs import PredictConfig
    from ..inference.prediction.recordings import predict_recordings
    from ..inference.streaming import StreamConfig, ViewConfig, least_score

    if out is None:
        raise InputError("--out must name the folder of the results.")
    if not track and (track_us is not None or track_score is not None or tracker != "association"):
        raise InputError("--track must be given where --tracker, --track-us or --track-score says how to follow.")
    view = ViewConfig(roi, transpose, flip_x, flip_y)
    names = tuple(each for each in classes.split(",") if each)
    look: Any = {"step_us": step_us, "count": count, "view": view, "any_size": any_size}
    stream = StreamConfig(**look, filters=find_filters(filter), classes=names, score=score)
    step = load_runner(detector, score=min(DECODING.score, least_score(names, score)), device=device)
    follow: Any = {"track": track, "tracker": tracker, "track_score": track_score, "track_us": track_us}
    shape: Any = {"size_hw": size_hw, "time_unit": time_unit, "fps": fps, "frame_hw": frame_hw, "overwrite": overwrite}
    paths = [Path(each) for each in recordings]
    predict_recordings(step, paths, out, PredictConfig(stream=stream, video=video, **follow, **shape))
    log.info("The results are in %s.", out)
