from __future__ import annotations

import json
import sys
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.data.box_events import nearest_window
from seqdet.data.detections import TRACKED_BOX, overlaps
from seqdet.data.labels import write_labels
from seqdet.evaluation.tracks import evaluate_tracks, score_tracks

STEP = 50_000
PLACE, FAR = (0, 0, 10, 10), (100, 100, 10, 10)


@pytest.fixture
def score():
    pytest.importorskip("trackers")
    return score_tracks


@pytest.fixture
def rows(boxes):
    """Boxes at one time after the other: ``rows(PLACE, None, FAR)``, each on the track of its turn."""

    def make(*places, tracks=1, **columns):
        chosen = [n for n, place in enumerate(places) if place]
        identities = np.broadcast_to(tracks, len(places))[chosen]
        return boxes(*[(n * STEP, *places[n]) for n in chosen], track_id=identities, **columns)

    return make


def test_a_track_on_its_object_all_the_time_scores_one(score, rows):
    found = score({"a": rows(*[PLACE] * 4, tracks=3)}, {"a": rows(*[PLACE] * 4, tracks=8)})
    shares = {name: found[name] for name in ("MOTA", "MOTP", "IDF1", "IDP", "IDR", "HOTA", "DetA", "AssA", "LocA")}
    assert shares == pytest.approx(dict.fromkeys(shares, 1))
    counts = {name: found[name] for name in found if name not in shares}
    assert counts == {
        **dict.fromkeys(("identity_switches", "fragmentations", "misses", "false_alarms", "mostly_lost"), 0),
        **dict.fromkeys(("truth_tracks", "tracks", "mostly_tracked"), 1),
        **dict.fromkeys(("truth_boxes", "tracked_boxes", "frames"), 4),
    }


def test_a_changed_identity_costs_what_the_definitions_say(score, rows):
    found = score({"a": rows(*[PLACE] * 4)}, {"a": rows(*[PLACE] * 4, tracks=[1, 1, 2, 2])})
    assert found["MOTA"] == 1 - 1 / 4
    assert found["identity_switches"] == 1
    assert found["IDF1"] == 2 * 2 / (4 + 4)
    assert (found["DetA"], found["AssA"], found["HOTA"]) == pytest.approx((1, 1 / 2, np.sqrt(1 / 2)))


def test_misses_and_false_alarms_cost_what_the_definitions_say(score, rows):
    found = score({"a": rows(*[PLACE] * 4)}, {"a": rows(PLACE, PLACE, FAR, PLACE, tracks=[1, 1, 2, 1])})
    assert (found["misses"], found["false_alarms"], found["fragmentations"]) == (1, 1, 1)
    assert found["MOTA"] == 1 - (1 + 1) / 4
    assert found["IDF1"] == 2 * 3 / (4 + 4)
    assert found["DetA"] == pytest.approx(3 / 5)
    assert found["AssA"] == pytest.approx(3 / 4)


def test_a_loose_box_is_a_hit_from_half_overlap_on(score, rows):
    truth, shifted = {"a": rows(*[PLACE] * 2)}, (2.5, 0, 10, 10)  # overlap 0.6
    found = score(truth, {"a": rows(*[shifted] * 2)})
    assert found["MOTP"] == pytest.approx(0.6)
    assert found["DetA"] == pytest.approx(12 / 19)  # at 0.05, 0.10, ..., 0.60 of 19 thresholds
    assert found["MOTA"] == 1
    assert score(truth, {"a": rows(*[(4, 0, 10, 10)] * 2)})["MOTA"] == -1


def test_recordings_count_together_by_their_boxes_and_have_identities_of_their_own(score, rows):
    truth = {"a": rows(*[PLACE] * 4), "b": rows(PLACE), "c": rows()}
    found = score(truth, {"a": rows(*[PLACE] * 4)})
    assert found["MOTA"] == 4 / 5
    assert found["IDF1"] == pytest.approx(2 * 4 / (4 + 5))
    found = score(truth, {"a": rows(*[PLACE] * 4), "b": rows(PLACE)})
    assert (found["identity_switches"], found["tracks"], found["truth_tracks"], found["IDF1"]) == (0, 2, 2, 1)
    assert score({"c": rows()}, {})["MOTA"] is None


