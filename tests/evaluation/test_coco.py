from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from seqdet.checks import InputError
from seqdet.evaluation.coco import RECALLS, CocoEvaluator, CocoScores
from seqdet.structures import Boxes

CLASSES = ["car", "bus", "dog"]
NAMES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
NAMES += ["AR1", "AR10", "AR", "AR_small", "AR_medium", "AR_large"]


def boxes(*rows, labels=0, scores=None, ignored=None) -> Boxes:
    """One frame; ``labels``, ``scores`` and ``ignored`` are one value for all or one per row."""

    def column(value, dtype):
        return None if value is None else torch.as_tensor(value, dtype=dtype).expand(len(rows)).clone()

    xyxy = torch.from_numpy(np.array(rows, np.float32).reshape(-1, 4))
    return Boxes(xyxy, column(labels, torch.int64), column(scores, torch.float32), None, column(ignored, torch.bool))


def score(truth, detections, classes=CLASSES) -> CocoScores:
    evaluator = CocoEvaluator(classes)
    evaluator.add(truth, detections)
    return evaluator.compute()


def pycocotools_index(frames, classes) -> COCO:
    annotations = []
    for image, frame in enumerate(frames):
        blank = torch.zeros(len(frame))
        columns = [frame.labels, *(blank if c is None else c for c in (frame.scores, frame.is_ignored))]
        for row in zip(frame.xyxy.tolist(), *(column.tolist() for column in columns), strict=True):
            (x1, y1, x2, y2), label, points, crowd = row
            size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            kind = {"id": len(annotations) + 1, "image_id": image, "category_id": label}
            annotations.append({**kind, **size, "score": points, "iscrowd": int(crowd)})
    coco = COCO()
    images, categories = [{"id": i} for i in range(len(frames))], [{"id": label} for label in range(len(classes))]
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco


def pycocotools_numbers(evaluation, labels):
    whole = evaluation.eval
    chosen = {"precision": whole["precision"][:, :, labels], "recall": whole["recall"][:, labels]}
    evaluation.eval = chosen
    evaluation.summarize()
    evaluation.eval = whole
    return approx(evaluation.stats)


def approx(values):
    return pytest.approx(tuple(values.tolist()), abs=1e-12)


def numbers(scores) -> tuple[float, ...]:
    """The twelve numbers as pycocotools orders and writes them."""
    return tuple(-1 if getattr(scores, name) is None else getattr(scores, name) for name in NAMES)


