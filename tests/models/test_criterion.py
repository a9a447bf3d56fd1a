from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_convert

from seqdet.checks import InputError
from seqdet.config import VanillaConfig
from seqdet.models.single_shot import BOX_LOSSES, CLASS_LOSSES, PRESETS, Anchors, Criterion, Outputs
from seqdet.models.zoo import build_detector
from seqdet.ops.boxes import encode_boxes
from seqdet.ops.losses import match_anchors, pad_targets, smooth_l1, softmax_focal
from seqdet.structures import Boxes, Clip

CLASSES = 3
VARIANCES = (0.1, 0.2)
ANCHORS = Anchors(PRESETS["psee"], (8, 16, 32, 64, 128))([(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)])
TRUTH = [
    Boxes(torch.tensor([[10.0, 20, 50, 70], [60, 60, 90, 120]]), torch.tensor([2, 0])),
    Boxes.empty(),
    Boxes(torch.tensor([[0.0, 0, 128, 128]]), torch.tensor([1])),
]
EVERY_LOSS = pytest.mark.parametrize("losses", [(c, b) for c in CLASS_LOSSES for b in BOX_LOSSES], ids=" ".join)


def make_criterion(activation: str = "softmax", box_loss: str = "giou", *, box_weight: float = 2.0) -> Criterion:
    return Criterion(
        activation=activation,
        box_loss=box_loss,
        box_weight=box_weight,
        foreground=0.5,
        background=0.4,
        variances=VARIANCES,
    )


def make_outputs(frames: int, activation: str = "softmax") -> Outputs:
    generator = torch.Generator().manual_seed(0)
    deltas = torch.randn(frames, len(ANCHORS), 4, generator=generator).requires_grad_()
    logits = torch.randn(frames, len(ANCHORS), CLASSES + (activation == "softmax"), generator=generator)
    return Outputs(deltas, logits.requires_grad_(), ANCHORS, (128, 128))


def match(truth: list[Boxes]) -> torch.Tensor:
    corners = box_convert(ANCHORS, "cxcywh", "xyxy")
    return match_anchors(corners, pad_targets(truth, "cpu"), foreground=0.5, background=0.4)


def test_the_loss_is_the_sum_over_the_anchors_that_count_by_the_number_of_positives():
    outputs, matched = make_outputs(3), match(TRUTH)
    classes = boxes = 0.0
    for frame, truth in enumerate(TRUTH):
        for anchor, box in enumerate(matched[frame].tolist()):
            label = truth.labels[box : box + 1] if box >= 0 else torch.tensor([-1])
            if box != -2:
                classes += softmax_focal(outputs.logits[frame, anchor][None], label).item()
            if box >= 0:
                wanted = encode_boxes(truth.xyxy[box], ANCHORS[anchor], variances=VARIANCES)
                boxes += smooth_l1(outputs.deltas[frame, anchor][None], wanted[None]).item()
    positives = int((matched >= 0).sum())
    assert positives > 3
    assert (matched == -2).any()
    losses = make_criterion("softmax", "smooth_l1", box_weight=3.0)(outputs, TRUTH)
    assert losses["classes"].item() == pytest.approx(classes / positives, rel=1e-4)
    assert losses["boxes"].item() == pytest.approx(3 * boxes / positives, rel=1e-4)


@EVERY_LOSS
def test_a_perfect_prediction_costs_next_to_nothing(losses):
    activation, box_loss = losses
    outputs, matched = make_outputs(3, activation), match(TRUTH)
    offset = 1 if activation == "softmax" else 0
    with torch.no_grad():
        outputs.logits.fill_(-20)
        outputs.logits[..., 0] = 20 * (2 * offset - 1)
        for frame, anchor in (matched >= 0).nonzero().tolist():
            truth = TRUTH[frame][matched[frame, anchor] : matched[frame, anchor] + 1]
            outputs.deltas[frame, anchor] = encode_boxes(truth.xyxy[0], ANCHORS[anchor], variances=VARIANCES)
            outputs.logits[frame, anchor] = -20
            outputs.logits[frame, anchor, int(truth.labels) + offset] = 20
    perfect = make_criterion(activation, box_loss)(outputs, TRUTH)
    assert perfect["classes"].item() == pytest.approx(0, abs=1e-5)
    assert perfect["boxes"].item() == pytest.approx(0, abs=1e-4)
    wrong = make_criterion(activation, box_loss)(make_outputs(3, activation), TRUTH)
    assert min(loss.item() for loss in wrong.values()) > 0.1


