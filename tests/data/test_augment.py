from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.config import AugmentConfig, InputConfig
from seqdet.data.augmentation import Transform, draw_transform
from seqdet.events.array import Events
from seqdet.events.canvas import Channel
from seqdet.events.canvas import representation as stated
from seqdet.events.tensors import REPRESENTATIONS, channels_of, event_cube, histogram_quantized, stacked_histogram
from seqdet.structures import Boxes, Clip

SIZE_HW = (40, 56)
ALL = dict.fromkeys(("flip", "zoom", "translate", "rotate", "event_dropout"), 1.0)
STRAIGHT = dict.fromkeys(("flip", "zoom", "translate"), 1.0)


def channel_order(representation, channels, parameters=None):
    """What the channels of frames show by their representation."""
    return channels_of(InputConfig(representation, parameters or {}, 1000, SIZE_HW, SIZE_HW), channels)


STACKED = channel_order("stacked_histogram", 6)
DTYPES = [torch.uint8, torch.int8, torch.float16, torch.float32, torch.float64]


def drawn(config: AugmentConfig, *, seed=0, recording=0, epoch=0, size_hw=SIZE_HW, channels=None) -> Transform:
    return draw_transform(config, seed=seed, recording=recording, epoch=epoch, size_hw=size_hw, channels=channels)


def noise(*shape: int, dtype=torch.uint8, low=0, high=4, seed=0) -> torch.Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def box(*xyxy: float, **columns) -> Boxes:
    return Boxes(torch.tensor([xyxy], dtype=torch.float32), torch.tensor([3]), **columns)


def blob(left: int, top: int, right: int, bottom: int, size_hw) -> torch.Tensor:
    frame = torch.zeros(1, 1, *size_hw, dtype=torch.uint8)
    frame[..., top:bottom, left:right] = 7
    return frame


def tight(frame: torch.Tensor) -> list[int] | None:
    rows, columns = torch.nonzero(frame[0, 0], as_tuple=True)
    if not len(rows):
        return None
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


def small_clip(frames: torch.Tensor) -> Clip:
    time = len(frames)
    return Clip(
        frames=frames[:, None],
        is_first=torch.tensor([True]),
        is_blank=torch.tensor([False]),
        is_labelled=(torch.arange(time) % 3 != 1)[:, None],
        boxes=[box(4, 5, 12, 20 + t, track_ids=torch.tensor([t])) for t in range(time)],
        recordings=torch.tensor([5]),
        end_us=torch.arange(1, time + 1)[:, None] * 50_000,
    )


def assert_same_boxes(left: Boxes, right: Boxes) -> None:
    for field in fields(Boxes):
        a, b = getattr(left, field.name), getattr(right, field.name)
        assert (a is None and b is None) or torch.equal(a, b)


@st.composite
def rectangles(draw_value):
    height, width = draw_value(st.tuples(st.integers(8, 64), st.integers(8, 64)))
    left, top = draw_value(st.integers(0, width - 3)), draw_value(st.integers(0, height - 3))
    right, bottom = draw_value(st.integers(left + 3, width)), draw_value(st.integers(top + 3, height))
    return (height, width), (left, top, right, bottom)


@st.composite
def configs(draw_value, on, **limits):
    ranges = {
        "zoom_in": draw_value(st.tuples(st.floats(1, 3), st.floats(1, 3)).map(sorted).map(tuple)),
        "zoom_out": draw_value(st.tuples(st.floats(1, 2), st.floats(1, 2)).map(sorted).map(tuple)),
        "zoom_in_share": draw_value(st.sampled_from([0.0, 0.5, 1.0])),
        "max_shift": draw_value(st.floats(0, 0.5)),
        "max_rotation": draw_value(st.floats(0, 180)),
    }
    return AugmentConfig(**{name: draw_value(st.sampled_from([0.0, 0.5, 1.0])) for name in on}, **ranges | limits)


