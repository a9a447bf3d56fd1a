"""Shapes of anchors that fit boxes: against shapes that were planted, torchvision's IoU, and the presets."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from seqdet import InputError, VanillaConfig, build_detector
from seqdet.models.fitted_anchors import MOST_BOXES, fitted_anchors, mean_overlap
from seqdet.models.single_shot import PRESETS

STRIDES = (8, 16, 32)
PLANTED = ((6.0, 2.0), (3.0, 4.5), (2.2, 8.0))


def planted(count=400, noise=0.05, seed=0):
    random = np.random.default_rng(seed)
    shape = np.array(PLANTED)[random.integers(len(PLANTED), size=count)]
    stride = np.array(STRIDES)[random.integers(len(STRIDES), size=count)]
    return shape * stride[:, None] * np.exp(random.normal(0, noise, (count, 2)))


def shapes_of(preset):
    ratio, scale = np.array(PRESETS[preset].shapes).T
    side = PRESETS[preset].size * scale
    return tuple(zip(side * ratio**-0.5, side * ratio**0.5, strict=True))


def test_shapes_that_were_planted_are_found_on_all_maps():
    found = fitted_anchors(planted(), STRIDES, per_cell=3)
    np.testing.assert_allclose(found, PLANTED, rtol=0.05)


def test_boxes_in_any_order_give_the_same_shapes():
    sizes = planted(noise=0.5)
    shuffled = np.random.default_rng(1).permutation(sizes)
    assert fitted_anchors(sizes, STRIDES, per_cell=4) == fitted_anchors(shuffled, STRIDES, per_cell=4)


@given(seed=st.integers(0, 2**16), preset=st.sampled_from(sorted(PRESETS)))
def test_fitted_shapes_overlap_the_boxes_better_than_as_many_of_a_preset(seed, preset):
    random = np.random.default_rng(seed)
    sizes = np.exp(random.normal(random.uniform(2, 4, 2), random.uniform(0.1, 0.8, 2), (400, 2)))
    other = shapes_of(preset)
    assert mean_overlap(sizes, STRIDES, fitted_anchors(sizes, STRIDES, per_cell=len(other))) > mean_overlap(
        sizes, STRIDES, other
    )


def test_the_overlap_is_that_of_torchvision():
    sizes = planted(20, noise=0.5)
    anchors = np.array([np.array(shape) * stride for stride in STRIDES for shape in PLANTED])
    boxes = [torch.tensor(np.concatenate([-each / 2, each / 2], axis=1)) for each in (sizes, anchors)]
    assert mean_overlap(sizes, STRIDES, PLANTED) == pytest.approx(box_iou(*boxes).max(dim=1).values.mean().item())


def test_of_many_boxes_some_of_every_size_are_looked_at():
    sizes = np.concatenate([np.full((2 * MOST_BOXES, 2), 32.0), np.full((MOST_BOXES, 2), [64.0, 16.0])])
    np.testing.assert_allclose(fitted_anchors(sizes, (8,), per_cell=2), [[8, 2], [4, 4]])


@pytest.mark.parametrize(
    "sizes", [planted(59), np.full((60, 2), 20.0), np.concatenate([planted(59), [[0, 5]]]), np.zeros((0, 2))]
)
def test_too_few_boxes_are_one_sentence(sizes):
    with pytest.raises(InputError, match="anchors must be a preset where the training data have few boxes: 3 shapes"):
        fitted_anchors(sizes, STRIDES, per_cell=3)


def test_a_detector_has_the_shapes_that_its_configuration_says():
    config = VanillaConfig(
        base=1, channels=8, levels=2, in_channels=2, classes=("a",), anchors="fitted", anchor_shapes=PLANTED
    )
    outputs, _ = build_detector(config)(torch.zeros(1, 1, 2, 32, 32))
    np.testing.assert_allclose(outputs.anchors[:3, 2:], np.array(PLANTED) * 8, rtol=1e-6)
    np.testing.assert_allclose(outputs.anchors[-3:, 2:], np.array(PLANTED) * 16, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"anchors": "coco", "anchor_shapes": PLANTED}, "anchor_shapes must be given with anchors fitted alone"),
        ({"anchors": "fitted", "anchor_shapes": ((1.0, 0.0),)}, "anchor_shapes must be widths and heights above 0"),
        ({"anchors_per_cell": 0}, "anchors_per_cell must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(settings, message):
    with pytest.raises(InputError, match=message):
        VanillaConfig(**settings)


def test_without_data_or_shapes_nothing_is_built():
    with pytest.raises(InputError, match="anchor_shapes must be given with anchors fitted, as build_detector"):
        build_detector(VanillaConfig(in_channels=2, classes=("a",), anchors="fitted"))
