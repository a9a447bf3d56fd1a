"""The optimisers, as Lightning wants them: one object each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import AdamW, Optimizer

from ..models.detector import Detector
from .muon import Muon

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
    """Muon for some parameters and AdamW for all others, as one optimiser.

    Args:
        convolutions: weights (channels, in_channels, height, width), for Muon.
        others: all other parameters.
        rows: of a matrix, as in ``Muon``.
        lr, weight_decay: of both.
    """

    def __init__(
        self, convolutions: Sequence[Tensor], others: Sequence[Tensor], *, rows: int, lr: float, weight_decay: float
    ) -> None:
        self.muon = Muon(convolutions, rows=rows, lr=lr, weight_decay=weight_decay)
        self.adamw = _adamw(others, lr=lr, weight_decay=weight_decay)
        super().__init__(self.muon.param_groups + self.adamw.param_groups, {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; ``closure`` computes the gradients and returns the loss."""
        loss = self.muon.step(closure)
        self.adamw.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = self.muon.param_groups + self.adamw.param_groups


def _adamw(parameters: Sequence[Tensor], *, lr: float, weight_decay: float) -> AdamW:
    decaying, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decaying}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=lr, betas=BETAS, weight_decay=weight_decay, fused=True)
