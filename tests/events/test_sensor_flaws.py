"""What a simulated sensor does worse than an ideal one: each flaw by the law that it obeys, and none unless asked."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events.array import Events
from seqdet.events.sensor import Sensor
from seqdet.events.simulation import simulate

from .light import DARK, all_events, light, rows, texture

QUIET = {"threshold_spread": 0, "refractory_us": 0, "leak_rate_hz": 0, "shot_noise_hz": 0, "dark_level": DARK}
FLAWED = Sensor(
    refractory_us=100, shot_noise_hz=5, shot_noise_in_white=0.25, photoreceptor_hz=100, hot_pixels=0.02,
    readout_hz=200_000,
)  # fmt: skip


def speed_hz(cutoff_hz, of_light):
    """By which a first-order low pass with this cutoff in white comes nearer, per second."""
    return 2 * np.pi * cutoff_hz * (of_light + DARK) / (1 + DARK)


def test_a_sensor_without_flaws_sends_the_events_that_it_always_sent():
    noisy = Sensor(threshold_spread=0.1, refractory_us=300, leak_rate_hz=5, shot_noise_hz=5)
    events = all_events(texture(9), np.arange(9) * 4000, sensor=noisy, seed=7)
    content = b"".join(column.tobytes() for column in (events.t, events.x, events.y, events.p))
    assert hashlib.sha256(content).hexdigest() == "61b3a714fcacf23acd4e544638c089cc06877ca761b89acf402da493ea5324c3"


def test_a_flawed_sensor_sends_the_same_events_each_time_in_order_and_within_their_interval():
    times = np.arange(9) * 4000
    intervals = list(simulate(texture(9), times, sensor=FLAWED, seed=1))
    for (start, end), events in zip(pairwise(times), intervals, strict=True):
        assert (np.diff(events.t) >= 0).all()
        assert ((events.t >= start) & (events.t < end)).all()
    whole = rows(Events.concatenate(intervals))
    assert len(whole) > 1000
    assert whole == rows(all_events(texture(9), times, sensor=FLAWED, seed=1))
    assert whole != rows(all_events(texture(9), times, sensor=FLAWED, seed=2))


@given(end=st.floats(-1.9, 0), step=st.sampled_from([-1.9, -0.7, 0.7, 1.9]), cutoff_hz=st.floats(5, 500))
def test_a_step_of_the_light_is_answered_by_an_exponential_with_the_time_constant_of_that_light(end, step, cutoff_hz):
    after = light([[end]])
    before = light([[end - step]])
    sensor = Sensor(**QUIET, photoreceptor_hz=cutoff_hz)
    events = all_events([before, after, after], [0, 1, 10**8], sensor=sensor)  # the step takes a microsecond
    wanted = np.arange(1, int(abs(step) / 0.2 - 1e-3) + 1) * 0.2
    constant_us = 1e6 / speed_hz(cutoff_hz, after[0, 0])
    analytic = -constant_us * np.log(1 - wanted / abs(step))
    assert events.p.tolist() == [int(step > 0)] * len(wanted)
    np.testing.assert_allclose(events.t, analytic, atol=2.5, rtol=1e-4)


def integrated(speed, start, end, said, *, duration, step):
    """What y' = speed * (input - y) says every ``step``, of an input that goes straight: by Runge and Kutta."""

    def slope(time, value):
        return speed * (start + (end - start) * time / duration - value)

    values = [said]
    for time in np.arange(0, duration, step).tolist():
        first = slope(time, said)
        second = slope(time + step / 2, said + step / 2 * first)
        third = slope(time + step / 2, said + step / 2 * second)
        last = slope(time + step, said + step * third)
        said += step / 6 * (first + 2 * second + 2 * third + last)
        values.append(said)
    return values


