"""How pictures look in training: one draw for a recording and epoch, whatever clip a picture is in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from seqdet.checks import InputError
from seqdet.config import AugmentConfig
from seqdet.data.appearance import Appearance, draw_appearance

ALL = AugmentConfig(brightness=1, contrast=1, blur=1, noise=1, erase=0.5)
FRAMES = torch.randint(0, 256, (12, 3, 24, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(config: AugmentConfig = ALL, *, seed: int = 0, recording: int = 3, epoch: int = 5) -> Appearance:
    return draw_appearance(config, seed=seed, recording=recording, epoch=epoch)


@pytest.mark.parametrize("length", [1, 5, 12])
def test_clips_of_any_length_have_the_same_pictures(length):
    seen = drawn()
    parts = [seen.frames(FRAMES[first : first + length], start=first) for first in range(0, 12, length)]
    assert torch.equal(torch.cat(parts), seen.frames(FRAMES, start=0))
    assert not torch.equal(torch.cat(parts), FRAMES)


def test_recordings_and_epochs_look_different_and_one_looks_the_same_twice():
    assert drawn() == drawn()
    assert len({drawn(seed=a, recording=b, epoch=c).brightness for a in (0, 1) for b in (0, 1) for c in (0, 1)}) == 8


def test_nothing_changes_by_default_nor_in_a_blank_lane():
    for seen in (drawn(AugmentConfig()), drawn(recording=-1)):
        assert seen.is_identity
        assert seen.frames(FRAMES, start=0) is FRAMES


@pytest.mark.parametrize("name", ["brightness", "contrast", "blur", "noise", "erase"])
def test_switching_one_off_leaves_what_the_others_draw(name):
    one = vars(drawn())
    other = vars(drawn(replace(ALL, **{name: 0})))
    changed = {each for each in one if one[each] != other[each]}
    assert changed == {"erased" if name == "erase" else name}


def test_brightness_contrast_and_blur_are_those_of_torchvision():
    brighter = Appearance(brightness=40.0).frames(FRAMES, start=0)
    assert torch.equal(brighter, (FRAMES.int() + 40).clamp(max=255).to(torch.uint8))
    half = Appearance(contrast=0.5).frames(FRAMES, start=0)
    assert (half.float() - (127.5 + 0.5 * (FRAMES.float() - 127.5))).abs().max() <= 0.5
    ramp = torch.arange(0, 256, 8, dtype=torch.uint8).expand(1, 1, 24, 32)
    ramp = torch.where(ramp > 100, ramp, 0)
    found = Appearance(blur=1.5).frames(ramp, start=0)
    wanted = tv.gaussian_blur(ramp, [13, 13], [1.5, 1.5])
    assert (found.int() - wanted.int()).abs().max() <= 4  # Pillow's is three boxes


def test_noise_has_the_spread_it_says_and_differs_from_picture_to_picture():
    grey = torch.full((20, 1, 64, 64), 128, dtype=torch.uint8)
    noisy = Appearance(noise=12.0, origin=(1,)).frames(grey, start=0).float() - 128
    assert noisy.std().item() == pytest.approx(12, rel=0.03)
    assert not torch.equal(noisy[0], noisy[1])


def test_so_many_pictures_lose_one_patch_of_such_a_size():
    grey = torch.zeros((400, 1, 40, 50), dtype=torch.uint8)
    erased = Appearance(erased=0.5, patch=0.3, origin=(1,)).frames(grey, start=0)[:, 0].numpy()
    lost = [picture for picture in erased if picture.any()]
    assert 160 < len(lost) < 240
    for picture in lost:
        rows = np.flatnonzero(picture.any(axis=1))
        columns = np.flatnonzero(picture.any(axis=0))
        patch = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (patch == patch[0, 0]).all()
        assert 3 <= len(rows) <= 12
        assert 3 <= len(columns) <= 15


def test_frames_of_another_type_are_refused():
    with pytest.raises(InputError, match="frames of pictures must be uint8"):
        drawn().frames(FRAMES.float(), start=0)
