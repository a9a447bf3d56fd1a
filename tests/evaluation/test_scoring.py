from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.evaluation.coco import average_precision
from seqdet.evaluation.protocols import PROTOCOLS, find_protocol, join

from .scored import score

NAMES = ("car", "pedestrian", "two wheeler")
FIGURES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
FIGURES += ("AR1", "AR10", "AR", "AR_small", "AR_medium", "AR_large")
PLAIN = find_protocol("coco")
PAPER = find_protocol("psee-gen1")


def figures(found):
    return tuple(-1 if getattr(found, name) is None else getattr(found, name) for name in FIGURES)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), title=st.sampled_from(sorted(PROTOCOLS)))
def test_neither_the_order_of_recordings_and_rows_nor_a_rising_map_of_the_scores_matters(
    seed, title, random_recordings
):
    truth, detections, labelled = random_recordings(seed)
    protocol, rng = replace(PROTOCOLS[title], least_score=0), np.random.default_rng(seed)
    given = {"class_names": NAMES, "labelled_us": labelled}
    before = [table.copy() for table in [*truth.values(), *detections.values()]]
    first = score(truth, detections, protocol, **given)
    assert all((a == b).all() for a, b in zip(before, [*truth.values(), *detections.values()], strict=True))
    order = rng.permutation(list(truth)).tolist()
    mixed = [
        {name: tables[name][rng.permutation(len(tables[name]))] for name in order} for tables in (truth, detections)
    ]
    assert figures(score(*mixed, protocol, **given)) == pytest.approx(figures(first), abs=1e-12)
    for table in detections.values():
        table["class_confidence"] = np.sqrt(table["class_confidence"] + 1) * 7
    assert figures(score(truth, detections, protocol, **given)) == figures(first)


@pytest.mark.parametrize("title", [title for title in PROTOCOLS if title != "metavision@1"])
def test_the_truth_as_detections_has_an_ap_of_one(title, boxes):
    rng = np.random.default_rng(0)
    rows = [(600_000 + 250_000 * n, *rng.uniform(0, 100, 2), *rng.uniform(60, 100, 2)) for n in range(30)]
    truth = {"a": boxes(*rows, class_id=np.arange(30) % 3)}
    found = score(truth, truth, PROTOCOLS[title], class_names=NAMES)
    assert (found.AP, found.AR) == (1, 1)
    assert found.frames == found.truth_boxes == found.detections


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), title=st.sampled_from(sorted(PROTOCOLS)))
def test_the_fast_ap_is_that_of_the_scores(seed, title, random_recordings):
    truth, detections, labelled = random_recordings(seed)
    given = {"class_names": NAMES, "labelled_us": labelled}
    frames = join(truth, detections, PROTOCOLS[title], **given)
    expected = score(truth, detections, PROTOCOLS[title], **given).AP
    assert average_precision(frames) == (None if expected is None else pytest.approx(expected, abs=1e-12))


AT, BOX = 1_000_000, (50, 50, 40, 40)


def ap(boxes, truth, detections, protocol, **given):
    table = {"a": boxes(*truth)}, {"a": boxes(*detections, class_confidence=np.linspace(0.9, 0.1, len(detections)))}
    return score(*table, protocol, class_names=NAMES, **given).AP


@pytest.mark.parametrize(
    ("title", "time", "is_scored"),
    [
        ("psee-gen1", 500_000, False),
        ("psee-gen1", 500_001, True),
        ("toolbox-legacy", 100_000, False),
        ("toolbox-legacy", 100_001, True),
        ("coco", 0, True),
        ("metavision", 0, True),
    ],
)
def test_the_start_is_left_out_up_to_and_with_the_moment_that_the_protocol_says(title, time, is_scored, boxes):
    assert ap(boxes, [(time, *BOX)], [(time, *BOX)], find_protocol(title)) == (1 if is_scored else None)


