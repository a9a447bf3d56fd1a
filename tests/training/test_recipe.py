"""The recipe of the demo, cut short: minutes, so `make slow` runs it."""

from dataclasses import replace

import psutil
import pytest

from seqdet.config_files import read_config, recipes
from seqdet.inference.evaluate import evaluate
from seqdet.training.fit import fit
from seqdet.training.module import TrainingModule

MEBIBYTE = 2**20


@pytest.mark.slow
def test_the_recipe_learns_to_find_digits_in_flat_and_little_memory(tmp_path, monkeypatch):
    config = read_config(recipes()["demo"])
    frames_per_step = config.data.clip_length * config.data.lanes
    train = replace(config.train, max_steps=12_000 // frames_per_step)
    resident = []
    step = TrainingModule.training_step

    def step_and_weigh(self, clip, batch_index):
        resident.append(psutil.Process().memory_info().rss)
        return step(self, clip, batch_index)

    monkeypatch.setattr(TrainingModule, "training_step", step_and_weigh)
    out = fit(config.model, config.data, train, tmp_path / "run")
    quarter = len(resident) // 4
    assert max(resident) < 2048 * MEBIBYTE
    assert max(resident[-quarter:]) - max(resident[quarter : 2 * quarter]) < 64 * MEBIBYTE
    metrics = evaluate(out)
    assert metrics["AP50"] > 0.4
    assert metrics["AP"] > 0.2