@settings(max_examples=60)
@given(rectangles(), configs(["flip", "translate"]), st.integers(0, 99))
def test_a_mirrored_and_shifted_blob_fills_its_box_exactly(rectangle, config, seed):
    size_hw, xyxy = rectangle
    transform = drawn(config, seed=seed, size_hw=size_hw)
    moved = transform.boxes(box(*xyxy))
    assert moved.xyxy.tolist() == ([found] if (found := tight(transform.frames(blob(*xyxy, size_hw)))) else [])


@settings(max_examples=60)
@given(rectangles(), configs(STRAIGHT), st.integers(0, 99))
def test_a_zoomed_blob_fills_its_box_to_the_pixel(rectangle, config, seed):
    size_hw, xyxy = rectangle
    transform = drawn(config, seed=seed, size_hw=size_hw)
    moved, found = transform.boxes(box(*xyxy)), tight(transform.frames(blob(*xyxy, size_hw)))
    if found:
        np.testing.assert_allclose(moved.xyxy, [found], atol=1 + 1e-4)
    assert found or (moved.xyxy[:, 2:] - moved.xyxy[:, :2]).amin(1).lt(1).all()


@settings(max_examples=60)
@given(rectangles(), configs([*STRAIGHT, "rotate"]), st.integers(0, 99))
def test_a_turned_blob_lies_in_its_box_and_fills_it_where_nothing_is_cut(rectangle, config, seed):
    size_hw, xyxy = rectangle
    transform = drawn(config, seed=seed, size_hw=size_hw)
    moved, found = transform.boxes(box(*xyxy)), tight(transform.frames(blob(*xyxy, size_hw)))
    if found:
        left, top, right, bottom = moved.xyxy[0].tolist()
        assert left - 1 < found[0] + 1e-4
        assert top - 1 < found[1] + 1e-4
        assert found[2] < right + 1 + 1e-4
        assert found[3] < bottom + 1 + 1e-4
        if left > 0 and top > 0 and right < size_hw[1] and bottom < size_hw[0]:
            np.testing.assert_allclose(moved.xyxy, [found], atol=1 + 1e-4)


@settings(max_examples=60)
@given(configs([*STRAIGHT, "rotate"]), st.integers(0, 99), st.integers(0, 40 * 56 - 1))
def test_a_single_pixel_is_shown_where_its_centre_goes_or_left_the_frame(config, seed, pixel):
    transform = drawn(config, seed=seed)
    frame = torch.zeros(1, 1, *SIZE_HW, dtype=torch.uint8)
    frame.view(-1)[pixel] = 200
    matrix = np.array(transform.matrix)
    x, y = matrix @ [pixel % 56 + 0.5, pixel // 56 + 0.5, 1]
    if 0.01 < x < 55.99 and 0.01 < y < 39.99:
        left, top, right, bottom = tight(transform.frames(frame))
        assert left - 0.5 <= x <= right + 0.5
        assert top - 0.5 <= y <= bottom + 0.5


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_without_any_change_the_very_same_tensors_come_back(dtype):
    transform = drawn(AugmentConfig())
    frames, boxes = noise(2, 3, *SIZE_HW, dtype=dtype), box(-3, 1, 70, 9)
    clip = small_clip(frames)
    assert transform.is_identity
    assert transform.frames(frames) is frames
    assert transform.boxes(boxes) is boxes
    assert torch.equal(transform.clip(clip, start=0).frames, clip.frames)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_type_and_shape_are_kept_and_the_input_is_not_changed(dtype):
    transform = drawn(AugmentConfig(**ALL))
    frames = noise(2, 3, *SIZE_HW, dtype=dtype)
    boxes = box(4, 5, 20, 30, is_ignored=torch.tensor([False]))
    before = frames.clone(), boxes.xyxy.clone(), boxes.is_ignored.clone()
    moved, moved_boxes = transform.frames(frames), transform.boxes(boxes)
    assert (moved.dtype, moved.shape, moved_boxes.xyxy.dtype) == (dtype, frames.shape, torch.float32)
    assert not torch.equal(moved, frames)
    assert all(torch.equal(a, b) for a, b in zip(before, (frames, boxes.xyxy, boxes.is_ignored), strict=True))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(0, 10**3))
