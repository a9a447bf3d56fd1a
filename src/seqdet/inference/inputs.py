"""What a user names, as frames to go through: each kind of input is an entry of ``INPUT_KINDS``. Without torch."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from ..checks import InputError, check_choice, check_range, fit_fields, proposed
from ..config import Colour, InputConfig, PictureInput
from ..data.dataset import find_recordings, is_named_as_recording, outside, picture_sequences
from ..events.accounts import Account, tell
from ..events.array import Events
from ..events.camera import EventCamera
from ..events.evt import EvtPipe, Pipe
from ..events.files import Recording, open_recording
from ..events.sieve import NEVER
from ..events.slicing import check_windows
from ..events.time_units import IN_US, Unit
from ..files import below
from ..pictures.fitting import fit_scale, fitted
from ..pictures.sequence import TimedFrame, is_sequence, open_pictures, timed_pictures
from ..pictures.video import VIDEO_SUFFIXES
from ..viz.images import events_image
from .live import LivePictures, LiveSource, Source
from .runners import Runner, events_of
from .streaming import StreamConfig, StreamingDetector, chosen, thresholds
from .tracking import OURS, Tracker, usual_tracker

log = logging.getLogger(__name__)
SILENCE = 100
"""Windows without events after which a pipe that was stopped is taken to have no more."""
STDIN = Path("-")
MOST_FPS = 60.5
"""Pictures a second of a video, up to rounding."""
COUNTED_FPS = 20
"""Those of windows by count, which have no rate of their own."""


class FrameDetections(NamedTuple):
    """A window of events, or a picture, and what was found.

    start_us, end_us: of the window, or both the time of the picture. boxes: (N,) ``EVENT_BBOX`` in pixels of the sensor
    or the picture. events: of the window, none of a picture; by time. new: those that were in no frame before.
    picture: makes what is shown of it, (H, W, 3) uint8.
    """

    start_us: int
    end_us: int
    boxes: np.ndarray
    events: Events
    new: Events
    picture: Callable[[], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """What is looked at and what is written."""

    stream: StreamConfig = field(default_factory=StreamConfig)
    """How events are looked at, and which detections are wanted, also of pictures."""
    track: bool = False
    """Whether to follow objects."""
    tracker: str = OURS
    """One of ``TRACKERS``."""
    track_score: float | None = None
    """Least score of a detection that starts a track of our data association, that of ``USUAL`` if not given; the other
    trackers have their own."""
    track_us: int | None = None
    """From one writing of tracks to the next: between detections they go with the events. At detections alone if not
    given."""
    video: bool = False
    """Whether to write videos."""
    size_hw: tuple[int, int] | None = None
    """Height and width of the sensor, for recordings that do not say."""
    time_unit: str | None = None
    """Of the times, for recordings that do not say: one of ``events.time_units.IN_US``."""
    fps: float | None = None
    """Pictures a second: of a folder of images, or of a video in place of its own."""
    frame_hw: tuple[int, int] | None = None
    """Height and width in which pictures are shown to the detector; their own if not given, but for an exported one."""
    overwrite: bool = False
    """Whether to replace results of recordings of the same names."""

    def __post_init__(self) -> None:
        fit_fields(self)
        if self.time_unit is not None:
            check_choice(self.time_unit, IN_US, "time_unit")
        if self.track_us is not None:
            check_range(self, 1, 10**9, "track_us")
        if self.track_score is not None:
            check_range(self, 0, 1, "track_score")
            check_choice(self.tracker, (OURS,), "tracker, to have a track_score,")


class OpenInput(NamedTuple):
    """One recording, open.

    span_us: how long it is, if that is known. track_us: from one writing of tracks to the next, where that is sooner
    than the next frame. fps: pictures a second of its video.
    unit: what a frame is. account: what became of the events so far, without notes that were
    said when it was opened. passed_over: how many pictures came too fast to be looked at.
    """

    frames: Iterator[FrameDetections]
    span_us: int | None
    tracker: Tracker | None
    track_us: int | None
    fps: float
    unit: str
    account: Callable[[], Account]
    passed_over: Callable[[], int] = lambda: 0


def _find_recordings(
    runner: Runner, paths: Sequence[Path], config: PredictConfig, besides: Sequence[Path]
) -> list[tuple[Path, Path]]:
    _check_for_events(runner, config)
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            made = proposed("simulate", path, "-o", f"{path.stem}.raw")
            raise InputError(f"{path} must be a recording of events. Make one of a video: {made}")
    return [(each.path, each.place) for each in find_recordings(paths, besides=besides)]


def _open_recording(
    runner: Runner, path: Path, config: PredictConfig, is_stopped: Callable[[], bool], stack: ExitStack
) -> OpenInput:
    unit = cast(Unit | None, config.time_unit)
    recording = stack.enter_context(open_recording(path, size_hw=config.size_hw, time_unit=unit))
    tell(log, {str(path): Account(notes=recording.notes)})  # before hours of work that may be for nothing
    span_us = recording.span_us()
    if span_us is not None:
        for step_us in _steps_us(config, _window_us(runner)):
            check_windows(path, *span_us, step_us)
    opened = _open_events(runner, recording, recording.size_hw, config, is_stopped, said=recording.notes)
    return opened._replace(span_us=None if span_us is None else span_us[1] - span_us[0] + 1)


def _find_pipe(runner: Runner, _: Sequence[Path], config: PredictConfig, __: Sequence[Path]) -> list[tuple[Path, Path]]:
    _check_for_events(runner, config)
    return [(STDIN, Path("stdin"))]


def _open_pipe(
    runner: Runner, _: Path, config: PredictConfig, is_stopped: Callable[[], bool], __: ExitStack
) -> OpenInput:
    recording = EvtPipe(cast(Pipe, sys.stdin.buffer), size_hw=config.size_hw, is_stopped=is_stopped)
    if recording.size_hw is None:
        raise InputError("the standard input must state the size of its sensor, and does not. Give --size-hw.")
    return _open_events(runner, recording, recording.size_hw, config, is_stopped, to_silence=True)


def _find_camera(
    runner: Runner, sources: Sequence[LiveSource], config: PredictConfig, _: Sequence[Path]
) -> list[tuple[LiveSource, Path]]:
    _check_for_events(runner, config)
    for each in sources:
        if each.camera is None:
            raise InputError(f"{each} must be a camera:, for a detector for events: an address has pictures.")
    return [(each, each.place) for each in sources]


def _open_camera(
    runner: Runner, source: LiveSource, config: PredictConfig, is_stopped: Callable[[], bool], stack: ExitStack
) -> OpenInput:
    camera = EventCamera(source.camera or "0")
    stack.callback(camera.close)
    return _open_events(runner, camera, camera.size_hw, config, is_stopped)


def _window_us(runner: Runner) -> int:
    """Of the windows that a detector for events was trained on."""
    return events_of(runner).window_us


def _check_for_events(runner: Runner, config: PredictConfig) -> None:
    """Refuse settings that are none for events."""
    config.stream.windows(_window_us(runner))
    if config.fps is not None or config.frame_hw is not None:
        raise InputError("fps and frame_hw are for pictures, and this detector takes events: leave them out.")


def _open_events(
    runner: Runner,
    recording: Recording | EvtPipe | EventCamera,
    size_hw: tuple[int, int],
    config: PredictConfig,
    is_stopped: Callable[[], bool],
    *,
    said: Sequence[str] = (),
    to_silence: bool = False,
) -> OpenInput:
    """Events of a sensor of this size; ``said`` are notes of their account that the log has already."""
    detector = StreamingDetector(runner, config.stream, sensor_hw=size_hw)
    frames = event_detections(recording.chunks(), detector, is_stopped, to_silence=to_silence)
    fps = _video_fps(None if config.stream.count else config.stream.step_us or _window_us(runner))

    def account() -> Account:
        found = recording.account
        notes = tuple(note for note in found.notes if note not in said)
        return replace(found, dropped=found.dropped + detector.dropped, notes=notes)

    return OpenInput(frames, None, _tracker(config, size_hw), config.track_us, fps, "windows", account)


def _steps_us(config: PredictConfig, window_us: int) -> list[int]:
    """From one to the next of all that is made also where nothing happens: windows, tracks, pictures of a video."""
    windows_us = [] if config.stream.count else [config.stream.step_us or window_us]
    tracks_us = [config.track_us] if config.track and config.track_us else []
    return [*windows_us, *tracks_us, *([10**6 // COUNTED_FPS] if config.video and config.stream.count else [])]


def event_detections(
    chunks: Iterable[Events], detector: StreamingDetector, is_stopped: Callable[[], bool], *, to_silence: bool = False
) -> Iterator[FrameDetections]:
    """Those of a recording, up to the window that it ends in, or that it is stopped in.

    Args:
        chunks: the events.
        detector: of one stream, from its start.
        is_stopped: ends the work after a window.
        to_silence: only after ``SILENCE`` in a row in which nothing happens, so that what came is looked at; ``chunks``
            must end by themselves.
    """
    read = chunks if to_silence else takewhile(lambda _: not is_stopped(), chunks)
    seen_us = NEVER
    silent = 0
    for found in detector.play(read):
        first = int(np.searchsorted(found.events.t, seen_us)) if detector.config.count is None else 0
        picture = partial(events_image, found.events, size_hw=detector.sensor_hw)
        yield FrameDetections(found.start_us, found.end_us, found.boxes, found.events, found.events[first:], picture)
        seen_us = found.end_us
        silent = 0 if len(found.events) else silent + 1
        if is_stopped() and not (to_silence and silent < SILENCE):
            return


def _find_pictures(
    runner: Runner, paths: Sequence[Path], config: PredictConfig, besides: Sequence[Path]
) -> list[tuple[Path, Path]]:
    _check_for_pictures(runner, paths, config)
    found = [each for path in paths for each in _videos_or_images(path, besides)]
    owners = {place: path for path, place in found}
    for path, place in found:
        if owners[place] != path:
            raise InputError(f"videos must differ in their names without endings, got {path} and {owners[place]}.")
    return found


def _check_for_pictures(runner: Runner, paths: Sequence[Source], config: PredictConfig) -> None:
    """Refuse what no detector of pictures takes, and settings that are for events."""
    for path in paths:
        if not takes_pictures(runner) or (isinstance(path, Path) and is_named_as_recording(path)):
            raise InputError(
                f"the detector must say that its frames show events to see {path}, and does not: it takes pictures "
                f"of {runner.channels} channels."
            )
    stream = config.stream
    if config.size_hw is not None or stream != StreamConfig(classes=stream.classes, score=stream.score):
        raise InputError("the sensor's size, step_us, count, filters and views are for events: leave them out.")


def _open_pictures(
    runner: Runner, path: Path, config: PredictConfig, is_stopped: Callable[[], bool], _: ExitStack
) -> OpenInput:
    pictures = open_pictures(path, fps=config.fps)
    lengths_us = np.diff(pictures.times_us[:9])
    fps = _video_fps(float(np.median(lengths_us)) if len(lengths_us) else None)
    least = thresholds(runner.classes, config.stream.classes, config.stream.score)
    timed = timed_pictures(pictures)
    frames = picture_detections(timed, runner, least, is_stopped, frame_hw=_frame_hw(runner, config))
    return OpenInput(frames, None, _tracker(config), config.track_us, fps, "pictures", Account)


def _frame_hw(runner: Runner, config: PredictConfig) -> tuple[int, int] | None:
    """Height and width in which the detector sees pictures; None: as they are."""
    trained = runner.input.frame_hw if isinstance(runner.input, PictureInput) else None
    return config.frame_hw or runner.size_hw or trained


def _find_live(
    runner: Runner, paths: Sequence[Source], config: PredictConfig, _: Sequence[Path]
) -> list[tuple[Source, Path]]:
    _check_for_pictures(runner, paths, config)
    if config.fps is not None:
        raise InputError("fps is for images and videos, and what comes live has times of its own: leave it out.")
    return [(each, each.place if isinstance(each, LiveSource) else Path("stdin")) for each in paths]


def _open_live(
    runner: Runner, source: Source, config: PredictConfig, is_stopped: Callable[[], bool], stack: ExitStack
) -> OpenInput:
    pictures = LivePictures(source, is_stopped)
    stack.callback(pictures.close)
    least = thresholds(runner.classes, config.stream.classes, config.stream.score)
    frames = picture_detections(pictures.frames(), runner, least, is_stopped, frame_hw=_frame_hw(runner, config))
    return OpenInput(
        frames=frames,
        span_us=None,
        tracker=_tracker(config),
        track_us=config.track_us,
        fps=_video_fps(None),
        unit="pictures",
        account=Account,
        passed_over=lambda: pictures.passed_over,
    )


def _videos_or_images(path: Path, besides: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Those that one path names, and their places among the results."""
    if not path.is_dir():
        return [(path, Path(path.stem))]
    found = outside(picture_sequences(path), besides)
    if not found:
        raise InputError(f"{path} must hold images or videos, which this detector takes, and holds none.")
    if found == [path]:
        if within := [each for each in outside(below(path), besides) if is_sequence(each)]:
            raise InputError(f"{path} must hold images of one sequence, and {within[0]} is another. Name it alone.")
        return [(path, Path(path.resolve().name))]
    return [
        (each, each.relative_to(path) if each.is_dir() else each.relative_to(path).with_suffix("")) for each in found
    ]


