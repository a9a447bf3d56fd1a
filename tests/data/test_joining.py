"""Which window a label belongs to, at any label rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.data.joining import align

ENDS_US = np.array([50, 100, 150, 200])


@pytest.mark.parametrize(
    ("policy", "tolerance_us", "labelled_us", "shown"),
    [
        ("nearest", 0, [50, 100, 150, 200], [0, 1, 2, 3]),
        ("nearest", 0, [51, 100, 149], [-1, 1, -1, -1]),
        ("nearest", 2, [51, 100, 148], [0, 1, 2, -1]),
        ("nearest", 25, [20, 75, 130, 230], [1, -1, 2, -1]),
        ("nearest", 99, [0, 1000], [0, -1, -1, -1]),
        ("nearest", 25, [95, 99, 104], [-1, 1, -1, -1]),
        ("causal", 0, [50, 99, 200], [0, -1, -1, 2]),
        ("causal", 49, [50, 99, 200], [0, -1, -1, 2]),
        ("causal", 49, [49, 99, 149], [1, 2, -1, -1]),
        ("causal", 60, [260, 261], [-1, -1, -1, 0]),
        ("nearest", 60, [], [-1, -1, -1, -1]),
    ],
)
def test_a_label_comes_to_its_window(policy, tolerance_us, labelled_us, shown):
    times = np.array(labelled_us, np.int64)
    assert align(times, ENDS_US, policy=policy, tolerance_us=tolerance_us).tolist() == shown


times = st.lists(st.integers(0, 300), max_size=12, unique=True).map(sorted)


@given(times, st.lists(st.integers(0, 300), min_size=1, max_size=12, unique=True).map(sorted), st.integers(0, 60))
def test_no_window_is_closer_to_a_label_than_its_own(labelled, ends, tolerance_us):
    labelled_us, ends_us = np.array(labelled, np.int64), np.array(ends, np.int64)
    nearest = align(labelled_us, ends_us, policy="nearest", tolerance_us=tolerance_us)
    causal = align(labelled_us, ends_us, policy="causal", tolerance_us=tolerance_us)
    for window, end in enumerate(ends):
        if nearest[window] >= 0:
            assert abs(labelled[nearest[window]] - end) == min(abs(labelled[nearest[window]] - each) for each in ends)
            assert abs(labelled[nearest[window]] - end) <= tolerance_us
        if causal[window] >= 0:
            assert 0 <= labelled[causal[window]] - end <= tolerance_us
            assert not any(end < each <= labelled[causal[window]] for each in ends)
    assert len(set(nearest[nearest >= 0])) == (nearest >= 0).sum()


def test_unknown_policies_are_refused():
    with pytest.raises(InputError, match="policy must be one of"):
        align(ENDS_US, ENDS_US, policy="centre", tolerance_us=0)
