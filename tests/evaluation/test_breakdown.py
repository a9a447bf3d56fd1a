from __future__ import annotations

import numpy as np
import pytest
import torch

from seqdet.checks import InputError
from seqdet.evaluation.breakdown import breakdown, breakdown_lines, breakdowns
from seqdet.evaluation.protocols import find_protocol, join
from seqdet.evaluation.report import score_frames
from seqdet.inference.scoring import labelled_recordings
from seqdet.structures import Boxes

from .scored import score

NAMES = ("car", "pedestrian", "two wheeler")
PLAIN = find_protocol("coco")
STEP = 100_000


def still_scene(boxes):
    """A box that moves for 5 labels and then stands still for 5; it is found while it moves and 0.2 s longer."""
    truth = {"a": boxes(*[(n * STEP, 20 * min(n, 4), 0, 30, 30) for n in range(10)])}
    return truth, {"a": truth["a"][:7]}


def test_what_stands_still_is_scored_apart_from_what_moves(boxes):
    truth, detections = still_scene(boxes)
    frames = join(truth, detections, PLAIN, class_names=NAMES)
    moving, still = breakdowns(frames, truth)["still, s"]
    assert (moving.low, moving.high, moving.truth_boxes, moving.AP50, moving.recall50) == (0, 0.3, 7, 1, 1)
    assert (still.low, still.high, still.truth_boxes, still.AP50, still.recall50) == (0.3, np.inf, 3, 0, 0)


def test_a_detection_of_a_box_of_another_bin_is_no_error_and_one_of_nothing_is_in_every_bin(boxes):
    truth, detections = still_scene(boxes)
    wrong = boxes(*[(n * STEP, 200, 200, 30, 30) for n in range(2)])
    detections["a"] = np.concatenate([truth["a"], wrong])
    detections["a"]["class_confidence"] = 0.5
    detections["a"]["class_confidence"][-2:] = 0.9
    frames = join(truth, detections, PLAIN, class_names=NAMES)
    moving, still = breakdowns(frames, truth)["still, s"]
    found = moving.AP50, still.AP50
    assert found == pytest.approx((7 / 9, 3 / 5))
    assert (moving.recall50, still.recall50) == (1, 1)


def test_one_bin_over_everything_has_the_scores_of_all(random_recordings):
    for seed in range(5):
        truth, detections, labelled = random_recordings(seed)
        frames = join(truth, detections, PLAIN, class_names=NAMES, labelled_us=labelled)
        values = np.zeros(sum(map(len, truth.values())))
        (whole,) = breakdown(frames, values, (0, 1))
        scores = score_frames(frames, PLAIN)
        found = whole.AP, whole.AP50
        assert found == pytest.approx((scores.AP, scores.AP50), abs=1e-12)
        assert whole.truth_boxes == scores.truth_boxes
        assert breakdown(frames, values, (1, 2))[0].AP is None
        assert breakdown(frames, values * np.nan, (0, 1))[0].AP is None


def test_a_bin_leaves_out_boxes_as_coco_leaves_out_those_of_other_areas(random_recordings):
    truth, detections, labelled = random_recordings(0, recordings=8, times=30)
    for table in detections.values():  # COCO leaves out detections of other areas too, where they find nothing
        table["w"] = table["h"] = 100
    for table in truth.values():
        table["w"] = table["h"] = np.where(table["w"] > 20, 100, 90)
    frames = join(truth, detections, PLAIN, class_names=NAMES, labelled_us=labelled)
    areas = np.concatenate([table["w"] * table["h"] for table in truth.values()])
    (large,) = breakdown(frames, areas, (96**2, 1e10))
    average = large.AP
    assert average == pytest.approx(score_frames(frames, PLAIN).AP_large, abs=1e-12)
    assert 0 < average < 1


def test_bins_of_filtered_truth_follow_the_whole_track(boxes):
    truth, detections = still_scene(boxes)
    late = join(truth, detections, find_protocol("psee-gen1"), class_names=NAMES)  # the first 0.5 s are left out
    moving, still = breakdowns(late, truth)["still, s"]
    assert (moving.truth_boxes, still.truth_boxes) == (1, 3)


