"""Recordings to tensors: the same frames as one call makes, the same bytes however often it was interrupted."""

import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.lib import recfunctions

from seqdet.checks import InputError, Stopped
from seqdet.config import DatasetConfig, TensorConfig
from seqdet.data import precompute as work
from seqdet.data import processes
from seqdet.data.estimate import estimate
from seqdet.data.labels import EVENT_BBOX, read_labels, write_labels
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.data.rvt import open_rvt
from seqdet.data.store import TensorFile
from seqdet.events.array import Events
from seqdet.events.evt import write_evt3
from seqdet.events.files import open_recording
from seqdet.events.hdf5 import write_hdf5
from seqdet.events.tensors import REPRESENTATIONS, stacked_histogram
from seqdet.files import below
from seqdet.loading import prepare
from seqdet.locks import alone_in
from seqdet.progress import Progress

SIZE = (40, 60)
WINDOW_US = 10_000


def some_events(seed=0, count=20_000, start_us=123_456, stop_us=1_600_000):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(start_us, stop_us, count))
    x, y = rng.integers(0, SIZE[1], count).astype(np.uint16), rng.integers(0, SIZE[0], count).astype(np.uint16)
    return Events(t, x, y, rng.integers(0, 2, count).astype(np.uint8))


def some_labels(times_us):
    boxes = np.zeros(len(times_us), EVENT_BBOX)
    boxes["t"], boxes["w"], boxes["h"], boxes["class_confidence"] = times_us, 10, 12, 1
    boxes["track_id"] = np.arange(len(times_us))
    return boxes


@pytest.fixture
def recordings(tmp_path):
    """A folder with a RAW recording of 1.5 s for training, its labels, and an HDF5 one for validation."""
    folder = tmp_path / "recordings"
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
    write_evt3(folder / "train" / "a_td.raw", [some_events()], size_hw=SIZE)
    write_labels(folder / "train" / "a_bbox.npy", some_labels(np.arange(100_000, 1_600_001, 100_000)))
    write_hdf5(folder / "val" / "b.hdf5", [some_events(1, 3000, 5, 400_000)], size_hw=SIZE)
    (folder / "label_map_dictionary.json").write_text(json.dumps({"0": "digit"}))
    return folder


def options(out, **changes):
    changes = {"tensor": TensorConfig(window_us=WINDOW_US, downscale=2), **changes}
    return PrecomputeConfig(out, **changes)


