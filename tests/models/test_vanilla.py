from __future__ import annotations

import pytest
import torch

from seqdet.checks import InputError
from seqdet.models.vanilla import Vanilla

STATE_TENSORS = {"lstm": 10, "gru": 5, "mingru": 5}


@pytest.fixture(params=STATE_TENSORS)
def backbone(request):
    torch.manual_seed(0)
    return Vanilla(3, base=1, channels=4, cell=request.param).eval()


def test_the_maps_have_the_shapes_of_the_reference():
    with torch.device("meta"):
        maps, state = Vanilla(3, base=64, channels=256)(torch.empty(10, 3, 3, 128, 128))
    assert [x.shape for x in maps] == [(30, 256, side, side) for side in (16, 8, 4, 2, 1)]
    assert [x.shape for x in state] == [(3, 256, side, side) for side in (16, 8, 4, 2, 1) for _ in range(2)]


@pytest.mark.parametrize(("height", "width"), [(128, 128), (128, 256), (384, 128)])
def test_any_multiple_of_the_largest_stride_works(backbone, height, width):
    maps, _ = backbone(torch.rand(2, 1, 3, height, width))
    assert [x.shape for x in maps] == [(2, 4, height // s, width // s) for s in (8, 16, 32, 64, 128)]


@pytest.mark.parametrize(("cell", "tensors"), STATE_TENSORS.items())
def test_an_lstm_remembers_two_tensors_a_level_and_a_gru_one(cell, tensors):
    _, state = Vanilla(1, base=1, channels=2, cell=cell)(torch.rand(1, 3, 1, 128, 128))
    assert len(state) == tensors
    assert {len(tensor) for tensor in state} == {3}


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_fewer_levels_are_the_first_of_five(levels):
    torch.manual_seed(0)
    whole = Vanilla(3, base=1, channels=4).eval()
    part = Vanilla(3, base=1, channels=4, levels=levels).eval()
    part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})
    assert part.strides == whole.strides[:levels]
    frames = torch.rand(2, 1, 3, 128, 128)
    for of_part, of_whole in zip(part(frames)[0], whole(frames)[0][:levels], strict=True):
        assert torch.equal(of_part, of_whole)


def test_with_fewer_levels_frames_need_a_smaller_multiple():
    maps, _ = Vanilla(3, base=1, channels=4, levels=3)(torch.rand(1, 1, 3, 32, 96))
    assert [x.shape[2:] for x in maps] == [(32 // stride, 96 // stride) for stride in (8, 16, 32)]


@pytest.mark.parametrize(("height", "width"), [(100, 128), (128, 150), (64, 64)])
def test_other_sides_are_refused(backbone, height, width):
    with pytest.raises(InputError, match=f"sides that are multiples of 128, got {width}x{height}"):
        backbone(torch.rand(2, 1, 3, height, width))


def test_frames_cut_anywhere_give_the_same_maps(backbone):
    frames = torch.rand(4, 2, 3, 128, 128)
    whole, after = backbone(frames)
    for cut in (1, 2, 3):
        early, state = backbone(frames[:cut])
        late, end = backbone(frames[cut:], state)
        parts = [torch.cat(pair) for pair in zip(early, late, strict=True)]
        torch.testing.assert_close(parts, whole)
        torch.testing.assert_close(end, after)


@pytest.mark.parametrize("other", [(1, 128, 128), (3, 128, 128), (2, 256, 128)], ids=str)
def test_the_state_of_other_lanes_or_frames_is_refused(backbone, other):
    lanes, height, width = other
    _, state = backbone(torch.rand(1, lanes, 3, height, width))
    with pytest.raises(InputError, match="state must be what the last call returned for 2 lanes of 128x128 pixels"):
        backbone(torch.rand(1, 2, 3, 128, 128), state)


def test_the_state_of_another_cell_is_refused():
    frames = torch.rand(1, 2, 1, 128, 128)
    lstm, gru = (Vanilla(1, base=1, channels=2, cell=cell) for cell in ("lstm", "gru"))
    for module, other, count in ((lstm, gru, 5), (gru, lstm, 10)):
        with pytest.raises(InputError, match=f"got {count} tensors"):
            module(frames, other(frames)[1])


def test_an_unknown_cell_is_refused():
    with pytest.raises(InputError, match="cell must be one of gru, lstm, mingru, separable; got 'rnn'"):
        Vanilla(3, base=1, channels=4, cell="rnn")
