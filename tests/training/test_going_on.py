"""What else a run remembers when it goes on: what is frozen, what it is built of, and how long it trains."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

from seqdet.checks import InputError, Stopped
from seqdet.cli import main
from seqdet.config import DataConfig, DigitsConfig, TrainConfig, VanillaConfig
from seqdet.config_files import read_config
from seqdet.models.detector import Detector
from seqdet.models.weights import load_detector, save_detector
from seqdet.models.zoo import build_detector
from seqdet.runs import RunFolder
from seqdet.training.fit import fit, resume
from seqdet.training.parts import freeze, frozen_parts

DIGITS = DigitsConfig(
    frames_per_video=6, held_out_frames_per_video=6, frames_per_epoch=36, validation_frames=12, test_frames=12
)
DATA = DataConfig(clip_length=3, lanes=2, digits=DIGITS)
MODEL = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8, head_layers=0, levels=1)
TRAIN = TrainConfig(
    max_steps=4, checkpoint_steps=2, warmup_steps=2, validate_epochs=1, demo_epochs=0, schedule="constant", device="cpu"
)


def weights(folder):
    return load_detector(RunFolder(folder).detector).state_dict()


def assert_same(one, other, names=None):
    for name in names or one.keys():
        assert torch.equal(one[name], other[name]), name


def test_what_is_frozen_stays_frozen_and_at_rest_also_when_the_run_goes_on(tmp_path):
    """Statistics of its batch norm too; all else is learnt."""
    detector = build_detector(MODEL)
    detector.backbone.stem.requires_grad_(False)
    detector.head.boxes[0].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    frozen = [name for name in before if name.startswith("backbone.stem.") or name == "head.boxes.0.bias"]
    assert any(name.endswith("running_mean") for name in frozen)
    fit(detector, DATA, TRAIN, tmp_path / "run")
    assert read_config(tmp_path / "run" / "config.yaml").train.freeze == ("backbone.stem", "head.boxes.0.bias")
    resume(tmp_path / "run", max_steps=8)
    after = weights(tmp_path / "run")
    assert_same(before, after, frozen)
    learnt = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"head.boxes.0.weight"} < learnt
    assert not learnt & set(frozen)


def test_a_setting_freezes_what_the_method_does(tmp_path):
    one, other = build_detector(MODEL), build_detector(MODEL)
    one.backbone.requires_grad_(False)
    fit(one, DATA, TRAIN, tmp_path / "one")
    fit(other, DATA, replace(TRAIN, freeze=("backbone",)), tmp_path / "other")
    assert_same(weights(tmp_path / "one"), weights(tmp_path / "other"))
    assert frozen_parts(other) == ("backbone",)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            ["backbones"],
            r"train\.freeze must name parts of the detector, which consists of backbone and head, got 'backbones'",
        ),
        (["backbone.st"], "must name parts of the detector"),
        (["backbone", "head"], "train.freeze must leave something to learn"),
    ],
)
def test_what_cannot_be_frozen_is_refused_before_anything_is_written(tmp_path, parts, words):
    with pytest.raises(InputError, match=words):
        fit(build_detector(MODEL), DATA, replace(TRAIN, freeze=tuple(parts)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_that_is_made_longer_learns_what_a_longer_one_learns(tmp_path, caplog):
    whole = fit(build_detector(MODEL), DATA, replace(TRAIN, max_steps=10), tmp_path / "whole")
    run = fit(build_detector(MODEL), DATA, TRAIN, tmp_path / "run")
    first = weights(run)
    main(["train", "--resume", str(run), "--train.max_steps", "10"])
    last = torch.load(RunFolder(whole).last_checkpoint, weights_only=True)
    again = torch.load(RunFolder(run).last_checkpoint, weights_only=True)
    assert_same(last["state_dict"], again["state_dict"])
    assert (last["global_step"], again["global_step"]) == (10, 10)
    assert read_config(run / "config.yaml") == read_config(whole / "config.yaml")
    assert any(not torch.equal(first[name], again["state_dict"][f"detector.{name}"]) for name in first)
    with caplog.at_level("INFO"):
        main(["train", "--resume", str(run)])
    longer = f"seqdet train --resume {run} --train.max_steps 20"
    assert caplog.messages[-1] == f"{run} is finished. To train for longer: {longer}"


@pytest.mark.parametrize(
    ("words", "max_steps"), [([], None), (["--train.max_steps", str(TrainConfig().max_steps)], TrainConfig().max_steps)]
)
def test_a_typed_number_of_steps_counts_also_where_it_is_the_usual_one(tmp_path, monkeypatch, words, max_steps):
    asked = []
    (tmp_path / "training.json").write_text("{}")
    monkeypatch.setattr("seqdet.training.fit.resume", lambda folder, max_steps: asked.append((folder, max_steps)))
    main(["train", "--resume", str(tmp_path), *words])
    assert asked == [(tmp_path, max_steps)]


def test_until_a_longer_run_is_done_its_detector_is_that_of_before(tmp_path, monkeypatch):
    run = fit(build_detector(MODEL), DATA, TRAIN, tmp_path / "run")
    before = RunFolder(run).detector.read_bytes()

    def stop(self, clip, state=None, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Detector, "loss", stop)
        with pytest.raises(Stopped, match="Go on from the last checkpoint"):
            resume(run, max_steps=8)
    assert RunFolder(run).detector.read_bytes() == before
    resume(run)
    assert torch.load(RunFolder(run).last_checkpoint, weights_only=True)["global_step"] == 8


def test_a_schedule_that_has_come_to_its_end_says_what_more_steps_would_do(tmp_path):
    run = fit(build_detector(MODEL), DATA, replace(TRAIN, schedule="cosine"), tmp_path / "run")
    with pytest.raises(InputError, match=r"must stay 4 with the schedule cosine.* leap back to 50% of its peak"):
        resume(run, max_steps=8)
    with pytest.raises(InputError, match="must be at least the 4 of the run, got 3"):
        resume(run, max_steps=3)
    assert read_config(run / "config.yaml").train.max_steps == 4
    resume(run, max_steps=4)  # is finished


def test_a_configuration_shorter_than_what_was_done_is_refused(tmp_path):
    run = fit(build_detector(MODEL), DATA, TRAIN, tmp_path / "run")
    RunFolder(run).training.unlink()
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("max_steps: 4", "max_steps: 2"))
    with pytest.raises(InputError, match=r"train\.max_steps must be at least the 4 steps"):
        resume(run)


def test_a_run_of_before_there_was_a_setting_goes_on(tmp_path):
    run = fit(build_detector(MODEL), DATA, TRAIN, tmp_path / "run")
    last = RunFolder(run).last_checkpoint
    content = torch.load(last, weights_only=True)
    del content["config"]["train"]["freeze"]
    torch.save(content, last)
    resume(run, max_steps=6)


class Stem(nn.Sequential):
    """Of a user."""


def foreign(part):
    detector = build_detector(MODEL)
    if part == "backbone.stem":
        detector.backbone.stem = Stem(*detector.backbone.stem)
    elif part == "head":
        detector.head.criterion.box_weight = 7.0
    else:
        norm = next(module for module in detector.modules() if isinstance(module, nn.BatchNorm2d))
        norm.eps = 1e-2
    return detector


@pytest.mark.parametrize("part", ["backbone.stem", "head", "norm"])
def test_a_detector_that_no_file_could_give_back_is_refused_before_the_first_step(tmp_path, part):
    words = {"backbone.stem": "its part backbone.stem is a Stem in place of a Sequential"}.get(
        part, "of other settings"
    )
    with pytest.raises(InputError, match=words):
        fit(foreign(part), DATA, TRAIN, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=words):
        save_detector(foreign(part), tmp_path / "a.safetensors")


def test_a_detector_in_any_mode_or_precision_is_what_it_is(tmp_path):
    detector = build_detector(MODEL)
    freeze(detector, ["backbone"])
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    save_detector(detector.train().to(memory_format=torch.channels_last), tmp_path / "a.safetensors")
    load_detector(tmp_path / "a.safetensors")
