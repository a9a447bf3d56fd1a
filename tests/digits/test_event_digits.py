from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from seqdet.checks import InputError, Stopped
from seqdet.config import DigitsConfig, EventDigitsConfig
from seqdet.data.labels import labels_beside, read_labels
from seqdet.digits import recordings
from seqdet.digits.recordings import EventDigits, SimulatedWindow, write_event_digits
from seqdet.digits.videos import MovingDigits
from seqdet.events.array import Events
from seqdet.events.files import open_recording
from seqdet.events.sensor import Sensor

DELTA_US = 50_000
SMALL = EventDigitsConfig(
    digits=DigitsConfig(
        height=48, width=64, digit_heights=(10, 24), frames_per_video=30, held_out_frames_per_video=15,
        frames_per_epoch=90, validation_frames=15, test_frames=30,
    ),
    moving_s=(0.2, 0.5),
    still_s=(0.1, 0.4),
)  # fmt: skip
QUIET = Sensor(leak_rate_hz=0, shot_noise_hz=0)
RECORDINGS = 8


@cache
def windows(
    index: int, *, sensor: Sensor = QUIET, config: EventDigitsConfig = SMALL, seed: int = 0
) -> list[SimulatedWindow]:
    return list(EventDigits(config, "train", sensor=sensor, seed=seed).windows(index))


def assert_same(left: list[SimulatedWindow], right: list[SimulatedWindow]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.end_us == b.end_us
        assert a.boxes.tolist() == b.boxes.tolist()
        assert all(np.array_equal(getattr(a.events, name), getattr(b.events, name)) for name in "txyp")


def test_windows_follow_each_other_and_hold_their_events_and_labels():
    found = windows(0)
    assert [window.end_us for window in found] == list(range(DELTA_US, 31 * DELTA_US, DELTA_US))
    for window in found:
        assert ((window.events.t >= window.end_us - DELTA_US) & (window.events.t < window.end_us)).all()
        assert (window.boxes["t"] == window.end_us).all()
    assert sum(len(window.events) for window in found) > 1000


def test_a_recording_is_the_same_whenever_and_in_whatever_order_it_is_made():
    digits = EventDigits(SMALL, "train", sensor=QUIET)
    later = list(digits.windows(3))
    assert_same(list(digits.windows(0)), windows(0))
    assert_same(later, windows(3))
    with pytest.raises(AssertionError):
        assert_same(windows(0), windows(0, seed=1))


def test_the_way_frames_are_rendered_together_changes_nothing(monkeypatch):
    monkeypatch.setattr(recordings, "BLOCK_WINDOWS", 7)
    assert_same(list(EventDigits(SMALL, "train", sensor=QUIET).windows(1)), windows(1))


def test_digits_that_never_stand_still_are_where_the_videos_show_them():
    config = replace(SMALL, moving_s=(100.0, 100.0), digits=replace(SMALL.digits, max_digits=5))
    videos, compared, ignored = MovingDigits(config.digits, "train", clip_length=1), 0, 0
    for index in range(40):
        if len(next(EventDigits(config, "train", sensor=QUIET).windows(index)).boxes) < len(videos.scene(index).digits):
            continue  # one begins with a pause
        for window, expected in zip(windows(index, config=config), videos.video(index, 1, 31)[1], strict=True):
            xy, wh = (np.stack([window.boxes[a], window.boxes[b]], 1) for a, b in ("xy", "wh"))
            assert np.array_equal(np.concatenate([xy, xy + wh], 1), expected.xyxy.numpy())
            assert np.array_equal(window.boxes["class_id"], expected.labels.numpy())
            assert np.array_equal(window.boxes["class_confidence"], 1 - expected.is_ignored.numpy())
            compared, ignored = compared + len(expected), ignored + int(expected.is_ignored.sum())
    assert compared > 100
    assert ignored


def test_boxes_are_missing_until_a_digit_moves_and_never_again():
    late = 0
    for index in range(RECORDINGS):
        present = [set(window.boxes["track_id"].tolist()) for window in windows(index)]
        assert all(before <= after for before, after in pairwise(present))
        late += present[0] < present[-1]
    assert 0 < late < RECORDINGS


def test_a_digit_that_stands_still_sends_nothing_and_keeps_its_box():
    still = moving = 0
    for index in range(RECORDINGS):
        found = windows(index)
        for before, window in pairwise(found):
            names = ["x", "y", "w", "h", "track_id"]
            if before.boxes[names].tolist() == window.boxes[names].tolist() and len(window.boxes):
                still += not len(window.events)
            moving += len(window.events) > 20
    assert still > 5
    assert moving > 50


def test_events_lie_about_the_boxes_of_the_digits():
    near = total = 0
    for index in range(RECORDINGS):
        for window in windows(index):
            x, y = window.events.x[:, None].astype(float), window.events.y[:, None].astype(float)
            boxes, margin = window.boxes, 5
            inside = (x >= boxes["x"] - margin) & (x < boxes["x"] + boxes["w"] + margin)
            inside &= (y >= boxes["y"] - margin) & (y < boxes["y"] + boxes["h"] + margin)
            near, total = near + inside.any(axis=1).sum(), total + len(x)
    assert total > 10_000
    assert near / total > 0.99


def test_no_digit_moves_by_more_than_half_a_pixel_from_one_frame_to_the_next(monkeypatch):
    seen, render = [], recordings.render_light

    def spy(images, brightness, to_source, **size):
        seen.append(to_source)
        return render(images, brightness, to_source, **size)

    monkeypatch.setattr(recordings, "render_light", spy)
    list(EventDigits(SMALL, "train", sensor=QUIET).windows(0))
    for to_source in seen:  # where the middle of the image lies in the frame
        matrix, offset = to_source[..., :2], to_source[..., 2:]
        middle = np.linalg.solve(matrix, 14.0 - offset)[..., 0]
        steps = np.linalg.norm(np.diff(middle, axis=0), axis=-1)
        assert steps.max(initial=0) <= 0.75
    assert max(len(to_source) for to_source in seen) > recordings.BLOCK_WINDOWS


def test_a_folder_has_three_splits_of_recordings_with_labels_and_the_names_of_the_classes(tmp_path):
    write_event_digits(tmp_path, SMALL, sensor=QUIET, seed=5)
    for split, name, number, ends in (("train", "train", 3, 30), ("validation", "val", 1, 15), ("test", "test", 2, 15)):
        paths = sorted((tmp_path / name).glob("*.raw"))
        assert [path.name for path in paths] == [f"digits_{n:05}.raw" for n in range(number)]
        for n, path in enumerate(paths):
            expected = list(EventDigits(SMALL, split, sensor=QUIET, seed=5).windows(n))
            assert len(expected) == ends
            with open_recording(path, strict=True) as recording:
                events = Events.concatenate(list(recording.chunks()))
                assert (recording.format, recording.size_hw) == ("EVT3", (48, 64))
            sent = Events.concatenate([window.events for window in expected])
            assert all(np.array_equal(getattr(events, column), getattr(sent, column)) for column in "txyp")
            labels = labels_beside(path)
            assert labels is not None
            assert read_labels(labels).tolist() == np.concatenate([window.boxes for window in expected]).tolist()
    assert json.loads((tmp_path / "label_map_dictionary.json").read_text()) == {str(n): str(n) for n in range(10)}
    assert not list(tmp_path.rglob(".*"))


def test_an_interrupted_folder_goes_on_and_two_processes_write_the_same_bytes(tmp_path, monkeypatch):
    write_event_digits(tmp_path / "whole", SMALL)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    broken, write, written = tmp_path / "broken", recordings._write_recording, []

    def interrupted(*arguments, **settings):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments)
        return write(*arguments, **settings)

    monkeypatch.setattr(recordings, "_write_recording", interrupted)
    with pytest.raises(Stopped):
        write_event_digits(broken, SMALL)
    monkeypatch.undo()
    kept = {path: path.stat().st_mtime_ns for path in broken.rglob("*.raw")}
    assert len(kept) == 2
    write_event_digits(broken, SMALL, workers=2)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert {path.name: path.read_bytes() for path in broken.rglob("*") if path.is_file()} == expected


