"""Detectors of torchvision as parts of ours, held against torchvision's own forward pass."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.ssd import SSD
from torchvision.ops import boxes as box_ops

from seqdet import with_memory
from seqdet.checks import InputError
from seqdet.models.torchvision_parts import DepthwiseConv2d, torchvision_parts
from seqdet.structures import Boxes

CLASSES = ("a", "b", "c")
SIDE = 64
KINDS = pytest.mark.parametrize("kind", ["ssd", "retinanet", "fcos"])
LOSSES = {"classification": "classes", "bbox_regression": "boxes", "bbox_ctrness": "centres"}


class Pyramid(nn.Module):
    """Maps at strides 8, 16 and 32."""

    out_channels = 32

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(in_channels, 32, 8, stride=8, bias=False), nn.BatchNorm2d(32))
        self.next = nn.ModuleList(nn.Conv2d(32, 32, 3, stride=2, padding=1) for _ in range(2))

    def forward(self, x):
        maps = [self.first(x)]
        for layer in self.next:
            maps.append(layer(maps[-1].relu()))
        return OrderedDict((str(n), x) for n, x in enumerate(maps))


def small(kind: str, *, classes: int = len(CLASSES), side: int = SIDE) -> nn.Module:
    torch.manual_seed(0)
    sizes = ((12, 16), (24, 32), (48, 60))
    if kind == "ssd":
        backbone = Pyramid()
        backbone.out_channels = [32] * 3
        return SSD(backbone, DefaultBoxGenerator([[2], [2, 3], [2]]), (side, side), classes + 1)
    if kind == "retinanet":
        anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3)
        return RetinaNet(Pyramid(), classes, anchor_generator=anchors, min_size=side, max_size=2 * side)
    anchors = AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3)
    return FCOS(Pyramid(), classes, anchor_generator=anchors, min_size=side, max_size=2 * side)


def frames_and_truth(side: int = SIDE, channels: int = 3) -> tuple[torch.Tensor, list[Boxes]]:
    """Of one step on three lanes: several boxes, one, none."""
    generator = torch.Generator().manual_seed(1)
    frames = torch.rand(1, 3, channels, side, side, generator=generator)
    several = Boxes(torch.tensor([[4.0, 5, 30, 40], [20, 10, 60, 60], [1, 1, 9, 12]]), torch.tensor([0, 2, 1]))
    return frames, [several, Boxes(torch.tensor([[10.0, 12, 34, 50]]), torch.tensor([1])), Boxes.empty()]


def raw_of_torchvision(detector: nn.Module, frames: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What its head says, and its anchors, on the way of its own forward pass."""
    images, _ = detector.transform(list(frames[0]))
    features = list(detector.backbone(images.tensors).values())
    return detector.head(features), detector.anchor_generator(images, features)[0]


def adapted(detector: nn.Module, classes: int = len(CLASSES)) -> nn.Module:
    """Without an effect of the memory, as it starts out."""
    return with_memory(detector, classes=CLASSES[:classes], channels=4)


@KINDS
@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_anchors_are_those_of_torchvision(kind, training):
    theirs = small(kind).train(training)
    mine = adapted(copy.deepcopy(theirs))
    frames, _ = frames_and_truth()
    said, anchors = raw_of_torchvision(theirs, frames)
    outputs, state = mine(frames)
    torch.testing.assert_close(outputs.deltas, said["bbox_regression"])
    torch.testing.assert_close(outputs.logits, said["cls_logits"])
    torch.testing.assert_close(outputs.anchors, anchors)
    assert len(state) == 6
    if kind == "fcos":
        torch.testing.assert_close(outputs.centres, said["bbox_ctrness"])


@KINDS
@pytest.mark.parametrize("background", [False, True])
def test_losses_and_gradients_are_those_of_torchvision(kind, background):
    if kind == "ssd" and not background:
        return  # which always has one
    in_front = int(background)
    theirs = small(kind, classes=len(CLASSES) + (in_front if kind != "ssd" else 0)).train()
    mine = adapted(copy.deepcopy(theirs))
    frames, truth = frames_and_truth()
    targets = [{"boxes": each.xyxy, "labels": each.labels + in_front} for each in truth]
    wanted = theirs(list(frames[0]), targets)
    outputs, _ = mine(frames)
    found = mine.head.loss(outputs, truth)
    assert set(found) == {LOSSES[name] for name in wanted}
    for name, loss in wanted.items():
        torch.testing.assert_close(found[LOSSES[name]], loss)
    sum(found.values()).backward()
    sum(wanted.values()).backward()
    gradients = {name: each.grad for name, each in theirs.backbone.named_parameters()}
    for name, each in mine.backbone.backbone.named_parameters():
        torch.testing.assert_close(each.grad, gradients[name])


