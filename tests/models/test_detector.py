from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from seqdet.checks import InputError
from seqdet.config import ModelConfig
from seqdet.models.detector import Detector
from seqdet.models.heads import Outputs
from seqdet.models.recurrent import CELLS, reset_lanes
from seqdet.models.zoo import build_detector
from seqdet.ops.boxes import decode_boxes
from seqdet.structures import Boxes, Clip

CLASSES = ("a", "b", "c")
VARIANCES = (0.1, 0.2)


def make_detector(cell: str = "lstm", activation: str = "softmax") -> Detector:
    """With a head that is as loud as a trained one."""
    config = ModelConfig(base=1, channels=8, classes=CLASSES, cell=cell, activation=activation)
    detector = build_detector(config).eval()
    for parameter in detector.head.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    return detector


@pytest.fixture(scope="module")
def detector() -> Detector:
    return make_detector()


def make_frames(time: int = 2, lanes: int = 2, height: int = 128, width: int = 128) -> torch.Tensor:
    shape, generator = (time, lanes, 3, height, width), torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def assert_close(first: Outputs, second: Outputs) -> None:
    torch.testing.assert_close(first.deltas, second.deltas, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first.logits, second.logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_frames_cut_anywhere_give_the_outputs_of_the_whole(cell):
    detector, frames = make_detector(cell), make_frames(5)
    whole, after = detector(frames)
    for cut in range(1, 5):
        early, state = detector(frames[:cut])
        late, end = detector(frames[cut:], state)
        parts = [torch.cat(pair) for pair in zip(early[:2], late[:2], strict=True)]
        assert_close(Outputs(*parts, *late[2:]), whole)
        torch.testing.assert_close(end, after)


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_lanes_never_influence_each_other(cell):
    detector, frames = make_detector(cell), make_frames(4, 2)
    both, state = detector(frames)
    for lane in (0, 1):
        alone, own_state = detector(frames[:, lane : lane + 1])
        assert_close(alone, both._replace(deltas=both.deltas[lane::2], logits=both.logits[lane::2]))
        torch.testing.assert_close(own_state, tuple(tensor[lane : lane + 1] for tensor in state))


@torch.no_grad()
def test_whole_numbers_are_scaled_to_one(detector):
    frames = make_frames()
    counted, scaled = detector(frames)[0], detector(frames.float() / 255)[0]
    assert torch.equal(counted.logits, scaled.logits)
    assert torch.equal(counted.deltas, scaled.deltas)
    assert not torch.allclose(counted.logits, detector(frames.float())[0].logits)


@torch.no_grad()
def test_other_sides_are_padded_with_zeros_on_the_right_and_at_the_bottom(detector):
    frames = make_frames(2, 1, 100, 150)
    before = frames.clone()
    outputs, state = detector(frames)
    by_hand, by_hand_state = detector(pad(frames, (0, 106, 0, 28)))
    assert torch.equal(outputs.logits, by_hand.logits)
    assert torch.equal(outputs.deltas, by_hand.deltas)
    assert torch.equal(outputs.anchors, by_hand.anchors)
    assert all(torch.equal(x, y) for x, y in zip(state, by_hand_state, strict=True))
    assert (outputs.size_hw, by_hand.size_hw) == ((100, 150), (128, 256))
    assert torch.equal(frames, before)


@torch.no_grad()
def test_boxes_lie_within_the_frame_and_have_area(detector):
    outputs = detector(make_frames(2, 1, 100, 150))[0]
    wild = outputs._replace(deltas=20 * outputs.deltas, logits=torch.zeros_like(outputs.logits))
    for boxes in detector.decode(wild, candidates=5000, most=5000, iou=1.0, vote=1.1):
        assert len(boxes) > 100
        assert boxes.xyxy.min() >= 0
        assert boxes.xyxy[:, 2].max() <= 150
        assert boxes.xyxy[:, 3].max() <= 100
        assert (boxes.xyxy[:, 2:] > boxes.xyxy[:, :2]).all()


@torch.no_grad()
@pytest.mark.parametrize(
    "kept", [[[0, 1], [1, 1], [0, 0]], [[1, 1], [1, 1], [1, 1]], [[0, 0], [0, 0], [0, 0]]], ids=str
)
def test_the_kept_frames_are_those_of_the_whole_and_the_memory_sees_all(detector, kept):
    frames, keep = make_frames(3, 2), torch.tensor(kept, dtype=torch.bool)
    whole, state = detector(frames)
    some, after = detector(frames, keep=keep)
    rows = keep.flatten()
    assert len(some.logits) == rows.sum()
    assert_close(some, whole._replace(deltas=whole.deltas[rows], logits=whole.logits[rows]))
    assert all(torch.equal(x, y) for x, y in zip(after, state, strict=True))
    assert len(detector.decode(some)) == rows.sum()


def make_clip(frames: torch.Tensor, is_labelled: list[list[int]], is_first: list[int]) -> Clip:
    time, lanes = frames.shape[:2]
    boxes = [Boxes(torch.tensor([[10.0, 10, 50, 60 + i]]), torch.tensor([i % 3])) for i in range(time * lanes)]
    return Clip(
        frames=frames,
        is_first=torch.tensor(is_first, dtype=torch.bool),
        is_blank=torch.zeros(lanes, dtype=torch.bool),
        is_labelled=torch.tensor(is_labelled, dtype=torch.bool),
        boxes=boxes,
        recordings=torch.arange(lanes),
        end_us=torch.zeros(time, lanes, dtype=torch.int64),
    )


@torch.no_grad()
def test_the_loss_is_that_of_the_labelled_frames_after_the_new_lanes_are_reset(detector):
    clip = make_clip(make_frames(2, 2), [[0, 1], [1, 1]], [0, 1])
    _, state = detector(make_frames(1, 2).flip(0, 3))
    losses, after = detector.loss(clip, state)
    outputs, wanted_state = detector(clip.frames, reset_lanes(state, clip.is_first))
    labelled = outputs._replace(deltas=outputs.deltas[1:], logits=outputs.logits[1:])
    torch.testing.assert_close(losses, detector.criterion(labelled, clip.boxes[1:]))
    torch.testing.assert_close(after, wanted_state)
    assert not torch.allclose(losses["classes"], detector.loss(clip)[0]["classes"], rtol=1e-7, atol=0)


def test_a_clip_without_labels_costs_nothing_and_can_be_trained_on():
    detector = make_detector().train()
    losses, state = detector.loss(make_clip(make_frames(2, 2), [[0, 0], [0, 0]], [1, 1]))
    assert [loss.item() for loss in losses.values()] == [0, 0]
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in detector.parameters())
    assert all(tensor.isfinite().all() for tensor in state)


