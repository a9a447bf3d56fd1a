"""What can run a detector to be measured: PyTorch in its precisions, and ONNX Runtime; and what bounds them."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import InputError, check_choice
from ..config import DECODING, InputConfig
from ..events.array import Events
from ..events.slicing import Window
from .loading import load_runner
from .runners import OnnxRunner, Runner
from .streaming import Framing

if TYPE_CHECKING:
    import torch

    from .torch_runner import TorchRunner

log = logging.getLogger(__name__)
BACKENDS = ("eager", "eager_bfloat16", "compiled", "onnx")
COMPARED = ("eager", "eager_bfloat16", "onnx")
EXPORTERS = ("onnx", "onnxruntime", "onnxscript")
"""Packages that it takes to export a detector and to run it then."""
SIDE = 2048
"""Of the square matrices that the bound is measured with."""
CHANNELS = 128
FRAME = 128
"""Of the convolution that it is measured with; rows and columns."""


@dataclass(frozen=True)
class Backend:
    """A detector, ready to run. forward_ended_s: where it writes the time at which its network is done, if it can."""

    name: str
    runner: Runner
    forward_ended_s: list[float] = field(default_factory=list)


class Bound(NamedTuple):
    """The work of the network for one window, and the best rate of PyTorch in float32 where it computes.

    again: measures that rate, since a machine that others use is slower now and then.
    """

    flop: float
    flop_per_s: float
    device: str
    again: Callable[[], float]


def find_backends(
    path: Path,
    names: Sequence[str],
    *,
    size_hw: tuple[int, int],
    score: float,
    threads: int,
    any_size: bool,
    device: str,
) -> tuple[list[Backend], Bound | None]:
    """The backends of those names, and what bounds them; None for an exported model, whose work nobody counts.

    Args:
        path: folder of a run, file of weights, or exported model (.onnx).
        names: of ``BACKENDS``; those that are usual and can be had if empty.
        size_hw: height and width of the sensor in pixels.
        score: least score of a detection.
        threads: of PyTorch, for this process from now on, and of ONNX Runtime.
        any_size: take another sensor than that of the training.
        device: where PyTorch computes.

    Raises:
        InputError: if there is no such backend, it is not installed, or the detector does not fit the sensor.
    """
    for name in names:
        check_choice(name, BACKENDS, "backends")
    if path.suffix == ".onnx":
        if set(names) - {"onnx"}:
            raise InputError(f"backends must be onnx alone for {path}; name the folder of the run to compare others.")
        runner = OnnxRunner(path, threads)
        silent_frame(runner, path, size_hw, any_size=any_size)
        return [Backend("onnx", runner)], None
    missing = [each for each in EXPORTERS if importlib.util.find_spec(each) is None]
    if missing and (not names or "onnx" in names):
        advice = f"{', '.join(missing)} must be installed to measure ONNX Runtime: pip install 'seqdet[onnx]'"
        if names:
            raise InputError(advice)
        log.info(advice)
    loaded: Any = load_runner(path, score=min(DECODING.score, score), device=device)
    frame = silent_frame(loaded, path, size_hw, any_size=any_size)
    names = names or _usual(loaded, can_export=not missing)
    return _of_torch(loaded, list(dict.fromkeys(names)), frame, threads)


def _usual(runner: TorchRunner, *, can_export: bool) -> list[str]:
    """Names of the backends that make sense here."""
    from ..devices import choose_precision

    left_out = set() if can_export else {"onnx"}
    if choose_precision("auto", next(runner.detector.parameters()).device.type) != "bfloat16":
        left_out.add("eager_bfloat16")
        log.info("eager_bfloat16 is left out: this machine is not faster in it. --backends eager_bfloat16 measures it.")
    return [name for name in COMPARED if name not in left_out]


def silent_frame(runner: Runner, path: Path, size_hw: tuple[int, int], *, any_size: bool) -> np.ndarray:
    """The frame (1, C, H, W) of a window without events, as the detector takes it.

    Args:
        runner: the detector.
        path: of it, for the message.
        size_hw: height and width of the sensor in pixels.
        any_size: take another sensor than that of the training.

    Raises:
        InputError: if the detector takes no events, or no such sensor.
    """
    if not isinstance(runner.input, InputConfig):
        raise InputError(f"{path} must hold a detector for events, got one for pictures of {runner.channels} channels.")
    framing = Framing(runner, size_hw, any_size=any_size)
    return framing.frames(Window(0, framing.shown.window_us, Events.empty()), Events.empty())


def _of_torch(runner: TorchRunner, names: list[str], frame: np.ndarray, threads: int) -> tuple[list[Backend], Bound]:
    import torch

    from ..models.measuring import measure
    from .torch_runner import TorchRunner

    torch.set_num_threads(threads)
    detector = runner.detector
    device = next(runner.detector.parameters()).device
    flop = measure(detector, (frame.shape[2], frame.shape[3])).flop
    exported = _exported(runner, frame.shape[2:], threads) if "onnx" in names else None
    ended_s: list[float] = []

    def network_is_done(*_: Any) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        ended_s.append(time.perf_counter())

    detector.register_forward_hook(network_is_done)
    made: dict[str, Any] = {"eager": {}, "eager_bfloat16": {"precision": "bfloat16"}, "compiled": {"compiled": True}}
    every = {n: Backend(n, TorchRunner(detector, runner.score, **made[n]), ended_s) for n in names if n in made}
    if exported is not None:
        every["onnx"] = exported
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return [every[name] for name in names], Bound(flop, 0.0, where, partial(_best_rate, device))


def _best_rate(device: torch.device) -> float:
    """FLOP/s of a matrix product or of a 3x3 convolution, whichever is faster: they are of different libraries."""
    import torch

    first, second = torch.randn(2, SIDE, SIDE, device=device)
    frames = torch.randn(1, CHANNELS, FRAME + 2, FRAME + 2, device=device)
    weights = torch.randn(CHANNELS, CHANNELS, 3, 3, device=device)
    works = (
        (2 * SIDE**3, lambda: torch.mm(first, second)),
        (2 * 9 * CHANNELS**2 * FRAME**2, lambda: torch.conv2d(frames, weights)),
    )
    rates = []
    for flop, work in works * 6:
        start = time.perf_counter()
        work().flatten()[0].item()
        rates.append(flop / (time.perf_counter() - start))
    return max(rates)


def _exported(runner: TorchRunner, size_hw: tuple[int, ...], threads: int) -> Backend:
    """The detector as ``seqdet export`` writes it, for frames of a size."""
    from .export import export

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(runner.detector, path, size_hw=(size_hw[0], size_hw[1]), score=runner.score)
        return Backend("onnx", OnnxRunner(path, threads))
