"""A detector in PyTorch as a runner."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from ..checks import check_choice
from ..config import DECODING
from ..data.detections import Detections
from ..models.detector import Detector
from ..models.layers import reset_lanes
from ..structures import Boxes, Clip
from .runners import RunnerState, check_frames, frame_type


class TorchRunner:
    """Takes windows through a detector as training and evaluation do: see ``Runner``.

    Args:
        detector: runs where it is; it is put into evaluation mode.
        score: least score of a detection.
        precision: "float32" or "bfloat16" layers; the memory is float32 either way.
        compiled: let ``torch.compile`` make the layers faster; the first two calls of every size then take long.
    """

    def __init__(
        self, detector: Detector, score: float = DECODING.score, *, precision: str = "float32", compiled: bool = False
    ) -> None:
        check_choice(precision, ("float32", "bfloat16"), "precision")
        self.detector = detector.eval()
        self.score = score
        self.precision = precision
        self.classes = detector.classes
        self.input = detector.input
        self.channels = detector.channels
        self.dtype = frame_type(detector.input)
        self.size_hw = None
        self._forward = _compiled(detector) if compiled else detector

    def __call__(self, frames: np.ndarray, state: RunnerState | None = None) -> tuple[list[Detections], RunnerState]:
        check_frames(frames, self)
        device = next(self.detector.parameters()).device
        inputs = torch.from_numpy(np.ascontiguousarray(frames)).to(device)[None]
        memory = None if state is None else tuple(torch.as_tensor(each, device=device) for each in state)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            outputs, after = self._forward(inputs, memory)
        boxes = self.detector.decode(outputs, score=self.score)
        return [Detections.of(each) for each in boxes], tuple(each.float() for each in after)


def _compiled(detector: Detector) -> Detector:
    """A copy whose layers are compiled when they are first called."""
    detector = copy.deepcopy(detector)
    for part in detector.parts.values():
        part.compile()
    return detector


@torch.inference_mode()
def predict(
    detector: Detector,
    clips: Iterable[Clip],
    *,
    score: float = DECODING.score,
    precision: str = "float32",
    remembers: bool = True,
) -> Iterator[tuple[Clip, list[Boxes]]]:
    """Every clip with its detections, T * B entries in (t, b) order.

    Args:
        detector: runs where it is, in evaluation mode; afterwards it is in the mode that it was in.
        clips: consecutive clips of the same lanes.
        score: least score of a detection.
        precision: "float32" or "bfloat16" layers.
        remembers: without, every frame is looked at as if it were the first of a recording.
    """
    was_training = detector.training
    detector.eval()
    device = next(detector.parameters()).device
    state = None
    try:
        for clip in clips:
            clip = clip.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                if remembers:
                    outputs, state = detector(clip.frames, reset_lanes(state, clip.is_first))
                else:
                    outputs, _ = detector(clip.frames.flatten(0, 1)[None])
            yield clip, detector.decode(outputs, score=score)
    finally:
        detector.train(was_training)
