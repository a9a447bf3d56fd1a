from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording
from seqdet.events.filters import FILTERS, FilterConfig, NoiseFilter, filtered, find_filters
from seqdet.events.sensor import Sensor
from seqdet.events.simulation import simulate

SIZE_HW = (3, 4)
every_filter = pytest.mark.parametrize("name", FILTERS)


@st.composite
def crowds(draw) -> Events:
    """Events on few pixels, all of the rim among them, with ties, jitter, long rests and clocks that begin anew."""
    steps = draw(st.lists(st.sampled_from([0, 0, 1, 5, 9, 10, 11, 30, 10**12, -3, -(10**6)]), max_size=60))
    t = draw(st.integers(-(10**9), 10**9)) + np.cumsum(np.array(steps, np.int64))
    places = [draw(st.lists(st.integers(0, size - 1), min_size=len(t), max_size=len(t))) for size in SIZE_HW]
    p = draw(st.lists(st.integers(0, 1), min_size=len(t), max_size=len(t)))
    return columns(t=t, x=np.array(places[1], int), y=np.array(places[0], int), p=np.array(p, int))


def rows(events: Events) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in (events.t, events.x, events.y, events.p)), strict=True))


def by_definition(events: Events, name: str, threshold: int) -> list[tuple[int, ...]]:
    """The events that pass, found by looking back over the whole list."""
    passed, cut = [], {}
    for i, (t, x, y, p) in enumerate(rows(events)):
        before = rows(events)[:i][::-1]
        near = [age for age, u, v, _ in before if max(abs(u - x), abs(v - y)) == 1]
        own = [(age, sign) for age, u, v, sign in before if (u, v) == (x, y)]
        is_recent = bool(own) and abs(t - own[0][0]) <= threshold
        in_burst = bool(own) and own[0][1] == p and is_recent
        if bool(own) and own[0][1] != p:
            cut[x, y] = False
        keep = {
            "activity": bool(near) and abs(t - near[0]) <= threshold,
            "trail": not own or own[0][1] != p or abs(t - own[0][0]) >= threshold,
            "stc": in_burst and not cut.get((x, y)),
            "stc_keep_trail": in_burst,
        }[name]
        if in_burst:
            cut[x, y] = True
        if keep:
            passed.append((t, x, y, p))
    return passed


