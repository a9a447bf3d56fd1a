"""Exported detectors with convolutions of eight bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from ..checks import InputError
from ..progress import Progress
from .runners import OnnxRunner


def quantized(model: Any, runner: OnnxRunner, sequences: Iterable[np.ndarray], *, exact: int) -> Any:
    """The ONNX model with the inputs, outputs and weights of its convolutions but the first in eight bits.

    The memory stays float32. Every number gets the range that it has over the sequences (static quantisation after
    training; for the arithmetic see Jacob et al., arXiv 1712.05877). Weights have seven bits: x86 processors without
    VNNI add two products of input and weight in sixteen bits, which cut off what eight bits give.

    Args:
        model: in float32; it is changed.
        runner: runs the same.
        sequences: of frames (T, C, H, W), each played from silence.
        exact: so many convolutions at the input stay float32: the frames' few large counts would leave the many small
            ones no bits.

    Raises:
        InputError: if there are no frames, or they do not fit.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(model)  # its constants are folded, and shapes known, already
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        quantize_static(
            model,
            path,
            calibration_data_reader=cast(Any, _Inputs(runner, sequences)),
            per_channel=True,
            reduce_range=True,  # the seven bits
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[node.name for node in model.graph.node if node.op_type == "Conv"][:exact],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)


class _Inputs:
    """What goes into the graph, window after window: a ``CalibrationDataReader``."""

    def __init__(self, runner: OnnxRunner, sequences: Iterable[np.ndarray]) -> None:
        self._inputs = self._played(runner, sequences)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next, or None at the end."""
        return next(self._inputs, None)

    def _played(self, runner: OnnxRunner, sequences: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        with Progress("calibrating", unit="window") as shown:
            for frames in sequences:
                state = None
                for window in frames:
                    yield runner.inputs(window[None], state)
                    _, state = runner(window[None], state)
                    shown.update()
        if not shown.done:
            raise InputError("calibration must be frames as the detector will see them, got none.")
