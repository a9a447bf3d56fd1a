"""A detector on streams: the boxes of the training path, wherever the pieces are cut, whatever runs beside."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.config import DatasetConfig, DigitsConfig, EventDigitsConfig, InputConfig, TensorConfig, VanillaConfig
from seqdet.data.clips import RecordedClips
from seqdet.data.detections import event_boxes
from seqdet.data.labels import EVENT_BBOX, write_labels
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.data.schedule import Cue
from seqdet.digits.recordings import write_event_digits
from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording
from seqdet.events.filters import FilterConfig, NoiseFilter, filtered
from seqdet.inference.streaming import StreamConfig, StreamingDetector, View, ViewConfig, WindowDetections
from seqdet.inference.torch_runner import TorchRunner, predict
from seqdet.models.detector import Detector
from seqdet.models.zoo import build_detector

from .fakes import SENSOR_HW, SHOWN, WINDOW_US, HullRunner


def some_events(seed: int = 0, count: int = 60, *, start_us: int = 12_345, length_us: int = 8 * WINDOW_US) -> Events:
    rng = np.random.default_rng(seed)
    t, height, width = np.sort(rng.integers(start_us, start_us + length_us, count)), *SENSOR_HW
    x, y, p = (rng.integers(0, most, count) for most in (width, height, 2))
    return columns(t=t, x=x, y=y, p=p)


def cut(events: Events, at: list[int]) -> list[Events]:
    edges = [0, *sorted(at), len(events)]
    return [events[a:b] for a, b in pairwise(edges)]


def played(detector: StreamingDetector, parts: list[Events], stream: int = 0) -> list[WindowDetections]:
    return [each for part in parts for each in detector.push(part, stream)] + list(detector.flush(stream))


def plain(found: list[WindowDetections]) -> list[tuple]:
    return [(each.start_us, each.end_us, each.boxes.tolist(), each.events.t.tolist()) for each in found]


def assert_same(rows: np.ndarray, wanted: np.ndarray) -> None:
    """Equal to float rounding."""
    assert len(rows) == len(wanted)
    for name in ("t", "class_id", "x", "y", "w", "h", "class_confidence"):
        np.testing.assert_allclose(rows[name], wanted[name], rtol=1e-4, atol=1e-4)


def share_found(rows: np.ndarray, wanted: np.ndarray) -> float:
    """How many of the wanted boxes are there, but for rounding: that may move one across a threshold."""
    numbers = [np.stack([each[name] for name in ("class_id", "x", "y", "w", "h")], axis=-1) for each in (rows, wanted)]
    return float((np.abs(numbers[0][:, None] - numbers[1]).max(axis=2) < 0.05).any(axis=0).mean())


def loud_detector(shown: InputConfig, channels: int) -> Detector:
    """With a head that is as loud as a trained one."""
    detector = build_detector(VanillaConfig(in_channels=channels, base=2, channels=8, classes=("a", "b", "c"))).eval()
    for parameter in detector.head.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    detector.input = shown
    return detector


def assert_stream_is_training_path(folder: Path, tensor: TensorConfig) -> None:
    """The boxes of the stored tensors of the first test recording, and of the recording that comes in pieces."""
    (recording,) = (folder / "test").glob("*.raw")
    tensors = folder.with_name("tensors")
    assert not precompute([folder], PrecomputeConfig(tensors, tensor)).failed
    clips = RecordedClips(DatasetConfig(tensors), "test", clip_length=1)
    detector = loud_detector(clips.input, clips.channels)
    streaming = StreamingDetector(TorchRunner(detector, 0.3))
    with open_recording(recording) as opened:
        whole = Events.concatenate(list(opened.chunks()))
    found = played(streaming, cut(whole, np.random.default_rng(0).integers(0, len(whole), 40).tolist()))
    assert not streaming.dropped
    stored = stored_boxes(detector, clips)
    assert [each.end_us for each in found] == list(stored)
    assert len({rows["x"].tobytes() for rows in stored.values()}) == len(stored) > 3
    for each in found:
        assert len(each.boxes) > 3
        assert_same(each.boxes, stored[each.end_us])
    longer = stored_boxes(detector, RecordedClips(DatasetConfig(tensors), "test", clip_length=4))
    assert np.mean([share_found(each.boxes, longer[each.end_us]) for each in found]) > 0.97


def stored_boxes(detector: Detector, clips: RecordedClips) -> dict[int, np.ndarray]:
    """What training and evaluation find in the windows of the first recording, by their ends."""
    scale = clips.input.sensor_hw[1] / clips.input.frame_hw[1], clips.input.sensor_hw[0] / clips.input.frame_hw[0]
    lanes, stored = [clips[Cue(0, n)] for n in range(clips.clip_counts[0])], {}
    for clip, boxes in predict(detector, lanes, score=0.3):
        for end_us, each in zip(clip.end_us[:, 0].tolist(), boxes, strict=True):
            if end_us:
                stored[end_us] = event_boxes(each, end_us, scale_xy=scale)
    return stored


def test_a_real_recording_gives_the_boxes_of_its_tensors(recordings, tmp_path):
    copied = tmp_path / "lens" / "test" / "lens.raw"
    copied.parent.mkdir(parents=True)
    (tmp_path / "lens" / "label_map_dictionary.json").write_text(json.dumps({"0": "a", "1": "b", "2": "c"}))
    copied.symlink_to(recordings / "lens_640x480.evt3.raw")
    with open_recording(copied) as opened:
        first_us = opened.span_us()[0]
    labels = np.zeros(1, EVENT_BBOX)
    labels["t"], labels["w"], labels["h"] = first_us // 100_000 * 100_000 + 200_000, 9, 9
    write_labels(copied.with_name("lens_bbox.npy"), labels)
    tensor = TensorConfig(parameters={"bins": 2}, window_us=50_000, to_hw=(60, 90))
    assert_stream_is_training_path(tmp_path / "lens", tensor)


def test_simulated_digits_give_the_boxes_of_their_tensors(tmp_path):
    length = {"frames_per_video": 12, "held_out_frames_per_video": 12}
    digits = DigitsConfig(frames_per_epoch=12, validation_frames=12, test_frames=12, **length)
    scene = EventDigitsConfig(digits, moving_s=(0.05, 0.1), still_s=(0.1, 0.2))
    write_event_digits(tmp_path / "digits", scene, workers=1)
    assert_stream_is_training_path(tmp_path / "digits", TensorConfig("event_cube", {"bins": 2}, downscale=2))


@given(
    st.lists(st.integers(0, 60), max_size=8),
    st.sampled_from([{}, {"step_us": 300}, {"count": 7}]),
    st.sampled_from([0, 3000]),
    st.sampled_from([None, (0, 0, 20, 24)]),
)
def test_it_makes_no_difference_where_the_pieces_are_cut(at, lengths, back_us, roi):
    config = StreamConfig(**lengths, filters=(FilterConfig("trail", 2000),), view=ViewConfig(roi))
    events = some_events()
    events = replace(events, t=events.t - np.random.default_rng(1).integers(0, back_us + 1, len(events)))
    first, second = StreamingDetector(HullRunner(), config), StreamingDetector(HullRunner(), config)
    whole = played(first, [events])
    assert plain(played(second, cut(events, at))) == plain(whole)
    assert second.dropped == first.dropped
    assert len(whole) > 2


@pytest.mark.parametrize(
    "config", [{"view": ViewConfig((0, 0, 10, 10))}, {"filters": (FilterConfig("activity", 500),)}]
)
def test_events_that_are_left_out_close_windows_as_others_do(config):
    streaming = StreamingDetector(HullRunner(), StreamConfig(**config))
    t = np.arange(50) * 100
    early = columns(t=t, x=5 + np.arange(50) % 2, y=[5] * 50, p=[1] * 50)
    alone = columns(
        t=5000 + 700 * np.arange(20), x=np.arange(20) % 4 * 5 + 12, y=np.arange(20) // 4 * 4 + 3, p=[0] * 20
    )
    found = [each for n in range(len(early)) for each in streaming.push(early[n : n + 1])]
    found += [each for n in range(len(alone)) for each in streaming.push(alone[n : n + 1])]
    newest_us = int(alone.t[-1])
    assert [each.end_us for each in found] == list(range(1000, newest_us - 1000 + 1, 1000))
    assert not any(len(each.events) for each in found[5:])
    assert [each.end_us for each in streaming.flush()][-1] == newest_us // 1000 * 1000


def test_a_window_is_given_as_soon_as_no_event_can_come_into_it():
    streaming = StreamingDetector(HullRunner(), StreamConfig(lateness_us=100))
    early = columns(t=[5200, 5900], x=[3, 9], y=[4, 8], p=[0, 1])
    assert list(streaming.push(early)) == []
    (found,) = streaming.push(columns(t=[6100], x=[1], y=[1], p=[1]))
    assert (found.start_us, found.end_us) == (5000, 6000)
    assert found.boxes[["t", "x", "y", "w", "h"]].tolist() == [(6000, 3, 4, 7, 5)]
    (empty,) = (each for each in streaming.advance(8000) if not len(each.events))
    assert empty.end_us == 8000
    assert len(empty.boxes) == 0


def test_a_window_is_computed_when_it_is_asked_for():
    streaming = StreamingDetector(HullRunner())
    hour_us = 3_600_000_000
    found = streaming.push(columns(t=[0, hour_us], x=[1, 1], y=[1, 1], p=[0, 0]))
    assert next(found).end_us == 1000
    assert next(streaming.advance(hour_us)).end_us == 2000


@given(st.integers(0, 60), st.booleans())
def test_streams_do_not_know_of_each_other(at, is_reset):
    streaming = StreamingDetector(HullRunner())
    first, second = cut(some_events(0), [at]), cut(some_events(1, start_us=0), [at])
    found = {0: list(streaming.push(first[0], 0)), 1: list(streaming.push(second[0], 1))}
    if is_reset:
        streaming.reset(1)
        found[1] = []
    for number, part in ((1, second[1]), (0, first[1])):
        found[number] += list(streaming.push(part, number))
        found[number] += list(streaming.flush(number))
    assert plain(found[0]) == plain(played(StreamingDetector(HullRunner()), [some_events(0)]))
    rest = [second[1]] if is_reset else second
    assert plain(found[1]) == plain(played(StreamingDetector(HullRunner()), rest))
    assert {each.stream for each in found[1]} <= {1}


def test_after_its_end_a_stream_begins_anew():
    streaming = StreamingDetector(HullRunner())
    assert plain(played(streaming, [some_events()])) == plain(played(streaming, [some_events()]))
    assert list(streaming.flush()) == list(streaming.flush(7)) == []


@pytest.mark.parametrize("lengths", [{}, {"step_us": 600}, {"count": 40}])
def test_a_saved_stream_goes_on_elsewhere(lengths):
    config = StreamConfig(**lengths, filters=(FilterConfig("activity", 2000), FilterConfig("trail", 500)))
    detector = loud_detector(SHOWN, 2)
    whole = played(StreamingDetector(TorchRunner(detector, 0.5), config), [some_events(count=400)])
    first = StreamingDetector(TorchRunner(detector, 0.5), config)
    second = StreamingDetector(TorchRunner(detector, 0.5), config)
    early, late = cut(some_events(count=400), [210])
    found = list(first.push(early))
    state = first.state_dict()
    list(first.push(late))
    second.load_state_dict(state)
    found += played(second, [late])
    assert [each.end_us for each in found] == [each.end_us for each in whole]
    for each, wanted in zip(found, whole, strict=True):
        assert_same(each.boxes, wanted.boxes)
    with pytest.raises(InputError, match="state must be of"):
        StreamingDetector(TorchRunner(detector), StreamConfig(step_us=3)).load_state_dict(state)
    with pytest.raises(InputError, match="state must be what state_dict gave, got nothing"):
        second.load_state_dict({})
    other = replace(config, view=ViewConfig(flip_x=True))
    with pytest.raises(InputError, match=r"state must be of a detector with view .*'flip_x': True.*, got .*False"):
        StreamingDetector(TorchRunner(detector), other).load_state_dict(state)
    other = replace(config, filters=(FilterConfig("activity", 2000), FilterConfig("trail", 501)))
    with pytest.raises(InputError, match=r"state must be of a detector with filters .*501.*, got .*500"):
        StreamingDetector(TorchRunner(detector), other).load_state_dict(state)
    other = copy.deepcopy(detector)
    other.input = replace(SHOWN, parameters={"bins": 1, "max_count": 3})
    with pytest.raises(InputError, match=r"state must be of a detector with frames .*max_count.*, got"):
        StreamingDetector(TorchRunner(other), config).load_state_dict(state)


@pytest.mark.parametrize("any_size", [False, True])
def test_a_detector_for_one_size_of_frames_says_which_size_to_export_before_any_event(any_size):
    runner = HullRunner()
    runner.size_hw = SENSOR_HW
    with pytest.raises(InputError, match=r"for which it was exported, got 64x48\. .* --size-hw 48,64\."):
        StreamingDetector(runner, StreamConfig(any_size=any_size), sensor_hw=(48, 64))


@given(
    st.sampled_from([None, (0, 0, 32, 24), (5, 3, 20, 11), (30, 20, 99, 99)]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_boxes_are_in_pixels_of_the_sensor_however_the_detector_sees_it(roi, transpose, flip_x, flip_y):
    seen = SENSOR_HW[::-1] if transpose else SENSOR_HW
    shown = InputConfig("stacked_histogram", {"bins": 1}, WINDOW_US, seen, seen)
    config = StreamConfig(view=ViewConfig(roi, transpose, flip_x, flip_y))
    events = some_events()
    for found in played(StreamingDetector(HullRunner(shown), config), [events]):
        x1, y1, x2, y2 = roi or (0, 0, 99, 99)
        here = events[(events.t >= found.start_us) & (events.t < found.end_us)]
        here = here[(here.x >= x1) & (here.x < x2) & (here.y >= y1) & (here.y < y2)]
        hulls = [(here.x.min(), here.y.min(), np.ptp(here.x) + 1, np.ptp(here.y) + 1)] if len(here) else []
        assert found.boxes[["x", "y", "w", "h"]].tolist() == hulls
        assert found.events.x.tolist() == here.x.tolist()


def test_the_detector_sees_a_turned_sensor_turned():
    frames = []

    class Watching(HullRunner):
        def __call__(self, frames_, state=None):
            frames.append(frames_[0].sum(axis=0))
            return super().__call__(frames_, state)

    shown = InputConfig("stacked_histogram", {"bins": 1}, WINDOW_US, (3, 2), (3, 2))
    streaming = StreamingDetector(Watching(shown), StreamConfig(view=ViewConfig(transpose=True, flip_y=True)))
    played(streaming, [columns(t=[0, 1, 1], x=[0, 2, 2], y=[0, 1, 1], p=[1, 1, 0])])
    assert frames[0].tolist() == [[0, 2], [0, 0], [1, 0]]


def test_windows_overlap_where_the_step_is_shorter():
    found = played(StreamingDetector(HullRunner(), StreamConfig(step_us=250)), [some_events()])
    starts = [each.start_us for each in found]
    assert np.diff(starts).tolist() == [250] * (len(starts) - 1)
    assert starts[0] + WINDOW_US - 250 <= some_events().t[0] < starts[0] + WINDOW_US


@given(st.integers(-(10**6), 10**6), st.integers(0, 5000))
def test_overlapping_windows_begin_at_multiples_of_the_step_with_the_first_event(first_us, lateness_us):
    events = columns(t=first_us + np.arange(30) * 300, x=[1] * 30, y=[1] * 30, p=[1] * 30)
    found = played(StreamingDetector(HullRunner(), StreamConfig(step_us=200, lateness_us=lateness_us)), [events])
    assert found[0].start_us == (first_us - WINDOW_US) // 200 * 200 + 200
    assert np.diff([each.start_us for each in found]).tolist() == [200] * (len(found) - 1)


def test_an_impossible_time_at_the_start_is_left_out_and_counted():
    streaming = StreamingDetector(HullRunner())
    events = columns(t=[2**60, 5, 6000], x=[1] * 3, y=[1] * 3, p=[1] * 3)
    assert [each.end_us for each in played(streaming, [events[:1], events[1:]])] == list(range(1000, 7001, 1000))
    again = StreamingDetector(HullRunner())
    assert plain(played(again, [events])) == plain(played(StreamingDetector(HullRunner()), [events[1:]]))


def test_rows_of_another_software_are_events_too():
    kinds = [("x", np.uint16), ("y", np.uint16), ("p", np.int16), ("t", np.int64)]
    events = some_events()
    rows = np.array(list(zip(events.x, events.y, events.p, events.t, strict=True)), kinds)
    assert plain(played(StreamingDetector(HullRunner()), [rows])) == plain(
        played(StreamingDetector(HullRunner()), [events])
    )
    for other, words in ((np.zeros(3), "got an array of float64"), ([1], "got list")):
        with pytest.raises(InputError, match=f"events must be Events or an array with the fields .*{words}"):
            StreamingDetector(HullRunner()).push(other)


def test_streams_have_filters_of_their_own():
    streaming = StreamingDetector(HullRunner(), StreamConfig(filters=(FilterConfig("trail", 10**6),)))
    event = columns(t=[100], x=[3], y=[4], p=[1])
    for stream in range(3):
        list(streaming.push(event, stream))
    for stream in range(3):
        (found,) = streaming.flush(stream)
        assert len(found.events) == 1


def test_a_saved_stream_remembers_that_it_has_begun():
    first, second = StreamingDetector(HullRunner()), StreamingDetector(HullRunner())
    list(first.push(columns(t=[100, 2500], x=[3, 3], y=[4, 4], p=[1, 1])))
    second.load_state_dict(first.state_dict())
    assert [each.end_us for each in second.advance(2000)] == [each.end_us for each in first.advance(2000)] == [2000]


def test_wanted_classes_have_their_own_least_score():
    def labels(**wanted):
        found = played(StreamingDetector(HullRunner(), StreamConfig(**wanted)), [some_events(count=300)])
        return [row["class_id"] for each in found for row in each.boxes]

    assert labels() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert labels(score=0.7) == [0, 1, 0, 1]
    assert labels(classes=("b",)) == [1, 1, 1, 1]
    assert labels(classes=("a:0.8", "b"), score=0.5) == [0, 1, 0, 1, 1]


def test_filters_come_before_everything_else():
    config = FilterConfig("activity", 3000)
    view = ViewConfig((8, 6, 20, 18))
    streaming = StreamingDetector(HullRunner(), StreamConfig(filters=(config,), view=view))
    (kept,) = filtered([some_events(count=400)], [NoiseFilter(config, SENSOR_HW)])
    kept = kept[View(view, SENSOR_HW).is_inside(kept)]
    found = played(streaming, [some_events(count=400)])
    assert Events.concatenate([each.events for each in found]).t.tolist() == kept.t.tolist()
    assert 0 < len(kept) < 400


def test_a_sensor_of_another_size_is_refused_unless_it_is_wanted():
    half = InputConfig("stacked_histogram", {"bins": 1}, WINDOW_US, (480, 640), (240, 320))
    with pytest.raises(InputError, match=r"must see 640x480 pixels, as in training, got 32x24.*give any_size"):
        StreamingDetector(HullRunner(half), sensor_hw=SENSOR_HW)
    streaming = StreamingDetector(HullRunner(half), StreamConfig(any_size=True), sensor_hw=SENSOR_HW)
    events = columns(t=[0, 1], x=[4, 9], y=[6, 11], p=[0, 1])
    (found,) = played(streaming, [events])
    assert found.boxes[["x", "y", "w", "h"]].tolist() == [(4, 6, 6, 6)]


@pytest.mark.parametrize(
    ("runner", "config", "words"),
    [
        (HullRunner(None), {}, "detector must be one for events, got one for pictures of 2 channels"),
        (
            HullRunner(channels=3),
            {},
            "must make the frames that the detector takes, 3 channels of uint8, got 2 of uin",
        ),
        (HullRunner(), {"step_us": 0}, "step_us must be from 1 to window_us"),
        (HullRunner(), {"step_us": 1001}, "step_us must be from 1 to window_us"),
        (HullRunner(), {"step_us": 10, "count": 10}, "step_us and count must not both be given"),
        (HullRunner(), {"count": 0}, "count must be at least 1"),
        (HullRunner(), {"classes": ("car",)}, "classes must be among a, b; got 'car'"),
        (HullRunner(), {"classes": ("a", "a:0.3")}, "every class must be named once, got a twice"),
        (HullRunner(), {"classes": ("a:2",)}, "a score must be a number from 0 to 1, got 2"),
        (HullRunner(), {"score": -1}, "a score must be a number from 0 to 1, got -1"),
        (HullRunner(), {"view": ViewConfig((40, 0, 50, 9))}, "roi must lie in the 32x24 pixels of the sensor"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(runner, config, words):
    with pytest.raises(InputError, match=words):
        StreamingDetector(runner, StreamConfig(**config))


def test_events_outside_of_the_sensor_are_refused_and_nothing_is_lost():
    streaming = StreamingDetector(HullRunner(), StreamConfig(filters=(FilterConfig("trail"),)))
    early, late = cut(some_events(), [30])
    found = list(streaming.push(early))
    with pytest.raises(InputError, match="events must lie on a sensor of height 24 and width 32, got x up to 32"):
        streaming.push(columns(t=[13_000], x=[32], y=[0], p=[0]))
    with pytest.raises(InputError, match="p must be 0 or 1, got up to 3"):
        streaming.push(replace(columns(t=[13_000], x=[0], y=[0], p=[0]), p=np.uint8([3])))
    found += played(streaming, [late])
    whole = played(StreamingDetector(HullRunner(), StreamConfig(filters=(FilterConfig("trail"),))), [some_events()])
    assert plain(found) == plain(whole)


def test_events_that_come_too_late_are_counted():
    streaming = StreamingDetector(HullRunner())
    list(streaming.push(columns(t=[0, 9000], x=[0, 0], y=[0, 0], p=[0, 0])))
    list(streaming.push(columns(t=[100], x=[0], y=[0], p=[0])))
    assert streaming.dropped == {"events that came too late": 1}
    streaming.reset()
    assert streaming.dropped == {"events that came too late": 1}


def test_streaming_and_prediction_need_no_torch():
    code = "import sys; import seqdet.inference.prediction, seqdet.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
