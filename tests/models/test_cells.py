"""Of cells, what only some have: a scan over time, a memory that moves."""

from __future__ import annotations

import pytest
import torch

from seqdet.models.cells import CELLS, Alignment, ConvMinGRU

ALIGNED = pytest.mark.parametrize("cell", ["lstm", "gru"])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_min_gru_is_its_formula_frame_by_frame(stride):
    torch.manual_seed(0)
    module = ConvMinGRU(2, 3, stride=stride)
    x = torch.randn(7, 2, 2, 6, 8)
    memory = torch.randn(2, 3, 6 // stride, 8 // stride)
    found, (after,) = module(x, (memory,))
    weight, bias = module.from_input.weight, module.from_input.bias
    for frame, mine in zip(x, found, strict=True):
        gate, candidate = torch.nn.functional.conv2d(frame, weight, bias, stride, padding=1).chunk(2, dim=1)
        memory = (1 - gate.sigmoid()) * memory + gate.sigmoid() * candidate
        torch.testing.assert_close(mine, memory)
    torch.testing.assert_close(after, memory)


def test_a_min_gru_never_remembers_more_than_it_was_told():
    torch.manual_seed(0)
    module = ConvMinGRU(1, 4)
    x = torch.randn(3000, 1, 1, 2, 2)
    found, _ = module(10 * x)
    candidates = module.from_input(10 * x.flatten(0, 1))[:, 4:]
    assert found.abs().max() <= candidates.abs().max()
    streamed, state = [], None
    for frame in 10 * x[:200]:
        y, state = module(frame[None], state)
        streamed.append(y)
    torch.testing.assert_close(torch.cat(streamed), found[:200])


def test_a_memory_moves_by_one_cell_where_the_input_says_so():
    torch.manual_seed(0)
    module = Alignment(1, 2, 3, stride=1)
    memory = torch.randn(1, 2, 4, 5)
    drive = torch.full((1, 9, 4, 5), -1e4)
    drive[:, 3] = 1e4  # the cell on the left
    moved, other = module(drive, memory, 2 * memory)
    torch.testing.assert_close(moved[..., 1:], memory[..., :-1])
    assert (moved[..., 0] == 0).all()
    torch.testing.assert_close(other, 2 * moved)


def test_an_untrained_alignment_leaves_a_memory_nearly_where_it_is():
    torch.manual_seed(0)
    module = Alignment(3, 2, 3, stride=2)
    memory = torch.rand(2, 2, 4, 4)
    drive = module.from_input(torch.rand(2, 3, 8, 8))
    (moved,) = module(drive, memory)
    assert (moved - memory).abs().max() < 0.1


@ALIGNED
def test_an_aligned_memory_stays_within_its_bounds_and_learns_to_move(cell):
    torch.manual_seed(0)
    module = CELLS[cell](2, 3, aligned=True)
    x = torch.randn(40, 2, 2, 6, 4)
    y, _ = module(x)
    assert y.abs().max() <= 1
    y.square().sum().backward()
    assert module.alignment.from_hidden.weight.grad.abs().max() > 0
    assert module.alignment.from_input.weight.grad.abs().max() > 0


@ALIGNED
def test_an_aligned_cell_cut_anywhere_is_the_whole(cell):
    torch.manual_seed(0)
    module = CELLS[cell](2, 3, aligned=True, stride=2, norm=True).eval()
    x = torch.randn(5, 2, 2, 6, 4)
    whole, after = module(x)
    early, state = module(x[:2])
    late, end = module(x[2:], state)
    torch.testing.assert_close(torch.cat([early, late]), whole)
    torch.testing.assert_close(end, after)
