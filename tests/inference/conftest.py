"""What several tests of inference share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seqdet import Detector, VanillaConfig, build_detector
from seqdet.config import InputConfig

SHOWN = InputConfig("stacked_histogram", {"bins": 2}, 50_000, (120, 125), (120, 125))


def opinionated(**config) -> Detector:
    """An untrained detector of tiny size that finds much, with scores that differ from frame to frame."""
    small = {"base": 1, "channels": 8, "in_channels": 4, "classes": ("a", "b")}
    detector = build_detector(VanillaConfig(**small | config))
    with torch.no_grad():
        detector.backbone.stem[0][0].weight *= 255
        for level in detector.backbone.levels:
            level.from_input[0].weight *= 4
        boxes, classes = detector.head.predictors
        boxes.weight *= 60
        classes.weight *= 600
    return detector.eval()


@pytest.fixture(scope="session")
def detector() -> Detector:
    """For events."""
    detector = opinionated()
    detector.input = SHOWN
    return detector


@pytest.fixture(scope="session")
def exported(detector, tmp_path_factory) -> Path:
    """The detector as a file."""
    pytest.importorskip("onnxscript")
    from seqdet.inference.export import export

    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export(detector, path)
    return path