def test_a_track_of_another_class_follows_nothing(score, rows):
    truth, other = {"a": rows(*[PLACE] * 4)}, {"a": rows(*[PLACE] * 4, class_id=1)}
    assert score(truth, other)["MOTA"] == -1
    wavering = {"a": rows(*[PLACE] * 4, class_id=[0, 0, 1, 1])}
    assert score(truth, wavering)["IDF1"] == 1 / 2
    both = np.concatenate([rows(PLACE), rows(FAR, class_id=1)])  # number 1 of both classes
    assert score({"a": both}, {"a": both})["tracks"] == 2


def test_tracks_in_ignored_boxes_are_neither_hits_nor_errors(score, rows):
    truth = np.concatenate([rows(*[PLACE] * 2), rows(*[FAR] * 2, tracks=2, class_confidence=0)])
    inside, outside = (106, 100, 8, 10), (107, 100, 8, 10)  # 0.5 and 0.375 of the box
    for place, alarms in ((inside, 0), (outside, 2)):
        found = score({"a": truth}, {"a": np.concatenate([rows(*[PLACE] * 2), rows(*[place] * 2, tracks=5)])})
        assert (found["truth_boxes"], found["misses"], found["false_alarms"]) == (2, 0, alarms)
    other = rows(*[FAR] * 2, tracks=5, class_id=1)
    assert score({"a": truth}, {"a": other})["false_alarms"] == 2
    covered = np.concatenate([rows(*[PLACE] * 2), rows(*[PLACE] * 2, tracks=2, class_confidence=0)])
    assert score({"a": covered}, {"a": rows(*[PLACE] * 2)})["MOTA"] == 1


def test_only_labelled_times_count_with_or_without_a_box(score, rows):
    truth, tracked = {"a": rows(PLACE, PLACE)}, {"a": rows(*[PLACE] * 4)}
    assert score(truth, tracked)["false_alarms"] == 0
    found = score(truth, tracked, labelled_us={"a": np.arange(3) * STEP})
    assert (found["false_alarms"], found["frames"]) == (1, 3)


def test_tracks_count_at_the_nearest_labelled_time_within_the_tolerance(score, rows):
    truth, late = {"a": rows(*[PLACE] * 3)}, rows(*[PLACE] * 3)
    late["t"] += 1000
    assert score(truth, {"a": late}, tolerance_us=999)["misses"] == 3
    assert score(truth, {"a": late}, tolerance_us=1000)["MOTA"] == 1
    double = np.concatenate([late, rows(*[FAR] * 3)])  # nearer
    assert score(truth, {"a": double}, tolerance_us=1000)["misses"] == 3


TIMES = st.lists(st.integers(0, 40), max_size=12).map(lambda times: np.unique(np.array(times, np.int64)))


@given(TIMES.filter(len), TIMES)
def test_the_nearest_moment_is_that_of_a_search_through_all_and_the_earlier_of_two(moments, times):
    found = moments[nearest_window(times, moments)]
    assert found.tolist() == [moments[np.argmin(np.abs(moments - time))] for time in times]


