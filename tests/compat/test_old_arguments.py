"""A Trainer with the arguments of Lightning 1."""

from __future__ import annotations

import lightning.pytorch
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, ModelSummary, TQDMProgressBar

from seqdet.checks import InputError
from seqdet.compat import pytorch_lightning
from seqdet.compat.pytorch_lightning import LightningModule, Trainer, callbacks, take_checkpoint_path, translate


@pytest.fixture(params=["no GPU", "a GPU"])
def machine(request, monkeypatch) -> str:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param == "a GPU")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(request.param == "a GPU"))
    return request.param


@pytest.mark.parametrize("gpus", [1, -1, [0]])
def test_one_gpu_is_the_gpu_if_there_is_one_and_the_cpu_otherwise(machine, gpus, caplog):
    today = {"no GPU": {"accelerator": "cpu", "devices": 1}, "a GPU": {"accelerator": "gpu", "devices": gpus}}[machine]
    assert translate({"gpus": gpus, "max_epochs": 3}) == {"max_epochs": 3} | today
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("gpus", [0, None, []])
def test_no_gpu_is_the_cpu(machine, gpus):
    assert translate({"gpus": gpus}) == {"accelerator": "cpu", "devices": 1}


def test_gpus_that_are_not_given_leave_what_is_given_alone(machine):
    given = {"accelerator": "gpu", "devices": 2}
    assert translate({"gpus": None} | given) == given


@pytest.mark.parametrize("gpus", [2, [0, 1], "0,1", "1"])
def test_more_gpus_and_what_is_no_number_are_refused_on_every_machine(machine, gpus):
    with pytest.raises(InputError, match="gpus must be 0, 1, or a list of one index, got "):
        translate({"gpus": gpus})


@pytest.mark.parametrize("precision", [16, "16"])
def test_half_precision_is_what_the_machine_is_good_at(machine, precision, monkeypatch):
    def meant(**others):
        return translate({"precision": precision} | others)["precision"]

    for faster, on_cpu in (("float32", "32-true"), ("bfloat16", "bf16-mixed")):
        monkeypatch.setattr(pytorch_lightning, "choose_precision", lambda wanted, device, faster=faster: faster)
        of_machine = "16-mixed" if machine == "a GPU" else on_cpu
        assert meant() == meant(gpus=1) == meant(accelerator="auto") == of_machine
        assert meant(accelerator="cpu") == meant(gpus=0) == on_cpu


@pytest.mark.parametrize("given", [lambda other: other, lambda other: [other], lambda other: (other,)])
def test_a_checkpoint_callback_is_one_more_of_the_callbacks(given, caplog):
    other, callback = TQDMProgressBar(), ModelCheckpoint()
    assert translate({"checkpoint_callback": callback, "callbacks": given(other)}) == {"callbacks": [other, callback]}
    means = "Trainer(checkpoint_callback=ModelCheckpoint) means Trainer(callbacks=[TQDMProgressBar, ModelCheckpoint])"
    assert caplog.messages == [f"seqdet: {means} here."]
    for none in ({}, {"callbacks": None}, {"callbacks": []}):
        assert translate({"checkpoint_callback": callback} | none) == {"callbacks": [callback]}


@pytest.mark.parametrize("wanted", [True, False])
def test_a_checkpoint_callback_may_be_wanted_or_not(wanted):
    assert translate({"checkpoint_callback": wanted}) == {"enable_checkpointing": wanted}


def test_progress_bar_and_summary_are_those_asked_for():
    assert translate({"progress_bar_refresh_rate": 0, "weights_summary": None}) == {
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    made = translate({"progress_bar_refresh_rate": 7, "weights_summary": "full"})["callbacks"]
    assert [type(each) for each in made] == [TQDMProgressBar, ModelSummary]
    assert made[0].refresh_rate == 7
    assert made[1]._max_depth == -1
    assert translate({"weights_summary": "top", "progress_bar_refresh_rate": None}) == {"enable_model_summary": True}


def test_arguments_of_today_stay_without_a_word(caplog):
    today = {"accelerator": "gpu", "devices": 2, "precision": "bf16-mixed", "callbacks": [], "unknown": 3}
    assert translate(today) == today
    assert translate({"precision": 32}) == {"precision": 32}
    assert caplog.messages == []


def test_every_old_argument_has_one_line(caplog, machine):
    arguments = {"gpus": 1, "checkpoint_callback": False, "max_epochs": 2, "resume_from_checkpoint": "a.ckpt"}
    before = dict(arguments)
    assert take_checkpoint_path(arguments) == "a.ckpt"
    translate(arguments)
    lines = caplog.messages
    assert lines[0] == "seqdet: Trainer(resume_from_checkpoint='a.ckpt') means Trainer.fit(ckpt_path='a.ckpt') here."
    device = "accelerator='gpu'" if machine == "a GPU" else "accelerator='cpu'"
    assert lines[1] == f"seqdet: Trainer(gpus=1) means Trainer({device}, devices=1) here."
    assert lines[2] == "seqdet: Trainer(checkpoint_callback=False) means Trainer(enable_checkpointing=False) here."
    assert len(lines) == 3
    assert arguments == {name: value for name, value in before.items() if name != "resume_from_checkpoint"}


def test_the_trainer_is_lightnings_own_and_the_rest_is_its_very_self():
    trainer = Trainer(gpus=0, checkpoint_callback=False, logger=False, max_epochs=3, progress_bar_refresh_rate=0)
    assert isinstance(trainer, lightning.pytorch.Trainer)
    assert trainer.max_epochs == 3
    assert LightningModule is lightning.pytorch.LightningModule
    assert callbacks is lightning.pytorch.callbacks
    with pytest.raises(TypeError, match="unexpected keyword argument 'gpus'"):
        lightning.pytorch.Trainer(gpus=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'tpu_cores'"):
        Trainer(tpu_cores=8)


@pytest.mark.parametrize(("options", "path"), [({}, "old.ckpt"), ({"ckpt_path": "new.ckpt"}, "new.ckpt")])
def test_a_training_goes_on_from_the_checkpoint_that_the_trainer_was_given(monkeypatch, options, path):
    seen = {}
    monkeypatch.setattr(lightning.pytorch.Trainer, "fit", lambda self, model, **options: seen.update(options))
    settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(resume_from_checkpoint="old.ckpt", **settings).fit("model", **options)
    assert seen == {"ckpt_path": path}
    seen.clear()
    Trainer(**settings).fit("model")
    assert seen == {}
