from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seqdet.digits.rendering import INK_THRESHOLD, ink_boxes, render

SQUARE = np.full((1, 4, 4), 255, np.uint8)
RED, GREEN = (200, 0, 0), (0, 100, 0)


def placed(*corners: tuple[float, float], scale: float = 1.0) -> np.ndarray:
    """Maps for one frame whose images start at the given (x, y)."""
    return np.array([[[[1 / scale, 0, -x / scale], [0, 1 / scale, -y / scale]] for x, y in corners]])


def tent_samples(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ink in [0, 1] of ``image`` at (x, y): every source pixel is a tent of width two."""
    weights_x = np.clip(1 - np.abs(x[..., None] - np.arange(image.shape[1])), 0, None)
    weights_y = np.clip(1 - np.abs(y[..., None] - np.arange(image.shape[0])), 0, None)
    return np.einsum("...i,...j,ij->...", weights_y, weights_x, image / 255)


def test_an_opaque_square_covers_its_pixels_and_no_others():
    rendering = render(SQUARE, np.array([RED]), placed((3, 2)), size_hw=(8, 12))
    expected = np.zeros((3, 8, 12), np.uint8)
    expected[0, 2:6, 3:7] = 200
    np.testing.assert_array_equal(rendering.frames, expected[None])
    assert rendering.whole.tolist() == rendering.visible.tolist() == [[[3, 2, 7, 6]]]
    assert rendering.visible_share.tolist() == [[1]]


def test_the_first_image_hides_the_second_and_the_boxes_say_what_shows():
    images = np.concatenate([SQUARE, SQUARE])
    rendering = render(images, np.array([RED, GREEN]), placed((3, 2), (4, 2)), size_hw=(8, 12))
    assert rendering.frames[0, :, 3, 2:9].T.tolist() == [[0, 0, 0], *[[200, 0, 0]] * 4, [0, 100, 0], [0, 0, 0]]
    assert rendering.whole.tolist() == [[[3, 2, 7, 6], [4, 2, 8, 6]]]
    assert rendering.visible.tolist() == [[[3, 2, 7, 6], [7, 2, 8, 6]]]
    assert rendering.visible_share.tolist() == [[1, 0.25]]


def test_a_hidden_image_shows_nothing_and_has_no_visible_box():
    rendering = render(
        np.concatenate([SQUARE, SQUARE]), np.array([RED, GREEN]), placed((3, 2), (3, 2)), size_hw=(8, 12)
    )
    assert rendering.visible_share.tolist() == [[1, 0]]
    assert rendering.visible[0, 1].tolist() == [0, 0, 0, 0]
    assert rendering.whole[0, 1].tolist() == [3, 2, 7, 6]
    assert rendering.frames[0, 1].max() == 0


def test_thin_ink_in_front_lets_what_is_behind_through():
    images = np.concatenate([SQUARE // 5 * 2, SQUARE])  # alpha 0.4
    rendering = render(images, np.array([RED, GREEN]), placed((0, 0), (0, 0)), size_hw=(4, 4))
    assert (rendering.frames[0] == np.array([80, 60, 0])[:, None, None]).all()
    assert rendering.visible_share[0] == pytest.approx([1, 0.6])


def test_an_image_without_ink_or_outside_the_frame_leaves_the_frame_black():
    images = np.concatenate([0 * SQUARE, SQUARE])
    rendering = render(images, np.array([RED, GREEN]), placed((3, 2), (40, 2)), size_hw=(8, 12))
    assert rendering.frames.max() == rendering.whole.max() == rendering.visible_share.max() == 0


@settings(max_examples=40)
@given(
    image=arrays(np.uint8, (1, 5, 6)),
    angle=st.floats(-3.2, 3.2),
    scale=st.floats(0.6, 4.0),
    x=st.floats(-5, 25),
    y=st.floats(-5, 25),
)
def test_sampling_is_bilinear_under_any_turn_size_and_place(image, angle, scale, x, y):
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    to_source = np.array([[cosine, sine, -cosine * x - sine * y + 2.5], [-sine, cosine, sine * x - cosine * y + 2.0]])
    rows, columns = np.mgrid[:20, :24]
    source = to_source @ np.stack([columns.ravel(), rows.ravel(), np.ones(480)])
    ink = tent_samples(image[0], *source).reshape(20, 24)
    rendering = render(image, np.array([[255, 0, 0]]), to_source[None, None], size_hw=(20, 24))
    np.testing.assert_allclose(rendering.frames[0, 0], 255 * ink, atol=0.51)
    (left, top, right, bottom), on_edge = rendering.whole[0, 0].astype(int), np.abs(ink - INK_THRESHOLD) < 1e-4
    in_box = np.zeros_like(ink, bool)
    in_box[top:bottom, left:right] = True
    assert not (in_box < ((ink >= INK_THRESHOLD) & ~on_edge)).any(), "ink outside its box"
    reached = (ink >= INK_THRESHOLD) | on_edge
    for line in (in_box & reached)[[top, bottom - 1], :] if right else ():
        assert line.any(), "a loose box"
    for line in (in_box & reached)[:, [left, right - 1]].T if right else ():
        assert line.any(), "a loose box"


@settings(max_examples=20)
@given(image=arrays(np.uint8, (1, 5, 6)))
def test_an_ink_box_is_where_finely_sampled_ink_reaches_the_threshold(image):
    fine = np.linspace(-1, 6, 7 * 32 + 1)
    ink = tent_samples(image[0], *np.broadcast_arrays(fine, fine[:, None])) >= INK_THRESHOLD - 1e-9
    box = ink_boxes(image)[0]
    if not ink.any():
        assert box.tolist() == [0, 0, 0, 0]
        return
    columns, rows = fine[ink.any(axis=0)], fine[ink.any(axis=1)]
    assert box == pytest.approx([columns[0], rows[0], columns[-1], rows[-1]], abs=1 / 32)
