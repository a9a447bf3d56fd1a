"""Detectors as files that run without seqdet, written only if they compute what the detector does."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torchvision.ops import nms

from ..checks import InputError, check_choice, check_size
from ..config import DECODING, PictureInput
from ..config_files import read_config, to_dict
from ..events.time_units import Unit
from ..files import make_folder, replacing
from ..models.detector import FULL_SCALE, Detector
from ..ops.boxes import candidate_boxes, finished, places_and_labels
from ..runs import RunFolder
from .eight_bits import quantized
from .loading import load_runner
from .parity import WINDOWS, check_eight_bits, check_parity
from .runners import FORMAT, FOUND, OnnxRunner, frame_type, sealed
from .sample_frames import frames_of_recording, frames_of_run, tiled
from .torch_runner import TorchRunner

Suppress = Callable[[Tensor, Tensor, float], Tensor]
OPSET = 18
IR_VERSION = 8
"""Of operations and of the file; runtimes know both since 2023."""
Precision = Literal["float32", "float16", "int8"]
FramesAs = Literal["auto", "float32"]
"""The type of the frames in a file: that of the detector, or float32, as all that comes out then, which some runners
have alone."""
TOLERANCES = {"float32": 1e-4, "float16": 3e-2}
"""Largest difference of an output, as a share of the largest number in it."""
CALIBRATION_FRAMES = 200


def survivors(xyxy: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Which boxes non-maximum suppression within a frame and class leaves: (F, M) bool.

    Args:
        xyxy: (F, M, 4) boxes within the frame.
        scores: (F, K, M), of every box in its own class, and 0 in the others; 0 in all: it does not count.
        iou: a box that overlaps a better one of its class by more than this goes.
    """
    best, label = scores.max(dim=1)
    group = label + scores.shape[1] * torch.arange(scores.shape[0])[:, None]
    apart = xyxy.double() + (group * (xyxy.max() + 1).double())[..., None]
    kept = nms(apart.flatten(0, 1), best.double().flatten(), iou)
    return torch.zeros(best.numel(), dtype=torch.bool).index_fill(0, kept, True).view_as(best) & (best > 0)


marked_survivors = torch.library.custom_op("seqdet::survivors", survivors, mutates_args=())
"""The same as one operation, for which ``onnx_survivors`` stands in a file."""
marked_survivors.register_fake(lambda xyxy, scores, iou: xyxy.new_empty(xyxy.shape[:2], dtype=torch.bool))


def onnx_survivors(xyxy: Any, scores: Any, iou: float) -> Any:
    """``survivors`` in the operations of ONNX, which keep frames and classes apart themselves; the same arguments."""
    op: Any = import_module("onnxscript").opset18

    def numbers(*values: int) -> Any:
        return op.Constant(value_ints=values)

    most = numbers(DECODING.candidates)
    threshold = op.Constant(value_floats=[iou])
    kept = op.NonMaxSuppression(xyxy, scores, most, threshold, op.Constant(value_floats=[0.0]))  # frame, class, box
    places = op.Gather(kept, numbers(0, 2), axis=1)
    nothing = op.Expand(numbers(0), op.Shape(xyxy, start=0, end=2))
    return op.Cast(op.ScatterND(nothing, places, op.Expand(numbers(1), op.Shape(places, start=0, end=1))), to=9)


