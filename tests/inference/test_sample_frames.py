from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqdet import DataConfig, DigitsConfig, InputError
from seqdet.config import DatasetConfig, InputConfig, RunConfig, TrainConfig, VanillaConfig
from seqdet.events.array import Events
from seqdet.events.tables import write_npz
from seqdet.events.tensors import REPRESENTATIONS, event_cube
from seqdet.inference.runners import frame_type
from seqdet.inference.sample_frames import frames_of_recording, frames_of_run, made_up_frames, tiled

SHOWN = InputConfig("event_cube", {"bins": 2}, 10_000, (40, 60), (20, 30))


@pytest.mark.parametrize("name", sorted(REPRESENTATIONS))
def test_made_up_frames_are_of_the_kind_that_the_detector_takes(name):
    shown = replace(SHOWN, representation=name, parameters={})
    frames = made_up_frames(shown, 0, (1, 1), windows=3, seed=0)
    assert (len(frames), frames.shape[2:], frames.dtype) == (3, (20, 30), frame_type(shown))
    assert all(frame.std() > 0 for frame in frames)


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 500), (64, 48)])
def test_made_up_pictures_have_the_size_asked_for(size_hw):
    frames = made_up_frames(None, 3, size_hw, windows=2, seed=0)
    assert (frames.shape, frames.dtype) == ((2, 3, *size_hw), np.uint8)


def test_frames_of_a_recording_are_its_first_windows(tmp_path):
    t = np.arange(5_000, 55_000, 10)
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 60, len(t)).astype(np.uint16), draw.integers(0, 40, len(t)).astype(np.uint16)
    events = Events(t, x, y, np.zeros(len(t), np.uint8))
    write_npz(tmp_path / "a.npz", [events], size_hw=(40, 60))
    (frames,) = frames_of_recording(tmp_path / "a.npz", SHOWN, 3)
    window = {"size_hw": (40, 60), "to_hw": (20, 30), "window_us": 10_000, "windows": 3, "start_us": 5_000}
    np.testing.assert_array_equal(frames, event_cube(events, bins=2, **window))
    (all_of_them,) = frames_of_recording(tmp_path / "a.npz", SHOWN, 1000)
    assert len(all_of_them) in (4, 5)
    with pytest.raises(InputError, match=r"must be of a sensor of 60x80 pixels.* got 60x40"):
        next(frames_of_recording(tmp_path / "a.npz", replace(SHOWN, sensor_hw=(80, 60)), 3))
    with pytest.raises(InputError, match="trained on pictures"):
        next(frames_of_recording(tmp_path / "a.npz", None, 3))


def test_a_recording_to_calibrate_by_that_says_nothing_is_of_the_detectors_sensor(tmp_path):
    t = np.arange(0, 60, 1)
    (tmp_path / "a.csv").write_text("\n".join(f"{time},{time % 60},{time % 40},1" for time in t))
    (frames,) = frames_of_recording(tmp_path / "a.csv", SHOWN, 100, time_unit="ms")
    assert len(frames) == 5
    assert np.count_nonzero(frames) >= 10


def test_frames_of_a_run_are_about_as_many_as_asked_for():
    digits = DigitsConfig(
        64, 64, max_digits=1, digit_heights=(12.0, 24.0), frames_per_video=8, held_out_frames_per_video=8,
        frames_per_epoch=80, validation_frames=8, test_frames=8,
    )  # fmt: skip
    run = RunConfig(DataConfig(clip_length=4, digits=digits, dataset=DatasetConfig()), VanillaConfig(), TrainConfig())
    sequences = list(frames_of_run(run, 24))
    assert {each.shape[1:] for each in sequences} == {(3, 64, 64)}
    assert 16 <= sum(map(len, sequences)) <= 40


def test_frames_of_another_size_are_copies_side_by_side():
    frames = np.arange(12).reshape(1, 1, 3, 4)
    found = tiled(frames, (5, 3))
    assert found.shape == (1, 1, 5, 3)
    assert found[0, 0].tolist() == [[0, 1, 2], [4, 5, 6], [8, 9, 10], [0, 1, 2], [4, 5, 6]]
