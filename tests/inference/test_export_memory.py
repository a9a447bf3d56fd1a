"""Detectors with memory of their own kinds as files of ONNX: parity over sequences is what ``export`` checks itself."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.ssd import SSD

from seqdet import build_detector, with_memory
from seqdet.inference.export import export
from seqdet.inference.runners import OnnxRunner

SIZE_HW = (64, 96)


class Pyramid(nn.Module):
    """Maps at strides 8 and 16."""

    out_channels = 32

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 8, stride=8)
        self.second = nn.Conv2d(32, 32, 3, stride=2, padding=1)

    def forward(self, x):
        fine = self.first(x)
        return OrderedDict(fine=fine, coarse=self.second(fine.relu()))


def of_torchvision(kind: str) -> nn.Module:
    anchors = AnchorGenerator(((16, 24), (32, 48)), ((0.5, 1.0),) * 2)
    if kind == "retinanet":
        return RetinaNet(Pyramid(), 2, anchor_generator=anchors)
    if kind == "fcos":
        return FCOS(Pyramid(), 2, anchor_generator=AnchorGenerator(((8,), (16,)), ((1.0,),) * 2))
    backbone = Pyramid()
    backbone.out_channels = [32, 32]
    return SSD(backbone, DefaultBoxGenerator([[2], [2]]), SIZE_HW, 3)


SETTINGS = {
    "lowrec": {"base": 1, "aligned": True},
    "mingru": {"base": 1, "cell": "mingru", "kernel_size": 3},
    "timm": {"frames": "timm:mobilenetv3_small_050", "channels": 8, "memory_channels": 4},
}
QUICK = ("lowrec", "fcos")
KINDS = [
    pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow)
    for kind in (*SETTINGS, "ssd", "retinanet", "fcos")
]


def awake(kind: str):
    """With a memory that matters."""
    torch.manual_seed(0)
    classes = ("a", "b")
    if kind in SETTINGS:
        name = "with_memory" if kind == "timm" else "lowrec"
        detector = build_detector(name, classes=classes, in_channels=3, **SETTINGS[kind])
    else:
        detector = with_memory(of_torchvision(kind), classes=classes, levels=(0,), channels=4)
    for projection in getattr(detector.memory, "projections", ()):
        nn.init.normal_(projection.weight, std=0.5)
    return detector.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_streams_what_the_detector_says_of_a_clip(kind, tmp_path):
    pytest.importorskip("onnxscript")
    detector = awake(kind)
    export(detector, tmp_path / "a.onnx", size_hw=SIZE_HW, score=0.3)
    runner = OnnxRunner(tmp_path / "a.onnx")
    frames = np.random.default_rng(0).integers(256, size=(4, 3, 3, *SIZE_HW), dtype=np.uint8)
    with torch.no_grad():
        wanted, _ = detector(torch.from_numpy(frames))
    memory = None
    for step, window in enumerate(frames):
        results = runner.raw(window, memory)
        memory = results[4 : -len(detector.head.outputs)]
        for name, found in zip(detector.head.outputs, results[-len(detector.head.outputs) :], strict=True):
            theirs = getattr(wanted, name)[3 * step : 3 * step + 3].numpy()
            assert np.abs(found - theirs).max() <= 1e-4 * np.abs(theirs).max()
