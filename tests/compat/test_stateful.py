from __future__ import annotations

import numpy as np
import pytest
import torch
from seqdet.compat.metavision_ml.detection.feature_extractors import Vanilla

from seqdet.checks import InputError


@pytest.fixture
def rnn() -> Vanilla:
    torch.manual_seed(0)
    return Vanilla(2, base=1, cout=4).eval()


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(4, 3, 2, 128, 128)


def test_two_calls_in_a_row_are_one_long_call(rnn, x):
    whole = rnn(x)
    rnn.reset_all()
    parts = [rnn(x[:1]), rnn(x[1:])]
    for one, *others in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.cat(others), one)


def test_a_mask_of_zero_forgets_its_lane_alone(rnn, x):
    fresh = rnn(x)[0].unflatten(0, (4, 3))
    carried = rnn(x)[0].unflatten(0, (4, 3))
    rnn.reset_all()
    rnn(x)
    rnn.reset(torch.tensor([0.0, 1.0, 0.0]).view(3, 1, 1, 1))
    mixed = rnn(x)[0].unflatten(0, (4, 3))
    torch.testing.assert_close(mixed[:, [0, 2]], fresh[:, [0, 2]])
    torch.testing.assert_close(mixed[:, 1], carried[:, 1])
    assert not torch.allclose(carried, fresh)


def test_the_gradient_ends_at_the_call_before(rnn, x):
    early = x.clone().requires_grad_()
    rnn(early)
    rnn(x)[0].sum().backward()
    assert early.grad is None
    assert all(parameter.grad is not None for parameter in rnn.core.stem.parameters())


@pytest.mark.parametrize(
    "other", [torch.rand(2, 2, 2, 128, 128), torch.rand(2, 4, 2, 128, 128), torch.rand(1, 3, 2, 128, 256)]
)
def test_another_batch_size_or_frame_size_starts_from_silence(rnn, x, other):
    fresh = rnn(other)
    rnn.reset_all()
    fresh_of_x = rnn(x)
    for one, same in zip(rnn(other), fresh, strict=True):
        assert torch.equal(one, same)
    for one, same in zip(rnn(x), fresh_of_x, strict=True):  # what came before is not remembered
        assert torch.equal(one, same)


@pytest.mark.parametrize("mask", [torch.ones(2, 1, 1, 1), torch.tensor([1.0, 0.0]), torch.zeros(2)])
def test_a_mask_of_another_length_announces_that_many_lanes(rnn, x, mask):
    fresh = rnn(x[:, :2])
    rnn.reset_all()
    rnn(x)
    rnn.reset(mask)
    for one, same in zip(rnn(x[:, :2]), fresh, strict=True):
        assert torch.equal(one, same)


def test_lanes_other_than_the_mask_announced_are_an_error_that_leaves_the_memory_alone(rnn, x):
    rnn(x)
    before = rnn.state
    rnn.reset(torch.tensor([1.0, 0.0]))
    for lanes in (3, 1):
        with pytest.raises(InputError, match=rf"mask must have one entry for each of the {lanes} lanes of x, got 2\."):
            rnn(x[:, :lanes])
    assert rnn.state is before
    rnn.reset(torch.ones(3))
    carried = rnn(x)[0]
    rnn.reset_all()
    rnn(x)
    assert torch.equal(rnn(x)[0], carried)


def test_after_forgetting_everything_no_mask_counts_any_more(rnn, x):
    rnn(x)
    rnn.reset(torch.tensor([1.0, 0.0]))
    rnn.reset_all()
    assert rnn(x)[0].shape[0] == 12


def test_a_reset_before_the_first_call_changes_nothing(rnn):
    rnn.reset(torch.ones(7))
    rnn.reset_all()
    assert rnn.state is None


@pytest.mark.parametrize("mask", [[0, 1, 0], np.array([False, True, False]), torch.tensor([[0.0], [1.0], [0.0]])])
def test_a_mask_may_be_of_any_kind(rnn, x, mask):
    rnn(x)
    before = rnn.state[0]
    rnn.reset(mask)
    assert torch.equal(rnn.state[0][1], before[1])
    assert not rnn.state[0][[0, 2]].any()


def test_frames_of_any_size_are_padded(rnn):
    maps = rnn(torch.rand(1, 1, 2, 180, 320))
    assert [tuple(feature.shape[-2:]) for feature in maps] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    with pytest.raises(InputError, match=r"x must be floating point, got torch\.uint8"):
        rnn(torch.zeros(1, 1, 2, 180, 320, dtype=torch.uint8))


def test_the_memory_is_no_part_of_the_weights(rnn, x):
    names = set(rnn.state_dict())
    rnn(x)
    assert set(rnn.state_dict()) == names
