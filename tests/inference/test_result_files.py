"""The files of results: whole at any time, and read by others."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.data.classes import write_classes
from seqdet.data.detections import TRACKED_BOX
from seqdet.data.labels import EVENT_BBOX, read_labels
from seqdet.inference.inputs import PredictConfig
from seqdet.inference.prediction import predict_recordings
from seqdet.inference.result_files import GrowingNpy, ResultFiles
from seqdet.viz.video import write_video

from .fakes import HullRunner


def test_an_npy_file_is_whole_at_any_time(tmp_path):
    rows = np.zeros(7, EVENT_BBOX)
    rows["t"] = np.arange(7)
    file = GrowingNpy(tmp_path / "a.npy", EVENT_BBOX)
    for count in range(8):
        assert np.load(tmp_path / "a.npy").tolist() == rows[: max(count - 1, 0)].tolist()
        file.flush()
        assert np.load(tmp_path / "a.npy").tolist() == rows[:count].tolist()
        file.add(rows[count : count + 1])
    file.close()
    assert np.load(tmp_path / "a.npy", mmap_mode="r").tolist() == rows.tolist()


def test_a_failure_leaves_whole_files_too(tmp_path):
    rows = np.ones(3, EVENT_BBOX)
    outputs = ResultFiles(tmp_path, Path("a"), has_tracks=False)
    outputs.add(rows)
    with pytest.raises(ZeroDivisionError), outputs:
        raise ZeroDivisionError
    assert np.load(tmp_path / "detections" / "a_bbox.npy").tolist() == rows.tolist()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full disk")
def test_a_full_disk_is_one_sentence(tmp_path):
    outputs = ResultFiles(tmp_path, Path("a"), has_tracks=False)
    outputs._tables[0][1]._file.close()
    with Path("/dev/full").open("w") as full:
        outputs._tables[0][1]._file = full
        outputs.add(np.ones(3, EVENT_BBOX))
        with pytest.raises(InputError, match=r"a_detections\.csv cannot be written: No space left"), outputs:
            pass
    assert len(np.load(tmp_path / "detections" / "a_bbox.npy")) == 3


class Steady(HullRunner):
    """Finds one class in all pictures."""

    def __call__(self, frames, state=None):
        return super().__call__((frames > 127).astype(np.uint8))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Results of a film of eight pictures in which a square moves, whose track is shown from the second on."""
    root = tmp_path_factory.mktemp("film")
    images = np.zeros((8, 40, 60, 3), np.uint8)
    for n, image in enumerate(images):
        image[8:24, 4 * n : 4 * n + 12] = 255
    write_video(root / "film.mp4", images, fps=20)
    predict_recordings(Steady(None, 3), root / "film.mp4", root / "found", PredictConfig(track=True))
    return root / "found"


def test_mot_has_the_tracks_of_every_picture_by_its_number(found):
    """As the loaders of MOTChallenge read it: ten columns of numbers between commas, frames and identities from 1."""
    tracks = np.load(found / "tracks" / "film_tracks.npy")
    with (found / "mot" / "film.txt").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {10}
    numbers = np.array(rows, float)
    assert numbers[:, 0].tolist() == (tracks["t"] // 50_000 + 1).tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert set(numbers[:, 1]) == {1}
    for column, name in enumerate(("x", "y", "w", "h", "class_confidence"), 2):
        assert (numbers[:, column].astype(np.float32) == tracks[name]).all()
    assert (numbers[:, 7:] == -1).all()
    assert len(set(zip(numbers[:, 0], numbers[:, 1], strict=True))) == len(rows)


def test_mot_is_read_back_by_the_import(found, tmp_path):
    t = np.arange(0, 400_001, 100)
    still = np.ones(len(t), np.uint8)
    (tmp_path / "recordings").mkdir()
    np.savez(tmp_path / "recordings" / "film.npz", t=t, x=still, y=still, p=t % 3 == 0, size_hw=(40, 60))
    write_classes(tmp_path, ["a"])
    main(["import", f"{found}/mot", f"{tmp_path}/recordings", "--from", "mot", "-o", f"{tmp_path}/out",
          "--label-rate", "20", "--classes", "a"])  # fmt: skip
    labels = read_labels(next((tmp_path / "out").rglob("film_bbox.npy")))
    tracks = np.load(found / "tracks" / "film_tracks.npy")
    for name in ("t", "x", "y", "w", "h", "track_id", "class_confidence"):
        assert labels[name].tolist() == pytest.approx(tracks[name].tolist())


def test_windows_are_numbered_also_where_tracks_are_written_in_between(tmp_path):
    """And those without a track count, too."""
    nothing = np.zeros(0, TRACKED_BOX)
    at_end = np.ones(2, TRACKED_BOX)
    at_end["track_id"] = [1, 2]
    with ResultFiles(tmp_path, Path("a"), has_tracks=True) as outputs:
        for shown in (nothing, at_end, nothing, at_end[1:]):
            outputs.add(np.zeros(0, EVENT_BBOX), np.repeat(shown, 3), shown)
    lines = (tmp_path / "mot" / "a.txt").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["2", "1"], ["2", "2"], ["4", "2"]]
    assert len(np.load(tmp_path / "tracks" / "a_tracks.npy")) == 9