def contents(folder):
    """The digest of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def expected(recording, start_us, windows):
    with open_recording(recording) as opened:
        events = opened.read(start_us, start_us + windows * WINDOW_US)
    window = {"size_hw": SIZE, "to_hw": (20, 30), "start_us": start_us, "window_us": WINDOW_US}
    return stacked_histogram(events, windows=windows, **window)


def test_the_frames_are_those_of_one_call_over_the_whole_recording(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "SEGMENT_WINDOWS", 50)
    outcome = precompute([recordings], options(tmp_path / "out"))
    assert (outcome.made, outcome.failed, outcome.windows) == (2, [], 148 + 40)
    assert sorted(contents(tmp_path / "out")) == [
        "label_map_dictionary.json",
        "train/a_td.h5",
        "train/a_td_bbox.npy",
        "train/a_td_labelled.npy",
        "train/a_td_read.json",
        "val/b.h5",
        "val/b_read.json",
    ]
    with TensorFile(tmp_path / "out" / "train" / "a_td.h5") as file:
        assert file.description.start_us == 120_000
        assert file.description.input.sensor_hw == SIZE
        assert file.description.source == "a_td.raw"
        frames = file.read(0, len(file))
    np.testing.assert_array_equal(frames, expected(recordings / "train" / "a_td.raw", 120_000, 148))
    labels = read_labels(tmp_path / "out" / "train" / "a_td_bbox.npy")
    assert labels.tolist() == read_labels(recordings / "train" / "a_bbox.npy").tolist()


def test_a_long_recording_becomes_parts_that_lose_neither_window_nor_label(recordings, tmp_path):
    precompute([recordings / "train"], options(tmp_path / "out", max_duration_us=605_000))
    names = ["a_td_120000_720000", "a_td_720000_1320000", "a_td_1320000_1600000"]
    frames, labels = [], []
    for name in names:
        with TensorFile(tmp_path / "out" / f"{name}.h5") as file:
            assert file.description.start_us == int(name.split("_")[2])
            assert file.ends_us[-1] == int(name.split("_")[3])
            frames.append(file.read(0, len(file)))
        labels.append(read_labels(tmp_path / "out" / f"{name}_bbox.npy"))
    np.testing.assert_array_equal(np.concatenate(frames), expected(recordings / "train" / "a_td.raw", 120_000, 148))
    assert [part["t"].max() for part in labels] == [700_000, 1_300_000, 1_600_000]
    assert np.concatenate(labels)["track_id"].tolist() == list(range(16))
    assert len(list((tmp_path / "out").glob("*.h5"))) == 3


def test_started_again_after_any_segment_it_ends_with_the_same_bytes(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "SEGMENT_WINDOWS", 40)
    precompute([recordings], options(tmp_path / "whole"))
    write, written = work.write_tensors, []

    def stopping(path, batches, *rest, **more):
        if len(written) % 2:
            written.append(path)
            raise KeyboardInterrupt
        write(path, batches, *rest, **more)
        written.append(path)

    monkeypatch.setattr(work, "write_tensors", stopping)
    interruptions = 0
    while True:
        try:
            precompute([recordings], options(tmp_path / "out"))
            break
        except Stopped:
            interruptions += 1
    assert interruptions == 4  # after each of the five segments but the last
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_second_run_makes_nothing(recordings, tmp_path):
    precompute([recordings], options(tmp_path / "out"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.h5")}
    outcome = precompute([recordings], options(tmp_path / "out"))
    assert (outcome.made, outcome.found) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.h5")} == before


def test_other_tensors_in_the_place_are_not_overwritten(recordings, tmp_path):
    precompute([recordings / "train"], options(tmp_path / "out"))
    before = contents(tmp_path / "out")
    outcome = precompute([recordings / "train"], options(tmp_path / "out", tensor=TensorConfig(window_us=20_000)))
    assert "name another folder" in outcome.failed[0]
    assert {name: contents(tmp_path / "out")[name] for name in before} == before


def test_labels_that_are_there_are_neither_written_over_nor_left_behind_the_recordings(recordings, tmp_path):
    """Those of somebody else, or old ones of this recording: training would learn from them."""
    precompute([recordings / "train"], options(tmp_path / "out"))
    before = contents(tmp_path / "out")
    write_labels(recordings / "train" / "a_bbox.npy", some_labels(np.arange(200_000, 1_600_001, 100_000)))
    (failure,) = precompute([recordings / "train"], options(tmp_path / "out")).failed
    assert "a_td_bbox.npy must hold the labels of" in failure
    assert contents(tmp_path / "out") == before


def test_tensors_beside_their_recording_leave_its_labels_as_they_are(recordings):
    labels = recordings / "train" / "b_bbox.npy"
    shutil.copy(recordings / "train" / "a_td.raw", recordings / "train" / "b.raw")
    boxes = np.load(recordings / "train" / "a_bbox.npy")
    np.save(labels, recfunctions.append_fields(boxes, "mark", np.ones(len(boxes)), usemask=False))
    before = labels.read_bytes()
    assert precompute([recordings / "train" / "b.raw"], options(recordings / "train")).made == 1
    assert labels.read_bytes() == before
    assert not (recordings / "train" / "b_labelled.npy").exists()


def test_names_of_classes_that_differ_are_refused(recordings, tmp_path):
    precompute([recordings], options(tmp_path / "out"))
    (recordings / "label_map_dictionary.json").write_text(json.dumps({"0": "dog"}))
    with pytest.raises(InputError, match=r"must have the names of classes that \S* has, and has others"):
        precompute([recordings], options(tmp_path / "out"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "label_map_dictionary.json").write_text(json.dumps({"0": "cat"}))
    shutil.copy(recordings / "train" / "a_td.raw", tmp_path / "more" / "c.raw")
    with pytest.raises(InputError, match="must have the names of classes"):
        precompute([recordings, tmp_path / "more"], options(tmp_path / "new"))


def test_recordings_in_linked_folders_are_made_into_tensors(recordings, tmp_path):
    (recordings / "train").rename(tmp_path / "elsewhere")
    (recordings / "train").symlink_to("../elsewhere")
    outcome = precompute([recordings], options(tmp_path / "out"))
    assert (outcome.made, outcome.failed) == (2, [])
    assert (tmp_path / "out" / "train" / "a_td.h5").is_file()


def test_a_changed_recording_is_noticed(recordings, tmp_path):
    precompute([recordings / "train"], options(tmp_path / "out"))
    write_evt3(recordings / "train" / "a_td.raw", [some_events(5)], size_hw=SIZE)
    assert "name another folder" in precompute([recordings / "train"], options(tmp_path / "out")).failed[0]


def test_one_bad_recording_does_not_stop_the_others(recordings, tmp_path):
    (recordings / "train" / "broken.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (recordings / "train" / "c.raw").write_bytes((recordings / "train" / "a_td.raw").read_bytes())
    (recordings / "train" / "c_bbox.npy").write_text("no labels")
    write_hdf5(recordings / "val" / "nothing.hdf5", [], size_hw=SIZE)
    outcome = precompute([recordings], options(tmp_path / "out"))
    assert outcome.made == 2
    assert outcome.silent == [recordings / "val" / "nothing.hdf5"]
    for name, sentence in zip(("broken.hdf5", "c_bbox.npy"), sorted(outcome.failed), strict=True):
        assert f"{name} must" in sentence


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_every_representation_can_be_stored(recordings, tmp_path, name):
    tensor = TensorConfig(representation=name, window_us=100_000, to_hw=(13, 17))
    precompute([recordings / "val"], options(tmp_path / "out", tensor=tensor))
    with open_recording(recordings / "val" / "b.hdf5") as opened:
        events = opened.read(0, 400_000)
    window = {"size_hw": SIZE, "to_hw": (13, 17), "start_us": 0, "window_us": 100_000}
    with TensorFile(tmp_path / "out" / "b.h5") as file:
        np.testing.assert_array_equal(file.read(0, 4), REPRESENTATIONS[name](events, windows=4, **window))


def test_a_function_of_ones_own_is_a_representation_in_every_process(recordings, tmp_path):
    (tmp_path / "my_tensors.py").write_text(
        "import numpy as np\n"
        "def number(events, *, size_hw, start_us, window_us, windows=1, to_hw=None, out=None, times=1):\n"
        "    out = np.zeros((windows, 1, *to_hw), np.int32) if out is None else out\n"
        "    out[...] = times * len(events)\n"
        "    return out\n"
    )
    command = [sys.executable, "-c", "from seqdet.cli import main; main()", "precompute", str(recordings / "val")]
    command += ["-o", str(tmp_path / "out"), "--tensor", "my_tensors.py:number", "--parameters", "{times: 3}"]
    run = subprocess.run([*command, "--workers", "2"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    with TensorFile(tmp_path / "out" / "b.h5") as file:
        assert file.read(0, len(file))[:, 0, 0, 0].sum() == 3 * 3000


SCRIPT = Path(__file__).with_name("halting_precompute.py")
LONG_S = 600
"""For what takes a second or two unless the machine has other work: a test that waits longer has failed."""


def started(recordings, out, segments):
    """Two processes at work, of whose segments so many are there; they make no more before something stops them."""
    command = [sys.executable, str(SCRIPT), str(recordings), str(out), str(segments)]
    run = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while made(out) < segments:
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.005)
    return run


def made(out):
    """The number of segments that are there."""
    return sum(path.match("0*.h5") for path in below(out))  # folders vanish meanwhile


def test_two_processes_make_the_same_bytes_as_one_even_if_they_are_killed(recordings, tmp_path):
    """Many segments, killed as soon as some are there; then Ctrl-C; then to the end."""
    one, two = options(tmp_path / "one", tensor=TensorConfig(window_us=250)), tmp_path / "two"
    precompute([recordings], one)
    for signal_, code in ((signal.SIGKILL, -9), (signal.SIGINT, 1)):
        run = started(recordings, two, made(two) + 2)
        os.killpg(run.pid, signal_)
        assert ("Stopped: Stopped." in run.communicate(timeout=LONG_S)[1]) == (signal_ == signal.SIGINT)
        assert run.returncode == code
    assert not (two / "train" / "a_td.h5").exists()
    run = subprocess.run([sys.executable, SCRIPT, recordings, two, "1000"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert contents(two) == contents(one.out)


def test_a_script_without_a_guard_for_its_main_part_is_run_once(recordings, tmp_path):
    script = tmp_path / "own.py"
    script.write_text(f"""
