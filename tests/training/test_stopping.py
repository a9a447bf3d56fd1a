"""SIGTERM, by which schedulers end a job, ends a training as Ctrl-C does, whatever it is doing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest
import torch

from seqdet.checks import InputError, Stopped
from seqdet.config import DataConfig, DigitsConfig, RunConfig, TrainConfig, VanillaConfig
from seqdet.config_files import write_config
from seqdet.models.zoo import build_detector
from seqdet.training.fit import fit, resume
from seqdet.training.module import TrainingModule

DIGITS = DigitsConfig(
    frames_per_video=4, held_out_frames_per_video=4, frames_per_epoch=16, validation_frames=16, test_frames=16
)
DATA = DataConfig(clip_length=2, lanes=4, digits=DIGITS)
MODEL = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8, head_layers=0)
TRAIN = TrainConfig(max_steps=4, warmup_steps=1, validate_epochs=1, device="cpu")
LONG_S = 600
"""For what takes seconds unless the machine has other work."""
SCRIPT = """
import os, signal, sys
from seqdet.training.module import TrainingModule
name, after, signals, whole = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "group"
send = lambda number: os.killpg(0, number) if whole else os.kill(os.getpid(), number)
step, count = getattr(TrainingModule, name), 0
def signalled(self, *args):
    global count
    count += 1
    for _ in range(signals if count == after else 0):
        send(signal.SIGTERM)
    return step(self, *args)
setattr(TrainingModule, name, signalled)
sys.argv[1:] = sys.argv[5:]
from seqdet.cli import main
main()
"""
"""The command, whose first process signals itself, or its loaders too as schedulers do, in a step of some kind."""


@pytest.mark.parametrize(("name", "after", "step"), [("training_step", 3, 3), ("validation_step", 1, 2)])
def test_a_training_stops_at_the_next_step_and_goes_on_as_if_it_never_had(tmp_path, monkeypatch, name, after, step):
    fit(build_detector(MODEL), DATA, TRAIN, tmp_path / "whole")
    before, calls = signal.getsignal(signal.SIGTERM), []
    original = getattr(TrainingModule, name)

    def signalled(self, *args):
        calls.append(args)
        if len(calls) == after:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, name, signalled)
        with pytest.raises(Stopped, match=f"Stopped after step {step}. Go on with: seqdet train --resume"):
            fit(build_detector(MODEL), DATA, TRAIN, tmp_path / "run")
    assert signal.getsignal(signal.SIGTERM) is before
    resume(tmp_path / "run")
    whole, again = (
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "run")
    )
    assert all(torch.equal(whole[key], again[key]) for key in whole)


@pytest.mark.parametrize(
    ("name", "after", "signals", "processes", "workers", "sentence"),
    [
        ("training_step", 3, 1, 2, 0, "Stopped after step 3. Go on with: seqdet train --resume"),
        ("validation_step", 1, 1, 2, 0, "Stopped after step 2. Go on with: seqdet train --resume"),
        ("configure_optimizers", 1, 1, 2, 0, "Stopped after step 1. Go on with: seqdet train --resume"),
        ("training_step", 1, 1, 1, 2, "seqdet train --resume"),  # by the end of a loader or of the step
        ("validation_step", 1, 2, 1, 0, "Stopped at once. Go on from the last checkpoint: seqdet train --resume"),
    ],
)
def test_the_command_says_how_to_go_on_and_ends_with_the_status_of_the_signal(
    tmp_path, name, after, signals, processes, workers, sentence
):
    config = tmp_path / "config.yaml"
    write_config(RunConfig(replace(DATA, workers=workers), MODEL, replace(TRAIN, processes=processes)), config)
    options = [
        name,
        str(after),
        str(signals),
        "group" if workers else "",
        "train",
        "--config",
        str(config),
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG_S,
        start_new_session=True,
    )
    assert (done.returncode, done.stderr) == (143, "")
    assert sentence in done.stdout
    assert str(tmp_path) not in " ".join(
        word for each in psutil.process_iter(["cmdline"]) for word in each.info["cmdline"] or []
    )


def test_a_loader_that_the_system_kills_is_one_sentence(tmp_path, monkeypatch):
    step = TrainingModule.training_step

    def killing(self, *args):
        for loader in multiprocessing.active_children():
            loader.kill()
        return step(self, *args)

    monkeypatch.setattr(TrainingModule, "training_step", killing)
    words = "A loader process was killed, as systems do that run out of memory. Go on, .*: seqdet train --resume"
    with pytest.raises(InputError, match=words):
        fit(build_detector(MODEL), replace(DATA, workers=1), replace(TRAIN, max_steps=30), tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