def test_a_folder_of_other_settings_or_other_things_is_left_alone(tmp_path):
    write_event_digits(tmp_path / "digits", SMALL)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "digits").rglob("*.raw")}
    for arguments in ({"seed": 1}, {"sensor": QUIET}, {"config": replace(SMALL, still_s=(0.1, 0.5))}):
        with pytest.raises(InputError, match="other settings"):
            write_event_digits(tmp_path / "digits", **{"config": SMALL, **arguments})
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "digits").rglob("*.raw")} == before
    (tmp_path / "digits" / "event_digits.json").write_text("{")
    with pytest.raises(InputError, match="cannot be written or continued"):
        write_event_digits(tmp_path / "digits", SMALL)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="new or an empty folder"):
            write_event_digits(folder, SMALL)


def test_a_folder_that_says_less_of_its_sensor_goes_on_with_one_that_has_no_more_flaws(tmp_path):
    write_event_digits(tmp_path / "digits", SMALL)
    path = tmp_path / "digits" / "event_digits.json"
    settings = json.loads(path.read_text())
    for name in ("photoreceptor_hz", "hot_pixels", "readout_hz"):
        del settings["sensor"][name]
    path.write_text(json.dumps(settings))
    write_event_digits(tmp_path / "digits", SMALL)
    with pytest.raises(InputError, match="other settings"):
        write_event_digits(tmp_path / "digits", SMALL, sensor=Sensor(hot_pixels=0.01))


@pytest.mark.parametrize("values", [{"moving_s": (0.0, 1.0)}, {"still_s": (2.0, 1.0)}, {"moving_s": (1.0,)}])
def test_pauses_that_cannot_be_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        EventDigitsConfig(**values)