@pytest.mark.parametrize(
    ("title", "width", "height", "is_scored"),
    [
        ("psee-gen1", 10, 30, True),
        ("psee-gen1", 9.5, 30, False),
        ("psee-gen1", 18, 24, True),  # a diagonal of 30
        ("psee-gen1", 18, 23, False),
        ("toolbox-legacy", 19, 40, False),  # the side of 1 Mpx
        ("toolbox-legacy", 20, 40, True),
        ("psee-1mpx", 20, 60, True),
        ("psee-1mpx", 19, 60, False),
        ("psee-1mpx-full", 20, 60, True),
        ("psee-1mpx-full", 19, 60, False),
        ("toolbox-legacy-1mpx", 19, 60, True),  # the side of Gen1
        ("toolbox-legacy-1mpx", 9, 60, False),
        ("coco", 1, 1, True),
    ],
)
def test_boxes_are_left_out_by_the_diagonal_and_the_side_that_the_protocol_says(title, width, height, is_scored, boxes):
    table = {"a": boxes((AT, 50, 50, width, height), class_id=1)}
    average = score(table, table, find_protocol(title), class_names=NAMES).AP
    assert average == (1 if is_scored else None)


def test_small_detections_are_left_out_as_small_truth_is(boxes):
    small = (AT, 150, 150, 9, 60)
    assert ap(boxes, [(AT, *BOX)], [small, (AT, *BOX)], PAPER) == 1
    assert ap(boxes, [(AT, *BOX)], [small, (AT, *BOX)], replace(PAPER, filters_detections=False)) == 0.5
    assert ap(boxes, [(AT, *BOX), small], [(AT, *BOX)], replace(PAPER, filters_truth=False)) == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("title", "offset_us", "is_found"),
    [
        *[("psee-gen1", offset, abs(offset) <= 50_000) for offset in (-50_001, -50_000, 0, 50_000, 50_001)],
        *[("hmnet", offset, abs(offset) <= 25_000) for offset in (-25_001, -25_000, 25_000, 25_001)],
        *[("rvt", offset, abs(offset) <= 2000) for offset in (-2001, -2000, 2000, 2001)],
        *[("coco", offset, offset == 0) for offset in (-1, 0, 1)],
    ],
)
def test_a_detection_counts_within_the_tolerance_to_each_side(title, offset_us, is_found, boxes):
    assert ap(boxes, [(AT, *BOX)], [(AT + offset_us, *BOX)], find_protocol(title)) == is_found


def test_detections_of_several_times_in_one_window_are_duplicates_and_a_note_says_so(boxes):
    truth = {"a": boxes((AT, *BOX), (2 * AT, *BOX))}
    times = [AT - 20_000, AT, 2 * AT]
    detections = {"a": boxes(*[(t, *BOX) for t in times], class_confidence=[0.9, 0.8, 0.7])}
    found = score(truth, detections, PAPER, class_names=NAMES)
    average = found.AP
    assert average == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert "1 frames have detections of several times" in " ".join(found.notes)
    assert score(truth, detections, find_protocol("rvt"), class_names=NAMES).AP == 1


def test_false_alarms_where_there_is_no_truth_cost_only_where_the_protocol_looks(boxes):
    detections = [(AT - 500_000 + 1, *BOX), (AT, *BOX)]
    assert ap(boxes, [(AT, *BOX)], detections, PAPER) == 1
    assert ap(boxes, [(AT, *BOX)], detections, find_protocol("metavision")) == 0.5
    assert ap(boxes, [(AT, *BOX)], detections, PLAIN) == 1
    labelled = {"a": np.array([AT - 500_000 + 1, AT])}
    assert ap(boxes, [(AT, *BOX)], detections, PLAIN, labelled_us=labelled) == 0.5
    assert ap(boxes, [(AT, *BOX)], detections, PAPER, labelled_us=labelled) == 1