def test_the_same_seed_recording_and_epoch_draw_the_same(seed, recording, epoch):
    config = AugmentConfig(**ALL)
    first, again = (drawn(config, seed=seed, recording=recording, epoch=epoch) for _ in range(2))
    assert first == again
    for name in ("seed", "recording", "epoch"):
        numbers = {"seed": seed, "recording": recording, "epoch": epoch}
        assert drawn(config, **numbers | {name: numbers[name] + 1}) != first


def test_one_probability_does_not_change_what_the_others_draw():
    both = [drawn(AugmentConfig(flip=flip, zoom=1.0), recording=3).matrix for flip in (0.0, 1.0)]
    assert both[0][1] == both[1][1]


def test_a_blank_lane_is_never_changed():
    assert drawn(AugmentConfig(**ALL), recording=-1).is_identity


@settings(max_examples=60)
@given(st.integers(1, 7), st.booleans())
def test_a_recording_cut_into_clips_is_changed_as_the_whole(length, is_reversed):
    config = AugmentConfig(**ALL, time_flip=float(is_reversed))
    transform, frames = drawn(config, channels=STACKED), noise(length * 3, 6, *SIZE_HW)
    parts = [
        transform.frames(frames[source * length :][:length], start=clip * length)
        for clip in range(3)
        for source in [transform.source_clip(clip, 3)]
    ]
    assert torch.equal(torch.cat(parts), transform.frames(frames))


def test_lanes_side_by_side_are_moved_as_each_alone():
    transform, frames = drawn(AugmentConfig(**STRAIGHT, rotate=1.0)), noise(3, 2, 6, *SIZE_HW)
    both = transform.frames(frames)
    assert all(torch.equal(both[:, lane], transform.frames(frames[:, lane])) for lane in range(2))


@pytest.mark.parametrize("size_hw", [(5, 7), (6, 8), (1, 1)])
def test_mirrored_twice_is_the_original(size_hw):
    transform, frames = drawn(AugmentConfig(flip=1.0), size_hw=size_hw), noise(2, 3, *size_hw)
    boxes = box(0.25, 0, 0.75, 1, track_ids=torch.tensor([9]), is_ignored=torch.tensor([True]))
    once = transform.frames(frames)
    assert torch.equal(once, frames.flip(-1))
    assert torch.equal(transform.frames(once), frames)
    assert_same_boxes(transform.boxes(transform.boxes(boxes)), boxes)


@pytest.mark.parametrize(
    ("representation", "dtype", "low"),
    [("stacked_histogram", torch.uint8, 0), ("event_cube", torch.float32, 0), ("difference", torch.int8, -127)],
)
def test_played_backwards_twice_is_the_original(representation, dtype, low):
    frames = noise(4, 6, *SIZE_HW, dtype=dtype, low=low)
    transform = drawn(AugmentConfig(time_flip=1.0), channels=channel_order(representation, 6))
    clip, before = small_clip(frames), box(1, 2, 3, 4)
    once = transform.clip(clip, start=0, before=before)
    assert not torch.equal(once.frames, clip.frames)
    again = transform.clip(once, start=0, before=clip.boxes[-1])
    assert torch.equal(again.frames, clip.frames)
    assert torch.equal(again.is_labelled[:-1], clip.is_labelled[:-1])
    for left, right in zip(again.boxes, clip.boxes, strict=True):
        assert_same_boxes(left, right)


@pytest.mark.parametrize(
    ("function", "arguments"), [(stacked_histogram, {"bins": 3}), (event_cube, {"bins": 3}), (histogram_quantized, {})]
)
def test_frames_played_backwards_are_those_of_the_events_played_backwards(function, arguments):
    random = np.random.default_rng(0)
    time_us = np.sort(random.integers(0, 60_000, 4000))
    x, y, p = random.integers(0, 56, 4000), random.integers(0, 40, 4000), random.integers(0, 2, 4000)
    window = {"size_hw": SIZE_HW, "start_us": 0, "window_us": 30_000, "windows": 2, **arguments}

    def frames(t, p, order):
        return torch.from_numpy(
            function(
                Events(t[order], x[order].astype("u2"), y[order].astype("u2"), p[order].astype("u1")),
                **window,
            )
        )

    forwards, backwards = frames(time_us, p, np.s_[:]), frames(59_999 - time_us, 1 - p, np.s_[::-1])
    channels = channel_order(function.__name__, forwards.shape[1])
    played = drawn(AugmentConfig(time_flip=1.0), channels=channels).frames(forwards)
    np.testing.assert_allclose(played, backwards, atol=1e-4)


