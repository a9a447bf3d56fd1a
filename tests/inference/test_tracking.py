from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.data.detections import TRACKED_BOX, best_of_place, best_pairs, overlaps
from seqdet.data.labels import EVENT_BBOX
from seqdet.events.array import Events, columns
from seqdet.inference.tracking import (
    MOST_OVERLAP,
    REACH,
    TRACKERS,
    USUAL,
    AssociationConfig,
    DataAssociation,
    TimeSurface,
    find_tracker,
)

STEP = 50_000
SIZE_HW = 40, 60
SHORT = st.sampled_from([0, STEP, 2 * STEP, 3 * STEP])
FULL = AssociationConfig(use_descriptor=True, number_of_consecutive_detections_to_create_a_new_track=2)


def make_boxes(*rows, score=0.9, label=0):
    boxes = np.zeros(len(rows), EVENT_BBOX)
    for name, column in zip("xywh", np.array(rows, np.float64).reshape(-1, 4).T, strict=True):
        boxes[name] = column
    boxes["class_id"], boxes["class_confidence"] = label, score
    return boxes


def make_stream(seed, times=14, labels=3):
    """Times, boxes of objects that move, vanish, double and err now and then, None where nobody looked; events."""
    rng = np.random.default_rng(seed)
    x, y, w, h = rng.uniform([[0], [0], [6], [6]], [[50], [30], [20], [20]], (4, 4))
    velocity, classes = rng.normal(0, 2, (2, 4)), rng.integers(0, labels, 4)
    for n in range(times):
        x, y = x + velocity[0], y + velocity[1]
        chosen = np.concatenate([np.flatnonzero(rng.random(4) < 0.8), rng.integers(0, 4, rng.integers(0, 2))])
        rows = np.stack([x, y, w, h], axis=1)[chosen] + rng.normal(0, 0.5, (len(chosen), 4))
        wrong = rng.random(len(chosen)) < 0.1
        found = make_boxes(*rows, score=rng.uniform(0, 1, len(chosen)), label=classes[chosen] ^ wrong)
        t = np.sort(rng.integers(n * STEP, (n + 1) * STEP, 200))
        whose, inside = rng.integers(0, 4, 200), rng.random((2, 200))
        event_x = (x[whose] + inside[0] * w[whose]).clip(0, SIZE_HW[1] - 1)
        event_y = (y[whose] + inside[1] * h[whose]).clip(0, SIZE_HW[0] - 1)
        events = columns(t=t, x=event_x.astype(int), y=event_y.astype(int), p=t % 2)
        yield (n + 1) * STEP, None if rng.random() < 0.4 else found, events


def followed(tracker, stream):
    return [tracker.push(*each) for each in stream]


@pytest.fixture(params=["plain", "moving", "full", *[*TRACKERS][1:]])
def make(request):
    """Makes trackers of one kind."""
    if request.param in TRACKERS:
        pytest.importorskip("trackers")
        return partial(find_tracker, request.param)
    sizes = {"plain": (), "moving": (SIZE_HW,), "full": (SIZE_HW, FULL)}
    return partial(DataAssociation, *sizes[request.param])


@pytest.mark.parametrize("seed", range(12))
def test_no_two_boxes_of_a_time_share_an_identity_and_no_identity_changes_its_class_or_returns(seed, make):
    label_of, alive, gone = {}, set(), set()
    for rows in followed(make(), make_stream(seed)):
        identities = rows["track_id"].tolist()
        assert identities == sorted(set(identities))
        for identity, label in zip(identities, rows["class_id"], strict=True):
            assert label_of.setdefault(identity, label) == label
        if make.func is DataAssociation:  # others show only what is detected
            gone |= alive - set(identities)
            alive = set(identities)
            assert not alive & gone


@pytest.mark.parametrize("cut", range(0, 15, 2))
def test_a_stream_cut_anywhere_gives_the_same_tracks(cut, make):
    stream, tracker = list(make_stream(cut)), make()
    whole = followed(tracker, stream)
    first, second = make(), make()
    parts = followed(first, stream[:cut])
    state = first.state()
    followed(first, stream[cut:])  # makes no difference to what was saved
    second.restore(state)
    parts += followed(second, stream[cut:])
    tracker.reset()
    for one, other, again in zip(whole, parts, followed(tracker, stream), strict=True):
        assert one.tolist() == other.tolist() == again.tolist()


