"""The losses of large frames with many boxes take little memory, whatever the head."""

from __future__ import annotations

import subprocess
import sys

import pytest

MEASURE = """
import re, sys
from pathlib import Path
import torch
from seqdet.config import VanillaConfig
from seqdet.models.rtdetr import RtDetrHead
from seqdet.models.single_shot import single_shot_head
from seqdet.models.task_aligned import TaskAlignedHead
from seqdet.models.yolox import YoloxHead
from seqdet.structures import Boxes

def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

frames, count = 8, 100
torch.manual_seed(0)
if sys.argv[1] == "single_shot":
    strides = (8, 16, 32, 64, 128)
    head = single_shot_head(VanillaConfig(classes=("a", "b"), anchors="psee"), 8, strides)
elif sys.argv[1] == "task_aligned":
    strides = (8, 16, 32)
    head = TaskAlignedHead(8, strides, 2, hidden=0, box_weight=1)
elif sys.argv[1] == "yolox":
    strides = (8, 16, 32)
    head = YoloxHead((8, 8, 8), strides, width=8, classes=2)
else:
    strides = (8, 16, 32)
    head = RtDetrHead((8, 8, 8), strides, classes=2, channels=16, heads=2, feed_forward=16, layers=2)
maps = [torch.randn(frames, 8, 768 // stride, 1280 // stride) for stride in strides]
if sys.argv[1] == "rtdetr":
    outputs = head(maps, (720, 1280))
else:
    with torch.no_grad():
        outputs = head(maps, (720, 1280))
    outputs = outputs._replace(**{name: getattr(outputs, name).requires_grad_() for name in head.outputs})
centre = torch.rand(frames, count, 2) * torch.tensor([1280, 720])
half = 1 + 100 * torch.rand(frames, count, 2)
truth = [Boxes(torch.cat([c - h, c + h], 1), torch.randint(0, 2, (count,))) for c, h in zip(centre, half)]
head.loss(outputs, truth[:1] + [Boxes.empty()] * 7)  # libraries take what they need once
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = status("VmRSS")
sum(head.loss(outputs, truth).values()).backward()
print((status("VmHWM") - before) / 1e6)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux says the peak of a process")
@pytest.mark.parametrize(
    ("head", "megabytes"), [("single_shot", 300), ("yolox", 100), ("task_aligned", 300), ("rtdetr", 300)]
)
def test_the_loss_of_large_frames_with_many_boxes_takes_little_memory(head, megabytes):
    done = subprocess.run([sys.executable, "-c", MEASURE, head], capture_output=True, text=True, check=True)
    assert float(done.stdout) < megabytes
