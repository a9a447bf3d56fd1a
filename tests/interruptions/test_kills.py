"""A training killed at random moments, any number of times, ends with the weights of one that never was."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import count

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from seqdet.config import (
    DataConfig,
    DatasetConfig,
    EventDigitsConfig,
    RunConfig,
    TensorConfig,
    TrainConfig,
    VanillaConfig,
)
from seqdet.config_files import write_config
from seqdet.digits.recordings import write_event_digits
from seqdet.files import TEMPORARY

from .small import DIGITS, LONG_S, alive, environment

DATA = DataConfig(clip_length=3, lanes=2, digits=DIGITS)
RECORDED = replace(DATA, dataset=DatasetConfig(tensor=TensorConfig("histogram", window_us=10_000)))
MODEL = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8, head_layers=0)
TRAIN = TrainConfig(
    max_steps=40,
    checkpoint_steps=2,
    warmup_steps=2,
    validate_epochs=1,
    log_steps=1,
    device="cpu",
    precision="float32",
)
VARIANTS = {
    "one process": (DATA, TRAIN),
    "a loader": (replace(DATA, workers=1), TRAIN),
    "two processes": (DATA, replace(TRAIN, processes=2)),
    "two clips a step": (DATA, replace(TRAIN, accumulate=2, checkpoint_steps=1)),
    "recordings": (RECORDED, TRAIN),
    "a cache": (replace(RECORDED, dataset=replace(RECORDED.dataset, cache_gb=2e-4)), TRAIN),
}
SEED, KILLS = 0, 20
CODES = {"none": (0,), "first": (-9, 0), "session": (-9, 0), "other": (1, 0)}
"""How the first process ends, by what was killed; it may have been done already."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Six recordings of moving digits; each is thirty windows long."""
    folder = tmp_path_factory.mktemp("kills") / "recordings"
    write_event_digits(folder, EventDigitsConfig(DIGITS))
    return folder


def command(out, recipe):
    """The command that begins a run, or goes on with it."""
    begun = ["--resume", out] if (out / "config.yaml").is_file() else ["--config", recipe, "--out", out]
    return [sys.executable, "-m", "seqdet.cli", "train", *map(str, begun)]


def started(words, folder):
    """The command, as the first process of a session, which says what it says to a file in the folder."""
    with (folder / "said.txt").open("w") as said:
        return psutil.Popen(words, stdout=said, stderr=said, env=environment(folder), start_new_session=True)


def kill(first, draw):
    """Kill a process of a training, or the first one with all of its session; which it was, as a key of ``CODES``."""
    if draw.random() < 0.3:
        os.killpg(first.pid, signal.SIGKILL)
        return "session"
    others = []
    with suppress(psutil.Error):  # one ends as it is looked at
        others = [each for each in first.children() if "seqdet.training" in each.cmdline()]
    victim = draw.choice(np.array([first, *others], object))
    with suppress(psutil.NoSuchProcess):
        victim.kill()
    return "first" if victim is first else "other"


def learnt(folder):
    """The weights and the memory after the last step, and the weights that are handed out."""
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    memory = {f"memory {n}": tensor for n, tensor in enumerate(checkpoint["recurrent_state"])}
    published = load_file(folder / "detector.safetensors")
    return checkpoint["state_dict"] | memory | {f"published {name}": tensor for name, tensor in published.items()}


def assert_equal_weights(one, other, told):
    first, second = learnt(one), learnt(other)
    assert first.keys() == second.keys(), told
    assert [name for name in first if not torch.equal(first[name], second[name])] == [], told


def prepared(data, train, number, folder, recordings):
    """The recipe of a run, the folder of it, and that of its tensors."""
    model, out, tensors = MODEL, folder / f"run{number}", folder / f"tensors{number}"
    if data.dataset != DATA.dataset:
        data = replace(data, dataset=replace(data.dataset, folder=recordings, tensors=tensors))
        model = replace(model, in_channels=2)
    recipe = folder / f"recipe{number}.yaml"
    write_config(RunConfig(data, model, train), recipe)
    return recipe, out, tensors


class Killer:
    """Starts commands and kills them at random, until it has killed so many."""

    def __init__(self, kills, folder, whole_s):
        self._kills, self._folder, self._whole_s = kills, folder, whole_s
        self._draw, self.killed = np.random.default_rng(SEED), []

    @property
    def is_done(self):
        return len(self.killed) == self._kills

    def survived(self, words):
        """Whether a command came to its end, by itself; otherwise it was killed, and all is as it should be."""
        first, victim = started(words, self._folder), "none"
        if not self.is_done:
            moment_s = self._draw.uniform(0, self._whole_s)
            try:
                first.wait(moment_s)
            except psutil.TimeoutExpired:
                victim = kill(first, self._draw)
                self.killed.append((words[-1], round(moment_s, 3), victim))
        code = first.wait(LONG_S)
        said = (self._folder / "said.txt").read_text()
        assert code in CODES[victim], f"{self}, said: {said}"
        assert code != 1 or said.splitlines()[-1].startswith("seqdet: error: Process 1 "), f"{self}, said: {said}"
        assert "Traceback" not in said, f"{self}, said: {said}"
        return code == 0

    def __str__(self):
        """What is needed to do it again."""
        return f"seed {SEED}, a whole run {self._whole_s:.3f} s, kills (run, seconds, process) {self.killed}"


def check_kills(data, train, kills, folder, recordings):
    """Train until so many kills were survived: in one run after the other, as each comes to its end in between."""
    recipe, whole, _ = prepared(data, train, 0, folder, recordings)
    begun_s = time.monotonic()
    assert started(command(whole, recipe), folder).wait(LONG_S) == 0, (folder / "said.txt").read_text()
    killer = Killer(kills, folder, time.monotonic() - begun_s)
    for number in count(1):
        recipe, out, tensors = prepared(data, train, number, folder, recordings)
        while not killer.survived(command(out, recipe)):
            pass
        assert psutil.wait_procs(alive(folder), timeout=LONG_S / 10)[1] == [], str(killer)
        files = [path for place in (out, tensors) for path in place.rglob("*") if TEMPORARY.fullmatch(path.name)]
        assert files == [], str(killer)
        assert_equal_weights(whole, out, str(killer))
        if killer.is_done:
            return


def test_a_training_killed_once_at_random_ends_with_the_same_weights(tmp_path, recordings):
    check_kills(DATA, replace(TRAIN, max_steps=5), 1, tmp_path, recordings)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_a_training_killed_often_at_random_ends_with_the_same_weights(tmp_path, recordings, name):
    check_kills(*VARIANTS[name], KILLS, tmp_path, recordings)
