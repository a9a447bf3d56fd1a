"""Attention against torch's own, and deformable attention against sums written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from seqdet.checks import InputError
from seqdet.models.attention import Attention, DeformableAttention


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_torchs(masked):
    torch.manual_seed(0)
    ours = Attention(12, 3)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True)
    parts = (ours.query, ours.key, ours.value)
    for part in (*parts, ours.out):
        part.bias.normal_()
    theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    queries, keys, values = torch.randn(2, 5, 12), torch.randn(2, 7, 12), torch.randn(2, 7, 12)
    mask = torch.rand(2, 5, 7) < 0.5 if masked else None
    if mask is not None:
        mask[..., 0] = True
    hidden = None if mask is None else ~mask.repeat_interleave(3, dim=0)
    wanted, _ = theirs(queries, keys, values, attn_mask=hidden)
    torch.testing.assert_close(ours(queries, keys, values, mask), wanted)


def at(values: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """Bilinear value (channels,) of a map (channels, h, w) at a share of it, zero beyond its cells."""
    _, height, width = values.shape
    column = x * width - 0.5
    row = y * height - 0.5
    found = torch.zeros(len(values))
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < height and 0 <= j < width:
                found += (1 - abs(row - i)) * (1 - abs(column - j)) * values[:, i, j]
    return found


@torch.no_grad()
def test_deformable_attention_is_the_weighted_sum_of_what_lies_at_its_points():
    torch.manual_seed(0)
    heads, points, sizes = 2, 3, [(4, 6), (2, 3)]
    layer = DeformableAttention(8, heads, levels=2, points=points)
    for parameter in layer.parameters():
        parameter.normal_()
    queries = torch.randn(2, 3, 8)
    boxes = torch.rand(2, 3, 4) * 0.8 + 0.1
    memory = torch.randn(2, 4 * 6 + 2 * 3, 8)
    found = layer(queries, boxes, layer.looked_at(memory, sizes))
    values = layer.value(memory)
    for n in range(2):
        maps = [
            part.T.reshape(8, height, width)
            for part, (height, width) in zip(values[n].split([24, 6]), sizes, strict=True)
        ]
        for q in range(3):
            offsets = layer.offsets(queries[n, q]).view(heads, 2, points, 2)
            weights = layer.weights(queries[n, q]).view(heads, -1).softmax(-1).view(heads, 2, points)
            x, y, width, height = boxes[n, q].tolist()
            seen = torch.zeros(heads, 4)
            for head in range(heads):
                for level in range(2):
                    for point in range(points):
                        dx, dy = offsets[head, level, point].tolist()
                        place = (x + dx / points * width / 2, y + dy / points * height / 2)
                        seen[head] += weights[head, level, point] * at(maps[level][4 * head : 4 * head + 4], *place)
            torch.testing.assert_close(found[n, q], layer.out(seen.flatten()), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_untrained_points_go_out_on_one_ray_a_head():
    layer = DeformableAttention(8, 8, levels=2, points=4)
    offsets = layer.offsets(torch.randn(8)).view(8, 2, 4, 2)
    torch.testing.assert_close(offsets[:, 0], offsets[:, 1])
    torch.testing.assert_close(offsets.abs().amax(dim=-1), torch.arange(1.0, 5).expand(8, 2, 4))
    assert offsets[:, 0, 0].sum(dim=0).abs().max() < 1e-5


@pytest.mark.parametrize("kind", [lambda: Attention(8, 3), lambda: DeformableAttention(8, 3, levels=1, points=1)])
def test_heads_divide_the_channels(kind):
    with pytest.raises(InputError, match="heads must divide the channels, got 3 and 8"):
        kind()
