from __future__ import annotations

import numpy as np
import pytest
import torch
from seqdet.compat.metavision_ml.data.box_processing import box_vectors_to_bboxes
from seqdet.compat.metavision_ml.detection_tracking.display_frame import draw_box_events

from seqdet.checks import InputError
from seqdet.viz.draw import PALETTE

LABELS = ["background", "one", "two"]


def boxes(scores: list[float] | None = None) -> np.ndarray:
    xyxy = torch.tensor([[20.0, 60, 80, 100], [90, 40, 150, 110]])
    return box_vectors_to_bboxes(
        xyxy, torch.tensor([1, 2]), None if scores is None else torch.tensor(scores), torch.tensor([4, 4])
    )


def without_x(given: np.ndarray) -> np.ndarray:
    given["x"] = np.nan
    return given


def black() -> np.ndarray:
    return np.zeros((128, 160, 3), np.uint8)


def test_boxes_are_drawn_into_the_frame_in_the_colour_of_their_class():
    frame = black()
    drawn = draw_box_events(frame, boxes(), LABELS, draw_score=False)
    assert drawn is frame
    assert tuple(frame[100 - 1, 50]) == PALETTE[1]
    assert tuple(frame[110 - 1, 120]) == PALETTE[2]
    assert not frame[98, 22:70].any()  # one pixel thick, nothing inside


def test_one_colour_for_all_and_thicker_lines():
    frame = draw_box_events(black(), boxes(), LABELS, force_color=(255, 0, 0), thickness=3)
    assert all((frame[y, 50] == (255, 0, 0)).all() for y in (97, 98, 99))
    assert not frame[96, 50].any()
    assert (frame[109, 120] == (255, 0, 0)).all()


def test_the_track_can_choose_the_colour():
    frame = draw_box_events(black(), boxes(), LABELS, color_from="track_id")
    assert tuple(frame[99, 50]) == tuple(frame[109, 120]) == PALETTE[4]


def test_the_score_is_written_if_asked_for():
    with_score = draw_box_events(black(), boxes([0.5, 0.25]), LABELS)
    other = draw_box_events(black(), boxes([0.9, 0.25]), LABELS)
    assert (with_score != other).any()
    plain = (draw_box_events(black(), boxes([score, 0.25]), LABELS, draw_score=False) for score in (0.5, 0.9))
    assert np.array_equal(*plain)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int16", "int64", "uint16"])
def test_frames_of_any_numbers_are_drawn_on_alike_and_keep_their_type(kind):
    frame = black().astype(kind)
    drawn = draw_box_events(frame, boxes([0.5, 0.25]), LABELS)
    assert drawn is frame
    assert (drawn.dtype, drawn.shape) == (np.dtype(kind), (128, 160, 3))
    assert np.array_equal(drawn, draw_box_events(black(), boxes([0.5, 0.25]), LABELS))


def test_what_is_not_drawn_on_keeps_its_value_to_the_last_bit():
    noise = np.random.default_rng(0).uniform(-50, 300, (128, 160, 3)).astype(np.float32)
    on_black, on_white = (
        draw_box_events(frame, boxes(), LABELS, force_color=(255, 0, 0)).astype(int)
        for frame in (black(), 255 - black())
    )
    covered = (on_black == on_white).all(axis=-1)
    drawn = draw_box_events(noise.copy(), boxes(), LABELS, force_color=(255, 0, 0))
    assert np.array_equal(drawn[~covered], noise[~covered])
    assert np.array_equal(drawn[covered], on_black[covered])
    assert 500 < covered.sum() < covered.size / 2


def test_colours_that_a_type_cannot_hold_are_its_brightest():
    drawn = draw_box_events(black().astype(np.int8), boxes(), LABELS, force_color=(255, 0, 100))
    assert drawn[99, 50].tolist() == [127, 0, 100]


def test_no_boxes_leave_the_frame_as_it_is():
    assert not draw_box_events(black(), boxes()[:0], LABELS).any()


@pytest.mark.parametrize(
    ("frame", "box_events", "options", "words"),
    [
        (black()[..., 0], boxes(), {}, r"frame must have shape \(H, W, 3\)"),
        (black().astype(bool), boxes(), {}, "frame must be of whole or floating point numbers up to 255, got bool"),
        (black(), np.zeros((2, 5)), {}, "box_events must be an array of the EventBbox type"),
        (black(), boxes(), {"label_map": LABELS[:2]}, "label_map must name every class id, got 2 names and the id 2"),
        (black(), boxes(), {"confidence_field": "z"}, "confidence_field must be one of"),
        (black(), without_x(boxes()), {}, "box_events must have finite corners"),
        (black(), boxes(), {"color_from": "x"}, "color_from must be one of class_id, track_id"),
    ],
)
def test_wrong_input_is_one_sentence(frame, box_events, options, words):
    with pytest.raises(InputError, match=words):
        draw_box_events(frame, box_events, **({"label_map": LABELS} | options))
