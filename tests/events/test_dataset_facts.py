"""The size of the sensor is kept with a dataset, and whoever opens a recording in it knows it."""

import json

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.events.array import columns
from seqdet.events.dataset_facts import DatasetFacts, check_facts, facts_about, keep_facts, read_facts
from seqdet.events.files import open_recording
from seqdet.events.tables import write_npz

SIZE_HW = (60, 80)
ROWS = np.array([(5, 79, 59, 1), (6, 1, 2, 0)], [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])


def test_a_fact_comes_back_and_what_else_the_file_holds_stays(tmp_path):
    assert read_facts(tmp_path) == DatasetFacts()
    (tmp_path / "dataset.json").write_text('{"format": "seqdet dataset 1", "more": [1, {"a": "b"}]}')
    assert read_facts(tmp_path) == DatasetFacts()
    keep_facts(tmp_path, DatasetFacts(SIZE_HW))
    keep_facts(tmp_path, DatasetFacts())
    assert read_facts(tmp_path) == DatasetFacts(SIZE_HW)
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert content == {"format": "seqdet dataset 1", "more": [1, {"a": "b"}], "size_hw": [60, 80]}


def test_another_size_and_files_of_other_tools_are_never_overwritten(tmp_path):
    keep_facts(tmp_path, DatasetFacts(SIZE_HW))
    with pytest.raises(InputError, match=r"size_hw must be \[60, 80\], as .*dataset\.json says"):
        check_facts(tmp_path, DatasetFacts((480, 640)))
    (tmp_path / "dataset.json").write_text('{"images": []}')
    with pytest.raises(InputError, match="is of another tool"):
        keep_facts(tmp_path, DatasetFacts(SIZE_HW))
    assert (tmp_path / "dataset.json").read_text() == '{"images": []}'
    assert read_facts(tmp_path) == DatasetFacts()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"format": "seqdet dataset 2"}', "must be of format seqdet dataset 1"),
        ('{"format": "seqdet dataset 1", "size_hw": [60]}', "a height and a width"),
        ('{"format": "seqdet dataset 1", "size_hw": [60, 0]}', "a height and a width"),
        ('{"format": "seqdet dataset 1", "size_hw": [60, "80"]}', "a height and a width"),
        ('{"format": "seqdet dataset 1", "size', "sound JSON"),
    ],
)
def test_a_damaged_file_of_ours_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_facts(tmp_path)


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff\xfe", b"[" * 99_999])
def test_a_file_that_is_not_ours_says_nothing(tmp_path, content):
    (tmp_path / "dataset.json").write_bytes(content)
    assert read_facts(tmp_path) == DatasetFacts()


@pytest.mark.parametrize("place", ["a.npy", "train/a.npy", "train/day/a.npy"])
def test_a_recording_in_a_dataset_has_its_size_unless_it_states_its_own_or_the_user_does(tmp_path, place, monkeypatch):
    keep_facts(tmp_path, DatasetFacts(SIZE_HW))
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, ROWS)
    for name in (path, place):
        monkeypatch.chdir(tmp_path)
        with open_recording(name) as recording:
            assert recording.stated_size_hw == SIZE_HW
    with open_recording(path, size_hw=(100, 200)) as recording:
        assert recording.stated_size_hw == (100, 200)
    write_npz(path.with_suffix(".npz"), [columns(t=[1], x=[2], y=[3], p=[1])], size_hw=(30, 40))
    for size_hw in (None, (100, 200)):
        with open_recording(path.with_suffix(".npz"), size_hw=size_hw) as recording:
            assert recording.stated_size_hw == (30, 40)


def test_nothing_is_taken_from_further_up(tmp_path):
    keep_facts(tmp_path, DatasetFacts(SIZE_HW))
    assert facts_about(tmp_path / "a" / "b" / "c" / "a.npy") == DatasetFacts()
