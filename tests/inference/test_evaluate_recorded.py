"""A run on event recordings, from simulated digits to the page."""

import json
import shutil
from dataclasses import replace

import av
import pytest

from seqdet import (
    DataConfig,
    DigitsConfig,
    EventDigitsConfig,
    TrainConfig,
    VanillaConfig,
    build_detector,
    evaluate,
    fit,
)
from seqdet.checks import InputError
from seqdet.config import AugmentConfig, DatasetConfig, TensorConfig
from seqdet.config_files import read_config, write_config
from seqdet.inference.sample_frames import frames_of_run
from seqdet.training.fit import resume
from seqdet.viz.tiles import play


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two steps on a few digits; half of the lanes play clips on their own."""
    folder = tmp_path_factory.mktemp("events")
    length = {"frames_per_video": 12, "held_out_frames_per_video": 12}
    digits = DigitsConfig(frames_per_epoch=48, validation_frames=12, test_frames=24, **length)
    dataset = DatasetConfig(
        folder / "digits",
        simulate=True,
        scene=EventDigitsConfig(digits, moving_s=(0.05, 0.1), still_s=(0.4, 0.5)),
        tensor=TensorConfig(parameters={"bins": 1}),
        augment=AugmentConfig(zoom=0.5, translate=0.5),
    )
    data = DataConfig(clip_length=4, lanes=2, random_share=0.5, dataset=dataset)
    model = VanillaConfig(classes=tuple("0123456789"), in_channels=2, base=2, channels=16)
    return fit(build_detector(model), data, TrainConfig(max_steps=2), folder / "run")


def test_a_run_on_recordings_says_what_it_keeps_of_what_stands_still(run):
    metrics = evaluate(run)
    assert metrics["frames"] == 24
    assert metrics["still"]["low"] == 0.3
    assert 0 < metrics["still"]["truth_boxes"] == metrics["still_without_memory"]["truth_boxes"]
    assert json.loads((run / "metrics.json").read_text()) == metrics
    page = (run / "report.html").read_text()
    assert "Still for 0.3 s or more: AP" in page
    assert (run / "demo.mp4").stat().st_size > 0
    assert resume(run) == run


def test_another_dataset_needs_no_more_than_the_split_that_is_scored(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(run.parent / "digits" / "test", other / "test")
    shutil.copy(run.parent / "digits" / "label_map_dictionary.json", other)
    assert evaluate(copy, other)["frames"] == 24
    with pytest.raises(
        InputError, match=r"val must hold recordings, and has none\. .*Labels are in test: --split test\."
    ):
        evaluate(copy, other, split="validation")


def test_frames_to_quantise_by_are_there_of_recordings_that_came_in_since(run, tmp_path):
    folder = shutil.copytree(run.parent / "digits", tmp_path / "digits")
    config = read_config(run / "config.yaml")
    dataset = replace(config.data.dataset, folder=folder, simulate=False)
    config = replace(config, data=replace(config.data, dataset=dataset))
    before = list(frames_of_run(config, 1000))
    for name in ("digits_00000.raw", "digits_00000_bbox.npy", "digits_00000_labelled.npy"):
        shutil.copy(folder / "train" / name, folder / "train" / name.replace("00000", "99999"))
    assert len(list(frames_of_run(config, 1000))) == len(before) + 1


def test_the_film_names_the_recordings_and_leaves_out_lanes_on_which_nothing_plays(run, tmp_path, monkeypatch):
    copy = shutil.copytree(run, tmp_path / "run")
    config = read_config(copy / "config.yaml")
    write_config(replace(config, data=replace(config.data, lanes=4)), copy / "config.yaml")
    played = []

    def remembering(clip, boxes, **look):
        played.append(look)
        return play(clip, boxes, **look)

    monkeypatch.setattr("seqdet.inference.evaluate.play", remembering)
    evaluate(copy)
    assert {(*look["names"], *look["lanes"]) for look in played} == {("digits_00000", "digits_00001", 0, 1)}
    assert "digits_00000" in (copy / "report.html").read_text()
    with av.open(str(copy / "demo.mp4")) as film:
        width = film.streams.video[0].width
    with av.open(str(run / "demo.mp4")) as film:
        assert width == film.streams.video[0].width


def test_a_detector_for_other_frames_or_classes_is_refused_before_training(run, tmp_path):
    dataset = DatasetConfig(run.parent / "digits", tensor=TensorConfig(parameters={"bins": 1}))
    data = DataConfig(clip_length=4, lanes=2, dataset=dataset)
    with pytest.raises(InputError, match="in_channels must be the 2 of the data, got 3"):
        fit(
            build_detector(VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=2, channels=16)),
            data,
            TrainConfig(max_steps=1),
            tmp_path / "run",
        )
    model = VanillaConfig(in_channels=2, base=2, channels=16, classes=("car",))
    with pytest.raises(InputError, match="classes must be those of the data"):
        fit(build_detector(model), data, TrainConfig(max_steps=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
