"""Linear recurrences over time, computed for all steps at once."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_scan(keep: Tensor, add: Tensor, start: Tensor) -> Tensor:
    """The memory ``h_t = keep_t * h_{t-1} + add_t`` after each of T steps, from ``start`` on: (T, ...).

    Pairs of steps are put together to one until one is left, then taken apart again (odd-even reduction, Blelloch
    1990): twice the operations of going step by step, in 2 log2(T) rounds instead of T, and memory for twice the steps.
    Nothing is divided and no logarithm is taken, so a factor of 0 and long sequences are no danger.

    Args:
        keep: (T, ...) factors.
        add: (T, ...).
        start: (...), the memory before the first step.
    """
    first = add[:1] + keep[:1] * start
    return _scanned(keep, torch.cat([first, add[1:]]))


def _scanned(keep: Tensor, add: Tensor) -> Tensor:
    """The same from a memory of zeros."""
    steps = len(add)
    if steps == 1:
        return add
    even = slice(0, steps - 1, 2)
    odd = slice(1, steps, 2)
    at_odd = _scanned(keep[odd] * keep[even], keep[odd] * add[even] + add[odd])
    later = slice(2, steps, 2)
    before = at_odd[: (steps - 1) // 2]
    at_even = torch.cat([add[:1], keep[later] * before + add[later]])
    pairs = torch.stack([at_even[: len(at_odd)], at_odd], dim=1).flatten(0, 1)
    return pairs if steps % 2 == 0 else torch.cat([pairs, at_even[-1:]])
