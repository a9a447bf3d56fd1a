"""Low-level recurrence, and the neck that follows it."""

from __future__ import annotations

import pytest
import torch

from seqdet import build_detector
from seqdet.checks import InputError
from seqdet.config import LowrecConfig
from seqdet.config_files import read_config, recipes
from seqdet.models.layers import reset_lanes
from seqdet.models.lowrec import Lowrec
from seqdet.models.measuring import measure
from seqdet.models.necks import FPN

CELLS = pytest.mark.parametrize(
    ("cell", "kernel_size", "aligned", "tensors"),
    [
        ("lstm", 1, True, 8),
        ("separable", 1, False, 8),
        ("separable", 3, True, 8),
        ("gru", 3, True, 4),
        ("mingru", 3, False, 4),
    ],
)


def tiny(cell: str = "separable", kernel_size: int = 1, aligned: bool = False) -> Lowrec:
    torch.manual_seed(0)
    module = Lowrec(2, base=1, blocks=(1, 2, 1, 1), cell=cell, kernel_size=kernel_size, aligned=aligned)
    module(torch.rand(3, 2, 2, 64, 64))  # the norms have seen some frames
    return module.eval()


@CELLS
def test_maps_and_memory_have_their_strides(cell, kernel_size, aligned, tensors):
    maps, state = tiny(cell, kernel_size, aligned)(torch.rand(2, 3, 2, 64, 96))
    assert [tuple(x.shape) for x in maps] == [(6, 8, 8, 12), (6, 8, 4, 6), (6, 8, 2, 3)]
    sizes = [(3, 4, 16, 24), (3, 8, 8, 12), (3, 8, 4, 6), (3, 8, 2, 3)]
    assert [tuple(x.shape) for x in state] == [size for size in sizes for _ in range(tensors // 4)]


@CELLS
def test_a_clip_cut_anywhere_is_the_whole_and_a_reset_lane_forgets(cell, kernel_size, aligned, tensors):
    module = tiny(cell, kernel_size, aligned)
    frames = torch.rand(4, 2, 2, 32, 32)
    whole, after = module(frames)
    streamed, state = [], None
    for frame in frames:
        maps, state = module(frame[None], state)
        streamed.append(maps)
    for mine, theirs in zip(map(torch.cat, zip(*streamed, strict=True)), whole, strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(state, after)
    forgotten, _ = module(frames[:1], reset_lanes(after, torch.tensor([True, False])))
    fresh, _ = module(frames[:1])
    carried, _ = module(frames[:1], after)
    torch.testing.assert_close(forgotten[0][0], fresh[0][0])
    torch.testing.assert_close(forgotten[0][1], carried[0][1])
    assert not torch.allclose(fresh[0], carried[0])


def test_what_the_memory_saw_at_the_finest_stride_reaches_every_map():
    module = tiny()
    frames = torch.rand(1, 1, 2, 32, 32)
    _, state = module(frames)
    changed = (state[0] + 1, state[1] + 1, *state[2:])
    for one, other in zip(module(frames, state)[0], module(frames, changed)[0], strict=True):
        assert not torch.allclose(one, other)


def test_other_frames_and_states_are_refused():
    module = tiny()
    with pytest.raises(InputError, match="sides that are multiples of 32, got 40x64"):
        module(torch.rand(1, 1, 2, 64, 40))
    _, state = module(torch.rand(1, 1, 2, 32, 32))
    with pytest.raises(InputError, match="state must be what the last call returned for 2 lanes of 32x32 pixels"):
        module(torch.rand(1, 2, 2, 32, 32), state)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"blocks": (1, 0, 1, 1)}, r"blocks must be 1 to 64 each, got \(1, 0, 1, 1\)"),
        ({"kernel_size": 2}, "kernel_size must be odd, got 2"),
        ({"cell": "mingru", "aligned": True}, "aligned must be false for the cell mingru"),
        ({"base": 0}, "base must be at least 1, got 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        LowrecConfig(**settings)


@pytest.mark.parametrize(
    ("recipe", "other", "channels"), [("lowrec_digits", "moving_digits", 3), ("lowrec_events", "digits_events", 10)]
)
def test_a_recipe_costs_no_more_operations_than_that_of_the_reference(recipe, other, channels):
    def flop(name):
        config = read_config(recipes()[name]).model
        settings = {key: value for key, value in vars(config).items() if key not in ("name", "classes", "in_channels")}
        with torch.device("meta"):
            detector = build_detector(config.name, classes=[*"0123456789"], in_channels=channels, **settings)
            return measure(detector, (128, 128)).flop

    assert flop(recipe) <= flop(other)


def test_a_pyramid_adds_what_coarse_maps_know_to_the_finer_ones():
    torch.manual_seed(0)
    neck = FPN((2, 3, 5), (8, 16, 32), 4)
    maps = [torch.rand(2, 2, 8, 12), torch.rand(2, 3, 4, 6), torch.rand(2, 5, 2, 3)]
    found = neck(maps)
    fine, middle, coarse = (lateral(x) for lateral, x in zip(neck.lateral, maps, strict=True))
    middle = middle + coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    fine = fine + middle.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    for mine, mixed, smooth in zip(found, (fine, middle, coarse), neck.smooth, strict=True):
        torch.testing.assert_close(mine, smooth(mixed))
    assert neck.channels == (4, 4, 4)
    maps[2] = maps[2] + 1
    assert not torch.allclose(neck(maps)[0], found[0])
    maps[0] = maps[0] + 1
    torch.testing.assert_close(neck(maps)[1:], neck([maps[0] - 1, *maps[1:]])[1:])
