"""What people do with their data, and the one sentence or the result that they get."""

import json
import logging
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.config import AugmentConfig, DatasetConfig, TensorConfig
from seqdet.data.clips import RecordedClips
from seqdet.data.labels import EVENT_BBOX, read_labels, write_labelled_us, write_labels
from seqdet.data.schedule import Cue
from seqdet.data.store import TensorFile
from seqdet.events.array import Events
from seqdet.events.dat import write_dat
from seqdet.events.files import open_recording
from seqdet.loading import prepare
from seqdet.models.weights import load_detector

HISTOGRAM = TensorConfig("histogram")
MAP = "label_map_dictionary.json"
LAST_US = 1_000_000
TENTHS = range(100_000, LAST_US + 1, 100_000)


def boxes(times_us, x=10, y=8, w=20, h=15, class_id=0):
    """One box at each time; it lies where the events are."""
    rows = np.zeros(len(times_us), EVENT_BBOX)
    for name, column in {"t": times_us, "x": x, "y": y, "w": w, "h": h, "class_id": class_id}.items():
        rows[name] = column
    rows["track_id"], rows["class_confidence"] = 1, 1
    return rows


def record(path, seed=0):
    """A second of a 64x48 sensor with events in 10 to 29 across and 8 to 22 down."""
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, LAST_US, 2000))
    x, y = random.integers(10, 30, 2000), random.integers(8, 23, 2000)
    events = Events(t, x.astype(np.uint16), y.astype(np.uint16), random.integers(0, 2, 2000).astype(np.uint8))
    write_dat(path, [events], size_hw=(48, 64))


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory):
    """A recording in each split, named as those of Gen1 are, labelled ten times a second."""
    folder = tmp_path_factory.mktemp("downloaded") / "gen1"
    for number, split in enumerate(("train", "val", "test")):
        (folder / split).mkdir(parents=True)
        record(folder / split / f"drive{number}_td.dat", seed=number)
        write_labels(folder / split / f"drive{number}_bbox.npy", boxes(TENTHS))
    (folder / MAP).write_text(json.dumps({"0": "car", "1": "pedestrian"}))
    return folder


@pytest.fixture(scope="module")
def downloaded_rvt(downloaded):
    """The same as folders of RVT."""
    folder = downloaded.with_name("rvt")
    main(["precompute", str(downloaded), "-o", str(folder), "--layout", "rvt", "--compression", "blosc"])
    return folder


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture
def folder(downloaded, tmp_path):
    return shutil.copytree(downloaded, tmp_path / "gen1")


@pytest.fixture
def rvt(downloaded_rvt, tmp_path):
    return shutil.copytree(downloaded_rvt, tmp_path / "rvt")


def clips(folder, split="train", tensor=HISTOGRAM, **settings):
    config = DatasetConfig(folder, tensor=tensor, **settings)
    prepare(config)
    return RecordedClips(config, split, clip_length=4)


def told(args, folder):
    """The one sentence in which a command ends, with a dot for the folder in which all is."""
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    text = str(stop.value.code)
    assert text.startswith("seqdet: error: ")
    assert "\n" not in text
    return text.removeprefix("seqdet: error: ").replace(str(folder), ".")


def training(folder, *more):
    """The arguments of a training of two steps."""
    return [
        *("train", "--out", folder.parent / "run", "--data.dataset.folder", folder, "--data.lanes", 1),
        *("--data.dataset.tensor.representation", "histogram", "--data.clip_length", 4, "--train.max_steps", 2),
        *("--model.in_channels", 2, "--model.base", 2, "--model.channels", 16, "--model.classes", "[car, pedestrian]"),
        *("--train.device", "cpu", "--data.workers", 0, *more),
    ]


def change(folder, new):
    """Write other labels for the recording of training."""
    write_labels(folder / "train" / "drive0_bbox.npy", new)


def printed(args, caplog):
    caplog.clear()
    with caplog.at_level(logging.INFO, "seqdet"):
        main([str(arg) for arg in args])
    return "\n".join(record.getMessage() for record in caplog.records)


# What is right, and elsewhere needs a conversion or ends in a crash.


