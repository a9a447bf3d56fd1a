from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image

from seqdet.checks import InputError
from seqdet.config import VanillaConfig
from seqdet.models.detector import Detector
from seqdet.models.single_shot import Outputs
from seqdet.models.zoo import build_detector
from seqdet.ops.boxes import decode_boxes
from seqdet.structures import Boxes

CLASSES = ("a", "b", "c")
VARIANCES = (0.1, 0.2)
DETECTORS = {
    activation: build_detector(VanillaConfig(in_channels=3, base=1, channels=8, classes=CLASSES, activation=activation))
    for activation in ("softmax", "sigmoid")
}


@pytest.fixture
def detector() -> Detector:
    return DETECTORS["softmax"]


def random_outputs(detector: Detector, frames: int, seed: int) -> Outputs:
    anchors = detector.head.anchors([(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)])
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


@settings(max_examples=15)
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


def test_the_detections_of_a_frame_do_not_depend_on_busier_ones(detector):
    outputs = random_outputs(detector, 3, 0)
    busy = torch.tensor([0.0, 2, 4])[:, None, None] * torch.tensor([0.0, 1, 1, 1])
    outputs = outputs._replace(logits=outputs.logits - 2 + busy)
    limits = {"score": 0.5, "vote": 0.3, "candidates": 3000}
    decoded = detector.decode(outputs, **limits)
    for frame, boxes in enumerate(decoded):
        alone = outputs._replace(deltas=outputs.deltas[[frame]], logits=outputs.logits[[frame]])
        torch.testing.assert_close(boxes.xyxy, detector.decode(alone, **limits)[0].xyxy)


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


@pytest.mark.parametrize("limit", ["candidates", "most"])
def test_a_limit_below_one_is_refused(detector, limit):
    with pytest.raises(InputError, match=f"{limit} must be at least 1, got -1"):
        detector.decode(random_outputs(detector, 1, 0), **{limit: -1})


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("score", float("nan"), "score must be at least 0, got nan"),
        ("iou", float("nan"), "iou must be 0 to 1, got nan"),
        ("iou", -1, "iou must be 0 to 1, got -1"),
        ("iou", 50, "iou must be 0 to 1, got 50"),
        ("vote", float("nan"), "vote must be at least 0, got nan"),
    ],
)
def test_an_impossible_threshold_is_refused(detector, limit, value, words):
    with pytest.raises(InputError, match=words):
        detector.decode(random_outputs(detector, 1, 0), **{limit: value})
