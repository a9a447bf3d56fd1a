"""ResNet-vd against torchvision's blocks, and what any backbone keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from seqdet.checks import InputError
from seqdet.models.resnet_vd import ResidualBlock, ResNetVd


@torch.no_grad()
@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_is_torchvisions_with_a_mean_before_the_shortcut(kind, stride):
    torch.manual_seed(0)
    after = 6 * kind.expansion
    shortcut = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(5, after, 1, bias=False), nn.BatchNorm2d(after))
    theirs = kind(5, 6, stride, shortcut).eval()
    ours = ResidualBlock(5, 6, after, stride=stride, keeps_shape=False).eval()
    for norm in (each for each in theirs.modules() if isinstance(each, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.normal_()
    values = list(theirs.state_dict().values())
    assert [x.shape for x in values] == [x.shape for x in ours.state_dict().values()]
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    x = torch.randn(2, 5, 8, 12)
    torch.testing.assert_close(ours(x), theirs(x))


@torch.no_grad()
@pytest.mark.parametrize(("depth", "channels"), [(18, (8, 16, 32)), (50, (32, 64, 128))])
def test_maps_are_what_the_attributes_say_and_a_frame_is_alone(depth, channels):
    backbone = ResNetVd(3, depth=depth, base=4).eval()
    frames = torch.randn(2, 2, 3, 64, 96)
    maps, state = backbone(frames)
    assert state == ()
    assert backbone.channels == channels
    sizes = [(4, width, 64 // stride, 96 // stride) for width, stride in zip(channels, backbone.strides, strict=True)]
    assert [x.shape for x in maps] == sizes
    alone, _ = backbone(frames[1:, :1])
    for one, all_of_them in zip(alone, maps, strict=True):
        torch.testing.assert_close(one, all_of_them[2:3])


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="depth must be one of 18, 50, got 34"):
        ResNetVd(3, depth=34)
    with pytest.raises(InputError, match="base must be even, got 5"):
        ResNetVd(3, base=5)
    backbone = ResNetVd(3, base=2)
    with pytest.raises(InputError, match="frames must have sides that are multiples of 32, got 40x32"):
        backbone(torch.zeros(1, 1, 3, 32, 40))
    with pytest.raises(
        InputError, match="state must be what the last call returned; its backbone has no memory, and got 1 tensors"
    ):
        backbone(torch.zeros(1, 1, 3, 32, 32), (torch.zeros(1),))
