"""The loss of coded boxes and classes."""

from __future__ import annotations

from torch import Tensor, nn

from ....checks import InputError, check_choice
from ....ops.losses import sigmoid_focal, smooth_l1, softmax_focal

CLASS_LOSSES = {"softmax_focal_loss": softmax_focal, "sigmoid_focal_loss": sigmoid_focal}


class DetectionLoss(nn.Module):
    """Smooth L1 loss of the boxes and focal loss of the classes, each over the number of positive anchors.

    Args:
        cls_loss_func: a key of ``CLASS_LOSSES``.
    """

    def __init__(self, cls_loss_func: str = "softmax_focal_loss") -> None:
        super().__init__()
        check_choice(cls_loss_func, CLASS_LOSSES, "cls_loss_func")
        self.class_loss = CLASS_LOSSES[cls_loss_func]

    def forward(
        self, loc_preds: Tensor, loc_targets: Tensor, cls_preds: Tensor, cls_targets: Tensor
    ) -> dict[str, Tensor]:
        """The scalars ``loc_loss`` and ``cls_loss``, 0 where there is nothing to learn.

        Args:
            loc_preds, loc_targets: (F, N, 4) coded boxes.
            cls_preds: (F, N, 1 + K) logits with the background in front; (F, N, K) for the sigmoid.
            cls_targets: (F, N) classes from 1 on, 0 background, -1 ignored.
        """
        classes = cls_preds.shape[-1] - (self.class_loss is softmax_focal)
        if cls_targets.numel() and cls_targets.max() > classes:
            raise InputError(f"cls_targets must be at most {classes}, the last class, got {cls_targets.max()}.")
        counted, positive = cls_targets >= 0, cls_targets > 0
        positives = positive.sum().clamp(min=1)
        return {
            "loc_loss": smooth_l1(loc_preds[positive], loc_targets[positive]).sum() / positives,
            "cls_loss": self.class_loss(cls_preds[counted], cls_targets[counted] - 1).sum() / positives,
        }
