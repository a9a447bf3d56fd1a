"""A training of seconds, for the tests of this folder."""

from __future__ import annotations

import torch

from seqdet.config import DataConfig, DigitsConfig, TrainConfig, VanillaConfig
from seqdet.models.zoo import build_detector
from seqdet.training.fit import fit

DIGITS = DigitsConfig(
    height=96,
    width=96,
    digit_heights=(24, 48),
    frames_per_video=6,
    held_out_frames_per_video=6,
    frames_per_epoch=36,
    validation_frames=6,
    test_frames=6,
)
DATA = DataConfig(clip_length=3, lanes=2, digits=DIGITS)
MODEL = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8, head_layers=0, levels=1)
TRAIN = TrainConfig(
    max_steps=6,
    checkpoint_steps=2,
    warmup_steps=2,
    validate_epochs=1,
    demo_epochs=0,
    log_steps=1,
    schedule="constant",
    precision="float32",
    device="cpu",
)


def run(out, train=TRAIN, *, data=DATA, model=MODEL, **given):
    return fit(build_detector(model, seed=train.seed), data, train, out, **given)


def checkpoint(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def differing(one, other):
    """The names of the tensors that are not the same bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]
