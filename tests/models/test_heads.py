from __future__ import annotations

import pytest
import torch
from torch import nn

from seqdet.checks import InputError
from seqdet.models.heads import PRESETS, PRIOR, Anchors, BoxHead

EVERY_ACTIVATION = pytest.mark.parametrize(("activation", "logits"), [("softmax", 6), ("sigmoid", 5)])


def make_head(activation: str, *, hidden: int = 1, per_cell: int = 2) -> BoxHead:
    torch.manual_seed(0)
    return BoxHead(8, per_cell, 5, hidden=hidden, activation=activation)


@EVERY_ACTIVATION
@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_softmax_has_one_logit_more_than_classes(activation, logits, hidden):
    head = make_head(activation, hidden=hidden)
    deltas, scores = head([torch.randn(3, 8, 4, 6), torch.randn(3, 8, 2, 3)])
    assert deltas.shape == (3, 2 * (24 + 6), 4)
    assert scores.shape == (3, 2 * (24 + 6), logits)
    assert head.scores(scores).shape == (3, 2 * (24 + 6), 5)


@EVERY_ACTIVATION
@pytest.mark.parametrize("hidden", [0, 2])
def test_an_untrained_head_expects_next_to_nothing_anywhere(activation, logits, hidden):
    head = make_head(activation, hidden=hidden)
    scores = head.scores(head([torch.rand(3, 8, 16, 16)])[1])
    expected = PRIOR / 5 if activation == "softmax" else PRIOR
    assert scores.mean().item() == pytest.approx(expected, rel=0.3)
    assert scores.max() < 2 * expected
    assert logits == len(head.classes[-1].bias) // 2


def test_softmax_scores_leave_the_rest_to_the_background():
    logits = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    softmax, sigmoid = make_head("softmax"), make_head("sigmoid")
    torch.testing.assert_close(softmax.scores(logits), logits.softmax(-1)[..., 1:])
    torch.testing.assert_close(sigmoid.scores(logits[..., 1:]), logits[..., 1:].sigmoid())


def test_outputs_stand_in_the_order_of_the_anchors():
    """The maps hold the centres of their cells, which the last layers pass on beside the number of the shape."""
    sizes_hw, strides = [(4, 6), (2, 3)], (8, 16)
    anchors = Anchors(PRESETS["psee"], strides)
    head = make_head("softmax", hidden=0, per_cell=anchors.per_cell)
    for last, numbers in ((head.boxes[-1], 4), (head.classes[-1], 6)):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        last.weight.data[0::numbers, 0, 1, 1] = last.weight.data[1::numbers, 1, 1, 1] = 1
        last.bias.data[2::numbers] = torch.arange(anchors.per_cell).float()
    maps = []
    for (height, width), stride in zip(sizes_hw, strides, strict=True):
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        maps.append(torch.stack([x * stride, y * stride, *[0 * x] * 6])[None])
    deltas, logits = head(maps)
    wanted = torch.cat([anchors(sizes_hw)[:, :2], torch.arange(6).repeat(24 + 6)[:, None]], dim=1)
    assert torch.equal(deltas[0, :, :3], wanted)
    assert torch.equal(logits[0, :, :3], wanted)


def test_an_unknown_activation_is_refused():
    with pytest.raises(InputError, match="activation must be one of sigmoid, softmax; got 'relu'"):
        BoxHead(8, 2, 5, hidden=0, activation="relu")
