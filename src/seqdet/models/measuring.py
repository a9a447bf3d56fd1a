"""What a detector costs: parameters, operations a frame, and memory a lane, by measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..checks import InputError, check_size
from ..config import MODELS, ModelConfig
from .detector import Detector
from .published_figures import PUBLISHED, UNPUBLISHED
from .zoo import build_detector

STATE_BYTES = 4
"""Of a number that is remembered: what a runner keeps between two windows is float32."""
GEN1_CLASSES = ("car", "pedestrian")
"""Classes that the detectors of the table have, as those published for Gen1."""
COUNTED = (
    "GFLOP: of one frame, two for each multiplication with its addition, in convolutions, matrix products and "
    "attention; norms, activations, samplings and scans over time are not counted."
)


class Measured(NamedTuple):
    """What a detector costs. flop: floating-point operations of one frame; see ``COUNTED``. state_bytes: of a lane."""

    parameters: int
    flop: int
    state_bytes: int


@torch.no_grad()
def measure(detector: Detector, size_hw: tuple[int, int]) -> Measured:
    """What a detector costs on one frame of one lane, where it is; on the device ``meta`` nothing is computed.

    Args:
        detector: stays in the mode that it is in.
        size_hw: height and width of the frame in pixels, before it is padded.

    Raises:
        InputError: if it takes no such frames.
    """
    check_size(size_hw, "size_hw")
    was_training = detector.training
    device = next(detector.parameters()).device
    frames = torch.zeros(1, 1, detector.channels, *size_hw, device=device)
    counter = FlopCounterMode(display=False, custom_mapping={_ATTENTION_ON_CPU: _attention_flop})
    detector.eval()
    try:
        with counter:
            _, state = detector(frames)
    finally:
        detector.train(was_training)
    return Measured(
        parameters=sum(each.numel() for each in detector.parameters()),
        flop=counter.get_total_flops(),
        state_bytes=STATE_BYTES * sum(each.numel() for each in state),
    )


_ATTENTION_ON_CPU = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
"""Which torch's counter does not know."""


def _attention_flop(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Of scaled dot-product attention, by the shapes (B, heads, length, width): the counter unwraps tensors."""
    query, key, value = (getattr(each, "shape", each) for each in (query, key, value))
    lanes, heads, asked, width = query
    return 2 * lanes * heads * asked * key[2] * (width + value[3])


def measure_untrained(config: ModelConfig, size_hw: tuple[int, int]) -> Measured:
    """What the detector of a configuration costs, without memory for its weights: by shapes alone.

    Args:
        config: with classes and channels.
        size_hw: as for ``measure``.
    """
    with torch.device("meta"):
        return measure(build_detector(config), size_hw)


def models_table(*, size_hw: tuple[int, int], channels: int) -> list[str]:
    """The architectures by name with what they cost and what is published of them, as lines of a table.

    Args:
        size_hw: height and width of the frames in pixels.
        channels: of the frames.

    Raises:
        InputError: if no frame is of such a size, or has so many channels.
    """
    rows: list[tuple[str, ...]] = [
        ("name", "parameters, M", "GFLOP a frame", "state a lane, kB", "published", "weights")
    ]
    check_size(size_hw, "size_hw")
    for name, usual in MODELS.items():
        config = replace(usual, classes=GEN1_CLASSES, in_channels=channels)
        published = PUBLISHED.get(name, UNPUBLISHED)
        try:
            costs = measure_untrained(config, size_hw)
            numbers = f"{costs.parameters / 1e6:.2f}", f"{costs.flop / 1e9:.2f}", f"{costs.state_bytes / 1e3:.0f}"
        except InputError as error:
            numbers = "-", f"refuses: {error}", "-"
        rows.append((name, *numbers, published.figure, published.weights))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            text.rjust(width) if 0 < n < 4 else text.ljust(width)
            for n, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    height, width = size_hw
    return [*lines, f"Frames of {width}x{height} with {channels} channels, {len(GEN1_CLASSES)} classes. {COUNTED}"]
