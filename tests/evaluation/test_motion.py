from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.evaluation.breakdown import has_tracks, quiet_us, speed, still_us

STEP = 100_000


def test_speed_is_that_of_the_centre_between_the_neighbours_on_the_track(boxes):
    rows = [(0, 0, 0, 10, 10), (STEP, 3, 4, 10, 10), (2 * STEP, 3, 4, 10, 10), (5 * STEP, 3, 4, 16, 18)]
    assert speed(boxes(*rows)).tolist() == pytest.approx([50, 25, 12.5, 5 / 0.3])


def test_tracks_have_motions_of_their_own_whatever_the_order_of_the_labels(boxes):
    first = [(n * STEP, 10 * n, 0, 10, 10) for n in range(4)]
    second = [(n * STEP, 0, 0, 10, 10) for n in range(4)]
    labels = boxes(*first, *second, (0, 5, 5, 5, 5), track_id=[7] * 4 + [8] * 4 + [9])
    expected_speed, expected_still = [100] * 4 + [0] * 4 + [np.nan], [0] * 4 + [0, STEP, 2 * STEP, 3 * STEP] + [0]
    for order in (np.arange(9), np.random.default_rng(0).permutation(9)):
        assert speed(labels[order]) == pytest.approx(np.array(expected_speed)[order], nan_ok=True)
        assert still_us(labels[order]).tolist() == np.array(expected_still)[order].tolist()


def test_a_box_stands_still_until_it_leaves_where_it_came_to_rest(boxes):
    x = [0, 20, 20, 20.4, 20, 21, 21, 21]
    assert still_us(boxes(*[(n * STEP, at, 0, 10, 10) for n, at in enumerate(x)])).tolist() == [
        *(STEP * np.array([0, 0, 1, 2, 3, 0, 1, 2]))
    ]


def test_slow_drift_and_growth_are_motion(boxes):
    drift = boxes(*[(n * STEP, 0.3 * n, 0, 10, 10) for n in range(20)])
    growth = boxes(*[(n * STEP, -0.2 * n, -0.2 * n, 10 + 0.4 * n, 10 + 0.4 * n) for n in range(20)])
    assert still_us(drift).max() == still_us(growth).max() == STEP
    assert still_us(drift, tolerance=0.1).max() == 0


def test_a_track_that_vanished_for_a_while_stood_still_meanwhile(boxes):
    assert still_us(boxes((0, 5, 5, 10, 10), (90 * STEP, 5, 5, 10, 10))).tolist() == [0, 90 * STEP]


def test_quiet_time_counts_from_the_last_label_with_events(boxes):
    labels = boxes(*[(n * STEP, 5, 5, 10, 10) for n in range(6)])
    assert (quiet_us(labels, np.array([0, 0, 9, 0, 0, 3])) // STEP).tolist() == [0, 1, 0, 1, 2, 0]
    assert (quiet_us(labels, np.array([0, 0, 9, 0, 0, 3]) >= 4) // STEP).tolist() == [0, 1, 0, 1, 2, 3]


def test_labels_without_tracks_are_recognised(boxes):
    twice = boxes((0, 0, 0, 5, 5), (0, 9, 9, 5, 5))
    assert not has_tracks(twice)
    twice["track_id"] = [1, 2]
    assert has_tracks(twice)
    assert has_tracks(twice[:0])


def test_no_labels_have_no_motion(boxes):
    empty = boxes()
    assert len(speed(empty)) == len(still_us(empty)) == len(quiet_us(empty, np.zeros(0))) == 0


@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(-2, 2)), max_size=25))
def test_still_times_are_those_of_a_loop_over_every_track(steps, boxes):
    labels = boxes(*[(n * STEP, 0.5 * x, 0, 10, 10) for n, (_, _, x) in enumerate(steps)])
    labels["track_id"], labels["class_id"] = [[step[k] for step in steps] for k in (0, 1)] if steps else (0, 0)
    expected, rest = [], {}
    for row in labels:
        key = int(row["track_id"]), int(row["class_id"])
        if key not in rest or abs(row["x"] - rest[key]["x"]) > 0.5:
            rest[key] = row
        expected.append(int(row["t"] - rest[key]["t"]))
    assert still_us(labels).tolist() == expected
