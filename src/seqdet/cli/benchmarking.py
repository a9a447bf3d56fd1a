"""The command that measures detectors at work."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from ..progress import log_lines

log = logging.getLogger("seqdet")


def benchmark_model(
    detector: Path,
    recording: Path,
    backends: str = "",
    threads: int | None = None,
    windows: int = 400,
    warm_up: int = 20,
    passes: int = 1,
    score: float = 0.3,
    track: bool = True,
    live: bool = False,
    any_size: bool = False,
    size_hw: tuple[int, int] | None = None,
    time_unit: Literal["s", "ms", "us", "ns"] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    json: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Measure how soon after a window its boxes are there, stage by stage, and how much faster than real time.

    Args:
        detector: folder of a run, detector.safetensors, or an exported model.onnx, which needs no torch.
        recording: file of events.
        backends: which to compare, between commas: eager, eager_bfloat16, compiled (takes minutes), onnx; all but
            compiled if not given, and bfloat16 only where it is faster. A model.onnx has onnx alone.
        threads: of PyTorch, and of ONNX Runtime; as many as there are cores if not given.
        windows: most windows of a pass, from the start of the recording.
        warm_up: windows that come before and are not measured.
        passes: how often each backend plays the windows, in turns.
        score: least score of a detection that is handed out and tracked.
        track: follow the objects.
        live: take up each window when it would come from a sensor, so that the machine rests in between as at work.
        any_size: take a sensor of another size than in training.
        size_hw: height and width of the sensor, for recordings that do not say.
        time_unit: of the times, for tables and HDF5 columns that do not say; guessed if not given.
        device: where PyTorch computes; ONNX Runtime stays on the CPU.
        json: write the figures to this file too.
        overwrite: replace a file that is there already.
    """
    from json import dumps

    from ..files import check_output, write_text
    from ..inference.latency import LatencyConfig, benchmark, table

    if json is not None:
        check_output(json, inputs=[recording], folders=[detector], suffix=".json", overwrite=overwrite)
    how: Any = {"track": track, "live": live, "any_size": any_size, "score": score}
    how |= {"size_hw": size_hw, "time_unit": time_unit}
    config = LatencyConfig(windows=windows, warm_up=warm_up, passes=passes, threads=threads, **how)
    names = [each for each in backends.split(",") if each]
    report = benchmark(detector, recording, config, names=names, device=device)
    log_lines(log, table(report))
    if json is not None:
        write_text(json, dumps(report, indent=2) + "\n")
        log.info("The figures are in %s.", json)
