"""The cheapest assignment, against all assignments that there are."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.ops.assignment import assigned, in_order


def total(costs: np.ndarray, found: np.ndarray) -> float:
    columns = np.nonzero(found >= 0)[0]
    return float(costs[found[columns], columns].sum())


def cheapest(costs: np.ndarray) -> float:
    few = costs if costs.shape[0] <= costs.shape[1] else costs.T
    ways = permutations(range(few.shape[1]), few.shape[0])
    return min(float(few[np.arange(few.shape[0]), list(way)].sum()) for way in ways)


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), seed=st.integers(0, 1000), whole=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_assignment_is_cheaper(rows, columns, seed, whole):
    rng = np.random.default_rng(seed)
    costs = rng.integers(-3, 4, (3, rows, columns)).astype(float) if whole else rng.normal(size=(3, rows, columns))
    found = assigned(costs, np.ones((3, columns), dtype=bool))
    for problem in range(3):
        chosen = found[problem][found[problem] >= 0]
        assert len(chosen) == len(set(chosen)) == min(rows, columns)
        assert total(costs[problem], found[problem]) == pytest.approx(cheapest(costs[problem]))


def test_columns_that_do_not_exist_get_no_row_and_change_nothing():
    rng = np.random.default_rng(0)
    costs = rng.normal(size=(4, 5, 7))
    exists = rng.random((4, 7)) < 0.5
    exists[3] = False
    found = assigned(costs, exists)
    assert (found[~exists] == -1).all()
    for problem in range(3):
        alone = assigned(costs[problem : problem + 1, :, exists[problem]], np.ones((1, exists[problem].sum()), bool))
        assert (found[problem, exists[problem]] == alone[0]).all()


def test_a_problem_does_not_depend_on_those_beside_it_and_its_costs_stay_as_they_are():
    costs = np.random.default_rng(1).normal(size=(3, 20, 8)).astype(np.float32)
    before = costs.copy()
    exists = np.ones((3, 8), dtype=bool)
    found = assigned(costs, exists)
    assert (found[1] == assigned(costs[1:2], exists[1:2])[0]).all()
    assert (costs == before).all()


def test_more_columns_than_rows_use_every_row_once():
    found = assigned(np.random.default_rng(2).normal(size=(1, 30, 200)), np.ones((1, 200), dtype=bool))
    assert sorted(found[found >= 0]) == list(range(30))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_costs_that_are_no_numbers_are_survived(value):
    costs = np.zeros((1, 4, 3))
    costs[0, 1:3] = value
    found = assigned(costs, np.ones((1, 3), dtype=bool))
    assert len(set(found[0])) == 3
    assert (found >= 0).all()


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 3), (2, 3, 0)])
def test_nothing_is_assigned_to_nothing(shape):
    found = assigned(np.zeros(shape), np.ones((shape[0], shape[2]), dtype=bool))
    assert found.shape == (shape[0], shape[2])
    assert (found == -1).all()


def test_queries_are_brought_in_the_order_of_those_most_like_them():
    torch.manual_seed(0)
    wanted = [torch.randn(2, 7, 4), torch.randn(2, 7, 3)]
    shuffled = [each[:, [3, 0, 6, 1, 2, 5, 4]] + 1e-6 for each in wanted]
    for found, each in zip(in_order(shuffled, wanted), wanted, strict=True):
        torch.testing.assert_close(found, each, rtol=0, atol=2e-6)


def test_a_query_that_is_like_none_is_seen_also_if_it_is_no_number():
    wanted = torch.tensor([[[0.0, 0], [0, 0], [5, 5]]])
    for odd in (7.0, torch.nan):
        found = torch.tensor([[[0.0, 0], [odd, 7], [5, 5]]])
        (ordered,) = in_order([found], [wanted])
        assert not torch.equal(ordered, wanted)
        assert sorted(ordered[0, :, 1].tolist()) == [0, 5, 7]
