import numpy as np
import pytest
import torch

import seqdet
from seqdet.allowing import ALLOWED
from seqdet.checks import InputError
from seqdet.config import InputConfig
from seqdet.events.array import Events, columns
from seqdet.events.tensors import REPRESENTATIONS
from seqdet.viz.images import PALETTES, frame_image, tensor_image

SIZE = (6, 8)
WINDOW = {"size_hw": SIZE, "start_us": 0, "window_us": 1000}
CASES = [(name, {}) for name in REPRESENTATIONS] + [
    ("event_cube", {"split_polarity": False}),
    ("time_surface", {"decay": "none"}),
    ("time_surface", {"decay": "exponential"}),
    ("multi_channel_time_surface", {"decay": "none"}),
]
EVENTS = columns(t=[500, 600, 700, 800, 900], x=[1, 1, 1, 4, 6], y=[2, 2, 2, 3, 5], p=[1, 1, 1, 0, 1])


def shows(name, parameters=None):
    return InputConfig(name, parameters or {}, 1000, SIZE, SIZE)


def picture(name, parameters, events=EVENTS, palette="dark"):
    frame = REPRESENTATIONS[name](events, **WINDOW, **parameters)[0]
    before = frame.copy()
    image = tensor_image(frame, shown=shows(name, parameters), palette=palette)
    np.testing.assert_array_equal(frame, before)
    return image


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_every_representation_shows_its_polarities_at_their_pixels(name, parameters, palette):
    image = picture(name, parameters, palette=palette)
    background, on, off = (np.array(colour, float) for colour in PALETTES[palette])
    assert image.shape == (*SIZE, 3)
    assert image.dtype == np.uint8
    assert {tuple(pixel) for pixel in np.argwhere((image != background).any(-1))} == {(2, 1), (3, 4), (5, 6)}
    for y, x, colour in ((2, 1, on), (3, 4, off), (5, 6, on)):
        way = (image[y, x] - background) @ (colour - background) / ((colour - background) ** 2).sum()
        assert 0.2 < way <= 1.01
        np.testing.assert_allclose(image[y, x], background + way * (colour - background), atol=1)


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_a_window_without_events_is_background(name, parameters):
    assert (picture(name, parameters, Events.empty()) == PALETTES["dark"].background).all()


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_more_events_or_more_recent_ones_are_further_from_the_background(name, parameters):
    image = picture(name, parameters).astype(int)
    often, recent = (np.abs(image[y, x] - PALETTES["dark"].background).sum() for y, x in ((2, 1), (5, 6)))
    assert recent > often if "time_surface" in name else recent < often


def test_the_last_polarity_of_a_pixel_wins_in_a_time_surface():
    events = columns(t=[100, 900], x=[1, 1], y=[2, 2], p=[1, 0])
    blue = picture("time_surface", {}, events)[2, 1].astype(int)
    np.testing.assert_allclose(blue, picture("time_surface", {}, events[1:])[2, 1], atol=1)


def test_another_representation_looks_as_a_frame_does():
    frame = np.random.default_rng(0).random((7, *SIZE), np.float32)
    np.testing.assert_array_equal(tensor_image(frame, shown=shows("mine")), frame_image(frame))


def test_one_of_yours_looks_as_it_states_its_channels(tmp_path, monkeypatch):
    monkeypatch.setenv(ALLOWED, "[]")
    (tmp_path / "mine.py").write_text(
        "from seqdet import representation\n"
        "@representation(channels=[(1, 0), (0, 0), ('any', None)])\n"
        "def counts(events, **_): ..."
    )
    frame = np.zeros((3, *SIZE), np.uint8)
    frame[0, 2, 1] = frame[1, 3, 4] = 7
    frame[2, 5, 6] = 7
    assert (tensor_image(frame, shown=shows("mine:counts")) == frame_image(frame)).all()  # nobody allowed it
    seqdet.allow(f"{tmp_path}/mine.py:counts")
    image = tensor_image(frame, shown=shows("mine:counts"))
    background, on, off = PALETTES["dark"]
    mixed = np.round((np.array(on) + off) / 2)
    for (y, x), colour in {(2, 1): on, (3, 4): off, (5, 6): mixed, (0, 0): background}.items():
        np.testing.assert_allclose(image[y, x], colour, atol=1)


@pytest.mark.parametrize("polarity", [0, 1, "any", None])
def test_the_newest_of_a_pixel_is_shown_whatever_polarities_there_are(polarity, tmp_path, monkeypatch):
    monkeypatch.setenv(ALLOWED, "[]")
    (tmp_path / "last.py").write_text(
        f"from seqdet import representation\n@representation(channels=[({polarity!r}, None)], drawn='newest')\n"
        "def seen(events, **_): ..."
    )
    seqdet.allow(f"{tmp_path}/last.py:seen")
    frame = np.zeros((1, *SIZE), np.float32)
    frame[0, 2, 1] = 1
    image = tensor_image(frame, shown=shows("last:seen"))
    assert np.argwhere((image != PALETTES["dark"].background).any(-1)).tolist() == [[2, 1]]


def test_a_tensor_looks_as_the_array_does():
    frame = REPRESENTATIONS["stacked_histogram"](EVENTS, **WINDOW)[0]
    image = tensor_image(torch.from_numpy(frame), shown=shows("stacked_histogram"))
    np.testing.assert_array_equal(image, tensor_image(frame, shown=shows("stacked_histogram")))


def test_a_wrong_shape_is_refused():
    with pytest.raises(InputError, match=r"frame must have shape \(C, H, W\)"):
        tensor_image(np.zeros((1, 2, 3, 4)), shown=shows("histogram"))
