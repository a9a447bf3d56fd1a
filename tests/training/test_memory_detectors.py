"""Detectors with low-level recurrence and with memory behind frames: they train, go on and stream as any other."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import DataConfig, LowrecConfig, TrainConfig, WithMemoryConfig
from seqdet.models.weights import load_detector
from seqdet.models.zoo import build_detector
from seqdet.training.fit import fit, resume

from . import small

DIGITS = replace(
    small.DIGITS,
    frames_per_video=4,
    held_out_frames_per_video=4,
    frames_per_epoch=16,
    validation_frames=4,
    test_frames=4,
)
DATA = DataConfig(clip_length=2, lanes=2, digits=DIGITS)
TRAIN = TrainConfig(
    max_steps=4, checkpoint_steps=2, demo_epochs=0, schedule="constant", precision="float32", device="cpu"
)
SLOW = pytest.mark.slow
DETECTORS = {
    "lowrec": LowrecConfig(base=1, aligned=True),
    "mingru": LowrecConfig(base=1, cell="mingru", kernel_size=3),
    "timm": WithMemoryConfig(frames="timm:mobilenetv3_small_050", channels=8, memory_channels=4),
    "ssdlite": WithMemoryConfig(levels=(0, 1), memory_channels=4),
    "retinanet": WithMemoryConfig(frames="torchvision:retinanet_resnet50_fpn", levels=(0,), memory_channels=4),
    "fcos": WithMemoryConfig(frames="torchvision:fcos_resnet50_fpn", levels=(0,), memory_channels=4, cell="mingru"),
}
EVERY = [pytest.param(name, marks=SLOW if name in ("retinanet", "fcos") else ()) for name in DETECTORS]


@pytest.mark.parametrize("name", EVERY)
def test_a_run_that_was_cut_goes_on_to_the_same_weights_and_streams_as_the_whole(name, tmp_path):
    fit(DETECTORS[name], DATA, TRAIN, tmp_path / "whole")
    fit(DETECTORS[name], DATA, replace(TRAIN, max_steps=2), tmp_path / "cut")
    resume(tmp_path / "cut", max_steps=4)
    whole, cut = (load_detector(tmp_path / each / "detector.safetensors") for each in ("whole", "cut"))
    assert whole.config == cut.config
    theirs = cut.state_dict()
    assert [key for key, value in whole.state_dict().items() if not torch.equal(value, theirs[key])] == []
    frames = torch.randint(256, (4, 2, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs, after = whole(frames)
        state, seen = None, []
        for window in frames:
            one, state = whole(window[None], state)
            seen.append(one)
    for each in whole.head.outputs:
        together = torch.cat([getattr(one, each) for one in seen])
        torch.testing.assert_close(together, getattr(outputs, each), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(state, after, rtol=1e-4, atol=1e-4)


def test_a_backbone_of_timm_needs_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"timm must be installed for 'resnet18': pip install 'seqdet\[timm\]'"):
        build_detector("with_memory", classes=["a"], in_channels=3, frames="timm:resnet18")


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ("timm:resnet1", "frames must name a model of timm.list_models.. after timm:, got 'resnet1'"),
        ("timm:vit_tiny_patch16_224", "frames must be a model of timm"),
        ("timm:swin_tiny_patch4_window7_224", "frames must be a model of timm that takes any size of frames"),
        ("torchvision:yolo", "what follows torchvision: in frames must be one of .*got 'yolo'"),
        ("resnet18", "frames must be timm:NAME or torchvision:NAME, .* got 'resnet18'"),
    ],
)
def test_what_cannot_see_frames_is_refused(frames, words):
    with pytest.raises(InputError, match=words):
        build_detector("with_memory", classes=["a"], in_channels=3, frames=frames)
