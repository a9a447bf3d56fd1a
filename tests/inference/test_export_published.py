"""Published detectors as files of ONNX, one window at a time, against what their authors' models compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seqdet.inference.export import export
from seqdet.inference.runners import OnnxRunner
from seqdet.models.published import import_weights

ORACLES = Path(__file__).parents[1] / "oracles"
CELLS = np.array(
    [
        ((x + 0.5) * stride, (y + 0.5) * stride, stride)
        for stride in (8, 16, 32)
        for y in range(64 // stride)
        for x in range(96 // stride)
    ]
)


def as_theirs(deltas, objectness, logits):
    """Centre x, centre y, width, height, objectness and classes of every cell."""
    stride = CELLS[:, 2:]
    centre = CELLS[:, :2] + (deltas[..., :2] - 0.5) * stride
    scores = (1 / (1 + np.exp(-each.astype(float))) for each in (objectness[..., None], logits))
    return np.concatenate([centre, np.exp(deltas[..., 2:]) * stride, *scores], axis=-1)


@pytest.mark.parametrize("name", ["rvt", "s5vit"])
def test_a_file_streams_what_its_authors_model_computes(name, tmp_path):
    pytest.importorskip("onnxscript")
    with np.load(ORACLES / f"{name}_small_widths.npz") as file:
        numbers = dict(file)
    weights = {key[2:]: torch.from_numpy(value) for key, value in numbers.items() if key.startswith("w:")}
    torch.save(weights, tmp_path / "a.pth")
    settings = {"carry": True} if name == "s5vit" else {}
    detector = import_weights(tmp_path / "a.pth", head_width=8, split=1, **settings).detector
    export(detector, tmp_path / "a.onnx", size_hw=(64, 96))
    runner = OnnxRunner(tmp_path / "a.onnx")
    memory = None
    for step, frames in enumerate(numbers["x"]):
        results = runner.raw(frames, memory)
        memory = results[4:-3]
        found = as_theirs(*results[-3:])
        wanted = numbers[f"out{step}"] if name == "rvt" else numbers["out"][step]
        assert (np.abs(found - wanted).max(axis=(0, 1)) <= 1e-5 * np.abs(wanted).max(axis=(0, 1))).all()
    if name == "rvt":
        for found, wanted in zip(memory, (f"{part}{stage}" for stage in range(4) for part in "hc"), strict=True):
            assert np.abs(found - numbers[wanted]).max() <= 1e-5 * np.abs(numbers[wanted]).max()
    else:
        for found, wanted in zip(memory, (numbers[f"state{stage}"] for stage in range(4)), strict=True):
            assert np.abs(found[:, 0] + 1j * found[:, 1] - wanted).max() <= 1e-5 * np.abs(wanted).max()