def test_no_detections_at_all_score_zero_and_a_note_says_so(boxes):
    truth = {name: boxes((AT, *BOX)) for name in ("a", "b")}
    for detections in ({}, {"a": boxes(), "b": boxes()}):
        found = score(truth, detections, PAPER, class_names=NAMES)
        assert (found.AP, found.detections, found.frames) == (0, 0, 2)
    assert "1 of 2 recordings have no detections and count as empty: b" in " ".join(
        score(truth, {"a": truth["a"]}, PAPER, class_names=NAMES).notes
    )


def test_truth_without_a_box_has_no_ap_and_a_note_says_so(boxes):
    found = score({"a": boxes()}, {"a": boxes((AT, *BOX))}, PAPER, class_names=NAMES)
    assert (found.AP, found.frames) == (None, 0)
    assert "No truth box is left to score" in " ".join(found.notes)
    assert found.lines()[0].startswith("AP -")


def test_a_box_partly_outside_is_cut_only_where_the_protocol_cuts(boxes):
    whole, inside = (AT, 284, 50, 40, 40), (AT, 284, 50, 20, 40)
    gone = (AT, 310, 50, 40, 40)
    rvt = find_protocol("rvt")
    assert ap(boxes, [whole], [inside], rvt) == 1
    assert ap(boxes, [whole], [whole], PAPER) == 1
    assert ap(boxes, [whole], [inside], PAPER) == 0.1  # an IoU of 0.5
    assert ap(boxes, [whole, gone], [inside], rvt) == 1
    left = score({"a": boxes(whole, gone)}, {"a": boxes(inside)}, rvt, class_names=NAMES)
    assert left.dropped == {"truth outside of the sensor": 1}
    assert "beyond the 304x240 pixels" in " ".join(left.notes)


def test_padding_of_the_frames_changes_nothing_and_scaling_changes_the_areas_alone(random_recordings):
    truth, detections, _ = random_recordings(3, recordings=6, times=20)
    padded = replace(PAPER, name="padded", sensor_hw=(256, 320))
    assert figures(score(truth, detections, padded, class_names=NAMES)) == figures(
        score(truth, detections, PAPER, class_names=NAMES)
    )
    half, full = (
        score(truth, detections, find_protocol(name), class_names=NAMES) for name in ("psee-1mpx", "psee-1mpx-full")
    )
    assert (half.AP, half.AP50, half.AR) == (full.AP, full.AP50, full.AR)
    assert half.AP_medium != full.AP_medium


def test_a_box_twice_in_the_truth_is_a_miss_and_twice_in_the_detections_an_error(boxes):
    assert ap(boxes, [(AT, *BOX)] * 2, [(AT, *BOX)], PAPER) == pytest.approx(51 / 101)
    assert ap(boxes, [(AT, *BOX), (AT, 150, 50, 40, 40)], [(AT, *BOX)] * 2 + [(AT, 150, 50, 40, 40)], PAPER) == (
        pytest.approx((51 + 50 * 2 / 3) / 101)
    )


def test_detections_that_nms_would_remove_count_as_they_are(boxes):
    near = (AT, 52, 50, 40, 40)
    assert ap(boxes, [(AT, *BOX)], [near, (AT, *BOX)], replace(PAPER, max_detections=1)) == pytest.approx(0.9)
    assert ap(boxes, [(AT, *BOX)], [near, (AT, *BOX)], PAPER) == pytest.approx(0.9 + 0.05)


def test_classes_that_are_not_scored_are_neither_targets_nor_errors(boxes):
    names = ("pedestrian", "Two-Wheeler", "car", "truck", "bus", "sign", "light")
    rows = [(AT, 50, 50, 60, 60)] * 7
    truth = {"a": boxes(*rows, class_id=range(7))}
    found = score(truth, truth, find_protocol("psee-1mpx"), class_names=names)
    assert (found.AP, found.truth_boxes, list(found.per_class)) == (1, 3, ["pedestrian", "two wheeler", "car"])
    assert found.dropped["truth of a class that is not scored"] == 4
    merged = replace(find_protocol("psee-1mpx"), name="merged", renamed=(("truck", "car"), ("Bus", "car")))
    assert score(truth, truth, merged, class_names=names).per_class["car"].truth_boxes == 3