class DecodingDetector(nn.Module):
    """Frames and memory in, detections and memory out.

    Equal to ``Detector.decode``, but every frame has N rows, ``DECODING.most`` or as many as there are pairs of place
    and class: the first ``counts`` are detections, the others zeros.

    Args:
        detector: in evaluation mode, on the CPU.
        score: least score of a detection, above 0.
        suppress: ``survivors`` or ``marked_survivors``.
        in_floats: frames of whole numbers come as the same numbers in float32, and so go labels and counts.

    Shapes:
        frames (B, C, H, W); state, each (B, channels, h, w) float32, zeros for a lane that starts;
        xyxy (B, N, 4) float32, labels (B, N) int64, scores (B, N) float32, counts (B,) int64, the state after,
        and what was decoded: ``Head.outputs``, (B, ...) float32.
    """

    def __init__(self, detector: Detector, score: float, suppress: Suppress, *, in_floats: bool = False) -> None:
        super().__init__()
        self.detector = detector
        self.score = score
        self.suppress = suppress
        self.in_floats = in_floats
        self.divisor = _scale(detector) if in_floats else None

    def forward(self, frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        if self.divisor is not None:  # which the detector does where it sees that they are whole numbers
            frames = frames / self.divisor
        outputs, after = self.detector(frames[None], state)
        head = self.detector.head
        every = head.scores(outputs)
        classes = every.shape[2]
        count = min(DECODING.candidates, every.shape[1] * classes)
        best, pairs = every.flatten(1).topk(count, dim=1)
        places, labels = places_and_labels(pairs, classes)
        boxes = head.boxes_at(outputs, places)
        found = candidate_boxes(boxes, labels, best, size_hw=outputs.size_hw, score=self.score)
        kept = found.is_box
        if head.suppresses:
            by_class = found.scores[:, None] * (found.labels[:, None] == torch.arange(classes)[:, None])
            kept = self.suppress(found.xyxy, by_class, head.decoding.iou)
        ranks, stays = (kept * torch.arange(count, 0, -1)).topk(min(DECODING.most, count), dim=1)
        is_found = ranks > 0
        xyxy, labels, scores = finished(
            found,
            places,
            stays,
            is_found,
            size_hw=outputs.size_hw,
            vote=head.decoding.vote,
            final_scores=partial(head.final_scores, outputs),
        )
        counts = is_found.sum(dim=1)
        is_found = torch.arange(is_found.shape[1]) < counts[:, None]
        memory = (each.float() for each in after)
        raw = (getattr(outputs, name) for name in head.outputs)
        said = xyxy * is_found[..., None], labels * is_found, scores * is_found, counts
        return (*(each.float() if self.in_floats else each for each in said), *memory, *raw)


def traced(
    detector: Detector, size_hw: tuple[int, int], score: float, suppress: Suppress, *, in_floats: bool = False
) -> ExportedProgram:
    """``DecodingDetector`` of a detector on the CPU, for frames of a size on any number of lanes.

    Args:
        detector, score, suppress, in_floats: as for ``DecodingDetector``.
        size_hw: height and width of the frames.
    """
    dtype = torch.float32 if in_floats else _frame_type(detector)
    frames = torch.zeros(2, detector.channels, *size_hw, dtype=dtype)
    with torch.no_grad():
        state = tuple(each.float() for each in detector(frames[None])[1])
        lanes = {0: Dim("lanes")}
        shapes = (lanes, (lanes,) * len(state)) if state else (lanes,)
        module = DecodingDetector(detector, score, suppress, in_floats=in_floats)
        return torch.export.export(module, (frames, *state), dynamic_shapes=shapes)


def onnx_model(
    detector: Detector, size_hw: tuple[int, int], *, score: float, precision: str, in_floats: bool = False
) -> Any:
    """``DecodingDetector`` of a detector on the CPU as an ``onnx.ModelProto`` with what ``OnnxRunner`` has to know.

    Args:
        detector: in evaluation mode.
        size_hw: height and width of the frames.
        score: least score of a detection.
        precision: "float32" or "float16" layers; memory, decoding and all inputs and outputs are float32 either way.
        in_floats: as for ``DecodingDetector``.

    Raises:
        InputError: if a library is missing.
    """
    try:
        import onnx
        import onnxscript
    except ImportError as error:
        raise InputError(f"{error.name} must be installed to export: pip install 'seqdet[onnx]'") from error
    assert onnxscript.__name__  # torch needs it
    layers = copy.deepcopy(detector).half() if precision == "float16" else detector
    program = traced(layers, size_hw, score, marked_survivors, in_floats=in_floats)
    memory = [f"state_{n}" for n in range(len(program.graph_signature.user_inputs) - 1)]
    made = torch.onnx.export(
        program,
        input_names=["frames", *memory],
        output_names=[*FOUND, *(f"{name}_after" for name in memory), *detector.head.outputs],
        opset_version=OPSET,
        custom_translation_table={torch.ops.seqdet.survivors.default: onnx_survivors},
        verbose=False,
    )
    assert made is not None
    model = made.model_proto
    model.ir_version = IR_VERSION
    for node in model.graph.node:
        del node.metadata_props[:]  # lines of source files
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "lanes"
    onnx.helper.set_model_props(model, _facts(detector, score, precision))
    return model


def _facts(detector: Detector, score: float, precision: str) -> dict[str, str]:
    """The metadata of the file."""
    scale = _scale(detector)
    return {
        "format": FORMAT,
        "seqdet": version("seqdet"),
        "classes": json.dumps(detector.classes),
        "input": json.dumps(detector.input and to_dict(detector.input)),
        "dtype": frame_type(detector.input).name,
        "normalisation": f"inside: divided by {scale}" if scale else "none",
        "score": repr(score),
        "precision": precision,
    }


def _scale(detector: Detector) -> int | None:
    """What frames are divided by inside."""
    return FULL_SCALE.get(_frame_type(detector)) if detector.backbone.scaled else None


def _frame_type(detector: Detector) -> torch.dtype:
    return torch.from_numpy(np.empty(0, frame_type(detector.input))).dtype


def export(
    detector: Detector,
    path: Path | str,
    *,
    size_hw: tuple[int, int] | None = None,
    score: float = DECODING.score,
    precision: Precision = "float32",
    calibration: Iterable[np.ndarray] = (),
    program: Path | str | None = None,
    frames_as: FramesAs = "auto",
) -> None:
    """Write a detector as an ONNX file, which ``OnnxRunner`` runs: one window, any number of lanes, one size of frames.

    Inputs are ``frames`` and ``state_0``, ``state_1``, ...; outputs those of ``DecodingDetector``, the memory after as
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
        frames_as: "float32": the file takes the same numbers in float32, which it divides itself, and gives labels and
            counts in float32 too, for runners that know no other type; ``OnnxRunner`` is as ever.

    Raises:
        InputError: if the options do not fit together, a file does not compute what the detector does or cannot be
            written, or a library is missing.
    """
    check_choice(precision, (*TOLERANCES, "int8"), "precision")
    check_choice(frames_as, get_args(FramesAs), "frames_as")
    if not 0 < score <= 1:
        raise InputError(f"score must be above 0 and at most 1, got {score}.")
    if precision != "float32" and not detector.head.suppresses:
        raise InputError(
            f"precision must be float32 for {detector.config.name or 'this detector'}, got {precision}: its head goes "
            "on with the places that rank best, and rounding changes which these are."
        )
    detector, size_hw = resized(detector, size_hw)
    for each in (path, program or path):
        make_folder(Path(each).parent)
    layers = "float32" if precision == "int8" else precision
    in_floats = frames_as == "float32"
    model = onnx_model(detector, size_hw, score=score, precision=layers, in_floats=in_floats)
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(sealed(model.SerializeToString()))
        runner = OnnxRunner(temporary)
        tolerance = TOLERANCES[layers]
        check_parity(runner.raw, detector, size_hw, score=score, tolerance=tolerance, name=str(path))
        if precision == "int8":
            sequences = iter(calibration)
            first = list(islice(sequences, 1))
            model = quantized(model, runner, chain(first, sequences), exact=detector.backbone.exact)
            for entry in model.metadata_props:
                entry.value = precision if entry.key == "precision" else entry.value
            temporary.write_bytes(sealed(model.SerializeToString()))
            exact = OnnxRunner(temporary, optimised=False)
            check_eight_bits(OnnxRunner(temporary), exact, runner, first[0][:WINDOWS], name=str(path))
        if program is not None:
            with replacing(Path(program)) as other:
                run = _program(detector, size_hw, score, other, in_floats=in_floats)
                check_parity(run, detector, size_hw, score=score, tolerance=tolerance, name=str(program))


def export_run(
    path: Path,
    out: Path,
    *,
    precision: Precision = "float32",
    size_hw: tuple[int, int] | None = None,
    score: float = DECODING.score,
    calibration: Path | None = None,
    time_unit: Unit | None = None,
    program: Path | None = None,
    frames_as: FramesAs = "auto",
) -> str:
    """Write the detector of a run, or of a file of weights, as ``export`` does; what was written, in words.

    Args:
        path: folder of the run, or file.
        out, precision, size_hw, score, program, frames_as: as for ``export``.
        calibration: recording whose first frames int8 is calibrated on; training frames of the run if None.
        time_unit: of the times of that recording, where it does not say.

    Raises:
        InputError: as ``export``; or if there is no detector, or nothing to calibrate on.
    """
    runner = load_runner(path, device="cpu")
    if not isinstance(runner, TorchRunner):
        raise InputError(f"{path} must be the folder of a run or its detector.safetensors; it is exported already.")
    config = read_config(RunFolder(path).config) if path.is_dir() else None
    if size_hw is None and runner.input is None and config is not None:
        size_hw = config.data.digits.height, config.data.digits.width
    detector, size_hw = resized(runner.detector, size_hw)
    frames: Iterable[np.ndarray] = ()
    if precision == "int8" and calibration is not None:
        frames = frames_of_recording(calibration, detector.input, CALIBRATION_FRAMES, time_unit=time_unit)
    elif precision == "int8" and config is not None:
        frames = (tiled(each, size_hw) for each in frames_of_run(config, CALIBRATION_FRAMES))
    elif precision == "int8":
        raise InputError("--calibration must name a recording for --int8: a file of weights has no training frames.")
    export(
        detector,
        out,
        size_hw=size_hw,
        score=score,
        precision=precision,
        calibration=frames,
        program=program,
        frames_as=frames_as,
    )
    height, width = size_hw
    taken = f"{width}x{height}{' in float32' if frames_as == 'float32' else ''}"
    return f"{out}: {out.stat().st_size / 1e6:.1f} MB, {precision}, frames of {taken}, any number of lanes."


def resized(detector: Detector, size_hw: tuple[int, int] | None) -> tuple[Detector, tuple[int, int]]:
    """A copy for frames of another size, on the CPU, and the size; a pixel shows as much of the sensor as before."""
    shown = detector.input
    detector = copy.deepcopy(detector).cpu().float().eval().requires_grad_(False)
    size_hw = size_hw or (shown and shown.frame_hw)
    if size_hw is None:
        raise InputError("--size-hw must be given, as the detector does not say which frames it was trained on.")
    check_size(size_hw, "size_hw")
    if isinstance(shown, PictureInput):
        detector.input = replace(shown, frame_hw=size_hw)
    elif shown is not None:
        height, width = (
            round(size * sensor / frame)
            for size, sensor, frame in zip(size_hw, shown.sensor_hw, shown.frame_hw, strict=True)
        )
        detector.input = replace(shown, sensor_hw=(height, width), frame_hw=size_hw)
    return detector, size_hw


def _program(detector: Detector, size_hw: tuple[int, int], score: float, path: Path, *, in_floats: bool) -> Any:
    """Write the program; a function that runs what was written, as ``check_parity`` takes it."""
    with warnings.catch_warnings():  # torchvision 0.30 calls what torch 2.15 has renamed
        warnings.filterwarnings("ignore", "`create_unbacked_symint` is deprecated", FutureWarning)
        content = io.BytesIO()  # on a full disk, torch's own writer ends the process
        torch.export.save(traced(detector, size_hw, score, survivors, in_floats=in_floats), content)
    path.write_bytes(content.getbuffer())
    module = torch.export.load(path).module()
    dtype = np.float32 if in_floats else frame_type(detector.input)
    return lambda frames, memory: [
        each.numpy() for each in module(*map(torch.from_numpy, (frames.astype(dtype, copy=False), *memory)))
    ]
