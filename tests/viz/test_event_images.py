import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events.array import Events, columns
from seqdet.viz.draw import luminance
from seqdet.viz.images import PALETTES, accumulated_image, count_limit, events_image, heat

SIZE = (5, 7)
MACHADO = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""What dichromats see of linear RGB, https://doi.org/10.1109/TVCG.2009.113."""


@st.composite
def recordings(draw):
    pixels = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 1)), max_size=40))
    x, y, p = np.array(pixels, np.int64).reshape(-1, 3).T
    return columns(t=np.arange(len(x)), x=x, y=y, p=p)


@given(recordings(), st.sampled_from(sorted(PALETTES)))
def test_every_pixel_has_the_colour_of_its_last_event(events, palette):
    wanted = np.full((*SIZE, 3), PALETTES[palette].background, np.uint8)
    for x, y, p in zip(events.x, events.y, events.p, strict=True):
        wanted[y, x] = PALETTES[palette].on if p else PALETTES[palette].off
    np.testing.assert_array_equal(events_image(events, size_hw=SIZE, palette=palette), wanted)


def test_events_outside_the_sensor_are_refused():
    for x, y in ((7, 0), (0, 5)):
        with pytest.raises(InputError, match=rf"on a sensor of 7x5, got x up to {x}, y up to {y}"):
            events_image(columns(t=[0], x=[x], y=[y], p=[1]), size_hw=SIZE)


def test_an_unknown_palette_is_refused():
    with pytest.raises(InputError, match="palette must be one of colour_blind, cool_warm, dark"):
        events_image(Events.empty(), size_hw=SIZE, palette="pink")


@pytest.mark.parametrize("name", PALETTES)
def test_the_colours_of_a_palette_differ_in_lightness_or_hue(name):
    colours = np.array(PALETTES[name], float)
    for i in range(3):
        assert np.abs(colours[i] - colours[i - 1]).max() > 90


@pytest.mark.parametrize("vision", MACHADO)
def test_the_colour_blind_tell_the_colours_made_for_them_apart(vision):
    linear = (np.array(PALETTES["colour_blind"]) / 255) ** 2.2
    seen = np.clip(linear @ np.transpose(MACHADO[vision]), 0, 1) @ (0.2126, 0.7152, 0.0722)
    background, on, off = seen
    assert (on + 0.05) / (off + 0.05) > 2.5
    assert (off + 0.05) / (background + 0.05) > 2.5


def test_more_events_are_lighter_and_a_hot_pixel_does_not_blacken_the_rest():
    counts = np.tile(np.arange(40), (40, 1))
    calm = accumulated_image(counts)
    counts[0, 0] = 10**9
    image = accumulated_image(counts)
    np.testing.assert_array_equal(image[1:], calm[1:])
    lightness = [luminance(tuple(colour)) for colour in image[1]]
    assert (np.diff(lightness) >= 0).all()
    assert lightness[1] > 2 * lightness[0]
    assert counts[0, 0] == 10**9


def test_no_counts_and_counts_of_one_are_shown_too():
    assert len(np.unique(accumulated_image(np.zeros(SIZE, np.int64)))) <= 3
    image = accumulated_image(np.eye(4, dtype=np.int64))
    np.testing.assert_array_equal(image[0, 0], heat(np.array(1.0)))
    assert count_limit(np.zeros(SIZE, np.int64)) == 1


def test_the_scale_of_heat_rises_in_lightness_all_along():
    assert (np.diff([luminance(tuple(colour)) for colour in heat(np.linspace(0, 1, 100))]) > 0).all()
