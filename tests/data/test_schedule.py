from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.data.schedule import BLANK, Cue, drawn, schedule, share, shuffled

COUNTS = st.lists(st.integers(0, 4), max_size=7)


@settings(max_examples=100)
@given(counts=COUNTS, lanes=st.integers(1, 5), data=st.data())
def test_every_clip_plays_once_and_follows_its_predecessor_in_the_same_lane(counts, lanes, data):
    order = data.draw(st.none() | st.permutations(range(len(counts))))
    steps = schedule(counts, lanes, order=order, epoch=3)
    played = [cue for step in steps for cue in step if not cue.is_blank]
    assert sorted(played) == [Cue(recording, clip, 3) for recording, n in enumerate(counts) for clip in range(n)]
    for lane in zip(*steps, strict=True):
        for before, now in zip((BLANK, *lane), lane, strict=False):
            assert now.is_first or now.is_blank or now == Cue(before.recording, before.clip + 1, 3)


@settings(max_examples=50)
@given(counts=COUNTS, lanes=st.integers(1, 5))
def test_a_lane_is_reset_exactly_where_a_recording_starts(counts, lanes):
    resets = [cue for step in schedule(counts, lanes) for cue in step if cue.is_first]
    assert sorted(resets) == [Cue(recording, 0) for recording, n in enumerate(counts) if n]


@settings(max_examples=50)
@given(counts=COUNTS, lanes=st.integers(1, 5))
def test_a_blank_lane_stays_blank_and_no_step_is_all_blank(counts, lanes):
    steps = schedule(counts, lanes)
    assert all(any(not cue.is_blank for cue in step) for step in steps)
    for lane in zip(*steps, strict=True):
        blanks = [cue.is_blank for cue in lane]
        assert blanks == sorted(blanks)


def test_recordings_are_taken_in_the_order_given():
    steps = schedule([1, 2, 1], 2, order=[2, 1, 0])
    assert steps == [[Cue(2, 0), Cue(1, 0)], [Cue(0, 0), Cue(1, 1)]]


@settings(max_examples=50)
@given(counts=COUNTS, lanes=st.integers(1, 3), ranks=st.integers(1, 3))
def test_ranks_take_equally_many_steps_and_together_all_lanes(counts, lanes, ranks):
    steps = schedule(counts, lanes * ranks)
    shares = [share(steps, rank, ranks) for rank in range(ranks)]
    assert [[cue for step in together for cue in step] for together in zip(*shares, strict=True)] == steps
    assert {len(part) for part in shares} == {len(steps)}


def test_lanes_that_cannot_be_shared_are_refused():
    with pytest.raises(InputError, match=r"lanes must be a multiple of the 2 processes, got 3\."):
        share(schedule([1, 1], 3), 0, 2)
    with pytest.raises(InputError, match="lanes must be at least 1, got 0"):
        schedule([1], 0)


def test_an_order_is_a_permutation_that_the_seed_and_the_epoch_choose():
    assert sorted(shuffled(50, seed=1, epoch=0)) == list(range(50))
    assert shuffled(50, seed=1, epoch=0) == shuffled(50, seed=1, epoch=0)
    assert len({tuple(shuffled(50, seed=seed, epoch=epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


WEIGHTS = [np.array([1.0, 0.0]), np.array([]), np.array([2.0, 1.0, 4.0])]


def test_clips_on_their_own_come_as_often_as_they_weigh():
    steps = drawn(WEIGHTS, 4, 10, seed=3, epoch=1)
    assert [len(step) for step in steps] == [4] * 10
    played = [(cue.recording, cue.clip) for step in steps for cue in step]
    assert {place: played.count(place) for place in set(played)} == {(0, 0): 5, (2, 0): 10, (2, 1): 5, (2, 2): 20}
    assert all(cue.is_first and cue.epoch == 1 for step in steps for cue in step)


def test_clips_on_their_own_are_drawn_from_seed_and_epoch_alone():
    assert drawn(WEIGHTS, 2, 9, seed=3, epoch=1) == drawn(WEIGHTS, 2, 9, seed=3, epoch=1)
    assert drawn(WEIGHTS, 2, 9, seed=3, epoch=1) != drawn(WEIGHTS, 2, 9, seed=3, epoch=2)
    assert drawn(WEIGHTS, 2, 9, seed=4, epoch=1) != drawn(WEIGHTS, 2, 9, seed=3, epoch=1)


def test_nothing_can_be_drawn_of_nothing():
    for weights in ([], [np.zeros(3)]):
        with pytest.raises(InputError, match="above 0 for some clip"):
            drawn(weights, 1, 1, seed=0, epoch=0)
