from __future__ import annotations

from itertools import count, islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events.array import Events
from seqdet.events.sensor import Sensor
from seqdet.events.simulation import simulate

from .light import DARK, all_events, light, rows, texture

NOISY = Sensor(threshold_spread=0.1, refractory_us=300, leak_rate_hz=5, shot_noise_hz=5)


@given(
    rise=st.floats(-3, 3),
    on=st.floats(0.05, 1),
    off=st.floats(0.05, 1),
    start_us=st.integers(-(10**12), 10**12),
    duration=st.integers(1, 10**7),
)
def test_a_ramp_of_the_logarithm_gives_an_event_per_threshold_at_the_analytic_times(rise, on, off, start_us, duration):
    sensor = Sensor(
        on_threshold=on, off_threshold=off, threshold_spread=0, refractory_us=0,
        leak_rate_hz=0, shot_noise_hz=0, dark_level=DARK,
    )  # fmt: skip
    events = all_events(light([[[0.0]], [[rise]]]), [start_us, start_us + duration], sensor=sensor)
    threshold = on if rise > 0 else off
    crossings = np.arange(1, int(abs(rise) / threshold + 1) + 1) * threshold / max(abs(rise), 1e-300)
    analytic = start_us + crossings[crossings <= 1] * duration
    assert abs(len(events) - abs(rise) / threshold) <= 1 + 1e-9
    assert abs(len(events) - len(analytic)) <= 1  # at the very end rounding decides
    assert np.allclose(events.t[: len(analytic)], analytic[: len(events)] - 0.5, rtol=0, atol=0.51 + 1e-3)
    assert (events.p == (rise > 0)).all()
    assert ((events.t >= start_us) & (events.t < start_us + duration)).all()


def test_a_ramp_of_one_and_a_half_gives_seven_events_one_every_two_fifteenths():
    events = all_events(light([[[-2.0]], [[-0.5]]]), [1000, 16_000])
    assert rows(events) == [(1000 + 2000 * n, 0, 0, 1) for n in range(1, 8)]


def test_eight_bits_are_linearised_before_the_logarithm():
    events = all_events(np.array([[[0]], [[188]]], np.uint8), [0, 10**6])  # sRGB 188 is half of the light of white
    assert len(events) == int(np.log((0.5 + DARK) / DARK) / 0.2)


def test_colours_count_by_their_luminance():
    colours = np.eye(3, dtype=np.uint8)[None] * 255  # a red, a green and a blue pixel
    grey = np.array([[[0.2126, 0.7152, 0.0722]]])
    dark = np.zeros((1, 3))
    assert rows(all_events([colours * 0, colours], [0, 999])) == rows(all_events([dark, grey[0]], [0, 999]))