def test_a_label_of_confidence_zero_is_neither_a_target_nor_an_error_to_find(boxes):
    other = (AT, 150, 50, 40, 40)
    truth = {"a": boxes((AT, *BOX), other, class_confidence=[1, 0])}
    detections = {"a": boxes(other, other, (AT, *BOX), class_confidence=[0.9, 0.8, 0.7])}
    found = score(truth, detections, PAPER, class_names=NAMES)
    assert (found.AP, found.truth_boxes) == (1, 1)
    truth["a"]["class_confidence"] = 0
    assert "but ignored ones" in " ".join(score(truth, detections, PAPER, class_names=NAMES).notes)


def test_of_a_class_and_frame_only_the_best_count(boxes):
    truth = {"a": boxes((AT, *BOX), (AT, *BOX), class_id=[0, 1])}
    wrong = [(AT, 150, 100, 40, 40)] * 120
    detections = {
        "a": boxes(*wrong, (AT, *BOX), (AT, *BOX), class_id=[0] * 121 + [1], class_confidence=[0.5] * 120 + [0.4] * 2)
    }
    found = score(truth, detections, PAPER, class_names=NAMES)
    assert (found.per_class["car"].AP, found.per_class["pedestrian"].AP) == (0, 1)
    assert found.dropped == {"detections beyond 100 of a class in a frame": 21}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detections": {"b": []}}, r"recordings of the truth \(a\), got b. Are they of another split"),
        ({"truth": {}}, "at least one recording"),
        ({"class_names": ["car"]}, "no class pedestrian but car"),
        ({"class_id": 3}, "class_id of truth must be one of 0, 1, 2, got 3"),
        ({"x": np.nan}, "truth of a must be finite boxes"),
        ({"w": -1}, "truth of a must be finite boxes"),
        ({"t": 2**62}, "truth of a must be finite boxes"),
    ],
)
def test_what_does_not_belong_together_is_refused_in_one_sentence(change, message, boxes):
    truth = {"a": boxes((AT, *BOX))}
    for field in set(change) & set(truth["a"].dtype.names):
        truth["a"][field] = change[field]
    detections = {name: boxes() for name in change.get("detections", {})}
    with pytest.raises(InputError, match=message):
        score(change.get("truth", truth), detections, PAPER, class_names=change.get("class_names", NAMES))


def test_times_in_another_unit_are_refused_instead_of_filling_the_memory(boxes):
    rows = [(t, *BOX) for t in range(9000)]
    with pytest.raises(InputError, match="Are the times in microseconds"):
        score({"a": boxes(*rows)}, {"a": boxes(*rows)}, find_protocol("metavision"), class_names=NAMES)


def test_every_figure_stands_beside_its_protocol_and_digest(random_recordings):
    truth, detections, _ = random_recordings(0)
    found = score(truth, detections, PAPER, class_names=NAMES)
    lines = found.lines()
    assert all("psee-gen1@1" in line and PAPER.digest in line for line in lines if line.startswith("AP"))
    facts = json.loads(json.dumps(found.as_dict()))
    assert (facts["protocol"], facts["digest"], facts["AP"]) == ("psee-gen1@1", PAPER.digest, found.AP)


def test_an_overlap_of_just_the_threshold_is_a_hit_in_the_fast_ap_too(boxes):
    half = {"a": boxes((AT, 50, 50, 20, 40))}
    frames = join({"a": boxes((AT, *BOX))}, half, PLAIN, class_names=NAMES)
    assert average_precision(frames) == pytest.approx(0.1)
