"""How long a detector takes from the close of a window to its boxes, stage by stage. Without torch."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError
from ..config import LatencyConfig
from ..data.detections import Detections, best_of_place
from ..events.array import Events
from ..events.files import Recording, open_recording
from ..events.sieve import JITTER_US
from ..events.slicing import Window
from ..progress import progress
from .backends import Backend, Bound, find_backends
from .runners import RunnerState, events_of
from .streaming import StreamConfig, StreamingDetector
from .tracking import MOST_OVERLAP, usual_tracker

STAGES = ("decode", "tensor", "network", "boxes", "event to box", "track")
"""``decode``: all events of a window are read and cut once it has closed, as if they came in one packet; a piece of a
file may hold many windows, which share its time by their events. ``boxes``: decoding, suppression and rows; an exported
detector does the first two in ``network``. ``event to box`` is the sum of these, from the close of a window to its
boxes, and how long the window waited for those before it. ``track``: identities, with the events of the window."""
TOTAL = STAGES.index("event to box")
PERCENTILES = (50, 95, 99)
PACKAGES = ("seqdet", "numpy", "numba", "torch", "onnxruntime")
LEGEND = """\
event to box: decode + tensor + network + boxes, once the window has closed; all its events are decoded then, as if they
came in one packet. A live stream closes windows {lateness_ms:g} ms late, as events may be: add that. With
--live a window that waits until those before it are done is counted from its end on.
boxes: decoding, suppression and rows; onnx does the first two in its graph, in network.
x real time: with all stages. of bound: least time of the network, over its p50; the bound is the faster rate in float32
of a 2048 x 2048 matrix product and a 3x3 convolution of 128 channels, in PyTorch."""

try:
    import resource
except ImportError:  # on Windows
    resource = None


class PassTimes(NamedTuple):
    """One pass of N windows: (N, 6) seconds of each of ``STAGES``, and what was in them."""

    seconds: np.ndarray
    events: int
    boxes: int


def surroundings() -> dict[str, Any]:
    """The hardware and the versions."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"processor": _processor(), "cores": os.cpu_count(), "load": load, "versions": versions}


def peak_memory_bytes() -> int | None:
    """The most memory that this process had so far, of all that it did; None where the system does not say."""
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def figures(
    name: str, passes: Sequence[PassTimes], stages: Sequence[str], window_us: int, bound: Bound | None
) -> dict[str, Any]:
    """The figures of a backend; throughput is that of everything, tracking too.

    Args:
        name: of the backend.
        passes: what was measured.
        stages: those of ``STAGES`` to tell, from the first on.
        window_us: length of a window.
        bound: of the network, if it is known.
    """
    seconds = np.concatenate([each.seconds for each in passes])
    windows = len(seconds)
    events = sum(each.events for each in passes)
    work_s = float(np.delete(seconds, TOTAL, axis=1).sum())
    ms = {
        stage: {f"p{n}": float(np.percentile(each, n)) for n in PERCENTILES}
        for stage, each in zip(stages, seconds.T[: len(stages)] * 1e3, strict=True)
    }
    return {
        "name": name,
        "windows": windows,
        "events": events,
        "boxes_per_window": sum(each.boxes for each in passes) / windows,
        "ms": ms,
        "windows_per_s": windows / work_s,
        "events_per_s": events / work_s,
        "real_time_factor": windows * window_us / 1e6 / work_s,
        "share_of_bound": bound and bound.flop / bound.flop_per_s / (ms["network"]["p50"] / 1e3),
    }


def table(report: Mapping[str, Any]) -> list[str]:
    """What ``benchmark`` measured, in lines."""
    height, width = report["sensor_hw"]
    versions = ", ".join(f"{name} {each}" for name, each in report["versions"].items())
    load = "" if report["load"] is None else f", load {report['load']:.1f} before"
    device = "" if report["device"] == "cpu" else f"{report['device']} for PyTorch, "
    first = report["backends"][0]
    lines = [
        f"{report['processor']}, {report['cores']} cores, {device}{report['threads']} threads{load}",
        versions,
        f"{report['recording']}: {width}x{height}, windows of {report['window_us'] / 1e3:g} ms, "
        f"{first['events'] / first['windows']:,.0f} events each; batch 1, {first['windows']} windows a backend, "
        f"{'each when it is due' if report['live'] else 'one right after the other'}",
    ]
    if report["network_flop"]:
        flop, rate = report["network_flop"], report["best_float32_flop_per_s"]
        least_ms = flop / rate * 1e3
        lines.append(
            f"network: {flop / 1e9:.3f} GFLOP a window; bound: {rate / 1e9:.0f} GFLOP/s, so at least {least_ms:.2f} ms"
        )
    stages = list(first["ms"])
    lines += ["", f"{'ms':>14} {'':>3} " + " ".join(f"{stage:>{max(len(stage), 8)}}" for stage in stages)]
    for row in report["backends"]:
        for n, percentile in enumerate(next(iter(row["ms"].values()))):
            values = " ".join(f"{each[percentile]:>{max(len(stage), 8)}.2f}" for stage, each in row["ms"].items())
            lines.append(f"{'' if n else row['name']:>14} {percentile:>3} {values}")
    lines += ["", f"{'':>14} windows/s  events/s  x real time  boxes/window  of bound"]
    for row in report["backends"]:
        share = row["share_of_bound"]
        lines.append(
            f"{row['name']:>14} {row['windows_per_s']:>9.1f} {row['events_per_s'] / 1e6:>8.2f}M "
            f"{row['real_time_factor']:>12.2f} {row['boxes_per_window']:>13.1f} "
            f"{'-' if share is None else f'{share:.2f}':>9}"
        )
    memory = report["peak_memory_bytes"]
    told = "not known here" if memory is None else f"{memory / 2**20:,.0f} MiB, all of the process"
    legend = LEGEND.format(lateness_ms=report["lateness_us"] / 1e3)
    return [*lines, f"peak memory: {told}", "", *legend.split("\n")]


