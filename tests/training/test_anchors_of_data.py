"""Anchors that a training fits to the boxes of its data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqdet import (
    DataConfig,
    DatasetConfig,
    DigitsConfig,
    EventDigitsConfig,
    InputError,
    TensorConfig,
    TrainConfig,
    VanillaConfig,
    evaluate,
    fit,
    load_detector,
    model_config,
)
from seqdet.config_files import read_config
from seqdet.data.schedule import Cue
from seqdet.loading import open_split, with_fitted_anchors
from seqdet.models.fitted_anchors import fitted_anchors

LENGTH = {"frames_per_video": 12, "held_out_frames_per_video": 12}
DIGITS = DigitsConfig(frames_per_epoch=1200, validation_frames=12, test_frames=12, **LENGTH)
MODEL = VanillaConfig(base=1, channels=8, levels=2, head_layers=0, anchors="fitted", anchors_per_cell=2)


@pytest.fixture(scope="module", params=["frames", "recordings"])
def data(request, tmp_path_factory) -> DataConfig:
    """Moving digits of either kind."""
    if request.param == "frames":
        return DataConfig(clip_length=3, lanes=2, digits=DIGITS)
    scene = EventDigitsConfig(replace(DIGITS, frames_per_epoch=48), moving_s=(0.05, 0.1), still_s=(0.4, 0.5))
    folder = tmp_path_factory.mktemp("anchors") / "digits"
    dataset = DatasetConfig(folder, simulate=True, scene=scene, tensor=TensorConfig(parameters={"bins": 1}))
    return DataConfig(clip_length=3, lanes=2, dataset=dataset)


def test_a_run_keeps_the_shapes_that_its_training_boxes_have(data, tmp_path):
    run = fit(MODEL, data, TrainConfig(max_steps=1, device="cpu"), tmp_path / "run")
    shapes = read_config(run / "config.yaml").model.anchor_shapes
    assert len(shapes) == 2
    assert load_detector(run / "detector.safetensors").config.anchor_shapes == shapes
    evaluate(run)
    words = "Fitted to the boxes of the training data: anchors of "
    assert f"{words}{shapes[0][0]:.2g} x {shapes[0][1]:.2g}," in (run / "report.html").read_text()


def test_the_boxes_are_those_that_are_to_be_found(data):
    with_fitted_anchors(replace(MODEL, classes=("a",), in_channels=3), data)  # which makes the recordings
    source = open_split(data, "train")
    sizes = source.target_sizes_wh
    shown = np.concatenate(
        [
            boxes.targets.sizes_wh.numpy()
            for number, clips in enumerate(source.clip_counts)
            for clip in range(clips if data.dataset.folder else 1)
            for boxes in source[Cue(number, clip)].boxes[: None if data.dataset.folder else 1]
        ]
    )
    assert len(sizes) > 40
    assert {tuple(each) for each in shown.tolist()} <= {tuple(each) for each in sizes.tolist()}


def test_stated_shapes_and_presets_stay(data):
    for model in (replace(MODEL, anchor_shapes=((1.0, 2.0),)), replace(MODEL, anchors="psee", anchors_per_cell=4)):
        assert with_fitted_anchors(model, data) is model


def test_a_head_with_anchors_of_its_own_is_told_so():
    frames = "torchvision:ssdlite320_mobilenet_v3_large"
    with pytest.raises(InputError, match=f"anchors must be left out with {frames}, whose neck, head and losses are"):
        model_config("with_memory", classes=("a",), in_channels=3, frames=frames, anchors="fitted")


def test_few_boxes_are_refused_before_anything_is_written(tmp_path):
    digits = replace(DIGITS, frames_per_epoch=12)
    with pytest.raises(InputError, match="anchors must be a preset where the training data have few boxes"):
        fit(MODEL, DataConfig(clip_length=3, lanes=2, digits=digits), TrainConfig(max_steps=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_shapes_are_fitted_for_the_maps_of_the_architecture(data):
    model = with_fitted_anchors(replace(MODEL, classes=("a",), in_channels=3, levels=3), data)
    sizes = open_split(data, "train").target_sizes_wh
    assert model.anchor_shapes == fitted_anchors(sizes, (8, 16, 32), per_cell=2)
