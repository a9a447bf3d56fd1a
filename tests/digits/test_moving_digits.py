from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from seqdet.checks import InputError
from seqdet.config import DigitsConfig
from seqdet.data.schedule import BLANK, Cue, schedule, shuffled
from seqdet.digits.rendering import ink_boxes
from seqdet.digits.videos import MovingDigits, load_digits
from seqdet.structures import Boxes, Clip

SMALL = DigitsConfig(
    height=48, width=64, digit_heights=(10, 24), frames_per_video=12, held_out_frames_per_video=12, frames_per_epoch=60
)
COLUMNS = ("xyxy", "labels", "track_ids", "is_ignored")


@cache
def digits(split="train", *, config=SMALL, seed=0) -> MovingDigits:
    return MovingDigits(config, split, clip_length=4, seed=seed)


def assert_same_boxes(left: list[Boxes], right: list[Boxes]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in COLUMNS)


def reference(dataset: MovingDigits, index: int, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frame (3, H, W), and whole and visible ink (D, H, W) of its digits, with tents in place of interpolation."""
    scene, (images, _) = dataset.scene(index), load_digits(dataset.split)
    heights, angles, centres = (array[0] for array in scene.at(np.array([frame])))
    rows, columns = np.mgrid[: dataset.config.height, : dataset.config.width] + 0.5
    light, canvas, inks, shown = 1.0, 0.0, [], []
    for d, image in enumerate(images[scene.digits]):
        left, top, right, bottom = ink_boxes(image[None])[0]
        turned = (columns - centres[d, 0] + 1j * (rows - centres[d, 1])) * np.exp(-1j * angles[d])
        source = turned * (bottom - top) / heights[d] + (left + right) / 2 + 1j * (top + bottom) / 2
        weights_x = np.clip(1 - np.abs(source.real[..., None] - np.arange(28)), 0, None)
        weights_y = np.clip(1 - np.abs(source.imag[..., None] - np.arange(28)), 0, None)
        inks.append(np.einsum("hwi,hwj,ij->hw", weights_y, weights_x, image / 255, optimize=True))
        shown.append(inks[-1] * light)
        canvas = canvas + shown[-1] * scene.colours[d][:, None, None]
        light = light * (1 - inks[-1])
    return np.asarray(canvas), np.array(inks), np.array(shown)


def tight_box(ink: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(ink >= 0.25)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("index", range(6))
def test_frames_and_boxes_agree_with_a_slow_rendering_of_the_scene(index):
    frames, boxes = digits("test").video(index, 0, 12)
    scene = digits("test").scene(index)
    for t in (0, 7):
        canvas, inks, shown = reference(digits("test"), index, t)
        np.testing.assert_allclose(frames[t], canvas, atol=0.52)
        share = shown.sum(axis=(1, 2)) / inks.sum(axis=(1, 2))
        assert boxes[t].track_ids.tolist() == list(range(len(inks)))
        assert boxes[t].labels.tolist() == load_digits("test").labels[scene.digits].tolist()
        assert boxes[t].is_ignored.tolist() == (share < 0.25).tolist()
        expected = [tight_box(ink if s < 0.25 else seen) for ink, seen, s in zip(inks, shown, share, strict=True)]
        assert boxes[t].xyxy.tolist() == expected


def test_a_digit_with_less_than_a_quarter_of_its_ink_visible_is_ignored_in_its_whole_box():
    config = replace(SMALL, height=40, width=40, max_digits=16)
    ignored = targets = 0
    for index in range(12):
        _, boxes = digits("test", config=config).video(index, 0, 1)
        _, inks, shown = reference(digits("test", config=config), index, 0)
        for d, (ink, seen) in enumerate(zip(inks, shown, strict=True)):
            is_hidden = seen.sum() < 0.25 * ink.sum()
            assert boxes[0].is_ignored[d] == is_hidden
            assert boxes[0].xyxy[d].tolist() == tight_box(ink if is_hidden else seen)
            ignored, targets = ignored + is_hidden, targets + (not is_hidden)
    assert ignored > 2
    assert targets > 10


@settings(max_examples=25)
@given(index=st.integers(0, 500), cuts=st.lists(st.integers(0, 60), min_size=3, max_size=3).map(sorted), data=st.data())
def test_a_video_cut_anywhere_gives_the_same_frames_and_boxes(index, cuts, data):
    dataset = digits(data.draw(st.sampled_from(["train", "validation", "test"])))
    (first, cut, last) = cuts
    frames, boxes = dataset.video(index, 0, last, epoch=2)
    parts = [dataset.video(index, *window, epoch=2) for window in ((first, cut), (cut, last))]
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), frames[first:])
    assert_same_boxes([entry for _, part in parts for entry in part], boxes[first:])


def test_training_shows_new_videos_each_epoch_and_validation_and_test_the_same():
    for split, changes in (("train", True), ("validation", False), ("test", False)):
        one, two = (digits(split).video(3, 0, 4, epoch=epoch)[0] for epoch in (0, 1))
        assert (one != two).any() == changes


def test_the_seed_the_split_and_the_number_choose_the_video_and_nothing_else_does():
    frames, boxes = MovingDigits(SMALL, "train", clip_length=12, seed=0).video(3, 0, 4)
    again, boxes_again = digits().video(3, 0, 4)
    np.testing.assert_array_equal(frames, again)
    assert_same_boxes(boxes, boxes_again)
    others = digits(seed=1).video(3, 0, 4), digits("test").video(3, 0, 4), digits().video(4, 0, 4)
    assert all((frames != other).any() for other, _ in others)
    assert digits().scene(3).zoom[1, 0] != digits("test").scene(3).zoom[1, 0]


@settings(max_examples=40)
@given(
    size_hw=st.tuples(st.integers(48, 96), st.integers(48, 96)),
    swing=st.floats(0, 1),
    rotation=st.floats(0, 90),
    speed=st.floats(0, 12),
    index=st.integers(0, 1000),
)
def test_digits_keep_to_their_sizes_angles_speed_and_frame(size_hw, swing, rotation, speed, index):
    config = DigitsConfig(*size_hw, 4, (10, 26), scale_swing=swing, max_rotation=rotation, max_speed=speed)
    dataset = digits(config=config)
    scene = dataset.scene(index)
    heights, angles, centres = scene.at(np.arange(2000))
    assert (heights >= 10 - 1e-9).all()
    assert (heights <= 26 + 1e-9).all()
    assert heights.max(axis=0) / heights.min(axis=0) == pytest.approx(1 + swing, rel=0.01)
    assert (np.abs(angles) <= np.radians(rotation) + 1e-9).all()
    assert (np.linalg.norm(np.diff(centres, axis=0), axis=-1) <= speed + 1e-6).all()
    left, top, right, bottom = ink_boxes(load_digits("train").images[scene.digits]).T
    half_width, half_height = heights * (right - left) / (bottom - top) / 2, heights / 2
    for sign in (1, -1):
        corner = (half_width + 1j * sign * half_height) * np.exp(1j * angles)
        reach = np.abs(np.stack([corner.real, corner.imag], axis=-1))
        assert (centres - reach >= -1e-6).all()
        assert (centres + reach <= np.array(size_hw[::-1]) + 1e-6).all()


def test_a_digit_that_cannot_move_or_turn_has_boxes_of_its_height():
    config = replace(SMALL, max_digits=1, max_rotation=0, max_speed=0)
    for index in range(20):
        dataset = digits("validation", config=config)
        heights, _, _ = dataset.scene(index).at(np.arange(60))
        _, boxes = dataset.video(index, 0, 60)
        drawn = np.array([float(entry.xyxy[0, 3] - entry.xyxy[0, 1]) for entry in boxes])
        assert (np.abs(drawn - heights[:, 0]) <= 1 + 1e-4).all()


def test_digits_are_bright_and_of_many_colours_and_one_to_max_digits_at_a_time():
    scenes = [digits().scene(index) for index in range(100)]
    colours = np.concatenate([scene.colours for scene in scenes])
    assert colours.max(axis=1).min() >= 0.75 * 255
    assert colours.max() <= 255
    assert {int(colour.argmax()) for colour in colours} == {0, 1, 2}
    assert {len(scene.digits) for scene in scenes} == {1, 2, 3}


def test_crowded_training_videos_leave_the_held_out_ones_alone():
    crowded = replace(SMALL, training_digits=(4, 6))
    assert {len(digits(config=crowded).scene(index).digits) for index in range(60)} == {4, 5, 6}
    for split in ("validation", "test"):
        frames, boxes = digits(split).video(5, 0, 4)
        same_frames, same_boxes = digits(split, config=crowded).video(5, 0, 4)
        np.testing.assert_array_equal(same_frames, frames)
        assert_same_boxes(same_boxes, boxes)


def test_a_clip_holds_the_frames_that_its_cue_asks_for():
    clip = digits()[Cue(7, 2, epoch=5)]
    frames, boxes = digits().video(7, 8, 12, epoch=5)
    assert clip.frames.shape == (4, 1, 3, 48, 64)
    assert clip.frames.dtype == torch.uint8
    np.testing.assert_array_equal(clip.frames[:, 0], frames)
    assert_same_boxes(clip.boxes, boxes)
    assert clip.end_us[:, 0].tolist() == [450_000, 500_000, 550_000, 600_000]
    assert clip.is_labelled.all()
    assert (clip.recordings.tolist(), clip.is_first.tolist(), clip.is_blank.tolist()) == ([7], [False], [False])
    assert digits()[Cue(7, 0)].is_first.tolist() == [True]


def test_a_blank_cue_gives_black_frames_without_labels():
    clip = digits()[BLANK]
    assert clip.frames.shape == (4, 1, 3, 48, 64)
    assert clip.frames.max() == 0
    assert not clip.is_labelled.any()
    assert [len(boxes) for boxes in clip.boxes] == [0] * 4
    assert (clip.recordings.tolist(), clip.is_first.tolist(), clip.is_blank.tolist()) == ([-1], [False], [True])


def test_an_epoch_has_the_frames_asked_for_in_whole_videos():
    config = replace(SMALL, frames_per_epoch=61, validation_frames=24, test_frames=12)
    assert MovingDigits(config, "train", clip_length=4).clip_counts == [3] * 6
    assert MovingDigits(config, "validation", clip_length=6).clip_counts == [2] * 2
    assert MovingDigits(config, "test", clip_length=12).clip_counts == [1]


def load(steps: list[list[Cue]], workers: int) -> list[Clip]:
    return list(DataLoader(digits(), batch_sampler=steps, num_workers=workers, collate_fn=Clip.collate))


def assert_same_clips(left: list[Clip], right: list[Clip]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        for name in ("frames", "is_first", "is_blank", "is_labelled", "recordings", "end_us"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        for boxes in (a.boxes, b.boxes):
            assert len(boxes) == a.is_labelled.numel()
        assert_same_boxes([x for x in a.boxes if len(x)], [x for x in b.boxes if len(x)])


def test_the_number_of_workers_and_a_start_in_the_middle_do_not_change_the_batches():
    dataset = digits()
    order = shuffled(len(dataset.clip_counts), seed=0, epoch=1)
    steps = schedule(dataset.clip_counts, 2, order=order, epoch=1)
    clips = load(steps, workers=0)
    assert any(clip.is_blank.any() for clip in clips)
    assert_same_clips(load(steps, workers=2), clips)
    assert_same_clips(load(steps[4:], workers=0), clips[4:])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (DigitsConfig(height=64), r"up to 60 in 64 x 128 pixels; turned by 30 degrees such a digit needs 91 x 98\."),
        (DigitsConfig(width=64), r"up to 60 in 128 x 64 pixels"),
        (DigitsConfig(max_rotation=0, width=77), r"up to 60 in 128 x 77 pixels; .* needs 60 x 78\."),
    ],
)
def test_digits_too_large_for_the_frame_are_refused_with_the_size_that_they_need(config, words):
    with pytest.raises(InputError, match=f"digit_heights must fit in the frame, got {words}"):
        MovingDigits(config, "test", clip_length=12)


def test_a_clip_longer_than_a_video_and_a_negative_seed_are_refused():
    with pytest.raises(InputError, match="clip_length must be 1 to 12 frames of a video, got 13"):
        MovingDigits(SMALL, "test", clip_length=13)
    with pytest.raises(InputError, match="seed must be at least 0, got -1"):
        MovingDigits(SMALL, "test", clip_length=4, seed=-1)
