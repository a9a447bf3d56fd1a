"""The optimisers, as Lightning wants them: one object each. Muon: every direction of a matrix learns equally fast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from ..models.detector import Detector

BETAS = (0.9, 0.95)
"""Of AdamW. The second moment forgets within twenty steps: short trainings at a high rate are better for it."""
COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of the polynomial that brings singular values near 1 (K. Jordan, see ``Muon``)."""
STEPS = 5
"""How often it is applied."""
MOMENTUM = 0.95
SMALLEST_NORM = 1e-7
RMS_OF_ADAMW = 0.2
"""Root mean square of an entry of AdamW's updates over its learning rate (arXiv 2502.16982)."""


def adamw(detector: Detector, *, lr: float, weight_decay: float) -> AdamW:
    """AdamW; norms and biases do not decay."""
    return _adamw(list(detector.parameters()), lr=lr, weight_decay=weight_decay)


def muon(detector: Detector, *, lr: float, weight_decay: float) -> MuonAndAdamW:
    """Muon for every convolution but those that predict and those of a memory to itself, AdamW for the rest.

    A memory whose own weights Muon moved drifts once a recording is longer than those it was trained on.

    Args:
        detector: whose parameters are moved.
        lr: learning rate of both.
        weight_decay: per step, over the learning rate.
    """
    gates: dict[str, int] = {}
    recurrent: list[str] = []
    for name, module in detector.named_modules():
        gates |= {f"{name}.{part}.": count for part, count in getattr(module, "gate_weights", {}).items()}
        recurrent += [f"{name}.{part}." for part in getattr(module, "recurrent_weights", ())]
    predicting = {id(p) for layer in detector.head.predictors for p in layer.parameters()}
    convolutions = []
    matrices = []
    others = []
    for name, p in detector.named_parameters():
        if p.ndim != 4 or id(p) in predicting or name.startswith(tuple(recurrent)):
            others.append(p)
            continue
        convolutions.append(p)
        matrices.append(next((count for part, count in gates.items() if name.startswith(part)), 1))
    return MuonAndAdamW(convolutions, others, matrices=matrices, lr=lr, weight_decay=weight_decay)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adamw": adamw, "muon": muon}
"""What ``TrainConfig.optimizer`` lists."""


class MuonAndAdamW(Optimizer):
    """Muon for some parameters and AdamW for all others, as one optimiser.

    Args:
        convolutions: weights (channels, in_channels, height, width), for Muon.
        others: all other parameters.
        matrices: of every convolution, as in ``Muon``.
        lr, weight_decay: of both.
    """

    def __init__(
        self,
        convolutions: Sequence[Tensor],
        others: Sequence[Tensor],
        *,
        matrices: Sequence[int],
        lr: float,
        weight_decay: float,
    ) -> None:
        self.muon = Muon(convolutions, matrices=matrices, lr=lr, weight_decay=weight_decay)
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
    decaying = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decaying}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=lr, betas=BETAS, weight_decay=weight_decay, fused=True)


class Muon(Optimizer):
    """Muon (https://kellerjordan.github.io/posts/muon) for the weights of convolutions.

    The average of the gradients of a matrix, with Nesterov's momentum, is replaced by the nearest orthogonal matrix. A
    convolution is a matrix of one row per output channel. Updates are scaled to the size of those of AdamW (arXiv
    2502.16982), so both share a learning rate and a decay. A weight without gradient stays as it is. The numbers are
    those of ``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"``, less its rounding to bfloat16.

    Args:
        weights: (channels, in_channels, height, width).
        matrices: of how many each consists, such as the gates of a recurrent cell, which share its output channels.
        lr: learning rate.
        weight_decay: per step, over the learning rate.
    """

    def __init__(self, weights: Sequence[Tensor], *, matrices: Sequence[int], lr: float, weight_decay: float) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay})
        self.counts = dict(zip(map(id, weights), matrices, strict=True))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; ``closure`` computes the gradients and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update(group)
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        """Move the weights of a group; matrices of one shape are made orthogonal together."""
        alike: dict[torch.Size, list[tuple[Tensor, Tensor, Tensor]]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is None:
                continue
            matrices = self._matrices(weight, weight)
            assert matrices.data_ptr() == weight.data_ptr()  # convolutions are in one of the two memory orders
            gradients = self._matrices(weight, weight.grad)
            momenta = self._matrices(weight, self._momentum(weight))
            alike[matrices.shape[1:]].append((matrices, gradients, momenta))
        for shape, triples in alike.items():
            counts = [len(matrices) for matrices, _, _ in triples]
            updates = triples[0][0].new_empty(sum(counts), *shape)
            for (_, gradients, momenta), update in zip(triples, updates.split(counts), strict=True):
                momenta.lerp_(gradients, 1 - MOMENTUM)
                torch.lerp(gradients, momenta, MOMENTUM, out=update)
            updates = orthogonal(updates)
            size = group["lr"] * RMS_OF_ADAMW * max(shape) ** 0.5
            for (matrices, _, _), update in zip(triples, updates.split(counts), strict=True):
                matrices.mul_(1 - group["lr"] * group["weight_decay"])
                matrices.add_(update, alpha=-size)

    def _momentum(self, weight: Tensor) -> Tensor:
        """The average of the gradients so far, in the memory order of the weight."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        elif state["momentum"].stride() != weight.stride():  # loaded from a run in another memory order
            state["momentum"] = torch.empty_like(weight).copy_(state["momentum"])
        return state["momentum"]

    def _matrices(self, weight: Tensor, values: Tensor) -> Tensor:
        """``values``, of the shape of ``weight``, as matrices (N, rows, columns), columns in the memory order of it."""
        is_channels_last = weight.is_contiguous(memory_format=torch.channels_last)
        matrix = (values.permute(0, 2, 3, 1) if is_channels_last else values).reshape(len(values), -1)
        return matrix.unflatten(0, (self.counts[id(weight)], -1))


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (N, R, C) with their singular values brought near 1, most to 0.7 to 1.2.

    All iterations take place on the products of the matrices with themselves, the smaller way round: the polynomials of
    such a product commute, so that one matrix that gathers them is applied to the input at the end. That needs
    float32, and two fifths of the operations of iterating on the matrices themselves, which bfloat16 would bear.
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    matrices = matrices / matrices.flatten(1).norm(dim=1).clamp(min=SMALLEST_NORM)[:, None, None]
    square = matrices.mT @ matrices if is_tall else matrices @ matrices.mT
    first, third, fifth = COEFFICIENTS
    gathered = polynomial = square
    for step in range(STEPS):
        if step:
            square = polynomial @ square @ polynomial
        polynomial = torch.baddbmm(square, square, square, beta=third, alpha=fifth)
        polynomial.diagonal(dim1=1, dim2=2).add_(first)
        gathered = polynomial @ gathered if step else polynomial
    return matrices @ gathered if is_tall else gathered @ matrices
