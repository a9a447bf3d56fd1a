"""The optimisers, as Lightning wants them: one object each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

from ..models.detector import Detector

BETAS = (0.9, 0.95)
"""Of AdamW. The second moment forgets within twenty steps: short trainings at a high rate are better for it."""


def adamw(detector: Detector, *, lr: float, weight_decay: float) -> AdamW:
    """AdamW; norms and biases do not decay."""
    return _adamw(list(detector.parameters()), lr=lr, weight_decay=weight_decay)


def muon(detector: Detector, *, lr: float, weight_decay: float) -> MuonAndAdamW:
    """Muon for every convolution but those that predict and those of a memory to itself, AdamW for the rest.

    A memory whose own weights Muon moved drifts once a recording is longer than those it was trained on.
    """
    predicting = {id(layer.weight) for layer in detector.head.predictors}
    convolutions = [
        p
        for name, p in detector.named_parameters()
        if p.ndim == 4 and id(p) not in predicting and not name.endswith("from_hidden.weight")
    ]
    chosen = {id(p) for p in convolutions}
    others = [p for p in detector.parameters() if id(p) not in chosen]
    return MuonAndAdamW(convolutions, others, rows=detector.config.channels, lr=lr, weight_decay=weight_decay)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adamw": adamw, "muon": muon}


class MuonAndAdamW(Optimizer):
    """Muon (https://kellerjordan.github.io/posts/muon) for convolutions, AdamW for all other parameters.

    Muon replaces the gradient of a matrix by the nearest orthogonal one, so that every direction learns equally fast. A
    convolution is a matrix of one row per output channel. Updates are scaled to the size of those of AdamW (arXiv
    2502.16982), so both share a learning rate and a decay.

    Args:
        convolutions: weights (channels, in_channels, height, width).
        others: all other parameters.
        rows: a convolution of several times as many output channels is as many matrices: the gates of a recurrent cell.
        lr, weight_decay: of both.
    """

    def __init__(
        self, convolutions: Sequence[Tensor], others: Sequence[Tensor], *, rows: int, lr: float, weight_decay: float
    ) -> None:
        self.convolutions, self.others, self.rows = list(convolutions), list(others), rows
        self.matrices = [matrix for weight in self.convolutions for matrix in self._matrices(weight, weight.detach())]
        self.muon = Muon(self.matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.adamw = _adamw(self.others, lr=lr, weight_decay=weight_decay)
        super().__init__(self.muon.param_groups + self.adamw.param_groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; ``closure`` computes the gradients and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in self.convolutions]
        pairs = zip(self.convolutions, gradients, strict=True)
        rows_of_gradients = [matrix for weight, gradient in pairs for matrix in self._matrices(weight, gradient)]
        for matrix, gradient in zip(self.matrices, rows_of_gradients, strict=True):
            matrix.grad = gradient
        self.muon.step()
        self.muon.zero_grad()
        self.adamw.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in (*self.convolutions, *self.others):
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = self.muon.param_groups + self.adamw.param_groups

    def _matrices(self, weight: Tensor, values: Tensor) -> Sequence[Tensor]:
        """``values``, a weight or its gradient, as matrices with the columns in the memory order of ``weight``."""
        is_channels_last = weight.is_contiguous(memory_format=torch.channels_last)
        matrix = (values.permute(0, 2, 3, 1) if is_channels_last else values).reshape(len(values), -1)
        return matrix.split(self.rows) if len(matrix) % self.rows == 0 else [matrix]


def _adamw(parameters: Sequence[Tensor], *, lr: float, weight_decay: float) -> AdamW:
    decaying, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decaying}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=lr, betas=BETAS, weight_decay=weight_decay, fused=True)
