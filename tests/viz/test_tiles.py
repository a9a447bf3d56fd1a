from dataclasses import replace

import numpy as np
import pytest
import torch

from seqdet.checks import InputError
from seqdet.structures import Boxes, Clip
from seqdet.viz.draw import BACKGROUND
from seqdet.viz.images import frame_image
from seqdet.viz.tiles import GAP, film_strip, grid, play


def test_three_channels_are_shown_as_they_are():
    frame = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    np.testing.assert_array_equal(frame_image(frame), frame.permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(frame_image(frame / 255), frame.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("channels", [1, 2, 5, 10])
def test_other_channels_are_brighter_where_more_happens(channels):
    frame = np.zeros((channels, 4, 6), np.uint8)
    frame[-1, 1, 2], frame[-1, 2, 3] = 1, 2
    image = frame_image(frame)
    assert image.shape == (4, 6, 3)
    assert image.dtype == np.uint8
    assert 0 < image[1, 2].max() < image[2, 3].max() == 255
    assert image.any(-1).sum() == 2


def test_off_and_on_events_differ_in_colour():
    image = frame_image(np.eye(2, dtype=np.float32)[:, None])
    assert image[0, 0, 2] > image[0, 0, 0]
    assert image[0, 1, 0] > image[0, 1, 2]


def test_a_frame_without_events_is_black():
    assert not frame_image(np.zeros((2, 4, 6), np.uint8)).any()


def test_a_frame_of_the_wrong_shape_is_refused():
    with pytest.raises(InputError, match=r"frame must have shape \(C, H, W\)"):
        frame_image(torch.zeros(1, 3, 4, 4))


def test_every_tile_is_in_its_row_and_column():
    images = [np.full((20, 30, 3), 10 * i + 100, np.uint8) for i in range(5)]
    picture = grid(images, columns=3)
    assert picture.shape == (2 * 20 + 3 * GAP, 3 * 30 + 4 * GAP, 3)
    for i, image in enumerate(images):
        y, x = GAP + i // 3 * (20 + GAP), GAP + i % 3 * (30 + GAP)
        np.testing.assert_array_equal(picture[y : y + 20, x : x + 30], image)
    assert (picture[-20:, -30:] == BACKGROUND).all()


def test_captions_and_title_stand_beside_the_tiles_and_not_on_them():
    images = [np.full((20, 30, 3), 100, np.uint8)] * 2
    plain = grid(images, columns=2)
    picture = grid(images, columns=2, captions=["a caption that is far too long", "b"], title="title")
    assert picture.shape[0] > plain.shape[0]
    assert picture.shape[1] == plain.shape[1]
    np.testing.assert_array_equal(picture[-20 - GAP :], plain[-20 - GAP :])
    assert (picture[: -20 - GAP] != BACKGROUND).any()


@pytest.mark.parametrize("images", [[], [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)]])
def test_tiles_of_different_sizes_are_refused(images):
    with pytest.raises(InputError, match="images must be at least one, all of one size"):
        grid(images, columns=2)


@pytest.fixture
def clip():
    """Four time bins on two lanes, of which the second is blank."""
    time, lanes = 4, 2
    return Clip(
        frames=torch.zeros(time, lanes, 3, 16, 16, dtype=torch.uint8),
        is_first=torch.tensor([True, True]),
        is_blank=torch.tensor([False, True]),
        is_labelled=torch.tensor([[True, False]] * time),
        boxes=[Boxes.empty()] * time * lanes,
        recordings=torch.tensor([4, -1]),
        end_us=torch.zeros(time, lanes, dtype=torch.int64),
    )


def found_at(t, lane):
    found = [Boxes.empty()] * 8
    found[2 * t + lane] = Boxes(torch.tensor([[2.0, 2, 12, 12]]), torch.tensor([0]), torch.tensor([0.9]))
    return found


def test_a_clip_plays_one_picture_per_time_bin_and_every_lane_shows_its_own_boxes(clip):
    first, second, *others = play(clip, found_at(1, 0), classes=["x"], columns=2, scale=4)
    assert len(others) == 2
    for other in others:
        np.testing.assert_array_equal(first, other)
    changed = (first != second).any(-1)
    assert changed.any()
    assert not changed[:, GAP + 64 :].any()


def test_every_time_bin_shows_its_own_frame_and_truth(clip):
    frames = torch.arange(1, 9, dtype=torch.uint8).view(4, 2, 1, 1, 1) + torch.zeros(1, 1, 3, 16, 16, dtype=torch.uint8)
    clip = replace(clip, frames=frames, boxes=found_at(2, 1))
    for t, picture in enumerate(play(clip, [Boxes.empty()] * 8, classes=["x"], columns=2, scale=4)):
        for lane in range(2):
            x = GAP + lane * (64 + GAP)
            tile = picture[-64 - GAP : -GAP, x : x + 64]
            assert (tile[:4] == 1 + 2 * t + lane).all()
            assert (tile == 1 + 2 * t + lane).all() == ((t, lane) != (2, 1))


def test_lanes_that_are_not_asked_for_are_left_out(clip):
    both = next(play(clip, found_at(0, 0), classes=["x"], columns=2, scale=8))
    first = next(play(clip, found_at(0, 0), classes=["x"], columns=2, scale=8, lanes=[0]))
    assert first.shape[1] == 128 + 2 * GAP < both.shape[1]
    np.testing.assert_array_equal(first[-128 - GAP - 20 :, GAP:-GAP], both[-128 - GAP - 20 :, GAP : GAP + 128])


def test_the_caption_is_the_name_of_the_recording(clip):
    def caption(names):
        picture = next(play(clip, found_at(0, 0), classes=["x"], columns=2, scale=8, names=names))
        return picture[-128 - GAP - 20 : -128 - GAP, : GAP + 128]

    plain = caption(())
    np.testing.assert_array_equal(caption(["a", "b", "c", "d", "video 4"]), plain)
    assert (caption(["a", "b", "c", "d", "drive2"]) != plain).any()


def test_a_caption_that_is_too_long_keeps_its_ends():
    image = np.full((20, 200, 3), 100, np.uint8)

    def caption(text):
        return grid([image], columns=1, captions=[text])[GAP : -20 - GAP, GAP:-GAP]

    long = caption("drive-" + 40 * "x" + ", 1.20 s")
    assert (long[:, :30] == caption("drive-")[:, :30]).all()
    assert (long[:, -40:] != BACKGROUND).any()
    assert (long[:, -40:] != caption("drive-" + 40 * "x" + ", 3.45 s")[:, -40:]).any()


def test_a_title_takes_the_lines_that_it_needs():
    narrow, wide = (grid([np.zeros((20, width, 3), np.uint8)], columns=1, title="one two three") for width in (60, 300))
    assert narrow.shape[0] > wide.shape[0]


def test_a_blank_lane_has_no_caption(clip):
    picture = next(play(clip, found_at(0, 0), classes=["x"], columns=2, scale=4))
    strip = picture[-64 - GAP - 20 : -64 - GAP]
    assert (strip[:, : GAP + 64] != BACKGROUND).any()
    assert (strip[:, GAP + 64 + GAP :] == BACKGROUND).all()


@pytest.mark.parametrize(("frames", "shown"), [(2, [0, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])])
def test_a_film_strip_shows_moments_of_one_lane_from_the_first_to_the_last(clip, frames, shown):
    def strip(found):
        return film_strip([(clip, found)], lane=0, classes=["x"], frames=frames, scale=4)

    empty = strip([Boxes.empty()] * 8)
    assert empty.shape[1] == len(shown) * (64 + GAP) + GAP
    for t in range(4):
        changed = (strip(found_at(t, 0)) != empty).any(-1).any(0)
        assert changed.any() == (t in shown)
        if t in shown:
            assert shown.index(t) == changed.nonzero()[0].min() // (64 + GAP)
        np.testing.assert_array_equal(strip(found_at(t, 1)), empty)


def test_a_film_strip_runs_on_over_consecutive_clips(clip):
    found = [Boxes.empty()] * 8
    strip = film_strip([(clip, found), (clip, found)], lane=0, classes=["x"], frames=8, scale=4)
    half = (strip.shape[1] - GAP) // 2
    np.testing.assert_array_equal(strip[:, GAP : GAP + half], strip[:, GAP + half :])
