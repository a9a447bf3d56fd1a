"""What a measurement of latency says: figures, the machine, and a table of both. Without torch."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .backends import Bound

try:
    import resource
except ImportError:  # on Windows
    resource = None

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


class Played(NamedTuple):
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
    name: str, passes: Sequence[Played], stages: Sequence[str], window_us: int, bound: Bound | None
) -> dict[str, Any]:
    """The figures of a backend; throughput is that of everything, tracking too."""
    seconds = np.concatenate([each.seconds for each in passes])
    windows, events = len(seconds), sum(each.events for each in passes)
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
