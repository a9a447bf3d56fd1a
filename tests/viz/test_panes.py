"""Detections beside tracks: what is drawn where, at the sizes of sensors."""

from __future__ import annotations

import numpy as np
import pytest

from seqdet.data.detections import TRACKED_BOX
from seqdet.data.labels import EVENT_BBOX
from seqdet.viz.draw import PALETTE, readable_scale
from seqdet.viz.tiles import Panes

CLASSES = ("car", "person")
NO_BOXES, NO_TRACKS = np.zeros(0, EVENT_BBOX), np.zeros(0, TRACKED_BOX)


def one(kind: np.dtype, x=100, **more) -> np.ndarray:
    row = np.zeros(1, kind)
    row["x"], row["y"], row["w"], row["h"], row["class_confidence"] = x, 90, 40, 60, 0.8
    for name, value in more.items():
        row[name] = value
    return row


def black(size_hw=(240, 304)) -> np.ndarray:
    return np.zeros((*size_hw, 3), np.uint8)


def has(picture: np.ndarray, colour) -> bool:
    return bool((picture == colour).all(axis=2).any())


@pytest.mark.parametrize("size_hw", [(240, 304), (720, 1280), (34, 34)])
@pytest.mark.parametrize("has_tracks", [False, True])
def test_pictures_are_as_large_as_can_be_read(size_hw, has_tracks):
    panes, scale = Panes(CLASSES, has_tracks=has_tracks), readable_scale(size_hw)
    picture = panes.picture(black(size_hw), one(EVENT_BBOX), one(TRACKED_BOX), caption="1.00 s")
    assert picture.shape[1] == size_hw[1] * scale * (1 + has_tracks) + 6 * has_tracks
    assert 20 < picture.shape[0] - size_hw[0] * scale < 60
    assert panes.picture(black(size_hw), NO_BOXES, NO_TRACKS, caption="").shape == picture.shape


def test_detections_have_the_colour_of_their_class_and_tracks_that_of_their_identity():
    picture = Panes(CLASSES, has_tracks=True).picture(
        black(), one(EVENT_BBOX, class_id=1), one(TRACKED_BOX, class_id=1, track_id=14), caption=""
    )
    left, right = picture[:480, :608], picture[:480, 614:]
    assert tuple(left[180 + 60, 200]) == PALETTE[1]
    assert tuple(right[180 + 60, 200]) == PALETTE[4]
    assert not has(left, PALETTE[4])
    assert not has(right, PALETTE[1])


def test_a_track_leaves_a_trail_as_long_as_it_lives():
    panes = Panes(CLASSES, has_tracks=True)
    for n in range(5):
        track = one(TRACKED_BOX, x=100 + 30 * n, track_id=2, t=50_000 * n)
        picture = panes.picture(black(), NO_BOXES, track, caption="")
    assert picture[235:245, 614 + 250].any()
    for old in (np.zeros(0, TRACKED_BOX), one(TRACKED_BOX, x=220, track_id=3, t=300_000)):
        picture = panes.picture(black(), NO_BOXES, old, caption="")
    assert not picture[235:245, 614 + 250].any()


def test_the_trail_ends_two_seconds_back():
    panes = Panes(CLASSES, has_tracks=True)
    for x, t in ((20, 0), (60, 2_000_000), (220, 2_000_001)):
        picture = panes.picture(black(), NO_BOXES, one(TRACKED_BOX, x=x, track_id=2, t=t), caption="")
    assert picture[235:245, 614 + 2 * 140].any()
    assert not picture[235:245, 614 + 2 * 60].any()


def test_a_track_that_was_not_detected_now_has_thin_lines():
    def ink(last_us):
        track = one(TRACKED_BOX, track_id=2, t=50_000, last_detection_update_time=last_us)
        picture = Panes(CLASSES, has_tracks=True).picture(black((720, 1280)), NO_BOXES, track, caption="")
        return int((picture[130, 1286 + 95 : 1286 + 115] == PALETTE[2]).all(axis=1).sum())

    assert ink(50_000) == 2 * ink(0) == 4
