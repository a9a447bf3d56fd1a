"""What the queries learn: which of them find which boxes, what is left alone, and denoising."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_convert, generalized_box_iou

from seqdet.checks import InputError
from seqdet.models.rtdetr import RtDetrHead, starting_boxes
from seqdet.models.rtdetr_losses import (
    DENOISING,
    as_pixels,
    as_shares,
    match_queries,
    noisy_queries,
    pairwise_giou,
    summed_losses,
)
from seqdet.ops.losses import pad_targets
from seqdet.structures import Boxes

PADDED_HW = 64, 96
SIZES = [(8, 12), (4, 6), (2, 3)]


def make_head(**settings) -> RtDetrHead:
    torch.manual_seed(0)
    usual = {"classes": 3, "channels": 8, "queries": 10, "layers": 2, "heads": 2, "feed_forward": 12}
    head = RtDetrHead((6, 6, 6), (8, 16, 32), **{**usual, **settings})
    with torch.no_grad():
        for layers in (head.cell_boxes, *head.boxes):
            layers[-1].weight.normal_(0, 0.3)
        for layer in (head.cell_classes, *head.classes):
            layer.bias.zero_()
    return head


def make_maps(frames: int = 2, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(frames, 6, *size, generator=generator) for size in SIZES]


def some_boxes(count: int, seed: int = 0, **columns) -> Boxes:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([60.0, 40.0])
    side = torch.rand(count, 2, generator=generator) * 20 + 2
    return Boxes(torch.cat([corner, corner + side], dim=1), torch.randint(3, (count,), generator=generator), **columns)


def pixels(xyxy: list[list[float]]) -> torch.Tensor:
    return as_shares(torch.tensor([xyxy]), PADDED_HW)


def test_pairwise_giou_is_torchvisions():
    first, second = some_boxes(7).xyxy, some_boxes(5, seed=1).xyxy
    torch.testing.assert_close(pairwise_giou(first[None], second[None])[0], generalized_box_iou(first, second))


def test_shares_and_pixels_are_inverse():
    xyxy = some_boxes(9).xyxy
    torch.testing.assert_close(as_pixels(as_shares(xyxy, PADDED_HW), PADDED_HW), xyxy)


def test_cells_start_from_boxes_around_their_centres_that_grow_from_map_to_map():
    starts, is_valid = starting_boxes(SIZES)
    boxes = starts.sigmoid()
    assert is_valid.all()
    torch.testing.assert_close(boxes[13], torch.tensor([1.5 / 12, 1.5 / 8, 0.05, 0.05]))
    torch.testing.assert_close(boxes[-1], torch.tensor([2.5 / 3, 1.5 / 2, 0.2, 0.2]))
    _, is_valid = starting_boxes([(100, 100)])
    assert not is_valid[0]
    assert is_valid.sum() == 98 * 98


@torch.no_grad()
def test_queries_and_boxes_are_paired_by_the_costs_of_the_paper():
    logits = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(0))
    boxes = torch.stack([as_shares(some_boxes(6, seed=n + 5).xyxy, PADDED_HW) for n in range(3)])
    truth = [some_boxes(4, seed=9), Boxes.empty(), some_boxes(6, seed=8)]
    targets = pad_targets(truth, "cpu")
    box = match_queries(logits, boxes, targets, PADDED_HW)
    assert (box[1] == -1).all()
    for n in (0, 2):
        wanted = as_shares(truth[n].xyxy, PADDED_HW)
        p = logits[n].sigmoid()[:, truth[n].labels].numpy().astype(float)
        focal = 0.25 * (1 - p) ** 2 * -np.log(p) - 0.75 * p**2 * -np.log(1 - p)
        cost = 2 * focal + 5 * torch.cdist(boxes[n], wanted, p=1).numpy()
        cost -= 2 * generalized_box_iou(as_pixels(boxes[n], PADDED_HW), truth[n].xyxy).numpy()
        pairs = [(query, int(box[n, query])) for query in range(6) if box[n, query] >= 0]
        assert sorted(number for _, number in pairs) == list(range(len(truth[n])))
        best = sum(cost[pair] for pair in pairs)
        rng = np.random.default_rng(0)
        others = (rng.permutation(6)[: len(truth[n])] for _ in range(300))
        assert all(cost[way, np.arange(len(way))].sum() >= best - 1e-5 for way in others)


@torch.no_grad()
def test_the_losses_are_those_of_the_paper():
    logits = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))
    boxes = pixels([[10, 10, 30, 30], [40, 20, 60, 50], [0, 0, 8, 8]])
    truth = Boxes(torch.tensor([[12.0, 10, 34, 28]]), torch.tensor([2]))
    targets = pad_targets([truth], "cpu")
    found = summed_losses(logits, boxes, torch.tensor([[0, -1, -1]]), torch.ones(1, 3).bool(), targets, PADDED_HW)
    intersection, union = 18 * 18, 20 * 20 + 22 * 18 - 18 * 18
    hull = 24 * 20
    iou = intersection / union
    giou = iou - (hull - union) / hull
    assert found["overlaps"].item() == pytest.approx(2 * (1 - giou), rel=1e-4)
    distance = 3 / 96 + 1 / 64 + 2 / 96 + 2 / 64
    assert found["boxes"].item() == pytest.approx(5 * distance, rel=1e-4)
    p = logits[0].sigmoid().numpy().astype(float)
    wanted = np.zeros((3, 3))
    wanted[0, 2] = iou
    weight = 0.75 * p**2
    weight[0, 2] = iou
    entropy = -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p))
    assert found["classes"].item() == pytest.approx((weight * entropy).sum(), rel=1e-4)


@torch.no_grad()
def test_a_query_within_an_ignored_box_is_no_error_of_its_class():
    logits = torch.zeros(1, 3, 3)
    boxes = pixels([[10, 10, 30, 30], [40, 20, 60, 50], [12, 12, 20, 20]])
    nothing = torch.full((1, 3), -1)
    exists = torch.ones(1, 3).bool()
    region = Boxes(torch.tensor([[8.0, 8, 32, 30]]), torch.tensor([1]), is_ignored=torch.tensor([True]))
    of_all = summed_losses(logits, boxes, nothing, exists, pad_targets([Boxes.empty()], "cpu"), PADDED_HW)["classes"]
    of_rest = summed_losses(logits, boxes, nothing, exists, pad_targets([region], "cpu"), PADDED_HW)["classes"]
    torch.testing.assert_close(of_rest, of_all * 7 / 9)
    box = match_queries(logits, boxes, pad_targets([region], "cpu"), PADDED_HW)
    assert (box == -1).all()


EVERY_TRUTH = {
    "nothing": Boxes.empty(),
    "one pixel": Boxes(torch.tensor([[5.0, 5, 6, 6]]), torch.tensor([1])),
    "no area": Boxes(torch.tensor([[5.0, 5, 5, 9]]), torch.tensor([1])),
    "more than queries": some_boxes(250),
    "beyond the frame": Boxes(torch.tensor([[-30.0, -5, 500, 300]]), torch.tensor([0])),
    "ignored only": some_boxes(4, is_ignored=torch.ones(4, dtype=torch.bool)),
    "the same twice": Boxes(torch.tensor([[5.0, 5, 30, 30]] * 2), torch.tensor([1, 1])),
}


@pytest.mark.parametrize("kind", EVERY_TRUTH)
def test_losses_and_gradients_are_finite_at_any_truth(kind):
    head = make_head()
    maps = [x.requires_grad_() for x in make_maps()]
    losses = head.loss(head(maps, (60, 90)), [EVERY_TRUTH[kind], Boxes.empty()])
    assert set(losses) == {"classes", "boxes", "overlaps", "auxiliary", "denoising"}
    assert all(loss.isfinite() and loss >= 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in (*maps, *head.parameters()))
    is_taught = kind not in ("nothing", "no area", "ignored only")
    assert (losses["boxes"] > 0) == is_taught
    assert (losses["denoising"] > 0) == is_taught


def test_of_no_frames_there_is_no_loss():
    head = make_head()
    losses = head.loss(head([x[:0] for x in make_maps()], (60, 90)), [])
    assert all(loss == 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert all(each.isfinite().all() for each in head.buffers())


def test_the_losses_of_frames_together_are_those_of_each_over_all_boxes():
    head = make_head().eval()
    truth = [some_boxes(3), some_boxes(5, seed=1)]
    maps = make_maps()
    together = head.loss(head(maps, (60, 90)), truth)
    alone = [head.loss(head([x[n : n + 1] for x in maps], (60, 90)), truth[n : n + 1]) for n in range(2)]
    for name in ("classes", "boxes", "overlaps", "auxiliary"):
        wanted = (3 * alone[0][name] + 5 * alone[1][name]) / 8
        torch.testing.assert_close(together[name], wanted, rtol=1e-4, atol=1e-6)


def test_queries_do_not_see_those_of_the_denoising():
    head = make_head().eval()
    outputs = head(make_maps(), (60, 90))
    before = outputs.logits.clone()
    head.loss(outputs, [some_boxes(3), some_boxes(5)])
    again = head(make_maps(), (60, 90))
    assert torch.equal(before, again.logits)
    assert torch.equal(before, outputs.every_logits[-1])


def test_denoising_beside_the_queries_is_decoding_all_of_them_at_once():
    """The queries of both kinds in one sequence, under one mask, as the paper has it."""
    head = make_head().eval()
    outputs = head(make_maps(), (60, 90))
    noise = noisy_queries(pad_targets([some_boxes(3), some_boxes(2)], "cpu"), PADDED_HW, classes=3, others=10)
    looked_at = [each.maps for each in outputs.passed]
    contents = head.noisy_labels(noise.labels)
    mine, boxes, _ = head._decoded(contents, noise.boxes, looked_at, others=outputs.passed, mask=noise.mask)
    count = contents.shape[1]
    mask = torch.zeros(2, count + 10, count + 10, dtype=torch.bool)
    mask[:, :count] = noise.mask
    mask[:, count:, count:] = True
    every = torch.cat([contents, outputs.passed[0].contents], dim=1)
    starts = torch.cat([noise.boxes, outputs.every_boxes[0].detach()], dim=1)
    logits, together, _ = head._decoded(every, starts, looked_at, mask=mask)
    for layer in range(2):
        torch.testing.assert_close(logits[layer][:, :count], mine[layer], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together[layer][:, :count], boxes[layer], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits[layer][:, count:], outputs.every_logits[1 + layer], rtol=1e-4, atol=1e-5)


def test_noise_moves_corners_by_less_than_half_a_side_and_negatives_by_more():
    truth = [some_boxes(4), some_boxes(2, seed=1)]
    torch.manual_seed(0)
    noise = noisy_queries(pad_targets(truth, "cpu"), PADDED_HW, classes=3, others=10)
    copies = DENOISING // 4
    assert noise.labels.shape == (2, 2 * 4 * copies)
    assert noise.exists.sum(dim=1).tolist() == [2 * 4 * copies, 2 * 2 * copies]
    assert (noise.labels == 3).equal(~noise.exists)
    box = noise.box.view(2, copies, 2, 4)
    assert (box[:, :, 1] == -1).all()
    assert box[0, :, 0].tolist() == [[0, 1, 2, 3]] * copies
    assert box[1, :, 0].tolist() == [[0, 1, -1, -1]] * copies
    xyxy = box_convert(noise.boxes[0], "cxcywh", "xyxy").view(copies, 2, 4, 4)
    wanted = truth[0].xyxy
    half = (wanted[:, 2:] - wanted[:, :2]).repeat(1, 2) / 2
    moved = (xyxy * torch.tensor([96.0, 64, 96, 64]) - wanted).abs() / half
    is_whole = (noise.boxes[0].view(copies, 2, 4, 4)[:, 1, :, 2:] > 0).all(dim=-1, keepdim=True)
    inside = (xyxy[:, 1] > 0) & (xyxy[:, 1] < 1) & is_whole
    assert moved[:, 0].max() < 1.001
    assert moved[:, 1][inside].min() > 0.99
    flipped = (noise.labels.view(2, copies, 2, 4)[0] != truth[0].labels).float().mean()
    assert 0.1 < flipped < 0.25  # a quarter is drawn anew, a third of which is the same


def test_noise_of_a_copy_sees_itself_and_the_queries_alone():
    noise = noisy_queries(pad_targets([some_boxes(30), some_boxes(10)], "cpu"), PADDED_HW, classes=3, others=4)
    copy = torch.arange(180) // 60
    assert noise.mask.shape == (2, 180, 184)
    assert noise.mask[..., 180:].all()
    assert noise.mask[0, :, :180].equal(copy[:, None] == copy)
    assert not noise.mask[1, :, :180][:, ~noise.exists[1]].any()


def test_noise_is_drawn_by_torchs_own_generator():
    targets = pad_targets([some_boxes(4)], "cpu")
    state = torch.get_rng_state()
    first = noisy_queries(targets, PADDED_HW, classes=3, others=4)
    second = noisy_queries(targets, PADDED_HW, classes=3, others=4)
    torch.set_rng_state(state)
    again = noisy_queries(targets, PADDED_HW, classes=3, others=4)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first.boxes, second.boxes)


def test_more_boxes_than_there_is_noise_for_are_left_out():
    noise = noisy_queries(pad_targets([some_boxes(250)], "cpu"), PADDED_HW, classes=3, others=4)
    assert noise.labels.shape == (1, 2 * DENOISING)


def test_a_truth_of_other_length_or_unknown_labels_is_refused():
    head = make_head()
    outputs = head(make_maps(), (60, 90))
    with pytest.raises(InputError, match="frames and outputs must have equal lengths, got 1 and 2"):
        head.loss(outputs, [Boxes.empty()])
    with pytest.raises(InputError, match="labels must be 0 to 2, as there are 3 classes, got 7"):
        head.loss(outputs, [Boxes(torch.tensor([[1.0, 1, 2, 2]]), torch.tensor([7])), Boxes.empty()])


def test_predictors_are_the_last_layers():
    head = make_head()
    assert [layer.out_features for layer in head.predictors] == [3, 3, 3, 4, 4, 4]
