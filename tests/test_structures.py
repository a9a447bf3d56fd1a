from __future__ import annotations

import pickle
import re
import sys
from dataclasses import field, make_dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.structures import Boxes, Clip

COLUMNS = ("xyxy", "labels", "scores", "track_ids", "is_ignored")


def make_boxes(count: int, *, label: int = 0, full: bool = True) -> Boxes:
    xyxy = torch.arange(count * 4, dtype=torch.float32).view(count, 4)
    labels = torch.full((count,), label)
    if not full:
        return Boxes(xyxy, labels)
    ids = torch.arange(count)
    return Boxes(xyxy, labels, scores=ids / 10, track_ids=ids, is_ignored=ids % 2 == 1)


def make_clip(time: int, lanes: int, first_recording: int) -> Clip:
    """Every frame, and the label of its only box, holds ``100 * recording + t``."""
    recordings = first_recording + torch.arange(lanes)
    number = 100 * recordings + torch.arange(time)[:, None]
    return Clip(
        frames=number[..., None, None, None].expand(time, lanes, 3, 2, 2),
        is_first=recordings % 2 == 0,
        is_blank=recordings % 3 == 0,
        is_labelled=number % 2 == 0,
        boxes=[make_boxes(1, label=int(n)) for n in number.flatten()],
        recordings=recordings,
        end_us=number * 1000,
    )


def same(left: Boxes, right: Boxes) -> bool:
    pairs = [(getattr(left, name), getattr(right, name)) for name in COLUMNS]
    return all((a is None and b is None) or (a.dtype == b.dtype and torch.equal(a, b)) for a, b in pairs)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_boxes_survive_pickling(count, full):
    boxes = make_boxes(count, full=full)
    assert same(pickle.loads(pickle.dumps(boxes)), boxes)
    assert same(pickle.loads(pickle.dumps(boxes[::2])), boxes[::2])


def test_choosing_boxes_chooses_in_every_column():
    chosen = make_boxes(4)[torch.tensor([3, 1])]
    assert chosen.xyxy[:, 0].tolist() == [12, 4]
    assert chosen.track_ids.tolist() == [3, 1]
    assert chosen.is_ignored.tolist() == [True, True]
    assert chosen.scores.tolist() == pytest.approx([0.3, 0.1])


def test_targets_are_the_boxes_that_are_not_ignored():
    assert make_boxes(5).targets.track_ids.tolist() == [0, 2, 4]
    assert len(make_boxes(5, full=False).targets) == 5
    assert len(Boxes.empty().targets) == 0


def test_columns_of_another_length_are_refused_by_name():
    with pytest.raises(InputError, match=r"scores must have shape \(N=2\), got \(3,\)"):
        Boxes(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64), scores=torch.zeros(3))
    with pytest.raises(InputError, match=r"xyxy must have shape \(N, 4\), got \(2, 5\)"):
        Boxes(torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("xyxy", torch.zeros(2, 4, dtype=torch.int64), "xyxy must be of a floating point type, got torch.int64."),
        ("xyxy", np.zeros((2, 4)), "xyxy must be a torch tensor, got ndarray."),
        ("xyxy", [[0, 0, 1, 1]] * 2, "xyxy must be a torch tensor, got list."),
        ("labels", torch.zeros(2), "labels must be of an integer type, got torch.float32."),
        ("labels", torch.zeros(2, dtype=torch.bool), "labels must be of an integer type, got torch.bool."),
        ("labels", None, "labels must be a torch tensor, got NoneType."),
        ("scores", torch.ones(2, dtype=torch.int64), "scores must be of a floating point type, got torch.int64."),
        ("track_ids", torch.ones(2), "track_ids must be of an integer type, got torch.float32."),
        ("is_ignored", torch.zeros(2, dtype=torch.uint8), "is_ignored must be of a boolean type, got torch.uint8."),
    ],
)
def test_columns_of_another_kind_are_refused_by_name(column, value, words):
    columns = {"xyxy": torch.zeros(2, 4), "labels": torch.zeros(2, dtype=torch.int64)}
    with pytest.raises(InputError, match=f"^{re.escape(words)}$"):
        Boxes(**{**columns, column: value})


def test_columns_of_another_width_stay_as_they_are():
    boxes = Boxes(torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, dtype=torch.int32))
    assert (boxes.xyxy.dtype, boxes.labels.dtype) == (torch.float64, torch.int32)


def test_boxes_without_scores_cannot_be_chosen_by_them():
    assert make_boxes(4).above(0.15).track_ids.tolist() == [2, 3]
    with pytest.raises(InputError, match="scores must be there to choose by, got boxes without"):
        make_boxes(4, full=False).above(0.5)