@settings(max_examples=30)
@given(levels=st.lists(st.floats(-3.5, 0), min_size=3, max_size=4), cutoff_hz=st.floats(20, 500))
def test_the_way_between_frames_is_that_of_the_differential_equation(levels, cutoff_hz):
    duration, step = 20_000, 4
    times = np.arange(len(levels)) * duration
    sensor = Sensor(**QUIET, photoreceptor_hz=cutoff_hz)
    events = all_events(light(np.reshape(levels, (-1, 1, 1))), times, sensor=sensor)
    reference = said = levels[0]
    at = 0
    for n, (a, b) in enumerate(pairwise(levels)):
        mean = np.exp(np.linspace(a, b, 2001)).mean()
        speed = speed_hz(cutoff_hz, mean - DARK) / 1e6
        way = integrated(speed, a, b, said, duration=duration, step=step)
        while at < len(events) and events.t[at] < times[n + 1]:
            reference += 0.2 if events.p[at] else -0.2
            since = np.array([0, 1]) + events.t[at] - times[n]
            shown = np.interp(since, np.arange(len(way)) * step, way)
            assert min(shown) - 1e-3 <= reference <= max(shown) + 1e-3  # reached within the microsecond
            at += 1
        said = way[-1]
        assert abs(said - reference) < 0.2 + 1e-3  # and none is missing
    assert at == len(events)


def test_an_endlessly_fast_photoreceptor_is_the_limit_of_faster_ones():
    frames, times = texture(6), np.arange(6) * 4000
    ideal, fast = (all_events(frames, times, sensor=Sensor(**QUIET, photoreceptor_hz=hz)) for hz in (0, 1e10))
    places = [np.lexsort((each.t, each.x, each.y)) for each in (ideal, fast)]
    assert len(ideal) == len(fast)
    assert np.abs(ideal.t[places[0]] - fast.t[places[1]]).max() <= 1


def test_what_passes_quickly_is_blurred_away_in_the_dark_and_seen_in_the_light():
    blink = np.array([[[1.0, 0.04]], [[0.25, 0.01]], [[1.0, 0.04]]])  # the same contrast
    frames = np.repeat(blink, [1, 1, 1], axis=0)
    sensor = Sensor(**QUIET | {"dark_level": 1e-6}, photoreceptor_hz=200)
    events = all_events(frames, [0, 2000, 4000], sensor=sensor)
    assert (events.x == 0).sum() >= 4
    assert not (events.x == 1).any()


def test_hot_pixels_fire_by_a_poisson_process_and_leave_the_others_alone():
    rate_hz, seconds = 80, 40
    sensor = Sensor(refractory_us=0, hot_pixels=0.1, hot_pixel_hz=rate_hz)
    frames, times = np.full((21, 30, 20), 0.5), np.arange(21) * seconds * 50_000
    calm, events = (all_events(frames, times, sensor=each) for each in (Sensor(refractory_us=0), sensor))
    counts = np.bincount(events.y.astype(int) * 20 + events.x, minlength=600)
    is_hot = counts > rate_hz * seconds / 2
    assert is_hot.sum() == 60
    expected = rate_hz * seconds
    assert abs(counts[is_hot].mean() - expected - 4) < 5 * np.sqrt(expected / 60)
    assert 0.6 < counts[is_hot].var() / expected < 1.6  # of a Poisson process it is 1
    of_hot = events[is_hot[events.y.astype(int) * 20 + events.x]]
    assert abs(of_hot.p.mean() - 0.5) < 5 / np.sqrt(4 * len(of_hot))
    elsewhere = [row for row in rows(calm) if not is_hot[row[2] * 20 + row[1]]]
    assert elsewhere == [row for row in rows(events) if not is_hot[row[2] * 20 + row[1]]]


def test_more_hot_pixels_are_hot_with_those_that_were():
    def hot(share):
        events = all_events(
            np.ones((2, 20, 20)), [0, 10**6], sensor=Sensor(**QUIET, hot_pixels=share, hot_pixel_hz=1000), seed=5
        )
        return set(zip(events.x.tolist(), events.y.tolist(), strict=True))

    assert len(hot(0.01)) == 4
    assert hot(0.01) < hot(0.05)


def test_the_dead_time_takes_its_share_of_a_hot_pixel():
    rate_hz, dead_us = 2000, 500
    sensor = Sensor(**QUIET | {"refractory_us": dead_us}, hot_pixels=1, hot_pixel_hz=rate_hz)
    events = all_events(np.ones((2, 4, 5)), [0, 20 * 10**6], sensor=sensor)
    expected = 20 * 20 * rate_hz / (1 + rate_hz * dead_us / 1e6)  # of a counter that is not paralysed
    assert abs(len(events) / expected - 1) < 0.01


