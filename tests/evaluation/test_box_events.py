"""Events in the boxes of labels, and the score by the time since there were any."""

import json

import numpy as np
import pytest

from seqdet.data.labels import write_labels
from seqdet.evaluation.breakdown import events_in_boxes
from seqdet.evaluation.report import evaluate_files
from seqdet.events.array import columns
from seqdet.events.tables import write_npz

STEP = 100_000


@pytest.fixture
def dataset(boxes, tmp_path):
    """A box with 20 events in its first three tenths of a second and none in the seven after; an event far away."""
    (tmp_path / "test").mkdir()
    t = np.append(np.arange(0, 300_000, 5000), 990_000)
    x, y = np.append(np.full(60, 30), 70), np.append(np.full(60, 30), 50)
    write_npz(tmp_path / "test" / "a.npz", [columns(t=t, x=x, y=y, p=t % 2)], size_hw=(60, 80))
    rows = boxes(*[(n * STEP, 20, 20, 20, 20) for n in range(1, 11)])
    write_labels(tmp_path / "test" / "a_bbox.npy", rows)
    (tmp_path / "label_map_dictionary.json").write_text('{"0": "car"}')
    return tmp_path, rows


def test_the_events_since_the_label_before_are_counted(dataset):
    folder, rows = dataset
    assert events_in_boxes(folder, {"a": rows})["a"].tolist() == [20, 20, 20, *[0] * 7]


def test_without_a_recording_for_every_label_nothing_is_counted(dataset):
    folder, rows = dataset
    assert events_in_boxes(folder, {"a": rows, "b": rows}) is None
    (folder / "test" / "a.npz").unlink()
    assert events_in_boxes(folder, {"a": rows}) is None


def test_files_of_detections_are_scored_by_the_time_without_events(dataset, tmp_path):
    folder, rows = dataset
    (tmp_path / "found").mkdir()
    write_labels(tmp_path / "found" / "a.npy", rows[:7])
    said = evaluate_files(tmp_path / "found", folder, target=tmp_path / "figures.json")
    quiet = json.loads((tmp_path / "figures.json").read_text())["breakdowns"]["without events, s"]
    assert [(each["low"], each["truth_boxes"], each["recall50"]) for each in quiet] == [
        (0, 5, 1),
        (0.3, 5, pytest.approx(2 / 5)),
        (1, 0, None),
    ]
    assert sum(line.startswith("without events, s") for line in said) == 3
    assert not any(
        line.startswith("without events") for line in evaluate_files(tmp_path / "found", folder, events=False)
    )
