"""A trained detector as a step: of a run, of a file of weights, or exported. Torch only for the first two."""

from __future__ import annotations

import logging
from pathlib import Path

from ..checks import InputError
from ..config import DatasetConfig, InputConfig
from ..config_files import read_config
from ..events.files import open_recording
from ..runs import RunFolder
from .steps import Step

log = logging.getLogger(__name__)


def load_step(path: Path | str, *, score: float = 0.05, device: str = "auto") -> Step:
    """What ``path`` names, to take windows through.

    Args:
        path: folder of a run, file of weights that a run or ``save_detector`` wrote, or exported model (.onnx).
        score: least score of a detection; an exported model has its own.
        device: cpu, cuda, or auto for a GPU if there is one. Exported models run on the CPU.

    Raises:
        InputError: if there is no detector, it is damaged, or does not say what its frames show.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        from .onnx_step import OnnxStep

        step = OnnxStep(path)
        if step.score > score:
            log.warning("%s was exported to find nothing of a score below %g.", path, step.score)
        return step
    from ..devices import choose_device
    from ..models.weights import load_detector
    from .eager import EagerStep

    folder = RunFolder(path)
    if path.is_dir():
        folder.check_holds_run()
        if not folder.detector.is_file():
            raise InputError(f"{path} must hold a finished training. Go on with: seqdet train --resume {path}")
    detector = load_detector(folder.detector if path.is_dir() else path, device=choose_device(device))
    if path.is_dir() and detector.input is None:
        detector.input = _shown(read_config(folder.config).data.dataset, path)
    return EagerStep(detector, score)


def _shown(dataset: DatasetConfig, run: Path) -> InputConfig | None:
    """What frames showed in a training that did not keep it with the weights: what its dataset shows."""
    from ..data.sources import FrameSource, recordings, tensor_folder

    if dataset.folder is None:
        return None
    try:
        if tensor_folder(dataset) == dataset.folder:
            source = FrameSource(dataset, clip_length=1)
            with source.open(source.paths("train")[0]) as file:
                shown, (height, width) = file.description, file.shape[2:]
            return InputConfig(
                shown.representation, shown.parameters, shown.duration_us, shown.sensor_hw, (height, width)
            )
        with open_recording(recordings(dataset.folder / "train")[0]) as recording:
            made, size_hw = dataset.tensor, recording.size_hw
        return InputConfig(made.representation, made.parameters, made.window_us, size_hw, made.frame_hw(size_hw))
    except (InputError, IndexError) as error:
        raise InputError(
            f"{run} must have its dataset still, as its detector does not say what its frames show: {error}"
        ) from error
