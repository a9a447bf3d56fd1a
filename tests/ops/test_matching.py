from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.ops.losses import BACKGROUND, IGNORED_ANCHOR, Targets, match_anchors, pad_targets
from seqdet.structures import Boxes

ANCHORS = torch.tensor([[x, y, x + size, y + size] for size in (4, 8) for x in (0, 4, 8) for y in (0, 4)]).float()


def make_boxes(rows: list[tuple[int, int, int, int]], ignored: list[bool]) -> Boxes:
    return Boxes(
        torch.tensor(rows).float().view(-1, 4), torch.arange(len(rows)), is_ignored=torch.tensor(ignored).bool()
    )


BOX = st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(0, 9), st.integers(0, 9)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)
FRAME = st.lists(st.tuples(BOX, st.sampled_from([False, False, True])), max_size=15).map(
    lambda rows: make_boxes([box for box, _ in rows], [ignored for _, ignored in rows])
)
THRESHOLDS = st.sampled_from([(0.5, 0.4), (0.5, 0.5), (0.7, 0.1), (0.25, 0.0), (1.0, 0.5)])


def iou(first: list[float], second: list[float]) -> np.float32:
    """In float32, so that equal ratios are equal numbers: the coordinates are small and whole."""
    width = max(0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (first, second)]
    union = sum(areas) - width * height
    return np.float32(width * height) / np.float32(union) if union else np.float32(0)


def match_one_frame(boxes: Boxes, foreground: float, background: float) -> list[int]:
    """The rule, word by word."""
    foreground, background = np.float32(foreground), np.float32(background)
    anchors, xyxy = ANCHORS.tolist(), boxes.xyxy.tolist()
    ignored = [i for i, leave in enumerate(boxes.is_ignored.tolist()) if leave]
    waiting = [i for i, leave in enumerate(boxes.is_ignored.tolist()) if not leave]
    matched = []
    for anchor in anchors:
        best = max(waiting, key=lambda i: iou(anchor, xyxy[i]), default=None)
        overlap = np.float32(-1) if best is None else iou(anchor, xyxy[best])
        excused = any(iou(anchor, xyxy[i]) >= background for i in ignored)
        if overlap >= foreground:
            matched.append(best)
        else:
            matched.append(IGNORED_ANCHOR if overlap >= background or excused else BACKGROUND)
    pairs = [(-iou(anchors[a], xyxy[i]), a, i) for a in range(len(anchors)) for i in waiting]
    taken, served = set(), set()
    for overlap, anchor, box in sorted(pairs):
        if overlap and anchor not in taken and box not in served:
            matched[anchor] = box
            taken.add(anchor)
            served.add(box)
    return matched


def match(frames: list[Boxes], foreground: float = 0.5, background: float = 0.4) -> torch.Tensor:
    return match_anchors(ANCHORS, pad_targets(frames, "cpu"), foreground=foreground, background=background)


@settings(max_examples=60)
@given(frames=st.lists(FRAME, max_size=4), thresholds=THRESHOLDS)
def test_anchors_are_matched_by_the_rule_in_every_frame_at_once(frames, thresholds):
    wanted = [match_one_frame(boxes, *thresholds) for boxes in frames]
    matched = match(frames, *thresholds)
    assert matched.shape == (len(frames), len(ANCHORS))
    assert matched.dtype == torch.int64
    assert matched.tolist() == wanted


@settings(max_examples=25)
@given(frames=st.lists(FRAME, min_size=1, max_size=4))
def test_a_target_without_an_anchor_overlaps_none_that_others_left(frames):
    for boxes, row in zip(frames, match(frames).tolist(), strict=True):
        targets = {i for i, leave in enumerate(boxes.is_ignored.tolist()) if not leave}
        found = {i for i in row if i >= 0}
        assert found <= targets
        for box in targets - found:
            overlapped = [a for a, anchor in enumerate(ANCHORS.tolist()) if iou(anchor, boxes.xyxy[box].tolist()) > 0]
            assert all(row[anchor] >= 0 for anchor in overlapped)


def test_boxes_at_the_same_place_share_out_the_anchors_that_they_overlap():
    whole = (0, 0, 16, 12)
    same = make_boxes([whole] * 5, [False] * 5)
    assert sorted(set(match([same])[0].tolist()) - {BACKGROUND, IGNORED_ANCHOR}) == [0, 1, 2, 3, 4]
    crowd = make_boxes([whole] * 50, [False] * 50)
    assert len(set(match([crowd])[0].tolist())) == len(ANCHORS)


@pytest.mark.parametrize("box", [(1, 1, 1, 3), (1, 1, 3, 1), (2, 2, 2, 2), (0, 0, 0, 0), (50, 50, 60, 60)], ids=str)
def test_a_box_that_overlaps_no_anchor_has_none(box):
    assert (match([make_boxes([box], [False])]) == BACKGROUND).all()
    beside = match([make_boxes([box, (0, 0, 4, 4)], [False, False])], 0.5, 0.4)
    assert beside.tolist() == [[1 if row == 0 else row for row in match([make_boxes([(0, 0, 4, 4)], [False])])[0]]]


def test_a_box_that_overlaps_an_anchor_however_little_has_one():
    assert match([make_boxes([(15, 11, 60, 60)], [False])])[0].tolist().count(0) == 1


