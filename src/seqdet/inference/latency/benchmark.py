"""How long a detector takes from the close of a window to its boxes, stage by stage. Without torch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...checks import InputError, check_range, fit_fields
from ...data.tracks import best_of_place
from ...events.files import Recording, open_recording
from ...events.sieve import JITTER_US
from ...events.slicing import Window
from ...events.stream import WindowStream
from ...events.time_units import Unit
from ...progress import progress
from ..streaming.choice import chosen, event_rows, thresholds
from ..streaming.framing import Framing
from ..tracking.association import DataAssociation
from ..tracking.config import MOST_OVERLAP, USUAL
from .backends import Backend, find_backends
from .report import STAGES, TOTAL, Played, figures, peak_memory_bytes, surroundings


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """What is measured."""

    windows: int = 400
    """Most windows of a pass."""
    warm_up: int = 20
    """Windows that every backend sees before its pass, which then begins anew."""
    passes: int = 1
    """How often each backend plays the recording; they take turns."""
    threads: int | None = None
    """Of PyTorch, and of ONNX Runtime; as many as there are cores if not given."""
    score: float = 0.3
    """Least score of a detection that is handed out."""
    track: bool = True
    """Whether objects are followed."""
    live: bool = False
    """Take up each window when it would come from a sensor, not at once. Between windows the machine then rests, and
    finds its caches and threads as it does at work; where it is too slow, windows wait for it, which counts."""
    any_size: bool = False
    """Take a sensor of another size than in training."""
    size_hw: tuple[int, int] | None = None
    """Height and width of the sensor, for recordings that do not say."""
    time_unit: Unit | None = None
    """Of the times, for recordings that do not say."""

    def __post_init__(self) -> None:
        fit_fields(self)
        check_range(self, 1, 10**6, "windows", "warm_up", "passes")
        check_range(self, 0, 1, "score")
        if self.threads is not None:
            check_range(self, 1, 1024, "threads")


def benchmark(
    detector: Path, recording: Path, config: LatencyConfig, *, names: Sequence[str] = (), device: str = "auto"
) -> dict[str, Any]:
    """Latency and throughput of a detector on a recording, batch 1.

    Backends take turns, a whole pass each: what one leaves in the caches, or threads that still wait for more, meet no
    window of another. What comes out is plain and can be written as JSON; ``table`` shows it.

    Args:
        detector: folder of a run, file of weights, or exported model (.onnx).
        recording: of events.
        config: what is measured.
        names: of ``BACKENDS``, those to compare; those that are usual and can be had if empty.
        device: cpu, cuda, or auto: where those of PyTorch compute.

    Raises:
        InputError: if one of them cannot be read or run, they do not fit together, or nothing happens in the recording.
    """
    if recording.is_dir() or recording == Path("-"):
        raise InputError(f"recording must be one file of events, and is a folder or a pipe: {recording}")
    machine = surroundings()
    with open_recording(recording, size_hw=config.size_hw, time_unit=config.time_unit) as opened:
        size_hw, threads = opened.size_hw, config.threads or os.cpu_count() or 1
        options: Any = {"any_size": config.any_size, "device": device, "score": config.score}
        backends, bound = find_backends(detector, names, size_hw=size_hw, threads=threads, **options)
        shown = backends[0].step.input
        assert shown is not None
        played: dict[str, list[Played]] = {backend.name: [] for backend in backends}
        for backend in progress(backends * config.passes, "measuring", unit="turn"):
            bound = bound and bound._replace(flop_per_s=max(bound.flop_per_s, bound.again()))
            play(opened, backend, config, windows=config.warm_up)
            played[backend.name].append(play(opened, backend, config, windows=config.windows))
    stages = STAGES if config.track else STAGES[:-1]
    return {
        **machine,
        "device": bound.device if bound else "cpu",
        "threads": threads,
        "detector": str(detector),
        "recording": str(recording),
        "sensor_hw": list(size_hw),
        "window_us": shown.window_us,
        "lateness_us": JITTER_US,
        "warm_up": config.warm_up,
        "passes": config.passes,
        "live": config.live,
        "track": config.track,
        "score": config.score,
        "any_size": config.any_size,
        "network_flop": bound and bound.flop,
        "best_float32_flop_per_s": bound and bound.flop_per_s,
        "peak_memory_bytes": peak_memory_bytes(),
        "backends": [figures(name, each, stages, shown.window_us, bound) for name, each in played.items()],
    }


def play(recording: Recording, backend: Backend, config: LatencyConfig, *, windows: int) -> Played:
    """Take a recording from its start through a backend, and look at the clock; boxes as of ``StreamingDetector``.

    Raises:
        InputError: if there are no events, or the detector does not take them.
    """
    step, now = backend.step, time.perf_counter
    framing = Framing(step, recording.size_hw, any_size=config.any_size)
    least, memory = thresholds(step.classes, (), config.score), None
    tracker = DataAssociation(recording.size_hw, USUAL) if config.track else None
    closed = islice(_windows(recording, framing.shown.window_us), windows)
    seconds, counts, pieces = [], [], []
    origin, asked = None, now()
    for window, is_new_piece in closed:
        read = begun = now()
        waited = 0.0
        if config.live:
            origin = read - window.end_us / 1e6 if origin is None else origin
            due = origin + window.end_us / 1e6
            waited = max(0.0, asked - due)
            time.sleep(max(0.0, due - read))
            begun = now()
        frames = framing.frames(window, window.events)
        framed = now()
        backend.forward_ended_s.clear()
        (found,), memory = step(frames, memory)
        inferred = backend.forward_ended_s[-1] if backend.forward_ended_s else now()
        found = chosen(found, least)
        boxes = event_rows(found._replace(xyxy=found.xyxy * framing.scale), window.end_us)
        boxed = now()
        if tracker is not None:
            tracker.push(window.end_us, best_of_place(boxes, MOST_OVERLAP), window.events)
        tracked = now()
        seconds.append((read - asked, framed - begun, inferred - framed, boxed - inferred, waited, tracked - boxed))
        counts.append((len(window.events), len(boxes)))
        pieces.append(is_new_piece)
        asked = now()
    if not seconds:
        raise InputError(f"{recording.path} must have events, and has none. Does seqdet inspect show any?")
    table, (events, found_boxes) = np.array(seconds), np.sum(counts, axis=0)
    table[:, 0] = shared(table[:, 0], np.cumsum(pieces), np.array(counts)[:, 0])
    table[:, TOTAL] += table[:, :TOTAL].sum(axis=1)
    return Played(table, int(events), int(found_boxes))


def shared(seconds: np.ndarray, pieces: np.ndarray, events: np.ndarray) -> np.ndarray:
    """The seconds of reading, (N,), of windows that came out of one piece of a file, by their events.

    Args:
        seconds: that each window was waited for.
        pieces: (N,) the number of the piece that closed it.
        events: (N,) in each window; a window without any counts as one event.
    """
    weights = events + 1
    return (np.bincount(pieces, seconds) / np.maximum(np.bincount(pieces, weights), 1))[pieces] * weights


def _windows(recording: Recording, length_us: int) -> Iterator[tuple[Window, bool]]:
    """Those that ``StreamingDetector`` looks at, and whether a piece of the recording was read for it."""
    stream, has_begun = None, False
    for piece in recording.chunks():
        if stream is None and len(piece):
            start_us = (int(piece.t[0]) - JITTER_US) // length_us * length_us
            stream = WindowStream(duration_us=length_us, start_us=start_us)
        is_new = True
        for window in stream.push(piece) if stream else ():
            has_begun |= len(window.events) > 0
            if has_begun:
                yield window, is_new
                is_new = False
    for window in stream.close() if stream else ():
        yield window, False