def test_the_official_files_are_taken_as_they_are_with_the_names_of_old_labels(folder):
    rows = boxes(TENTHS)
    names = {"t": "ts", "class_confidence": "confidence"}
    old = np.dtype([(names.get(name, name), kind) for name, (kind, _) in EVENT_BBOX.fields.items()], align=True)
    np.save(folder / "train" / "drive0_bbox.npy", rows.view(old))
    clip = clips(folder)[Cue(0, 0)]
    assert clip.is_labelled[:, 0].tolist() == [False, True, False, True]
    assert clip.boxes[1].xyxy.tolist() == [[10, 8, 30, 23]]
    assert clip.frames[:, :, :, 8:23, 10:30].any()


@pytest.mark.parametrize(
    ("times_us", "windows"),
    [
        ([round(1e6 / 7 * n) for n in range(1, 8)], 7),
        ([round(1e6 / 33.3 * n) for n in range(1, 34)], 20),
        (range(5000, LAST_US, 5000), 20),
        ([3000, 51_000, 52_000, 333_333, 334_000, 910_000], 3),
        ([740_000], 1),
    ],
    ids=["7 Hz", "33.3 Hz", "closer than windows", "irregular", "one"],
)
def test_labels_of_any_rate_find_their_windows(folder, times_us, windows):
    change(folder, boxes(times_us))
    recording = clips(folder).recordings[0]
    assert (recording.shown >= 0).sum() == windows
    shown_us = np.unique(times_us)[recording.shown[recording.shown >= 0]]
    assert np.abs(shown_us - recording.ends_us[recording.shown >= 0]).max() <= 25_000


def test_a_time_at_which_nobody_is_there_is_a_negative_and_not_a_gap(folder):
    write_labelled_us(folder / "train" / "drive0_bbox.npy", np.array([50_000, *TENTHS]))
    clip = clips(folder)[Cue(0, 0)]
    assert clip.is_labelled[:, 0].tolist() == [True, True, False, True]
    assert len(clip.boxes[0]) == len(clip.boxes[2]) == 0


def test_recordings_and_clips_without_labels_stop_no_training(folder, caplog):
    change(folder, boxes([LAST_US]))
    record(folder / "train" / "unlabelled.dat")
    said = printed(training(folder), caplog)
    assert "unlabelled.dat has no labels beside it: it is seen, and neither trained on nor scored." in said
    assert "Trained: " in said


def test_tensors_of_the_vendors_tools_are_taken_as_they_are(folder):
    for split in ("train", "val"):
        (recording,) = (folder / split).glob("*.dat")
        recording.unlink()
        with h5py.File(recording.with_suffix(".h5"), "w") as file:
            data = file.create_dataset("data", data=np.ones((20, 2, 24, 32), np.float32))
            sensor = {"event_input_height": 48, "event_input_width": 64}
            data.attrs.update({"delta_t": 50_000, "events_to_tensor": b"histo", **sensor})
    augment = AugmentConfig(polarity_dropout=1.0)
    clip = clips(folder, augment=augment)[Cue(0, 0)]
    assert clip.boxes[1].xyxy.tolist() == [[5, 4, 15, 11.5]]
    assert sorted(clip.frames.sum(dim=(0, 1, 3, 4)).tolist()) == [0, 4 * 24 * 32]


def test_classes_are_chosen_and_merged_without_a_change_of_labels(folder):
    change(folder, boxes(TENTHS, class_id=np.arange(10) % 2))
    chosen = clips(folder, classes=("pedestrian",))
    assert [len(chosen.recordings[0].at(n)) for n in range(20) if n % 2] == [0, 1] * 5
    assert clips(folder, classes=("all=car+pedestrian",)).classes == ("all",)


def test_how_large_tensors_would_be_is_said_before_they_are_made(folder, caplog):
    said = printed(["precompute", folder, "-o", folder.parent / "out", "--dry-run"], caplog)
    assert "MB" in said or "GB" in said
    assert not (folder.parent / "out").exists()