def noise(seconds: float, rate_hz: float, size_hw: tuple[int, int], seed: int) -> Events:
    """Events anywhere at any time, so many a second from every pixel."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(seconds * rate_hz * size_hw[0] * size_hw[1])
    x, y, p = (rng.integers(0, size, count) for size in (size_hw[1], size_hw[0], 2))
    return columns(t=np.sort(rng.integers(0, int(seconds * 1e6), count)), x=x, y=y, p=p)


def moving_disc(size_hw: tuple[int, int]) -> Events:
    """What a sensor without noise sees of a bright disc that crosses its field in half a second."""
    rows_, columns_ = np.indices(size_hw)
    centres = np.linspace(10, size_hw[1] - 10, 501)
    distances = (np.hypot(rows_ - size_hw[0] / 2, columns_ - centre) for centre in centres)
    frames = (0.2 + 0.6 / (1 + np.exp(2 * (distance - 12))) for distance in distances)
    sensor = Sensor(leak_rate_hz=0, shot_noise_hz=0)
    return Events.concatenate(list(simulate(frames, range(0, 501_000, 1000), sensor=sensor)))


@every_filter
@given(events=crowds(), threshold=st.sampled_from([1, 10, 10**6]))
def test_the_events_that_pass_are_those_of_the_definition(name, events, threshold):
    kept = NoiseFilter(FilterConfig(name, threshold), SIZE_HW).keep(events)
    assert rows(kept) == by_definition(events, name, threshold)


@every_filter
@given(events=crowds(), cuts=st.lists(st.integers(0, 60), max_size=5), saved=st.booleans())
def test_a_stream_that_is_cut_anywhere_is_filtered_as_the_whole(name, events, cuts, saved):
    config = FilterConfig(name, 10)
    whole, cutting, parts = NoiseFilter(config, SIZE_HW), NoiseFilter(config, SIZE_HW), []
    for start, end in pairwise([0, *sorted(cuts), len(events)]):
        parts.append(cutting.keep(events[start:end]))
        if saved:
            state, cutting = cutting.state_dict(), NoiseFilter(config, SIZE_HW)
            cutting.load_state_dict(state)
    assert rows(Events.concatenate(parts)) == rows(whole.keep(events))
    assert (cutting.seen, cutting.removed) == (whole.seen, whole.removed)


def test_a_burst_passes_as_its_first_its_second_or_all_but_its_first():
    burst = columns(t=[0, 4, 8, 12, 13, 15, 90, 94], x=[1] * 8, y=[1] * 8, p=[1, 1, 1, 1, 0, 0, 0, 0])
    passing = {name: NoiseFilter(FilterConfig(name, 5), SIZE_HW).keep(burst).t.tolist() for name in FILTERS}
    assert passing == {
        "activity": [],
        "trail": [0, 13, 90],
        "stc": [4, 15],  # of the second burst of one polarity nothing, as the vendor warns
        "stc_keep_trail": [4, 8, 12, 15, 94],
    }


@every_filter
def test_a_reset_filter_has_forgotten_everything(name):
    events = columns(t=[0, 1, 2], x=[0, 0, 1], y=[0, 0, 0], p=[1, 1, 1])
    noise_filter = NoiseFilter(FilterConfig(name, 10), SIZE_HW)
    first = rows(noise_filter.keep(events))
    assert rows(noise_filter.keep(events)) != first
    noise_filter.reset()
    assert rows(noise_filter.keep(events)) == first
    assert noise_filter.seen == 3


def test_a_chain_of_filters_passes_what_passes_all():
    events = noise(0.02, 500, (20, 30), 1)
    configs = find_filters("activity:1000,trail")
    once = NoiseFilter(configs[0], (20, 30)).keep(events)
    twice = NoiseFilter(configs[1], (20, 30)).keep(once)
    halves = filtered([events[:100], events[100:]], [NoiseFilter(each, (20, 30)) for each in configs])
    assert rows(Events.concatenate(list(halves))) == rows(twice)


@every_filter
def test_input_and_saved_state_stay_as_they_are(name):
    events = noise(0.01, 500, (20, 30), 2)
    before, noise_filter = rows(events), NoiseFilter(FilterConfig(name), (20, 30))
    noise_filter.keep(events)
    state = noise_filter.state_dict()
    saved = state["last"].copy()
    noise_filter.keep(events[::2])
    noise_filter.load_state_dict(state)
    noise_filter.keep(events[::3])
    assert rows(events) == before
    np.testing.assert_array_equal(state["last"], saved)


@every_filter
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": [0, 4]}, "events must lie on a sensor of height 3 and width 4"),
        ({"y": [3, 0]}, "events must lie on a sensor of height 3 and width 4"),
    ],
)
def test_events_outside_the_sensor_are_refused_and_leave_no_trace(name, wrong, message):
    noise_filter = NoiseFilter(FilterConfig(name), SIZE_HW)
    state = noise_filter.state_dict()["last"]
    with pytest.raises(InputError, match=message):
        noise_filter.keep(columns(**{"t": [0, 1], "x": [0, 0], "y": [0, 0], "p": [0, 1], **wrong}))
    np.testing.assert_array_equal(noise_filter.state_dict()["last"], state)


def test_a_polarity_of_two_a_state_of_another_size_and_a_sensor_of_no_size_are_refused():
    one, (zero, two) = np.zeros(1, np.uint16), (np.zeros(1, np.int64), np.full(1, 2, np.uint8))
    with pytest.raises(InputError, match="p must be 0 or 1, got up to 2"):
        NoiseFilter(FilterConfig(), SIZE_HW).keep(Events(zero, one, one, two))
    with pytest.raises(InputError, match=r"state must be of a filter trail for a sensor of \(3, 4\), got trail for"):
        NoiseFilter(FilterConfig(), SIZE_HW).load_state_dict(NoiseFilter(FilterConfig(), (4, 4)).state_dict())
    for size_hw in ((0, 4), (65536, 65536), (1, 65537)):
        with pytest.raises(InputError, match="size_hw must be from 1 to 65536 each and at most 67108864 pixels"):
            NoiseFilter(FilterConfig(), size_hw)


def test_a_filter_is_found_by_its_name_and_its_microseconds():
    assert find_filters("stc,activity:2500") == (FilterConfig("stc", 10_000), FilterConfig("activity", 2500))
    assert find_filters("") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("median:5", "filter must be one of activity, stc, stc_keep_trail, trail; got 'median'"),
        (":5", "filter must be one of"),
        ("trail:", "filter must be name or name:microseconds, such as activity:10000, got 'trail:'"),
        ("trail:5ms", "filter must be name or name:microseconds"),
        ("trail:-5", "filter must be name or name:microseconds"),
        ("trail:0", "threshold_us must be at least 1, got 0"),
        ("trail:" + "9" * 9999, "threshold_us must be at most 1000000000, got"),
    ],
)
def test_a_filter_that_is_none_is_refused_in_a_sentence(text, message):
    with pytest.raises(InputError, match=message):
        find_filters(text)


@pytest.mark.parametrize(
    ("text", "least_removed", "least_kept"),
    [("activity:5000", 0.85, 0.9), ("stc:10000", 0.97, 0.05), ("stc_keep_trail:10000", 0.97, 0.3)],
)
def test_most_noise_goes_and_the_signal_stays(text, least_removed, least_kept):
    size_hw = (60, 80)
    signal, dirt = moving_disc(size_hw), noise(0.5, 2, size_hw, 3)
    mixed = Events.concatenate([signal, dirt])
    order = np.argsort(mixed.t, kind="stable")
    is_noise = order >= len(signal)
    passed = set(rows(NoiseFilter(*find_filters(text), size_hw).keep(mixed[order])))
    has_passed = np.array([row in passed for row in rows(mixed[order])])
    removed, kept = 1 - has_passed[is_noise].mean(), has_passed[~is_noise].mean()
    assert removed >= least_removed
    assert kept >= least_kept


@every_filter
def test_a_recording_is_filtered_the_same_whatever_its_pieces(recordings, name):
    with open_recording(recordings / "lens_640x480.evt3.raw") as recording:
        chunks, size_hw = list(recording.chunks()), recording.size_hw
    whole = NoiseFilter(FilterConfig(name), size_hw).keep(events := Events.concatenate(chunks))
    pieces = (events[start : start + 1009] for start in range(0, len(events), 1009))
    parts = Events.concatenate(list(filtered(pieces, [NoiseFilter(FilterConfig(name), size_hw)])))
    assert 0 < len(whole) < len(events)
    for column in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(parts, column), getattr(whole, column))