def test_labels_of_a_recording_played_backwards_are_those_where_a_window_began():
    transform = Transform(SIZE_HW, channels=STACKED, is_reversed=True)
    clip = small_clip(noise(4, 6, *SIZE_HW))
    blind, seeing = transform.clip(clip, start=0), transform.clip(clip, start=0, before=box(0, 0, 9, 9))
    assert [len(boxes) and boxes.track_ids.item() for boxes in blind.boxes] == [2, 1, 0, 0]
    assert blind.is_labelled.flatten().tolist() == [True, False, True, False]
    assert seeing.is_labelled.flatten().tolist() == [True, False, True, True]
    assert seeing.boxes[-1].xyxy.tolist() == [[0, 0, 9, 9]]
    assert [transform.source_clip(clip, 3) for clip in range(3)] == [2, 1, 0]


@settings(max_examples=60)
@given(st.integers(0, 99))
def test_a_dropped_polarity_is_empty_and_the_other_whole(seed):
    frames = noise(2, 6, *SIZE_HW, low=1)
    moved = drawn(AugmentConfig(polarity_dropout=1.0), seed=seed, channels=STACKED).frames(frames)
    empty = [not moved[:, :3].any(), not moved[:, 3:].any()]
    assert sorted(empty) == [False, True]
    kept = slice(3, 6) if empty[0] else slice(0, 3)
    assert torch.equal(moved[:, kept], frames[:, kept])


def test_of_a_recording_played_backwards_one_polarity_is_dropped_too():
    transform = Transform(SIZE_HW, channels=STACKED, is_reversed=True, dropped_polarity=1)
    moved = transform.frames(noise(1, 6, *SIZE_HW, low=1))
    assert moved[:, :3].all()
    assert not moved[:, 3:].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_of_events_that_are_dropped_is_the_one_asked_for(dtype, share):
    frames = noise(4, 6, *SIZE_HW, dtype=dtype, low=0, high=10).double()
    signs = 1 if dtype == torch.uint8 else noise(4, 6, *SIZE_HW, dtype=torch.float64, high=2, seed=1) * 2 - 1
    frames = (frames * signs).to(dtype)
    thinned = Transform(SIZE_HW, dropped_share=share, key=5).frames(frames).double()
    kept = thinned.abs().sum(dim=(1, 2, 3)) / frames.double().abs().sum(dim=(1, 2, 3))
    np.testing.assert_allclose(kept, 1 - share, atol=0.02)
    assert (thinned.abs() <= frames.double().abs()).all()
    assert (thinned * frames.double() >= 0).all()
    assert thinned.bool().equal(frames.bool()) is False


def test_every_frame_and_lane_loses_events_of_its_own():
    frames = torch.ones(2, 2, 1, *SIZE_HW, dtype=torch.uint8)
    thinned = Transform(SIZE_HW, dropped_share=0.5).frames(frames).flatten(0, 1)
    assert all(not torch.equal(thinned[a], thinned[b]) for a in range(4) for b in range(a))


def test_the_number_farthest_from_zero_wins_where_pixels_meet():
    transform = Transform((1, 4), matrix=((0.5, 0, 0), (0, 1, 0)))
    for first, second in ((127, -128), (-128, 127)):
        frame = torch.tensor([[[[first, second, -1, 0]]]], dtype=torch.int8)
        assert transform.frames(frame).tolist() == [[[[-128, -1, 0, 0]]]]
    assert transform.frames(torch.tensor([[[[1.5, -2.5, 0, 1]]]])).tolist() == [[[[-2.5, 1.0, 0, 0]]]]


