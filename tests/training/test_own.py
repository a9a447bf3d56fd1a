"""Callbacks and loggers of Lightning, and a loss of one's own: they take part, and a run goes on with them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from seqdet.checks import InputError, Stopped
from seqdet.models.single_shot import Outputs
from seqdet.structures import Boxes
from seqdet.training.fit import resume
from seqdet.training.module import TrainingModule

from .small import TRAIN, checkpoint, differing, run


class Killed(BaseException):
    """What a signal that cannot be caught looks like from within."""


class Counter(Callback):
    """Counts steps, and remembers how many; dies before one of them."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.steps = 0
        self.dies_at = dies_at

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.dies_at:
            raise Killed

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state_dict):
        self.steps = state_dict["steps"]


class Keeper(Counter):
    """Keeps what cannot be read without unpickling."""

    def state_dict(self):
        return {"itself": self}


def points(folder):
    """What a logger of Lightning wrote, a row a point."""
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


def silence(outputs: Outputs, frames: Sequence[Boxes]) -> dict[str, Tensor]:
    """A loss by which a detector learns that nothing is there."""
    assert len(frames) == len(outputs.logits)
    return {"something": outputs.logits[..., 1:].exp().mean(), "far": outputs.deltas.square().mean()}


def test_callbacks_and_loggers_take_part_and_the_log_says_what_no_file_can(tmp_path, caplog):
    caplog.set_level("INFO")
    counter = Counter()
    folder = run(tmp_path / "run", callbacks=[counter], loggers=[CSVLogger(tmp_path, name="csv", version="")])
    assert counter.steps == 6
    rows = points(tmp_path / "csv")
    assert [row["step"] for row in rows if row["loss/total"]] == [str(step) for step in range(6)]
    assert any(row["validation/AP"] for row in rows)
    assert "train.max_steps: 6" in (tmp_path / "csv" / "hparams.yaml").read_text()
    assert list((folder / "logs").glob("events.out.tfevents.*"))
    assert "Not in config.yaml, so give them to seqdet.resume again: callbacks, loggers." in caplog.messages


def test_callbacks_and_loggers_do_not_change_what_is_learnt(tmp_path):
    without = run(tmp_path / "without")
    folder = run(tmp_path / "with", callbacks=[Counter()], loggers=[CSVLogger(tmp_path)])
    assert differing(checkpoint(without)["state_dict"], checkpoint(folder)["state_dict"]) == []


def test_a_callback_given_again_goes_on_where_it_was(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[Counter(dies_at=5)])
    counter = Counter()
    resume(tmp_path / "run", callbacks=[counter])
    assert counter.steps == 6


def test_a_run_goes_on_without_its_callback_and_says_so(tmp_path, caplog):
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[Counter(dies_at=5)])
    resume(tmp_path / "run")
    assert "The run goes on without the callback Counter, with which it began." in caplog.messages