def test_streams_are_independent_and_the_boxes_that_come_in_stay_as_they_are():
    streams = [list(make_stream(seed)) for seed in (1, 2)]
    before = [each[1].copy() for each in streams[0] if each[1] is not None]
    alone = [followed(DataAssociation(), stream) for stream in streams]
    trackers = [DataAssociation(), DataAssociation()]
    for n, pair in enumerate(zip(*streams, strict=True)):
        for k, each in enumerate(pair):
            assert trackers[k].push(*each).tolist() == alone[k][n].tolist()
    assert all((a == b[1]).all() for a, b in zip(before, [e for e in streams[0] if e[1] is not None], strict=True))


def test_a_state_goes_through_a_file_without_pickle(tmp_path):
    stream = list(make_stream(3))
    tracker, other = DataAssociation(SIZE_HW, FULL), DataAssociation(SIZE_HW, FULL)
    followed(tracker, stream[:7])
    np.savez(tmp_path / "state.npz", **tracker.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        other.restore(dict(file))
    for each in stream[7:]:
        assert tracker.push(*each).tolist() == other.push(*each).tolist()


@pytest.mark.parametrize("name", AssociationConfig.__dataclass_fields__)
def test_a_state_of_other_settings_is_refused_with_what_differs(name):
    others = {
        "use_descriptor": True,
        "update_tracklets_between_detections": False,
        "sim_matrix": ((1, 0.5), (0.5, 1)),
        "number_of_consecutive_detections_to_create_a_new_track": 2,
    }
    other = AssociationConfig(**{name: others.get(name, 1)})
    tracker = DataAssociation(SIZE_HW)
    with pytest.raises(InputError, match=rf"state must be of a tracker with {name} (.+), got {name} (?!\1)"):
        tracker.restore(DataAssociation(SIZE_HW, other).state())


def test_a_state_of_another_tracker_is_refused_and_changes_nothing():
    pytest.importorskip("trackers")
    trackers = {name: find_tracker(name) for name in TRACKERS}
    strict = find_tracker("sort", minimum_consecutive_frames=9)
    for name, tracker in trackers.items():
        for other in trackers.keys() - {name}:
            with pytest.raises(InputError, match=f"tracker with name {name}, got name {other}"):
                tracker.restore(trackers[other].state())
    with pytest.raises(InputError, match="minimum_consecutive_frames 9, got minimum_consecutive_frames 3"):
        strict.restore(trackers["sort"].state())
    with pytest.raises(InputError, match="tracker with name sort, got nothing of the kind"):
        strict.restore({})
    assert [len(strict.push(n * STEP, make_boxes((0, 0, 10, 10)))) for n in range(9)] == [0] * 8 + [1]
    find_tracker("sort", minimum_consecutive_frames=3).restore(trackers["sort"].state())


@given(SHORT, st.booleans())
def test_an_object_keeps_its_identity_if_it_vanishes_for_no_longer_than_the_deletion_time(missing_us, is_looked_for):
    tracker, box = DataAssociation(), make_boxes((10, 10, 8, 8))
    identity = tracker.push(0, box)["track_id"]
    for time_us in range(STEP, missing_us, STEP):
        rows = tracker.push(time_us, box[:0] if is_looked_for else None)
        assert len(rows) == (time_us <= 100_000)
    assert (tracker.push(missing_us, box)["track_id"] == identity) == (missing_us <= 100_000)


def test_a_track_takes_on_a_part_of_its_detection_and_gains_confidence():
    tracker = DataAssociation()
    first = tracker.push(0, make_boxes((0, 0, 10, 10), score=0.4))
    assert first["tracking_confidence"] == first["class_confidence"] == np.float32(0.4)
    row = tracker.push(STEP, make_boxes((1, 0, 10, 10), score=0.5))[0]
    assert [row["x"], row["y"], row["w"], row["h"]] == pytest.approx([0.7, 0, 10, 10])
    assert row["tracking_confidence"] == pytest.approx(0.4 + 0.5 * 90 / 110)
    assert row["class_confidence"] == 0.5
    assert (row["nb_detections"], row["last_detection_update_time"], row["t"]) == (2, STEP, STEP)
    missed = tracker.push(2 * STEP, make_boxes())[0]
    assert missed["tracking_confidence"] == pytest.approx(0.9 * row["tracking_confidence"])
    assert (missed["nb_detections"], missed["last_detection_update_time"], missed["t"]) == (2, STEP, 2 * STEP)
    waiting = tracker.push(2 * STEP + 1)[0]
    assert waiting["tracking_confidence"] == missed["tracking_confidence"]
    again = tracker.push(3 * STEP, make_boxes((0.7, 0, 10, 10), score=5))[0]
    assert again["tracking_confidence"] == 1


def test_a_track_is_shown_after_as_many_detections_in_a_row_as_asked_for():
    tracker = DataAssociation(config=AssociationConfig(number_of_consecutive_detections_to_create_a_new_track=3))
    box = make_boxes((0, 0, 10, 10))
    found = [box, box, box[:0], box, box, box, box[:0], box]
    shown = [len(tracker.push(n * STEP, each)) for n, each in enumerate(found)]
    assert shown == [0, 0, 0, 0, 0, 1, 1, 1]


def test_usual_tracks_are_kept_for_three_tenths_of_a_second():
    tracker, box = DataAssociation(config=USUAL), make_boxes((10, 10, 8, 8))
    assert [len(tracker.push(time_us, box)) for time_us in (0, STEP)] == [0, 1]
    assert [len(tracker.push(STEP + after_us)) for after_us in (300_000, 300_001)] == [1, 0]


def test_boxes_of_one_object_are_those_that_overlap_by_more_than_seven_tenths():
    for width, kept in ((6.9, 2), (7.1, 1)):
        boxes = np.concatenate([make_boxes((0, 0, 10, 10)), make_boxes((0, 0, width, 10), label=1, score=0.8)])
        assert len(best_of_place(boxes, MOST_OVERLAP)) == kept


def test_a_track_starts_with_a_good_score_and_goes_on_with_any():
    tracker = DataAssociation(config=AssociationConfig(score_to_create_a_new_track=0.5))
    scores = 0.49, 0.5, 0.1, 0.1
    shown = [len(tracker.push(n * STEP, make_boxes((0, 0, 10, 10), score=s))) for n, s in enumerate(scores)]
    assert shown == [0, 1, 1, 1]


def test_of_two_tracks_on_one_object_that_detected_last_remains():
    tracker = DataAssociation(config=AssociationConfig(max_iou_for_one_det_to_many_tracks=1))
    assert len(tracker.push(0, make_boxes((0, 0, 10, 10), (7, 0, 10, 10)))) == 2
    shown = [tracker.push(n * STEP // 2, make_boxes((x, 0, 10, 10)))["track_id"].tolist() for n, x in [(1, 5), (2, 3)]]
    assert shown == [[1, 2], [1, 2]]  # the second comes nearer
    assert tracker.push(2 * STEP, make_boxes((2, 0, 10, 10)))["track_id"].tolist() == [2]


def test_of_two_tracks_on_one_object_detected_now_that_detected_more_often_remains():
    tracker = DataAssociation()
    tracker.push(0, make_boxes((7, 0, 10, 10), (0, 0, 10, 10)))
    assert tracker.push(STEP, make_boxes((2, 0, 10, 10)))["nb_detections"].tolist() == [1, 2]
    rows = tracker.push(2 * STEP, make_boxes((7, 0, 10, 10), (5, 0, 10, 10)))
    assert rows["track_id"].tolist() == [2]


def test_a_detection_on_two_tracks_is_left_out():
    config = AssociationConfig(max_iou_inter_track=0.9)
    tracker = DataAssociation(config=config)
    tracker.push(0, make_boxes((0, 0, 10, 10), (3, 0, 10, 10)))
    rows = tracker.push(STEP, make_boxes((1.5, 0, 10, 10)))
    assert rows["nb_detections"].tolist() == [1, 1]
    assert rows["x"].tolist() == [0, 3]
    loose = DataAssociation(config=AssociationConfig(max_iou_inter_track=0.9, max_iou_for_one_det_to_many_tracks=1))
    loose.push(0, make_boxes((0, 0, 10, 10), (3, 0, 10, 10)))
    assert sorted(loose.push(STEP, make_boxes((1.5, 0, 10, 10)))["nb_detections"]) == [1, 2]


def test_a_detection_needs_the_least_overlap():
    for least, tracks in ((0.3, 1), (0.4, 2)):
        tracker = DataAssociation(config=AssociationConfig(iou_to_match_a_detection=least))
        tracker.push(0, make_boxes((0, 0, 10, 10)))
        assert len(tracker.push(STEP, make_boxes((5, 0, 10, 10)))) == tracks  # overlap 1 / 3


def test_classes_mix_only_as_far_as_they_are_alike():
    box, other = make_boxes((0, 0, 10, 10), label=0), make_boxes((0, 0, 10, 10), label=1)
    apart = DataAssociation()
    apart.push(0, box)
    assert apart.push(STEP, other)["class_id"].tolist() == [0, 1]
    alike = DataAssociation(config=AssociationConfig(sim_matrix=((1, 0.5), (0.5, 1))))
    alike.push(0, box)
    rows = alike.push(STEP, other)
    assert rows["class_id"].tolist() == [0]
    assert rows["nb_detections"].tolist() == [2]
    with pytest.raises(InputError, match="2 classes of sim_matrix"):
        alike.push(2 * STEP, make_boxes((0, 0, 1, 1), label=2))


def scene_events(shift, start_us, rng, *, corner=(10, 10), radius=6):
    """A disc of which each pixel has an event within 10 ms, moved to the right by ``shift``."""
    y, x = np.nonzero(np.hypot(*(np.indices((12, 12)) - 5.5)) <= radius)
    t = np.sort(rng.integers(start_us, start_us + 10_000, len(x)))
    return columns(t=t, x=x + corner[0] + shift, y=y + corner[1], p=t % 2)


@given(st.integers(-6, 6), st.integers(1, 4))
def test_between_detections_a_track_moves_with_the_events_in_it(step, times):
    rng, corner = np.random.default_rng(0), (30, 10)
    tracker, still = (
        DataAssociation((40, 90), AssociationConfig(update_tracklets_between_detections=moves, deletion_time_us=10**6))
        for moves in (True, False)
    )
    events = scene_events(0, 0, rng, corner=corner)
    for each in (tracker, still):
        each.push(10_000, make_boxes((*corner, 12, 12)), events)
    for n in range(1, times + 1):
        events = scene_events(n * step, n * 200_000, rng, corner=corner)  # what was before has faded
        row = tracker.push(n * 200_000 + 10_000, None, events)[0]
        assert still.push(n * 200_000 + 10_000, None, events)["x"] == corner[0]
        assert (row["x"], row["y"]) == (corner[0] + n * step, corner[1])
        assert row["last_detection_update_time"] == 10_000


@given(st.integers(-6, 6), st.integers(-6, 6), st.sampled_from([(15, 15), (73, 15), (15, 73), (73, 73)]))
def test_a_large_box_moves_with_the_events_in_any_corner_of_it(right, down, corner):
    surface, rng, box = TimeSurface((100, 100), 200_000), np.random.default_rng(0), make_boxes((10, 10, 80, 80))
    surface.add(scene_events(0, 0, rng, corner=corner))
    surface.anchor(10_000)
    surface.add(scene_events(right, 200_000, rng, corner=(corner[0], corner[1] + down)))
    (moved,) = surface.follow(box, np.array([[10, 10]], np.float32), 210_000)
    assert np.abs(moved - (10 + right, 10 + down)).max() <= 1  # every third pixel of a side is looked at


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_cut_between_detections_moves_its_tracks_the_same(seed):
    config = AssociationConfig(deletion_time_us=10**9)
    (time_us, _, first), *later = make_stream(seed, times=8)
    box, whole = make_boxes((20, 10, 15, 15), (5, 5, 12, 20), label=[0, 1]), DataAssociation(SIZE_HW, config)
    whole.push(time_us, box, first)
    for time_us, _, events in later:
        part = DataAssociation(SIZE_HW, config)
        part.restore(whole.state())
        assert whole.push(time_us, None, events).tolist() == part.push(time_us, None, events).tolist()


@given(st.integers(0, 10**6))
def test_a_box_goes_uphill_by_the_cosine_of_what_was_in_it(seed):
    rng = np.random.default_rng(seed)
    surface, now_us, length_us = TimeSurface(SIZE_HW, 2 * STEP), STEP, 2 * STEP
    tables = []
    for start_us in (0, STEP // 2):
        t = start_us + np.sort(rng.integers(0, STEP // 2, 500))
        surface.add(columns(t=t, x=rng.integers(0, 60, 500), y=rng.integers(0, 40, 500), p=t % 2))
        tables.append(np.pad(surface._last_us, REACH + 20, constant_values=-(10**9)))
        if not start_us:
            surface.anchor(STEP // 2)
    box = make_boxes((*rng.integers(0, 40, 2), *rng.integers(3, 12, 2)))
    (moved,) = surface.follow(box, np.stack([box["x"], box["y"]], axis=1), now_us)
    x, y, w, h = (int(box[name][0]) for name in "xywh")
    w, h = min(w, 60 - x), min(h, 40 - y)
    before, now = (
        np.clip(1 - (end_us - last) / length_us, 0, 1) for end_us, last in zip((STEP // 2, now_us), tables, strict=True)
    )

    def likeness(dx, dy):
        patch = now[y + dy + REACH + 20 :][:h, x + dx + REACH + 20 :][:, :w]
        both = patch * before[y + REACH + 20 :][:h, x + REACH + 20 :][:, :w]
        return both.sum() / max(np.linalg.norm(patch), 1e-6)

    here, best = (0, 0), None
    while best != here:
        here = best or here
        around = [(here[0] + dx, here[1] + dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        best = max((place for place in around if max(map(abs, place)) <= REACH), key=lambda place: likeness(*place))
        best = best if likeness(*best) > likeness(*here) + 1e-6 else here
    assert (moved - (x, y)).tolist() == list(here)


def test_a_track_without_events_stays_and_so_does_one_beyond_the_sensor():
    tracker = DataAssociation(SIZE_HW)
    boxes = make_boxes((5, 5, 10, 10), (200, 300, 10, 10), (-1e30, 0, 1e35, 5), (20, 20, 0, 0))
    first = tracker.push(0, boxes, Events.empty())
    second = tracker.push(STEP, None, columns(t=[STEP - 1], x=[55], y=[35], p=[1]))
    assert first["x"].tolist() == second["x"].tolist()
    assert first["y"].tolist() == second["y"].tolist()


def test_with_the_descriptor_a_detection_of_something_else_is_no_match():
    rng, box = np.random.default_rng(0), make_boxes((10, 10, 12, 12))
    still = {"update_tracklets_between_detections": False, "iou_to_match_a_detection": 0.7}
    for uses, radius, expected in ((False, 2, (1, 2)), (True, 2, (2, 1)), (True, 6, (1, 2))):
        config = AssociationConfig(use_descriptor=uses, time_surface_delta_t_us=STEP, **still)
        tracker = DataAssociation(SIZE_HW, config)
        tracker.push(10_000, box, scene_events(0, 0, rng))
        row = tracker.push(70_000, box, scene_events(0, 60_000, rng, radius=radius))[0]
        assert (row["track_id"], row["nb_detections"]) == expected


def test_with_the_descriptor_a_track_follows_what_changes_little_by_little():
    rng, box = np.random.default_rng(0), make_boxes((10, 10, 12, 12))
    config = AssociationConfig(
        use_descriptor=True,
        time_surface_delta_t_us=STEP,
        update_tracklets_between_detections=False,
        iou_to_match_a_detection=0.75,
    )

    def tracks(*radii):
        tracker = DataAssociation(SIZE_HW, config)
        for n, radius in enumerate(radii):
            events = scene_events(0, n * 60_000, rng, radius=radius)
            rows = tracker.push(n * 60_000 + 10_000, box, events)
        return rows["track_id"].tolist(), rows["nb_detections"].tolist()

    assert tracks(2, 6) == ([2], [1])
    assert tracks(2, 3, 4, 5, 6) == ([1], [5])


def test_descriptors_have_length_one_and_know_equal_from_different():
    surface, rng = TimeSurface(SIZE_HW, 200_000), np.random.default_rng(0)
    surface.add(scene_events(0, 0, rng))
    surface.add(scene_events(25, 0, rng))
    boxes = make_boxes((10, 10, 12, 12), (35, 10, 12, 12), (12, 14, 12, 12), (0, 30, 3, 2), (500, 500, 9, 9))
    found = surface.descriptors(boxes, 10_000)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1)
    same, shifted = found[0] @ found[1], found[0] @ found[2]
    assert same > 0.999
    assert shifted < 0.9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"detection_update_weight": 1.5}, "detection_update_weight must be at most 1"),
        ({"deletion_time_us": -1}, "deletion_time_us must be at least 0"),
        ({"time_surface_delta_t_us": 0}, "time_surface_delta_t_us must be at least 1"),
        ({"number_of_consecutive_detections_to_create_a_new_track": 0}, "must be at least 1"),
        ({"sim_matrix": ((1, 0),)}, "sim_matrix must be square"),
        ({"sim_matrix": ((2,),)}, "numbers from 0 to 1"),
        ({"speed": 3}, "unexpected keyword argument 'speed'"),
        ({"use_descriptor": True}, "size_hw must be given"),
    ],
)
def test_a_wrong_option_is_one_sentence(options, words):
    with pytest.raises(InputError, match=words):
        find_tracker(**options)


def test_wrong_input_is_one_sentence_and_changes_nothing():
    tracker = DataAssociation(SIZE_HW)
    before = tracker.push(STEP, make_boxes((0, 0, 10, 10)))
    for time_us, boxes, events, words in (
        (0, None, None, "time_us must be at least 50000"),
        (STEP, np.zeros(1), None, "boxes must be rows with t, x"),
        (STEP, make_boxes((np.nan, 0, 1, 1)), None, "finite corners"),
        (STEP, make_boxes((0, 0, -1, 1)), None, "sizes and scores of at least 0"),
        (STEP, None, columns(t=[0], x=[60], y=[0], p=[1]), "60x40 pixels"),
    ):
        with pytest.raises(InputError, match=words):
            tracker.push(time_us, boxes, events)
    assert tracker.push(STEP).tolist() == before.tolist()
    with pytest.raises(InputError, match="state must hold settings, tracks"):
        tracker.restore(DataAssociation().state())
    with pytest.raises(InputError, match="of a sensor"):
        tracker.restore(DataAssociation((3, 3)).state())
    with pytest.raises(InputError, match="tracker must be one of association"):
        find_tracker("kalman")


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match=r"pip install 'seqdet\[track\]'"):
        find_tracker("sort")


def test_a_tracker_of_the_library_follows_and_counts():
    pytest.importorskip("trackers")
    tracker = find_tracker("sort", minimum_consecutive_frames=2)
    for n in range(6):
        boxes = make_boxes((n, 0, 10, 10), (n, 30, 10, 10))
        boxes["class_id"] = [0, 1]
        rows = tracker.push(n * STEP, boxes)
    assert rows.dtype == TRACKED_BOX
    assert rows["track_id"].tolist() == [1, 2]
    assert rows["class_id"].tolist() == [0, 1]
    assert rows["x"].tolist() == [5, 5]
    assert set(rows["nb_detections"].tolist()) == {5}
    assert tracker.push(7 * STEP)["t"].tolist() == [7 * STEP] * 2
    assert len(tracker.push(8 * STEP, make_boxes())) == 0
    assert tracker.push(8 * STEP, make_boxes((6, 0, 10, 10)))["track_id"].tolist() == [1]
    with pytest.raises(InputError, match="time_us must be at least 400000, that of the last call, got 399999"):
        tracker.push(8 * STEP - 1, make_boxes())
    with pytest.raises(InputError, match="speed"):
        find_tracker("sort", speed=3)


def test_tracking_leaves_torch_alone():
    code = "import sys; from seqdet.inference import tracking; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_best_pairs_take_each_row_and_column_once_and_leave_no_better_pair(seed, least):
    similarity = np.random.default_rng(seed).random((4, 5)).round(1)
    rows, found = best_pairs(similarity, least)
    assert len(set(rows)) == len(rows) == len(set(found)) == len(found)
    chosen = similarity[rows, found]
    assert (np.diff(chosen) <= 0).all()
    assert (chosen >= least).all()
    for k in range(4):
        for m in range(5):
            if similarity[k, m] >= max(least, 0.05):
                assert (chosen[(rows == k) | (found == m)] >= similarity[k, m]).any()


def test_overlaps_are_those_of_the_pixels():
    boxes = make_boxes((0, 0, 10, 10), (5, 0, 10, 10), (20, 20, 0, 0))
    assert overlaps(boxes, boxes).tolist() == [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]]
    assert overlaps(boxes[:1], make_boxes((0, 0, 20, 10)), of_first=True).tolist() == [[1]]
    assert overlaps(boxes[:0], boxes).shape == (0, 3)
    assert TRACKED_BOX.itemsize == 56


@given(st.integers(0, 10**6), st.floats(0.01, 0.99))
def test_the_best_of_a_place_are_apart_and_whatever_is_left_out_was_near_a_better_one(seed, most):
    rng = np.random.default_rng(seed)
    places = rng.integers(1, 12, (9, 4))
    boxes = make_boxes(*places, score=rng.random(9).round(1), label=rng.integers(0, 3, 9))
    kept = best_of_place(boxes, most)
    near = overlaps(boxes, kept) > most
    assert (near.sum(axis=1) >= 1).all()
    assert (overlaps(kept, kept) > most).sum() == len(kept)
    best = np.array([kept["class_confidence"][row].max() for row in near])
    assert (best >= boxes["class_confidence"]).all()
