"""A moving average of the weights, which is validated and handed out in place of those that the last steps moved."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..models.detector import Detector


def averaged(detector: Detector) -> Detector:
    """A detector beside ``detector`` for the average of its weights, which learns nothing itself."""
    return copy.deepcopy(detector).requires_grad_(False)


@torch.no_grad()
def move_average(average: Detector, detector: Detector, *, keep: float, steps: int) -> None:
    """Move the average towards the weights that a step has made.

    The first steps count for more, so that what training began with is soon forgotten: of the average stays
    (1 + steps) / (10 + steps) where that is less than ``keep``. Statistics of batch norm are averaged too: those of the
    last frames are of other weights. What is frozen stays bit for bit what it is, and whole numbers are copied.

    Args:
        average: moved in place.
        detector: after the step.
        keep: how much of the average stays, below 1.
        steps: taken before this one.
    """
    tensors = zip(_tensors(average), _tensors(detector), strict=True)
    floating = []
    for mine, its in tensors:
        if mine.is_floating_point():
            floating.append((mine, its))
        else:
            mine.copy_(its)
    moved, towards = zip(*floating, strict=True)
    get_ema_multi_avg_fn(min(keep, (1 + steps) / (10 + steps)))(moved, towards, steps)


def _tensors(detector: Detector) -> list[Tensor]:
    """What a file of weights holds of a detector, a tensor that has several names once."""
    return list({id(tensor): tensor for tensor in detector.state_dict(keep_vars=True).values()}.values())