class Ends(Callback):
    """Ends the training after a step in the middle of an epoch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop |= trainer.global_step == 4


STOPPING = EarlyStopping(monitor="AP", mode="max", patience=1, min_delta=0.9)
"""By it the first validation is better than nothing, and the second no better by so much."""


@pytest.mark.parametrize(("callback", "steps"), [(STOPPING, 12), (Ends(), 4)], ids=["validation", "step"])
def test_a_callback_may_end_the_training_and_a_resumed_run_goes_on_from_there(tmp_path, caplog, callback, steps):
    caplog.set_level("INFO")
    train = replace(TRAIN, max_steps=18, checkpoint_steps=7)
    folder = run(tmp_path / "run", train, callbacks=[callback])
    facts = json.loads((folder / "training.json").read_text())
    assert f"A callback ended the training after step {steps} of 18." in caplog.messages
    assert (facts["steps"], checkpoint(folder)["global_step"]) == (steps, steps)
    assert (folder / "detector.safetensors").read_bytes() == (folder / "checkpoints/best.safetensors").read_bytes()
    resume(folder)
    whole = run(tmp_path / "whole", train)
    assert checkpoint(folder)["global_step"] == 18
    assert differing(checkpoint(folder)["state_dict"], checkpoint(whole)["state_dict"]) == []


def test_a_progress_bar_and_curves_of_rates_of_lightning_are_shown(tmp_path, capsys):
    log = CSVLogger(tmp_path, name="csv", version="")
    train = replace(TRAIN, lr_factors={"backbone": 0.5}, optimizer="muon", max_steps=2)
    run(tmp_path / "run", train, callbacks=[TQDMProgressBar(), LearningRateMonitor("step")], loggers=[log])
    assert "2/2" in capsys.readouterr().out
    rates = {key: float(row[key]) for row in points(tmp_path / "csv") for key in row if "/pg" in key and row[key]}
    assert sorted({rate / TRAIN.lr for rate in rates.values()}) == pytest.approx([1 / 3, 2 / 3])


def test_checkpoints_of_lightning_are_written_where_they_are_asked_for(tmp_path):
    saving = ModelCheckpoint(tmp_path / "theirs", monitor="AP", mode="max", filename="{step}")
    run(tmp_path / "run", callbacks=[saving])
    (path,) = (tmp_path / "theirs").iterdir()
    assert torch.load(path, weights_only=True)["global_step"] == 6


def test_a_callback_whose_memory_could_not_be_read_again_is_refused_before_the_first_step(tmp_path):
    keeper = Keeper()
    with pytest.raises(InputError, match=r"must keep tensors, numbers and texts .*, and Keeper keeps something else"):
        run(tmp_path / "run", callbacks=[keeper])
    assert keeper.steps == 0


def test_a_loss_of_ones_own_is_what_is_learnt(tmp_path):
    """It differs from the head's in all weights of the head, and brings its own figures to the curves."""
    log = CSVLogger(tmp_path, name="csv", version="")
    folder = run(tmp_path / "run", criterion=silence, loggers=[log])
    assert {"loss/something", "loss/far"} < points(tmp_path / "csv")[0].keys()
    usual = checkpoint(run(tmp_path / "usual"))["state_dict"]
    changed = differing(usual, checkpoint(folder)["state_dict"])
    assert {f"detector.head.{name}" for name in ("boxes.0.weight", "classes.0.weight")} < set(changed)


def test_the_loss_of_the_head_as_a_criterion_learns_the_same_bit_for_bit(tmp_path, monkeypatch):
    heads = []
    start = TrainingModule.on_train_start

    def remember(self):
        heads.append(self.detector.head)
        start(self)

    monkeypatch.setattr(TrainingModule, "on_train_start", remember)
    folder = run(tmp_path / "run", criterion=lambda outputs, frames: heads[-1].loss(outputs, frames))
    assert differing(checkpoint(folder)["state_dict"], checkpoint(run(tmp_path / "usual"))["state_dict"]) == []


def test_a_run_with_a_loss_of_ones_own_goes_on_with_it_alone(tmp_path):
    whole = run(tmp_path / "whole", criterion=silence)
    with pytest.raises(Killed):
        run(tmp_path / "run", criterion=silence, callbacks=[Counter(dies_at=5)])
    with pytest.raises(InputError, match=r"criterion must be given to go on with .*run, which learns by one of yours"):
        resume(tmp_path / "run")
    resume(tmp_path / "run", criterion=silence, callbacks=[Counter()])
    assert differing(checkpoint(whole)["state_dict"], checkpoint(tmp_path / "run")["state_dict"]) == []


def test_a_run_with_the_loss_of_its_head_does_not_go_on_with_another(tmp_path):
    folder = run(tmp_path / "run")
    with pytest.raises(InputError, match=r"criterion must not be given to go on with .*run, which learns by the loss"):
        resume(folder, max_steps=12, criterion=silence)


