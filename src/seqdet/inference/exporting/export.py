"""Detectors as files that run without seqdet, written only if they compute what the detector does."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ...checks import InputError, check_choice
from ...config_files import read_config
from ...events.time_units import Unit
from ...files import make_folder, replacing
from ...models.detector import Detector
from ...runs import RunFolder
from ..steps.eager import EagerStep
from ..steps.loading import load_step
from ..steps.onnx_step import OnnxStep, sealed
from .one_step import survivors
from .onnx_model import onnx_model, traced
from .parity import WINDOWS, check_eight_bits, check_parity
from .quantization import quantized
from .sample_frames import frames_of_recording, frames_of_run, tiled

Precision = Literal["float32", "float16", "int8"]
TOLERANCES = {"float32": 1e-4, "float16": 3e-2}
"""Largest difference of an output, as a share of the largest number in it."""
CALIBRATION_FRAMES = 200


def export(
    detector: Detector,
    path: Path | str,
    *,
    size_hw: tuple[int, int] | None = None,
    score: float = 0.05,
    precision: Precision = "float32",
    calibration: Iterable[np.ndarray] = (),
    program: Path | str | None = None,
) -> None:
    """Write one step of a detector as an ONNX file, which ``OnnxStep`` runs; any number of lanes, one size of frames.

    Inputs are ``frames`` and ``state_0``, ``state_1``, ...; outputs those of ``OneStep``, the memory after as
    ``state_0_after`` and so on. Scaling, padding, decoding and suppression are inside. Zeros are the memory of a lane
    that starts.

    Args:
        detector: stays as it is.
        path: of the file. What stood there stays until a file that was checked takes its place.
        size_hw: height and width of the frames; those that it was trained on if None.
        score: least score of a detection, above 0.
        precision: of the layers; "int8" quantises the convolutions, by ``quantized``.
        calibration: for int8, sequences of frames (T, C, H, W) such as it will see.
        program: file for the same, in float32, as a program that ``torch.export.load`` reads.

    Raises:
        InputError: if the options do not fit together, a file does not compute what the detector does or cannot be
            written, or a library is missing.
    """
    check_choice(precision, (*TOLERANCES, "int8"), "precision")
    if not 0 < score <= 1:
        raise InputError(f"score must be above 0 and at most 1, got {score}.")
    detector, size_hw = resized(detector, size_hw)
    for each in (path, program or path):
        make_folder(Path(each).parent)
    layers = "float32" if precision == "int8" else precision
    model = onnx_model(detector, size_hw, score=score, precision=layers)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(sealed(model.SerializeToString()))
        step = OnnxStep(temporary)
        check: Any = {"score": score, "tolerance": TOLERANCES[layers]}
        check_parity(step.raw, detector, size_hw, **check, name=str(path))
        if precision == "int8":
            sequences = iter(calibration)
            first = list(islice(sequences, 1))
            model = quantized(model, step, chain(first, sequences))
            for entry in model.metadata_props:
                entry.value = precision if entry.key == "precision" else entry.value
            temporary.write_bytes(sealed(model.SerializeToString()))
            exact = OnnxStep(temporary, optimised=False)
            check_eight_bits(OnnxStep(temporary), exact, step, first[0][:WINDOWS], name=str(path))
        if program is not None:
            with replacing(Path(program)) as other:
                check_parity(_program(detector, size_hw, score, other), detector, size_hw, **check, name=str(program))


def export_run(
    path: Path,
    out: Path,
    *,
    precision: Precision = "float32",
    size_hw: tuple[int, int] | None = None,
    score: float = 0.05,
    calibration: Path | None = None,
    time_unit: Unit | None = None,
    program: Path | None = None,
) -> str:
    """Write the detector of a run, or of a file of weights, as ``export`` does; what was written, in words.

    Args:
        path: folder of the run, or file.
        out, precision, size_hw, score, program: as for ``export``.
        calibration: recording whose first frames int8 is calibrated on; training frames of the run if None.
        time_unit: of the times of that recording, where it does not say.

    Raises:
        InputError: as ``export``; or if there is no detector, or nothing to calibrate on.
    """
    step = load_step(path, device="cpu")
    if not isinstance(step, EagerStep):
        raise InputError(f"{path} must be the folder of a run or its detector.safetensors; it is exported already.")
    config = read_config(RunFolder(path).config) if path.is_dir() else None
    if size_hw is None and step.input is None and config is not None:
        size_hw = config.data.digits.height, config.data.digits.width
    detector, size_hw = resized(step.detector, size_hw)
    frames: Iterable[np.ndarray] = ()
    if precision == "int8" and calibration is not None:
        frames = frames_of_recording(calibration, detector.input, CALIBRATION_FRAMES, time_unit=time_unit)
    elif precision == "int8" and config is not None:
        frames = (tiled(each, size_hw) for each in frames_of_run(config, CALIBRATION_FRAMES))
    elif precision == "int8":
        raise InputError("--calibration must name a recording for --int8: a file of weights has no training frames.")
    options: Any = {"precision": precision, "calibration": frames, "program": program}
    export(detector, out, size_hw=size_hw, score=score, **options)
    height, width = size_hw
    return f"{out}: {out.stat().st_size / 1e6:.1f} MB, {precision}, frames of {width}x{height}, any number of lanes."


def resized(detector: Detector, size_hw: tuple[int, int] | None) -> tuple[Detector, tuple[int, int]]:
    """A copy for frames of another size, on the CPU, and the size; a pixel shows as much of the sensor as before."""
    shown = detector.input
    detector = copy.deepcopy(detector).cpu().float().eval().requires_grad_(False)
    size_hw = size_hw or (shown and shown.frame_hw)
    if size_hw is None:
        raise InputError("--size-hw must be given, as the detector does not say which frames it was trained on.")
    if not 1 <= min(size_hw) <= max(size_hw) <= 65536:
        raise InputError(f"size_hw must be two numbers of 1 to 65536, got {size_hw}.")
    if shown is not None:
        height, width = (
            round(size * sensor / frame)
            for size, sensor, frame in zip(size_hw, shown.sensor_hw, shown.frame_hw, strict=True)
        )
        detector.input = replace(shown, sensor_hw=(height, width), frame_hw=size_hw)
    return detector, size_hw


def _program(detector: Detector, size_hw: tuple[int, int], score: float, path: Path) -> Any:
    """Write the program; a function that runs what was written, as ``check_parity`` takes it."""
    with warnings.catch_warnings():  # torchvision 0.30 calls what torch 2.15 has renamed
        warnings.filterwarnings("ignore", "`create_unbacked_symint` is deprecated", FutureWarning)
        content = io.BytesIO()  # on a full disk, torch's own writer ends the process
        torch.export.save(traced(detector, size_hw, score, survivors), content)
    path.write_bytes(content.getbuffer())
    module = torch.export.load(path).module()
    return lambda frames, memory: [each.numpy() for each in module(*map(torch.from_numpy, (frames, *memory)))]
