"""Clips of recordings: the frames of the file, the boxes of the labels, in every state that a window can be in."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import AugmentConfig, DatasetConfig, DigitsConfig, EventDigitsConfig, InputConfig, TensorConfig
from seqdet.data.clips import RecordedClips
from seqdet.data.description import Description
from seqdet.data.labels import EVENT_BBOX, write_labelled_us, write_labels
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.data.schedule import BLANK, Cue, schedule
from seqdet.data.sources import tensor_folder
from seqdet.data.store import write_tensors
from seqdet.events.array import Events
from seqdet.events.dat import write_dat
from seqdet.loading import prepare

WINDOW = Description(InputConfig("stacked_histogram", {"bins": 2}, 50_000, (24, 32), (12, 16)))


def some_frames(count, seed=0):
    return np.random.default_rng(seed).integers(0, 9, (count, 4, 12, 16), np.uint8)


def rows(*boxes):
    """Labels of (t, x, y, w, h, class, track, score)."""
    return np.array(list(boxes), EVENT_BBOX)


@pytest.fixture
def folder(tmp_path):
    """Two training recordings of 5 and 3 windows at half the size of the sensor, one of them with few labels."""
    (tmp_path / "train").mkdir()
    (tmp_path / "label_map_dictionary.json").write_text(json.dumps({"0": "car", "1": "person", "2": "tram"}))
    write_tensors(tmp_path / "train" / "a.h5", [some_frames(5)], WINDOW)
    write_tensors(tmp_path / "train" / "b.h5", [some_frames(3, 1)], WINDOW)
    labels = tmp_path / "train" / "a_bbox.npy"
    write_labels(
        labels, rows((50_000, 2, 4, 10, 8, 1, 7, 1), (150_000, -4, 0, 8, 40, 0, 3, 0), (150_000, 9, 9, 4, 4, 2, 4, 1))
    )
    write_labelled_us(labels, np.array([50_000, 100_000, 150_000, 249_000]))
    write_labels(tmp_path / "train" / "b_bbox.npy", rows((150_000, 0, 0, 10, 10, 2, 1, 1)))
    return tmp_path


def test_a_clip_has_the_frames_of_the_file_and_the_boxes_of_its_windows(folder):
    clips = RecordedClips(DatasetConfig(folder), "train", clip_length=3)
    assert clips.clip_counts == [2, 1]
    assert clips.classes == ("car", "person", "tram")
    clip = clips[Cue(0, 0)]
    assert torch.equal(clip.frames[:, 0], torch.from_numpy(some_frames(5)[:3]))
    assert clip.is_labelled[:, 0].tolist() == [True, True, True]
    assert clip.end_us[:, 0].tolist() == [50_000, 100_000, 150_000]
    assert clip.boxes[0].xyxy.tolist() == [[1, 2, 6, 6]]
    assert clip.boxes[0].labels.tolist() == [1]
    assert clip.boxes[0].track_ids.tolist() == [7]
    assert len(clip.boxes[1]) == 0
    assert clip.boxes[2].xyxy.tolist() == [[0, 0, 2, 12], [4.5, 4.5, 6.5, 6.5]]
    assert clip.boxes[2].is_ignored.tolist() == [True, False]


def test_the_last_clip_is_filled_up_with_frames_that_nobody_labelled(folder):
    clip = RecordedClips(DatasetConfig(folder), "train", clip_length=3)[Cue(0, 1)]
    assert torch.equal(clip.frames[:2, 0], torch.from_numpy(some_frames(5)[3:]))
    assert not clip.frames[2].any()
    assert clip.is_labelled[:, 0].tolist() == [False, True, False]
    assert len(clip.boxes[1]) == 0


def test_small_boxes_are_neither_targets_nor_errors(folder):
    clips = RecordedClips(DatasetConfig(folder, least_diagonal=6), "train", clip_length=3)
    assert clips[Cue(0, 0)].boxes[0].is_ignored.tolist() == [False]
    assert clips[Cue(0, 0)].boxes[2].is_ignored.tolist() == [True, True]


@pytest.mark.parametrize("change", [{"representation": "event_cube"}, {"window_us": 40_000}])
def test_frames_that_show_something_else_than_those_of_the_others_are_refused(folder, change):
    write_tensors(folder / "train" / "c.h5", [some_frames(3, 1)], Description(replace(WINDOW.input, **change)))
    with pytest.raises(InputError, match=r"c\.h5 must have frames as the others, stacked_histogram"):
        RecordedClips(DatasetConfig(folder), "train", clip_length=3)


def test_a_blank_lane_is_empty(folder):
    clip = RecordedClips(DatasetConfig(folder), "train", clip_length=3)[BLANK]
    assert clip.is_blank.all()
    assert not clip.frames.any()
    assert not clip.is_labelled.any()


def test_every_window_is_played_once_whatever_the_number_of_lanes(folder):
    clips = RecordedClips(DatasetConfig(folder), "train", clip_length=2)
    whole = {number: some_frames(count, number) for number, count in ((0, 5), (1, 3))}
    for lanes in (1, 2, 3):
        played = {0: [], 1: []}
        for step in schedule(clips.clip_counts, lanes):
            for cue in step:
                if not cue.is_blank:
                    played[cue.recording] += list(clips[cue].frames[:, 0].numpy())
        for number, frames in whole.items():
            np.testing.assert_array_equal(played[number][: len(frames)], frames)


def test_labels_soon_after_the_start_are_skipped(folder):
    clips = RecordedClips(DatasetConfig(folder, skip_us=100_001), "train", clip_length=5)
    assert clips[Cue(0, 0)].is_labelled[:, 0].tolist() == [False, False, True, False, True]


def test_classes_are_chosen_renamed_and_merged(folder):
    clips = RecordedClips(DatasetConfig(folder, classes=("vehicle=car+tram",)), "train", clip_length=3)
    assert clips.classes == ("vehicle",)
    clip = clips[Cue(0, 0)]
    assert clip.is_labelled.all()
    assert [len(boxes) for boxes in clip.boxes] == [0, 0, 2]
    ignoring = RecordedClips(
        DatasetConfig(folder, classes=("car", "tram"), other_classes="ignore"), "train", clip_length=3
    )
    assert ignoring[Cue(0, 0)].boxes[0].is_ignored.tolist() == [True, True]


def test_clips_are_weighed_by_their_labels_and_by_how_rare_they_are(folder):
    write_labels(folder / "train" / "b_bbox.npy", rows((150_000, 0, 0, 10, 10, 2, 1, 1)))
    assert [each.tolist() for each in RecordedClips(DatasetConfig(folder), "train", clip_length=2).weights] == [
        [1, 1, 1],
        [0, 1],
    ]
    balanced = RecordedClips(DatasetConfig(folder, balance_classes=True), "train", clip_length=2).weights
    rare, usual = 4 / 3, 2 / 3
    assert [each.tolist() for each in balanced] == [
        pytest.approx([rare, rare + usual, 0]),
        pytest.approx([0, usual]),
    ]


def test_training_alone_is_changed_and_boxes_move_with_the_frames(folder):
    (folder / "val").mkdir()
    for name in ("a.h5", "a_bbox.npy", "a_labelled.npy"):
        (folder / "val" / name).write_bytes((folder / "train" / name).read_bytes())
    config = DatasetConfig(folder, augment=AugmentConfig(flip=1.0))
    flipped = RecordedClips(config, "train", clip_length=3)[Cue(0, 0)]
    assert torch.equal(flipped.frames[:, 0], torch.from_numpy(some_frames(5)[:3]).flip(-1))
    assert flipped.boxes[0].xyxy.tolist() == [[10, 2, 15, 6]]
    assert torch.equal(
        RecordedClips(config, "validation", clip_length=3)[Cue(0, 0)].frames[:, 0], torch.from_numpy(some_frames(5)[:3])
    )


def test_played_backwards_every_window_ends_with_the_boxes_of_the_one_before(folder):
    config = DatasetConfig(folder, augment=AugmentConfig(time_flip=1.0))
    clips = RecordedClips(config, "train", clip_length=1)
    played = [clips[Cue(0, n)] for n in range(5)]
    for clip, frame in zip(played, some_frames(5)[::-1], strict=True):
        reversed_ = frame.reshape(2, 2, 12, 16)[::-1, ::-1].reshape(4, 12, 16)
        np.testing.assert_array_equal(clip.frames[0, 0].numpy(), reversed_)
    assert [bool(clip.is_labelled) for clip in played] == [False, True, True, True, False]
    assert [len(clip.boxes[0]) for clip in played] == [0, 2, 0, 1, 0]


def test_a_recording_without_labels_is_seen_and_not_scored(folder, caplog):
    (folder / "train" / "b_bbox.npy").unlink()
    clips = RecordedClips(DatasetConfig(folder), "train", clip_length=3)
    assert "b.h5 has no labels beside it" in caplog.text
    assert not clips[Cue(1, 0)].is_labelled.any()


def test_what_cannot_be_a_dataset_is_one_loud_sentence(folder):
    with pytest.raises(InputError, match="Is the split empty"):
        RecordedClips(DatasetConfig(folder), "test", clip_length=3)
    with pytest.raises(InputError, match="must be a folder"):
        RecordedClips(DatasetConfig(folder / "nothing"), "train", clip_length=3)
    with pytest.raises(InputError, match="must be among car, person, tram"):
        RecordedClips(DatasetConfig(folder, classes=("cat",)), "train", clip_length=3)
    write_labels(folder / "train" / "b_bbox.npy", rows((150_000, 0, 0, 10, 10, 9, 1, 1)))
    with pytest.raises(InputError, match="below 3"):
        RecordedClips(DatasetConfig(folder), "train", clip_length=3)
    for name in ("a", "b"):
        write_labels(folder / "train" / f"{name}_bbox.npy", rows((900_000, 0, 0, 10, 10, 0, 1, 1)))
        (folder / "train" / f"{name}_labelled.npy").unlink(missing_ok=True)
    with pytest.raises(InputError, match="within tolerance_us = 25000 of the ends of windows, and none is"):
        RecordedClips(DatasetConfig(folder), "train", clip_length=3)
    write_tensors(folder / "train" / "b.h5", [some_frames(3)[:, :2]], WINDOW)
    with pytest.raises(InputError, match=r"b\.h5 must have frames as the others"):
        RecordedClips(DatasetConfig(folder), "train", clip_length=3)


def test_folders_of_rvt_are_trained_on_as_they_are(tmp_path):
    events = Events(
        np.sort(np.random.default_rng(0).integers(0, 400_000, 2000)),
        *(np.random.default_rng(seed).integers(0, 24, 2000).astype(np.uint16) for seed in (1, 2)),
        np.zeros(2000, np.uint8),
    )
    (tmp_path / "dataset" / "train").mkdir(parents=True)
    write_dat(tmp_path / "dataset" / "train" / "a.dat", [events], size_hw=(24, 24))
    labels = rows((150_000, 2, 4, 10, 8, 1, 7, 1), (300_000, 2, 4, 10, 8, 0, 7, 1))
    write_labels(tmp_path / "dataset" / "train" / "a_bbox.npy", labels)
    (tmp_path / "dataset" / "label_map_dictionary.json").write_text(json.dumps({"0": "car", "1": "person"}))
    tensor = TensorConfig(parameters={"bins": 3, "max_count": 10}, downscale=2)
    precompute([tmp_path / "dataset"], PrecomputeConfig(tmp_path / "rvt", tensor, layout="rvt"))
    clips = RecordedClips(DatasetConfig(tmp_path / "rvt"), "train", clip_length=8)
    clip = clips[Cue(0, 0)]
    assert clip.frames.shape == (8, 1, 6, 12, 12)
    assert clip.frames.sum() == 2000
    assert clip.end_us[clip.is_labelled].tolist() == [150_000, 300_000]
    assert clip.boxes[2].xyxy.tolist() == [[1, 2, 6, 6]]


def test_recordings_are_simulated_and_made_into_tensors_once(tmp_path):
    length = {"frames_per_video": 4, "held_out_frames_per_video": 4}
    digits = DigitsConfig(frames_per_epoch=8, validation_frames=4, test_frames=4, **length)
    scene = EventDigitsConfig(digits, moving_s=(10, 10))
    config = DatasetConfig(tmp_path / "digits", simulate=True, scene=scene, tensor=TensorConfig(parameters={"bins": 2}))
    prepare(config)
    target = tensor_folder(config)
    assert target.parent == tmp_path
    assert target.name.startswith("digits-stacked_histogram-")
    times = {path: path.stat().st_mtime_ns for path in target.rglob("*.h5")}
    assert len(times) == 4
    prepare(config)
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*.h5")} == times
    clips = RecordedClips(config, "train", clip_length=4)
    clip = clips[Cue(0, 0)]
    assert clip.is_labelled.all()
    assert clip.frames.any()
    other = replace(config, tensor=TensorConfig(parameters={"bins": 3}))
    assert tensor_folder(other) != target


@pytest.fixture
def recorded(tmp_path):
    """Two training recordings of 10 windows, all labelled."""
    folder = tmp_path / "dataset"
    (folder / "train").mkdir(parents=True)
    (folder / "label_map_dictionary.json").write_text(json.dumps({"0": "car"}))
    for name in ("a", "b"):
        t = np.arange(0, 500_000, 100)
        x = (t // 100 % 32).astype(np.uint16)
        events = Events(t, x, (x % 24).astype(np.uint16), np.ones(len(t), np.uint8))
        write_dat(folder / "train" / f"{name}_td.dat", [events], size_hw=(24, 32))
        times_us = range(50_000, 500_001, 50_000)
        write_labels(folder / "train" / f"{name}_bbox.npy", rows(*((t, 2, 4, 10, 8, 0, 7, 1) for t in times_us)))
    return folder


def train_clips(folder):
    config = DatasetConfig(folder)
    precompute([folder], PrecomputeConfig(tensor_folder(config), config.tensor))
    return RecordedClips(config, "train", clip_length=5)


def test_labels_that_were_corrected_after_the_tensors_were_made_are_those_that_count(recorded):
    assert train_clips(recorded)[Cue(0, 0)].boxes[0].xyxy.tolist() == [[2, 4, 12, 12]]
    write_labels(recorded / "train" / "a_bbox.npy", rows((50_000, 20, 4, 10, 8, 0, 7, 1)))
    clip = train_clips(recorded)[Cue(0, 0)]
    assert clip.boxes[0].xyxy.tolist() == [[20, 4, 30, 12]]
    assert clip.is_labelled[:, 0].tolist() == [True, False, False, False, False]


def test_recordings_that_were_taken_out_are_not_played_though_their_tensors_are_there(recorded):
    assert train_clips(recorded).names == ["a_td", "b_td"]
    (recorded / "train" / "b_td.dat").unlink()
    (recorded / "train" / "b_bbox.npy").unlink()
    assert train_clips(recorded).names == ["a_td"]


def test_classes_are_balanced_over_recordings_of_which_one_has_no_labels(recorded):
    (recorded / "train" / "b_bbox.npy").unlink()
    config = DatasetConfig(recorded, balance_classes=True)
    precompute([recorded], PrecomputeConfig(tensor_folder(config), config.tensor))
    weights = RecordedClips(config, "train", clip_length=5).weights
    assert [each.tolist() for each in weights] == [[5, 5], [0, 0]]


def test_labels_that_belong_to_no_window_are_counted(recorded, caplog):
    times_us = (50_000, 51_000, 480_000, 900_000)
    write_labels(recorded / "train" / "a_bbox.npy", rows(*((t, 2, 4, 10, 8, 0, 7, 1) for t in times_us)))
    train_clips(recorded)
    assert "train: 2 of 14 labelled times belong to no window" in caplog.text