class Weighted(nn.Module):
    """A loss that holds a tensor, and may hold something to learn."""

    def __init__(self, *, learns: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(())) if learns else None
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, outputs: Outputs, frames: Sequence[Boxes]) -> dict[str, Tensor]:
        return {name: self.scale * each for name, each in silence(outputs, frames).items()}


def test_a_loss_may_be_a_module_unless_it_wants_to_learn(tmp_path):
    run(tmp_path / "run", replace(TRAIN, max_steps=1), criterion=Weighted(learns=False))
    with pytest.raises(InputError, match="criterion must have nothing to learn"):
        run(tmp_path / "other", criterion=Weighted(learns=True))
    assert not (tmp_path / "other").exists()


LOSSES = [
    (torch.zeros(4, 3), r"a Tensor of shape \(4, 3\)\."),
    ({}, r"an empty dict\."),
    ({"a": 1.0}, r"a float for 'a'\."),
    ({"a": torch.zeros(2)}, r"a Tensor of shape \(2,\) for 'a'\."),
]


@pytest.mark.parametrize(("losses", "found"), LOSSES)
def test_a_loss_that_is_no_table_of_scalars_is_refused(tmp_path, losses, found):
    words = f"criterion must return a dict of scalar tensors, the losses by name, got {found}"
    with pytest.raises(InputError, match=words):
        run(tmp_path / "run", criterion=lambda outputs, frames: losses)


def test_a_loss_without_gradient_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"criterion must return losses .*, with gradient, and something, far has none"
    ):
        run(tmp_path / "run", criterion=lambda *given: {name: each.detach() for name, each in silence(*given).items()})


def of_one(outputs):
    return silence(outputs, [])


class OfOne(nn.Module):
    """A loss that knows no truth."""

    def forward(self, outputs):
        return of_one(outputs)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"callbacks": [3]}, r"callbacks must be a list of instances of Lightning's Callback, got \[3\]"),
        ({"callbacks": None}, "callbacks must be a list of instances of Lightning's Callback, got None"),
        ({"callbacks": Counter()}, "callbacks must be a list of instances of Lightning's Callback, got <"),
        ({"loggers": ["x"]}, r"loggers must be a list of instances of Lightning's Logger, got \['x'\]"),
        ({"loggers": None}, "loggers must be a list of instances of Lightning's Logger, got None"),
        ({"criterion": 3}, "criterion must be a function of outputs and frames, got 3"),
        ({"criterion": of_one}, "criterion must take outputs and frames, two arguments: too many positional"),
        ({"criterion": OfOne()}, "criterion must take outputs and frames, two arguments: too many positional"),
    ],
)
def test_what_cannot_take_part_is_refused_before_anything_is_written(tmp_path, given, words):
    with pytest.raises(InputError, match=words):
        run(tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=words):
        resume(run(tmp_path / "whole", replace(TRAIN, max_steps=1)), **given)


@pytest.mark.parametrize("given", [{"callbacks": [Counter()]}, {"criterion": silence}])
def test_what_other_processes_could_not_know_is_refused(tmp_path, given):
    with pytest.raises(InputError, match=rf"train\.processes must be 1 where {next(iter(given))} are given, got 2"):
        run(tmp_path / "run", replace(TRAIN, processes=2), **given)
    assert not (tmp_path / "run").exists()


def test_a_stopped_run_with_callbacks_says_how_to_go_on(tmp_path, monkeypatch):
    import os
    import signal

    step = TrainingModule.training_step

    def step_and_ask(self, clip, batch_index):
        if batch_index == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, clip, batch_index)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "training_step", step_and_ask)
        with pytest.raises(Stopped, match="Stopped after step 3"):
            run(tmp_path / "run", callbacks=[Counter()])
    counter = Counter()
    resume(tmp_path / "run", callbacks=[counter])
    assert counter.steps == 6
