"""The numbers that the reference's tutorial prints, through its names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from seqdet.compat.metavision_ml.data import box_processing as box_api
from seqdet.compat.metavision_ml.data.moving_mnist import MovingMNISTDataset, make_moving_mnist
from seqdet.compat.metavision_ml.detection.anchors import Anchors
from seqdet.compat.metavision_ml.detection.box import bbox_to_deltas, deltas_to_bbox, xywh2xyxy, xyxy2xywh
from seqdet.compat.metavision_ml.detection.feature_extractors import Vanilla
from seqdet.compat.metavision_ml.detection.losses import DetectionLoss
from seqdet.compat.metavision_ml.detection.rpn import BoxHead

from seqdet.checks import InputError
from seqdet.config import VanillaConfig
from seqdet.models import single_shot


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(10, 3, 3, 128, 128)


@pytest.fixture(scope="module")
def features(x) -> list[torch.Tensor]:
    torch.manual_seed(0)
    rnn = Vanilla(3, base=64, cout=256)
    assert (rnn.levels, rnn.cout) == (5, 256)
    with torch.no_grad():
        return rnn(x)


def test_the_features_are_five_maps_of_all_frames(features):
    assert [tuple(feature.shape) for feature in features] == [(30, 256, side, side) for side in (16, 8, 4, 2, 1)]


def test_the_anchors_are_six_a_position_in_centre_form(features, x):
    box_coder = Anchors(num_levels=5, anchor_list="PSEE_ANCHORS", variances=[0.1, 0.2])
    anchors = box_coder(features, x)
    assert box_coder.num_anchors == 6
    assert anchors.shape == (2046, 4)
    chosen = anchors.view(-1, 6, 4)[7::60].flatten(0, 1)
    assert chosen.shape == (36, 4)
    assert (chosen[:, 2:] > 0).all()
    assert len(chosen[:6, :2].unique(dim=0)) == 1  # one position


def test_the_head_gives_boxes_and_logits_of_every_anchor(features):
    head = BoxHead(256, 6, 11, 0)
    loc, cls = head(features)
    assert (loc.shape, cls.shape) == ((30, 2046, 4), (30, 2046, 11))
    scores = head.get_scores(cls)
    torch.testing.assert_close(scores, cls.softmax(-1)[..., 1:])


def test_the_branches_of_the_head_are_printed_and_named_as_the_reference_has_them():
    head = BoxHead(256, 6, 11, 0)
    assert repr(head.box_head) == (
        "Sequential(\n"
        "  (0): ConvLayer(\n"
        "    (0): Identity()\n"
        "    (1): Conv2d(256, 256, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))\n"
        "    (2): ReLU()\n"
        "  )\n"
        "  (1): Conv2d(256, 24, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))\n"
        ")"
    )
    assert repr(head.cls_head) == repr(head.box_head).replace("24", "66")
    layers = ["0.1.weight", "0.1.bias", "1.weight", "1.bias"]
    assert list(head.state_dict()) == [f"{branch}.{layer}" for branch in ("box_head", "cls_head") for layer in layers]
    deeper = BoxHead(4, 6, 11, 2)
    assert [type(layer).__name__ for layer in deeper.box_head] == ["ConvLayer"] * 3 + ["Conv2d"]


@pytest.mark.parametrize("act", ["softmax", "sigmoid"])
def test_the_head_says_what_a_head_of_seqdet_with_its_weights_says(act):
    torch.manual_seed(0)
    head = BoxHead(4, 6, 11, 1, act=act)
    config = VanillaConfig(classes=tuple("0123456789x")[: 11 - (act == "softmax")], head_layers=2, activation=act)
    own = single_shot.single_shot_head(replace(config, anchors="psee"), 4, (8, 16))
    own.load_state_dict(dict(zip(own.state_dict(), head.state_dict().values(), strict=True)))
    maps = [torch.randn(2, 4, side, side) for side in (3, 2)]
    outputs = own(maps, (24, 24))
    boxes, logits = head(maps)
    assert torch.equal(boxes, outputs.deltas)
    assert torch.equal(logits, outputs.logits)
    assert torch.equal(head.get_scores(logits), own.scores(outputs))


def test_a_layer_of_the_head_can_be_initialised_anew():
    head = BoxHead(4, 6, 11, 0)
    maps = [torch.rand(1, 4, 2, 2)]
    assert head(maps)[0].abs().max() < 1
    head.box_head.apply(lambda layer: torch.nn.init.ones_(layer.weight) if isinstance(layer, torch.nn.Conv2d) else None)
    assert head(maps)[0].abs().min() > 1


def test_batches_are_dictionaries_and_lanes_start_again_after_every_video():
    loader = make_moving_mnist(
        train=True, height=128, width=128, tbins=20, num_workers=0, batch_size=4,
        max_frames_per_video=80, max_frames_per_epoch=640,
    )  # fmt: skip
    assert len(loader) == 8
    masks, starts = [], []
    for batch in loader:
        assert batch["inputs"].shape == (20, 4, 3, 128, 128)
        assert batch["inputs"].dtype == torch.float32
        assert 0 <= batch["inputs"].min() <= batch["inputs"].max() <= 1
        assert batch["mask_keep_memory"].shape == (4, 1, 1, 1)
        assert batch["frame_is_labeled"].shape == (20, 4)
        assert (len(batch["labels"]), len(batch["labels"][0])) == (20, 4)
        for labels in batch["labels"][7]:
            assert labels.shape[1] >= 5
            assert (labels[:, :2] < labels[:, 2:4]).all()
            assert (labels[:, 4] >= 1).all()
            assert (labels[:, 4] <= 10).all()
        masks.append(batch["mask_keep_memory"].view(-1).tolist())
        starts.append([info[1] for info in batch["video_infos"]])
        assert {info[2] for info in batch["video_infos"]} == {20 * 50_000}
    assert masks == [[mask] * 4 for mask in (0, 1, 1, 1, 0, 1, 1, 1)]
    assert starts[:5] == [[start] * 4 for start in (0, 1_000_000, 2_000_000, 3_000_000, 0)]


def test_training_shows_new_videos_in_every_epoch_and_validation_the_same():
    for train in (True, False):
        loader = MovingMNISTDataset(
            train, tbins=2, num_workers=0, batch_size=2, max_frames_per_video=4, max_frames_per_epoch=8
        )
        first, second = ([batch["inputs"] for batch in loader] for _ in range(2))
        assert torch.equal(torch.stack(first), torch.stack(second)) is not train


def test_the_pictures_of_the_loader_are_its_inputs():
    loader = make_moving_mnist(tbins=2, num_workers=0, batch_size=1, max_frames_per_video=2, max_frames_per_epoch=2)
    frame = next(iter(loader))["inputs"][0, 0]
    picture = loader.get_vis_func()(frame)
    assert (picture.shape, picture.dtype) == ((128, 128, 3), np.uint8)
    np.testing.assert_allclose(picture, frame.permute(1, 2, 0) * 255, atol=1)


def test_a_batch_is_encoded_at_once_and_decodes_to_its_boxes():
    loader = make_moving_mnist(tbins=20, num_workers=0, batch_size=4, max_frames_per_video=20, max_frames_per_epoch=80)
    batch = next(iter(loader))
    features = [torch.zeros(80, 1, side, side) for side in (16, 8, 4, 2, 1)]
    box_coder = Anchors(num_levels=5, anchor_list="PSEE_ANCHORS", variances=[0.1, 0.2])
    flat = [labels for frame in batch["labels"] for labels in frame]
    targets = box_coder.encode(features, batch["inputs"], flat)
    assert (targets["cls"].shape, targets["loc"].shape) == ((80, 2046), (80, 2046, 4))
    assert targets["cls"].unique().tolist()[:2] == [-1, 0]
    scores = torch.nn.functional.one_hot(targets["cls"].clamp(min=0), 11)[..., 1:].float()
    found = box_coder.decode(features, batch["inputs"], targets["loc"], scores, batch_size=4, score_thresh=0.9)
    assert (len(found), len(found[0])) == (20, 4)
    for t, b in np.ndindex(20, 4):
        labels, boxes = batch["labels"][t][b], found[t][b]
        if not len(labels):
            assert boxes == {"boxes": None, "labels": None, "scores": None}
            continue
        for row in labels:
            same = boxes["labels"] == row[4].long()
            assert (boxes["boxes"][same] - row[:4]).abs().amax(dim=1).min() < 0.01


@pytest.mark.parametrize("name", ["softmax_focal_loss", "sigmoid_focal_loss"])
def test_both_losses_are_positive_numbers_with_a_gradient(name):
    torch.manual_seed(0)
    logits = 11 if name.startswith("softmax") else 10
    loc, cls = torch.randn(6, 50, 4, requires_grad=True), torch.randn(6, 50, logits, requires_grad=True)
    losses = DetectionLoss(name)(loc, torch.randn(6, 50, 4), cls, torch.randint(-1, 11, (6, 50)))
    assert set(losses) == {"loc_loss", "cls_loss"}
    for loss in losses.values():
        assert loss.ndim == 0
        assert 0 < loss < float("inf")
    sum(losses.values()).backward()
    for prediction in (loc, cls):
        assert 0 < prediction.grad.abs().sum() < float("inf")


def test_ignored_anchors_and_background_boxes_have_no_say():
    loc, cls = torch.zeros(1, 3, 4), torch.zeros(1, 3, 11)
    targets = torch.tensor([[-1, 0, 4]])
    loss = DetectionLoss("softmax_focal_loss")
    before = loss(loc, torch.ones(1, 3, 4), cls, targets)
    loc[:, :2], cls[:, 0] = 9, 9 * torch.randn(11)
    assert loss(loc, torch.ones(1, 3, 4), cls, targets) == before
    empty = loss(loc, loc, cls, torch.full((1, 3), -1))
    assert {name: value.item() for name, value in empty.items()} == {"loc_loss": 0, "cls_loss": 0}


def test_the_loss_of_the_classes_falls_as_the_right_class_rises():
    targets = torch.tensor([[3]])
    for name, logits in (("softmax_focal_loss", 11), ("sigmoid_focal_loss", 10)):
        right = 3 if name.startswith("softmax") else 2
        losses = []
        for column in range(logits):
            cls = torch.zeros(1, 1, logits)
            cls[..., column] = 4
            losses.append(DetectionLoss(name)(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), cls, targets)["cls_loss"])
        assert int(torch.stack(losses).argmin()) == right


def test_a_sigmoid_head_has_no_logit_for_the_background():
    head = BoxHead(4, 6, 10, 0, act="sigmoid")
    _, cls = head([torch.randn(2, 4, 3, 3)])
    assert cls.shape == (2, 54, 10)
    torch.testing.assert_close(head.get_scores(cls), cls.sigmoid())
    with pytest.raises(InputError, match="cls_targets must be at most 9, the last class, got 10"):
        DetectionLoss("softmax_focal_loss")(
            torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), cls[:1, :1], torch.tensor([[10]])
        )


@pytest.mark.parametrize(("height", "width"), [(360, 640), (240, 304)])
@pytest.mark.parametrize("padded", [True, False])
def test_the_anchors_of_any_frame_lie_at_strides_of_8_to_128(height, width, padded):
    sizes = [(-(-height // stride), -(-width // stride)) for stride in (8, 16, 32, 64, 128)]
    if padded:
        sizes = [
            (-(-height // 128) * 128 // stride, -(-width // 128) * 128 // stride) for stride in (8, 16, 32, 64, 128)
        ]
    features = [torch.zeros(1, 1, *size) for size in sizes]
    anchors = Anchors(5)(features, torch.zeros(1, 1, 3, height, width))
    for (rows, columns), stride, of_map in zip(
        sizes, (8, 16, 32, 64, 128), anchors.split([6 * h * w for h, w in sizes]), strict=True
    ):
        assert of_map[-1, :2].tolist() == [(columns - 0.5) * stride, (rows - 0.5) * stride]


def test_thresholds_and_caps_of_the_decoding_count():
    torch.manual_seed(0)
    features, x = [torch.zeros(2, 1, side, side) for side in (16, 8, 4, 2, 1)], torch.zeros(2, 1, 3, 128, 128)
    box_coder = Anchors(5)
    scores, deltas = torch.rand(2, 2046, 2), torch.randn(2, 2046, 4)

    def found(**options):
        rows = box_coder.decode(features, x, deltas, scores, **({"batch_size": 1, "score_thresh": 0.5} | options))
        return [0 if row[0]["boxes"] is None else len(row[0]["boxes"]) for row in rows]

    assert found(max_boxes_per_input=7, nms_thresh=1.0) == [7, 7]
    assert all(many > few > 0 for many, few in zip(found(nms_thresh=0.9), found(nms_thresh=0.1), strict=True))
    assert found(score_thresh=1.1) == [0, 0]
    with pytest.raises(InputError, match="batch_size must divide the 2 frames, got 3"):
        found(batch_size=3)


def test_truth_may_be_an_array_of_boxes_and_must_be_one_for_each_frame():
    features, x = [torch.zeros(2, 1, side, side) for side in (16, 8, 4, 2, 1)], torch.zeros(2, 1, 3, 128, 128)
    rows = torch.tensor([[20.0, 30, 50, 70, 4]])
    bboxes = box_api.box_vectors_to_bboxes(rows[:, :4], rows[:, 4])
    one, other = (Anchors(5).encode(features, x, [target, target]) for target in (rows, bboxes))
    assert torch.equal(one["cls"], other["cls"])
    assert torch.equal(one["loc"], other["loc"])
    assert one["cls"].unique().tolist() == [-1, 0, 4]
    with pytest.raises(InputError, match="targets must be one for each of the 2 frames, got 1"):
        Anchors(5).encode(features, x, [rows])
    with pytest.raises(InputError, match=r"flat in \(t, b\) order, got a list"):
        Anchors(5).encode(features, x, [[rows], [rows]])


def test_box_forms_and_codes_have_their_inverses():
    torch.manual_seed(0)
    anchors = torch.rand(50, 4) * 50 + 10
    boxes = xywh2xyxy(torch.rand(3, 50, 4) * 50 + 10)
    torch.testing.assert_close(xywh2xyxy(xyxy2xywh(boxes)), boxes)
    torch.testing.assert_close(deltas_to_bbox(bbox_to_deltas(boxes, anchors), anchors), boxes)
    torch.testing.assert_close(deltas_to_bbox(torch.zeros(2, 50, 4), anchors), xywh2xyxy(anchors).expand(2, -1, -1))


def test_box_vectors_are_bounding_boxes_with_a_corner_and_a_size():
    boxes, labels, scores = (
        torch.tensor([[10.0, 20, 40, 60], [0, 1, 2, 3]]),
        torch.tensor([3, 1]),
        torch.tensor([0.5, 0.25]),
    )
    bboxes = box_api.box_vectors_to_bboxes(boxes, labels, scores, ts=7)
    assert bboxes.dtype == box_api.EventBbox
    assert bboxes.itemsize == 40
    assert bboxes[0].item() == (7, 10, 20, 30, 40, 3, 0, 0.5)
    rows = box_api.bboxes_to_box_vectors(bboxes)
    np.testing.assert_array_equal(rows, [[10, 20, 40, 60, 3, 0.5], [0, 1, 2, 3, 1, 0.25]])
    assert rows.dtype == np.float32
    assert box_api.bboxes_to_box_vectors([[bboxes], []])[0][0].tolist() == rows.tolist()
    assert (box_api.box_vectors_to_bboxes(boxes, labels)["class_confidence"] == 1).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Anchors(5, "PSEE"), r"anchor_list must be one of COCO_ANCHORS, .*; got 'PSEE'"),
        (lambda: Anchors(5)([torch.zeros(1, 1, 2, 2)], torch.zeros(1, 3, 16, 16)), "features must be 5 maps, got 1"),
        (lambda: DetectionLoss("focal"), "cls_loss_func must be one of"),
        (lambda: make_moving_mnist(tbins=20, max_frames_per_video=12), "max_frames_per_video must be at least tbins"),
        (lambda: Vanilla(3)(torch.zeros(1, 3, 128, 128)), r"x must have shape \(T, B, C=3, H, W\)"),
        (lambda: box_api.box_vectors_to_bboxes(torch.zeros(2, 4), torch.zeros(3)), r"labels must have shape \(N=2\)"),
        (lambda: box_api.box_vectors_to_bboxes(torch.zeros(1, 4), torch.tensor([-1])), "labels must be at least 0"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("target", [torch.zeros(2, 4), torch.tensor([[0.0, 0, 9, 9, 0]])])
def test_targets_without_a_class_are_refused(target):
    features = [torch.zeros(1, 1, side, side) for side in (16, 8, 4, 2, 1)]
    with pytest.raises(InputError, match=r"targets must (be rows of|have classes from 1 on)"):
        Anchors(5).encode(features, torch.zeros(1, 1, 3, 128, 128), [target])
