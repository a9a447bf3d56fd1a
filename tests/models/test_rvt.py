"""RVT against what its authors' model computes, and the laws that any backbone keeps."""

from __future__ import annotations

import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import model_config
from seqdet.models.rvt import RVT, CellLSTM, attend

SIZE_HW = 64, 96


def make_frames(time: int = 3, lanes: int = 2, size_hw: tuple[int, int] = SIZE_HW, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4, (time, lanes, 5, *size_hw), generator=generator).float()


def make_backbone(**settings) -> RVT:
    torch.manual_seed(0)
    backbone = RVT(5, dim=8, head_width=4, **settings)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if ".scale" in name:
                parameter.uniform_(-1, 1)
    return backbone


def test_a_memory_of_cells_is_the_lstm_of_torch():
    cells = CellLSTM(6)
    usual = torch.nn.LSTM(6, 6)
    x = torch.randn(4, 2, 3, 5, 6)
    order = [1, 0, 3, 2]  # torch: input, forget, candidate, output
    with torch.no_grad():
        for ours, theirs in (
            (cells.from_input.weight, usual.weight_ih_l0),
            (cells.from_hidden.weight, usual.weight_hh_l0),
        ):
            theirs.copy_(torch.cat([ours.chunk(4)[i] for i in order]))
        usual.bias_ih_l0.copy_(torch.cat([cells.from_input.bias.chunk(4)[i] for i in order]))
        usual.bias_hh_l0.zero_()
        y, (hidden, cell) = cells(x)
        wanted, (last_hidden, last_cell) = usual(x.flatten(1, 3))
    torch.testing.assert_close(y.flatten(1, 3), wanted)
    torch.testing.assert_close(hidden.permute(0, 2, 3, 1).flatten(0, 2), last_hidden[0])
    torch.testing.assert_close(cell.permute(0, 2, 3, 1).flatten(0, 2), last_cell[0])


def naive_block(block, x: torch.Tensor, groups: list[list[tuple[int, int]]]) -> torch.Tensor:
    """Attention written out, for one frame (H, W, C): every group of cells by its own."""
    out = x.clone()
    for group in groups:
        cells = torch.stack([x[cell] for cell in group])
        normed = block.norm1(cells)
        qkv = block.attention.qkv(normed).view(len(group), -1, 3, block.attention.head_width)
        heads = []
        for head in range(qkv.shape[1]):
            query, key, value = qkv[:, head].unbind(1)
            heads.append((query @ key.T / query.shape[1] ** 0.5).softmax(-1) @ value)
        cells = cells + block.scale1 * block.attention.proj(torch.cat(heads, dim=1))
        cells = cells + block.scale2 * block.mlp(block.norm2(cells))
        for cell, value in zip(group, cells, strict=True):
            out[cell] = value
    return out