def test_nothing_is_said_of_tensors_where_none_were_made(folder, tmp_path, caplog):
    (tmp_path / "broken.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(SystemExit, match=r"broken\.hdf5 must begin as"):
        printed(["precompute", tmp_path / "broken.hdf5", "-o", tmp_path / "out"], caplog)
    assert "The tensors are in" not in caplog.text
    said = printed(["precompute", folder / "train" / "drive0_td.dat", "-o", tmp_path / "out"], caplog)
    assert f"The tensors are in {tmp_path / 'out'}." in said


def test_names_in_capitals_are_found(folder):
    path = folder / "train" / "drive0_td.dat"
    path.rename(path.with_name("drive0_td.DAT"))
    assert clips(folder).clip_counts == [5]


def test_labels_that_are_not_sorted_are_sorted(folder):
    np.save(folder / "train" / "drive0_bbox.npy", boxes([500_000, 100_000]))
    assert np.flatnonzero(clips(folder).recordings[0].shown >= 0).tolist() == [1, 9]


# A training that cannot be, said before any work.


def within(name):
    return lambda folder: training(folder / name)


def moved(source, target):
    def change_folder(folder):
        (folder / target).parent.mkdir(exist_ok=True)
        (folder / source).rename(folder / target)
        return training(folder)

    return change_folder


def emptied(folder):
    for path in (folder / "val").iterdir():
        path.unlink()
    return training(folder)


def packed(folder):
    emptied(folder)
    (folder / "val" / "val_a.7z").write_bytes(b"7z")
    return training(folder)


def unlabelled(folder):
    (folder / "train" / "drive0_bbox.npy").unlink()
    return training(folder)


def unnamed(folder):
    (folder / MAP).unlink()
    return training(folder)


def named(content):
    def change_map(folder):
        (folder / MAP).write_text(json.dumps(content))
        return training(folder)

    return change_map


def labelled(times_us=TENTHS, **columns):
    def change_labels(folder):
        change(folder, boxes(times_us, **columns))
        return training(folder)

    return change_labels


def saved(array):
    def change_labels(folder):
        np.save(folder / "train" / "drive0_bbox.npy", array)
        return training(folder)

    return change_labels


def zeroed(folder):
    path = folder / "train" / "drive0_td.dat"
    path.write_bytes(bytes(path.stat().st_size))
    return training(folder)


def given(*options):
    return lambda folder: training(folder, *options)


MISTAKES = {
    "one level too deep": (
        within("train"),
        "must have folders named train, val and test, and has none. It is one of them",
    ),
    "one level too high": (within(".."), "must have folders named train, val and test, and has none. Did you mean "),
    "no folder": (within("none"), "./gen1/none must be a folder with train, val and test, and does not exist."),
    "a path of Windows": (within("a\\b"), "does not exist. Write / between folders, not \\."),
    "another name of a split": (moved("val", "validation"), "and does not exist. Rename validation."),
    "an empty split": (emptied, "val must hold recordings (.raw .dat .hdf5 .h5 .aedat .aedat4 .npz .npy "),
    "archives": (packed, "and holds only files of .7z. Were they unpacked there?"),
    "folders in a split": (moved("val/drive1_td.dat", "val/day/a.dat"), "val/day. Move them up, or away."),
    "no labels": (unlabelled, "such as drive0_bbox.npy for drive0_td.dat, and holds none."),
    "labels of another name": (
        moved("train/drive0_bbox.npy", "train/labels_bbox.npy"),
        "labels_bbox.npy has no recording of that name.",
    ),
    "labels alone": (
        moved("train/drive0_td.dat", "train/drive0_td.zip"),
        ".npz .npy .csv .txt .bin) or tensors, and holds only files of .npy .zip.",
    ),
    "no names of classes": (unnamed, 'Write it, such as {"0": "car", "1": "pedestrian"} for Gen1, or'),
    "names to numbers": (named({"car": 0}), 'must name the classes from 0 on, as in {"0": "car", "1": "person"}.'),
    "a class without a name": (
        labelled(class_id=2),
        "drive0_bbox.npy must have classes that are named, 0 to 1 (car, pedestrian), and has class 2.",
    ),
    "a class that is not there": (
        given("--data.dataset.classes", "[cars]"),
        "classes must be among car, pedestrian; got 'cars'. Did you mean car?",
    ),
    "milliseconds": (
        labelled(range(100, 1001, 100)),
        "drive0_bbox.npy must have times of the recording, 0 to 1000000 us, and has 100 to 1000. "
        "Are they milliseconds, to be multiplied by 1000, or numbers of frames?",
    ),
    "seconds": (labelled([0, 1, 1, 2]), "and has 0 to 2. Are they seconds, to be multiplied by 1000000, or"),
    "nanoseconds": (labelled([t * 1000 for t in TENTHS]), "and has 100000000 to 1000000000. Are they in nanoseconds?"),
    "time of day": (labelled([t + 1_700_000_000_000_000 for t in TENTHS]), "Is the clock another?"),
    "x and y swapped": (
        labelled(x=10, y=50),
        "must have boxes within the 64x48 pixels of the sensor, and none of its 10",
    ),
    "shares of the frame": (
        labelled(x=0.1, y=0.2, w=0.3, h=0.3),
        "are shares of the frame. Multiply x and w by 64, y and h by 48, or import them with seqdet import --from yolo",
    ),
    "negative sizes": (labelled(w=-5), "drive0_bbox.npy must have finite corners and sizes of at least 0, got others."),
    "columns without names": (
        saved(np.zeros((5, 8))),
        "drive0_bbox.npy must hold boxes with t, x, y, w, h, class_id, ",
    ),
    "pickled labels": (saved(np.array([{}])), "drive0_bbox.npy must be a label file, an npy file of boxes: "),
    "a recording of zeros": (zeroed, "drive0_td.dat must "),
    "a detector for other frames": (
        given("--model.in_channels", "4"),
        "model.in_channels must be the 2 of the data, got 4.",
    ),
    "a detector for other classes": (
        given("--model.classes", "[pedestrian, car]"),
        "model.classes must be those of the data, car, pedestrian; got pedestrian, car.",
    ),
    "frames that are times": (
        given(
            *("--data.dataset.tensor.representation", "time_surface"),
            *("--data.dataset.tensor.parameters", "{decay: none}"),
        ),
        "frames to learn from must be uint8, int8 or floating point, and those of time_surface are int64. Choose ",
    ),
    "polarities of a difference": (
        given(
            *("--data.dataset.tensor.representation", "difference", "--model.in_channels", 1),
            *("--data.dataset.augment.polarity_dropout", 0.5),
        ),
        "polarity_dropout must be 0 for this representation: its channels are not known to have one polarity each.",
    ),
    "a frame that is larger than the sensor": (
        given("--data.dataset.tensor.to_hw", "[480, 640]"),
        "to_hw must be from 1 to size_hw, and that at most 65536 each, got [480, 640] of (48, 64)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_trained_on_is_told_before_training(folder, mistake):
    arguments, sentence = MISTAKES[mistake]
    text = told(arguments(folder), folder.parent)
    assert sentence in text
    assert not (folder.parent / "run").exists()


def test_classes_and_channels_come_from_the_data_and_are_refused_before_any_tensor_is_made(folder, tmp_path, caplog):
    small = "--model.base 1 --model.channels 8 --model.levels 1 --data.lanes 1 --data.clip_length 2 --train.max_steps 1"
    words = ["train", "--data.dataset.folder", str(folder), *small.split(), "--data.dataset.tensor.to_hw", "[24, 32]"]
    for option, value, told_ in (
        ("in_channels", "7", "must be the 20 of the data"),
        ("in_channels", "3", "must be the 20 of the data, got 3"),  # the channels of the toy
        ("classes", ",".join("0123456789"), "must be those of the data, car, pedestrian; got 0, 1"),
        ("classes", "[a]", "must be those"),
    ):
        with pytest.raises(SystemExit, match=told_):
            main([*words, f"--model.{option}", value, "--out", str(tmp_path / "run")])
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    with caplog.at_level("INFO"):
        main([*words, "--out", str(tmp_path / "run")])
    assert "From the data: 20 channels, and the classes car, pedestrian." in caplog.messages
    detector = load_detector(tmp_path / "run" / "detector.safetensors")
    assert (detector.config.in_channels, detector.classes) == (20, ("car", "pedestrian"))
    assert detector.input.frame_hw == (24, 32)


def test_windows_may_end_with_the_labels(folder, caplog):
    """A label every 40 ms, 7 ms beside the multiples: each is at the end of a window that has all of its events."""
    times_us = range(47_000, LAST_US, 40_000)
    for split in ("train", "val", "test"):
        (labels,) = (folder / split).glob("*_bbox.npy")
        write_labels(labels, boxes(times_us))
    config = DatasetConfig(folder, tensor=TensorConfig("histogram", window_us=50_000), tolerance_us=1000)
    prepare(config)
    advice = "Windows of 40000 us that end with labels may have them: tensor.window_us and tensor.align: labels."
    with pytest.raises(InputError, match=advice):
        RecordedClips(config, "train", clip_length=2)
    with caplog.at_level("WARNING"):
        RecordedClips(replace(config, tolerance_us=8000), "train", clip_length=2)
    assert advice in caplog.text
    tensor = TensorConfig("histogram", window_us=40_000, align="labels")
    for config in (DatasetConfig(folder, tensor=tensor), DatasetConfig(folder, tensor=tensor, cache_gb=1)):
        prepare(config)
        (recording,) = RecordedClips(replace(config, tolerance_us=0), "train", clip_length=2).recordings
        assert (recording.shown >= 0).sum() == len(times_us)
        assert recording.ends_us[recording.shown >= 0].tolist() == list(times_us)


def test_windows_cannot_end_with_labels_that_are_not_there(folder):
    (folder / "train" / "drive0_bbox.npy").unlink()
    shutil.copy(folder / "val" / "drive1_td.dat", folder / "train" / "other_td.dat")
    shutil.copy(folder / "val" / "drive1_bbox.npy", folder / "train" / "other_bbox.npy")
    with pytest.raises(InputError, match=r"drive0_td\.dat must have labels beside it for windows that end with them"):
        prepare(DatasetConfig(folder, tensor=TensorConfig("histogram", align="labels")))


# What trains and should not: an audit says so.


def twice(folder):
    shutil.copy(folder / "train" / "drive0_td.dat", folder / "test" / "other.dat")
    shutil.copy(folder / "train" / "drive0_bbox.npy", folder / "test" / "other_bbox.npy")


def frozen(folder):
    change(folder, boxes(range(10_000, LAST_US, 10_000), x=40, y=30, w=12, h=12))


def reversed_labels(folder):
    np.save(folder / "train" / "drive0_bbox.npy", boxes(TENTHS)[::-1])


AUDITS = {
    "corners as sizes": (
        lambda folder: change(folder, boxes(TENTHS, x=30, y=20, w=50, h=35)),
        "error: label files whose widths and heights look like second corners: 1 in 1 recording",
    ),
    "x and y swapped": (
        lambda folder: change(folder, boxes(TENTHS, x=8, y=50, w=15, h=20)),
        "error: boxes outside the sensor: 10 in 1 recording",
    ),
    "labels after the recording": (
        lambda folder: change(folder, boxes([*TENTHS, 7_000_000])),
        "error: label times outside the recording: 1 in 1 recording (worst: train/drive0_td.dat at 7.000 s: "
        "1 of 11 times (9%) are outside 0.00 to 1.00 s, by up to 6.00 s)",
    ),
    "labels that run back": (
        reversed_labels,
        "warning: label files that run back in time: 1 in 1 recording (worst: train/drive0_td.dat: 9 times)",
    ),
    "one recording in two splits": (twice, "error: recordings that are in two splits: 1 (worst: test/other.dat: as "),
    "a track that is frozen": (frozen, "warning: tracks that stand still without events for long: 1 in 1 recording"),
    "labels alone": (
        lambda folder: (folder / "train" / "drive0_td.dat").unlink(),
        "warning: label files without a recording: 1 (worst: train/drive0_bbox.npy)",
    ),
    "recordings alone": (
        lambda folder: (folder / "train" / "drive0_bbox.npy").unlink(),
        "warning: recordings without labels: 1 in 1 recording (worst: train/drive0_td.dat)",
    ),
    "no names of classes": (
        lambda folder: (folder / MAP).unlink(),
        "error: label maps that are missing or damaged: 1 (worst: label_map_dictionary.json: ",
    ),
}


@pytest.mark.parametrize("mistake", AUDITS)
def test_an_audit_says_what_would_ruin_a_training(folder, mistake, caplog):
    make, sentence = AUDITS[mistake]
    make(folder)
    status = None
    try:
        printed(["audit", folder, "--frozen_s", "0.5"], caplog)
    except SystemExit as stop:
        status = stop.code
    said = [record.getMessage() for record in caplog.records]
    assert sentence in "\n".join(said)
    assert (status is not None) == any(line.startswith("error") for line in said)
    assert "Pictures of the worst cases" in caplog.text


# Folders of RVT, from anywhere.


def test_folders_of_rvt_are_trained_on_scored_and_audited(rvt, caplog):
    assert clips(rvt, tensor=TensorConfig())[Cue(0, 0)].frames.shape == (4, 1, 20, 48, 64)
    write_labels(rvt.parent / "drive2.npy", boxes(TENTHS))
    said = printed(["evaluate", rvt.parent / "drive2.npy", rvt], caplog)
    assert "AP 1.000" in said
    assert "AP50 1.000" in said
    said = printed(["audit", rvt], caplog)
    assert "note: recordings as tensors alone, whose events, and labels left out before, cannot be checked: 3" in said
    assert "error" not in said


@pytest.mark.parametrize("kept", [0, 0.5, 0.97])
@pytest.mark.parametrize("name", ["labels.npz", "timestamps_us.npy", "event_representations.h5"])
def test_a_folder_of_rvt_that_was_copied_by_half_is_one_sentence(rvt, name, kept):
    for path in (rvt / "train").rglob(name):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
    text = told(training(rvt, "--model.in_channels", 20), rvt.parent)
    assert name in text
    assert " must be " in text


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("train/drive0_td/event_representations_v2", "must have tensors, event_representations_v2/<name>/event_"),
        ("train/drive0_td/labels_v2/labels.npz", "labels.npz must be there and whole"),
        (MAP, 'Write it, such as {"0": "car", "1": "pedestrian"} for Gen1, or {"0": "pedestrian", "1": "two wheeler"'),
    ],
)
def test_a_folder_of_rvt_that_lacks_something_is_one_sentence(rvt, gone, sentence):
    shutil.rmtree(rvt / gone) if (rvt / gone).is_dir() else (rvt / gone).unlink()
    assert sentence in told(training(rvt, "--model.in_channels", 20), rvt.parent)


# Compression.


def compressed(path, number, name, shape, dtype):
    """A data set with a filter that nothing here has, and a chunk of it."""
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((1, *shape[1:]) if len(shape) > 1 else shape)
        properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1,))
        for each in name.split():
            group = file.require_group(each.rpartition("/")[0] or "/")
            space, kind = h5py.h5s.create_simple(shape), h5py.h5t.py_create(np.dtype(dtype))
            data = h5py.Dataset(h5py.h5d.create(group.id, each.rpartition("/")[2].encode(), kind, space, properties))
            data.id.write_direct_chunk((0,) * len(shape), b"\x01" * 16)
            data.attrs["delta_t"] = 50_000


