from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from seqdet.ops.losses import ALPHA, GAMMA, giou, sigmoid_focal, smooth_l1, softmax_focal

LABELS = torch.tensor([-1, 0, 2, 1, -1])
FOCAL = pytest.mark.parametrize(("focal", "logits"), [(softmax_focal, 4), (sigmoid_focal, 3)])


def test_softmax_focal_is_cross_entropy_weighted_by_what_is_missing():
    torch.manual_seed(0)
    logits = 3 * torch.randn(5, 4)
    for loss, row, label in zip(softmax_focal(logits, LABELS), logits.tolist(), LABELS.tolist(), strict=True):
        probability = math.exp(row[label + 1]) / sum(map(math.exp, row))
        weight = (0.25 if label >= 0 else 0.75) * (1 - probability) ** 2
        assert float(loss) == pytest.approx(-weight * math.log(probability), rel=1e-4)


def test_sigmoid_focal_is_that_of_torchvision():
    torch.manual_seed(0)
    logits = 3 * torch.randn(5, 3)
    wanted = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])
    losses = sigmoid_focal_loss(logits, wanted, alpha=ALPHA, gamma=GAMMA).sum(dim=1)
    torch.testing.assert_close(sigmoid_focal(logits, LABELS), losses)


@FOCAL
def test_a_sure_and_right_answer_costs_nothing_and_a_sure_and_wrong_one_costs_its_logit(focal, logits):
    rows = torch.full((2, logits), -50.0)
    rows[0, -1] = rows[1, 0] = 50.0  # both say so; the second one is wrong
    right, wrong = focal(rows, torch.tensor([2, 2])).tolist()
    assert right == pytest.approx(0, abs=1e-6)
    assert wrong >= ALPHA * 50


@FOCAL
@pytest.mark.parametrize("size", [0.0, 80.0, 1e4, 1e30])
def test_extreme_logits_have_finite_losses_and_gradients(focal, logits, size):
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 0, 1])] * logits)
    for label in (-1, 0, 2):
        x = (size * signs).requires_grad_()
        losses = focal(x, torch.full((len(x),), label))
        assert losses.isfinite().all()
        assert (losses >= 0).all()
        losses.sum().backward()
        assert x.grad.isfinite().all()


@FOCAL
def test_no_anchors_cost_nothing(focal, logits):
    x = torch.zeros(0, logits, requires_grad=True)
    loss = focal(x, torch.zeros(0, dtype=torch.int64)).sum()
    assert loss.item() == 0
    loss.backward()


def test_smooth_l1_is_square_near_zero_and_straight_beyond():
    deltas = torch.tensor([[0.0, 0, 0, 0], [0.1, 0, 0, -0.1], [1, 0, -2, 0]])
    losses = smooth_l1(deltas, torch.zeros(3, 4), beta=0.5).tolist()
    assert losses == pytest.approx([0, 2 * 0.01, (1 - 0.25) + (2 - 0.25)])
    assert smooth_l1(deltas[1:2], torch.zeros(1, 4)).tolist() == pytest.approx([2 * 0.5 * 0.01 * 9])


def test_giou_counts_the_empty_part_of_the_hull():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1]])
    wanted = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 3, 1]])
    assert giou(boxes, wanted).tolist() == pytest.approx([0, 1 - 2 / 6, 1 + 1 / 3], abs=1e-6)