@EVERY_LOSS
@pytest.mark.parametrize("truth", [[], [Boxes.empty()], [Boxes.empty()] * 3], ids=len)
def test_frames_without_objects_have_a_finite_loss_and_no_box_loss(losses, truth):
    activation, box_loss = losses
    outputs = make_outputs(len(truth), activation)
    answer = make_criterion(activation, box_loss)(outputs, truth)
    assert answer["boxes"].item() == 0
    assert answer["classes"].isfinite()
    assert (answer["classes"] > 0) == bool(truth)
    sum(answer.values()).backward()
    assert (outputs.deltas.grad == 0).all()
    assert outputs.logits.grad.isfinite().all()


@EVERY_LOSS
def test_what_is_predicted_around_an_ignored_box_changes_nothing(losses):
    activation, box_loss = losses
    truth = Boxes(TRUTH[0].xyxy, TRUTH[0].labels, is_ignored=torch.tensor([False, True]))
    outputs = make_outputs(1, activation)
    answer = make_criterion(activation, box_loss)(outputs, [truth])
    sum(answer.values()).backward()
    around = match([TRUTH[0]])[0] == 1
    assert around.sum() > 1
    assert (outputs.logits.grad[0, around] == 0).all()
    assert (outputs.deltas.grad[0, around] == 0).all()
    elsewhere = match([TRUTH[0]])[0] == 0
    assert (outputs.logits.grad[0, elsewhere] != 0).any(dim=1).all()


@EVERY_LOSS
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_gradient_reaches_every_parameter(losses, cell):
    activation, box_loss = losses
    config = VanillaConfig(
        in_channels=3, base=2, channels=8, cell=cell, classes=("a", "b", "c"), activation=activation, box_loss=box_loss
    )
    detector = build_detector(config)
    clip = Clip(
        frames=torch.rand(3, 1, 3, 128, 128, generator=torch.Generator().manual_seed(0)),
        is_first=torch.ones(1, dtype=torch.bool),
        is_blank=torch.zeros(1, dtype=torch.bool),
        is_labelled=torch.ones(3, 1, dtype=torch.bool),
        boxes=TRUTH,
        recordings=torch.zeros(1, dtype=torch.int64),
        end_us=torch.zeros(3, 1, dtype=torch.int64),
    )
    losses, _ = detector.loss(clip)
    sum(losses.values()).backward()
    assert [name for name, p in detector.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(p.grad.isfinite().all() for p in detector.parameters())


def test_unknown_losses_are_refused():
    with pytest.raises(InputError, match="activation must be one of sigmoid, softmax; got 'relu'"):
        make_criterion("relu")
    with pytest.raises(InputError, match="box_loss must be one of giou, smooth_l1; got 'l2'"):
        make_criterion(box_loss="l2")


@EVERY_LOSS
@pytest.mark.parametrize("label", [-1, CLASSES])
def test_a_label_of_no_class_is_refused(losses, label):
    activation, box_loss = losses
    truth = Boxes(TRUTH[0].xyxy, torch.tensor([0, label]))
    with pytest.raises(InputError, match=f"^labels must be 0 to 2, as there are 3 classes, got {label}.$"):
        make_criterion(activation, box_loss)(make_outputs(2, activation), [Boxes.empty(), truth])


def test_the_truth_of_another_number_of_frames_is_refused():
    with pytest.raises(InputError, match=r"^frames and outputs must have equal lengths, got 2 and 3\.$"):
        make_criterion()(make_outputs(3), TRUTH[:2])


@EVERY_LOSS
def test_a_box_that_overlaps_no_anchor_costs_nothing(losses):
    activation, box_loss = losses
    outputs = make_outputs(1, activation)
    nowhere = Boxes(torch.tensor([[40.0, 40, 40, 60], [9000, 9000, 9010, 9010]]), torch.tensor([0, 1]))
    criterion = make_criterion(activation, box_loss)
    assert criterion(outputs, [nowhere]) == criterion(outputs, [Boxes.empty()])
