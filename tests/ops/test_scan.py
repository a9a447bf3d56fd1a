from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.ops.scan import linear_scan


def step_by_step(keep: torch.Tensor, add: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    memories = []
    for factor, summand in zip(keep, add, strict=True):
        start = factor * start + summand
        memories.append(start)
    return torch.stack(memories)


def drawn(steps: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(steps, 2, 3, generator=generator, dtype=dtype)
    add = torch.randn(steps, 2, 3, generator=generator, dtype=dtype)
    return keep, add, torch.randn(2, 3, generator=generator, dtype=dtype)


@settings(max_examples=40)
@given(steps=st.integers(1, 40), seed=st.integers(0, 1000))
def test_a_scan_is_the_recurrence_step_by_step(steps, seed):
    numbers = drawn(steps, seed, torch.float64)
    torch.testing.assert_close(linear_scan(*numbers), step_by_step(*numbers), rtol=1e-12, atol=1e-12)


@settings(max_examples=20)
@given(steps=st.integers(2, 30), data=st.data())
def test_a_scan_goes_on_where_another_ended(steps, data):
    keep, add, start = drawn(steps)
    cut = data.draw(st.integers(1, steps - 1))
    early = linear_scan(keep[:cut], add[:cut], start)
    late = linear_scan(keep[cut:], add[cut:], early[-1])
    torch.testing.assert_close(torch.cat([early, late]), linear_scan(keep, add, start))


def test_the_gradient_is_that_of_the_recurrence():
    numbers = [each.requires_grad_() for each in drawn(13, dtype=torch.float64)]
    weights = torch.randn(13, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mine = torch.autograd.grad((weights * linear_scan(*numbers)).sum(), numbers)
    wanted = torch.autograd.grad((weights * step_by_step(*numbers)).sum(), numbers)
    torch.testing.assert_close(mine, wanted)


@pytest.mark.parametrize("factor", [0.0, 1e-30, 0.5, 1.0 - 1e-7, 1.0])
def test_a_long_scan_stays_near_exact_arithmetic_for_any_factor(factor):
    steps = 20_000
    keep = torch.full((steps, 1), factor)
    add = (1 - keep) * torch.randn(steps, 1, generator=torch.Generator().manual_seed(0))
    exact = step_by_step(keep.double(), add.double(), torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(linear_scan(keep, add, torch.ones(1)), exact.float(), rtol=1e-4, atol=1e-5)


def test_what_is_no_number_stays_behind_where_it_was():
    keep, add, start = drawn(9)
    add[5, 0] = float("nan")
    found = linear_scan(keep, add, start)
    assert found[:5].isfinite().all()
    assert found[:, 1].isfinite().all()
    assert found[5:, 0].isnan().all()
