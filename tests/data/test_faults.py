"""Faults of a sensor in frames: what each does, that it belongs to a recording, and that nothing is faulty unasked."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import AugmentConfig, DataConfig, DatasetConfig, InputConfig
from seqdet.data.clips import RecordedClips
from seqdet.data.faults import FAULTS, SEVERITIES, Fault, FaultyFrames, evaluated_fault
from seqdet.data.labels import EVENT_BBOX, write_labels
from seqdet.data.schedule import BLANK, Cue
from seqdet.data.store import Description, write_tensors
from seqdet.events.array import Events
from seqdet.events.tensors import REPRESENTATIONS, make_frames
from seqdet.loading import evaluation_loader
from seqdet.structures import Clip

SIZE_HW = (60, 80)
STACKED = InputConfig("stacked_histogram", {"bins": 4}, 50_000, SIZE_HW, SIZE_HW)
NAMES = tuple(FAULTS)
ADDING = ("hot_pixels", "flicker", "bursts")


def shown_as(representation: str, **parameters) -> InputConfig:
    return replace(STACKED, representation=representation, parameters=parameters)


def recorded(shown: InputConfig, windows: int, *, events=3000, seed=0) -> torch.Tensor:
    """Frames (T, C, H, W) of events anywhere."""
    random = np.random.default_rng(seed)
    height, width = shown.sensor_hw
    columns = (random.integers(0, side, events * windows) for side in (width, height, 2))
    x, y, p = columns
    t = np.sort(random.integers(0, windows * shown.window_us, events * windows))
    all_events = Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8))
    return torch.from_numpy(make_frames(shown, all_events, start_us=0, windows=windows))


def empty(shown: InputConfig, windows: int) -> torch.Tensor:
    return torch.zeros_like(recorded(shown, windows, events=1))


def faulty(frames, name, severity, *, shown=STACKED, recording=0, start=0):
    return FaultyFrames(shown, frames.shape[1]).frames(frames, evaluated_fault(name, severity, recording), start=start)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", NAMES)
def test_a_recording_in_pieces_has_the_faults_of_the_whole_and_stays_as_it_was(name, severity):
    frames = recorded(STACKED, 6)
    before = frames.clone()
    whole = faulty(frames, name, severity)
    pieces = [faulty(frames[n : n + 2], name, severity, start=n) for n in range(0, 6, 2)]
    assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(frames, before)
    assert whole.dtype == frames.dtype
    assert name == "bursts" or not torch.equal(whole, frames) or severity < 3
    assert not torch.equal(faulty(frames, name, 2, recording=1), faulty(frames, name, 2)) or name == "bursts"


@pytest.mark.parametrize("name", NAMES)
def test_a_severer_fault_changes_more(name):
    frames = recorded(STACKED, 40, events=600).float()
    far = [(faulty(frames, name, severity) - frames).abs().sum().item() for severity in SEVERITIES]
    assert far == sorted(far)
    assert len(set(far)) == len(far)


@pytest.mark.parametrize("name", ADDING)
@pytest.mark.parametrize("representation", list(REPRESENTATIONS))
def test_events_are_added_as_if_they_had_been_recorded(name, representation):
    shown = shown_as(representation)
    if representation.endswith("surface"):
        shown = replace(shown, parameters={"tau_us": 1e6})
    elif representation in ("histogram", "difference"):
        shown = replace(shown, parameters={"max_incr_per_pixel": 60})
    added = faulty(empty(shown, 4), name, 3, shown=shown)
    few = recorded(shown, 4, events=60)
    both = faulty(few, name, 3, shown=shown)
    if representation.endswith("surface"):
        assert torch.equal(both, torch.maximum(few, added))
    else:
        largest = max(float(each.double().abs().max()) for each in (few, added, both))
        torch.testing.assert_close(both.double(), few.double() + added.double(), atol=1e-5 * largest, rtol=0)


@pytest.mark.parametrize(("parameters", "largest"), [({"bins": 4, "max_count": 3}, 3), ({"bins": 4}, 255)])
@pytest.mark.parametrize("name", ["hot_pixels", "flicker", "low_thresholds"])
def test_numbers_stop_where_those_of_the_representation_stop(name, parameters, largest):
    shown = shown_as("stacked_histogram", **parameters)
    frames = torch.full((2, 8, *SIZE_HW), largest, dtype=torch.uint8)
    assert torch.equal(faulty(frames, name, 5, shown=shown), frames)


@pytest.mark.parametrize("representation", ["difference_quantized", "mixed_density_stack"])
def test_signed_numbers_stop_at_both_ends(representation):
    shown = shown_as(representation)
    frames = recorded(shown, 2, events=4)
    for end in (-127, 127):
        full = torch.full_like(frames, end)
        changed = faulty(full, "low_thresholds", 5, shown=shown)
        assert (changed.int() * end > 0).all()
        assert ((changed.int() - end).abs() <= 1).all()


def test_hot_pixels_stay_where_they_are_at_rates_of_their_own():
    added = faulty(empty(STACKED, 100), "hot_pixels", 4)
    counts = added.sum(dim=1, dtype=torch.int64)  # (T, H, W)
    per_pixel = counts.sum(dim=0)
    hot = per_pixel > 0
    assert hot.sum() == round(0.003 * 60 * 80)
    rates_hz = per_pixel[hot] / 5
    assert 40 < rates_hz.min() < rates_hz.max() < 1100
    assert rates_hz.max() > 4 * rates_hz.min()
    of_polarity = added.unflatten(1, (2, 4)).sum(dim=(0, 2, 3, 4), dtype=torch.float64)
    assert abs(of_polarity[0] / of_polarity.sum() - 0.5) < 0.05
    variances = counts[:, hot].double().var(dim=0) / counts[:, hot].double().mean(dim=0)
    assert abs(variances.mean() - 1) < 0.2  # as of a Poisson process


def test_a_lamp_fires_every_other_pixel_of_its_part_at_its_frequency():
    shown = replace(STACKED, parameters={"bins": 50})  # of a millisecond
    for severity, share in zip(SEVERITIES, (0.05, 0.1, 0.25, 0.5, 1.0), strict=True):
        added = faulty(empty(shown, 20), "flicker", severity, shown=shown)
        lit = added.bool().any(dim=1).any(dim=0)
        assert abs(lit.float().mean() - share) < 0.03
        rows, columns = torch.nonzero(lit, as_tuple=True)
        assert lit.sum() == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        over_time = added.unflatten(1, (2, 50)).sum(dim=(3, 4)).transpose(0, 1).flatten(1)  # (2, milliseconds)
        changes = (over_time > 0).sum(dim=1)
        assert [round(each / 20) * 20 for each in changes.tolist()] in ([100, 100], [120, 120])
        assert abs(over_time[over_time > 0].float().mean() / lit.sum() - 0.5) < 0.05
        assert not (over_time.all(dim=0)).any()  # it is either lighter or darker


def test_bursts_and_lost_windows_come_as_often_as_they_should():
    for severity, share, of_each, lost in zip(
        SEVERITIES, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.5, 1.0, 2.0), (0.05, 0.1, 0.2, 0.35, 0.5), strict=True
    ):
        flooded = faulty(empty(STACKED, 300), "bursts", severity).sum(dim=(1, 2, 3), dtype=torch.float64) / 4800
        assert abs((flooded > 0).double().mean() - share) < 4 * (share * (1 - share) / 300) ** 0.5
        assert abs(flooded[flooded > 0].mean() - of_each) < 0.05 * of_each
        left = faulty(torch.ones(300, 8, *SIZE_HW, dtype=torch.uint8), "lost_windows", severity)
        is_lost = ~left.bool().any(dim=3).any(dim=2).any(dim=1)
        assert abs(is_lost.double().mean() - lost) < 4 * (lost * (1 - lost) / 300) ** 0.5
        assert left[~is_lost].all()


def test_dead_lines_are_whole_and_the_same_in_every_window():
    for severity, share in zip(SEVERITIES, (0.01, 0.02, 0.05, 0.1, 0.2), strict=True):
        seen = faulty(torch.ones(3, 8, *SIZE_HW, dtype=torch.uint8), "dead_lines", severity).bool()
        assert torch.equal(seen, seen[:1, :1].expand_as(seen))
        rows, columns = seen[0, 0].any(dim=1), seen[0, 0].any(dim=0)
        assert [(~each).sum().item() for each in (rows, columns)] == [max(round(share * side), 1) for side in SIZE_HW]
        assert torch.equal(seen[0, 0], rows[:, None] & columns)


def test_other_thresholds_scale_the_number_of_events():
    frames = recorded(STACKED, 4, events=40_000)
    total = frames.sum(dtype=torch.float64)
    for severity, factor in zip(SEVERITIES, (1.25, 1.5, 2.0, 3.0, 4.0), strict=True):
        assert abs(faulty(frames, "high_thresholds", severity).sum(dtype=torch.float64) * factor / total - 1) < 0.02
        more = faulty(frames, "low_thresholds", severity)
        assert abs(more.sum(dtype=torch.float64) / factor / total - 1) < 0.02
        assert torch.equal(more.bool(), frames.bool())


def test_a_hot_pixel_of_a_large_sensor_is_one_in_a_small_frame():
    shown = replace(STACKED, sensor_hw=(240, 320))
    added = faulty(empty(shown, 2), "hot_pixels", 3, shown=shown)
    assert abs(int(added.bool().any(dim=1).any(dim=0).sum()) - round(0.001 * 240 * 320)) <= 4  # two may share a pixel


def test_tensors_of_rvt_have_faults_and_stop_at_its_counts():
    shown = shown_as("stacked_histogram_dt=50_nbins=10")
    frames = torch.zeros(2, 20, *SIZE_HW, dtype=torch.uint8)
    assert faulty(frames, "hot_pixels", 5, shown=shown).max() <= 10
    assert faulty(frames + 9, "low_thresholds", 5, shown=shown).max() == 10


def test_time_surfaces_show_no_counts_and_have_no_low_thresholds():
    shown = shown_as("time_surface")
    assert "low_thresholds" not in FaultyFrames(shown, 2).names
    with pytest.raises(InputError, match="the fault of these frames must be one of"):
        faulty(empty(shown, 1), "low_thresholds", 1, shown=shown)


@pytest.mark.parametrize("representation", ["mine:function", "unknown"])
def test_frames_of_which_nothing_is_known_are_refused(representation):
    with pytest.raises(InputError, match=r"faults must be left out for .*: it is not known what its channels show"):
        FaultyFrames(shown_as(representation), 4)


def test_what_is_no_fault_is_refused():
    for arguments, message in ((("rain", 1, 0), "fault must be one of"), (("flicker", 6, 0), "severity must be")):
        with pytest.raises(InputError, match=message):
            evaluated_fault(*arguments)
    for values in ({"faults": 1.5}, {"fault_severity": 0}, {"fault_severity": 6}):
        with pytest.raises(InputError, match=next(iter(values))):
            AugmentConfig(**values)
    with pytest.raises(InputError, match="frames must have shape"):
        FaultyFrames(STACKED, 8).frames(torch.zeros(1, 8, 9, 9), Fault("flicker", 1, (0,)), start=0)


def test_recordings_and_epochs_draw_their_faults_and_every_one_comes():
    frames = FaultyFrames(STACKED, 8)
    config = AugmentConfig(faults=0.5, fault_severity=4)
    drawn = [frames.drawn(config, seed=3, recording=n, epoch=1) for n in range(600)]
    assert drawn == [frames.drawn(config, seed=3, recording=n, epoch=1) for n in range(600)]
    there = [each for each in drawn if each is not None]
    assert abs(len(there) / 600 - 0.5) < 0.1
    assert {each.name for each in there} == set(NAMES)
    assert {each.severity for each in there} == {1, 2, 3, 4}
    assert frames.drawn(config, seed=3, recording=-1, epoch=1) is None
    assert all(frames.drawn(AugmentConfig(), seed=3, recording=n, epoch=0) is None for n in range(50))
    assert drawn != [frames.drawn(config, seed=3, recording=n, epoch=2) for n in range(600)]


@pytest.fixture
def folder(tmp_path):
    """Two recordings of 5 and 4 windows, in train and test."""
    (tmp_path / "label_map_dictionary.json").write_text(json.dumps({"0": "car"}))
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for n, windows in enumerate((5, 4)):
            frames = recorded(STACKED, windows, seed=n).numpy()
            write_tensors(tmp_path / split / f"{n}.h5", [frames], Description(STACKED))
            write_labels(tmp_path / split / f"{n}_bbox.npy", np.array([(50_000, 2, 4, 10, 8, 0, 7, 1)], EVENT_BBOX))
    return tmp_path


def config_of(folder, **augment) -> DatasetConfig:
    return DatasetConfig(folder, augment=AugmentConfig(**augment))


CUES = [Cue(recording, clip, epoch) for epoch in (0, 1) for recording in (0, 1) for clip in (0, 1)]


def assert_same(left: Clip, right: Clip) -> None:
    assert torch.equal(left.frames, right.frames)
    assert torch.equal(left.is_labelled, right.is_labelled)
    assert [each.xyxy.tolist() for each in left.boxes] == [each.xyxy.tolist() for each in right.boxes]


def test_training_alone_has_faults_which_leave_the_other_draws_as_they_were(folder):
    usual = {"flip": 0.5, "zoom": 0.5, "event_dropout": 0.5}
    plain, faulty_ones = (
        RecordedClips(config_of(folder, **usual, faults=share), "train", clip_length=3) for share in (0.0, 1.0)
    )
    kind = FaultyFrames(STACKED, 8)
    for cue in CUES:
        fault = kind.drawn(AugmentConfig(faults=1.0), seed=0, recording=cue.recording, epoch=cue.epoch)
        moved = plain[cue]
        assert fault is not None
        expected = kind.frames(moved.frames[:, 0], fault, start=cue.clip * 3)[:, None]
        assert_same(faulty_ones[cue], replace(moved, frames=expected))
    assert not faulty_ones[BLANK].frames.any()
    test = [RecordedClips(config_of(folder, faults=share), "test", clip_length=3) for share in (0.0, 1.0)]
    for cue in CUES:
        assert_same(test[0][cue], test[1][cue])


def test_a_clip_is_the_same_in_another_process_and_whatever_was_played_before(folder):
    clips = RecordedClips(config_of(folder, faults=1.0, time_flip=0.5), "train", clip_length=3)
    played = {cue: clips[cue] for cue in CUES}
    other = pickle.loads(pickle.dumps(clips))
    for cue in reversed(CUES):
        assert_same(other[cue], played[cue])


def test_clips_of_a_faulty_sensor_leave_those_of_a_whole_one_alone_and_workers_change_nothing(folder):
    clips = RecordedClips(config_of(folder), "test", clip_length=3)
    before = [clips[cue] for cue in CUES]
    faulty_ones = clips.with_fault("hot_pixels", 5)
    for cue, whole in zip(CUES, before, strict=True):
        assert_same(clips[cue], whole)
        expected = faulty(whole.frames[:, 0], "hot_pixels", 5, recording=cue.recording, start=cue.clip * 3)
        assert torch.equal(faulty_ones[cue].frames[:, 0], expected)
    data = DataConfig(clip_length=3, lanes=2, dataset=clips.config)
    alone = list(evaluation_loader(data, "test", source=faulty_ones))
    helped = list(evaluation_loader(replace(data, workers=2), "test", source=faulty_ones))
    for left, right in zip(alone, helped, strict=True):
        assert_same(left, right)