@pytest.mark.parametrize("name", ["data", "events/x events/y events/p events/t"])
def test_a_filter_that_is_not_installed_is_named_with_what_to_do(tmp_path, name):
    is_tensor = name == "data"
    compressed(tmp_path / "a.h5", 32_099, name, (2, 1, 4, 4) if is_tensor else (8,), np.uint8)
    with pytest.raises(InputError, match=r"HDF5 filter 32099, which cannot be loaded. Install it, most by pip"):
        TensorFile(tmp_path / "a.h5") if is_tensor else open_recording(tmp_path / "a.h5")


def test_blosc_is_read_without_a_plugin_of_the_system(downloaded_rvt, monkeypatch):
    monkeypatch.setenv("HDF5_PLUGIN_PATH", "/none")
    (path,) = (downloaded_rvt / "train").rglob("*.h5")
    with TensorFile(path) as file:
        assert file.data.id.get_create_plist().get_filter(0)[0] == 32001
        assert file.read(0, 20).any()


def test_ecf_is_read_without_its_plugin(recordings, monkeypatch):
    monkeypatch.setattr("h5py.h5z.filter_avail", lambda number: False)
    with open_recording(recordings / "lens_640x480.ecf.hdf5") as recording:
        assert len(next(iter(recording.chunks())))