def test_the_smallest_number_of_a_signed_count_is_played_backwards_as_the_largest():
    transform = Transform((1, 2), channels=channel_order("difference", 1), is_reversed=True)
    assert transform.frames(torch.tensor([[[[-128, 5]]]], dtype=torch.int8)).tolist() == [[[[127, -5]]]]


def test_boxes_that_leave_the_frame_vanish_and_those_nearly_gone_are_ignored():
    transform = Transform(SIZE_HW, matrix=((1, 0, 20), (0, 1, 0)))
    columns = {"track_ids": torch.arange(5), "is_ignored": torch.tensor([False, False, False, True, False])}
    xyxy = torch.tensor([[0, 0, 10, 10], [40, 0, 50, 10], [34, 0, 44, 10], [0, 0, 5, 5], [30, 0, 40, 10.0]])
    moved = transform.boxes(Boxes(xyxy, torch.arange(5), **columns))
    assert moved.track_ids.tolist() == [0, 2, 3, 4]
    assert moved.labels.tolist() == [0, 2, 3, 4]
    assert moved.is_ignored.tolist() == [False, True, True, False]
    assert moved.xyxy.tolist() == [[20, 0, 30, 10], [54, 0, 56, 10], [20, 0, 25, 5], [50, 0, 56, 10]]


def test_boxes_that_shrink_below_the_least_side_are_ignored_and_smaller_ones_stay():
    transform = Transform(SIZE_HW, matrix=((0.5, 0, 0), (0, 0.5, 0)))
    xyxy = torch.tensor([[0, 0, 3, 10], [0, 0, 1, 10], [0, 0, 4, 4.0]])
    assert transform.boxes(Boxes(xyxy, torch.zeros(3, dtype=torch.int64))).is_ignored.tolist() == [True, False, False]


def test_no_boxes_stay_no_boxes():
    assert len(drawn(AugmentConfig(**ALL)).boxes(Boxes.empty())) == 0


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_the_order_of_the_channels_is_that_of_the_representation(representation):
    place = np.ones(1, np.uint16)
    moments = [(t, p) for t in (10, 990) for p in (0, 1)]
    events = [Events(np.array([t]), place, place, np.array([p], np.uint8)) for t, p in moments]
    window = {"size_hw": (4, 4), "start_us": 0, "window_us": 1000}
    frames = [REPRESENTATIONS[representation](each, **window)[0] for each in events]
    channels = channel_order(representation, len(frames[0]))
    if representation == "mixed_density_stack":
        assert set(channels) == {Channel(None, None)}
        return
    last = len(set(channels)) // len({each.polarity for each in channels}) - 1
    for n, frame in enumerate(frames):
        polarity, part = n % 2, last if n >= 2 else 0
        for channel in np.flatnonzero(frame[:, 1, 1] > 0.01 * abs(frame).max()):
            assert channels[channel].polarity in (polarity, None)
            assert channels[channel].bin in (part, None)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_every_channel_stays_itself_where_only_pixels_move(representation):
    frames = noise(2, 6, *SIZE_HW)
    transform = drawn(AugmentConfig(flip=1.0), channels=channel_order(representation, 6))
    assert torch.equal(transform.frames(frames), frames.flip(-1))


def test_an_event_cube_of_one_polarity_is_signed():
    assert channel_order("event_cube", 2, {"split_polarity": False}) == (Channel(None, 0), Channel(None, 1))


def test_tensors_of_rvt_have_the_order_of_ours():
    assert channel_order("stacked_histogram_dt=50_nbins=10", 20) == channel_order("stacked_histogram", 20)


@pytest.mark.parametrize("change", ["polarity_dropout", "time_flip"])
@pytest.mark.parametrize("representation", ["mixed_density_stack", "mine:function", ""])
def test_unknown_channels_are_neither_dropped_nor_played_backwards(representation, change):
    with pytest.raises(InputError, match=f"{change} must be 0 for this representation"):
        drawn(AugmentConfig(**{change: 0.1}), channels=channel_order(representation, 10))


