"""Label files: every layout that is around, and one sentence for what is none."""

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.data.labels import (
    EVENT_BBOX,
    labels_beside,
    read_labelled_us,
    read_labels,
    write_labelled_us,
    write_labels,
)

ROWS = [(200, 1.5, 2, 10, 20, 3, 7, 0.5), (100, 4, 5, 6, 7, 1, 2, 1.0)]


def test_an_entry_has_forty_bytes_in_the_vendors_order():
    assert EVENT_BBOX.itemsize == 40
    assert [EVENT_BBOX.fields[name][1] for name in EVENT_BBOX.names] == [0, 8, 12, 16, 20, 24, 28, 32]


def test_labels_come_back_sorted_by_time(tmp_path):
    write_labels(tmp_path / "a_bbox.npy", np.array(ROWS, EVENT_BBOX))
    assert read_labels(tmp_path / "a_bbox.npy").tolist() == np.array(ROWS[::-1], EVENT_BBOX).tolist()


def test_old_names_other_types_and_missing_tracks_are_read(tmp_path):
    old = np.array(
        [(100, 4, 5, 6, 7, 1, 0.25)],
        [("ts", "<u8"), *((name, "<f8") for name in "xywh"), ("class_id", "u1"), ("confidence", "<f8")],
    )
    np.save(tmp_path / "old_bbox.npy", old)
    assert read_labels(tmp_path / "old_bbox.npy").tolist() == [(100, 4, 5, 6, 7, 1, 0, 0.25)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x": np.nan}, "finite corners"),
        ({"w": -1}, "finite corners"),
        ({"t": 0.5}, "whole numbers of at least 0 for t"),
        ({"t": np.nan}, "whole numbers of at least 0 for t"),
        ({"class_id": -1}, "whole numbers of at least 0 for class_id"),
    ],
)
def test_numbers_that_no_box_has_are_refused(tmp_path, change, sentence):
    boxes = np.array([(100, 4, 5, 6, 7, 1)], [(name, "<f8") for name in ("t", "x", "y", "w", "h", "class_id")])
    for name, value in change.items():
        boxes[name] = value
    np.save(tmp_path / "a.npy", boxes)
    with pytest.raises(InputError, match=sentence):
        read_labels(tmp_path / "a.npy")


def test_what_is_no_label_file_is_refused(tmp_path):
    np.save(tmp_path / "plain.npy", np.zeros((3, 8)))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("0 1 2")
    for name in ("plain.npy", "objects.npy", "text.npy", "missing.npy"):
        with pytest.raises(InputError, match=name):
            read_labels(tmp_path / name)


FIELDS = ("t", "x", "y", "w", "h", "class_id")


def header_of(shape, descr):
    """The beginning of an npy file that says so."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header_of("(10000000000,)", "'<i8'"), "it ends before the 10000000000 entries"),
        (header_of("(-1,)", "'<i8'"), "its header is damaged"),
        (header_of("(1,)", "'<i8'").replace(b"), }", b"    "), "its header is damaged"),
        (header_of("(1,)", "'|O'") + bytes(8), "it holds Python objects, which are not read"),
        (header_of("(1,)", [(name, "<f4", (2,)) for name in FIELDS]) + bytes(48), "must have one number in every"),
    ],
)
def test_a_damaged_header_is_one_sentence_and_takes_no_memory(tmp_path, content, words):
    (tmp_path / "a_bbox.npy").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_labels(tmp_path / "a_bbox.npy")


@pytest.mark.parametrize(
    ("recording", "labels"),
    [
        ("a.raw", "a_bbox.npy"),
        ("a_td.dat", "a_bbox.npy"),
        ("a_td.dat", "a_td_bbox.npy"),
        ("a_td.dat.h5", "a_bbox.npy"),
        ("a_td_500_900.h5", "a_td_500_900_bbox.npy"),
    ],
)
def test_labels_are_found_beside_their_recording(tmp_path, recording, labels):
    assert labels_beside(tmp_path / recording) is None
    (tmp_path / labels).touch()
    assert labels_beside(tmp_path / recording) == tmp_path / labels


def test_times_without_a_box_are_labelled_where_a_file_says_so(tmp_path):
    path, boxes = tmp_path / "a_bbox.npy", np.array(ROWS, EVENT_BBOX)
    write_labels(path, boxes)
    assert read_labelled_us(path, boxes).tolist() == [100, 200]
    write_labelled_us(path, np.array([300, 100, 200]))
    assert read_labelled_us(path, boxes).tolist() == [100, 200, 300]
    write_labelled_us(path, np.array([300, 100]))
    with pytest.raises(InputError, match="those of all boxes"):
        read_labelled_us(path, boxes)
    (tmp_path / "a_labelled.npy").write_text("100")
    with pytest.raises(InputError, match="npy file of times"):
        read_labelled_us(path, boxes)


def test_equal_labels_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        rows = np.frombuffer(np.random.default_rng(ord(name)).bytes(80), EVENT_BBOX).copy()
        for field in EVENT_BBOX.names:
            rows[field] = 1
        write_labels(tmp_path / name, rows)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
