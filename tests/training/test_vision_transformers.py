"""RVT and S5-ViT in training: they learn from frames, go on as if never cut, and are handed out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import DataConfig, DigitsConfig, TrainConfig, model_config
from seqdet.models.weights import load_detector
from seqdet.training.fit import fit, resume

DIGITS = DigitsConfig(
    frames_per_video=4, held_out_frames_per_video=4, frames_per_epoch=16, validation_frames=8, test_frames=8
)
DATA = DataConfig(clip_length=2, lanes=2, digits=DIGITS)
TRAIN = TrainConfig(
    max_steps=4,
    warmup_steps=1,
    checkpoint_steps=2,
    demo_epochs=0,
    schedule="constant",
    precision="float32",
    device="cpu",
)


@pytest.mark.parametrize("name", ["rvt_tiny", "s5vit_small"])
def test_a_training_that_was_cut_ends_as_one_that_was_not(name, tmp_path):
    model = model_config(name, dim=4, head_width=4)
    whole = fit(model, DATA, TRAIN, tmp_path / "whole")
    fit(model, DATA, replace(TRAIN, max_steps=2), tmp_path / "cut")
    resume(tmp_path / "cut", max_steps=4)
    checkpoints = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (whole, tmp_path / "cut")
    ]
    for part in ("state_dict", "recurrent_state"):
        one, other = (checkpoint[part] for checkpoint in checkpoints)
        pairs = [(one[key], other[key]) for key in one] if isinstance(one, dict) else list(zip(one, other, strict=True))
        assert pairs
        assert all(torch.equal(*pair) for pair in pairs)
    assert load_detector(whole / "detector.safetensors").config.name == name


def test_windows_into_which_the_frames_do_not_divide_are_refused_before_anything_is_written(tmp_path):
    wrong = model_config("rvt_tiny", dim=8, head_width=4, partition=(3, 5))
    with pytest.raises(InputError, match=r"windows of 3x5 cells.*got 128x128"):
        fit(wrong, DATA, TRAIN, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    fit(replace(wrong, partition=(2, 2)), DATA, replace(TRAIN, max_steps=1), tmp_path / "run")
