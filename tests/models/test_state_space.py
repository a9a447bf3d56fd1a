"""The state space of S5-ViT: the parallel scan against the recurrence, what is carried, and how it starts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.models.state_space import S5, complex_scan, hippo_legs, s5_vit


@settings(max_examples=30, deadline=None)
@given(time=st.integers(1, 40), seed=st.integers(0, 1000))
def test_the_scan_is_the_recurrence(time, seed):
    generator = np.random.default_rng(seed)
    decay = generator.uniform(0.2, 1, 3) * np.exp(1j * generator.uniform(0, 2 * np.pi, 3))
    x = generator.standard_normal((time, 2, 3)) + 1j * generator.standard_normal((time, 2, 3))
    y = np.zeros((2, 3), complex)
    wanted = []
    for each in x:
        y = decay * y + each
        wanted.append(y)
    pairs = [torch.tensor(np.stack([z.real, z.imag], axis=-2)).float() for z in (x, decay)]
    found = complex_scan(*pairs)
    np.testing.assert_allclose(found[..., 0, :] + 1j * found[..., 1, :], np.stack(wanted), rtol=1e-4, atol=1e-5)


def sequential(layer: S5, u: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The recurrence written out in complex numbers: inputs (T, C) and a state (C,)."""
    values = {name: parameter.detach().double().numpy() for name, parameter in layer.named_parameters()}
    eigenvalues, inward, outward = (
        values[name][..., 0] + 1j * values[name][..., 1] for name in ("eigenvalues", "from_input", "to_output")
    )
    step = np.exp(values["log_step"])
    decay = (1 + eigenvalues * step / 2) / (1 - eigenvalues * step / 2)
    inward = (step / (1 - eigenvalues * step / 2))[:, None] * inward
    outputs = []
    for each in u:
        x = decay * x + inward @ each
        outputs.append((outward @ x).real + values["skip"] * each)
    return np.stack(outputs), x


@torch.no_grad()
def test_the_layer_is_its_recurrence_and_goes_on_from_a_state():
    torch.manual_seed(0)
    layer = S5(6, carry=True)
    u = torch.randn(7, 1, 1, 1, 6)
    state = torch.randn(1, 2, 6, 1, 1)
    found, (after,) = layer(u, (state,))
    start = state[0, 0, :, 0, 0].numpy() + 1j * state[0, 1, :, 0, 0].numpy()
    wanted, end = sequential(layer, u.flatten(1).double().numpy(), start)
    np.testing.assert_allclose(found.flatten(1), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after[0, 0, :, 0, 0] + 1j * after[0, 1, :, 0, 0], end, rtol=1e-4, atol=1e-5)


def make_pair():
    backbones = []
    for carry in (True, False):
        torch.manual_seed(0)
        backbones.append(s5_vit(5, dim=8, head_width=4, carry=carry))
    return backbones


@torch.no_grad()
def test_one_window_at_a_time_is_the_whole_where_the_state_is_carried():
    carried, _ = make_pair()
    frames = torch.randint(0, 4, (5, 2, 5, 64, 96)).float()
    whole, after = carried(frames)
    state = None
    parts = []
    for frame in frames:
        maps, state = carried(frame[None], state)
        parts.append(maps)
    for x, each in zip(whole, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(each), x)
    torch.testing.assert_close(state, after)
    assert [tuple(tensor.shape) for tensor in after] == [(2, 2, 8 << n, 16 >> n, 24 >> n) for n in range(4)]


@torch.no_grad()
def test_within_one_call_both_are_the_same_and_without_carry_nothing_is_remembered():
    carried, published = make_pair()
    frames = torch.randint(0, 4, (5, 1, 5, 64, 96)).float()
    maps, state = published(frames)
    assert state == ()
    assert all(map(torch.equal, maps, carried(frames)[0]))
    alone, _ = published(frames[4:], published(frames[:4])[1])
    assert all(map(torch.equal, alone, published(frames[4:])[0]))
    assert not torch.allclose(alone[0], maps[0][4:])


def test_the_normal_part_of_hippo_has_these_eigenvalues():
    root = np.sqrt(np.arange(8) + 0.5)
    matrix = np.array(
        [[-0.5 if n == k else (-1 if n > k else 1) * root[n] * root[k] for k in range(8)] for n in range(8)]
    )
    frequencies, vectors = hippo_legs(8)
    values = -0.5 + 1j * frequencies
    np.testing.assert_allclose(vectors * values @ vectors.conj().T, matrix, atol=1e-12)
    np.testing.assert_allclose(sorted(np.linalg.eigvals(matrix).imag), sorted(values.imag), atol=1e-12)


def test_an_untrained_layer_reads_no_state_that_turns_too_fast():
    layer = S5(64, carry=True)
    steps = layer.log_step.detach().exp()
    assert ((steps > 1e-3 * 0.999) & (steps < 0.1 * 1.001)).all()
    cycles = layer.eigenvalues[:, 1].detach().abs() * steps / (2 * math.pi)
    is_silent = (layer.to_output.detach() == 0).all(dim=2).all(dim=0)
    assert torch.equal(is_silent, cycles >= 0.25)
    assert is_silent.any()
    assert not is_silent.all()


@torch.no_grad()
def test_a_state_space_computes_in_float32_within_autocast():
    layer = S5(8, carry=True)
    x = torch.randn(3, 1, 2, 2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found, (state,) = layer(x)
    assert torch.equal(found, layer(x)[0])
    assert state.dtype == torch.float32


@pytest.mark.parametrize("carry", [True, False])
def test_every_weight_learns(carry):
    torch.manual_seed(0)
    backbone = s5_vit(5, dim=8, head_width=4, carry=carry)
    maps, _ = backbone(torch.rand(3, 1, 5, 64, 96))
    sum(x.square().sum() for x in maps).backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