# Scores.


@pytest.fixture
def detections(folder):
    """As good as the truth."""
    target = folder.parent / "found"
    target.mkdir()
    write_labels(target / "drive2.npy", boxes(TENTHS))
    return target


def test_ap_and_ap50_stand_side_by_side_with_their_protocol(folder, detections, caplog):
    shifted = boxes(TENTHS, x=14)
    write_labels(detections / "drive2.npy", shifted)
    first = printed(["evaluate", detections, folder], caplog).splitlines()[0]
    assert first.startswith("AP 0.")
    assert "  AP50 1.000" in first
    assert "[coco@1 " in first


SCORES = {
    "another protocol than the classes": (["--protocol", "psee-1mpx"], "two wheeler"),
    "an unknown protocol": (["--protocol", "gen1"], "protocol must be one of coco@1, "),
    "another split": (["--split", "val"], "detections must be of the recordings of the truth (drive1), got drive2."),
}


@pytest.mark.parametrize("mistake", SCORES)
def test_a_score_that_would_mean_nothing_is_refused(folder, detections, mistake):
    options, sentence = SCORES[mistake]
    assert sentence in told(["evaluate", detections, folder, *options], folder.parent)


def test_detections_in_milliseconds_are_told_instead_of_a_mere_zero(folder, detections, caplog):
    write_labels(detections / "drive2.npy", boxes(range(100, 1001, 100)))
    said = printed(["evaluate", detections, folder], caplog)
    assert "No detection is in any frame; do their times follow the clock of the recordings, in microseconds?" in said


