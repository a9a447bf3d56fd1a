from __future__ import annotations

import pytest
import torch

from seqdet.models.single_shot import PRESETS, Anchors

STRIDES = (8, 16, 32, 64, 128)
EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS)


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    return [(height // stride, width // stride) for stride in STRIDES]


def test_psee_has_six_anchors_a_cell_and_2046_in_a_small_frame():
    anchors = Anchors(PRESETS["psee"], STRIDES)
    assert anchors.per_cell == 6
    assert anchors(sizes(128, 128)).shape == (2046, 4)
    assert anchors(sizes(128, 128)).dtype == torch.float32


@EVERY_PRESET
def test_anchors_stand_in_the_middle_of_their_cells_by_map_row_and_column(preset):
    anchors = Anchors(PRESETS[preset], (8, 16))
    centres = anchors([(2, 3), (1, 2)])[:, :2].view(-1, anchors.per_cell, 2)
    fine = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert centres[:, 0].tolist() == [*fine, [8, 8], [24, 8]]
    assert (centres == centres[:, :1]).all()


@EVERY_PRESET
def test_shapes_are_ratio_and_scale_of_a_size_that_doubles_from_map_to_map(preset):
    anchors = Anchors(PRESETS[preset], (8, 16))
    size, shapes = PRESETS[preset]
    width, height = anchors([(1, 1), (1, 1)]).view(2, anchors.per_cell, 4)[..., 2:].unbind(-1)
    torch.testing.assert_close(height[0] / width[0], torch.tensor([ratio for ratio, _ in shapes]))
    torch.testing.assert_close((height[0] * width[0]).sqrt(), torch.tensor([8 * size * scale for _, scale in shapes]))
    torch.testing.assert_close(width[1], 2 * width[0])
    torch.testing.assert_close(height[1], 2 * height[0])


def test_the_caller_cannot_damage_the_next_answer():
    anchors = Anchors(PRESETS["psee"], STRIDES)
    first = anchors(sizes(128, 256))
    before = first.clone()
    first.zero_()
    assert torch.equal(anchors(sizes(128, 256)), before)


def test_anchors_first_made_in_inference_mode_can_be_trained_with():
    anchors = Anchors(PRESETS["psee"], STRIDES)
    with torch.inference_mode():
        anchors(sizes(256, 256))
    scale = torch.ones(1, requires_grad=True)
    (scale * anchors(sizes(256, 256))).sum().backward()
    assert scale.grad.isfinite()


def test_every_size_has_anchors_of_its_own():
    anchors = Anchors(PRESETS["coco"], STRIDES)
    assert len(anchors(sizes(128, 256))) == 2 * len(anchors(sizes(128, 128)))
    assert not torch.equal(anchors(sizes(128, 256)), anchors(sizes(256, 128)))
