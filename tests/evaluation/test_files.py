from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.data.detections import TRACKED_BOX
from seqdet.data.labels import EVENT_BBOX, TEXT_COLUMNS, write_labelled_us, write_labels
from seqdet.evaluation.files import name_of, read_boxes, read_detections, read_truth
from seqdet.evaluation.protocols import find_protocol
from seqdet.evaluation.report import evaluate_files
from seqdet.inference.result_files import ResultFiles


@pytest.fixture
def table(boxes):
    rows = [(500_001 + 120_000 * n, 3.25, 4.5, 40, 30 + n) for n in range(5)]
    return boxes(*rows, class_id=[0, 1, 0, 1, 1], track_id=range(5), class_confidence=[0.5, 0.25, 1, 0, 0.125])


def lines(table, separator):
    return [separator.join(str(row[name]) for name in TEXT_COLUMNS) for row in table]


@pytest.mark.parametrize("separator", [" ", ",", ", ", ";", "\t"])
@pytest.mark.parametrize("header", [[], ["names"], ["# a comment", "", "names"]])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_with_any_separator_and_header_gives_the_boxes(separator, header, end, table, tmp_path):
    first = [separator.join(TEXT_COLUMNS) if line == "names" else line for line in header]
    (tmp_path / "a.csv").write_bytes(end.join([*first, *lines(table, separator), ""]).encode())
    assert read_boxes(tmp_path / "a.csv").tolist() == table.tolist()


def test_names_tell_the_order_of_columns_and_further_columns_are_ignored(table, tmp_path):
    names = ["x", "y", "tracking", "confidence", "w", "h", "class_id", "ts"]
    legacy = {"tracking": "track_id", "confidence": "class_confidence", "ts": "t"}
    text = [" ".join(names), *(" ".join(str(row[legacy.get(name, name)]) for name in names) for row in table)]
    (tmp_path / "a.csv").write_text("\n".join(text))
    found = read_boxes(tmp_path / "a.csv")
    expected = table.copy()
    expected["track_id"] = 0
    assert found.tolist() == expected.tolist()
    (tmp_path / "b.csv").write_text("\n".join(f"{line} 0.5 123 4" for line in lines(table, " ")))
    assert read_boxes(tmp_path / "b.csv").tolist() == table.tolist()


def test_rows_are_sorted_by_time_and_an_empty_file_has_none(table, tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(reversed(lines(table, " "))))
    assert read_boxes(tmp_path / "a.txt").tolist() == table.tolist()
    for text in ("", "\n\n", "# nothing\n", " ".join(TEXT_COLUMNS)):
        (tmp_path / "b.csv").write_text(text)
        assert read_boxes(tmp_path / "b.csv").tolist() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", "must hold lines of t class_id"),
        ("1 0 0 1 1 5 5 0.5\n1 0 0 1 1 5 cat 0.5\n", "must hold lines of t class_id"),
        ("1.5 0 0 1 1 5 5 0.5\n", "whole numbers for t"),
        ("1 -1 0 1 1 5 5 0.5\n", "whole numbers for class_id"),
        ("1 0.5 0 1 1 5 5 0.5\n", "whole numbers for class_id"),
        ("1 0 0 nan 1 5 5 0.5\n", "finite corners"),
        ("1 0 0 1 1 -5 5 0.5\n", "sizes of at least 0"),
        ("1 0 0 1 1 5 5 nan\n", "finite scores"),
        ("1e30 0 0 1 1 5 5 1\n", "whole numbers for t"),
        ("t x y w h class_id\n1 2 3 4 5 0\n", "has no class_confidence"),
        ("\x00" * 100, "must hold lines of t class_id"),
        ("PK\x03\x04 not text at all", "must hold lines of t class_id"),
    ],
)
def test_text_that_is_no_boxes_is_refused_in_one_sentence(text, message, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_detections(path)
    assert str(path) in str(caught.value)


def test_random_bytes_never_crash(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(60):
        path = tmp_path / f"{n}.{('csv', 'npy')[n % 2]}"
        path.write_bytes((b"\x93NUMPY\x01\x00" * (n % 4 == 1)) + rng.bytes(rng.integers(1, 400)))
        with pytest.raises(InputError):
            read_detections(path)


def test_npy_with_scores_is_read_and_without_is_refused(table, tmp_path):
    write_labels(tmp_path / "a_bbox.npy", table)
    assert read_detections(tmp_path)["a"].tolist() == table.tolist()
    np.save(tmp_path / "b.npy", table[[name for name in EVENT_BBOX.names if name != "class_confidence"]])
    with pytest.raises(InputError, match="must have scores as class_confidence"):
        read_detections(tmp_path / "b.npy")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.npy", "a"),
        ("a_bbox.npy", "a"),
        ("a_td_bbox.npy", "a"),
        ("a_td.dat.csv", "a"),
        ("a_detections.csv", "a"),
        ("_bbox.npy", "_bbox"),
    ],
)
def test_a_file_belongs_to_the_recording_of_its_name_without_endings(file, name, tmp_path):
    assert name_of(tmp_path / file) == name


