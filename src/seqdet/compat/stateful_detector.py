"""A detector in the shape of the reference: it keeps its memory, and finds boxes in nested lists."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..models.detector import Detector
from ..structures import Boxes, Clip
from .metavision_ml.detection.anchors import NO_VOTE, nested
from .stateful import Stateful


class StatefulDetector(Stateful):
    """A detector that keeps its memory between calls.

    Args:
        core: the detector itself.
    """

    def __init__(self, core: Detector) -> None:
        super().__init__()
        self.core = core

    def compute_loss(self, clip: Clip) -> dict[str, Tensor]:
        """``cls_loss`` and ``loc_loss`` over the labelled frames. Call ``reset`` before."""
        outputs, state = self.core(clip.frames, self.recall(clip.frames), keep=clip.is_labelled)
        self.remember(state)
        losses = self.core.criterion(outputs, clip.labelled(clip.boxes))
        return {"cls_loss": losses["classes"], "loc_loss": losses["boxes"]}

    @torch.no_grad()
    def detect(self, inputs: Tensor, *, score: float, iou: float = 0.5, candidates: int = 500) -> list[Boxes]:
        """Detections of T * B frames in (t, b) order, for inputs (T, B, C, H, W); always in evaluation mode."""
        was_training = self.core.training
        self.core.eval()
        outputs, state = self.core(inputs, self.recall(inputs))
        self.core.train(was_training)
        self.remember(state)
        return self.core.decode(outputs, score=score, iou=iou, vote=NO_VOTE, candidates=candidates, most=candidates)

    def get_boxes(
        self, inputs: Tensor, score_thresh: float = 0.4, nms_thresh: float = 0.5, max_boxes_per_input: int = 500
    ) -> list[list[dict[str, Any]]]:
        """Detections ``[t][b]`` for inputs (T, B, C, H, W), as ``Anchors.decode`` gives them."""
        found = self.detect(inputs, score=score_thresh, iou=nms_thresh, candidates=max_boxes_per_input)
        return nested(found, inputs.shape[1])
