"""The command that makes detectors run elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from ..checks import InputError
from ..config import DECODING
from ..files import check_output
from ..runs import RunFolder

log = logging.getLogger("seqdet")


def export_model(
    path: Path,
    out: Path | None = None,
    int8: bool = False,
    fp16: bool = False,
    program: Path | None = None,
    size_hw: tuple[int, int] | None = None,
    score: float = DECODING.score,
    calibration: Path | None = None,
    time_unit: Literal["s", "ms", "us", "ns"] | None = None,
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
        calibration: recording to quantise by, in place of training frames.
        time_unit: of the times of that recording, where it does not say; guessed if not given.
        overwrite: replace files that are there already.
    """
    from ..inference.exporting.export import export_run

    if out is None or (int8 and fp16):
        raise InputError("--out must name the file, and at most one of --int8 and --fp16 be given.")
    if out.suffix != ".onnx":
        raise InputError(f"--out must end in .onnx, got {out}.")
    for each in filter(None, (out, program)):
        check_output(each, inputs=[path, RunFolder(path).detector, calibration], overwrite=overwrite)
    options: Any = {"size_hw": size_hw, "score": score, "program": program}
    options |= {"calibration": calibration, "time_unit": time_unit}
    log.info(export_run(path, out, precision="int8" if int8 else "float16" if fp16 else "float32", **options))
