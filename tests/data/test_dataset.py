"""Which files of a folder are recordings, and where their results belong."""

import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.config import DatasetConfig
from seqdet.data.dataset import contents, find_recordings, recording_files
from seqdet.data.labels import labels_beside
from seqdet.data.sources import dataset_folder, tensor_folder
from seqdet.events.array import columns
from seqdet.events.files import open_recording
from seqdet.events.tables import write_npz

EVENTS = "\n".join(f"{n * 0.01:.3f} {n % 64} {n % 48} {n % 2}" for n in range(50)) + "\n"
TEXTS = {
    "README.txt": "recorded on a sunny day, 3 lanes\n",
    "empty.txt": "",
    "image_timestamps.txt": "\n".join(str(n * 100_000) for n in range(20)),
    "images.txt": "\n".join(f"{n * 0.1:.6f} images/frame_{n:08d}.png" for n in range(20)),
    "groundtruth.txt": "\n".join(f"{n * 0.1:.3f} 0.1 -0.2 0.3 0 0 0 1" for n in range(20)),
    "calib.txt": "335.41 335.35 129.92 99.18 -0.13 0.09 -0.01 0.02 -0.5\n",
    "labels.csv": "t,x,y,w,h,class\n100,1,2,3,4,car\n",
}
POSES = "\n".join(f"{n / 10:.3f} 1 2 1" for n in range(10)) + "\n"  # could be events


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


def names_of(folder):
    return [path.name for path in recording_files(folder)]


def write_texts(folder, **others):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (TEXTS | others).items():
        (folder / name).write_text(content)


@pytest.mark.parametrize("content", [EVENTS, "%geometry:64,48\n" + EVENTS, "64 48\n" + EVENTS, "t x y p\n" + EVENTS])
def test_texts_that_are_no_events_are_passed_over_and_said_once(tmp_path, caplog, content):
    caplog.set_level(logging.INFO)
    write_texts(tmp_path)
    (tmp_path / "events.txt").write_text(content)
    assert names_of(tmp_path) == ["events.txt"]
    assert names_of(tmp_path) == ["events.txt"]
    (told,) = caplog.messages
    assert f"Passed over in {tmp_path}, as they are no recordings: README.txt, calib.txt" in told
    with pytest.raises(InputError, match="must hold lines of numbers"):
        open_recording(tmp_path / "README.txt")


def test_texts_beside_other_recordings_are_events_only_if_something_says_so(tmp_path):
    write_texts(tmp_path / "train", **{"poses.txt": POSES, "named.csv": "t,x,y,p\n1,2,3,1\n", "labelled.txt": EVENTS})
    events = columns(t=np.arange(10), x=np.arange(10), y=np.arange(10), p=np.ones(10))
    write_npz(tmp_path / "train" / "d0.npz", [events], size_hw=(48, 64))
    (tmp_path / "train" / "labelled_bbox.npy").touch()
    assert names_of(tmp_path) == ["d0.npz", "labelled.txt", "named.csv"]
    write_texts(tmp_path / "alone", **{"poses.txt": POSES})
    assert names_of(tmp_path / "alone") == ["poses.txt"]


def test_a_text_that_becomes_events_is_looked_at_anew(tmp_path):
    (tmp_path / "a.txt").write_text("to come")
    assert names_of(tmp_path) == []
    (tmp_path / "a.txt").write_text(EVENTS)
    assert names_of(tmp_path) == ["a.txt"]


def test_texts_of_labels_are_none(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write_texts(tmp_path / "labels", **{"a.txt": EVENTS})
    (tmp_path / "b.txt").write_text(EVENTS)
    assert [path.name for path in recording_files(tmp_path, labels=tmp_path / "labels")] == ["b.txt"]
    assert caplog.messages == []


@pytest.mark.parametrize(("there", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_composed_another_way_are_found_and_labels_beside_them(tmp_path, there, asked):
    disk, user = (unicodedata.normalize(form, "größe") for form in (there, asked))
    (tmp_path / disk / "train").mkdir(parents=True)
    (tmp_path / disk / "train" / f"{disk}.csv").write_text("t,x,y,p\n1,2,3,1\n")
    (tmp_path / disk / "train" / f"{user}_bbox.npy").touch()
    for path in (tmp_path / user, tmp_path / user / "train" / f"{user}.csv"):
        (found,) = find_recordings([path])
        with open_recording(path if path.suffix else found.path) as recording:
            assert sum(map(len, recording.chunks())) == 1
        assert labels_beside(found.path) is not None
    config = DatasetConfig(folder=tmp_path / user)
    assert dataset_folder(config).is_dir()
    assert tensor_folder(config).parent == tmp_path
    assert len(contents(tmp_path / user).entries) == 1
