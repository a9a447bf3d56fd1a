"""Pictures of any size as frames: all of them, in their shape, at the top left, and boxes with them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from seqdet.pictures.fitting import fit_scale, fitted, fitted_size


@pytest.mark.parametrize("colour", ["rgb", "grey"])
@pytest.mark.parametrize("frame_hw", [(30, 40), (60, 80), (30, 90), (64, 40), (7, 5)])
def test_a_frame_has_the_whole_picture_and_nothing_else_and_can_be_written_to(frame_hw, colour):
    picture = np.full((30, 40, 3), 200, np.uint8)
    frame = fitted(picture, frame_hw, colour)
    height, width = fitted_size((30, 40), frame_hw)
    assert frame.shape == (3 if colour == "rgb" else 1, *frame_hw)
    assert abs(height / width - 0.75) <= 0.5 / width + 0.5 / height
    assert (frame[:, :height, :width] == 200).all()
    assert not frame[:, height:].any()
    assert not frame[:, :, width:].any()
    assert frame.flags.writeable
    assert frame.flags.c_contiguous


@pytest.mark.parametrize("frame_hw", [(96, 96), (48, 100), (200, 150)])
def test_a_box_times_the_scale_is_where_the_picture_shows_it(frame_hw):
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[40:80, 100:140] = 255
    frame = fitted(picture, frame_hw, "grey")[0]
    across, down = fit_scale((120, 160), frame_hw)
    rows = np.flatnonzero((frame > 127).any(axis=1))
    columns = np.flatnonzero((frame > 127).any(axis=0))
    assert [columns[0] * across, (columns[-1] + 1) * across] == pytest.approx([100, 140], abs=across)
    assert [rows[0] * down, (rows[-1] + 1) * down] == pytest.approx([40, 80], abs=down)


def test_grey_is_that_of_pillow():
    picture = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    assert np.array_equal(fitted(picture, (9, 11), "grey")[0], np.asarray(Image.fromarray(picture).convert("L")))
