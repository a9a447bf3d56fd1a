"""Run a detector over clips and carry its memory from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from ...models.detector import Detector
from ...models.recurrent import reset_lanes
from ...structures import Boxes, Clip


@torch.inference_mode()
def predict(
    detector: Detector,
    clips: Iterable[Clip],
    *,
    score: float = 0.05,
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