def picture_detections(
    frames: Iterable[TimedFrame],
    runner: Runner,
    least: np.ndarray,
    is_stopped: Callable[[], bool],
    *,
    frame_hw: tuple[int, int] | None = None,
) -> Iterator[FrameDetections]:
    """Those of a video or of images, all of one size.

    Args:
        frames: pictures and their times.
        runner: a detector for pictures.
        least: score of each class.
        is_stopped: ends the work after a picture.
        frame_hw: height and width in which the detector sees the pictures: they are made to fit, keep their shape and
            lie at the top left, and the rest is black. As they are, if None.

    Raises:
        InputError: if their sizes differ, or the detector takes none.
    """
    if not takes_pictures(runner):
        raise InputError(f"detector must be one for pictures, got one of {runner.channels} channels.")
    colour: Colour = runner.input.colour if isinstance(runner.input, PictureInput) else "rgb"
    memory = None
    size_hw = None
    for image, time_us in frames:
        size_hw = size_hw or image.shape[:2]
        if image.shape[:2] != size_hw:
            raise InputError(f"pictures must all be {size_hw[1]}x{size_hw[0]}, got {image.shape[1]}x{image.shape[0]}.")
        seen_hw = frame_hw or size_hw
        (found,), memory = runner(fitted(image, seen_hw, colour)[None], memory)
        limits = np.tile(size_hw[::-1], 2)
        scale = np.tile(fit_scale(size_hw, seen_hw), 2)
        found = chosen(found, least)
        rows = found._replace(xyxy=np.clip(found.xyxy * scale, 0, limits)).rows(time_us)
        rows = rows[(rows["w"] > 0) & (rows["h"] > 0)]  # others lay beside the picture
        yield FrameDetections(time_us, time_us, rows, Events.empty(), Events.empty(), lambda image=image: image)
        if is_stopped():
            return