from pathlib import Path
from seqdet.data.precompute import PrecomputeConfig, precompute
print("begins")
print(precompute([Path({str(recordings)!r})], PrecomputeConfig(Path({str(tmp_path / "out")!r})), workers=2).made)
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["begins", "2"]), done.stderr


def test_rvts_folders_are_written_as_rvt_writes_them(recordings, tmp_path):
    times_us = np.array([40_000, 205_000, 205_000, 304_000, 305_500, 1_604_000])
    write_labels(recordings / "train" / "a_bbox.npy", some_labels(times_us))
    tensor = TensorConfig(parameters={"bins": 10, "max_count": 10}, window_us=50_000, downscale=2)
    outcome = precompute([recordings / "train"], options(tmp_path / "out", tensor=tensor, layout="rvt"))
    assert outcome.failed == []
    assert outcome.dropped == {"labels that are not at the end of a window": 1}
    folder = tmp_path / "out" / "a_td"
    inner = folder / "event_representations_v2" / "stacked_histogram_dt=50_nbins=10"
    with h5py.File(inner / "event_representations_ds2_nearest.h5") as file:
        assert file["data"].shape[1:] == (20, 20, 30)
        assert file["data"].dtype == np.uint8
        assert file["data"].chunks == (1, 20, 20, 30)
        assert file["data"].id.get_create_plist().get_filter(0)[0] == 32001
        assert file["data"].id.get_create_plist().get_filter(0)[2][4:7] == (1, 1, 5)  # zstd, level 1, bytes shuffled
    ends_us = np.load(inner / "timestamps_us.npy")
    assert ends_us.dtype == np.int64
    assert 205_000 in ends_us
    assert (np.diff(ends_us) == 50_000).all()
    labels = np.load(folder / "labels_v2" / "labels.npz")
    assert labels["labels"].dtype == EVENT_BBOX
    content = labels.zip.read("labels.npy")[-40 * len(labels["labels"]) :]
    assert not np.frombuffer(content, np.uint8).reshape(-1, 40)[:, 36:].any()  # between boxes: the same bytes always
    assert labels["labels"]["t"].tolist() == [205_000, 205_000, 304_000, 305_500, 1_604_000]
    assert labels["objframe_idx_2_label_idx"].tolist() == [0, 2, 4]
    assert np.load(folder / "labels_v2" / "timestamps_us.npy").tolist() == [205_000, 304_000, 1_604_000]
    frames = np.load(inner / "objframe_idx_2_repr_idx.npy")
    assert ends_us[frames].tolist() == [205_000, 305_000, 1_605_000]

    tensors, boxes = open_rvt(folder)
    with tensors, open_recording(recordings / "train" / "a_td.raw") as recording:
        assert tensors.description.input.sensor_hw == SIZE
        assert tensors.description.input.window_us == 50_000
        assert boxes["track_id"].tolist() == [1, 2, 3, 4, 5]
        number = int(np.flatnonzero(tensors.ends_us == 205_000)[0])
        window = {"size_hw": SIZE, "to_hw": (20, 30), "start_us": 155_000, "window_us": 50_000}
        np.testing.assert_array_equal(
            tensors.read(number, number + 1),
            stacked_histogram(recording.read(155_000, 205_000), max_count=10, **window),
        )