@settings(max_examples=30)
@given(time=st.integers(1, 4), lanes=st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_collated_boxes_follow_the_frames_in_time_then_lane_order(time, lanes):
    clips = [make_clip(time, count, sum(lanes[:i])) for i, count in enumerate(lanes)]
    clip = Clip.collate(clips)
    assert clip.frames.shape[:2] == (time, sum(lanes))
    assert [int(boxes.labels) for boxes in clip.boxes] == clip.frames.flatten(0, 1)[:, 0, 0, 0].tolist()
    assert clip.recordings.tolist() == list(range(sum(lanes)))
    assert torch.equal(clip.frames[0, :, 0, 0, 0], 100 * clip.recordings)
    assert torch.equal(clip.end_us, 1000 * clip.frames[..., 0, 0, 0])
    assert torch.equal(clip.is_labelled, clip.end_us % 2000 == 0)
    assert torch.equal(clip.is_first, clip.recordings % 2 == 0)
    assert torch.equal(clip.is_blank, clip.recordings % 3 == 0)


def test_the_boxes_of_a_time_bin_are_those_of_its_lanes():
    clip = Clip.collate([make_clip(3, 1, 0), make_clip(3, 1, 7)])
    assert [int(boxes.labels) for boxes in clip.at(2)] == [2, 702]


def test_a_clip_with_a_wrong_axis_is_refused_by_name():
    clip = make_clip(2, 3, 0)
    columns = {name: getattr(clip, name) for name in clip.__dataclass_fields__}
    with pytest.raises(InputError, match=r"is_labelled must have shape \(T=2, B=3\), got \(3, 2\)"):
        Clip(**{**columns, "is_labelled": clip.is_labelled.T})


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("frames", lambda column: column.numpy(), "frames must be a torch tensor, got ndarray."),
        ("is_first", lambda column: column.float(), "is_first must be of a boolean type, got torch.float32."),
        ("is_blank", lambda column: column.int(), "is_blank must be of a boolean type, got torch.int32."),
        ("is_labelled", lambda column: column.byte(), "is_labelled must be of a boolean type, got torch.uint8."),
        ("recordings", lambda column: column.float(), "recordings must be of an integer type, got torch.float32."),
        ("end_us", lambda column: column.float(), "end_us must be of an integer type, got torch.float32."),
        ("boxes", lambda column: column[1:], "boxes must have T * B = 6 entries in (t, b) order, got 5."),
    ],
)
def test_a_clip_with_a_wrong_column_is_refused_by_name(name, change, words):
    clip = make_clip(2, 3, 0)
    with pytest.raises(InputError, match=f"^{re.escape(words)}$"):
        replace(clip, **{name: change(getattr(clip, name))})


def test_a_clip_moves_to_a_device_and_its_boxes_stay():
    clip = make_clip(3, 2, 0)
    moved = clip.to("meta")
    columns = (moved.frames, moved.is_first, moved.is_blank, moved.is_labelled, moved.recordings, moved.end_us)
    assert {column.device.type for column in columns} == {"meta"}
    assert moved.boxes is clip.boxes


@pytest.fixture(params=["library", "stand-in"])
def supervision(request, monkeypatch):
    """The library, where it is installed, and what stands in for it anywhere: the same fields."""
    if request.param == "library":
        return pytest.importorskip("supervision")
    names = ("mask", "confidence", "class_id", "tracker_id")
    fields = [("xyxy", object), *((name, object, None) for name in names), ("data", dict, field(default_factory=dict))]
    module = SimpleNamespace(Detections=make_dataclass("Detections", fields))
    monkeypatch.setitem(sys.modules, "supervision", module)
    return module


def test_boxes_become_detections_of_supervision_and_come_back(supervision):
    boxes = replace(make_boxes(2), labels=torch.tensor([1, 0]))
    detections = boxes.to_supervision(["car", "person"])
    assert isinstance(detections, supervision.Detections)
    assert detections.xyxy.tolist() == boxes.xyxy.tolist()
    assert detections.class_id.tolist() == [1, 0]
    assert detections.tracker_id.tolist() == [0, 1]
    assert detections.data["class_name"].tolist() == ["person", "car"]
    assert same(Boxes.from_supervision(detections), boxes)
    nothing = Boxes.empty()
    assert nothing.to_supervision().xyxy.shape == (0, 4)
    assert same(Boxes.from_supervision(nothing.to_supervision(["car"])), nothing)


def test_what_boxes_and_detections_do_not_share_is_said(supervision, monkeypatch):
    with pytest.raises(InputError, match=r"labels must be 0 to 0, as classes are, got \[1, 1\]"):
        make_boxes(2, label=1).to_supervision(["car"])
    wide = supervision.Detections(xyxy=np.zeros((1, 4)), class_id=np.array([2]))
    assert Boxes.from_supervision(wide).xyxy.dtype == torch.float32
    with pytest.raises(InputError, match="class_id of the detections must be given"):
        Boxes.from_supervision(supervision.Detections(xyxy=np.zeros((1, 4))))
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(InputError, match="pip install supervision"):
        make_boxes(2).to_supervision()
