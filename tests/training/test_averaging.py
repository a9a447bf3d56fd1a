"""The moving average of the weights: what it is, that it is what counts, and that a run goes on with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seqdet.checks import InputError
from seqdet.config import TrainConfig
from seqdet.models.detector import Detector
from seqdet.models.zoo import build_detector
from seqdet.training.averaging import averaged, move_average
from seqdet.training.fit import resume
from seqdet.training.module import TrainingModule

from .small import DATA, MODEL, TRAIN, checkpoint, differing, run

EMA = replace(TRAIN, ema=0.6)


class Killed(BaseException):
    """What a signal that cannot be caught looks like from within."""


def die_at(step, monkeypatch):
    training_step = TrainingModule.training_step

    def step_or_die(self, clip, batch_index):
        if self.global_step == step:
            raise Killed
        return training_step(self, clip, batch_index)

    monkeypatch.setattr(TrainingModule, "training_step", step_or_die)


def average_of(folder):
    state = checkpoint(folder)["state_dict"]
    return {name.removeprefix("average."): tensor for name, tensor in state.items() if name.startswith("average.")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("average") / "run", EMA)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_average_is_what_the_rule_says_and_what_is_handed_out(tmp_path, monkeypatch, processes):
    """Of weights and statistics; what a step counts for is 1 - min(0.6, (1 + n) / (10 + n))."""
    seen = []
    step = TrainingModule.optimizer_step

    def step_and_look(self, *args, **kwargs):
        step(self, *args, **kwargs)
        seen.append({name: tensor.numpy().copy() for name, tensor in self.detector.state_dict().items()})

    start = {name: tensor.numpy() for name, tensor in build_detector(MODEL).state_dict().items()}
    monkeypatch.setattr(TrainingModule, "optimizer_step", step_and_look)
    folder = run(tmp_path / "run", replace(EMA, processes=processes, validate_epochs=100))
    wanted = {name: tensor.astype(np.float64) for name, tensor in start.items()}
    assert len(seen) == 6
    for n, weights in enumerate(seen):
        keep = min(0.6, (1 + n) / (10 + n))
        wanted = {name: keep * wanted[name] + (1 - keep) * weights[name] for name in wanted}
    found = load_file(folder / "detector.safetensors")
    for name, tensor in found.items():
        if tensor.is_floating_point():
            np.testing.assert_allclose(tensor.numpy(), wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert tensor == seen[-1][name]
    assert differing(found, average_of(folder)) == []
    weights = list(np.concatenate([tensor.flatten() for tensor in seen[-1].values()]))
    assert not np.allclose(np.concatenate([tensor.numpy().flatten() for tensor in found.values()]), weights, atol=1e-4)


def test_what_is_validated_and_kept_is_the_average(tmp_path, monkeypatch):
    modules = []
    decoded = []
    decode = Detector.decode
    start = TrainingModule.on_validation_epoch_start

    def remember(self):
        modules.append(self)
        start(self)

    def decode_and_remember(self, outputs, **kwargs):
        decoded.append(self)
        return decode(self, outputs, **kwargs)

    monkeypatch.setattr(TrainingModule, "on_validation_epoch_start", remember)
    monkeypatch.setattr(Detector, "decode", decode_and_remember)
    folder = run(tmp_path / "run", replace(EMA, keep_epochs=1))
    assert {id(each) for each in decoded} == {id(modules[0].average)}
    assert modules[0].average is not modules[0].detector
    kept = load_file(folder / "checkpoints" / "step=000006.safetensors")
    assert differing(kept, average_of(folder)) == []


def test_a_run_killed_and_resumed_has_the_average_of_one_never_killed(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        die_at(5, patched)
        with pytest.raises(Killed):
            run(tmp_path / "run", EMA)
    assert checkpoint(tmp_path / "run")["global_step"] == 4
    resume(tmp_path / "run")
    assert differing(checkpoint(whole)["state_dict"], checkpoint(tmp_path / "run")["state_dict"]) == []
    handed_out = (load_file(each / "detector.safetensors") for each in (whole, tmp_path / "run"))
    assert differing(*handed_out) == []


def test_the_average_does_not_change_what_is_learnt(whole, tmp_path):
    without = checkpoint(run(tmp_path / "run"))
    learnt = checkpoint(whole)
    for name, tensor in without["state_dict"].items():
        assert torch.equal(tensor, learnt["state_dict"][name])
    for key in ("optimizer_states", "recurrent_state"):
        assert str(without[key]) == str(learnt[key])


def test_what_is_frozen_stays_bit_for_bit_in_the_average_too(tmp_path):
    before = build_detector(MODEL).state_dict()
    folder = run(tmp_path / "run", replace(EMA, freeze=("backbone",)))
    after = load_file(folder / "detector.safetensors")
    assert {name.partition(".")[0] for name in differing(before, after)} == {"head"}


def test_the_average_is_not_taken_in_the_middle_of_a_step(tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr("seqdet.training.module.move_average", lambda *_, steps, **__: moved.append(steps))
    run(tmp_path / "run", replace(EMA, accumulate=2, max_steps=3), data=replace(DATA, workers=0))
    assert moved == [0, 1, 2]


def test_a_tensor_of_two_names_is_averaged_once():
    detector = build_detector(MODEL)
    detector.backbone.stem[0][1].weight = detector.backbone.stem[0][1].bias
    average = averaged(detector)
    with torch.no_grad():
        detector.backbone.stem[0][1].bias.fill_(1.0)
    move_average(average, detector, keep=0.75, steps=1000)
    assert torch.equal(average.backbone.stem[0][1].weight, torch.full((2,), 0.25))


def test_another_average_than_that_of_the_run_is_refused(whole, tmp_path):
    import shutil

    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "training.json").unlink()
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("ema: 0.6", "ema: 0.0"))
    with pytest.raises(InputError, match=r"train\.ema was 0\.6, and is 0\.0"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("ema", [-0.1, 1.0, 2.0])
def test_an_average_of_which_nothing_or_all_goes_is_refused(ema):
    with pytest.raises(InputError, match="ema must be at least 0 and below 1"):
        TrainConfig(ema=ema)