def _processor() -> str:
    """Its name, as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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
        size_hw = opened.size_hw
        threads = config.threads or os.cpu_count() or 1
        backends, bound = find_backends(
            detector,
            names,
            size_hw=size_hw,
            score=config.score,
            threads=threads,
            any_size=config.any_size,
            device=device,
        )
        shown = events_of(backends[0].runner)
        played: dict[str, list[PassTimes]] = {backend.name: [] for backend in backends}
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


def play(recording: Recording, backend: Backend, config: LatencyConfig, *, windows: int) -> PassTimes:
    """Take a recording from its start through a backend, as ``StreamingDetector`` does, and look at the clock.

    Args:
        recording: of events.
        backend: the detector.
        config: how.
        windows: that are taken at most.

    Raises:
        InputError: if there are no events, or the detector does not take them.
    """
    watch = _Stopwatch(backend, is_live=config.live)
    stream_config = StreamConfig(score=config.score, any_size=config.any_size)
    stream = StreamingDetector(watch, stream_config, sensor_hw=recording.size_hw, on_window=watch.take_up)
    tracker = usual_tracker(size_hw=recording.size_hw) if config.track else None
    rows = []
    pieces = []
    events = []
    boxes = 0
    watch.asked_s = time.perf_counter()
    for found in islice(stream.play(watch.counted(recording.chunks())), windows):
        boxed_s = time.perf_counter()
        if tracker is not None:
            tracker.push(found.end_us, best_of_place(found.boxes, MOST_OVERLAP), found.events)
        tracked_s = time.perf_counter()
        rows.append((*watch.stages_s(), boxed_s - watch.inferred_s, watch.waited_s, tracked_s - boxed_s))
        pieces.append(watch.pieces)
        events.append(len(found.events))
        boxes += len(found.boxes)
        watch.asked_s = time.perf_counter()
    if not rows:
        raise InputError(f"{recording.path} must have events, and has none. Does seqdet inspect show any?")
    seconds = np.array(rows)
    seconds[:, 0] = shared(seconds[:, 0], np.array(pieces), np.array(events))
    seconds[:, TOTAL] += seconds[:, :TOTAL].sum(axis=1)
    return PassTimes(seconds, sum(events), boxes)


class _Stopwatch:
    """A runner that notes when a window was closed, taken up, framed and through the network, as ``perf_counter``."""

    def __init__(self, backend: Backend, *, is_live: bool) -> None:
        runner = backend.runner
        self.classes = runner.classes
        self.input = runner.input
        self.channels = runner.channels
        self.dtype = runner.dtype
        self.size_hw = runner.size_hw
        self._backend = backend
        self._is_live = is_live
        self._origin_s: float | None = None
        self.pieces = 0
        self.asked_s = self.closed_s = self.begun_s = self.framed_s = self.inferred_s = self.waited_s = 0.0

    def counted(self, chunks: Iterable[Events]) -> Iterator[Events]:
        """The same, while ``pieces`` says how many were read."""
        for piece in chunks:
            self.pieces += 1
            yield piece

    def take_up(self, window: Window) -> None:
        """A window is closed; live it is taken up when it is due, and not before those before it are done."""
        self.closed_s = self.begun_s = time.perf_counter()
        if self._is_live:
            if self._origin_s is None:
                self._origin_s = self.closed_s - window.end_us / 1e6
            due_s = self._origin_s + window.end_us / 1e6
            self.waited_s = max(0.0, self.asked_s - due_s)
            time.sleep(max(0.0, due_s - self.closed_s))
            self.begun_s = time.perf_counter()

    def __call__(self, frames: np.ndarray, state: RunnerState | None = None) -> tuple[list[Detections], RunnerState]:
        self.framed_s = time.perf_counter()
        ended_s = self._backend.forward_ended_s
        ended_s.clear()
        result = self._backend.runner(frames, state)
        self.inferred_s = ended_s[-1] if ended_s else time.perf_counter()
        return result

    def stages_s(self) -> tuple[float, float, float]:
        """Seconds of reading, framing and the network."""
        return self.closed_s - self.asked_s, self.framed_s - self.begun_s, self.inferred_s - self.framed_s


def shared(seconds: np.ndarray, pieces: np.ndarray, events: np.ndarray) -> np.ndarray:
    """The seconds of reading, (N,), of windows that came out of one piece of a file, by their events.

    Args:
        seconds: that each window was waited for.
        pieces: (N,) the number of the piece that closed it.
        events: (N,) in each window; a window without any counts as one event.
    """
    weights = events + 1
    return (np.bincount(pieces, seconds) / np.maximum(np.bincount(pieces, weights), 1))[pieces] * weights
