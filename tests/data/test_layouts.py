"""Which files of a folder are recordings, and where their results belong."""

from pathlib import Path

import pytest

from seqdet.checks import InputError
from seqdet.data.layouts import find_recordings


def test_a_folder_gives_its_recordings_and_keeps_its_tree(tmp_path):
    for name in ("train/a_td.dat.h5", "train/a_bbox.npy", "val/b.raw", "val/.b.raw", "notes.md", ".hidden/c.raw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_recordings([tmp_path])
    assert [(each.path.name, each.place) for each in found] == [
        ("a_td.dat.h5", Path("train/a_td")),
        ("b.raw", Path("val/b")),
    ]


def test_a_file_may_have_any_name(tmp_path):
    (tmp_path / "strange.name").touch()
    assert find_recordings([tmp_path / "strange.name"])[0].place == Path("strange")


def test_what_has_no_recording_is_one_sentence(tmp_path):
    (tmp_path / "a.raw").touch()
    (tmp_path / "a.dat").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="does not exist"):
        find_recordings([tmp_path / "nothing"])
    with pytest.raises(InputError, match="must hold recordings"):
        find_recordings([tmp_path / "empty"])
    with pytest.raises(InputError, match="different names"):
        find_recordings([tmp_path])
