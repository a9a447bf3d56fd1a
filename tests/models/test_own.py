"""Detectors that a function of a user puts together: trained, kept and refused."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
import torch
import yaml

from seqdet import DataConfig, DigitsConfig, OwnConfig, TrainConfig, allow, build_detector, fit, load_detector
from seqdet import resume as go_on
from seqdet.allowing import ALLOWED
from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.config import VanillaConfig
from seqdet.config_files import read_config
from seqdet.inference.export import export
from seqdet.models.detector import Detector
from seqdet.models.single_shot import single_shot_head
from seqdet.models.weights import save_detector

SOURCE = '''
"""A backbone of one strided convolution, with the mean of the maps before as its memory, under a head of seqdet's."""

import torch
import yaml
from torch import nn

from seqdet.config import VanillaConfig
from seqdet.models.detector import Detector
from seqdet.models.single_shot import single_shot_head


class Mean(nn.Module):
    strides = (8,)
    multiple = 8
    scaled = True
    exact = 1

    def __init__(self, in_channels, width):
        super().__init__()
        self.channels = (width,)
        self.convolution = nn.Conv2d(in_channels, width, 8, stride=8)

    def forward(self, frames, state=None):
        maps = self.convolution(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        (mean,) = state or (torch.zeros_like(maps[0]),)
        seen = []
        for x in maps:
            mean = 0.5 * mean + 0.5 * x
            seen.append(mean)
        return [torch.cat(seen)], (mean,)


def mean_detector(classes, in_channels, width=4):
    backbone = Mean(in_channels, width)
    head = single_shot_head(VanillaConfig(classes=classes), width, backbone.strides)
    return Detector(backbone, head, classes=classes, in_channels=in_channels)


class Careful(Mean):
    """It looks at numbers, which there are none of on the device meta."""

    def forward(self, frames, state=None):
        assert frames.max().item() < 2
        return super().forward(frames, state)


def careful_detector(classes, in_channels):
    head = single_shot_head(VanillaConfig(classes=classes), 4, (8,))
    return Detector(Careful(in_channels, 4), head, classes=classes, in_channels=in_channels)


def nothing(classes, in_channels):
    return None
'''
DIGITS = DigitsConfig(
    frames_per_video=4,
    held_out_frames_per_video=4,
    frames_per_epoch=16,
    validation_frames=8,
    test_frames=8,
)
DATA = DataConfig(clip_length=2, lanes=2, digits=DIGITS)
TRAIN = TrainConfig(max_steps=4, checkpoint_steps=2, demo_epochs=0, precision="float32", device="cpu")


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    """The name of the function, which nobody has allowed yet."""
    monkeypatch.setenv(ALLOWED, "[]")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "parts.py").write_text(SOURCE, encoding="utf-8")
    return "parts:mean_detector"


def test_a_detector_of_ones_own_trains_goes_on_and_is_read_again(own, tmp_path):
    allow(str(tmp_path / "parts.py:mean_detector"))
    model = OwnConfig(own, parameters={"width": 6})
    whole = fit(model, DATA, TRAIN, tmp_path / "whole")
    fit(model, DATA, replace(TRAIN, max_steps=2, schedule="constant"), tmp_path / "cut")
    config = read_config(whole / "config.yaml").model
    assert config == OwnConfig(own, tuple("0123456789"), 3, {"width": 6})
    detector = load_detector(whole / "detector.safetensors")
    assert detector.backbone.convolution.weight.shape == (6, 3, 8, 8)
    go_on(tmp_path / "cut", max_steps=4)
    assert load_detector(tmp_path / "cut" / "detector.safetensors").config == config
    export(detector, tmp_path / "a.onnx", size_hw=(64, 64))


def test_one_that_cannot_be_tried_without_numbers_trains_all_the_same(own, tmp_path):
    allow(str(tmp_path / "parts.py:careful_detector"))
    fit(OwnConfig("parts:careful_detector"), DATA, replace(TRAIN, max_steps=1), tmp_path / "run")


def test_a_file_of_weights_does_not_choose_what_is_imported(own, tmp_path, monkeypatch):
    allow(str(tmp_path / "parts.py:mean_detector"))
    save_detector(build_detector(own, classes=["a"], in_channels=3), tmp_path / "a.safetensors")
    monkeypatch.setenv(ALLOWED, "[]")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"'parts:mean_detector' must be allowed by you.*--allow"):
        load_detector(tmp_path / "a.safetensors")
    assert "parts" not in sys.modules


def test_typed_on_the_command_line_it_is_allowed(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [f"--model.name={tmp_path / 'parts.py'}:mean_detector", "--model.parameters", "{width: 5}"]
    settings = {"clip_length": 2, "lanes": 2}
    settings |= {f"digits.{name}": getattr(DIGITS, name) for name in ("frames_per_video", "held_out_frames_per_video")}
    settings |= {f"digits.{name}": getattr(DIGITS, name) for name in ("frames_per_epoch", "validation_frames")}
    words += [f"--data.{name}={value}" for name, value in settings.items()]
    main(["train", *words, "--train.max_steps=1", "--train.demo_epochs=0", "--train.device=cpu", "--out=run"])
    assert load_detector("run/detector.safetensors").config.parameters == {"width": 5}


def test_one_that_was_put_together_by_hand_has_no_file(tmp_path):
    usual = build_detector(VanillaConfig(classes=("a",), in_channels=3, base=1, channels=4))
    head = single_shot_head(VanillaConfig(classes=("a",)), 4, usual.backbone.strides)
    by_hand = Detector(usual.backbone, head, classes=("a",), in_channels=3)
    with pytest.raises(InputError, match=r"model\.name must be the function that puts the detector together"):
        save_detector(by_hand, tmp_path / "a.safetensors")


def test_what_is_no_detector_is_refused(own, tmp_path):
    allow(str(tmp_path / "parts.py:nothing"))
    with pytest.raises(InputError, match=r"parts:nothing must return a seqdet\.Detector, got NoneType"):
        build_detector("parts:nothing", classes=["a"], in_channels=3)


def test_an_argument_that_it_does_not_take_is_one_sentence(own, tmp_path):
    allow(str(tmp_path / "parts.py:mean_detector"))
    with pytest.raises(InputError, match=r"parts:mean_detector must take classes, in_channels and .*wide"):
        build_detector(own, classes=["a"], in_channels=3, parameters={"wide": 3})


class Doubling(torch.nn.Module):
    """A neck."""

    channels = (4,) * 5
    strides = (8, 16, 32, 64, 128)

    def forward(self, maps):
        return [2 * x for x in maps]


class Sum(torch.nn.Module):
    """A memory of what it has seen of each map."""

    state_tensors = 5

    def forward(self, maps, lanes, state=None):
        found = []
        after = []
        for n, x in enumerate(maps):
            steps = x.unflatten(0, (-1, lanes))
            before = torch.zeros_like(steps[0]) if state is None else state[n]
            summed = before + steps.cumsum(0)
            found.append(summed.flatten(0, 1))
            after.append(summed[-1])
        return found, tuple(after)


@pytest.mark.parametrize("keeps", [False, True])
def test_neck_and_memory_stand_between_and_a_clip_cut_anywhere_is_the_whole(keeps):
    usual = build_detector(VanillaConfig(classes=("a",), in_channels=3, base=1, channels=4)).eval()
    detector = Detector(usual.backbone, usual.head, neck=Doubling(), memory=Sum(), classes=("a",), in_channels=3).eval()
    frames = torch.rand(4, 2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    keep = torch.tensor([[1, 0], [0, 0], [0, 1], [1, 1]], dtype=torch.bool) if keeps else None
    with torch.no_grad():
        whole, after = detector(frames, keep=keep)
        first, state = detector(frames[:3], keep=None if keep is None else keep[:3])
        second, cut_after = detector(frames[3:], state, keep=None if keep is None else keep[3:])
        maps, _ = usual.backbone(frames)
    torch.testing.assert_close(torch.cat([first.deltas, second.deltas]), whole.deltas)
    for mine, theirs in zip(cut_after, after, strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(after[-5], 2 * maps[0].unflatten(0, (4, 2)).sum(0))
    assert list(detector.parts) == ["backbone", "neck", "memory", "head"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.name=lowrek"], r"model\.name must be one of .*vanilla.*; got 'lowrek'"),
        (["--model.bas=3"], r"unknown argument --model\.bas\. The settings of vanilla are .*levels.* Did you mean"),
        (
            ["--model.name=a.b:c", "--model.base=3"],
            r"unknown argument --model\.base\. The settings of a\.b:c are classes",
        ),
    ],
)
def test_settings_are_those_of_the_architecture_that_is_named(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", *words])
    assert re.search(message, f"{ended.value.code} {capsys.readouterr().err}")


def test_a_recipe_of_another_architecture_gives_its_data_and_training_alone(own, tmp_path, capsys):
    name = f"{tmp_path / 'parts.py'}:mean_detector"
    with pytest.raises(SystemExit):
        main(["train", "--recipe", "demo", "--model.name", name, "--model.parameters", "{width: 6}", "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"] == {"name": own, "classes": [], "in_channels": None, "parameters": {"width": 6}}
    assert config["train"]["optimizer"] == "muon"