@torch.no_grad()
def test_a_stage_attends_in_windows_of_neighbours_then_across_the_grid():
    stage = make_backbone().stages[0]
    rows, columns, height, width = 2, 3, 4, 9
    x = torch.randn(1, 1, 5, 4 * height, 4 * width)
    windows = [
        [(top + y, left + x) for y in range(rows) for x in range(columns)]
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]
    grid = [
        [(top + y * height // rows, left + x * width // columns) for y in range(rows) for x in range(columns)]
        for top in range(height // rows)
        for left in range(width // columns)
    ]
    wanted = stage.norm(stage.conv(x[0])[0].permute(1, 2, 0))
    wanted = naive_block(stage.grid, naive_block(stage.window, wanted, windows), grid)
    stage.memory = torch.nn.Identity()
    stage.memory.forward = lambda x, state: (x, ())
    found, _ = stage(x, None, (rows, columns))
    torch.testing.assert_close(found[0, 0].permute(1, 2, 0), wanted)


@torch.no_grad()
def test_a_clip_equals_its_parts_and_a_lane_no_other():
    backbone = make_backbone()
    frames = make_frames(4)
    maps, after = backbone(frames)
    early, between = backbone(frames[:1])
    late, end = backbone(frames[1:], between)
    for whole, first, rest in zip(maps, early, late, strict=True):
        torch.testing.assert_close(whole, torch.cat([first, rest]))
    torch.testing.assert_close(end, after)
    alone, own_state = backbone(frames[:, 1:])
    for whole, own in zip(maps, alone, strict=True):
        torch.testing.assert_close(whole[1::2], own)
    torch.testing.assert_close(own_state, tuple(tensor[1:] for tensor in after))


@torch.no_grad()
def test_silence_is_a_state_of_zeros():
    backbone = make_backbone()
    maps, after = backbone(make_frames())
    again, _ = backbone(make_frames(), tuple(torch.zeros_like(tensor) for tensor in after))
    torch.testing.assert_close(again, maps)


@pytest.mark.parametrize(
    ("size_hw", "split", "partition"),
    [((256, 320), 1, (8, 10)), ((384, 640), 2, (6, 10)), ((64, 96), 1, (2, 3)), ((128, 128), 2, (2, 2))],
)
def test_the_partition_follows_from_the_size_of_the_frames(size_hw, split, partition):
    assert make_backbone(split=split).partition_of(size_hw) == partition


@torch.no_grad()
def test_a_partition_given_is_that_of_the_rule_where_they_agree():
    frames = make_frames(1)
    wanted, _ = make_backbone()(frames)
    found, _ = make_backbone(partition=(2, 3))(frames)
    assert all(map(torch.equal, found, wanted))
    other, _ = make_backbone(partition=(1, 3))(frames)
    assert not torch.allclose(other[0], wanted[0])


def test_maps_have_the_sizes_that_channels_and_strides_say():
    backbone = make_backbone()
    maps, _ = backbone(make_frames())
    wanted = [(6, c, 64 // s, 96 // s) for c, s in zip(backbone.channels, backbone.strides, strict=True)]
    assert [tuple(x.shape) for x in maps] == wanted


@pytest.mark.parametrize(
    ("settings", "size_hw", "words"),
    [
        ({}, (64, 80), "multiples of 32, got 80x64"),
        ({"split": 2}, (96, 64), "multiples of 64, got 64x96"),
        ({"partition": (2, 3)}, (64, 64), "height that is a multiple of 64 and a width that is one of 96, got 64x64"),
        ({"partition": (3, 2)}, (64, 64), "height that is a multiple of 96"),
    ],
)
def test_frames_that_no_partition_fits_are_refused(settings, size_hw, words):
    with pytest.raises(InputError, match=words):
        make_backbone(**settings)(make_frames(1, size_hw=size_hw))


def test_heads_that_do_not_fill_the_channels_are_refused():
    with pytest.raises(InputError, match="head_width must divide dim, got 5 and 8"):
        RVT(5, dim=8, head_width=5)


@torch.no_grad()
def test_a_state_of_other_frames_is_refused():
    backbone = make_backbone()
    _, state = backbone(make_frames(1))
    with pytest.raises(InputError, match="for 1 lanes of 96x64 pixels"):
        backbone(make_frames(1, lanes=1), state)
    with pytest.raises(InputError, match="got 7 tensors"):
        backbone(make_frames(1), state[:-1])


def test_every_weight_learns():
    backbone = make_backbone()
    maps, _ = backbone(make_frames())
    sum(x.square().sum() for x in maps).backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_attention_in_bfloat16_is_that_of_its_numbers():
    query, key, value = torch.randn(3, 2, 4, 6, 8).bfloat16().unbind(0)
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(query, key, value)
    wanted = (query.float() @ key.float().mT / 8**0.5).softmax(-1) @ value.float()
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=1e-2, atol=1e-2)


def test_a_partition_that_is_stated_pads_frames_to_no_more_than_it_needs():
    assert make_backbone(partition=(2, 2)).partition_of((64, 64)) == (2, 2)
    assert make_backbone(partition=(2, 2)).multiple == 32
    with pytest.raises(InputError, match="partition and split must not both be given"):
        model_config("rvt_tiny", partition=(2, 2), split=3)