# Labels of other tools.


IMPORTS = {
    "frames without a rate": (
        "a.csv",
        "frame,x,y,w,h\n1,1,1,9,9\n",
        [],
        "Give --label-rate, how many of them a second",
    ),
    "frames as times": ("a.csv", "t,x,y,w,h\n1,1,1,9,9\n2,1,1,9,9\n3,1,1,9,9\n", [], "or numbers of frames?"),
    "numbers without names": ("a.csv", "t,x,y,w,h,class_id\n9,1,1,9,9,3\n", [], "Give --classes, or put a classes.txt"),
    "too few names": ("a.csv", "t,x,y,w,h,class\n9,1,1,9,9,bus\n", ["--classes", "[car]"], "not 'bus' of "),
    "labels of another name": ("b.csv", "t,x,y,w,h\n9,1,1,9,9\n", [], "must have the same names, and "),
    "columns that are missing": ("a.csv", "t,x,y\n9,1,1\n", [], "must have columns t or frame, x, y, w, h and class"),
}


@pytest.mark.parametrize("mistake", IMPORTS)
def test_labels_that_need_a_word_more_say_which(tmp_path, mistake):
    name, content, options, sentence = IMPORTS[mistake]
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / name).write_text(content)
    (tmp_path / "recordings").mkdir()
    for recording in "ac":
        record(tmp_path / "recordings" / f"{recording}.dat")
    arguments = ["import", tmp_path / "labels", tmp_path / "recordings", "--from", "csv", "-o", tmp_path / "out"]
    leave_out = [] if "another name" in mistake else ["--leave_out"]
    assert sentence in told([*arguments, *leave_out, *options], tmp_path)
    assert not (tmp_path / "out").exists()


