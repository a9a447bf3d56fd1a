from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from seqdet.checks import InputError
from seqdet.events.array import Events, Triggers, columns
from seqdet.events.files import open_recording
from seqdet.events.inspection import inspect
from seqdet.events.tables import write_npz
from seqdet.viz.draw import BACKGROUND, short_number
from seqdet.viz.inspection import (
    BRIGHTER,
    DARKER,
    GAP_SHADE,
    MAP,
    PLOT,
    RING,
    TRIGGER,
    TRIGGER_ROW,
    inspection_image,
    rate_columns,
    write_inspection_image,
)

SHAPE = (900, 1280, 3)


def inspected(folder, events, size_hw=(48, 64)):
    write_npz(folder / "a.npz", [events], size_hw=size_hw)
    return inspect(open_recording(folder / "a.npz"))


def steady(seconds, *, size_hw=(48, 64), rate=8000) -> Events:
    """Evenly spaced events, a quarter of them brighter."""
    n = np.arange(int(seconds * rate))
    return columns(t=n * (1_000_000 // rate), x=n % size_hw[1], y=n * 7 % size_hw[0], p=n % 4 == 0)


def plot(image):
    left, top, right, bottom = PLOT
    return image[top - TRIGGER_ROW : bottom, left:right]


def has(part, colour):
    return (part == colour).all(-1)


@pytest.mark.parametrize("seconds", [0.05, 1, 13.3, 59, 61])
def test_a_steady_rate_is_level_with_its_share_of_brighter_events(tmp_path, seconds):
    columns_ = rate_columns(inspected(tmp_path, steady(seconds)), 500)
    np.testing.assert_allclose(columns_.darker, 6000, rtol=0.1)
    np.testing.assert_allclose(columns_.brighter, 2000, rtol=0.1)
    np.testing.assert_allclose(columns_.highest, 8000, rtol=0.1)
    np.testing.assert_allclose(columns_.lowest, 8000, rtol=0.1)


@pytest.mark.parametrize("seconds", [2, 3600])
def test_a_burst_of_100_ms_and_a_silence_show_however_long_the_recording(tmp_path, seconds):
    t = np.arange(0, seconds * 1_000_000, 200 if seconds == 2 else 40_000)
    t = t[(t < seconds * 500_000) | (t >= seconds * 750_000)]
    burst = seconds * 250_000 // 100_000 * 100_000 + np.arange(0, 100_000, 2)
    t = np.sort(np.concatenate([t, burst]))
    found = inspected(tmp_path, columns(t=t, x=t % 64, y=t % 48, p=t % 2))
    rates = rate_columns(found, 1000)
    assert abs(np.argmax(rates.highest) - 250) <= 2
    assert rates.highest.max() == pytest.approx(500_000, rel=0.2)
    assert not rates.highest[502:748].any()
    half_silent = rate_columns(found, 10)
    assert half_silent.brighter[7] + half_silent.darker[7] > half_silent.lowest[7] == 0
    image = inspection_image(found, title="")
    shade = has(plot(image), GAP_SHADE).any(0)
    assert 0.24 < shade.mean() < 0.26


def test_all_events_are_under_the_curve(tmp_path):
    random = np.random.default_rng(0)
    for length in (7_777, 123_456, 59_999_999, 60_000_001, 500_000_000):
        t = np.sort(random.integers(0, length, 5000))
        found = inspected(tmp_path, columns(t=t, x=t % 64, y=t % 48, p=t % 3 == 0))
        rates = rate_columns(found, 20_000)
        seconds = (found.duration_us + 1) / 1e6
        assert (rates.darker + rates.brighter).mean() * seconds == pytest.approx(5000, rel=0.02)
        assert rates.brighter.mean() * seconds == pytest.approx(found.brighter, rel=0.02)


def test_the_curve_has_its_colours_and_the_triggers_their_ticks(tmp_path):
    found = inspected(tmp_path, steady(2))
    plain = inspection_image(found, title="a")
    assert has(plot(plain), DARKER).any()
    assert has(plot(plain), BRIGHTER).any()
    assert not has(plain, TRIGGER).any()
    edges = Triggers(np.array([-5, 1_000_000, 9_000_000]), np.zeros(3, np.uint8), np.ones(3, np.uint8))
    ticks = np.flatnonzero(has(plot(inspection_image(replace(found, edges=edges), title="a")), TRIGGER).any(0))
    assert len(ticks) == 1
    assert abs(ticks[0] - (PLOT[2] - PLOT[0]) / 2) <= 1


@pytest.mark.parametrize("size_hw", [(34, 34), (128, 128), (720, 1280), (1280, 720), (3, 2000), (2000, 3), (1, 1)])
def test_a_hot_pixel_has_a_ring_around_its_place_on_any_sensor(tmp_path, size_hw):
    height, width = size_hw
    hot = columns(t=np.arange(9000), x=[width // 2] * 9000, y=[height // 2] * 9000, p=[1] * 9000)
    events = Events.concatenate([hot, steady(1, size_hw=size_hw)])
    found = inspected(tmp_path, events[np.argsort(events.t, kind="stable")], size_hw)
    found = replace(found, hot_xy=[(width // 2, height // 2)])
    image = inspection_image(found, title="a")
    assert image.shape == SHAPE
    scale = min((MAP[2] - MAP[0]) / width, (MAP[3] - MAP[1]) / height)
    x, y = MAP[0] + (width // 2 + 0.5) * scale, MAP[1] + (height // 2 + 0.5) * scale
    rows, columns_ = np.nonzero(has(image, RING))
    near = (np.abs(rows - y) < 12) & (np.abs(columns_ - x) < 12)
    assert near.sum() > 20
    assert rows[near].mean() == pytest.approx(y, abs=1.5)
    assert columns_[near].mean() == pytest.approx(x, abs=1.5)


@pytest.mark.parametrize("times", [[], [5], [5, 5], [5, 1500], [0, 86_400_000_000]])
def test_hardly_any_events_have_a_picture_that_says_so(tmp_path, times):
    zeros = [0] * len(times)
    image = inspection_image(inspected(tmp_path, columns(t=times, x=zeros, y=zeros, p=zeros)), title="a")
    assert image.shape == SHAPE
    assert (plot(image) != BACKGROUND).any()


def test_the_picture_is_written_as_a_png_file(tmp_path):
    found = inspected(tmp_path, steady(1))
    write_inspection_image(tmp_path / "a.png", found, title="a")
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), inspection_image(found, title="a"))
    with pytest.raises(InputError, match=r"must end in .png, got b.avi"):
        write_inspection_image(tmp_path / "b.avi", found, title="a")


def test_nothing_is_known_of_an_empty_file_without_a_size(tmp_path):
    found = replace(inspected(tmp_path, Events.empty()), counts=np.zeros((0, 0), np.int64), size_hw=(0, 0))
    assert inspection_image(found, title="a").shape == SHAPE


def test_long_titles_and_many_facts_stay_within_their_margins(tmp_path):
    found = inspected(tmp_path, steady(1), (720, 1280))
    found.account.dropped.update({f"{'very ' * 20}strange things {i}": i for i in range(50)})
    image = inspection_image(found, title="a long name " * 50)
    for margin in (image[:, :20], image[:, -20:], image[-20:]):
        assert (margin == BACKGROUND).all()


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (12.5, "12.5"), (999.4, "999"), (999.9, "1 k"), (1.25e6, "1.25 M"), (3e9, "3 G")]
)
def test_large_numbers_are_short(value, text):
    assert short_number(value) == text