def random_outputs(detector: Detector, frames: int, seed: int) -> Outputs:
    anchors = detector.anchors([(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)])
    generator = torch.Generator().manual_seed(seed)
    logits = len(CLASSES) + (detector.config.activation == "softmax")
    deltas = 2 * torch.randn(frames, len(anchors), 4, generator=generator)
    # in float64, so that no two scores are equal
    values = 3 * torch.randn(frames, len(anchors), logits, generator=generator, dtype=torch.float64) - 2
    return Outputs(deltas, values, anchors, (120, 128))


def decode_one_frame(
    detector: Detector,
    outputs: Outputs,
    frame: int,
    *,
    score: float,
    iou: float,
    vote: float,
    candidates: int,
    most: int,
) -> Boxes:
    """The rule, word by word."""
    logits = outputs.logits[frame]
    is_softmax = detector.config.activation == "softmax"
    scores = logits.softmax(-1)[:, 1:] if is_softmax else logits.sigmoid()
    pairs = [(s, a, k) for a, row in enumerate(scores.tolist()) for k, s in enumerate(row) if s >= score]
    pairs = sorted(pairs, reverse=True)[:candidates]
    values = torch.tensor([s for s, _, _ in pairs], dtype=torch.float64)
    anchor, label = (torch.tensor([pair[i] for pair in pairs], dtype=torch.int64) for i in (1, 2))
    xyxy = decode_boxes(outputs.deltas[frame, anchor], outputs.anchors[anchor], variances=VARIANCES)
    boxes = Boxes(clip_boxes_to_image(xyxy, outputs.size_hw), label, values)
    boxes = boxes[(boxes.xyxy[:, 2:] > boxes.xyxy[:, :2]).all(dim=1)]
    kept = boxes[batched_nms(boxes.xyxy.double(), boxes.scores, boxes.labels, iou)][:most]
    agree = (kept.labels[:, None] == boxes.labels) & (box_iou(kept.xyxy, boxes.xyxy) >= vote)
    voted = [
        (boxes.xyxy[own] * weight[:, None]).sum(0) / weight.sum() if len(weight) else box
        for box, own in zip(kept.xyxy, agree, strict=True)
        for weight in [boxes.scores[own].square()]
    ]
    return Boxes(torch.stack(voted).float() if voted else kept.xyxy, kept.labels, kept.scores)


DETECTORS = {activation: make_detector(activation=activation) for activation in ("softmax", "sigmoid")}


