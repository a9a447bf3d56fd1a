"""A detector as an ONNX model in memory, and as a program of PyTorch."""

from __future__ import annotations

import copy
import json
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from ...checks import InputError
from ...config_files import to_dict
from ...models.detector import FULL_SCALE, Detector
from ..steps.onnx_step import FORMAT, FOUND
from ..steps.step import frame_type
from .one_step import OneStep, Suppress, marked_survivors, onnx_survivors

OPSET, IR_VERSION = 18, 8
"""Of operations and of the file; runtimes know both since 2023."""


def traced(detector: Detector, size_hw: tuple[int, int], score: float, suppress: Suppress) -> ExportedProgram:
    """``OneStep`` of a detector on the CPU, for frames of a size on any number of lanes."""
    frames = torch.zeros(2, detector.config.in_channels, *size_hw, dtype=_frame_type(detector))
    with torch.no_grad():
        state = tuple(each.float() for each in detector(frames[None])[1])
        lanes = {0: Dim("lanes")}
        shapes = lanes, (lanes,) * len(state)
        return torch.export.export(OneStep(detector, score, suppress), (frames, *state), dynamic_shapes=shapes)


def onnx_model(detector: Detector, size_hw: tuple[int, int], *, score: float, precision: str) -> Any:
    """``OneStep`` of a detector on the CPU as an ``onnx.ModelProto`` with what ``OnnxStep`` has to know.

    Args:
        detector: in evaluation mode.
        size_hw: height and width of the frames.
        score: least score of a detection.
        precision: "float32" or "float16" layers; memory, decoding and all inputs and outputs are float32 either way.

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
    program = traced(layers, size_hw, score, marked_survivors)
    memory = [f"state_{n}" for n in range(len(program.graph_signature.user_inputs) - 1)]
    made = torch.onnx.export(
        program,
        input_names=["frames", *memory],
        output_names=[*FOUND, *(f"{name}_after" for name in memory), "deltas", "logits"],
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
    scale = FULL_SCALE.get(_frame_type(detector))
    return {
        "format": FORMAT,
        "seqdet": version("seqdet"),
        "classes": json.dumps(detector.config.classes),
        "input": json.dumps(detector.input and to_dict(detector.input)),
        "dtype": frame_type(detector.input).name,
        "normalisation": f"inside: divided by {scale}" if scale else "none",
        "score": repr(score),
        "precision": precision,
    }


def _frame_type(detector: Detector) -> torch.dtype:
    return torch.from_numpy(np.empty(0, frame_type(detector.input))).dtype
