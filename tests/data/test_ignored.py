"""One rule of what is an ignored label, and training, scores of boxes and of tracks, and audits go by it."""

import json

import numpy as np
import pytest

from seqdet.audit import audit
from seqdet.config import DatasetConfig, InputConfig
from seqdet.data.clips import RecordedClips
from seqdet.data.description import Description
from seqdet.data.labels import EVENT_BBOX, is_ignored, read_labels, write_labels
from seqdet.data.schedule import Cue
from seqdet.data.store import write_tensors
from seqdet.evaluation.protocols import table
from seqdet.evaluation.tracks import score_tracks
from seqdet.events.array import columns
from seqdet.events.tables import write_npz
from seqdet.importing import ImportOptions, import_labels

SCORES = {0.0: True, -1.0: False, -0.5: False, 0.01: False, 1.0: False, 90.0: False, np.nan: False}
"""Score of a label, and whether it is ignored."""
cases = pytest.mark.parametrize(("value", "ignored"), SCORES.items(), ids=map(str, SCORES))


def label(value):
    return np.array([(50_000, 4, 4, 10, 8, 0, 1, value)], EVENT_BBOX)


@cases
def test_the_rule(value, ignored):
    assert is_ignored(label(value)).tolist() == [ignored]


@cases
def test_training_goes_by_it(tmp_path, value, ignored):
    (tmp_path / "train").mkdir()
    (tmp_path / "label_map_dictionary.json").write_text(json.dumps({"0": "car"}))
    frames = np.zeros((2, 4, 24, 32), np.uint8)
    description = Description(InputConfig("stacked_histogram", {"bins": 2}, 50_000, (24, 32), (24, 32)))
    write_tensors(tmp_path / "train" / "a.h5", [frames], description)
    write_labels(tmp_path / "train" / "a_bbox.npy", label(value))
    clip = RecordedClips(DatasetConfig(folder=tmp_path), "train", clip_length=2)[Cue(0, 0, 0)]
    assert clip.boxes[0].is_ignored is not None
    assert clip.boxes[0].is_ignored.tolist() == [ignored]


@cases
def test_average_precision_goes_by_it(value, ignored):
    rows = table({"a": label(value)}, ["a"], "truth", {0: 0})
    assert rows["is_ignored"].tolist() == [ignored]


@cases
def test_scores_of_tracks_go_by_it(value, ignored):
    pytest.importorskip("trackers")
    assert score_tracks({"a": label(value)}, {})["truth_boxes"] == int(not ignored)


@cases
def test_audits_go_by_it_and_say_what_is_odd(tmp_path, value, ignored):
    (tmp_path / "label_map_dictionary.json").write_text(json.dumps({"0": "car"}))
    t = np.arange(0, 100_000, 100)
    write_npz(tmp_path / "a.npz", [columns(t=t, x=t % 20 + 40, y=t % 20, p=t % 2)], size_hw=(60, 80))
    write_labels(tmp_path / "a_bbox.npy", np.repeat(label(value), 2))  # a duplicate, unless both are ignored
    result = audit(tmp_path)
    assert ("duplicate" in result.kinds()) == (not ignored)
    assert ("odd_score" in result.kinds()) == (value not in (0, 0.01, 1))


def test_a_score_below_zero_is_imported_as_one_that_is_not_stated_and_told(tmp_path):
    t = np.arange(0, 100_000, 100)
    write_npz(tmp_path / "drive.npz", [columns(t=t, x=t % 80, y=t % 60, p=t % 2)], size_hw=(60, 80))
    (tmp_path / "drive.csv").write_text("50000,0,3,4,4,10,8,-1\n60000,0,3,4,4,10,8,0\n70000,0,3,4,4,10,8,.5\n")
    options = ImportOptions(classes=("car",))
    done = import_labels("csv", tmp_path / "drive.csv", tmp_path / "drive.npz", tmp_path / "out", options)
    assert read_labels(tmp_path / "out" / "train" / "drive_bbox.npy")["class_confidence"].tolist() == [1, 0, 0.5]
    assert any(line.startswith("1 boxes with a score below 0") for line in done.lines())
