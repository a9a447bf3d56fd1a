"""Every representation beside a plain twin: one event after the other, one window after the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.allowing import ALLOWED, allow
from seqdet.checks import InputError
from seqdet.config import InputConfig
from seqdet.events.array import Events
from seqdet.events.sieve import JITTER_US
from seqdet.events.tensors import NEVER, REPRESENTATIONS, blank_frame

EPOCH_US = 1_700_000_000_000_000
NAMES = sorted(REPRESENTATIONS)
OPTIONS = {
    "histogram": {"max_incr_per_pixel": st.sampled_from([1.5, 5.0]), "clip": st.sampled_from([0.7, 1.0, 3.0])},
    "histogram_quantized": {"negative_bit_length": st.integers(1, 8), "positive_bit_length": st.integers(1, 8)},
    "difference_quantized": {"bit_length": st.integers(1, 8)},
    "time_surface": {
        "decay": st.sampled_from(["none", "linear", "exponential"]),
        "tau_us": st.none() | st.floats(0.5, 1e6),
    },
    "stacked_histogram": {"bins": st.integers(1, 12), "max_count": st.integers(1, 255)},
    "mixed_density_stack": {"bins": st.integers(1, 12), "max_count": st.integers(1, 127)},
}
OPTIONS["difference"] = OPTIONS["histogram"]
OPTIONS["multi_channel_time_surface"] = {"bins": st.integers(1, 6), **OPTIONS["time_surface"]}
OPTIONS["event_cube"] = {"bins": st.integers(1, 6), "split_polarity": st.booleans(), **OPTIONS["histogram"]}


class Scene(NamedTuple):
    events: Events
    window: dict[str, Any]


def scene(count: int, seed: int, *, jitter_us: int = 0, **window: Any) -> Scene:
    """Events on few pixels, a third of them outside the windows, that run back by less than ``jitter_us``."""
    rng = np.random.default_rng(seed)
    duration, (height, width) = window["window_us"] * window.get("windows", 1), window["size_hw"]
    t = window["start_us"] + rng.integers(-duration // 4 - 1, duration + duration // 4 + 2, count)
    t = t[np.argsort(t + rng.integers(0, jitter_us + 1, count), kind="stable")]
    x, y = (rng.integers(0, size, count).astype(np.uint16) for size in (width, height))
    return Scene(Events(t, x, y, rng.integers(0, 2, count).astype(np.uint8)), window)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    size_hw = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    return scene(
        draw(st.integers(0, 120)),
        draw(st.integers(0, 2**32)),
        jitter_us=draw(st.sampled_from([0, 3, JITTER_US])),
        size_hw=size_hw,
        to_hw=draw(st.none() | st.tuples(*(st.integers(1, size) for size in size_hw))),
        start_us=draw(st.sampled_from([-50, 0, EPOCH_US])),
        window_us=draw(st.integers(1, 1000)),
        windows=draw(st.integers(1, 3)),
    )


class Counted(NamedTuple):
    """An event in a window: which one, microseconds after its start, and the pixel of the frame."""

    window: int
    after_us: int
    y: int
    x: int
    p: int


def counted(events: Events, *, size_hw, start_us, window_us, windows=1, to_hw=None) -> Iterator[Counted]:
    (height, width), (rows, columns) = size_hw, to_hw or size_hw
    for t, x, y, p in zip(*(column.tolist() for column in (events.t, events.x, events.y, events.p)), strict=True):
        window, after_us = divmod(t - start_us, window_us)
        if 0 <= window < windows:
            yield Counted(window, after_us, y * rows // height, x * columns // width, p)


def blank(channels: int, dtype: Any, window: dict[str, Any]) -> np.ndarray:
    return np.zeros((window.get("windows", 1), channels, *(window.get("to_hw") or window["size_hw"])), dtype)


def area(window: dict[str, Any]) -> float:
    (height, width), (rows, columns) = window["size_hw"], window.get("to_hw") or window["size_hw"]
    return (rows / height) * (columns / width)


def plain_histogram(events, window, max_incr_per_pixel=5.0, clip=1.0):
    out, step = blank(2, np.float32, window), np.float32(area(window) / max_incr_per_pixel)
    for n, _, y, x, p in counted(events, **window):
        out[n, p, y, x] = min(out[n, p, y, x] + step, np.float32(clip))
    return out


def plain_difference(events, window, max_incr_per_pixel=5.0, clip=1.0):
    out, step = blank(1, np.float32, window), np.float32(area(window) / max_incr_per_pixel)
    for n, _, y, x, p in counted(events, **window):
        out[n, 0, y, x] = np.clip(out[n, 0, y, x] + (step if p else -step), -np.float32(clip), np.float32(clip))
    return out


def plain_histogram_quantized(events, window, negative_bit_length=8, positive_bit_length=8):
    out, most = blank(2, np.int64, window), 2 ** np.array([negative_bit_length, positive_bit_length]) - 1
    for n, _, y, x, p in counted(events, **window):
        out[n, p, y, x] += 1
    return np.minimum(out, most[:, None, None]).astype(np.uint8)


def plain_difference_quantized(events, window, bit_length=8):
    out = blank(1, np.int8, window)
    for n, _, y, x, p in counted(events, **window):
        value = int(out[n, 0, y, x]) + (1 if p else -1)
        out[n, 0, y, x] = min(max(value, -(2 ** (bit_length - 1))), 2 ** (bit_length - 1) - 1)
    return out


def plain_event_cube(events, window, bins=5, split_polarity=True, max_incr_per_pixel=63.75, clip=1.0):
    polarities = 2 if split_polarity else 1
    out, step = blank(bins * polarities, np.float64, window), area(window) / max_incr_per_pixel
    for n, after_us, y, x, p in counted(events, **window):
        time = after_us * bins / window["window_us"] - 0.5
        left = int(np.floor(time))
        left_weight = max(0, 1 - abs(left - time))
        for bin_, weight in ((left, left_weight), (left + 1, 1 - left_weight)):
            if 0 <= bin_ < bins:
                cell = n, bin_ * polarities + p * split_polarity, y, x
                out[cell] = np.clip(out[cell] + step * weight * (1 if p or split_polarity else -1), -clip, clip)
    return out.astype(np.float32)


def plain_multi_channel_time_surface(events, window, bins=5, decay="linear", tau_us=None):
    times, window_us = blank(2 * bins, np.int64, window) + NEVER, window["window_us"]
    for n, after_us, y, x, p in counted(events, **window):
        times[n, after_us * bins // window_us * 2 + p, y, x] = window["start_us"] + n * window_us + after_us
    if decay == "none":
        return times
    last = window["start_us"] + window_us * np.arange(1, len(times) + 1).reshape(-1, 1, 1, 1) - 1
    ratio = np.where(times == NEVER, 0, last - times) / (tau_us or window_us)
    kept = np.exp(-ratio) if decay == "exponential" else np.maximum(1 - ratio, 0)
    return np.where(times == NEVER, 0, kept).astype(np.float32)


def plain_time_surface(events, window, **options):
    return plain_multi_channel_time_surface(events, window, bins=1, **options)


def plain_stacked_histogram(events, window, bins=10, max_count=255):
    out = blank(2 * bins, np.int64, window)
    for n, after_us, y, x, p in counted(events, **window):
        out[n, p * bins + after_us * bins // window["window_us"], y, x] += 1
    return np.minimum(out, max_count).astype(np.uint8)


def plain_mixed_density_stack(events, window, bins=10, max_count=127):
    out = blank(bins, np.int64, window)
    for n, after_us, y, x, p in counted(events, **window):
        for channel in range(bins):
            if after_us * 2 ** (bins - 1 - channel) < window["window_us"]:
                out[n, channel, y, x] += 1 if p else -1
    return np.clip(out, -max_count, max_count).astype(np.int8)


TWINS = {name: globals()[f"plain_{name}"] for name in NAMES}
ROUNDED = {"event_cube": 3e-6, "time_surface": 1e-6, "multi_channel_time_surface": 1e-6}


def assert_same(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if found.dtype == np.float32:
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDED.get(name, 0))
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_representation_equals_its_plain_twin(name):
    @settings(max_examples=60)
    @given(scenes(), st.fixed_dictionaries({}, optional=OPTIONS[name]))
    def check(scene, options):
        assert_same(
            name, REPRESENTATIONS[name](scene.events, **scene.window, **options), TWINS[name](*scene, **options)
        )

    check()


@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_events_equal_the_plain_twin_too(name):
    crowd = scene(9000, 1, jitter_us=20, size_hw=(40, 51), to_hw=(13, 25), start_us=7, window_us=700, windows=2)
    assert_same(name, REPRESENTATIONS[name](crowd.events, **crowd.window), TWINS[name](*crowd))


@pytest.mark.parametrize("name", NAMES)
def test_windows_at_once_are_the_windows_one_at_a_time(name):
    @settings(max_examples=20)
    @given(scenes())
    def check(scene):
        at_once = REPRESENTATIONS[name](scene.events, **scene.window)
        start_us, window_us = scene.window["start_us"], scene.window["window_us"]
        for n, frame in enumerate(at_once):
            alone = {**scene.window, "windows": 1, "start_us": start_us + n * window_us}
            np.testing.assert_array_equal(REPRESENTATIONS[name](scene.events, **alone)[0], frame)

    check()


@pytest.mark.parametrize("name", NAMES)
def test_a_lent_buffer_is_cleared_filled_and_returned_and_so_is_one_lane_of_a_batch(name):
    events, window = scene(200, 2, size_hw=(5, 6), start_us=0, window_us=100, windows=3)
    expected = REPRESENTATIONS[name](events, **window)
    batch = np.full((3, 2, *expected.shape[1:]), 77, expected.dtype)
    lane = batch[:, 1]
    assert REPRESENTATIONS[name](events, **window, out=lane) is lane
    np.testing.assert_array_equal(batch[:, 1], expected)
    assert (batch[:, 0] == 77).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_events_and_events_of_other_windows_leave_a_frame_empty(name):
    function, window = REPRESENTATIONS[name], {"size_hw": (3, 4), "start_us": 100, "window_us": 50}
    for times in ([], [0, 99], [150, 151]):
        events = scene(len(times), 0, **window).events
        assert not function(Events(np.array(times, np.int64), events.x, events.y, events.p), **window).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_window_holds_its_first_microsecond_and_not_the_one_after_its_last(name):
    function, pixel = REPRESENTATIONS[name], np.zeros(1, np.uint16)
    for start_us, end_us in pairwise(range(EPOCH_US, EPOCH_US + 4 * 64, 64)):
        for t, is_inside in ((start_us - 1, False), (start_us, True), (end_us - 1, True), (end_us, False)):
            event = Events(np.array([t], np.int64), pixel, pixel, np.ones(1, np.uint8))
            assert function(event, size_hw=(1, 1), start_us=start_us, window_us=64).any() == is_inside


@pytest.mark.parametrize("name", NAMES)
def test_sizes_and_times_may_be_small_numbers_of_numpy(name):
    events, window = scene(200, 5, size_hw=(100, 250), to_hw=(9, 99), start_us=0, window_us=90, windows=3)
    numbers = {key: np.array(value, np.uint8) for key, value in window.items() if key != "windows"}
    expected = REPRESENTATIONS[name](events, **window)
    np.testing.assert_array_equal(REPRESENTATIONS[name](events, **numbers, windows=3), expected)


@pytest.mark.parametrize("name", NAMES)
def test_events_are_left_as_they_were(name):
    events, window = scene(50, 3, jitter_us=9, size_hw=(4, 4), start_us=0, window_us=60)
    before = events[np.arange(50)]
    REPRESENTATIONS[name](events, **window)
    for column in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(events, column), getattr(before, column))


@pytest.mark.parametrize(
    ("name", "p", "most"),
    [
        ("histogram_quantized", 0, 255),
        ("histogram_quantized", 1, 255),
        ("difference_quantized", 0, -128),
        ("difference_quantized", 1, 127),
        ("stacked_histogram", 1, 255),
        ("mixed_density_stack", 0, -127),
        ("mixed_density_stack", 1, 127),
        ("histogram", 1, 1),
        ("difference", 0, -1),
    ],
)
def test_counts_stop_at_the_largest_value(name, p, most):
    pixel = np.zeros(700, np.uint16)
    events = Events(np.zeros(700, np.int64), pixel, pixel, np.full(700, p, np.uint8))
    values = REPRESENTATIONS[name](events, size_hw=(1, 1), start_us=0, window_us=10).ravel().tolist()
    assert (max(values), min(values)) in ((most, 0), (most, most), (0, most))


@pytest.mark.parametrize("decay", ["none", "linear", "exponential"])
def test_a_time_surface_tells_microseconds_apart_however_large_the_time(decay):
    x = np.arange(3, dtype=np.uint16)
    events = Events(EPOCH_US + np.arange(3), x, 0 * x, np.ones(3, np.uint8))
    size = {"size_hw": (1, 3), "start_us": EPOCH_US, "window_us": 3}
    surface = REPRESENTATIONS["time_surface"](events, **size, decay=decay)[0, 1, 0]
    assert (np.diff(surface) > 0).all()
    assert decay != "none" or surface.tolist() == events.t.tolist()
    assert decay == "none" or surface[-1] == 1


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_shrinking_by_a_power_of_two_is_a_shift(shift):
    events, window = scene(300, 4, size_hw=(64, 80), start_us=0, window_us=100)
    shifted = Events(events.t, events.x >> shift, events.y >> shift, events.p)
    small = (64 >> shift, 80 >> shift)
    np.testing.assert_array_equal(
        REPRESENTATIONS["histogram_quantized"](events, **window, to_hw=small),
        REPRESENTATIONS["histogram_quantized"](shifted, **{**window, "size_hw": small}),
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("x", "y", "p"), [(4, 0, 0), (0, 3, 0), (0, 0, 2), (65535, 65535, 255)])
def test_events_outside_the_sensor_are_refused_and_nothing_around_the_buffer_is_written(name, x, y, p):
    window = {"size_hw": (3, 4), "start_us": 0, "window_us": 10}
    event = Events(*(np.array([v], d) for v, d in ((5, np.int64), (x, np.uint16), (y, np.uint16), (p, np.uint8))))
    example = REPRESENTATIONS[name](Events.empty(), **window)
    memory = np.full((3, *example.shape[1:]), 7, example.dtype)
    with pytest.raises(InputError, match=r"events must have x below 4, y below 3 and p of 0 or 1, got up to x="):
        REPRESENTATIONS[name](event, **window, out=memory[1:2])
    assert (memory[[0, 2]] == 7).all()


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((1, 2, 3, 5), np.uint8),
        np.zeros((1, 2, 3, 4), np.float32),
        np.zeros((1, 2, 4, 3), np.uint8).swapaxes(2, 3),
        np.frombuffer(bytes(24), np.uint8).reshape(1, 2, 3, 4),
    ],
    ids=["shape", "dtype", "strides", "read only"],
)
def test_a_lent_buffer_that_does_not_fit_is_refused(out):
    with pytest.raises(
        InputError, match=r"out must be a writeable array \(1, 2, 3, 4\) of uint8 with contiguous frames"
    ):
        REPRESENTATIONS["histogram_quantized"](Events.empty(), size_hw=(3, 4), start_us=0, window_us=9, out=out)


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("histogram", {"window_us": 0}, "window_us must be at least 1, got 0"),
        ("histogram", {"windows": 0}, "windows must be at least 1, got 0"),
        ("histogram", {"to_hw": (4, 4)}, r"to_hw must be from 1 to size_hw, .* got \(4, 4\) of \(3, 4\)"),
        ("histogram", {"max_incr_per_pixel": 0}, "max_incr_per_pixel must be a number above 0, got 0"),
        ("difference", {"clip": float("nan")}, "clip must be a number above 0, got nan"),
        ("event_cube", {"bins": 0}, "bins must be a whole number from 1 to 1000, got 0"),
        ("event_cube", {"clip": -1}, "clip must be a number above 0, got -1"),
        ("time_surface", {"decay": "cubic"}, "decay must be one of exponential, linear, none; got 'cubic'"),
        ("time_surface", {"tau_us": 0}, "tau_us must be a number above 0, got 0"),
        ("stacked_histogram", {"max_count": 256}, "max_count must be a whole number from 1 to 255, got 256"),
        ("mixed_density_stack", {"bins": 63}, "bins must be a whole number from 1 to 62, got 63"),
        ("histogram_quantized", {"negative_bit_length": 9}, "negative_bit_length must be a whole number from 1 to 8"),
        ("difference_quantized", {"bit_length": 0}, "bit_length must be a whole number from 1 to 8, got 0"),
    ],
)
def test_a_wrong_option_ends_in_one_sentence(name, wrong, words):
    with pytest.raises(InputError, match=words):
        REPRESENTATIONS[name](Events.empty(), **{"size_hw": (3, 4), "start_us": 0, "window_us": 9, **wrong})


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_option_is_no_option(name):
    with pytest.raises(TypeError, match="tau_ms"):
        REPRESENTATIONS[name](Events.empty(), size_hw=(3, 4), start_us=0, window_us=9, tau_ms=1)


def test_threads_side_by_side_do_not_meet():
    crowds = [scene(3000, seed, size_hw=(20, 30), start_us=0, window_us=500, windows=2) for seed in range(8)]
    cube = REPRESENTATIONS["event_cube"]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda crowd: cube(crowd.events, **crowd.window), crowds))
    for crowd, frames in zip(crowds, together, strict=True):
        np.testing.assert_array_equal(frames, cube(crowd.events, **crowd.window))


OWN = {
    "nothing": "pass",
    "flat": "return np.zeros((1, 2, 9), np.uint8)",
    "larger": "return np.zeros((1, 2, 12, 16), np.uint8)",
    "deaf": "return np.zeros((windows, 2, 6, 8), np.uint8)",
    "right": "out = np.zeros((windows, 2, 6, 8), np.uint8) if out is None else out; out[:] = 0; return out",
}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", r"own:nothing must return an array of frames \(1, C, 6, 8\), got a NoneType"),
        ("flat", r"own:flat must return an array of frames \(1, C, 6, 8\), got \(1, 2, 9\)"),
        ("larger", r"got \(1, 2, 12, 16\)"),
        ("deaf", "own:deaf must fill the array out"),
        ("absent", "has no attribute 'absent'"),
    ],
)
def test_a_function_of_ones_own_that_breaks_its_promise_is_refused_by_name(name, words, tmp_path, monkeypatch):
    monkeypatch.setenv(ALLOWED, "[]")
    texts = (f"def {each}(events, *, windows=1, out=None, **_):\n    {body}" for each, body in OWN.items())
    (tmp_path / "own.py").write_text("import numpy as np\n" + "\n".join(texts))
    shown = InputConfig(f"own:{name}", {}, 1000, sensor_hw=(12, 16), frame_hw=(6, 8))
    allow(f"{tmp_path}/own.py:{name}", f"{tmp_path}/own.py:right")
    with pytest.raises(InputError, match=words):
        blank_frame(shown)
    assert blank_frame(replace(shown, representation="own:right")).shape == (2, 6, 8)


def test_parameters_that_a_representation_does_not_take_are_named():
    with pytest.raises(InputError, match="parameters must be arguments of event_cube; it got an unexpected keyword"):
        blank_frame(InputConfig("event_cube", {"wide": 3}, 9, (4, 4), (4, 4)))