def takes_pictures(runner: Runner) -> bool:
    """Whether a detector was made for pictures: it says so, or says nothing and takes three channels."""
    return isinstance(runner.input, PictureInput) or (runner.input is None and runner.channels == 3)


def _video_fps(length_us: float | None) -> float:
    """Pictures a second of a video of frames of this length, if they have one: the rate of these or a part of it."""
    if length_us is None:
        return float(COUNTED_FPS)
    rate = 1e6 / max(length_us, 1)
    return rate / max(1, math.ceil(rate / MOST_FPS))


def _tracker(config: PredictConfig, size_hw: tuple[int, int] | None = None) -> Tracker | None:
    """A tracker for one recording, if one is wanted."""
    return usual_tracker(config.tracker, size_hw, score=config.track_score) if config.track else None


class InputKind(NamedTuple):
    """A kind of input: whether it is what a user names for a detector, and its ``find_inputs`` and ``open_input``."""

    takes: Callable[[Runner, Sequence[Source]], bool]
    find: Callable[[Runner, Sequence[Any], PredictConfig, Sequence[Path]], Sequence[tuple[Source, Path]]]
    open: Callable[[Runner, Any, PredictConfig, Callable[[], bool], ExitStack], OpenInput]


def is_live(source: Source) -> bool:
    """Whether it comes while it is looked at: a camera, a stream, the standard input."""
    return source == STDIN or isinstance(source, LiveSource)


