"""Classes of a dataset: kept, renamed, merged by name."""

import json

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.data.classes import map_classes, read_classes, write_classes
from seqdet.data.labels import CLASSES_FILE, EVENT_BBOX

FOUND = ("car", "truck", "person", "a+b")


def boxes_of(*classes):
    boxes = np.zeros(len(classes), EVENT_BBOX)
    boxes["t"], boxes["class_id"], boxes["class_confidence"] = range(len(classes)), classes, 1
    return boxes


def test_names_come_back_in_their_order(tmp_path):
    write_classes(tmp_path, FOUND)
    assert read_classes(tmp_path) == FOUND


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"1": "a"}', '{"0": 3}', '{"0": "a", "1": "a"}', "[" * 9999])
def test_a_damaged_map_is_refused_in_one_sentence(tmp_path, content):
    (tmp_path / CLASSES_FILE).write_text(content)
    with pytest.raises(InputError, match=CLASSES_FILE):
        read_classes(tmp_path)


def test_without_wishes_all_classes_stay():
    assert map_classes(FOUND).boxes(boxes_of(3, 0))["class_id"].tolist() == [3, 0]


def test_classes_are_kept_renamed_and_merged_by_name():
    chosen = map_classes(FOUND, ["human=person", "vehicle=car+truck"])
    assert chosen.names == ("human", "vehicle")
    kept = chosen.boxes(boxes_of(0, 1, 2, 3))
    assert kept["class_id"].tolist() == [1, 1, 0]
    assert kept["t"].tolist() == [0, 1, 2]
    assert map_classes(FOUND, ["a+b"]).names == ("a+b",)
    assert map_classes(FOUND, ["c=a+b"]).names == ("c",)


def test_boxes_of_other_classes_are_ignored_for_every_class_if_asked():
    kept = map_classes(FOUND, ["person", "car"], others="ignore").boxes(boxes_of(2, 1, 0))
    assert kept["class_id"].tolist() == [0, 0, 1, 1]
    assert kept["class_confidence"].tolist() == [1, 0, 0, 1]
    assert kept["t"].tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (["persn"], "Did you mean person"),
        (["car", "x=car"], "wanted once"),
        (["x=car", "x=truck"], "must differ"),
        (["=car"], "must differ"),
    ],
)
def test_classes_that_cannot_be_mapped_are_refused(wanted, sentence):
    with pytest.raises(InputError, match=sentence):
        map_classes(FOUND, wanted)


def test_a_class_without_a_name_is_refused():
    with pytest.raises(InputError, match="below 4"):
        map_classes(FOUND).boxes(boxes_of(4))


def test_the_file_is_an_object_from_text_to_name(tmp_path):
    write_classes(tmp_path, ["car"])
    assert json.loads((tmp_path / CLASSES_FILE).read_text()) == {"0": "car"}