def test_own_labels_are_imported_audited_and_become_clips(tmp_path, caplog):
    rows = [f"{t},10,8,20,15,car" for t in TENTHS]
    for split in ("train", "val"):
        (tmp_path / "own" / split).mkdir(parents=True)
        record(tmp_path / "own" / split / f"{split}.dat", seed=len(split))
        (tmp_path / "own" / split / f"{split}.csv").write_text("\n".join(["t,x,y,w,h,class", *rows]))
    own, out = tmp_path / "own", tmp_path / "out"
    assert "classes: car 20" in printed(["import", own, own, "--from", "csv", "-o", out], caplog)
    assert "error" not in printed(["audit", out], caplog)
    assert len(read_labels(out / "val" / "val_bbox.npy")) == 10
    assert clips(out)[Cue(0, 0)].boxes[1].xyxy.tolist() == [[10, 8, 30, 23]]


def test_windows_of_a_transformer_that_do_not_fit_the_frames_leave_the_folder_free(folder):
    args = [
        *("train", "--out", folder.parent / "run", "--data.dataset.folder", folder, "--data.clip_length", 4),
        *("--data.lanes", 1, "--data.workers", 0, "--data.dataset.tensor.representation", "histogram"),
        *("--model.name", "rvt_tiny", "--model.dim", 8, "--model.head_width", 4, "--model.partition", "3,5"),
        *("--train.device", "cpu", "--train.max_steps", 1, "--train.demo_epochs", 0),
    ]
    assert "windows of 3x5 cells" in (text := told(args, folder.parent))
    assert "got 64x64" in text
    assert not (folder.parent / "run").exists()
    main([str(arg).replace("3,5", "2,1") for arg in args])