def _is_of_pictures(runner: Runner) -> bool:
    return not isinstance(runner.input, InputConfig)


INPUT_KINDS = (
    InputKind(lambda runner, sources: _is_of_pictures(runner) and any(map(is_live, sources)), _find_live, _open_live),
    InputKind(lambda runner, _: _is_of_pictures(runner), _find_pictures, _open_pictures),
    InputKind(lambda _, sources: STDIN in sources, _find_pipe, _open_pipe),
    InputKind(lambda _, sources: any(map(is_live, sources)), _find_camera, _open_camera),
    InputKind(lambda *_: True, _find_recordings, _open_recording),
)
"""The first that takes what is named; what is live is named alone."""


def _kind_of(runner: Runner, sources: Sequence[Source]) -> InputKind:
    return next(kind for kind in INPUT_KINDS if kind.takes(runner, sources))


def find_inputs(
    runner: Runner, sources: Sequence[Source], config: PredictConfig, besides: Sequence[Path]
) -> Sequence[tuple[Source, Path]]:
    """The recordings that are named, and the places of their results in a folder, without an ending.

    Args:
        runner: the detector.
        sources: files and folders; or ``STDIN`` or a live source alone.
        config: what is wanted.
        besides: folders, in which nothing is looked for.

    Raises:
        InputError: if the detector takes nothing of this kind, there is nothing, or what is wanted does not fit it.
    """
    thresholds(runner.classes, config.stream.classes, config.stream.score)
    if len(sources) > 1 and (live := next(filter(is_live, sources), None)) is not None:
        name = "the standard input, -," if live == STDIN else str(live)
        raise InputError(f"{name} must be named alone, and others are named.")
    if STDIN in sources and sys.stdin.isatty():
        raise InputError(
            f"the standard input must be a recording, as in: cat x.raw | {proposed('predict', 'RUN', '-', '-o', 'out')}"
        )
    return _kind_of(runner, sources).find(runner, sources, config, besides)


def open_input(
    runner: Runner, source: Source, config: PredictConfig, is_stopped: Callable[[], bool], stack: ExitStack
) -> OpenInput:
    """One of ``find_inputs``.

    Args:
        runner: the detector.
        source: which.
        config: what is wanted.
        is_stopped: ends the work after a frame.
        stack: closes the input when it is closed.

    Raises:
        InputError: if it cannot be read, or is nothing for the detector; also while its frames are asked for.
    """
    return _kind_of(runner, [source]).open(runner, source, config, is_stopped, stack)
