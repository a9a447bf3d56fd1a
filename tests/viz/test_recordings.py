import math

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording
from seqdet.events.tables import write_npz
from seqdet.viz import video
from seqdet.viz.draw import readable_scale
from seqdet.viz.images import PALETTES, events_image
from seqdet.viz.video import MOST_STILL, STRIP, recording_images, write_recording_video

SIZE = (6, 300)
SCALE = readable_scale(SIZE)


def diagonal(times) -> Events:
    """Every event on a pixel of its own."""
    n = np.arange(len(times))
    return columns(t=np.array(times), x=n % SIZE[1], y=n // SIZE[1], p=n % 2)


def pictures(folder, events, **options):
    """The pictures at the size of the sensor, without captions."""
    write_npz(folder / "recording.npz", [events], size_hw=SIZE)
    with open_recording(folder / "recording.npz") as opened:
        images = list(recording_images(opened, **options))
    for image in images:
        assert image.shape == (SIZE[0] * SCALE + STRIP, SIZE[1] * SCALE, 3)
    return np.array([image[:-STRIP:SCALE, ::SCALE] for image in images])


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 2000), min_size=1, max_size=200),
    st.integers(40, 300),
    st.sampled_from([None, -500, 0]),
    st.sampled_from([7, 1000]),
)
def test_every_event_is_in_exactly_one_picture_in_its_colour(tmp_path_factory, times, duration, start, piece):
    events = diagonal(sorted(times))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video, "PIECE", piece)
        images = pictures(tmp_path_factory.mktemp("x"), events, duration_us=duration, start_us=start)
    begin = min(times) if start is None else start
    wanted = [
        events[(events.t >= begin + n * duration) & (events.t < begin + (n + 1) * duration)]
        for n in range((max(times) - begin) // duration + 1)
    ]
    np.testing.assert_array_equal(images, [events_image(each, size_hw=SIZE) for each in wanted])


def test_a_longer_window_leaves_trails_and_a_shorter_one_shows_less(tmp_path):
    events = diagonal(range(0, 1000, 10))
    for window_us in (30, 100, 250, 10**30):
        images = pictures(tmp_path, events, duration_us=100, window_us=window_us)
        assert len(images) == 10
        for n, image in enumerate(images):
            end = 100 * (n + 1)
            seen = events[(events.t >= end - window_us) & (events.t < end)]
            np.testing.assert_array_equal(image, events_image(seen, size_hw=SIZE))


def test_the_last_polarity_of_a_pixel_wins_within_a_picture(tmp_path):
    events = columns(t=[0, 10, 20, 20, 20, 20], x=[3, 3, 4, 4, 5, 5], y=[1, 1, 2, 2, 3, 3], p=[1, 0, 0, 1, 1, 0])
    (image,) = pictures(tmp_path, events, duration_us=100)
    assert tuple(image[1, 3]) == PALETTES["dark"].off
    assert tuple(image[2, 4]) == PALETTES["dark"].on
    assert tuple(image[3, 5]) == PALETTES["dark"].off


@pytest.mark.parametrize("start", [None, -3_600_000_000])
def test_the_rest_of_a_long_gap_is_left_out_and_its_captions_say_so(tmp_path, start):
    write_npz(tmp_path / "gap.npz", [diagonal([0, 5, 3_600_000_050, 3_600_000_060])], size_hw=SIZE)
    images = list(recording_images(open_recording(tmp_path / "gap.npz"), duration_us=100, start_us=start))
    lit = [(image[:-STRIP] != PALETTES["dark"].background).any() for image in images]
    opening = [False] * (MOST_STILL + 1) if start else []
    assert lit == opening + [True] + [False] * MOST_STILL + [True]
    captions = [image[-STRIP:, -200:] for image in images[len(opening) :]]
    assert (captions[1] == captions[MOST_STILL]).all()
    assert (captions[0] != captions[1]).any()


def test_a_part_of_a_recording_has_only_its_events(tmp_path):
    events = diagonal(range(0, 1000, 10))
    images = pictures(tmp_path, events, duration_us=1000, start_us=300, end_us=600)
    np.testing.assert_array_equal(images, [events_image(events[30:60], size_hw=SIZE)])


@pytest.mark.parametrize(("speed", "pictures_wanted"), [(1.0, 30), (0.5, 60), (2.0, 15)])
def test_a_video_lasts_as_long_as_its_speed_says(tmp_path, speed, pictures_wanted):
    write_npz(tmp_path / "a.npz", [diagonal(range(0, 1_000_000, 1000))], size_hw=SIZE)
    write_recording_video(tmp_path / "a.mp4", open_recording(tmp_path / "a.npz"), speed=speed, duration_us=999_900)
    with av.open(tmp_path / "a.mp4") as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].average_rate == 30
    assert len(frames) == pictures_wanted


def test_a_recording_that_does_not_say_its_size_is_shown_at_the_size_given(tmp_path):
    (tmp_path / "a.csv").write_text("0 1 1 1\n10 2 2 0\n")
    with open_recording(tmp_path / "a.csv") as opened:
        with pytest.raises(InputError, match="Give size_hw"):
            next(recording_images(opened, duration_us=100))
        with pytest.raises(InputError, match=r"size_hw must hold all events, got \(2, 2\) and x up to 2, y up to 2"):
            next(recording_images(opened, duration_us=100, size_hw=(2, 2)))
        assert next(recording_images(opened, duration_us=100, size_hw=(128, 128))).shape == (512 + STRIP, 512, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": 0}, "speed must be above 0"),
        ({"speed": float("nan")}, "speed must be above 0"),
        ({"speed": 1e-6}, "speed must leave a microsecond for each picture, at least 3e-05"),
        ({"duration_us": 0}, "duration_us must be at least 1"),
        ({"window_us": 0}, "window_us must be at least 1"),
        ({"palette": "pink"}, "palette must be one of"),
        ({"start_us": 5000}, "must have events to show, and has none in the time chosen"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence_and_leaves_no_file(tmp_path, options, words):
    write_npz(tmp_path / "a.npz", [diagonal(range(100))], size_hw=SIZE)
    with open_recording(tmp_path / "a.npz") as opened, pytest.raises(InputError, match=words):
        write_recording_video(tmp_path / "a.mp4", opened, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_an_empty_recording_is_refused(tmp_path):
    write_npz(tmp_path / "a.npz", [], size_hw=SIZE)
    for duration_us in (None, 100):
        with pytest.raises(InputError, match="must have events to show"):
            write_recording_video(tmp_path / "a.mp4", open_recording(tmp_path / "a.npz"), duration_us=duration_us)


def test_a_real_recording_becomes_a_video(recordings, digests, tmp_path):
    name = "trigger_1280x720.evt3.raw"
    with open_recording(recordings / name) as opened:
        write_recording_video(tmp_path / "a.mp4", opened, speed=2)
    with av.open(tmp_path / "a.mp4") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    length_us = digests[name]["last_t"] + 1 - digests[name]["first_t"]
    assert len(frames) == math.ceil(length_us / 2 * 30e-6)
    assert frames[0].shape == (720 + STRIP, 1280, 3)