def test_two_files_of_one_recording_and_a_folder_without_any_are_refused(table, tmp_path):
    with pytest.raises(InputError, match="got none"):
        read_detections(tmp_path)
    with pytest.raises(InputError, match="got none"):
        read_detections(tmp_path / "missing.npy")
    write_labels(tmp_path / "a_bbox.npy", table)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(InputError, match=r"different recordings, got .*a.csv and .*a_bbox.npy"):
        read_detections(tmp_path)


@pytest.fixture
def dataset(table, tmp_path):
    """With two recordings to test, of which one has times without a box, and one to validate."""
    root = tmp_path / "dataset"
    for split, names in {"val": ["c"], "test": ["a", "b"]}.items():
        (root / split).mkdir(parents=True)
        for name in names:
            write_labels(root / split / f"{name}_bbox.npy", table)
    write_labelled_us(root / "test" / "b_bbox.npy", np.append(table["t"], 1_000_000))
    (root / "label_map_dictionary.json").write_text('{"0": "car", "1": "pedestrian"}')
    return root


def test_truth_is_that_of_the_split_with_its_labelled_times(dataset, table):
    found = read_truth(dataset)
    assert {name: rows.tolist() for name, rows in found.boxes.items()} == {"a": table.tolist(), "b": table.tolist()}
    assert found.labelled_us["b"].tolist() == [*table["t"], 1_000_000]
    assert found.class_names == ("car", "pedestrian")
    assert list(read_truth(dataset, split="val").boxes) == ["c"]
    assert list(read_truth(dataset / "test").boxes) == ["a", "b"]
    with pytest.raises(InputError, match="train must hold label files"):
        read_truth(dataset, split="train")
    (dataset / "label_map_dictionary.json").unlink()
    with pytest.raises(InputError, match="must hold a label_map_dictionary"):
        read_truth(dataset)
    assert read_truth(dataset, classes=("car", "pedestrian")).class_names == ("car", "pedestrian")


def test_labels_in_folders_of_rvt_are_truth_too(dataset, table):
    (dataset / "test" / "c" / "labels_v2").mkdir(parents=True)
    np.savez(dataset / "test" / "c" / "labels_v2" / "labels.npz", labels=table)
    found = read_truth(dataset)
    assert list(found.boxes) == ["a", "b", "c"]
    assert found.boxes["c"].tolist() == table.tolist()
    assert found.labelled_us["c"].tolist() == table["t"].tolist()


def test_a_folder_of_detections_that_lists_its_classes_is_scored_by_these(dataset, table, tmp_path):
    found = tmp_path / "found"
    found.mkdir()
    for name in ("a", "b"):
        rows = table[table["class_id"] == 1].copy()
        rows["class_id"] = 0
        write_labels(found / f"{name}_bbox.npy", rows)
    (found / "label_map_dictionary.json").write_text('{"0": "pedestrian"}')
    said = evaluate_files(found, dataset)
    assert said[0].startswith("AP 1.000")
    assert any(line.startswith("AP by class: pedestrian 1.000 (4 boxes)") for line in said)
    one = evaluate_files(found / "a_bbox.npy", dataset)
    assert any(line.startswith("AP by class: pedestrian ") for line in one)
    assert not any("car" in line for line in one if line.startswith("AP by class"))
    (found / "label_map_dictionary.json").write_text('{"0": "tram"}')
    with pytest.raises(InputError, match="classes must be among car, pedestrian; got 'tram'"):
        evaluate_files(found, dataset)