def assert_equal_to_pycocotools(truth, detections, classes=CLASSES):
    scores = score(truth, detections, classes)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCOeval(pycocotools_index(truth, classes), pycocotools_index(detections, classes), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        curves = theirs.eval["precision"][:, :, :, 0, 2]
        scored = np.flatnonzero(curves[0, 0] > -1)
        for part, labels in [(scores, scored), *((scores.per_class[classes[k]], [k]) for k in range(len(classes)))]:
            assert numbers(part) == pycocotools_numbers(theirs, labels)
            assert part.curve50 == (approx(curves[0][:, labels].mean(1)) if set(labels) & set(scored) else ())
            assert part.curve == (approx(curves[:, :, labels].mean((0, 2))) if set(labels) & set(scored) else ())


def noisy_scene(seed, frames=30, targets=8, guesses=20, classes=3, ignored=0.15):
    """Truth of all sizes, and detections that are jittered copies of it, some of them of another class."""
    rng = np.random.default_rng(seed)
    truth, detections = [], []
    for _ in range(frames):
        count = rng.integers(0, targets + 1)
        corner, size = rng.uniform(0, 300, (count, 2)), np.exp(rng.uniform(1.5, 5.5, (count, 2)))
        labels = rng.integers(0, classes, count)
        truth.append(boxes(*np.hstack([corner, corner + size]), labels=labels, ignored=rng.random(count) < ignored))
        copied = rng.integers(0, count, rng.integers(0, guesses + 1) if count else 0)
        jitter = rng.normal(0, 0.1, (len(copied), 4)) * np.tile(size[copied], 2)
        rows = np.hstack([corner, corner + size])[copied] + jitter
        guessed = np.where(rng.random(len(copied)) < 0.8, labels[copied], rng.integers(0, classes, len(copied)))
        ends = np.hstack([np.minimum(rows[:, :2], rows[:, 2:]), np.maximum(rows[:, :2], rows[:, 2:])])
        detections.append(boxes(*ends, labels=guessed, scores=rng.permutation(len(copied)) / 100 + rng.random() / 100))
    return truth, detections


rows = st.tuples(*[st.integers(0, 4)] * 2, *[st.sampled_from([0, 6, 10, 12, 32, 33, 96, 100])] * 2).map(
    lambda row: (row[0] * 2.5, row[1] * 2.5, row[0] * 2.5 + row[2], row[1] * 2.5 + row[3])
)
entries = st.lists(st.tuples(rows, st.integers(0, 1), st.sampled_from([0, 0.5, 0.75, 1]), st.booleans()), max_size=5)
frame_pairs = st.lists(st.tuples(entries, entries), max_size=4)


@settings(max_examples=150)
@given(frame_pairs)
def test_scores_equal_pycocotools_on_any_boxes(pairs):
    truth, detections = [], []
    for targets, guesses in pairs:
        xyxy, labels, _, ignored = zip(*targets, strict=True) if targets else ((), (), (), ())
        truth.append(boxes(*xyxy, labels=labels, ignored=ignored))
        xyxy, labels, scores, _ = zip(*guesses, strict=True) if guesses else ((), (), (), ())
        detections.append(boxes(*xyxy, labels=labels, scores=scores))
    assert_equal_to_pycocotools(truth, detections)


@pytest.mark.parametrize(
    "scene",
    [
        {"seed": 0},
        {"seed": 1, "ignored": 0},
        {"seed": 2, "ignored": 0.6},
        {"seed": 3, "classes": 1},
        {"seed": 4, "frames": 3, "targets": 60, "guesses": 900},  # more than 100 detections of a class in a frame
    ],
)
def test_scores_equal_pycocotools_on_noisy_scenes(scene):
    assert_equal_to_pycocotools(*noisy_scene(**scene), CLASSES[: scene.get("classes", 3)])


def test_perfect_detections_score_one():
    truth = [boxes((0, 0, 20, 20), (30, 0, 90, 60), labels=[0, 1]), boxes(), boxes((5, 5, 205, 205), labels=1)]
    scores = score(truth, [boxes(*t.xyxy.tolist(), labels=t.labels.tolist(), scores=0.9) for t in truth])
    assert numbers(scores) == (1,) * 12
    assert numbers(scores.per_class["car"]) == (1, 1, 1, 1, -1, -1, 1, 1, 1, 1, -1, -1)
    assert (scores.frames, scores.truth_boxes, scores.detections) == (3, 3, 3)
    assert scores.curve == scores.curve50 == (1.0,) * len(RECALLS)


BOX = boxes((0, 0, 20, 20))
GUESS = boxes((0, 0, 20, 20), scores=0.5)
NOTHING = boxes(scores=())


@pytest.mark.parametrize(
    ("truth", "detections", "expected"),
    [
        ([], [], None),
        ([boxes()], [NOTHING], None),
        ([boxes()], [GUESS], None),
        ([boxes((0, 0, 20, 20), ignored=True)], [GUESS], None),
        ([BOX], [NOTHING], 0),
        ([BOX], [boxes((50, 0, 70, 20), scores=0.5)], 0),
        ([BOX], [GUESS], 1),
        ([BOX], [boxes((0, 0, 20, 20), (0, 0, 20, 20), scores=0.5)], 1),
    ],
)
@pytest.mark.parametrize("classes", [["car"], CLASSES])
def test_every_corner_has_a_number_or_none(truth, detections, expected, classes):
    scores = score(truth, detections, classes)
    assert scores.AP == scores.AR == scores.per_class["car"].AP == expected
    assert scores.AP_large is None
    assert list(scores.per_class) == classes
    assert len(scores.curve) == len(scores.curve50) == (0 if expected is None else 101)
    assert all(scores.per_class[name].AP is None for name in classes[1:])
    assert json.loads(json.dumps(scores.as_dict())) == scores.as_dict()


def test_a_detection_on_a_frame_without_truth_is_an_error():
    average_precision = score([boxes(), BOX], [boxes((0, 0, 20, 20), scores=0.9), GUESS]).AP
    assert average_precision == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("guess", "label", "expected"),
    [
        ((100, 0, 140, 40), 0, 1.0),  # on the ignored box
        ((110, 10, 115, 15), 0, 1.0),  # small and inside: all of its own area is in there
        ((60, 0, 180, 80), 0, 0.5),  # around it: a sixth of its own area is in there
        ((112, 0, 152, 40), 0, 0.75),  # 0.7 of its own area: forgiven at IoU 0.50 to 0.70, an error at 0.75 to 0.95
        ((100, 0, 140, 40), 1, 0.5),  # on it, of another class
    ],
)
def test_an_ignored_box_forgives_detections_of_its_class_that_lie_in_it(guess, label, expected):
    truth = boxes((0, 0, 20, 20), (0, 0, 20, 20), (100, 0, 140, 40), labels=[0, 1, 0], ignored=[False, False, True])
    hits = boxes((0, 0, 20, 20), (0, 0, 20, 20), guess, labels=[0, 1, label], scores=[0.5, 0.5, 0.9])
    scores = score([truth], [hits]).per_class
    hit, other = scores[CLASSES[label]].AP, scores[CLASSES[1 - label]].AP
    assert (hit, other) == pytest.approx((expected, 1))
    assert scores["car"].truth_boxes == 1


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), order=st.permutations(range(8)), cut=st.integers(0, 8))
def test_neither_the_order_nor_the_grouping_of_frames_matters(seed, order, cut):
    truth, detections = noisy_scene(seed, frames=8)
    unequal = torch.randperm(sum(map(len, detections)), generator=torch.Generator().manual_seed(seed)).float()
    for frame, scores in zip(detections, unequal.split([len(frame) for frame in detections]), strict=True):
        frame.scores[:] = scores
    whole = score(truth, detections)
    first, second = CocoEvaluator(CLASSES), CocoEvaluator(CLASSES)
    first.add([truth[i] for i in order[:cut]], [detections[i] for i in order[:cut]])
    for i in order[cut:]:
        second.add([truth[i]], [detections[i]])
    alone = second.compute()
    first.merge(pickle.loads(pickle.dumps(second)))
    assert first.compute() == first.compute() == whole
    assert second.compute() == alone