@pytest.mark.parametrize("seed", range(10))
def test_idf1_and_mota_are_those_of_a_search_through_all_pairs(score, boxes, seed):
    rng = np.random.default_rng(seed)
    tables = []
    for _ in range(2):
        keys = np.stack(np.meshgrid(np.arange(5), np.arange(3)), axis=-1).reshape(-1, 2)[rng.random(15) < 0.8]
        places = [(t * STEP, 11 * track + rng.integers(0, 3), 0, 10, 10) for t, track in keys]
        tables.append(boxes(*places, track_id=keys[:, 1]))
    truth, tracked = tables
    swapped = tracked["t"] >= 3 * STEP
    tracked["track_id"][swapped] = (tracked["track_id"][swapped] + 1) % 3
    is_hit = (overlaps(truth, tracked) >= 0.5) & (truth["t"][:, None] == tracked["t"])
    shared = np.array(
        [[is_hit[truth["track_id"] == k][:, tracked["track_id"] == m].sum() for m in range(3)] for k in range(3)]
    )
    most = max(sum(shared[k, m] for k, m in enumerate(order)) for order in permutations(range(3)))
    found = score({"a": truth}, {"a": tracked})
    assert found["IDF1"] == pytest.approx(2 * most / (len(truth) + len(tracked)))
    switches, last = 0, {}
    for k in np.lexsort((truth["t"], truth["track_id"])):
        for m in np.flatnonzero(is_hit[k]):
            switches += last.get(truth["track_id"][k], tracked["track_id"][m]) != tracked["track_id"][m]
            last[truth["track_id"][k]] = tracked["track_id"][m]
    hits = is_hit.sum()
    errors = len(truth) - hits + len(tracked) - hits + switches
    assert found["MOTA"] == pytest.approx(1 - errors / len(truth))
    assert found["identity_switches"] == switches


def test_wrong_input_is_one_sentence(score, rows):
    one = {"a": rows(PLACE)}
    for truth, tracked, words in (
        ({}, {}, "at least one recording"),
        (one, {"b": rows(PLACE)}, r"recordings of the truth \(a\), got b"),
        (one, {"a": np.concatenate([rows(PLACE), rows(FAR)])}, "tracks of a must have one box of a track"),
        ({"a": np.concatenate([rows(PLACE), rows(FAR)])}, one, "truth of a must have one box of a track"),
    ):
        with pytest.raises(InputError, match=words):
            score(truth, tracked)


def test_a_library_that_is_missing_is_named(monkeypatch, rows):
    monkeypatch.setitem(sys.modules, "trackers.eval", None)
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(InputError, match=r"pip install 'seqdet\[track\]'"):
        score_tracks({"a": rows(PLACE)}, {})


def test_files_of_tracks_are_scored_by_the_names_of_their_classes(score, rows, tmp_path):
    for folder, names in (("data", {"0": "car", "1": "bus"}), ("tracks", {"0": "bus"})):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "label_map_dictionary.json").write_text(json.dumps(names))
    truth = np.concatenate([rows(*[PLACE] * 4, tracks=1, class_id=0), rows(*[FAR] * 4, tracks=2, class_id=1)])
    write_labels(tmp_path / "data" / "a_bbox.npy", truth)
    tracked = np.zeros(3, TRACKED_BOX)
    for name in ("t", "x", "y", "w", "h", "class_confidence"):
        tracked[name] = rows(*[FAR] * 3)[name]
    tracked["t"] += 1500
    tracked["track_id"] = [7, 7, 8]
    np.save(tmp_path / "tracks" / "a_tracks.npy", tracked)
    lines = evaluate_tracks(tmp_path / "tracks", tmp_path / "data", target=tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures == score({"a": rows(*[FAR] * 4)}, {"a": rows(*[FAR] * 3, tracks=[7, 7, 8])})
    assert len(lines) == 3
    write_labels(tmp_path / "data" / "b_bbox.npy", truth)
    one = evaluate_tracks(tmp_path / "tracks" / "a_tracks.npy", tmp_path / "data")
    assert one[3] == "no file of tracks, so that all is missed: b"
    assert "2 objects with 8 boxes" in one[1]
    assert lines[0].startswith("IDF1 0.571  MOTA 0.500  HOTA ")
    assert lines[1] == "1 recordings, 4 labelled times, 1 objects with 4 boxes, 2 tracks with 3"
    assert lines[2] == "1 identity switches, 0 fragmentations, 1 misses, 0 false alarms"