def test_a_function_of_ones_own_states_what_may_be_done_with_its_frames():
    @stated(channels=[("any", 0), ("any", 1)])
    def rates(events, **_): ...

    frames = noise(1, 2, *SIZE_HW)
    channels = rates.channels(2, {})
    played = drawn(AugmentConfig(time_flip=1.0), channels=channels).frames(frames)
    assert torch.equal(played, frames.flip(1))  # the last part comes first, and nothing changes its sign
    with pytest.raises(InputError, match="polarity_dropout must be 0"):
        drawn(AugmentConfig(polarity_dropout=0.1), channels=channels)
    with pytest.raises(InputError, match="rates must state what each of its 3 channels shows, got 2"):
        rates.channels(3, {})


def test_played_backwards_each_channel_changes_by_its_own_polarity():
    @stated(channels=[(None, 0), (1, 0), (0, 0), ("any", 0)])
    def mixed(events, **_): ...

    frames = noise(1, 4, *SIZE_HW, dtype=torch.float32)
    played = drawn(AugmentConfig(time_flip=1.0), channels=mixed.channels(4, {})).frames(frames)
    assert torch.equal(played, torch.stack([-frames[:, 0], frames[:, 2], frames[:, 1], frames[:, 3]], dim=1))


@pytest.mark.parametrize("channels", [[(0, 0)], [(0, 0), (1, 0), (0, 1)], [("any", 0), (0, 0), (1, 0), (0, 1), (1, 1)]])
def test_a_channel_without_one_that_shows_it_backwards_is_refused(channels):
    channels = [Channel(*each) for each in channels]
    with pytest.raises(InputError, match="time_flip must be 0 for this representation: no channel shows what that of"):
        drawn(AugmentConfig(time_flip=0.1), channels=channels)
    assert drawn(AugmentConfig(flip=1.0), channels=channels) is not None


def test_a_difference_without_a_sign_is_not_played_backwards():
    transform = Transform(SIZE_HW, channels=channel_order("difference", 1), is_reversed=True)
    with pytest.raises(InputError, match="frames must have signs where a channel shows brighter less darker events"):
        transform.frames(noise(1, 1, *SIZE_HW))


@pytest.mark.parametrize("wrong", [[(2, 0)], [(0, -1)], [("both", 0)], [(0, "first")]])
def test_what_no_channel_can_show_is_refused(wrong):
    with pytest.raises(InputError, match="channels must be pairs of a polarity"):
        stated(channels=wrong)


def test_a_time_surface_loses_a_polarity_but_is_not_played_backwards():
    channels = channel_order("time_surface", 2)
    assert drawn(AugmentConfig(polarity_dropout=1.0), channels=channels).dropped_polarity in (0, 1)
    with pytest.raises(InputError, match="time_flip"):
        drawn(AugmentConfig(time_flip=1.0), channels=channels)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(1, 6, 40, 55, dtype=torch.uint8), "shape"),
        (torch.zeros(40, 56), "shape"),
        (torch.zeros(1, 4, 40, 56), "6 channels, got 4"),
        (torch.zeros(1, 6, 40, 56, dtype=torch.int64), "uint8, int8 or floating point"),
    ],
)
def test_frames_that_do_not_fit_are_refused(frames, message):
    with pytest.raises(InputError, match=message):
        Transform(SIZE_HW, channels=STACKED, is_reversed=True).frames(frames)


def test_a_clip_of_several_lanes_is_refused():
    clip = small_clip(noise(2, 6, *SIZE_HW))
    with pytest.raises(InputError, match="B=1"):
        drawn(AugmentConfig(**ALL)).clip(Clip.collate([clip, clip]), start=0)


def test_no_frames_stay_no_frames():
    assert drawn(AugmentConfig(**ALL)).frames(torch.zeros(0, 3, *SIZE_HW)).shape == (0, 3, *SIZE_HW)


@pytest.mark.parametrize(
    "wrong",
    [{"flip": 1.5}, {"zoom": -0.1}, {"zoom_in": (1.5, 1.0)}, {"zoom_out": (0.5, 1.0)}, {"max_rotation": 181}],
    ids=str,
)
def test_impossible_changes_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        AugmentConfig(**wrong)


def test_all_changes_are_off_unless_asked_for():
    config = AugmentConfig()
    assert all(drawn(config, recording=recording).is_identity for recording in range(9))