def test_matching_leaves_its_input_alone():
    targets = pad_targets([make_boxes([(0, 0, 5, 5), (1, 1, 9, 9)], [False, True])], "cpu")
    before = [column.clone() for column in targets]
    anchors = ANCHORS.clone()
    match_anchors(anchors, targets, foreground=0.5, background=0.4)
    assert all(torch.equal(column, old) for column, old in zip(targets, before, strict=True))
    assert torch.equal(anchors, ANCHORS)


def test_frames_without_boxes_are_background():
    assert match([]).shape == (0, len(ANCHORS))
    assert (match([Boxes.empty(), Boxes.empty()]) == BACKGROUND).all()


def test_targets_are_padded_to_the_fullest_frame():
    full = make_boxes([(0, 0, 5, 5), (1, 1, 9, 9)], [False, True])
    plain = Boxes(torch.tensor([[2.0, 2, 3, 3]]), torch.tensor([7]))
    targets = pad_targets([Boxes.empty(), full, plain], "cpu")
    assert isinstance(targets, Targets)
    assert targets.labels.tolist() == [[0, 0], [0, 1], [7, 0]]
    assert targets.is_target.tolist() == [[False, False], [True, False], [True, False]]
    assert targets.is_ignored.tolist() == [[False, False], [False, True], [False, False]]
    assert targets.xyxy[1].equal(full.xyxy)
    assert targets.xyxy[2].tolist() == [[2, 2, 3, 3], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("xyxy", "words"),
    [
        ([10, 20, 5, 8], "xyxy of the truth must have x1 <= x2 and y1 <= y2, got [10.0, 20.0, 5.0, 8.0]."),
        ([10, 20, 30, 8], "xyxy of the truth must have x1 <= x2 and y1 <= y2, got [10.0, 20.0, 30.0, 8.0]."),
        ([0, 0, float("nan"), 1], "xyxy of the truth must be finite float32, got [0.0, 0.0, nan, 1.0]."),
        ([0, 0, float("inf"), 1], "xyxy of the truth must be finite float32, got [0.0, 0.0, inf, 1.0]."),
        ([0, 0, 1e300, 1], "xyxy of the truth must be finite float32, got [0.0, 0.0, inf, 1.0]."),
    ],
)
def test_impossible_boxes_are_refused(xyxy, words):
    right = Boxes(torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([0]))
    wrong = Boxes(torch.tensor([[1, 2, 3, 4], xyxy], dtype=torch.float64), torch.tensor([0, 0]))
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        pad_targets([right, wrong], "cpu")


def test_boxes_that_look_like_corner_and_size_are_said_to():
    with pytest.raises(InputError, match=r"Were x, y, width and height given\?$"):
        pad_targets([Boxes(torch.tensor([[50.0, 60, 20, 10]]), torch.tensor([0]))], "cpu")


@pytest.mark.parametrize(
    ("label", "classes", "words"),
    [
        (-1, None, "labels must be at least 0, got -1."),
        (-1, 3, "labels must be 0 to 2, as there are 3 classes, got -1."),
        (3, 3, "labels must be 0 to 2, as there are 3 classes, got 3."),
    ],
)
def test_labels_of_no_class_are_refused(label, classes, words):
    truth = Boxes(torch.tensor([[0.0, 0, 1, 1], [1, 2, 3, 4]]), torch.tensor([0, label]))
    with pytest.raises(InputError, match=f"^{words}$"):
        pad_targets([Boxes.empty(), truth], "cpu", classes=classes)


def test_columns_of_another_width_are_padded_as_float32_and_int64():
    wide = Boxes(torch.tensor([[0.0, 0, 0.5, 1]], dtype=torch.float64), torch.tensor([2], dtype=torch.int32))
    for frames in ([wide], [wide, make_boxes([(1, 1, 9, 9)], [False])]):
        targets = pad_targets(frames, "cpu")
        assert (targets.xyxy.dtype, targets.labels.dtype) == (torch.float32, torch.int64)
        assert targets.xyxy[0].tolist() == [[0, 0, 0.5, 1]]
        assert targets.labels[0].tolist() == [2]


@pytest.mark.parametrize(
    ("foreground", "background"), [(0.4, 0.5), (1.5, 0.5), (0.5, -0.1), (float("nan"), 0.4), (0.0, 0.0)]
)
def test_impossible_thresholds_are_refused(foreground, background):
    words = f"0 <= background <= foreground <= 1 and foreground > 0, got {background} and {foreground}"
    with pytest.raises(InputError, match=words):
        match([Boxes.empty()], foreground, background)


def test_an_overlap_equal_to_a_threshold_reaches_it():
    tall = [(0, 0, 4, 8)]  # half of its area in common with two small anchors, and it fills half of a large one
    sharing = [ANCHORS.tolist().index(anchor) for anchor in ([0, 0, 4, 4], [0, 4, 4, 8], [0, 0, 8, 8])]
    target, ignored = make_boxes(tall, [False]), make_boxes(tall, [True])
    assert match([target], 0.5, 0.4)[0, sharing].tolist() == [0, 0, 0]
    assert match([target], 0.7, 0.5)[0, sharing].tolist() == [0, IGNORED_ANCHOR, IGNORED_ANCHOR]
    assert match([ignored], 0.7, 0.5)[0, sharing].tolist() == [IGNORED_ANCHOR] * 3
    assert (match([ignored], 0.7, 0.5) == IGNORED_ANCHOR).sum() == 3
