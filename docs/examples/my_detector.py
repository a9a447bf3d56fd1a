"""A backbone of two strided convolutions whose maps fade in slowly, under a head of seqdet's."""

import torch
from torch import nn

from seqdet import Detector, VanillaConfig
from seqdet.models.single_shot import single_shot_head


class Fading(nn.Module):
    """Frames (T, B, C, H, W) to one map of a cell for every 8 pixels, half of it new and half what was there."""

    strides = (8,)  # of every map, finest first
    multiple = 8  # of the sides of a frame; seqdet pads them
    scaled = True  # uint8 frames come as 0 to 1
    exact = 1  # convolutions that stay float32 in exported files of eight bits

    def __init__(self, in_channels, width):
        super().__init__()
        self.channels = (width,)  # of every map
        self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 4, stride=4), nn.ReLU())
        self.convolution = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, frames, state=None):
        maps = self.convolution(self.stem(frames.flatten(0, 1))).unflatten(0, frames.shape[:2])
        (memory,) = state or (torch.zeros_like(maps[0]),)  # None: every lane starts
        seen = []
        for x in maps:
            memory = (memory + x) / 2
            seen.append(memory)
        return [torch.cat(seen)], (memory,)  # maps in (t, b) order, and a state whose first axis is the lane


def fading(classes, in_channels, width=32):
    """What seqdet calls, with the classes and channels of the data and what stands under model.parameters."""
    backbone = Fading(in_channels, width)
    head = single_shot_head(VanillaConfig(classes=classes, anchors="digits"), width, backbone.strides)
    return Detector(backbone, head, classes=classes, in_channels=in_channels)