def test_the_report_has_all_figures_with_their_protocol_in_words_and_json(dataset, table, tmp_path):
    found = tmp_path / "found"
    found.mkdir()
    for name in ("a", "b"):
        (found / f"{name}.csv").write_text("\n".join(lines(table, ",")))
    target = tmp_path / "scores.json"
    said = evaluate_files(found, dataset, protocol="psee-gen1@1", other="toolbox-legacy", samples=20, target=target)
    digest = find_protocol("psee-gen1").digest
    assert said[0].startswith("AP 1.000")
    assert "20 resamplings" in said[1]
    assert all(f"[psee-gen1@1 {digest}]" in line for line in said if line.startswith(("AP", "95 %", "still")))
    assert sum(line.startswith("still") for line in said) == 2
    assert said[-1].startswith("toolbox-legacy@1")
    facts = json.loads(target.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (facts["AP"], facts["protocol"], facts["digest"]) == (1, "psee-gen1@1", digest)
    assert facts["intervals"]["AP"] == {"low": 1, "high": 1}
    assert facts["breakdowns"]["still, s"][1]["high"] is None
    assert [step["rule"] for step in facts["comparison"]["steps"]] == ["skip_us", "min_side"]


def test_detections_of_the_validation_recordings_are_not_scored_on_the_test_split(dataset, tmp_path):
    with pytest.raises(InputError, match=r"recordings of the truth \(a, b\), got c. Are they of another split"):
        evaluate_files(dataset / "val", dataset)
    assert evaluate_files(dataset / "val", dataset, split="val")[0].startswith("AP 1.000")


def test_gen1_as_it_is_downloaded_needs_no_list_of_classes(dataset):
    (dataset / "label_map_dictionary.json").unlink()
    assert "car 1.000" in " ".join(evaluate_files(dataset / "test", dataset, protocol="psee-gen1"))
    with pytest.raises(InputError, match="label_map_dictionary"):
        evaluate_files(dataset / "test", dataset, protocol="coco")


@pytest.fixture
def predicted(dataset, table, tmp_path):
    """The folder of a prediction with tracks, of a detector that knows pedestrians alone: others are found twice."""
    found = tmp_path / "found"
    rows = table[table["class_id"] == 1].copy()
    rows["class_id"] = 0
    tracks = np.zeros(len(rows), TRACKED_BOX)
    for name in rows.dtype.names:
        tracks[name] = rows[name]
    tracks["x"] += 1000  # nothing is there, so that it shows which of the two were scored
    for name in ("a", "b"):
        with ResultFiles(found, Path(name), has_tracks=True) as outputs:
            outputs.add(rows, tracks, tracks)
    for kind in ("detections", "tracks"):
        (found / kind / "label_map_dictionary.json").write_text('{"0": "pedestrian"}')
    return found


@pytest.mark.parametrize("place", ["csv", ".", "detections"])
def test_detections_beside_tracks_are_scored_from_every_folder_of_a_prediction(predicted, dataset, place, caplog):
    caplog.set_level("INFO", "seqdet")
    said = evaluate_files(predicted / place, dataset)
    assert said[0].startswith("AP 1.000")
    assert any(line.startswith("AP by class: pedestrian 1.000 (4 boxes)") for line in said)
    assert ("2 files of tracks beside those of detections are not scored" in caplog.text) == (place == "csv")


@pytest.mark.parametrize("place", ["csv", ".", "tracks"])
def test_tracks_beside_detections_are_those_that_are_scored_as_tracks(predicted, place):
    found = read_detections(predicted / place, kind="tracks")
    assert list(found) == ["a", "b"]
    assert (found["a"]["x"] >= 1000).all()


def test_a_folder_of_texts_of_tracks_alone_is_read_as_it_is(predicted):
    for path in (predicted / "csv").glob("*_detections.csv"):
        path.unlink()
    assert list(read_detections(predicted / "csv")) == ["a", "b"]
