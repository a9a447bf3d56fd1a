from __future__ import annotations

import pytest
import torch
from torch import nn

from seqdet.checks import InputError
from seqdet.models.single_shot import (
    PRESETS,
    PRIOR,
    AnchorPreset,
    Anchors,
    Criterion,
    SingleShotHead,
    class_scores,
)

EVERY_ACTIVATION = pytest.mark.parametrize(("activation", "logits"), [("softmax", 6), ("sigmoid", 5)])


SIZE_HW = 32, 48
PAIR = AnchorPreset(4.0, ((1.0, 1.0), (2.0, 1.0)))


def make_head(
    activation: str,
    *,
    hidden: int = 1,
    preset: AnchorPreset = PAIR,
    strides: tuple[int, ...] = (8, 16),
) -> SingleShotHead:
    torch.manual_seed(0)
    criterion = Criterion(
        activation=activation, box_loss="giou", box_weight=1, foreground=0.5, background=0.4, variances=(0.1, 0.2)
    )
    return SingleShotHead(8, Anchors(preset, strides), 5, hidden=hidden, criterion=criterion)


@EVERY_ACTIVATION
@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_softmax_has_one_logit_more_than_classes(activation, logits, hidden):
    head = make_head(activation, hidden=hidden)
    outputs = head([torch.randn(3, 8, 4, 6), torch.randn(3, 8, 2, 3)], SIZE_HW)
    assert outputs.deltas.shape == (3, 2 * (24 + 6), 4)
    assert outputs.logits.shape == (3, 2 * (24 + 6), logits)
    assert head.scores(outputs).shape == (3, 2 * (24 + 6), 5)


@EVERY_ACTIVATION
@pytest.mark.parametrize("hidden", [0, 2])
def test_an_untrained_head_expects_next_to_nothing_anywhere(activation, logits, hidden):
    head = make_head(activation, hidden=hidden, strides=(8,))
    scores = head.scores(head([torch.rand(3, 8, 16, 16)], (128, 128)))
    expected = PRIOR / 5 if activation == "softmax" else PRIOR
    assert scores.mean().item() == pytest.approx(expected, rel=0.3)
    assert scores.max() < 2 * expected
    assert logits == len(head.classes[-1].bias) // 2


def test_softmax_scores_leave_the_rest_to_the_background():
    logits = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(class_scores(logits, "softmax"), logits.softmax(-1)[..., 1:])
    torch.testing.assert_close(class_scores(logits[..., 1:], "sigmoid"), logits[..., 1:].sigmoid())


def test_outputs_stand_in_the_order_of_the_anchors():
    """The maps hold the centres of their cells, which the last layers pass on beside the number of the shape."""
    sizes_hw, strides = [(4, 6), (2, 3)], (8, 16)
    anchors = Anchors(PRESETS["psee"], strides)
    head = make_head("softmax", hidden=0, preset=PRESETS["psee"])
    for last, numbers in ((head.boxes[-1], 4), (head.classes[-1], 6)):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        last.weight.data[0::numbers, 0, 1, 1] = last.weight.data[1::numbers, 1, 1, 1] = 1
        last.bias.data[2::numbers] = torch.arange(anchors.per_cell).float()
    maps = []
    for (height, width), stride in zip(sizes_hw, strides, strict=True):
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        maps.append(torch.stack([x * stride, y * stride, *[0 * x] * 6])[None])
    deltas, logits, *_ = head(maps, SIZE_HW)
    wanted = torch.cat([anchors(sizes_hw)[:, :2], torch.arange(6).repeat(24 + 6)[:, None]], dim=1)
    assert torch.equal(deltas[0, :, :3], wanted)
    assert torch.equal(logits[0, :, :3], wanted)


def test_an_unknown_activation_is_refused():
    with pytest.raises(InputError, match="activation must be one of sigmoid, softmax; got 'relu'"):
        make_head("relu")