@pytest.mark.parametrize("left", [0.25, 0.0])
def test_shot_noise_falls_with_the_light_and_leak_does_not(left):
    greys = np.linspace(0, 1, 5)
    frames = np.broadcast_to(np.repeat(greys, 60), (6, 40, 300))
    sensor = Sensor(refractory_us=0, leak_rate_hz=1, shot_noise_hz=4, shot_noise_in_white=left)
    events = all_events(frames, np.arange(6) * 500_000, sensor=sensor)
    for n, grey in enumerate(greys):
        of_grey = events[events.x // 60 == n]
        shot = 2 * (1 - (1 - left) * grey)
        for polarity, rate_hz in ((0, shot), (1, 1 + shot)):
            expected = rate_hz * 60 * 40 * 2.5
            assert abs((of_grey.p == polarity).sum() - expected) <= 5 * np.sqrt(expected)


def test_all_pixels_at_once_are_read_one_after_the_other():
    sensor = Sensor(**QUIET | {"on_threshold": 3.0}, readout_hz=20_000)
    frames = [np.zeros((3, 4)), np.ones((3, 4)), np.ones((3, 4)), np.ones((3, 4))]
    intervals = list(simulate(frames, [0, 1, 200, 10_000], sensor=sensor))
    assert [len(each) for each in intervals] == [0, 3, 9]  # what is not read yet comes later
    events = Events.concatenate(intervals)
    assert events.t.tolist() == [50 * n for n in range(1, 13)]
    assert list(zip(events.y.tolist(), events.x.tolist(), strict=True)) == [(y, x) for y in range(3) for x in range(4)]


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_events_wait_as_long_as_in_a_queue_with_one_server(load):
    readout_hz, pixels, seconds = 2000, 10_000, 30
    rate_hz = load * readout_hz
    noise = QUIET | {"shot_noise_hz": rate_hz / pixels}
    frames, times = np.ones((31, 100, 100)), np.arange(31) * seconds * 10**6 // 30
    free = all_events(frames, times, sensor=Sensor(**noise))
    limited = all_events(frames, times, sensor=Sensor(**noise, readout_hz=readout_hz))
    assert len(free) - len(limited) < 0.002 * len(free)  # pixels that would have had two at once
    service_us = 1e6 / readout_hz
    asked, read = (np.sort((each.y * np.int64(100) + each.x << 40) + each.t) for each in (free, limited))
    waited = (read - asked[np.searchsorted(asked, read - int(service_us), "right") - 1]).mean() - service_us
    assert abs(waited / (load * service_us / (2 * (1 - load))) - 1) < 0.15  # Pollaczek and Khinchine
    edges = np.arange(0, limited.t[-1], 10_000)
    assert np.diff(np.searchsorted(limited.t, edges)).max() <= 21


def test_under_overload_the_sensor_sends_what_it_can_and_pixels_that_wait_see_nothing():
    sensor = Sensor(**QUIET | {"shot_noise_hz": 1000}, readout_hz=10_000)
    stream = simulate(np.ones((21, 10, 10)), np.arange(21) * 50_000, sensor=sensor)
    events = Events.concatenate(list(stream))
    assert abs(len(events) - 10_000) <= 1
    again = np.concatenate([np.diff(np.flatnonzero(events.y.astype(int) * 10 + events.x == n)) for n in range(100)])
    assert again.mean() > 80  # nearly all others come before it is its turn again


def test_a_readout_that_never_fills_delays_nothing():
    frames, times = texture(6), np.arange(6) * 4000
    ideal, fast = (all_events(frames, times, sensor=Sensor(readout_hz=hz)) for hz in (0, 1e12))
    assert rows(ideal) == rows(fast)


@pytest.mark.parametrize(
    "values",
    [
        {"hot_pixels": 1.1},
        {"hot_pixel_hz": -1.0},
        {"shot_noise_in_white": 2.0},
        {"photoreceptor_hz": 1e-5},
        {"readout_hz": -3.0},
    ],
)
def test_a_sensor_that_cannot_be_is_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        Sensor(**values)
