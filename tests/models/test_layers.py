from __future__ import annotations

import pytest
import torch
from torch import nn

from seqdet.models.layers import ConvNormAct, SqueezeExcite, SqueezeExciteBlock, over_time


def test_over_time_is_a_loop_over_the_frames():
    torch.manual_seed(0)
    layer, x = nn.Conv2d(2, 3, 3, stride=2), torch.randn(4, 2, 2, 9, 7)
    torch.testing.assert_close(over_time(layer, x), torch.stack([layer(frames) for frames in x]))


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_divides_the_sides_by_its_stride(kernel_size, stride):
    layer = ConvNormAct(3, 5, kernel_size, stride=stride)
    assert layer(torch.zeros(2, 3, 8, 12)).shape == (2, 5, 8 // stride, 12 // stride)


def test_only_the_activation_removes_negative_values():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    assert ConvNormAct(3, 5)(x).min() == 0
    assert ConvNormAct(3, 5, act=False)(x).min() < 0


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_a_gate_weighs_every_channel_by_one_number_between_0_and_1(channels):
    torch.manual_seed(0)
    x = 1 + torch.rand(2, channels, 4, 5)
    weights = SqueezeExcite(channels)(x) / x
    assert weights.min() > 0
    assert weights.max() < 1
    torch.testing.assert_close(weights, weights[:, :, :1, :1].expand_as(weights))


@pytest.mark.parametrize(("in_channels", "channels", "stride"), [(4, 4, 1), (4, 8, 1), (4, 4, 2), (4, 6, 2)])
def test_a_block_has_its_shape_and_passes_its_input_on(in_channels, channels, stride):
    torch.manual_seed(0)
    block, x = SqueezeExciteBlock(in_channels, channels, stride=stride).eval(), torch.randn(2, in_channels, 8, 12)
    before = x.clone()
    y = block(x)
    assert y.shape == (2, channels, 8 // stride, 12 // stride)
    assert torch.equal(x, before)
    nn.init.zeros_(block.residual[1][0].weight)
    torch.testing.assert_close(block(x), block.shortcut(x[..., ::stride, ::stride]))
    assert not torch.allclose(y, block.shortcut(x[..., ::stride, ::stride]))
