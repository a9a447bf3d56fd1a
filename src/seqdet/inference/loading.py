"""A trained detector, ready to run: of a run, of a file of weights, or exported. Torch only for the first two."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ..allowing import allow as allow_functions
from ..allowing import recall
from ..checks import InputError, proposed
from ..config import DECODING
from ..runs import RunFolder
from .runners import Runner

log = logging.getLogger(__name__)


def load_runner(
    path: Path | str, *, score: float = DECODING.score, device: str = "auto", allow: Sequence[str] = ()
) -> Runner:
    """What ``path`` names, to take windows through.

    Args:
        path: folder of a run, file of weights that a run or ``save_detector`` wrote, or exported model (.onnx).
        score: least score of a detection; an exported model has its own.
        device: cpu, cuda, or auto for a GPU if there is one. Exported models run on the CPU.
        allow: functions of your own that make the frames, ``module:function`` or ``file.py:function``. Those that the
            file names are called only if they are here, or its run was trained with them by this user.

    Raises:
        InputError: if there is no detector, or it is damaged.
    """
    path = Path(path)
    allow_functions(*allow)
    run = path if path.is_dir() else path.parent
    recall(RunFolder(run.parent if run.name == RunFolder(run).checkpoints.name else run).config)
    if path.suffix == ".onnx":
        from .runners import OnnxRunner

        runner = OnnxRunner(path)
        if runner.score > score:
            log.warning("%s was exported to find nothing of a score below %g.", path, runner.score)
        return runner
    from ..devices import choose_device
    from ..models.weights import load_detector
    from .torch_runner import TorchRunner

    folder = RunFolder(path)
    if path.is_dir():
        folder.check_holds_run()
        if not folder.detector.is_file():
            onward = proposed("train", "--resume", path)
            raise InputError(f"{path} must hold a finished training. Go on with: {onward}")
    detector = load_detector(folder.detector if path.is_dir() else path, device=choose_device(device))
    return TorchRunner(detector, score)