def test_a_moving_edge_is_reported_where_and_when_it_passes_with_the_right_polarity():
    width, step_us = 20, 1000
    frames = np.where(np.arange(width) < np.arange(width + 1)[:, None, None], 1.0, 0.0) + np.zeros((1, 3, 1))
    times = np.arange(width + 1) * step_us
    for picture, polarity in ((frames, 1), (1 - frames, 0)):
        events = all_events(picture, times)
        assert (events.p == polarity).all()
        assert (events.t // step_us == events.x).all()  # column x changes between frames x and x + 1
        assert np.bincount(events.x, minlength=width).tolist() == [3 * int(np.log((1 + DARK) / DARK) / 0.2)] * width


def test_brighter_and_darker_trade_places_when_the_light_is_mirrored():
    levels = np.random.default_rng(0).uniform(-1, 1, (5, 4, 4))
    levels[0] = 0
    times = np.arange(5) * 777
    events, mirrored = (all_events(light(sign * levels), times) for sign in (1, -1))
    assert len(events) > 20
    assert [(t, x, y, 1 - p) for t, x, y, p in rows(events)] == rows(mirrored)


def test_nothing_happens_where_nothing_changes():
    assert not len(all_events([texture(1)[0]] * 5, range(5)))


@given(cuts=st.sets(st.integers(1, 99_999), max_size=6), rise=st.floats(-3, 3))
def test_frames_in_the_middle_of_a_ramp_change_nothing(cuts, rise):
    times = [0, *sorted(cuts), 100_000]
    whole = all_events(light([[[0.0]], [[rise]]]), [0, 100_000])
    split = all_events([light([[rise * time / 100_000]]) for time in times], times)
    assert abs(len(whole) - len(split)) <= 1  # where the end is on a threshold
    least = min(len(whole), len(split))
    assert np.abs(whole.t[:least] - split.t[:least]).max(initial=0) <= 1
    assert set(whole.p) | set(split.p) <= {rise > 0}


def test_events_are_sorted_and_stay_in_their_interval():
    times = np.cumsum([5, 1000, 3, 70_000, 1])
    intervals = list(simulate(texture(5), times, sensor=NOISY))
    assert len(intervals) == 4
    for (start, end), events in zip(pairwise(times), intervals, strict=True):
        assert (np.diff(events.t) >= 0).all()
        assert ((events.t >= start) & (events.t < end)).all()


def test_a_pixel_is_silent_for_the_refractory_time_and_goes_on_from_its_own_level():
    frames, times = light([[[0.0]], [[2.05]], [[2.05 - 0.15]]]), [0, 1000, 2000]
    every = all_events(frames, times).t
    some = all_events(frames, times, sensor=Sensor(
        threshold_spread=0, refractory_us=150, leak_rate_hz=0, shot_noise_hz=0, dark_level=DARK
    )).t  # fmt: skip
    assert len(every) == 10
    assert some.tolist() == every[::2].tolist()


@pytest.mark.parametrize("refractory_us", [1, 500, 20_000])
def test_no_pixel_is_faster_than_its_refractory_time(refractory_us):
    sensor = Sensor(refractory_us=refractory_us, leak_rate_hz=100, shot_noise_hz=100)
    events = all_events(texture(50), np.arange(50) * 5000, sensor=sensor)
    order = np.lexsort((events.t, events.x, events.y))
    t, pixel = events.t[order], events.y[order].astype(int) * 100 + events.x[order]
    gaps = np.diff(t)[np.diff(pixel) == 0]
    assert len(gaps) > 100
    assert gaps.min() >= refractory_us


def test_noise_has_its_rates():
    sensor = Sensor(refractory_us=0, leak_rate_hz=2, shot_noise_hz=4)
    events = all_events(np.full((11, 40, 50), 0.5), np.arange(11) * 500_000, sensor=sensor)
    for polarity, rate_hz in ((1, 2 + 4 / 2), (0, 4 / 2)):
        expected = rate_hz * 40 * 50 * 5
        assert abs((events.p == polarity).sum() - expected) < 5 * np.sqrt(expected)
    for column, cells in ((events.x, 50), (events.y, 40), (events.t // 500_000, 10)):
        counts = np.bincount(column.astype(int), minlength=cells)
        assert len(counts) == cells
        assert np.abs(counts - len(events) / cells).max() < 5 * np.sqrt(len(events) / cells)


def test_thresholds_differ_from_pixel_to_pixel_by_their_spread():
    sensor = Sensor(threshold_spread=0.1, refractory_us=0, leak_rate_hz=0, shot_noise_hz=0, dark_level=DARK)
    events = all_events([np.zeros((50, 50)), light(np.full((50, 50), 20.0))], [0, 10**6], sensor=sensor)
    thresholds = (20 - np.log(DARK)) / np.bincount(events.y * 50 + events.x, minlength=2500)
    assert abs(thresholds.std() / thresholds.mean() - 0.1) < 0.01
    assert abs(thresholds.mean() - 0.2) < 0.005


def test_a_seed_gives_the_same_events_and_another_gives_others():
    def sent(seed):
        return rows(all_events(texture(6), np.arange(6) * 4000, sensor=NOISY, seed=seed))

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)


def test_an_endless_video_is_simulated_as_it_comes_and_slices_change_nothing():
    asked = []

    def frames():
        for n in count():
            asked.append(n)
            yield texture(1, seed=n)[0]

    stream = simulate(frames(), count(0, 1000), sensor=NOISY)
    first = list(islice(stream, 2))
    assert asked == [0, 1, 2]
    both = Events.concatenate([*first, *islice(stream, 3)])
    assert rows(both) == rows(Events.concatenate(list(islice(simulate(frames(), count(0, 1000), sensor=NOISY), 5))))


def test_a_frame_may_be_reused_by_the_caller_and_is_left_alone():
    frames = texture(6) / 255
    before, buffer = frames.copy(), np.empty_like(frames[0])

    def reused():
        for frame in frames:
            buffer[:] = frame
            yield buffer

    assert rows(all_events(reused(), range(0, 6000, 1000))) == rows(all_events(frames, range(0, 6000, 1000)))
    assert (frames == before).all()


def test_many_events_in_one_interval_are_all_there():
    frames = [np.zeros((100, 80)), np.ones((100, 80))]
    assert len(all_events(frames, [0, 1])) == 8000 * int(np.log((1 + DARK) / DARK) / 0.2)


@pytest.mark.parametrize(
    ("frames", "times", "message"),
    [
        ([], [], "at least two, got none"),
        ([np.zeros((2, 2))], [0], "at least two, got one"),
        (np.zeros((3, 2, 2)), [0, 1], "must be as many as frames, got fewer"),
        (np.zeros((2, 2, 2)), [0, 1, 2], "must be as many as frames, got more"),
        (np.zeros((2, 2, 2)), [5, 5], "must rise"),
        (np.zeros((2, 2, 2)), [5, 4], "must rise"),
        (np.zeros((2, 2, 2)), [0, 2**62], "must rise"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], [0, 1], "all be of one size"),
        ([np.zeros((2, 2)), np.zeros((2, 2, 3))], [0, 1], "all be of one size"),
        (np.full((2, 2, 2), np.nan), [0, 1], "finite"),
        ([np.zeros((2, 2)), np.full((2, 2), np.nan)], [0, 1], "finite"),
        ([np.zeros((2, 2)), np.full((2, 2), np.inf)], [0, 1], "finite"),
        ([np.zeros((2, 2)), np.full((2, 2), -0.1)], [0, 1], "finite and not negative"),
        (np.zeros((2, 2)), [0, 1], "must have shape"),
        (np.zeros((2, 0, 2)), [0, 1], "must have shape"),
        (np.zeros((2, 2, 2), np.int32), [0, 1], "uint8 or float"),
    ],
)
def test_what_is_no_video_is_refused_in_one_sentence(frames, times, message):
    with pytest.raises(InputError, match=message):
        all_events(frames, times)


@pytest.mark.parametrize(
    "values",
    [
        {"on_threshold": 0.0},
        {"off_threshold": -0.2},
        {"threshold_spread": -0.1},
        {"refractory_us": -1},
        {"refractory_us": 0.5},
        {"leak_rate_hz": -1.0},
        {"shot_noise_hz": float("nan")},
        {"dark_level": 0.0},
    ],
)
def test_a_sensor_that_cannot_be_is_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        Sensor(**values)
