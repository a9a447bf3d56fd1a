"""Losses per anchor, not yet summed: the caller masks and normalises."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

ALPHA, GAMMA = 0.25, 2.0
"""Weight of the positives and focusing exponent of the focal losses (Lin et al., arXiv 1708.02002)."""


def softmax_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss over classes that exclude each other, the first being background: (N, 1 + K), (N,) -> (N,).

    ``labels`` are class indices from 0, or -1 for background.
    """
    log_probability = logits.log_softmax(-1).gather(-1, labels[:, None] + 1).squeeze(-1)
    weight = torch.where(labels < 0, 1 - ALPHA, ALPHA)
    return -weight * (1 - log_probability.exp()) ** GAMMA * log_probability


def sigmoid_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss of one yes or no per class: (N, K), (N,) -> (N,). A label of -1 is background: no to all."""
    wanted = functional.one_hot(labels + 1, logits.shape[-1] + 1)[:, 1:].to(logits.dtype)
    return sigmoid_focal_loss(logits, wanted, ALPHA, GAMMA).sum(-1)


def smooth_l1(deltas: Tensor, wanted: Tensor, *, beta: float = 1 / 9) -> Tensor:
    """Smooth L1 distance of the coded boxes, summed over the four numbers: (N, 4), (N, 4) -> (N,)."""
    return functional.smooth_l1_loss(deltas, wanted, beta=beta, reduction="none").sum(-1)


def giou(xyxy: Tensor, wanted: Tensor) -> Tensor:
    """1 - generalised IoU of the decoded boxes (Rezatofighi et al., arXiv 1902.09630): (N, 4), (N, 4) -> (N,)."""
    return generalized_box_iou_loss(xyxy, wanted)
