import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.structures import Boxes
from seqdet.viz.draw import GREY, PALETTE, WHITE, draw_boxes, readable_scale

CLASSES = ["car", "pedestrian", "two wheeler"]


def boxes(*xyxy, labels=None, scores=None, ignored=None):
    count = len(xyxy)
    return Boxes(
        torch.tensor(xyxy, dtype=torch.float32).reshape(count, 4),
        torch.tensor(labels or [0] * count),
        None if scores is None else torch.tensor(scores),
        is_ignored=None if ignored is None else torch.tensor(ignored),
    )


def black(height=64, width=96):
    return np.zeros((height, width, 3), np.uint8)


def extent(image, colour):
    """Half-open x1, y1, x2, y2 of all pixels of a colour."""
    y, x = np.nonzero((image == colour).all(-1))
    return x.min(), y.min(), x.max() + 1, y.max() + 1


@pytest.mark.parametrize("scale", [1, 4])
def test_the_outline_lies_on_the_outermost_pixels_inside_a_half_open_box(scale):
    drawn = draw_boxes(black(), classes=[""], predictions=boxes([20, 30, 50, 60]), scale=scale)
    is_outline = (drawn == PALETTE[0]).all(-1)
    x1, y1, x2, y2 = (scale * edge for edge in (20, 30, 50, 60))
    assert drawn.shape == (64 * scale, 96 * scale, 3)
    assert is_outline[y1:y2, x1].all()
    assert is_outline[y1:y2, x2 - 1].all()
    assert is_outline[y1, x1:x2].all()
    assert is_outline[y2 - 1, x1:x2].all()
    assert not is_outline[y2:].any()
    assert not is_outline[:, x2:].any()
    assert not is_outline[:, :x1].any()


@pytest.mark.parametrize(("ignored", "colour"), [(False, WHITE), (True, GREY)])
def test_truth_is_dashed_from_corner_to_corner(ignored, colour):
    drawn = draw_boxes(black(), classes=[""], truth=boxes([20, 10, 50, 60], ignored=[ignored]), scale=4)
    assert extent(drawn, colour) == (80, 40, 200, 240)
    side = (drawn[40:240, 80] == colour).all(-1)
    assert 0.4 < side.mean() < 0.6


def test_truth_is_seen_where_a_prediction_lies_exactly_on_it():
    same = [20, 10, 50, 60]
    drawn = draw_boxes(black(), classes=[""], truth=boxes(same), predictions=boxes(same, scores=[0.5]), scale=4)
    left = drawn[100:200, 80]
    assert {tuple(pixel) for pixel in left.tolist()} == {WHITE, PALETTE[0]}


def test_nothing_but_enlarging_happens_away_from_boxes():
    image = np.random.default_rng(0).integers(0, 256, (240, 304, 3), np.uint8)
    here = boxes([100, 100, 160, 160], scores=[0.93])
    drawn = draw_boxes(image, classes=CLASSES, predictions=here, truth=here)
    enlarged = np.kron(image, np.ones((2, 2, 1), np.uint8))
    away = np.ones(drawn.shape[:2], bool)
    away[160:360, 196:324] = False
    np.testing.assert_array_equal(drawn[away], enlarged[away])
    np.testing.assert_array_equal(draw_boxes(image, classes=CLASSES), enlarged)


def test_drawing_leaves_its_input_alone():
    image, found = black(), boxes([20, 30, 50, 60], scores=[0.5])
    draw_boxes(image, classes=CLASSES, predictions=found, truth=found, scale=1)
    assert not image.any()
    assert found.xyxy.tolist() == [[20, 30, 50, 60]]


def pixels_of(image, colour):
    return (image == colour).all(-1).sum()


coordinate = st.integers(-40, 140)


@settings(max_examples=40)
@example(x=90, y=30, width=30, height=10, scale=3)
@example(x=-5, y=60, width=10, height=9, scale=3)
@given(x=coordinate, y=coordinate, width=st.integers(1, 80), height=st.integers(1, 80), scale=st.integers(3, 5))
def test_a_label_is_whole_wherever_its_box_is(x, y, width, height, scale):
    def white(*xyxy):  # the text, on its plate of the class's colour
        return pixels_of(
            draw_boxes(black(), classes=["car"], predictions=boxes(xyxy, scores=[0.5]), scale=scale), WHITE
        )

    is_in_view = x < 96 and y < 64 and x + width > 0 and y + height > 0
    assert white(x, y, x + width, y + height) == is_in_view * white(40, 30, 60, 50)
    assert white(40, 30, 60, 50) > 20


def test_labels_of_boxes_that_share_a_corner_do_not_cover_each_other():
    found = boxes([30, 30, 60, 60], [30, 30, 90, 62], labels=[0, 2], scores=[0.9, 0.8])

    def white(chosen):
        return pixels_of(draw_boxes(black(), classes=CLASSES, predictions=chosen, scale=4), WHITE)

    assert white(found) == white(found[:1]) + white(found[1:])


def test_the_label_of_the_higher_score_is_written_first():
    found = boxes([30, 30, 60, 60], [30, 30, 60, 60], labels=[0, 2], scores=[0.8, 0.9])
    drawn = draw_boxes(black(), classes=["x", "y", "z"], predictions=found, scale=4)
    alone = draw_boxes(black(), classes=["x", "y", "z"], predictions=found[1:], scale=4)
    np.testing.assert_array_equal(drawn[:120, :180], alone[:120, :180])


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_without_a_name_is_refused_in_one_sentence(label):
    with pytest.raises(InputError, match=rf"labels must be indices of the 3 classes, got {label}\."):
        draw_boxes(black(), classes=CLASSES, predictions=boxes([1, 1, 9, 9], labels=[label]))


def test_boxes_that_are_not_numbers_are_left_out():
    drawn = draw_boxes(black(), classes=CLASSES, predictions=boxes([float("nan"), 0, 9, 9], scores=[0.5]))
    assert not drawn.any()


def test_small_frames_are_enlarged_and_large_ones_are_not():
    assert [readable_scale(size) for size in ((128, 128), (240, 304), (720, 1280), (32, 32))] == [4, 2, 1, 16]


def test_the_colours_of_any_two_classes_differ_and_show_on_black():
    for a, b in itertools.combinations(np.array(PALETTE, float), 2):
        assert np.abs(a - b).sum() > 100
    assert min(max(colour) for colour in PALETTE) >= 150