def test_rvts_layout_needs_labels(recordings, tmp_path):
    outcome = precompute([recordings / "val"], options(tmp_path / "out", layout="rvt"))
    assert "must have labels" in outcome.failed[0]


def test_a_dry_run_writes_nothing_and_is_about_right(recordings, tmp_path):
    foreseen = estimate([recordings], options(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    outcome = precompute([recordings], options(tmp_path / "out"))
    assert (foreseen.recordings, foreseen.windows) == (2, outcome.windows)
    assert foreseen.frame_bytes == outcome.windows * 20 * 20 * 30
    assert 0.5 < foreseen.disk_bytes / outcome.bytes < 2
    assert foreseen.seconds > 0


def test_wrong_options_are_refused_before_anything_is_read(tmp_path):
    for change, sentence in (
        ({"tensor": TensorConfig(representation="nothing")}, "must be one of"),
        ({"tensor": TensorConfig(representation="os:nothing")}, "must be allowed by you"),
        ({"tensor": TensorConfig(parameters={"bin": 3})}, "unexpected keyword argument 'bin'"),
        ({"tensor": TensorConfig(parameters={"bins": 0})}, "from 1 to 1000"),
        ({"max_duration_us": 5}, "max_duration_us must be at least"),
        ({"compression": "zip"}, "compression must be one of"),
        ({"layout": "coco"}, "layout must be one of"),
        ({"layout": "rvt", "tensor": TensorConfig(representation="histogram")}, "RVT's layout must have"),
        ({"layout": "rvt", "tensor": TensorConfig(downscale=4)}, "RVT's layout must have"),
        ({"size_hw": (-1, 5)}, "size_hw must be from 1"),
    ):
        with pytest.raises(InputError, match=sentence):
            options(tmp_path, **change)


def test_work_in_processes_stops_at_ctrl_c(monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(processes, "wait", interrupted)
    with Progress("adding", unit="pair") as shown, pytest.raises(Stopped):
        list(processes.each(sum, [(1, 2)], workers=2, shown=shown))


def test_work_in_this_process_stops_at_ctrl_c():
    def interrupted(item, report):
        raise KeyboardInterrupt

    with Progress("adding", unit="pair") as shown, pytest.raises(Stopped, match="goes on where it was"):
        list(processes.each(interrupted, [(1, 2)], workers=1, shown=shown))


def test_a_recording_outside_the_folder_is_found_by_its_name(recordings, tmp_path):
    precompute([recordings / "val" / "b.hdf5", recordings / "train" / "a_td.raw"], options(Path(tmp_path / "out")))
    assert sorted(path.name for path in (tmp_path / "out").glob("*.h5")) == ["a_td.h5", "b.h5"]


@pytest.mark.parametrize("command", ["precompute", "convert"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half(recordings, tmp_path, command):
    """A limit on the size of files stands for the disk, which HDF5 does not survive by itself."""
    target = {"precompute": ["-o", str(tmp_path / "out")], "convert": [str(tmp_path / "out" / "a.hdf5")]}[command]
    (tmp_path / "out").mkdir()
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        f"from seqdet.cli import main; main({[command, str(recordings / 'train' / 'a_td.raw'), *target]!r})"
    )
    environment = {
        **os.environ,
        "SEQDET_CACHE": str(tmp_path),
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", ""),
    }
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 1, run.stderr
    assert "cannot be written: File too large" in run.stderr.splitlines()[-1]
    whole = (".lock", "a_td_read.json")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name not in whole]


def test_names_are_taken_as_they_are(recordings, tmp_path):
    odd = recordings / "train" / "a[1] ü.raw"
    (recordings / "train" / "a_td.raw").rename(odd)
    odd.with_name("a1 ü.raw").write_bytes(odd.read_bytes()[:-400])
    for made in (2, 0):
        outcome = precompute([recordings / "train"], options(tmp_path / "out"))
        assert (outcome.made, outcome.failed) == (made, [])


def test_parts_of_another_length_are_refused(recordings, tmp_path):
    precompute([recordings / "val"], options(tmp_path / "out", max_duration_us=100_000))
    for length in (None, 200_000):
        outcome = precompute([recordings / "val"], options(tmp_path / "out", max_duration_us=length))
        assert "part of another length" in outcome.failed[0]


def test_a_second_command_waits_and_finds_what_the_first_has_made(recordings, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    outcomes = []
    with alone_in(tmp_path / "out"):
        asked = [recordings / "val"], options(tmp_path / "out")
        threads = [threading.Thread(target=lambda: outcomes.append(precompute(*asked))) for _ in range(2)]
        for thread in threads:
            thread.start()
        while len(caplog.messages) < 2:
            assert all(thread.is_alive() for thread in threads)
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert sorted((outcome.made, outcome.found) for outcome in outcomes) == [(0, 1), (1, 0)]


def test_complete_tensors_need_no_lock_and_no_right_to_write(recordings, tmp_path, monkeypatch):
    first = precompute([recordings], options(tmp_path / "out"))
    monkeypatch.setattr(work, "alone_in", lambda *_, **__: pytest.fail("there is nothing to write"))
    again = precompute([recordings], options(tmp_path / "out"))
    assert (again.made, again.found) == (0, first.made)


def test_work_begun_with_another_compression_is_not_mixed_in(recordings, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(work, "join_tensors", lambda *_: (_ for _ in ()).throw(InputError("cut short")))
        assert precompute([recordings / "val"], options(tmp_path / "out", compression="zstd")).failed
    assert precompute([recordings / "val"], options(tmp_path / "out")).made == 1
    precompute([recordings / "val"], options(tmp_path / "other"))
    (one, other) = (next((tmp_path / name).rglob("*.h5")).read_bytes() for name in ("out", "other"))
    assert one == other


def test_tensors_of_another_compression_than_the_one_asked_for_are_refused(recordings, tmp_path):
    out = tmp_path / "out"
    assert precompute([recordings / "val"], options(out, compression="gzip")).made == 1
    assert precompute([recordings / "val"], options(out, compression="gzip")).found == 1
    assert precompute([recordings / "val"], options(out)).found == 1  # nothing was asked for
    (failed,) = precompute([recordings / "val"], options(out, compression="zstd")).failed
    assert "b.h5 must have the compression zstd, which is asked for, and has gzip. Delete it, or" in failed


def test_a_training_makes_tensors_in_the_compression_that_its_configuration_names(recordings, tmp_path):
    tensor = TensorConfig(window_us=WINDOW_US, downscale=2)
    config = DatasetConfig(recordings, tensor=tensor, tensors=tmp_path / "tensors", compression="gzip")
    (recordings / "test").mkdir()
    write_evt3(recordings / "test" / "c.raw", [some_events(2)], size_hw=SIZE)
    write_labels(recordings / "test" / "c_bbox.npy", some_labels(np.arange(100_000, 1_600_001, 100_000)))
    write_labels(recordings / "val" / "b_bbox.npy", some_labels(np.arange(100_000, 300_001, 100_000)))
    prepare(config)
    for path in (tmp_path / "tensors").rglob("*.h5"):
        with h5py.File(path) as file:
            assert file["data"].compression == "gzip"
    with pytest.raises(InputError, match="must have the compression none, which is asked for, and has gzip"):
        prepare(replace(config, compression="none"))
    prepare(replace(config, compression=None))
    with pytest.raises(InputError, match="cache_gb and compression must not both be given"):
        replace(config, cache_gb=1)


def test_a_folder_that_cannot_be_made_is_one_sentence(recordings, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="folder that can be made"):
        precompute([recordings], options(tmp_path / "file"))


def test_an_end_that_fails_stops_that_recording_alone(recordings, tmp_path, monkeypatch):
    finish = work.finish

    def failing(job, given):
        if job.found.path.name == "a_td.raw":
            raise InputError("no room")
        return finish(job, given)

    monkeypatch.setattr("seqdet.data.precompute.finish", failing)
    outcome = precompute([recordings], options(tmp_path / "out"))
    assert (outcome.made, outcome.failed) == (1, ["no room"])


def test_processes_end_with_the_one_that_started_them(recordings, tmp_path):
    run = started(recordings, tmp_path / "out", 1)
    run.kill()
    run.communicate(timeout=LONG_S)  # which ends when the last process that holds the pipe does
