"""The optimisers, as Lightning wants them: one object each. Muon: every direction of a matrix learns equally fast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.optimizer import ParamsT

from ..models.detector import Detector
from .parts import rate_factors

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


ALIKE: Mapping[str, float] = MappingProxyType({})
"""Factors of the learning rate where all parameters learn at the same."""


def adamw(detector: Detector, *, lr: float, weight_decay: float, lr_factors: Mapping[str, float] = ALIKE) -> AdamW:
    """AdamW; norms and biases do not decay.

    Args:
        detector: whose parameters are moved.
        lr: learning rate.
        weight_decay: per step, over the learning rate.
        lr_factors: of parts of the detector, as ``rate_factors``.
    """
    return _adamw(dict(detector.named_parameters()), rate_factors(detector, lr_factors), lr, weight_decay)


def muon(
    detector: Detector, *, lr: float, weight_decay: float, lr_factors: Mapping[str, float] = ALIKE
) -> MuonAndAdamW:
    """Muon for every convolution but those that predict and those of a memory to itself, AdamW for the rest.

    A memory whose own weights Muon moved drifts once a recording is longer than those it was trained on.

    Args:
        detector: whose parameters are moved.
        lr: learning rate of both.
        weight_decay: per step, over the learning rate.
        lr_factors: of parts of the detector, as ``rate_factors``.
    """
    gates: dict[str, int] = {}
    recurrent: list[str] = []
    for name, module in detector.named_modules():
        gates |= {f"{name}.{part}.": count for part, count in getattr(module, "gate_weights", {}).items()}
        recurrent += [f"{name}.{part}." for part in getattr(module, "recurrent_weights", ())]
    predicting = {id(p) for layer in detector.head.predictors for p in layer.parameters()}
    convolutions: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    matrices: dict[int, int] = {}
    for name, p in detector.named_parameters():
        if p.ndim != 4 or id(p) in predicting or name.startswith(tuple(recurrent)):
            others[name] = p
            continue
        convolutions[name] = p
        matrices[id(p)] = next((count for part, count in gates.items() if name.startswith(part)), 1)
    factors = rate_factors(detector, lr_factors)
    groups = _groups(convolutions, factors, lr)
    counts = [matrices[id(p)] for group in groups for p in group["params"]]
    return MuonAndAdamW(
        Muon(groups, matrices=counts, lr=lr, weight_decay=weight_decay), _adamw(others, factors, lr, weight_decay)
    )


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adamw": adamw, "muon": muon}
"""What ``TrainConfig.optimizer`` lists."""


class MuonAndAdamW(Optimizer):
    """Muon for some parameters and AdamW for all others, as one optimiser."""

    def __init__(self, muon: Muon, adamw: AdamW) -> None:
        self.muon = muon
        self.adamw = adamw
        super().__init__(muon.param_groups + adamw.param_groups, {})

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


def _adamw(parameters: Mapping[str, Tensor], factors: Mapping[str, float], lr: float, weight_decay: float) -> AdamW:
    decaying = {name: p for name, p in parameters.items() if p.ndim > 1}
    others = {name: p for name, p in parameters.items() if p.ndim <= 1}
    groups = [*_groups(decaying, factors, lr), *_groups(others, factors, lr, weight_decay=0.0)]
    return AdamW(groups, lr=lr, betas=BETAS, weight_decay=weight_decay, fused=True)


def _groups(
    parameters: Mapping[str, Tensor], factors: Mapping[str, float], lr: float, **settings: float
) -> list[dict[str, Any]]:
    """The parameters as groups of an optimiser, one for each factor of the learning rate.

    That of the factor 1 comes first, also if it is empty: its rate is the one that curves show.
    """
    groups = []
    for factor in sorted({1.0, *(factors[name] for name in parameters)}, key=lambda each: (each != 1, each)):
        chosen = [p for name, p in parameters.items() if factors[name] == factor]
        groups.append({"params": chosen, **settings, **({} if factor == 1 else {"lr": lr * factor})})
    return groups


class Muon(Optimizer):
    """Muon (https://kellerjordan.github.io/posts/muon) for the weights of convolutions.

    The average of the gradients of a matrix, with Nesterov's momentum, is replaced by the nearest orthogonal matrix. A
    convolution is a matrix of one row per output channel. Updates are scaled to the size of those of AdamW (arXiv
    2502.16982), so both share a learning rate and a decay. A weight without gradient stays as it is. The numbers are
    those of ``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"``, less its rounding to bfloat16.

    Args:
        weights: (channels, in_channels, height, width), or groups of them.
        matrices: of how many each consists, such as the gates of a recurrent cell, which share its output channels.
        lr: learning rate.
        weight_decay: per step, over the learning rate.
    """

    def __init__(self, weights: ParamsT, *, matrices: Sequence[int], lr: float, weight_decay: float) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay})
        order = (id(weight) for group in self.param_groups for weight in group["params"])
        self.counts = dict(zip(order, matrices, strict=True))

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
