"""Recordings, videos and streams through a detector: what is written, and that it is whole however it ends."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from seqdet.checks import InputError, Stopped
from seqdet.data.classes import read_classes
from seqdet.data.detections import TRACKED_BOX, Detections
from seqdet.data.labels import EVENT_BBOX, read_labels
from seqdet.evaluation.files import read_boxes
from seqdet.events.array import Events, columns
from seqdet.events.dat import write_dat
from seqdet.events.evt import write_evt3
from seqdet.events.files import open_recording
from seqdet.inference import inputs, prediction, result_files, tracking
from seqdet.inference.inputs import PredictConfig
from seqdet.inference.prediction import predict_recordings
from seqdet.inference.streaming import StreamConfig, StreamingDetector, ViewConfig
from seqdet.inference.tracking import AssociationConfig
from seqdet.locks import alone_in
from seqdet.pictures.sequence import ImageFolder
from seqdet.viz.video import write_video

from .fakes import SENSOR_HW, HullRunner
from .test_streaming import plain, played, some_events

ALL = PredictConfig(track=True, video=True)
AGAIN = replace(ALL, overwrite=True)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "in" / "walk.raw"
    path.parent.mkdir()
    write_evt3(path, [some_events()], size_hw=SENSOR_HW)
    return path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def found_in(events: Events, **config) -> list:
    return played(StreamingDetector(HullRunner(), **config), [events])


def test_a_recording_gives_its_detections_tracks_and_video(recording, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(tracking, "USUAL", AssociationConfig())  # a track of every box: classes change at every step
    predict_recordings(HullRunner(), recording, out := tmp_path / "out", ALL)
    names = "csv/walk_detections.csv csv/walk_tracks.csv detections/label_map_dictionary.json"
    names += (
        " detections/walk_bbox.npy mot/walk.txt tracks/label_map_dictionary.json tracks/walk_tracks.npy videos/walk.mp4"
    )
    assert files(out) == set(names.split())
    boxes = read_labels(out / "detections" / "walk_bbox.npy")
    wanted = np.concatenate([each.boxes for each in found_in(some_events())])
    assert boxes.dtype == EVENT_BBOX
    assert boxes.tolist() == wanted.tolist()
    assert read_boxes(out / "csv" / "walk_detections.csv").tolist() == wanted.tolist()
    tracks = np.load(out / "tracks" / "walk_tracks.npy")
    assert tracks.dtype == TRACKED_BOX
    assert len(tracks) >= len(boxes)
    lines = (out / "csv" / "walk_tracks.csv").read_text().splitlines()
    first = tracks[0]
    assert lines[0].split() == [str(first[name]) for name in recordings_columns()]
    with av.open(out / "videos" / "walk.mp4") as video:
        assert len(list(video.decode(video=0))) == len(found_in(some_events())[::17])
    assert "walk: 9 windows, 9 detections, " in caplog.text
    assert " times real time." in caplog.text


def recordings_columns() -> list[str]:
    order = "t class_id track_id x y w h class_confidence tracking_confidence last_detection_update_time nb_detections"
    return order.split()


def test_without_tracks_and_video_there_are_none(recording, tmp_path):
    predict_recordings(HullRunner(), recording, tmp_path / "out", PredictConfig())
    assert {name.partition("/")[0] for name in files(tmp_path / "out")} == {"csv", "detections"}


def test_a_folder_keeps_its_tree_and_a_bad_recording_does_not_stop_the_others(recording, tmp_path):
    (recording.parent / "more").mkdir()
    write_dat(recording.parent / "more" / "b.dat", [some_events(1)], size_hw=SENSOR_HW)
    (recording.parent / "a.raw").write_bytes(b"% evt 9.0\n")
    with pytest.raises(InputError, match=r"a.raw must be in EVT2.*\(1 of 3 recordings failed\)"):
        predict_recordings(HullRunner(), recording.parent, tmp_path / "out", PredictConfig())
    arrays = {name for name in files(tmp_path / "out") if name.endswith(".npy")}
    assert arrays == {"detections/walk_bbox.npy", "detections/more/b_bbox.npy"}


@pytest.mark.parametrize("lengths", [{}, {"step_us": 250}, {"count": 7}])
@pytest.mark.parametrize("track_us", [None, 90])
def test_the_tracker_gets_every_event_once_and_in_time(recording, tmp_path, monkeypatch, lengths, track_us):
    seen, times_us = [], []

    class Watching:
        def push(self, time_us, boxes, events):
            assert boxes is not None or not (times_us and time_us - times_us[-1] > 90)
            assert not len(events) or events.t.max() < time_us
            seen.append(events)
            times_us.append(time_us)
            return np.zeros(0, TRACKED_BOX)

    monkeypatch.setattr(tracking, "DataAssociation", lambda *args: Watching())
    config = PredictConfig(track=True, track_us=track_us, stream=StreamConfig(**lengths))
    predict_recordings(HullRunner(), recording, tmp_path / "out", config)
    assert Events.concatenate(seen).t.tolist() == some_events().t.tolist()
    ends_us = [each.end_us for each in found_in(some_events(), config=StreamConfig(**lengths))]
    assert (times_us == ends_us) == (track_us is None)
    assert set(ends_us) <= set(times_us)


def test_one_track_follows_an_object_that_is_found_as_two_classes(recording, tmp_path, caplog):
    caplog.set_level(logging.INFO)

    class Unsure(HullRunner):
        def __call__(self, frames, state=None):
            found, after = super().__call__(frames, state)
            twice = [np.repeat(each, 2, axis=0) for each in found[0]]
            twice[1], twice[2] = np.arange(len(twice[1])) % 2, twice[2] * np.float32([0.9, 0.8])[: len(twice[2])]
            return [Detections(*twice)], after

    predict_recordings(Unsure(), recording, tmp_path, PredictConfig(track=True, track_score=0.3))
    assert set(np.load(tmp_path / "detections" / "walk_bbox.npy")["class_id"]) == {0, 1}
    tracks = np.load(tmp_path / "tracks" / "walk_tracks.npy")
    assert set(tracks["class_id"]) == {0}
    assert len(tracks) > 2
    assert f", {len(set(tracks['track_id']))} tracks" in caplog.text
    predict_recordings(Unsure(), recording, tmp_path, PredictConfig(track=True, track_score=0.99, overwrite=True))
    assert len(np.load(tmp_path / "tracks" / "walk_tracks.npy")) == 0


def test_several_recordings_are_looked_at(recording, tmp_path):
    write_dat(tmp_path / "b.dat", [some_events(1)], size_hw=SENSOR_HW)
    predict_recordings(HullRunner(), [recording, tmp_path / "b.dat"], tmp_path / "out", PredictConfig())
    assert {path.name for path in (tmp_path / "out").rglob("*.npy")} == {"walk_bbox.npy", "b_bbox.npy"}
    with pytest.raises(InputError, match="the standard input, -, must be named alone"):
        predict_recordings(HullRunner(), [recording, Path("-")], tmp_path / "out", PredictConfig())


@pytest.mark.parametrize("outside", [30, 80])
def test_what_a_recording_loses_is_told_and_most_of_it_is_an_error(tmp_path, caplog, outside):
    events = some_events()
    x = events.x.astype(np.int64)
    x[: len(x) * outside // 100] = SENSOR_HW[1]
    np.savez(tmp_path / "a.npz", t=events.t * 1000, x=x, y=events.y, p=events.p + 1, size_hw=SENSOR_HW)
    config = PredictConfig(time_unit="ns")
    if outside == 30:
        predict_recordings(HullRunner(), tmp_path / "a.npz", tmp_path / "out", config)
        assert "events outside the sensor (30.0%)" in caplog.text
        assert "polarities 1 and 2 are taken for darker and brighter" in caplog.text
        assert len(read_labels(tmp_path / "out" / "detections" / "a_bbox.npy"))
        return
    with pytest.raises(InputError, match=r"of which most can be read.*events outside the sensor \(80\.0%\)"):
        predict_recordings(HullRunner(), tmp_path / "a.npz", tmp_path / "out", config)


def test_a_doubt_about_times_is_told_once_and_before_the_work(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    events = some_events()
    number = np.arange(len(events))
    np.savez(tmp_path / "a.npz", t=number * 1_000_000, x=events.x, y=events.y, p=number % 2)
    told_before = []

    def nothing(*_: object, **__: object) -> list:
        told_before.extend(caplog.messages)
        return []

    monkeypatch.setattr(inputs, "event_detections", nothing)
    predict_recordings(HullRunner(), tmp_path / "a.npz", tmp_path / "out", PredictConfig(size_hw=SENSOR_HW))
    doubts = [message for message in caplog.messages if "Are its times in nanoseconds" in message]
    assert len(doubts) == 1
    assert doubts[0] in told_before


def test_results_among_the_recordings_are_no_recordings(recording, tmp_path):
    for _ in range(2):
        predict_recordings(HullRunner(), recording.parent, recording.parent / "found", AGAIN)
    assert len({name for name in files(recording.parent / "found") if name.endswith("_bbox.npy")}) == 1
    write_video(recording.parent / "a.mp4", moving_square(), fps=10)
    for out in ("pictures", "."):
        for _ in range(2):
            predict_recordings(HullRunner(None, 3), recording.parent / ".", recording.parent / out, AGAIN)
    assert {path.name for path in recording.parent.rglob("*.mp4")} == {"a.mp4", "walk.mp4"}


def test_a_recording_without_events_gives_empty_files(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write_evt3(tmp_path / "still.raw", [], size_hw=SENSOR_HW)
    predict_recordings(HullRunner(), tmp_path / "still.raw", tmp_path / "out", ALL)
    assert "videos/still.mp4" not in files(tmp_path / "out")
    assert len(np.load(tmp_path / "out" / "detections" / "still_bbox.npy")) == 0
    assert "nothing happens in it" in caplog.text


def test_a_recording_that_is_cut_off_gives_what_is_there(recording, tmp_path):
    content = recording.read_bytes()
    recording.write_bytes(content[: len(content) * 2 // 3 + 1])
    with open_recording(recording) as opened:
        there = Events.concatenate(list(opened.chunks()))
    predict_recordings(HullRunner(), recording, tmp_path / "out", PredictConfig())
    boxes = np.load(tmp_path / "out" / "detections" / "walk_bbox.npy")
    assert 0 < len(there) < len(some_events())
    assert boxes.tolist() == np.concatenate([each.boxes for each in found_in(there)]).tolist()


class Stopping(HullRunner):
    """Is asked to stop at the third window."""

    signal = signal.SIGINT

    def __call__(self, frames, state=None):
        found, after = super().__call__(frames, state)
        if after[0][0, 0] == 3:
            os.kill(os.getpid(), self.signal)
        return found, after


@pytest.mark.parametrize(("by", "is_video"), [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False)])
def test_ctrl_c_leaves_whole_files_of_what_was_found(recording, tmp_path, monkeypatch, by, is_video):
    before = signal.getsignal(by)
    monkeypatch.setattr(Stopping, "signal", by)
    with pytest.raises(Stopped, match=r"Stopped at 0.01 s of walk. What was found until then is in"):
        predict_recordings(Stopping(), recording, tmp_path / "out", replace(ALL, video=is_video))
    assert signal.getsignal(by) is before
    wanted = np.concatenate([each.boxes for each in found_in(some_events())[:3]]).tolist()
    assert np.load(tmp_path / "out" / "detections" / "walk_bbox.npy").tolist() == wanted
    assert read_boxes(tmp_path / "out" / "csv" / "walk_detections.csv").tolist() == wanted
    if is_video:
        with av.open(tmp_path / "out" / "videos" / "walk.mp4") as video:
            assert len(list(video.decode(video=0))) == 1


def test_an_unwritable_output_is_one_sentence(recording, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out must be a folder that can be made"):
        predict_recordings(HullRunner(), recording, tmp_path / "out", PredictConfig())
    (tmp_path / "other" / "detections" / "walk_bbox.npy").mkdir(parents=True)
    with pytest.raises(InputError, match=r"walk_bbox\.npy cannot be written: Is a directory"):
        predict_recordings(HullRunner(), recording, tmp_path / "other", PredictConfig())


@pytest.mark.parametrize(
    ("runner", "config", "name", "words"),
    [
        (
            HullRunner(),
            PredictConfig(),
            "none.raw",
            "must be a recording or a folder of recordings, and does not exist",
        ),
        (HullRunner(), PredictConfig(), "a.mp4", "must be a recording of events. Make one of a video: seqdet simul"),
        (
            HullRunner(None, 3),
            PredictConfig(),
            "none.mp4",
            "must be a video or a folder of images, and there is no su",
        ),
        (HullRunner(None, 3), PredictConfig(stream=StreamConfig(count=9)), "a.mp4", "are for events: leave them out"),
        (HullRunner(None, 3), PredictConfig(size_hw=(9, 9)), "a.mp4", "are for events: leave them out"),
        (HullRunner(), PredictConfig(fps=9), "x.raw", "fps and frame_hw are for pictures, and this detector takes ev"),
        (HullRunner(), PredictConfig(frame_hw=(9, 9)), "x.raw", "are for pictures, and this detector takes events"),
        (
            HullRunner(None, 2),
            PredictConfig(),
            "a.mp4",
            "must say that its frames show events to see .*, and does not: it ",
        ),
        (
            HullRunner(None, 3),
            PredictConfig(),
            "",
            "must hold images or videos, which this detector takes, and holds none",
        ),
    ],
)
def test_what_a_detector_does_not_take_is_said_in_one_sentence(runner, config, name, words, tmp_path):
    (tmp_path / "in").mkdir()
    if name == "a.mp4":
        write_video(tmp_path / "in" / "a.mp4", np.zeros((3, 24, 32, 3), np.uint8), fps=10)
    with pytest.raises(InputError, match=words):
        predict_recordings(runner, tmp_path / "in" / name, tmp_path / "out", config)


def test_a_time_far_beyond_all_others_is_refused_before_endless_silence(tmp_path):
    path = tmp_path / "far.csv"
    path.write_text("t,x,y,p\n0,1,1,1\n9000000000000000,2,2,1\n")
    words = r"far\.csv must have at most 10,000,000 windows of 1,000 us, and its times, from 0 to 9,000,000,000,000,000"
    with pytest.raises(InputError, match=words):
        predict_recordings(HullRunner(), path, tmp_path / "out", PredictConfig(size_hw=SENSOR_HW))
    by_count = StreamConfig(count=1)
    for config in (PredictConfig(track=True, track_us=1000), PredictConfig(video=True)):
        with pytest.raises(InputError, match=r"far\.csv must have at most 10,000,000 windows"):
            predict_recordings(
                HullRunner(), path, tmp_path / "out", replace(config, stream=by_count, size_hw=SENSOR_HW)
            )


def test_links_and_pipes_in_the_folder_of_results_are_not_written_to(recording, tmp_path):
    names = ("detections/walk_bbox.npy", "csv/walk_detections.csv")
    for name in names:
        (tmp_path / "out" / name).parent.mkdir(parents=True)
        (tmp_path / Path(name).name).write_text("precious")
        (tmp_path / "out" / name).symlink_to(tmp_path / Path(name).name)
    again = PredictConfig(overwrite=True)
    with pytest.raises(InputError, match=r"walk_bbox\.npy must be a new file"):
        predict_recordings(HullRunner(), recording, tmp_path / "out", PredictConfig())
    predict_recordings(HullRunner(), recording, tmp_path / "out", again)
    for name in names:
        assert (tmp_path / Path(name).name).read_text() == "precious"
        (tmp_path / "out" / name).unlink()
        os.mkfifo(tmp_path / "out" / name)
        with pytest.raises(InputError, match="device or a pipe"):
            predict_recordings(HullRunner(), recording, tmp_path / "out", again)


def test_a_second_command_that_writes_into_the_folder_is_refused(recording, tmp_path):
    with alone_in(tmp_path / "out"), pytest.raises(InputError, match="must not be in use by another command"):
        predict_recordings(HullRunner(), recording, tmp_path / "out", PredictConfig())
    assert not (tmp_path / "out").exists()


def test_detections_of_other_classes_are_not_renamed(tmp_path):
    write_evt3(tmp_path / "a.raw", [some_events()], size_hw=SENSOR_HW)
    predict_recordings(HullRunner(), tmp_path / "a.raw", tmp_path / "out", PredictConfig())
    before = (tmp_path / "out" / "detections" / "a_bbox.npy").read_bytes()
    other = HullRunner()
    other.classes = ("b", "a")
    with pytest.raises(InputError, match="must be of the classes b, a, and is of a, b"):
        predict_recordings(other, tmp_path / "a.raw", tmp_path / "out", PredictConfig())
    assert (tmp_path / "out" / "detections" / "a_bbox.npy").read_bytes() == before
    assert read_classes(tmp_path / "out" / "detections") == ("a", "b")


def test_another_sensor_is_refused_by_name(tmp_path):
    write_evt3(tmp_path / "big.raw", [some_events()], size_hw=(48, 64))
    with pytest.raises(InputError, match=r"big\.raw: the detector must see 32x24 pixels, as in training, got 64x48"):
        predict_recordings(HullRunner(), tmp_path / "big.raw", tmp_path / "out", PredictConfig())
    assert not (tmp_path / "out").exists()
    config = PredictConfig(stream=StreamConfig(any_size=True))
    predict_recordings(HullRunner(), tmp_path / "big.raw", tmp_path / "out", config)


def moving_square(count: int = 6, size_hw: tuple[int, int] = (40, 60)) -> np.ndarray:
    images = np.zeros((count, *size_hw, 3), np.uint8)
    for n, image in enumerate(images):
        image[8:24, 4 * n : 4 * n + 12] = 255
    return images


def test_images_are_watched_by_a_detector_for_pictures(tmp_path):
    (tmp_path / "walk").mkdir()
    for n, image in enumerate(moving_square()):
        Image.fromarray(image).save(tmp_path / "walk" / f"{n}.png")
    config = replace(ALL, fps=20.0)
    predict_recordings(HullRunner(None, 3), tmp_path / "walk", tmp_path / "out", config)
    boxes = np.load(tmp_path / "out" / "detections" / "walk_bbox.npy")
    assert boxes[["t", "x", "y", "w", "h"]].tolist() == [(50_000 * n, 4 * n, 8, 12, 16) for n in range(6)]
    with av.open(tmp_path / "out" / "videos" / "walk.mp4") as video:
        assert (video.streams.video[0].average_rate, len(list(video.decode(video=0)))) == (20, 6)


def test_pictures_are_made_to_fit_and_their_boxes_to_fit_back(tmp_path):
    write_video(tmp_path / "a.mp4", moving_square(), fps=10)
    seen = []

    class Watching(HullRunner):
        def __call__(self, frames, state=None):
            seen.append(frames[0])
            return super().__call__((frames > 127).astype(np.uint8), state)

    predict_recordings(Watching(None, 3), tmp_path / "a.mp4", tmp_path / "out", PredictConfig(frame_hw=(20, 40)))
    boxes = np.load(tmp_path / "out" / "detections" / "a_bbox.npy")
    assert seen[0].shape == (3, 20, 40)
    assert not seen[0][:, :, 30:].any()
    assert boxes[["x", "y", "w", "h"]].tolist() == [(4 * n, 8, 12, 16) for n in range(6)]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.mkv", "a.mp4"], r"videos must differ in their names without endings, got .*a\.mkv and .*a\.mp4"),
        (["a.png", "b.mp4"], r"must hold images of one sequence, and .*b\.mp4 is another\. Name it alone"),
        (["a.png", "deep/b.png"], r"must hold images of one sequence, and .*deep is another\. Name it alone"),
        (["a.txt"], "and holds none"),
    ],
)
def test_a_folder_of_which_something_would_be_left_out_is_refused(tmp_path, names, words):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=words):
        predict_recordings(HullRunner(None, 3), tmp_path, tmp_path / "out", PredictConfig())


def test_videos_and_folders_of_images_are_found_below_a_folder_and_keep_its_tree(tmp_path):
    for n, image in enumerate(moving_square(3)):
        (tmp_path / "in" / "walks" / "first").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "in" / "walks" / "first" / f"{n}.png")
    (tmp_path / "in" / "drives").mkdir()
    write_video(tmp_path / "in" / "drives" / "a.mp4", moving_square(4), fps=5)
    predict_recordings(HullRunner(None, 3), tmp_path / "in", tmp_path / "out", PredictConfig(fps=5))
    found = {path.relative_to(tmp_path / "out" / "detections") for path in (tmp_path / "out").rglob("*.npy")}
    assert {str(path) for path in found} == {"walks/first_bbox.npy", "drives/a_bbox.npy"}


@pytest.mark.parametrize("count", [7, 25])
def test_windows_by_number_are_shown_for_as_long_as_they_last(tmp_path, count):
    write_evt3(tmp_path / "a.raw", [some_events(length_us=3_000_000)], size_hw=SENSOR_HW)
    config = replace(ALL, stream=StreamConfig(count=count))
    predict_recordings(HullRunner(), tmp_path / "a.raw", tmp_path / "out", config)
    with av.open(tmp_path / "out" / "videos" / "a.mp4") as video:
        assert len(list(video.decode(video=0))) / float(video.streams.video[0].average_rate) == pytest.approx(
            3, abs=0.2
        )


class Film(ImageFolder):
    """A square that moves, at any times."""

    def __init__(self, path, times_us):
        self.path = path
        self.times_us = np.array(times_us)
        self._images = moving_square(len(times_us))

    def read(self, first, stop):
        yield from self._images[first:stop]


def test_a_film_of_uneven_pictures_is_shown_in_real_time(tmp_path, monkeypatch):
    times_us = np.cumsum([0, *np.tile([17_000, 33_000, 50_001, 33_000, 500_000], 5)]).tolist()
    monkeypatch.setattr(inputs, "open_pictures", lambda path, fps: Film(path, times_us))
    (tmp_path / "a.mp4").touch()
    predict_recordings(HullRunner(None, 3), tmp_path / "a.mp4", tmp_path / "out", ALL)
    with av.open(tmp_path / "out" / "videos" / "a.mp4") as video:
        seconds = len(list(video.decode(video=0))) / float(video.streams.video[0].average_rate)
    assert seconds == pytest.approx(times_us[-1] / 1e6, abs=0.05)


def test_a_video_stops_in_the_hours_between_two_pictures_when_it_is_asked_to(tmp_path, monkeypatch):
    times_us = [0, 33_000, 66_000, 10**10]
    asked, shown = threading.Event(), []

    def shown_to_the_sixth(path, images, *, fps):
        for image in images:
            shown.append(image)
            if len(shown) == 6:
                asked.set()

    @contextmanager
    def stopping(after):
        yield asked.is_set

    monkeypatch.setattr(inputs, "open_pictures", lambda path, fps: Film(path, times_us))
    monkeypatch.setattr(prediction, "write_video", shown_to_the_sixth)
    monkeypatch.setattr(prediction, "stop_on_signals", stopping)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(Stopped, match="Stopped at"):
        predict_recordings(HullRunner(None, 3), tmp_path / "a.mp4", tmp_path / "out", ALL)
    assert len(shown) < 10


def test_a_video_whose_second_picture_comes_early_is_shown_at_its_usual_rate(tmp_path, monkeypatch):
    times_us = [0, 1_000, *range(40_000, 400_000, 40_000)]
    monkeypatch.setattr(inputs, "open_pictures", lambda path, fps: Film(path, times_us))
    (tmp_path / "a.mp4").touch()
    predict_recordings(HullRunner(None, 3), tmp_path / "a.mp4", tmp_path / "out", ALL)
    with av.open(tmp_path / "out" / "videos" / "a.mp4") as video:
        assert (video.streams.video[0].average_rate, len(list(video.decode(video=0)))) == (25, len(times_us) - 1)


def test_a_video_that_cannot_be_written_loses_no_detection(recording, tmp_path, monkeypatch):
    def full(path, images, *, fps):
        next(images)
        raise InputError("the disk is full")

    monkeypatch.setattr(prediction, "write_video", full)
    with pytest.raises(InputError, match="the disk is full"):
        predict_recordings(HullRunner(), recording, tmp_path, PredictConfig(video=True))
    wanted = np.concatenate([each.boxes for each in found_in(some_events())])
    assert np.load(tmp_path / "detections" / "walk_bbox.npy").tolist() == wanted.tolist()


def test_pictures_of_two_sizes_are_refused_and_those_before_are_kept(tmp_path):
    for n, size in enumerate([(40, 60), (40, 60), (40, 62)]):
        Image.fromarray(moving_square(1, size)[0]).save(tmp_path / f"{n}.png")
    with pytest.raises(InputError, match=r"must have pictures of one size, 60x40, and 2\.png is 62x40"):
        predict_recordings(HullRunner(None, 3), tmp_path, out := tmp_path / "out", replace(ALL, fps=5.0))
    assert len(np.load(out / "detections" / f"{tmp_path.name}_bbox.npy")) == 2
    with av.open(out / "videos" / f"{tmp_path.name}.mp4") as video:
        assert len(list(video.decode(video=0))) == 2


def test_boxes_beside_a_fitted_picture_are_left_out():
    class Below(HullRunner):
        def __call__(self, frames, state=None):
            boxes = np.float32([[0, 30, 20, 40], [0, 20, 20, 40]])
            return [Detections(boxes, np.array([0, 1]), np.float32([0.9, 0.8]))], ()

    frames = [(np.zeros((24, 64, 3), np.uint8), 0)]
    (moment,) = inputs.picture_detections(frames, Below(None, 3), np.zeros(2), lambda: False, frame_hw=(30, 40))
    assert moment.boxes[["x", "y", "w", "h"]].tolist() == []
    (moment,) = inputs.picture_detections(frames, Below(None, 3), np.zeros(2), lambda: False, frame_hw=(60, 80))
    assert moment.boxes[["x", "y", "w", "h"]].tolist() == [(0, 16, 16, 8)]


@pytest.mark.parametrize("fps", [10.0, 50.0, 120.0, 240.0])
def test_a_video_shows_a_film_in_real_time(tmp_path, fps):
    write_video(tmp_path / "a.mp4", moving_square(12), fps=fps)
    predict_recordings(HullRunner(None, 3), tmp_path / "a.mp4", tmp_path / "out", ALL)
    with av.open(tmp_path / "out" / "videos" / "a.mp4") as video:
        shown, rate = len(list(video.decode(video=0))), float(video.streams.video[0].average_rate)
    assert shown / rate == pytest.approx(12 / fps, rel=0.02)
    assert rate == pytest.approx(min(fps, 60), rel=0.02)


def test_a_work_that_cannot_begin_leaves_the_results_before_it(recording, tmp_path):
    predict_recordings(HullRunner(), recording, out := tmp_path / "out", PredictConfig())
    before = (out / "detections" / "walk_bbox.npy").read_bytes()
    (out / "videos").touch()
    with pytest.raises(InputError, match=r"walk\.mp4 cannot be written"):
        predict_recordings(HullRunner(), recording, out, PredictConfig(video=True, overwrite=True))
    assert (out / "detections" / "walk_bbox.npy").read_bytes() == before


class Standard:
    """A standard input of bytes."""

    def __init__(self, pipe) -> None:
        self.buffer = pipe

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("ends", [0, 1])
def test_a_recording_comes_by_the_standard_input(recording, tmp_path, monkeypatch, ends):
    """Also one that stops in the middle of a word."""
    content = recording.read_bytes()
    monkeypatch.setattr(sys, "stdin", Standard(io.BytesIO(content[: len(content) - ends])))
    predict_recordings(HullRunner(), Path("-"), tmp_path / "out", PredictConfig())
    boxes = np.load(tmp_path / "out" / "detections" / "stdin_bbox.npy")
    wanted = np.concatenate([each.boxes for each in found_in(some_events()[: 60 - ends])])
    assert boxes.tolist() == wanted.tolist()


def test_a_pipe_that_stalls_is_written_down_and_left_at_a_signal(recording, tmp_path, monkeypatch):
    monkeypatch.setattr(result_files, "FLUSH_S", 0.05)
    found, written = tmp_path / "detections" / "stdin_bbox.npy", []
    read, write = os.pipe()
    os.write(write, recording.read_bytes())

    def watch() -> None:
        """Wait for what the closed windows hold, then stop the work."""
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and not (found.is_file() and len(np.load(found)) >= len(closed)):
            time.sleep(0.02)
        written.append(np.load(found).tolist())
        os.kill(os.getpid(), signal.SIGTERM)

    closed = [each.boxes for each in StreamingDetector(HullRunner()).push(some_events())]
    watcher = threading.Thread(target=watch)
    monkeypatch.setattr(sys, "stdin", Standard(pipe := os.fdopen(read, "rb")))
    watcher.start()
    with pytest.raises(Stopped):
        predict_recordings(HullRunner(), Path("-"), tmp_path, PredictConfig())
    watcher.join()
    pipe.close()
    os.close(write)
    assert written == [np.concatenate(closed).tolist()]
    assert np.load(found).tolist() == np.concatenate([each.boxes for each in found_in(some_events())]).tolist()


def test_work_ends_when_it_is_asked_to_where_no_window_closes():
    asked = iter([False, False, True, True])
    detector = StreamingDetector(HullRunner())
    assert not list(inputs.event_detections(repeat(Events.empty()), detector, lambda: next(asked)))


def test_a_pipe_that_is_stopped_does_not_play_a_silence_that_came_last():
    late = columns(t=[0, 10**9, 2 * 10**9], x=[1, 1, 1], y=[1, 1, 1], p=[1, 1, 1])
    asked = chain([False], repeat(True))
    found = list(inputs.event_detections([late], StreamingDetector(HullRunner()), lambda: next(asked), to_silence=True))
    assert [len(each.events) for each in found] == [1, *[0] * inputs.SILENCE]


def test_what_a_stopped_pipe_still_gives_after_a_pause_is_looked_at():
    chunks = (columns(t=[time_us], x=[1], y=[1], p=[1]) for time_us in (0, 50_000, 60_000))
    found = list(inputs.event_detections(chunks, StreamingDetector(HullRunner()), lambda: True, to_silence=True))
    assert [each.start_us for each in found if len(each.events)] == [0, 50_000, 60_000]


def test_no_pipe_an_empty_one_and_one_of_something_else_are_one_sentence(tmp_path, monkeypatch):
    for content, words in (
        (b"", "stdin must be a RAW recording, and it is empty"),
        (b"hello, world\n" * 99, "stdin must begin with a RAW header"),
        (b"% evt 3.0\n\0\0\0\0", "the standard input must state the size of its sensor, and does not. Give --size-hw"),
        (b"% evt 2.1\n", "the standard input must state the size"),
    ):
        monkeypatch.setattr(sys, "stdin", Standard(io.BytesIO(content)))
        with pytest.raises(InputError, match=words):
            predict_recordings(HullRunner(), Path("-"), tmp_path / "out", PredictConfig())
    monkeypatch.setattr(Standard, "isatty", lambda self: True)
    with pytest.raises(InputError, match="the standard input must be a recording, as in: cat x"):
        predict_recordings(HullRunner(), Path("-"), tmp_path / "out", PredictConfig())


def test_views_reach_the_detector_and_boxes_the_sensor(recording, tmp_path):
    stream = StreamConfig(view=ViewConfig(flip_x=True), score=0.5)
    predict_recordings(HullRunner(), recording, tmp_path / "out", PredictConfig(stream=stream))
    boxes = np.load(tmp_path / "out" / "detections" / "walk_bbox.npy")
    wanted = np.concatenate([each.boxes for each in found_in(some_events(), config=StreamConfig(score=0.5))])
    assert boxes.tolist() == wanted.tolist()


def test_moments_end_when_they_are_asked_to():
    chunks = iter([some_events()])
    asked = iter([False, True])
    found = list(inputs.event_detections(chunks, StreamingDetector(HullRunner()), lambda: next(asked)))
    assert len(found) == 1
    assert plain(found_in(some_events()))[0][:2] == (found[0].start_us, found[0].end_us)


def test_tracks_and_videos_of_an_earlier_work_do_not_stay_beside_new_detections(recording, tmp_path):
    predict_recordings(HullRunner(), recording, out := tmp_path / "out", ALL)
    predict_recordings(HullRunner(), recording, out, PredictConfig(overwrite=True))
    assert files(out) == {
        "csv/walk_detections.csv",
        "detections/label_map_dictionary.json",
        "detections/walk_bbox.npy",
        "tracks/label_map_dictionary.json",
    }