@KINDS
def test_detections_are_those_of_torchvision(kind):
    theirs = small(kind).eval()
    for name, parameter in theirs.head.classification_head.named_parameters():  # opinions
        parameter.data.mul_(0 if name.endswith("bias") else 2)
    mine = adapted(theirs)
    frames, _ = frames_and_truth()
    with torch.no_grad():
        outputs, _ = mine(frames)
        ranked = mine.head.scores(outputs).flatten().sort(descending=True).values
        score = float(ranked[200:202].mean())
        theirs.score_thresh = score
        theirs.topk_candidates = 10_000
        wanted = theirs(list(frames[0]))
    found = mine.decode(outputs, score=score, iou=theirs.nms_thresh, vote=2.0, candidates=10_000, most=10_000)
    assert sum(map(len, found)) > 10
    for one, other in zip(found, wanted, strict=True):
        has_area = (other["boxes"][:, 2:] > other["boxes"][:, :2]).all(dim=1)  # which ours leaves out
        corners, labels, scores = (other[name][has_area] for name in ("boxes", "labels", "scores"))
        torch.testing.assert_close(one.scores, scores)
        near = (one.xyxy[:, None] - corners).abs().amax(dim=-1) < 1e-3  # equal scores are in any order
        near &= one.labels[:, None] == labels - mine.head.in_front
        assert near.any(dim=0).all()
        assert near.any(dim=1).all()


@KINDS
def test_what_lies_in_an_ignored_box_costs_nothing(kind):
    theirs = small(kind).train()
    mine = adapted(theirs)
    frames, _ = frames_and_truth()
    outputs, _ = mine(frames[:, :1])
    anchor = outputs.anchors[len(outputs.anchors) // 2][None].clamp(0, SIDE)
    far = torch.tensor([[0.0, 0, 8, 8]]) if (anchor[0, :2] > 20).all() else torch.tensor([[50.0, 50, 60, 62]])
    boxes = Boxes(torch.cat([far, anchor]), torch.tensor([0, 1]), is_ignored=torch.tensor([False, True]))
    deltas, logits = (each.detach().requires_grad_() for each in (outputs.deltas, outputs.logits))
    losses = mine.head.loss(outputs._replace(deltas=deltas, logits=logits), [boxes])
    (gradient,) = torch.autograd.grad(losses["classes"], logits)
    moved = gradient[0].abs().amax(dim=-1) > 1e-12
    centre = (outputs.anchors[:, :2] + outputs.anchors[:, 2:]) / 2
    if kind == "fcos":
        is_ignored = ((centre > anchor[:, :2]) & (centre < anchor[:, 2:])).all(dim=-1)
    else:
        is_ignored = box_ops.box_iou(outputs.anchors, anchor)[:, 0] >= 0.5
    assert is_ignored.any()
    assert not moved[is_ignored].any()
    assert moved.any()
    alone = mine.head.loss(outputs._replace(deltas=deltas, logits=logits), [boxes[:1]])
    assert (torch.autograd.grad(alone["classes"], logits)[0][0].abs().amax(dim=-1) > 1e-12)[is_ignored].any() or (
        kind == "ssd"  # whose negatives are few
    )


@KINDS
def test_nothing_to_learn_is_a_loss_of_zero_with_a_gradient(kind):
    mine = adapted(small(kind)).train()
    frames, _ = frames_and_truth()
    outputs, _ = mine(frames, keep=torch.zeros(1, 3, dtype=torch.bool))
    losses = mine.head.loss(outputs, [])
    assert all(loss == 0 and loss.requires_grad for loss in losses.values())
    flat = Boxes(torch.tensor([[5.0, 5, 5, 20]]), torch.tensor([1]))
    outputs, _ = mine(frames)
    losses = mine.head.loss(outputs, [flat, Boxes.empty(), Boxes.empty()])
    assert losses["boxes"] == 0
    assert losses["classes"].isfinite()


@KINDS
def test_hundreds_of_boxes_and_boxes_of_one_pixel_give_finite_losses(kind):
    mine = adapted(small(kind)).train()
    frames, _ = frames_and_truth()
    corner = torch.rand(400, 2, generator=torch.Generator().manual_seed(0)) * 60
    many = Boxes(torch.cat([corner, corner + 1], dim=1), torch.arange(400) % 3)
    outputs, _ = mine(frames)
    losses = mine.head.loss(outputs, [many, many[:1], Boxes.empty()])
    assert all(loss.isfinite() for loss in losses.values())


@KINDS
def test_frames_that_are_no_multiple_are_padded_as_torchvision_pads(kind):
    if kind == "ssd":
        return  # which pads nothing, but resizes
    torch.manual_seed(0)
    theirs = small(kind).eval()
    mine = adapted(theirs)
    frames = torch.zeros(1, 1, 3, 64, 80)
    mean = torch.tensor(theirs.transform.image_mean)[:, None, None]
    frames[:] = mean  # zeros once they are normalised, as is what torchvision pads with
    frames[..., :40] = torch.rand(3, 64, 40)
    padded = torch.cat([frames, mean.expand(1, 1, 3, 64, 16)], dim=-1)
    said, anchors = raw_of_torchvision(theirs, frames)
    outputs, _ = mine(padded)
    torch.testing.assert_close(outputs.logits, said["cls_logits"])
    torch.testing.assert_close(mine(frames)[0].anchors, anchors)


def test_the_detectors_as_they_come_are_the_same(monkeypatch):
    torch.manual_seed(0)
    theirs = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4).eval()
    mine = with_memory(theirs, classes=CLASSES, levels=(0, 1), channels=8)
    frames, _ = frames_and_truth(side=320)
    with torch.no_grad():
        said, anchors = raw_of_torchvision(theirs, frames[:, :1])
        outputs, state = mine(frames[:, :1])
    torch.testing.assert_close(outputs.logits, said["cls_logits"])
    torch.testing.assert_close(outputs.deltas, said["bbox_regression"])
    torch.testing.assert_close(outputs.anchors, anchors)
    assert mine.backbone.strides == (16, 32, 64, 128, 256, 512)
    assert [tuple(each.shape) for each in state] == [(1, 8, 20, 20)] * 2 + [(1, 8, 10, 10)] * 2