@settings(deadline=None, max_examples=15)
@given(
    activation=st.sampled_from(list(DETECTORS)),
    frames=st.integers(0, 3),
    seed=st.integers(0, 2**31),
    score=st.sampled_from([0.01, 0.3, 0.7, 0.99]),
    iou=st.sampled_from([0.0, 0.5, 0.9]),
    vote=st.sampled_from([0.3, 0.7, 1.1]),
    candidates=st.sampled_from([1, 40, 400, 100_000]),
    most=st.sampled_from([1, 10, 1000]),
)
def test_decoding_is_that_of_one_frame_after_the_other(activation, frames, seed, score, iou, vote, candidates, most):
    detector = DETECTORS[activation]
    outputs = random_outputs(detector, frames, seed)
    limits = {"score": score, "iou": iou, "vote": vote, "candidates": candidates, "most": most}
    decoded = detector.decode(outputs, **limits)
    assert len(decoded) == frames
    for frame, boxes in enumerate(decoded):
        wanted = decode_one_frame(detector, outputs, frame, **limits)
        assert boxes.labels.tolist() == wanted.labels.tolist()
        torch.testing.assert_close(boxes.scores, wanted.scores)
        torch.testing.assert_close(boxes.xyxy, wanted.xyxy, atol=1e-4, rtol=1e-5)
        assert (boxes.scores.diff() <= 0).all()
        assert len(boxes) <= min(most, candidates)
        assert (boxes.scores >= score).all()


def test_decoding_follows_the_frames_in_time_then_lane_order(detector):
    frames = make_frames(3, 2)
    decoded = detector.decode(detector(frames)[0])
    state, one_by_one = None, []
    for t in range(3):
        outputs, state = detector(frames[t : t + 1], state)
        one_by_one += detector.decode(outputs)
    assert [boxes.labels.tolist() for boxes in decoded] == [boxes.labels.tolist() for boxes in one_by_one]
    assert sum(map(len, decoded)) > 0
    assert len({tuple(boxes.scores.tolist()) for boxes in decoded}) == 6


def test_voting_does_not_move_boxes_out_of_the_frame(detector):
    for seed in range(5):
        for boxes in detector.decode(random_outputs(detector, 3, seed), vote=0.3):
            assert boxes.xyxy.min() >= 0
            assert boxes.xyxy[:, 2].max() <= 128
            assert boxes.xyxy[:, 3].max() <= 120


def test_boxes_are_as_exact_in_bfloat16_as_in_float32(detector):
    outputs = random_outputs(detector, 3, 0)
    wanted = detector.decode(outputs)
    with torch.autocast("cpu", torch.bfloat16):
        decoded = detector.decode(outputs)
    assert all(torch.equal(boxes.xyxy, exact.xyxy) for boxes, exact in zip(decoded, wanted, strict=True))


def test_nothing_is_found_where_no_score_suffices(detector):
    outputs = random_outputs(detector, 2, 0)
    assert [len(boxes) for boxes in detector.decode(outputs, score=1.1)] == [0, 0]
    assert detector.decode(random_outputs(detector, 0, 0)) == []


def test_decoding_works_after_training_in_inference_mode_and_back(detector):
    frames = make_frames(1, 1, 256, 128)
    with torch.inference_mode():
        detector.decode(detector(frames)[0])
    losses, _ = detector.loss(make_clip(frames, [[1]], [1]))
    sum(losses.values()).backward()


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(2, 3, 128, 128), r"frames must have shape \(T, B, C=3, H, W\), got \(2, 3, 128, 128\)\."),
        (torch.zeros(2, 1, 2, 128, 128), r"frames must have shape \(T, B, C=3, H, W\), got \(2, 1, 2, 128, 128\)\."),
        (torch.zeros(0, 1, 3, 128, 128), r"frames must not be empty, got shape \(0, 1, 3, 128, 128\)\."),
        (torch.zeros(1, 0, 3, 128, 128), r"frames must not be empty, got shape \(1, 0, 3, 128, 128\)\."),
        (torch.zeros(1, 1, 3, 128, 0), r"frames must not be empty, got shape \(1, 1, 3, 128, 0\)\."),
        (
            torch.zeros(1, 1, 3, 128, 128, dtype=torch.int16),
            r"frames must be uint8 or floating point, got torch.int16\.",
        ),
    ],
)
def test_frames_of_a_wrong_kind_are_refused(detector, frames, words):
    with pytest.raises(InputError, match=f"^{words}$"):
        detector(frames)


def test_a_choice_of_frames_of_another_shape_is_refused(detector):
    with pytest.raises(InputError, match=r"keep must have shape \(T=3, B=2\), got \(2, 3\)\."):
        detector(make_frames(3, 2), keep=torch.ones(2, 3, dtype=torch.bool))


def test_the_state_of_fewer_lanes_is_refused_and_not_shared_out(detector):
    _, state = detector(make_frames(1, 1))
    with pytest.raises(InputError, match="state must be what the last call returned for 2 lanes"):
        detector(make_frames(1, 2), state)


@pytest.mark.parametrize("limit", ["candidates", "most"])
def test_a_limit_below_one_is_refused(detector, limit):
    with pytest.raises(InputError, match=f"{limit} must be at least 1, got -1"):
        detector.decode(random_outputs(detector, 1, 0), **{limit: -1})
