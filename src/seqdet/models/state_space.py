"""State spaces in place of gates: a linear memory in every cell, whose time is computed in parallel."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..structures import State
from .rvt import RVT

SHORTEST = 1e-3
LONGEST = 1e-1
"""Between these the steps of an untrained layer are drawn, even in their logarithms."""
HIGHEST = 0.25
"""Cycles a frame, above which an untrained layer does not read its states: half of what can be told apart."""


def complex_scan(x: Tensor, decay: Tensor) -> Tensor:
    """``y[t] = decay * y[t - 1] + x[t]``, of complex numbers as pairs of real ones, in log2(T) steps.

    Every step doubles the frames that reach into a sum (Hillis and Steele, 1986).

    Args:
        x: (T, ..., 2, P), real parts before imaginary ones.
        decay: (2, P).
    """
    reach = 1
    while reach < len(x):
        x = torch.cat([x[:reach], x[reach:] + _times(decay, x[:-reach])])
        decay = _times(decay, decay)
        reach *= 2
    return x


def _times(first: Tensor, second: Tensor) -> Tensor:
    """The product of complex numbers (..., 2, P)."""
    real, imaginary = first.unbind(-2)
    turned = torch.stack([-second[..., 1, :], second[..., 0, :]], dim=-2)
    return real[..., None, :] * second + imaginary[..., None, :] * turned


class S5(nn.Module):
    """A diagonal state space with all channels in and out (Smith et al., arXiv 2208.04933), discretised bilinearly.

    With ``carry`` the state of the call before is where this one goes on, so that a sequence equals its parts. Without,
    it begins every call in silence, as S5-ViT was published: **it remembers nothing beyond one call, and called with
    one window at a time it has no memory at all**. Within a call both are the same.

    Args:
        channels: of input, output and state.
        carry: whether the state goes from call to call.

    Shapes:
        input (T, B, H, W, channels), state 1 x (B, 2, channels, H, W), real part before the imaginary one, or None for
        silence; without ``carry`` there is none. Output as the input, float32 whatever the input is.
    """

    def __init__(self, channels: int, *, carry: bool) -> None:
        super().__init__()
        self.carry = carry
        self.state_shapes: tuple[tuple[int, ...], ...] = ((2, channels),) if carry else ()
        frequencies, vectors = hippo_legs(channels)
        basis = torch.tensor(vectors, dtype=torch.complex64)
        steps = torch.empty(channels).uniform_(math.log(SHORTEST), math.log(LONGEST))
        is_audible = torch.tensor(np.abs(frequencies), dtype=torch.float32) * steps.exp() < 2 * math.pi * HIGHEST
        from_input = torch.randn(channels, channels) / math.sqrt(channels)
        to_output = torch.randn(channels, channels, dtype=torch.complex64) / math.sqrt(channels)
        self.eigenvalues = nn.Parameter(torch.tensor(np.stack([np.full(channels, -0.5), frequencies], 1)).float())
        self.log_step = nn.Parameter(steps)
        self.from_input = nn.Parameter(torch.view_as_real(basis.conj().T @ from_input.to(basis.dtype)))
        self.to_output = nn.Parameter(torch.view_as_real(to_output @ basis * is_audible))
        self.skip = nn.Parameter(torch.randn(channels))

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        kind = "cuda" if x.is_cuda else "cpu"  # the device meta has no precisions
        with torch.autocast(kind, enabled=False):  # bfloat16 is too coarse for what is summed over many frames
            x = x.float()
            decay, from_input = self._discrete()
            driven = functional.linear(x, from_input).unflatten(-1, (2, -1))
            if state:
                before = state[0].float().permute(0, 3, 4, 1, 2)
                driven = torch.cat([driven[:1] + _times(decay, before), driven[1:]])
            after = complex_scan(driven, decay)
            real, imaginary = self.to_output.unbind(-1)
            y = functional.linear(after.flatten(-2), torch.cat([real, -imaginary], dim=1)) + self.skip * x
            return y, (after[-1].permute(0, 3, 4, 1, 2),) if self.carry else ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> S5:
        """Numbers stay float32 where a module is converted to less: half precision does not hold the eigenvalues."""

        def moved(tensor: Tensor) -> Tensor:
            made = fn(tensor)
            return made if made.dtype == tensor.dtype else tensor.to(made.device)

        return super()._apply(moved, recurse)

    def _discrete(self) -> tuple[Tensor, Tensor]:
        """The factor (2, P) of a state from frame to frame, and the weights (2 * P, channels) of the input."""
        step = self.log_step.exp()
        real, imaginary = (self.eigenvalues * step[:, None] / 2).unbind(-1)
        below = (1 - real).square() + imaginary.square()
        decay = torch.stack([1 - real.square() - imaginary.square(), 2 * imaginary]) / below
        gain = torch.stack([1 - real, imaginary]) * step / below
        return decay, _times(gain, self.from_input.permute(1, 2, 0)).permute(1, 2, 0).flatten(0, 1)


class S5Block(nn.Module):
    """The memory of S5-ViT (Zubić et al., arXiv 2402.15584): S5, then a gated perceptron, added to their normed inputs.

    Arguments and shapes as for ``S5``; output in the precision of the layers.
    """

    def __init__(self, channels: int, *, carry: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.s5 = S5(channels, carry=carry)
        self.norm2 = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 2 * channels, bias=False)
        self.narrow = nn.Linear(channels, channels, bias=False)
        self.state_shapes = self.s5.state_shapes

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        x = self.norm1(x)
        y, after = self.s5(x, state)
        x = self.norm2(functional.gelu(y.to(x.dtype)) + x)
        value, gate = self.widen(x).chunk(2, dim=-1)
        return self.narrow(value * functional.gelu(gate)) + x, after


@lru_cache(maxsize=16)
def hippo_legs(states: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and unitary eigenvectors (N, N) of the normal part of HiPPO-LegS (Gu et al., arXiv 2206.11893).

    The eigenvalues are -1/2 + i times the frequencies (N,) that are returned. The matrix is -1/2 on the diagonal,
    -sqrt((n + 1/2) (k + 1/2)) below it and the opposite above.
    """
    root = np.sqrt(np.arange(states) + 0.5)
    below = np.tril(np.outer(root, root), -1)
    frequencies, vectors = np.linalg.eigh(1j * (below - below.T))  # of a skew-symmetric matrix, made Hermitian
    return frequencies, vectors


def s5_vit(
    in_channels: int,
    *,
    dim: int,
    head_width: int,
    carry: bool,
    split: int = 1,
    partition: tuple[int, int] | None = None,
) -> RVT:
    """The backbone of S5-ViT: that of RVT with ``S5Block`` in place of LSTMs; arguments as for both."""
    memory = partial(S5Block, carry=carry)
    return RVT(in_channels, dim=dim, head_width=head_width, split=split, partition=partition, memory=memory)