def test_half_precision_detections_with_a_gradient_score_like_float_copies():
    half = boxes((0, 0, 20, 20), (1, 1, 18, 18), scores=[0.5, 0.75])
    half = Boxes(half.xyxy.bfloat16().requires_grad_(), half.labels, half.scores.bfloat16())
    assert score([BOX], [half]) == score([BOX], [Boxes(half.xyxy.detach().float(), half.labels, half.scores.float())])


def test_evaluation_neither_speaks_nor_touches_its_input_nor_the_collector(capfd, caplog):
    caplog.set_level(logging.INFO)
    truth, detections = noisy_scene(0, frames=3)
    before = pickle.dumps((truth, detections))
    score(truth, detections)
    assert pickle.dumps((truth, detections)) == before
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("truth", "detections", "message"),
    [
        ([BOX], [], "equal lengths, got 1 and 0"),
        ([GUESS], [BOX], "must have scores"),
        ([boxes((0, 0, 1, 1), labels=3)], [GUESS], "labels of truth must be 0 to 2, got 3"),
        ([BOX], [boxes((0, 0, 1, 1), labels=-1, scores=0.5)], "labels of detections must be 0 to 2, got -1"),
        ([BOX], [boxes((0, 0, 1, 1), scores=float("nan"))], "detections must be finite"),
        ([boxes((0, 0, float("inf"), 1))], [GUESS], "truth must be finite"),
    ],
)
def test_bad_frames_are_refused_in_one_sentence_and_not_counted(truth, detections, message):
    evaluator = CocoEvaluator(CLASSES)
    with pytest.raises(InputError, match=message):
        evaluator.add(truth, detections)
    assert evaluator.compute() == CocoEvaluator(CLASSES).compute()


def test_classes_must_differ_and_be_the_same_to_merge():
    with pytest.raises(InputError, match="different names, got car, car"):
        CocoEvaluator(["car", "car"])
    with pytest.raises(InputError, match="classes must be equal"):
        CocoEvaluator(["car"]).merge(CocoEvaluator(["bus"]))
