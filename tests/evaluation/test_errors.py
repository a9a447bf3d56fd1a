"""What a detector gets wrong, by hand and against a slow count."""

import numpy as np
import pytest

from seqdet.evaluation.breakdown import ERROR_KINDS, find_errors, reliability
from seqdet.evaluation.protocols import find_protocol, join

NAMES = ("car", "pedestrian", "two wheeler")
PLAIN = find_protocol("coco")


def joined(truth, detections):
    return join(truth, detections, PLAIN, class_names=NAMES)


def test_every_kind_of_false_alarm_is_told_apart(boxes):
    truth = {"a": boxes((0, 0, 0, 40, 40), (0, 200, 0, 40, 40), class_id=[0, 1])}
    found = [
        (0, 1, 0, 40, 40),  # the first car
        (0, 2, 0, 40, 40),  # again
        (0, 0, 2, 40, 40),  # in its place, a pedestrian
        (0, 20, 0, 40, 40),  # a third of it
        (0, 20, 0, 40, 40),  # the same, a pedestrian
        (0, 100, 100, 40, 40),  # nothing there
    ]
    scores = [0.95, 0.9, 0.8, 0.7, 0.6, 0.5]
    detections = {"a": boxes(*found, class_id=[0, 0, 1, 0, 1, 0], class_confidence=scores)}
    errors = find_errors(joined(truth, detections), least_score=0.3)
    assert [ERROR_KINDS[kind] for kind in errors.kinds] == list(ERROR_KINDS)
    assert errors.alarms.tolist() == [1, 2, 3, 4, 5]
    assert errors.missed.tolist() == [1]
    assert (errors.nearest.tolist(), errors.nearest_iou.tolist()) == ([-1], [0])
    counts = dict.fromkeys(ERROR_KINDS, 1)
    assert errors.as_dict() == {"least_score": 0.3, "right": 1, "missed": 1, **counts}


def test_detections_below_the_score_find_nothing_and_are_no_errors(boxes):
    truth = {"a": boxes((0, 0, 0, 40, 40), (0, 90, 0, 30, 30))}
    rows = [(0, 0, 0, 40, 40), (0, 90, 0, 30, 30), (0, 300, 0, 9, 9), (0, 10, 0, 40, 40)]
    detections = {"a": boxes(*rows, class_id=[0, 0, 0, 1], class_confidence=[0.29, 0.3, 0.1, 0.4])}
    errors = find_errors(joined(truth, detections), least_score=0.3)
    assert errors.missed.tolist() == [0]
    assert errors.nearest.tolist() == [3]
    assert errors.nearest_iou.tolist() == [pytest.approx(0.6)]
    assert errors.alarms.tolist() == [3]


def test_ignored_truth_is_neither_missed_nor_a_false_alarm(boxes):
    truth = {"a": boxes((0, 0, 0, 40, 40), class_confidence=0)}
    detections = {"a": boxes((0, 0, 0, 40, 40), (0, 5, 5, 20, 20), class_confidence=[0.9, 0.8])}
    errors = find_errors(joined(truth, detections), least_score=0.3)
    assert (len(errors.missed), len(errors.alarms), errors.right) == (0, 0, 0)


def test_the_worst_of_every_recording_come_before_the_next_of_any(boxes):
    truth = {
        "a": boxes(*[(0, 100 * n, 0, side, side) for n, side in enumerate((50, 60, 40))]),
        "b": boxes((0, 0, 0, 10, 10), (0, 50, 0, 20, 20)),
        "c": boxes((0, 0, 0, 30, 30)),
    }
    errors = find_errors(joined(truth, {}), least_score=0.3)
    assert errors.missed.tolist() == [1, 5, 4, 0, 3, 2]


def test_right_and_wrong_are_as_many_as_counted(random_recordings):
    for seed in range(5):
        truth, detections, labelled = random_recordings(seed)
        frames = join(truth, detections, PLAIN, class_names=NAMES, labelled_us=labelled)
        errors = find_errors(frames, least_score=0.1)
        targets = (~frames.truth["is_ignored"]).sum()
        assert errors.right + len(errors.missed) == targets
        counted = (frames.detections["scores"] >= np.float32(0.1)).sum()
        assert errors.right + len(errors.alarms) <= counted
        found = reliability(frames, shown_score=0.3)
        assert sum(each.detections for each in found.bins[1:]) == errors.right + len(errors.alarms)


def test_reliability_is_the_share_of_hits_by_score_and_its_distance_from_the_score(boxes):
    truth = {"a": boxes(*[(0, 100 * n, 0, 40, 40) for n in range(3)])}
    right = [(0, 100 * n, 0, 40, 40) for n in range(3)]
    wrong = [(0, 100 * n, 300, 40, 40) for n in range(3)]
    detections = {"a": boxes(*right, *wrong, class_confidence=[1, 0.75, 0.75, 0.75, 0.25, 0.25])}
    found = reliability(joined(truth, detections), shown_score=0.5)
    nothing = (0, None, None)
    assert [(each.detections, each.score, each.precision) for each in found.bins] == [
        *[nothing] * 2,
        (2, 0.25, 0),
        *[nothing] * 4,
        (3, 0.75, pytest.approx(2 / 3)),
        nothing,
        (1, 1, 1),
    ]
    assert found.expected_error == pytest.approx((2 * 0.25 + 4 / 16) / 6)
    assert found.expected_error_shown == pytest.approx(1 / 16)


def test_without_detections_nothing_is_known_of_their_reliability(boxes):
    found = reliability(joined({"a": boxes((0, 0, 0, 40, 40))}, {}), shown_score=0.3)
    assert (found.expected_error, found.expected_error_shown) == (None, None)
    assert all(each.detections == 0 for each in found.bins)
