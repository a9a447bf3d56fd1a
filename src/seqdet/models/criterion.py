"""The loss that a detector is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed
from torchvision.ops import box_convert

from ..checks import InputError, check_choice
from ..devices import one_thread
from ..ops.boxes import decode_boxes, encode_boxes
from ..ops.losses import giou, sigmoid_focal, smooth_l1, softmax_focal
from ..ops.matching import IGNORED, match_anchors, pad_targets
from ..structures import Boxes
from .heads import Outputs

CLASS_LOSSES = {"softmax": softmax_focal, "sigmoid": sigmoid_focal}
BOX_LOSSES = ("smooth_l1", "giou")


class Criterion:
    """Focal loss of the classes and a regression loss of the boxes, both divided by the number of positive anchors.

    Where several processes train, that is the mean of their numbers: the mean of their gradients is then the gradient
    that one process would have had of all frames.

    Args:
        activation: "softmax" or "sigmoid", as in the head.
        box_loss: one of ``BOX_LOSSES``; smooth L1 compares coded boxes, GIoU decoded ones.
        box_weight: factor of the box loss.
        foreground, background: IoU thresholds of ``match_anchors``.
        variances: of the box coding.
    """

    def __init__(
        self,
        *,
        activation: str,
        box_loss: str,
        box_weight: float,
        foreground: float,
        background: float,
        variances: tuple[float, float],
    ) -> None:
        check_choice(activation, CLASS_LOSSES, "activation")
        check_choice(box_loss, BOX_LOSSES, "box_loss")
        self.activation, self.box_loss, self.box_weight = activation, box_loss, box_weight
        self.foreground, self.background, self.variances = foreground, background, variances

    @one_thread()
    def __call__(self, outputs: Outputs, frames: Sequence[Boxes]) -> dict[str, Tensor]:
        """The losses ``classes`` and ``boxes`` of F labelled frames: scalars, zero where there is nothing to learn.

        Args:
            outputs: of F frames.
            frames: the truth, F entries.

        Raises:
            InputError: if there are not F entries, or ``pad_targets`` refuses one.
        """
        if len(frames) != len(outputs.logits):
            raise InputError(f"frames must be as many as the outputs are of, {len(outputs.logits)}, got {len(frames)}.")
        classes = outputs.logits.shape[-1] - (self.activation == "softmax")
        targets = pad_targets(frames, outputs.logits.device, classes=classes)
        corners = box_convert(outputs.anchors, "cxcywh", "xyxy")
        matched = match_anchors(corners, targets, foreground=self.foreground, background=self.background)
        counted = matched != IGNORED
        frame, anchor = (matched >= 0).nonzero(as_tuple=True)
        box = matched[frame, anchor]
        labels = torch.full_like(matched, -1)
        labels[frame, anchor] = targets.labels[frame, box]
        positives = max(1.0, _per_process(len(frame), outputs.logits.device))
        class_loss = CLASS_LOSSES[self.activation](outputs.logits[counted], labels[counted])
        deltas, anchors, wanted = outputs.deltas[frame, anchor], outputs.anchors[anchor], targets.xyxy[frame, box]
        if self.box_loss == "giou":
            box_loss = giou(decode_boxes(deltas, anchors, variances=self.variances), wanted)
        else:
            box_loss = smooth_l1(deltas, encode_boxes(wanted, anchors, variances=self.variances))
        return {"classes": class_loss.sum() / positives, "boxes": self.box_weight * box_loss.sum() / positives}


def _per_process(count: int, device: torch.device) -> float:
    """The mean of the counts of all processes that train together."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return count
    total = torch.tensor(float(count), device=device)
    distributed.all_reduce(total)
    return float(total) / distributed.get_world_size()
