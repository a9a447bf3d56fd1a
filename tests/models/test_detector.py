from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from seqdet.checks import InputError
from seqdet.config import VanillaConfig
from seqdet.models.cells import CELLS
from seqdet.models.detector import Detector
from seqdet.models.layers import reset_lanes
from seqdet.models.single_shot import Outputs
from seqdet.models.zoo import build_detector
from seqdet.structures import Boxes, Clip

CLASSES = ("a", "b", "c")


def make_detector(cell: str = "lstm") -> Detector:
    """With a head that is as loud as a trained one."""
    config = VanillaConfig(in_channels=3, base=1, channels=8, classes=CLASSES, cell=cell)
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
def test_signed_whole_numbers_are_scaled_to_one_either_way(detector):
    frames = torch.randint(-128, 128, (2, 1, 3, 128, 128), dtype=torch.int8)
    counted, scaled = detector(frames)[0], detector(frames.float() / 127)[0]
    assert torch.equal(counted.logits, scaled.logits)
    assert torch.equal(counted.deltas, scaled.deltas)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_frames_of_any_floating_point_type_give_the_outputs_of_their_float32_copies(detector, dtype):
    frames = (make_frames(1, 1) / 255).to(dtype)
    outputs, wanted = detector(frames)[0], detector(frames.float())[0]
    assert torch.equal(outputs.logits, wanted.logits)
    assert torch.equal(outputs.deltas, wanted.deltas)
    assert frames.dtype == dtype


@torch.no_grad()
def test_a_detector_with_weights_of_another_type_takes_frames_of_any():
    detector = make_detector().bfloat16()
    counted = make_frames(1, 1)
    for frames in (counted, counted / 255):
        assert detector(frames)[0].logits.isfinite().all()


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
    torch.testing.assert_close(losses, detector.head.loss(labelled, clip.boxes[1:]))
    torch.testing.assert_close(after, wanted_state)
    assert not torch.allclose(losses["classes"], detector.loss(clip)[0]["classes"], rtol=1e-7, atol=0)


def test_a_clip_without_labels_costs_nothing_and_can_be_trained_on():
    detector = make_detector().train()
    losses, state = detector.loss(make_clip(make_frames(2, 2), [[0, 0], [0, 0]], [1, 1]))
    assert [loss.item() for loss in losses.values()] == [0, 0]
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in detector.parameters())
    assert all(tensor.isfinite().all() for tensor in state)


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
            r"frames must be uint8, int8 or floating point, got torch.int16\.",
        ),
        (np.zeros((1, 1, 3, 128, 128), np.uint8), r"frames must be a torch tensor, got ndarray\."),
    ],
)
def test_frames_of_a_wrong_kind_are_refused(detector, frames, words):
    with pytest.raises(InputError, match=f"^{words}$"):
        detector(frames)


def test_a_choice_of_frames_of_another_shape_is_refused(detector):
    with pytest.raises(InputError, match=r"keep must have shape \(T=3, B=2\), got \(2, 3\)\."):
        detector(make_frames(3, 2), keep=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(InputError, match=r"keep must be of a boolean type, got torch.int64\."):
        detector(make_frames(3, 2), keep=torch.ones(3, 2, dtype=torch.int64))


def test_the_state_of_fewer_lanes_is_refused_and_not_shared_out(detector):
    _, state = detector(make_frames(1, 1))
    with pytest.raises(InputError, match="state must be what the last call returned for 2 lanes"):
        detector(make_frames(1, 2), state)


@torch.no_grad()
def test_what_is_no_state_is_refused_as_one(detector):
    frames = make_frames(1, 1)
    both = detector(frames)
    outputs, state = both
    for wrong in (outputs, both, list(state), state[0]):
        words = f"state must be the tuple of tensors that the last call returned, got {type(wrong).__name__}"
        with pytest.raises(InputError, match=words):
            detector(frames, wrong)
        with pytest.raises(InputError, match=words):
            detector.loss(make_clip(frames, [[1]], [0]), wrong)


@torch.no_grad()
def test_only_outputs_are_decoded(detector):
    both = detector(make_frames(1, 1))
    for wrong in (both, both[0].logits):
        with pytest.raises(InputError, match=r"^outputs must be the first of the detector's two results, got "):
            detector.decode(wrong)