@pytest.mark.parametrize(
    ("name", "strides"),
    [("retinanet_resnet50_fpn", (8, 16, 32, 64, 128)), ("ssd300_vgg16", (8, 16, 32, 64, 100, 300))],
)
def test_strides_are_found(name, strides):
    with torch.device("meta"):
        theirs = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=4)
        backbone, head = torchvision_parts(theirs, 3 + (name != "ssd300_vgg16"), None)
    assert backbone.strides == strides
    assert head.in_front == (name == "ssd300_vgg16")


def test_frames_that_are_too_small_are_refused():
    with torch.device("meta"):
        theirs = detection.ssd300_vgg16(weights=None, weights_backbone=None, num_classes=4)
        mine = with_memory(theirs, classes=CLASSES, channels=4).eval()
        with pytest.raises(InputError, match="frames must be larger than 128x128 pixels, of which the coarsest maps"):
            mine(torch.zeros(1, 1, 3, 128, 128))


def test_other_classes_channels_and_kinds_are_refused():
    with pytest.raises(InputError, match=r"classes must be those that frame_detector was built for.* is 4.*got 2"):
        with_memory(small("ssd"), classes=("a", "b"))
    with pytest.raises(InputError, match="in_channels must be 3, as frame_detector takes frames of so many, got 20"):
        with_memory(small("ssd"), classes=CLASSES, in_channels=20)
    with pytest.raises(InputError, match="classes must be given"):
        with_memory(small("ssd"))
    with pytest.raises(InputError, match=r"frame_detector must be a seqdet\.Detector or torchvision's.*got Conv2d"):
        with_memory(nn.Conv2d(1, 1, 1), classes=CLASSES)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("side", [1, 2, 5])
def test_a_filter_for_each_channel_computes_what_torchs_does_and_its_gradient_on_a_single_pixel(
    side, stride, dilation, memory_format
):
    layer = nn.Conv2d(64, 64, 3, stride=stride, padding=dilation, dilation=dilation, groups=64)
    ours = DepthwiseConv2d(layer)
    assert ours.weight is layer.weight
    maps = torch.randn(4, 64, side, side)
    wanted = torch.autograd.grad(layer(maps).square().sum(), layer.parameters())
    torch.testing.assert_close(ours(maps), layer(maps))
    torch.testing.assert_close(torch.autograd.grad(ours(maps).square().sum(), layer.parameters()), wanted)
    ours = ours.to(memory_format=memory_format)
    for _ in range(10):  # what was in memory before
        del [torch.full((64 * 9,), float("nan")) for _ in range(50)][:]
        with torch.autocast("cpu", torch.bfloat16):
            found = ours(maps.to(memory_format=memory_format))
        assert found.dtype == torch.bfloat16 or side == 1
        gradient = torch.autograd.grad(found.float().square().sum(), ours.parameters())
        torch.testing.assert_close(gradient, wanted, atol=0.2, rtol=0.05)
