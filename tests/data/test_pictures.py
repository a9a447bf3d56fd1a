"""Videos and folders of images as datasets: their frames, times and boxes, the same on every way to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import DataConfig, DatasetConfig, PictureInput, PicturesConfig, TensorConfig
from seqdet.data.classes import write_classes
from seqdet.data.clips import RecordedClips
from seqdet.data.labels import EVENT_BBOX, label_path, write_labelled_us, write_labels
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.data.schedule import Cue
from seqdet.data.store import TensorFile
from seqdet.loading import describe_split, open_split, prepare
from seqdet.pictures.fitting import fitted
from seqdet.pictures.sequence import open_pictures, read_frames, write_times

from ..pictures.films import number_of, write_film, write_images

SIZE_HW = 32, 96
COUNT = 21


def label(recording: Path, times_us: np.ndarray) -> None:
    """Every second picture has a box that goes to the right, and the last has none, though somebody looked."""
    looked = times_us[::2]
    boxes = np.zeros(len(looked) - 1, EVENT_BBOX)
    boxes["t"] = looked[:-1]
    boxes["x"] = 2 * np.arange(len(boxes))
    boxes["y"] = 8
    boxes["w"] = 24
    boxes["h"] = 16
    boxes["class_confidence"] = 1
    write_labels(label_path(recording), boxes)
    write_labelled_us(label_path(recording), looked)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "films"
    for part in ("train", "val"):
        (root / part).mkdir(parents=True)
        film = write_film(root / part / f"{part}.mp4", COUNT, options={"g": "7"})
        label(film, open_pictures(film).times_us)
    images = write_images(root / "train" / "walk", 12)
    times_us = np.cumsum([0, 40, 10, 90, 40, 33, 33, 33, 200, 40, 40, 41]) * 1000
    write_times(images, times_us)
    label(images, times_us)
    write_classes(root, ("thing",))
    return root


def config(folder: Path, **changes) -> DatasetConfig:
    return DatasetConfig(folder=folder, tensor=TensorConfig(**changes))


def opened(dataset: DatasetConfig, split="train", clip_length: int = 4) -> RecordedClips:
    if dataset.cache_gb is None:
        prepare(dataset)
    source = open_split(DataConfig(dataset=dataset, clip_length=clip_length), split)
    assert isinstance(source, RecordedClips)
    return source


def test_a_folder_of_videos_and_images_is_a_dataset_with_their_times_and_boxes(folder):
    clips = opened(config(folder))
    assert clips.names == ["train", "walk"]
    assert clips.input == PictureInput("rgb", SIZE_HW, 40_000)
    assert (clips.classes, clips.channels, clips.clip_counts) == (("thing",), 3, [6, 3])
    assert [each.windows for each in clips.recordings] == [COUNT, 12]
    walk = np.load(folder / "train" / "walk_times.npy")
    assert clips.recordings[1].ends_us.tolist() == walk.tolist()
    for recording, count in enumerate((COUNT, 12)):
        for n in range(count):
            clip = clips[Cue(recording, n // 4)]
            t = n % 4
            assert number_of(clip.frames[t, 0].numpy().transpose(1, 2, 0)) == n
            assert clip.is_labelled[t, 0] == (n % 2 == 0)
            wanted = [[n, 8, n + 24, 24]] if n % 2 == 0 and n < count - 1 - (1 - count % 2) else []
            assert clip.boxes[t].xyxy.tolist() == wanted


def test_frames_are_the_fitted_pictures_and_boxes_follow(folder):
    clips = opened(config(folder, to_hw=(48, 48), pictures=PicturesConfig(colour="grey")))
    assert clips.input.frame_hw == (48, 48)
    assert clips.recordings[0].scale_xy == (2, 2)
    clip = clips[Cue(0, 0)]
    for t, (picture, _) in zip(range(4), read_frames(folder / "train" / "train.mp4"), strict=False):
        assert np.array_equal(clip.frames[t, 0].numpy(), fitted(picture, (48, 48), "grey"))
    assert not clip.frames[:, :, :, 16:].any()
    assert clip.boxes[2].xyxy.tolist() == [[1, 4, 13, 12]]
    assert describe_split(clips).scales_xy == [(2, 2), (2, 2)]


@pytest.mark.parametrize("pictures", [PicturesConfig(), PicturesConfig(colour="grey", every=3)], ids=["all", "third"])
def test_tensors_made_before_and_a_cache_give_the_same_clips(folder, pictures):
    dataset = config(folder, to_hw=(24, 40), pictures=pictures)
    made = opened(dataset)
    cached = opened(replace(dataset, cache_gb=0.01, tensors=folder.parent / "cache"))
    for again in (False, True):
        for recording, clips in reversed(list(enumerate(made.clip_counts))):
            for clip in reversed(range(clips)):
                one = made[Cue(recording, clip)]
                other = cached[Cue(recording, clip)]
                assert torch.equal(one.frames, other.frames), again
                assert torch.equal(one.end_us, other.end_us)
                assert [each.xyxy.tolist() for each in one.boxes] == [each.xyxy.tolist() for each in other.boxes]


def test_every_third_picture_is_just_that(folder):
    clips = opened(config(folder, pictures=PicturesConfig(every=3)))
    assert [each.windows for each in clips.recordings] == [7, 4]
    frames = [clips[Cue(0, n // 4)].frames[n % 4, 0].numpy() for n in range(7)]
    assert [number_of(frame.transpose(1, 2, 0)) for frame in frames] == list(range(0, COUNT, 3))
    assert clips.input.period_us == 120_000


def test_pieces_of_a_video_are_joined_to_the_file_that_one_pass_makes(folder, monkeypatch):
    whole = folder.parent / "whole"
    pieces = folder.parent / "pieces"
    precompute([folder], PrecomputeConfig(whole))
    monkeypatch.setattr("seqdet.data.precompute.SEGMENT_WINDOWS", 4)
    outcome = precompute([folder], PrecomputeConfig(pieces))
    assert (outcome.made, outcome.failed) == (3, [])
    for path in sorted(whole.rglob("*.h5")):
        with TensorFile(path) as one, TensorFile(pieces / path.relative_to(whole)) as other:
            assert one.description == other.description
            assert one.description.size_hw == SIZE_HW
            assert np.array_equal(one.read(0, len(one)), other.read(0, len(other)))
            assert one.ends_us.tolist() == list(one.description.times_us)
    labels = {path.relative_to(whole): np.load(path).tolist() for path in whole.rglob("*_bbox.npy")}
    assert len(labels) == 3
    again = precompute([folder], PrecomputeConfig(whole))
    assert (again.made, again.found) == (0, 3)


def test_long_videos_become_parts_and_no_label_is_lost(folder):
    out = folder.parent / "parts"
    precompute([folder / "train"], PrecomputeConfig(out, max_duration_us=200_000))
    parts = sorted(out.glob("train_*.h5"), key=lambda path: TensorFile(path).description.start_us)
    lengths = [len(TensorFile(path)) for path in parts]
    assert lengths == [5, 5, 5, 5, 1]
    boxes = [np.load(label_path(path)) for path in parts]
    assert sorted(np.concatenate(boxes)["t"]) == sorted(np.load(folder / "train" / "train_bbox.npy")["t"])
    for path, rows in zip(parts, boxes, strict=True):
        assert set(rows["t"].tolist()) <= set(TensorFile(path).description.times_us)


def test_pictures_of_several_sizes_want_one_size_of_frames(folder):
    other = write_film(folder / "train" / "b.mp4", 6, size_hw=(64, 96))
    label(other, open_pictures(other).times_us)
    with pytest.raises(InputError, match=r"must have frames as the others, .*Give tensor\.to_hw, the one size for all"):
        opened(config(folder))
    clips = opened(config(folder, to_hw=(32, 48)))
    assert {name: each.scale_xy for name, each in zip(clips.names, clips.recordings, strict=True)} == {
        "b": (2, 2),
        "train": (2, 2),
        "walk": (2, 2),
    }


def test_images_without_times_say_which_file_or_rate_they_want(folder):
    (folder / "train" / "walk_times.npy").unlink()
    with pytest.raises(InputError, match=r"fps must be given for .*walk: .*unless walk_times\.npy is beside it"):
        opened(config(folder))
    clips = opened(config(folder, pictures=PicturesConfig(fps=10)))
    assert clips.recordings[0].ends_us[:3].tolist() == [0, 100_000, 200_000]


def test_rvts_layout_has_no_place_for_pictures(folder):
    outcome = precompute([folder], PrecomputeConfig(folder.parent / "rvt", TensorConfig(), layout="rvt"))
    assert len(outcome.failed) == 3
    assert all("RVT's layout is for events" in each for each in outcome.failed)