def test_speed_and_time_without_events_have_bins_too(boxes):
    truth, detections = still_scene(boxes)
    frames = join(truth, detections, PLAIN, class_names=NAMES)
    assert "without events, s" not in breakdowns(frames, truth)
    found = breakdowns(frames, truth, events={"a": np.array([9] * 5 + [0] * 5)})
    assert {each.low: each.truth_boxes for each in found["speed, px/s"]} == {0: 5, 1: 0, 30: 0, 100: 5, 300: 0}
    assert [each.truth_boxes for each in found["without events, s"]] == [7, 3, 0]
    lines = breakdown_lines(found, "[coco@1 digest]")
    assert len(lines) == 10
    assert all(line.endswith("[coco@1 digest]") for line in lines)


def test_labels_without_tracks_have_no_breakdown(boxes):
    truth = {"a": boxes((0, 0, 0, 9, 9), (0, 50, 50, 9, 9))}
    assert breakdowns(join(truth, {}, PLAIN, class_names=NAMES), truth) == {}


@pytest.mark.parametrize("edges", [(0,), (1, 1), (2, 1)])
def test_edges_must_rise(edges, boxes):
    truth = {"a": boxes((0, 0, 0, 9, 9))}
    frames = join(truth, {}, PLAIN, class_names=NAMES)
    with pytest.raises(InputError, match="edges must"):
        breakdown(frames, np.zeros(1), edges)
    with pytest.raises(InputError, match="values must be one for every truth box"):
        breakdown(frames, np.zeros(0), (0, 1))


def to_boxes(table):
    """A frame from rows of the table."""
    corner, size = (np.stack([table[name] for name in names], 1) for names in ("xy", "wh"))
    return Boxes(
        torch.from_numpy(np.hstack([corner, corner + size])),
        torch.from_numpy(table["class_id"].astype(np.int64)),
        torch.from_numpy(table["class_confidence"].copy()),
        torch.from_numpy(table["track_id"].astype(np.int64)),
        torch.from_numpy(table["class_confidence"] == 0),
    )


def test_frames_of_a_detector_are_scored_as_the_same_boxes_from_files(random_recordings):
    truth, _, labelled = random_recordings(2)
    shifted = {name: table.copy() for name, table in truth.items()}
    for table in shifted.values():
        table["x"] += 4
    frames = [(number, t) for number in range(3) for t in labelled[f"recording{number}"].tolist()]
    order = np.random.default_rng(0).permutation(len(frames))
    frames = [frames[n] for n in order]
    columns = [
        [to_boxes(table[f"recording{number}"][table[f"recording{number}"]["t"] == t]) for number, t in frames]
        for table in (truth, shifted)
    ]
    columns[0] = [Boxes(each.xyxy, each.labels, None, each.track_ids, each.is_ignored) for each in columns[0]]
    found = labelled_recordings(*columns, [number for number, _ in frames], [t for _, t in frames])
    assert sorted(found.truth) == ["0", "1", "2"]
    assert found.labelled_us["1"].tolist() == labelled["recording1"].tolist()
    given = {"class_names": NAMES}
    expected = score(truth, shifted, PLAIN, **given, labelled_us=labelled)
    scores = score(found.truth, found.detections, PLAIN, **given, labelled_us=found.labelled_us)
    assert (scores.AP, scores.truth_boxes, scores.frames) == (
        pytest.approx(expected.AP, abs=0.02),  # corners of float32 sizes are rounded
        expected.truth_boxes,
        expected.frames,
    )


def test_frames_that_do_not_fit_are_refused_in_one_sentence():
    scored = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    with pytest.raises(InputError, match="must have equal lengths"):
        labelled_recordings([Boxes.empty()], [], [0], [0])
    with pytest.raises(InputError, match="must have scores"):
        labelled_recordings([scored], [Boxes.empty()], [0], [0])
    with pytest.raises(InputError, match="got one twice"):
        labelled_recordings([Boxes.empty()] * 2, [scored] * 2, [0, 0], [5, 5])
    assert labelled_recordings([], [], [], []) == ({}, {}, {})
