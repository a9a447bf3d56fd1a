from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from seqdet.checks import InputError
from seqdet.models.cells import CELLS, ConvGRU, ConvLSTM, SeparableLSTM
from seqdet.models.layers import detach, reset_lanes

EVERY_CELL = pytest.mark.parametrize("cell", CELLS)
WITH_AND_WITHOUT_NORM = pytest.mark.parametrize("norm", [False, True])


def make_cell(cell: str, *, stride: int = 1, norm: bool = False) -> torch.nn.Module:
    """In evaluation mode; the norm has seen some frames."""
    torch.manual_seed(0)
    module = CELLS[cell](2, 3, stride=stride, norm=norm)
    module(2 + 3 * torch.randn(4, 2, 2, 6, 4))
    return module.eval()


def play(module: torch.nn.Module, x: torch.Tensor, cuts: list[int]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    parts, state = [], None
    for start, end in zip([0, *cuts], [*cuts, len(x)], strict=True):
        y, state = module(x[start:end], state)
        parts.append(y)
    return torch.cat(parts), state


@EVERY_CELL
@settings(max_examples=20)
@given(cuts=st.sets(st.integers(1, 5)), lanes=st.integers(1, 3), stride=st.integers(1, 2), norm=st.booleans())
def test_a_clip_cut_anywhere_gives_the_same_output_and_state(cell, cuts, lanes, stride, norm):
    module = make_cell(cell, stride=stride, norm=norm)
    x = torch.randn(6, lanes, 2, 6, 4)
    whole, state = module(x)
    parts, after = play(module, x, sorted(cuts))
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(after, state)


@EVERY_CELL
@pytest.mark.parametrize("stride", [1, 2])
def test_output_and_state_have_their_shapes(cell, stride):
    y, state = make_cell(cell, stride=stride)(torch.randn(5, 2, 2, 8, 6))
    assert y.shape == (5, 2, 3, 8 // stride, 6 // stride)
    assert [tensor.shape for tensor in state] == [y.shape[1:]] * CELLS[cell].state_tensors
    assert torch.equal(state[0], y[-1])


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_a_separable_lstm_is_one_whose_hidden_state_is_filtered_channel_by_channel_first(kernel_size):
    torch.manual_seed(0)
    module = SeparableLSTM(2, 3, kernel_size).eval()
    around, mixed = module.from_hidden
    assert torch.equal(around(torch.arange(30.0).view(1, 3, 2, 5)), torch.arange(30.0).view(1, 3, 2, 5))
    torch.nn.init.normal_(around.weight)
    x = torch.randn(3, 2, 2, 6, 4)
    y, (hidden, _) = module(x)
    dense = ConvLSTM(2, 3, 3).eval()
    dense.from_input = module.from_input
    dense.from_hidden.weight = torch.nn.Parameter(mixed.weight * around.weight.squeeze(1)[None])
    wanted, (last, _) = dense(x)
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(hidden, last)


@EVERY_CELL
def test_no_state_is_a_state_of_zeros(cell):
    module, x = make_cell(cell), torch.randn(3, 2, 2, 5, 7)
    silence = (torch.zeros(2, 3, 5, 7),) * CELLS[cell].state_tensors
    torch.testing.assert_close(module(x, silence), module(x))


@EVERY_CELL
@WITH_AND_WITHOUT_NORM
def test_a_state_of_another_precision_is_taken_over(cell, norm):
    module, x = make_cell(cell, norm=norm), torch.randn(3, 2, 2, 5, 7)
    whole, _ = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        _, low = module(x[:2])
    assert low[0].dtype == torch.bfloat16
    y, state = module(x[2:], low)
    assert y.dtype == state[0].dtype == torch.float32
    torch.testing.assert_close(y, whole[2:], rtol=0, atol=0.02)


@EVERY_CELL
@WITH_AND_WITHOUT_NORM
def test_a_reset_lane_forgets_and_its_neighbour_does_not(cell, norm):
    module, x = make_cell(cell, norm=norm), torch.randn(3, 2, 2, 5, 7)
    fresh, state = module(x)
    carried, _ = module(x, state)
    mixed, _ = module(x, reset_lanes(state, torch.tensor([True, False])))
    torch.testing.assert_close(mixed[:, 0], fresh[:, 0])
    torch.testing.assert_close(mixed[:, 1], carried[:, 1])
    assert not torch.allclose(carried, fresh)


def test_a_reset_forgets_even_what_is_no_number_and_leaves_its_input_alone():
    state = (torch.full((2, 3, 4, 4), float("nan")), torch.ones(2, 5))
    first, second = reset_lanes(state, torch.tensor([True, False]))
    assert (first[0] == 0).all()
    assert first[1].isnan().all()
    assert second.tolist() == [[0] * 5, [1] * 5]
    assert state[0].isnan().all()
    assert (state[1] == 1).all()


def test_there_is_nothing_to_reset_before_the_first_clip():
    assert reset_lanes(None, torch.tensor([True])) is None


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_reset_of_other_lanes_is_refused(lanes):
    with pytest.raises(InputError, match=rf"is_first must have shape \(B=2\), got \({lanes},\)\."):
        reset_lanes((torch.ones(2, 3),), torch.ones(lanes, dtype=torch.bool))


@EVERY_CELL
def test_detaching_keeps_the_values_and_cuts_the_gradient(cell):
    module, x = make_cell(cell), torch.randn(3, 2, 2, 5, 7)
    early = x.clone().requires_grad_()
    _, state = module(early)
    cut, _ = module(x, detach(state))
    uncut, _ = module(x, state)
    assert torch.equal(cut, uncut)
    assert torch.autograd.grad(cut.sum(), early, allow_unused=True) == (None,)
    (gradient,) = torch.autograd.grad(uncut.sum(), early)
    assert (gradient.abs().amax(dim=(1, 2, 3, 4)) > 0).all()


@EVERY_CELL
@WITH_AND_WITHOUT_NORM
@pytest.mark.parametrize("end", range(1, 5))
def test_an_output_does_not_depend_on_later_frames(cell, norm, end):
    module, x = make_cell(cell, norm=norm), torch.randn(5, 2, 2, 5, 7)
    changed = x.clone()
    changed[end:] += 1
    before, after = module(x)[0], module(changed)[0]
    torch.testing.assert_close(after[:end], before[:end])
    assert not torch.isclose(after[end:], before[end:]).all(dim=(1, 2, 3, 4)).any()


@EVERY_CELL
def test_input_and_state_are_left_alone(cell):
    module, x = make_cell(cell), torch.randn(3, 2, 2, 5, 7)
    _, state = module(x)
    x_before, before = x.clone(), [tensor.clone() for tensor in state]
    module(x, state)
    assert torch.equal(x, x_before)
    assert all(torch.equal(tensor, old) for tensor, old in zip(state, before, strict=True))


@pytest.mark.parametrize("stride", [1, 2])
def test_an_lstm_step_is_the_textbook_formula(stride):
    module, x = make_cell("lstm", stride=stride), torch.randn(1, 2, 2, 6, 8)
    hidden, cell = torch.randn(2, 2, 3, 6 // stride, 8 // stride)
    parameters = {tuple(p.shape): p for p in module.parameters()}
    from_input, from_hidden, bias = parameters[12, 2, 3, 3], parameters[12, 3, 3, 3], parameters[12,]
    gates = conv2d(x[0], from_input, bias, stride, padding=1) + conv2d(hidden, from_hidden, padding=1)
    _, state = module(x, (hidden, cell))
    assert len(parameters) == 3
    assert isinstance(module, ConvLSTM)
    answers = []
    for forget, write, emit, value in permutations(gates.chunk(4, dim=1)):  # the order of the gates is free
        wanted = forget.sigmoid() * cell + write.sigmoid() * value.tanh()
        answers.append(torch.allclose(state[1], wanted) and torch.allclose(state[0], emit.sigmoid() * wanted.tanh()))
    assert answers.count(True) == 1


@pytest.mark.parametrize("stride", [1, 2])
def test_a_gru_step_is_the_textbook_formula(stride):
    module, x = make_cell("gru", stride=stride), torch.randn(1, 2, 2, 6, 8)
    assert isinstance(module, ConvGRU)
    hidden = torch.randn(2, 3, 6 // stride, 8 // stride)
    drive = conv2d(x[0], module.from_input.weight, module.from_input.bias, stride, padding=1)
    drive_update, drive_reset, drive_value = drive.chunk(3, dim=1)
    update_weight, reset_weight = module.gates_from_hidden.weight.chunk(2)
    update = torch.sigmoid(drive_update + conv2d(hidden, update_weight, padding=1))
    reset = torch.sigmoid(drive_reset + conv2d(hidden, reset_weight, padding=1))
    value = torch.tanh(drive_value + conv2d(reset * hidden, module.value_from_hidden.weight, padding=1))
    _, (after,) = module(x, (hidden,))
    torch.testing.assert_close(after, (1 - update) * hidden + update * value)


@EVERY_CELL
@WITH_AND_WITHOUT_NORM
def test_an_untrained_cell_holds_on_to_its_memory(cell, norm):
    torch.manual_seed(0)
    module = CELLS[cell](2, 3, norm=norm).eval()
    for name, parameter in module.named_parameters():
        if "from_input" not in name or parameter.ndim == 4:
            torch.nn.init.zeros_(parameter)
    memory = torch.ones(1, 3, 2, 2)
    _, state = module(torch.zeros(1, 1, 2, 2, 2), (memory,) * CELLS[cell].state_tensors)
    assert state[-1].mean().item() == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6 if norm else 0.1)


@EVERY_CELL
@WITH_AND_WITHOUT_NORM
def test_a_state_of_either_precision_is_carried_on_in_bfloat16(cell, norm):
    module, x = make_cell(cell, norm=norm), torch.randn(3, 2, 2, 5, 7)
    exact, state = module(x)
    wanted, _ = module(x, state)
    with torch.autocast("cpu", torch.bfloat16):
        for start in (state, tuple(tensor.bfloat16() for tensor in state)):
            torch.testing.assert_close(module(x, start)[0].float(), wanted, atol=0.05, rtol=0.05)
    assert not torch.allclose(exact, wanted, atol=0.05, rtol=0.05)


def test_a_detector_without_memory_has_nothing_to_forget():
    assert reset_lanes((), torch.tensor([True, False])) == ()
