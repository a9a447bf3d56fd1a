"""Run a detector over recordings, videos and folders of them, and write what it finds. Without torch."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, repeat, takewhile
from pathlib import Path

import numpy as np

from ..checks import InputError, ReaderGone, Stopped
from ..data.classes import read_classes, write_classes
from ..data.detections import TRACKED_BOX, best_of_place
from ..data.labels import CLASSES_FILE
from ..events.accounts import tell
from ..files import check_output, make_folder
from ..locks import alone_in
from ..progress import Progress
from ..stopping import stop_on_signals
from ..viz.draw import short_number
from ..viz.tiles import Panes
from ..viz.video import write_video
from .inputs import STDIN, FrameDetections, OpenInput, PredictConfig, find_inputs, is_live, open_input
from .json_lines import JsonLines, Sink
from .live import LiveSource, Source
from .result_files import RESULT_FOLDERS, RESULTS, VIDEOS, ResultFiles, results
from .runners import Runner
from .tracking import MOST_OVERLAP

log = logging.getLogger(__name__)
NO_TRACKS = np.zeros(0, TRACKED_BOX)


def predict_recordings(
    runner: Runner,
    paths: Source | Sequence[Source],
    out: Path | None,
    config: PredictConfig,
    *,
    sink: Sink | None = None,
) -> None:
    """Write what a detector finds in recordings, in all of a folder, or in videos; ``ResultFiles`` has the files.

    With videos/NAME.mp4, if wanted, in real time: a picture for each frame as long as they follow each other evenly,
    and not too fast. The log says for each recording what was found, and how fast. One bad recording does not stop the
    others.

    Args:
        runner: the detector.
        paths: of one recording or several, or folders of them; for a detector for pictures videos, folders of images
            or of videos; alone ``-`` for a RAW recording or a video that comes by the standard input, or a camera or
            a stream in a network, see ``as_source``.
        out: folder of the results; without files if None.
        config: how.
        sink: where to write a line of JSON for each window or picture, as ``JsonLines``.

    Raises:
        InputError: if the detector takes nothing of this kind, something cannot be read, or the folder cannot be
            written, has results of a recording of the same name, or detections of other classes.
        Stopped: if Ctrl-C was pressed, or SIGTERM sent; what was found until then is in the files, which are whole.
        ReaderGone: if nobody reads the lines any more; likewise.
    """
    paths = [paths] if isinstance(paths, Path | LiveSource) else paths
    if out is None and config.video:
        raise InputError("out must be given for a video, and is not.")
    found = find_inputs(runner, paths, config, [] if out is None else [out / kind for kind in RESULT_FOLDERS])
    if out is not None:
        _check_free(out, found, runner, config)
    lines = None if sink is None else JsonLines(sink, runner.classes, has_tracks=config.track)
    failed = []
    with ExitStack() as stack:
        if out is not None:
            stack.enter_context(alone_in(out))
        is_asked = stack.enter_context(
            stop_on_signals("what was received so far" if STDIN in paths and runner.input else "this window")
        )

        def is_stopped() -> bool:
            return is_asked() or (lines is not None and lines.is_gone)

        for n, (each, place) in enumerate(found, 1):
            title = f"{n} of {len(found)}, {place.name}" if len(found) > 1 else place.name
            try:
                ended_us = _predict(runner, each, place, out, lines, config, is_stopped, title)
            except InputError as error:
                failed.append(str(error) if each == STDIN or str(each) in str(error) else f"{each}: {error}")
                ended_us = 0
                if len(found) > 1:
                    log.warning("%s", failed[-1])
            if lines is not None and lines.is_gone:
                raise ReaderGone(f"Nobody reads the lines any more, at {ended_us / 1e6:.2f} s of {place}.")
            if is_stopped():
                kept = "" if out is None else f" What was found until then is in {out}."
                raise Stopped(f"Stopped at {ended_us / 1e6:.2f} s of {place}.{kept}")
    if failed:
        of = f" ({len(failed)} of {len(found)} recordings failed)" if len(found) > 1 else ""
        raise InputError(failed[0] + of)


def _check_free(out: Path, found: Sequence[tuple[Source, Path]], runner: Runner, config: PredictConfig) -> None:
    """Refuse a folder with results of the same names, or of other classes."""
    for kind in RESULTS[: 1 + config.track]:
        _check_classes(out / kind, runner.classes)
    for each, place in found:
        for result in results(out, place):
            check_output(result, inputs=[each] if isinstance(each, Path) else [], overwrite=config.overwrite)


def _check_classes(folder: Path, names: tuple[str, ...]) -> None:
    """Refuse a folder of other classes."""
    if (folder / CLASSES_FILE).exists() and (others := read_classes(folder)) != names:
        raise InputError(
            f"{folder} must be of the classes {', '.join(names)}, and is of {', '.join(others)}. Name another folder."
        )


def _predict(
    runner: Runner,
    source: Source,
    place: Path,
    out: Path | None,
    lines: JsonLines | None,
    config: PredictConfig,
    is_stopped: Callable[[], bool],
    title: str,
) -> int:
    """Write what is found in one recording; the time at which it ended."""
    settled: list[ResultFiles] = []
    failed: list[InputError] = []

    def is_stopped_or_waits() -> bool:
        """Asked often, also while nothing comes."""
        for each in settled:
            each.settle()
        return is_stopped()

    with ExitStack() as stack:
        opened = open_input(runner, source, config, is_stopped_or_waits, stack)
        if out is not None:
            settled.append(stack.enter_context(ResultFiles(out, place, has_tracks=config.track)))
            for kind in RESULTS[: 1 + config.track]:
                write_classes(out / kind, runner.classes)
        total = None if opened.span_us is None else opened.span_us / 1e6
        left = "{percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s [{elapsed}<{remaining}{postfix}]"
        layout = "{desc}: " + (left if total else "{n:.1f} s [{elapsed}{postfix}]")
        bar = stack.enter_context(Progress(title, unit="second", total=total, done=0.0, layout=layout))
        work = _Work(opened, settled, bar)
        frames = work.frames() if lines is None else _told(work.frames(), lines, place)
        shown = _until_failure(frames, failed)
        if out is not None and config.video and (first := next(shown, None)) is not None:
            panes = Panes(runner.classes, has_tracks=config.track)
            target = out / VIDEOS / place.parent
            images = (
                panes.picture(frame.picture(), frame.boxes, tracks, caption=_caption(frame))
                for frame, tracks in _in_real_time(chain([first], shown), opened.fps, is_stopped)
            )
            try:
                make_folder(target)
                write_video(target / f"{place.name}.mp4", images, fps=opened.fps)
            except InputError:  # the rest is worth its detections without a video
                deque(shown, maxlen=0)
                raise
        deque(shown, maxlen=0)
        if failed:
            if is_live(source):  # of which there is no other time
                log.info("%s: %s", place, work.summary(config.track))
            raise failed[0]
    if lines is None or not lines.is_gone:
        log.info("%s: %s", place, work.summary(config.track))
        tell(log, {str(source if source != STDIN else place): opened.account()})
    return work.ended_us


def _in_real_time(
    frames: Iterable[tuple[FrameDetections, np.ndarray]], fps: float, is_stopped: Callable[[], bool]
) -> Iterator[tuple[FrameDetections, np.ndarray]]:
    """For each picture of a video the frame that it shows: the last that has begun, up to a quarter of a picture.

    Once the work is stopped the video ends: between two frames there may be hours.
    """
    held = None
    begin_us = 0
    count = 0
    for each in frames:
        begin_us = begin_us if held else each[0].start_us
        due = math.ceil((each[0].start_us - begin_us) / 1e6 * fps - 0.25)
        yield from takewhile(lambda _: not is_stopped(), repeat(held, due - count)) if held else ()
        held = each
        count = max(due, count)
    if held:
        start, end = ((time_us - begin_us) / 1e6 * fps for time_us in (held[0].start_us, held[0].end_us))
        yield from repeat(held, max(math.ceil(end - 0.25) - count, count < start + 0.2))


def _told(
    frames: Iterable[tuple[FrameDetections, np.ndarray]], lines: JsonLines, place: Path
) -> Iterator[tuple[FrameDetections, np.ndarray]]:
    """The frames, each told to another program before it is passed on."""
    for frame, tracks in frames:
        lines.add(place, frame, tracks)
        yield frame, tracks


def _until_failure(
    frames: Iterator[tuple[FrameDetections, np.ndarray]], failed: list[InputError]
) -> Iterator[tuple[FrameDetections, np.ndarray]]:
    """The frames up to one that cannot be had, which ends them as the end of a recording does: a video is finished."""
    try:
        yield from frames
    except InputError as error:
        failed.append(error)


class _Work:
    """Writes frames down as they are asked for, and counts; ``outputs`` are the files, or none."""

    def __init__(self, source: OpenInput, outputs: Sequence[ResultFiles], bar: Progress) -> None:
        self._source = source
        self._outputs = outputs
        self._bar = bar
        self._windows = self._boxes = self._begin_us = self.ended_us = 0
        self._identities: set[int] = set()
        self._began_s = time.monotonic()

    def frames(self) -> Iterator[tuple[FrameDetections, np.ndarray]]:
        """Every frame, and the tracks at it."""
        for frame in self._source.frames:
            tracks = self._follow(frame)
            self._begin_us = self._begin_us if self._windows else frame.start_us
            passed_us = frame.end_us - (self.ended_us if self._windows else self._begin_us)
            self.ended_us = frame.end_us
            self._windows += 1
            self._boxes += len(frame.boxes)
            self._identities.update(tracks["track_id"].tolist())
            left = float("inf") if self._bar.total is None else self._bar.total - self._bar.done
            self._bar.update(min(passed_us / 1e6, left), facts=f"{self._factor():.1f} times real time")
            yield frame, tracks

    def _follow(self, frame: FrameDetections) -> np.ndarray:
        """Write what was found in a frame; the tracks at it."""
        tracker = self._source.tracker
        events = frame.new
        done = 0
        if tracker is None:
            self._write(frame.boxes)
            return NO_TRACKS
        tables = []
        before_us = self.ended_us if self._windows else frame.start_us
        for time_us in range(before_us, frame.end_us, self._source.track_us or sys.maxsize)[1:]:
            until = int(np.searchsorted(events.t, time_us))
            tables.append(tracker.push(time_us, None, events[done:until]))
            done = until
        tables.append(tracker.push(frame.end_us, best_of_place(frame.boxes, MOST_OVERLAP), events[done:]))
        self._write(frame.boxes, np.concatenate(tables), tables[-1])
        return tables[-1]

    def _write(self, *tables: np.ndarray) -> None:
        for each in self._outputs:
            each.add(*tables)

    def summary(self, has_tracks: bool) -> str:
        """What was done, and how fast."""
        if not self._windows:
            return f"nothing happens in it; no {self._source.unit}."
        tracks = f", {len(self._identities):,} tracks" if has_tracks else ""
        passed_over = self._source.passed_over()
        more = f", {passed_over:,} passed over as newer ones were there" if passed_over else ""
        seconds = (self.ended_us - self._begin_us) / 1e6
        work_s = time.monotonic() - self._began_s
        return (
            f"{self._windows:,} {self._source.unit}{more}, {self._boxes:,} detections{tracks}; "
            f"{seconds:,.2f} s in {work_s:,.2f} s, {self._factor():.2f} times real time."
        )

    def _factor(self) -> float:
        return (self.ended_us - self._begin_us) / 1e6 / max(time.monotonic() - self._began_s, 1e-9)


def _caption(frame: FrameDetections) -> str:
    rate = len(frame.events) / max(frame.end_us - frame.start_us, 1) * 1e6
    events = f"   {short_number(rate)} events/s" if len(frame.events) else ""
    return f"{frame.end_us / 1e6:,.2f} s{events}"
