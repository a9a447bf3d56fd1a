from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import MODELS, RvtConfig, VanillaConfig, WithMemoryConfig
from seqdet.models.zoo import build_detector, check_takes

CONFIG = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=4, head_layers=1)


def weights(seed: int) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in build_detector(CONFIG, seed=seed).parameters()])


def test_the_seed_decides_the_weights():
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_random_state_of_torch_does_not_matter_and_stays_as_it_is():
    first = weights(1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(weights(1), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_detector_keeps_its_configuration_and_has_the_parts_that_it_names():
    config = VanillaConfig(
        in_channels=3, base=1, channels=4, cell="gru", anchors="coco", classes=("a", "b"), activation="sigmoid"
    )
    detector = build_detector(config).eval()
    outputs, state = detector(torch.zeros(1, 1, 3, 128, 128))
    assert detector.config == config
    assert outputs.logits.shape == (1, 341 * 9, 2)
    assert len(state) == 5


def test_a_detector_has_as_many_levels_as_its_configuration_says():
    outputs, state = build_detector(
        VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=4, levels=2)
    ).eval()(torch.zeros(1, 1, 3, 128, 128))
    assert outputs.anchors.shape == ((16**2 + 8**2) * 4, 4)
    assert len(state) == 4


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match=r"model\.name must be one of .*vanilla.*; got 'vanila'"):
        build_detector(VanillaConfig(name="vanila"))


def test_a_configuration_that_leaves_classes_or_channels_to_the_data_builds_nothing():
    with pytest.raises(InputError, match=r"^model\.classes must be given, as build_detector sees no data"):
        build_detector(VanillaConfig(in_channels=3))
    with pytest.raises(InputError, match=r"^model\.in_channels must be given, as build_detector sees no data"):
        build_detector(VanillaConfig(classes=("a",)))


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("rvt_tiny", 4.405),
        ("rvt_small", 9.870),
        ("rvt_base", 18.536),
        ("s5vit_small", 9.677),
        ("s5vit_base", 18.192),
    ],
)
def test_a_published_architecture_has_as_many_parameters_as_its_authors(name, millions):
    with torch.device("meta"):
        detector = build_detector(name, classes=("car", "pedestrian"), in_channels=20)
    assert sum(parameter.numel() for parameter in detector.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


@pytest.mark.parametrize("name", MODELS)
def test_whether_frames_are_taken_is_told_by_shapes_alone(name, caplog):
    caplog.set_level(logging.DEBUG)
    check_takes(replace(MODELS[name], classes=("a",), in_channels=2), (240, 304))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("config", "size_hw", "words"),
    [
        (RvtConfig(partition=(3, 5)), (64, 64), r"windows of 3x5 cells.*got 64x64\. Left out, it follows"),
        (WithMemoryConfig(frames="torchvision:ssd300_vgg16"), (128, 128), "frames must be larger than"),
    ],
    ids=["partition", "nothing left"],
)
def test_frames_that_are_not_taken_are_told_by_shapes_alone(config, size_hw, words):
    with pytest.raises(InputError, match=words):
        check_takes(replace(config, classes=("a",), in_channels=2), size_hw)
