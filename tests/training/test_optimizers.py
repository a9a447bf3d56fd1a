from __future__ import annotations

import copy
import io
import math
from dataclasses import replace

import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import TrainConfig, VanillaConfig
from seqdet.models.zoo import build_detector
from seqdet.training.optimizers import COEFFICIENTS, OPTIMIZERS, STEPS, Muon, muon, orthogonal

MODEL = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=4, channels=8)
FORMATS = pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
EVERY_OPTIMIZER = pytest.mark.parametrize("name", OPTIMIZERS)


def gradients(detector: torch.nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in detector.parameters():
        parameter.grad = torch.randn(parameter.shape)


def trained(name: str, steps: int, *, memory_format: torch.memory_format = torch.contiguous_format) -> torch.nn.Module:
    detector = build_detector(MODEL).to(memory_format=memory_format)
    optimizer = OPTIMIZERS[name](detector, lr=1e-2, weight_decay=0.1)
    for step in range(steps):
        gradients(detector, step)
        optimizer.step()
        optimizer.zero_grad()
    return detector


def exact(matrix: torch.Tensor) -> torch.Tensor:
    """What Newton and Schulz's iterations make of a matrix, computed as they are written, in float64."""
    x = matrix.double()
    x = x / x.norm()
    for _ in range(STEPS):
        square = x @ x.T
        x = COEFFICIENTS[0] * x + (COEFFICIENTS[1] * square + COEFFICIENTS[2] * square @ square) @ x
    return x


@FORMATS
def test_muon_moves_every_gate_as_torch_moves_a_matrix_of_its_own(memory_format):
    weight = torch.nn.Parameter(torch.randn(32, 8, 3, 3).to(memory_format=memory_format))
    gates = [torch.nn.Parameter(gate.flatten(1).clone()) for gate in weight.detach().split(8)]
    ours = Muon([weight], matrices=[4], lr=0.1, weight_decay=0.1)
    theirs = torch.optim.Muon(gates, lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(32, 8, 3, 3)
        weight.grad = gradient.clone()
        for gate, part in zip(gates, gradient.split(8), strict=True):
            gate.grad = part.flatten(1)
        ours.step()
        theirs.step()
    torch.testing.assert_close(weight.detach().flatten(1), torch.cat([g.detach() for g in gates]), atol=2e-2, rtol=0)


@FORMATS
def test_muon_averages_gradients_looks_ahead_and_decays_as_written(memory_format):
    start = torch.randn(8, 4, 3, 3)
    weight = torch.nn.Parameter(start.clone(memory_format=memory_format))
    optimizer = Muon([weight], matrices=[1], lr=0.1, weight_decay=0.1)
    wanted, average = start.double().flatten(1), torch.zeros(8, 36, dtype=torch.float64)
    for _ in range(12):
        weight.grad = torch.randn(8, 4, 3, 3)
        gradient = weight.grad.double().flatten(1)
        average = 0.95 * average + 0.05 * gradient
        wanted = 0.99 * wanted - 0.1 * 0.2 * 6 * exact(0.05 * gradient + 0.95 * average)
        optimizer.step()
    torch.testing.assert_close(weight.detach().double().flatten(1), wanted, atol=1e-4, rtol=0)


def test_momentum_saved_in_another_memory_order_goes_on():
    gradients = torch.randn(3, 8, 4, 3, 3)
    weights = [torch.nn.Parameter(torch.ones(8, 4, 3, 3)) for _ in range(2)]
    weights[1] = torch.nn.Parameter(torch.ones(8, 4, 3, 3).to(memory_format=torch.channels_last))
    optimizers = [Muon([weight], matrices=[1], lr=0.1, weight_decay=0.1) for weight in weights]
    for step, gradient in enumerate(gradients):
        for weight, optimizer in zip(weights, optimizers, strict=True):
            weight.grad = gradient.clone()
            optimizer.step()
        if step == 0:
            optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    torch.testing.assert_close(*weights, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rows", "columns"), [(24, 147), (96, 864), (96, 48), (16, 16), (1, 9), (9, 1)])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e6])
def test_matrices_are_made_orthogonal_more_exactly_than_in_bfloat16(rows, columns, condition):
    torch.manual_seed(0)
    values = torch.logspace(0, -math.log10(condition), min(rows, columns), dtype=torch.float64)
    left, _ = torch.linalg.qr(torch.randn(rows, len(values), dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(columns, len(values), dtype=torch.float64))
    matrix = (left * values @ right.T).float()
    wanted = exact(matrix)
    theirs = torch.nn.Parameter(torch.zeros(rows, columns))
    theirs.grad = matrix
    torch.optim.Muon([theirs], lr=1.0, weight_decay=0.0, momentum=0.0).step()
    rounded = -theirs.detach() / max(1, rows / columns) ** 0.5
    error = (orthogonal(torch.stack([matrix, 3 * matrix])) - wanted).norm() / (2**0.5 * wanted.norm())
    assert error < 1e-3
    assert error < (rounded - wanted).norm() / wanted.norm()


def test_a_matrix_of_zeros_stays_one():
    assert not orthogonal(torch.zeros(2, 8, 72)).any()


def test_a_weight_without_gradient_stays_as_it_is():
    still, moved = (torch.nn.Parameter(torch.randn(8, 4, 3, 3)) for _ in range(2))
    before = still.detach().clone()
    optimizer = Muon([still, moved], matrices=[1, 1], lr=0.1, weight_decay=0.1)
    moved.grad = torch.randn(8, 4, 3, 3)
    optimizer.step()
    assert torch.equal(still, before)


@FORMATS
def test_a_gradient_in_another_layout_moves_a_weight_alike(memory_format):
    weights = [torch.nn.Parameter(torch.ones(8, 4, 3, 3).to(memory_format=memory_format)) for _ in range(2)]
    gradient = torch.randn(8, 4, 3, 3)
    for weight, layout in zip(weights, (torch.contiguous_format, torch.channels_last), strict=True):
        weight.grad = gradient.clone(memory_format=layout)
    Muon(weights, matrices=[1, 1], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(*weights)


def test_an_update_is_nearly_orthogonal():
    weight = torch.nn.Parameter(torch.zeros(8, 8, 3, 3))
    optimizer = Muon([weight], matrices=[1], lr=1.0, weight_decay=0.0)
    weight.grad = torch.randn(8, 1, 1, 1) * torch.randn(1, 8, 3, 3) + 0.1 * torch.randn(8, 8, 3, 3)
    optimizer.step()
    values = torch.linalg.svdvals(weight.detach().flatten(1))
    assert values.max() / values.min() < 2.5
    assert torch.linalg.cond(weight.grad.flatten(1)) > 10


@pytest.mark.parametrize(
    ("cell", "from_hidden"),
    [
        ("lstm", {"from_hidden"}),
        ("separable", {"from_hidden.0", "from_hidden.1"}),
        ("gru", {"gates_from_hidden", "value_from_hidden"}),
    ],
)
def test_muon_takes_the_convolutions_that_neither_predict_nor_recur_and_adamw_the_rest(cell, from_hidden):
    detector = build_detector(replace(MODEL, cell=cell))
    optimizer = muon(detector, lr=1e-2, weight_decay=0.1)
    names = {id(p): name for name, p in detector.named_parameters()}
    moved = {names[id(p)] for group in optimizer.muon.param_groups for p in group["params"]}
    others = {names[id(p)] for group in optimizer.adamw.param_groups for p in group["params"]}
    assert {"head.boxes.2.weight", "head.classes.2.weight", "head.classes.2.bias"} <= others
    assert moved == {name for name, p in detector.named_parameters() if p.ndim == 4 and name not in others}
    assert {f"backbone.levels.0.{layer}.weight" for layer in from_hidden} <= others
    assert "backbone.levels.0.from_input.0.weight" not in others
    assert len(others) + len(moved) == len(names)


@EVERY_OPTIMIZER
@FORMATS
def test_every_parameter_moves_and_no_gradient_stays(name, memory_format):
    before, after = build_detector(MODEL), trained(name, 1, memory_format=memory_format)
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        assert not torch.equal(old, new)
        assert new.grad is None


@EVERY_OPTIMIZER
@FORMATS
def test_an_optimiser_read_back_goes_on_bit_for_bit(name, memory_format):
    detector = build_detector(MODEL).to(memory_format=memory_format)
    optimizer = OPTIMIZERS[name](detector, lr=1e-2, weight_decay=0.1)
    for step in range(4):
        if step == 2:
            file = io.BytesIO()
            torch.save(optimizer.state_dict(), file)
            file.seek(0)
            detector = copy.deepcopy(detector)
            optimizer = OPTIMIZERS[name](detector, lr=1.0, weight_decay=0.0)
            optimizer.load_state_dict(torch.load(file, weights_only=True))
            assert {group["lr"] for group in optimizer.param_groups} == {1e-2}
        gradients(detector, step)
        optimizer.step()
    for one, other in zip(
        detector.parameters(), trained(name, 4, memory_format=memory_format).parameters(), strict=True
    ):
        assert torch.equal(one, other)


@EVERY_OPTIMIZER
def test_a_learning_rate_set_from_outside_counts(name):
    still = build_detector(replace(MODEL, base=2))
    optimizer = OPTIMIZERS[name](still, lr=1e-2, weight_decay=0.1)
    before = copy.deepcopy(still.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    gradients(still, 0)
    optimizer.step()
    for key, tensor in still.state_dict().items():
        assert torch.equal(tensor, before[key])


@EVERY_OPTIMIZER
def test_a_part_learns_at_its_own_rate_and_the_longest_name_counts(name):
    detector = build_detector(MODEL)
    factors = {"backbone": 0.5, "backbone.levels": 0.25, "head.boxes.0.bias": 3.0}
    optimizer = OPTIMIZERS[name](detector, lr=1e-2, weight_decay=0.1, lr_factors=factors)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(detector.parameters()))
    for key, p in detector.named_parameters():
        inner = key.startswith("backbone.levels")
        wanted = {"backbone": 0.25 if inner else 0.5}.get(
            key.partition(".")[0], 3.0 if key == "head.boxes.0.bias" else 1
        )
        assert rates[id(p)] == pytest.approx(1e-2 * wanted), key


@EVERY_OPTIMIZER
def test_a_part_of_half_the_rate_moves_half_as_far(name):
    """AdamW's first step goes as far as its rate, Muon's too; neither decays here."""
    one, other = build_detector(MODEL), build_detector(MODEL)
    for detector, factors in ((one, {}), (other, {"backbone": 0.5, "head.boxes.0.weight": 0.1})):
        optimizer = OPTIMIZERS[name](detector, lr=1e-3, weight_decay=0.0, lr_factors=factors)
        gradients(detector, 0)
        optimizer.step()
    start = dict(build_detector(MODEL).named_parameters())
    moved = dict(other.named_parameters())
    for key, p in one.named_parameters():
        factor = 0.5 if key.startswith("backbone") else 0.1 if key == "head.boxes.0.weight" else 1.0
        torch.testing.assert_close(moved[key] - start[key], factor * (p - start[key]), rtol=1e-3, atol=3e-7)


@EVERY_OPTIMIZER
def test_without_factors_the_groups_are_those_of_older_checkpoints(name):
    optimizer = OPTIMIZERS[name](build_detector(MODEL), lr=1e-2, weight_decay=0.1)
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    assert decays == [0.1, 0.0] if name == "adamw" else [0.1, 0.1, 0.0]
    assert {group["lr"] for group in optimizer.param_groups} == {1e-2}


@EVERY_OPTIMIZER
def test_one_factor_for_all_of_one_kind_makes_no_more_groups_than_needed(name):
    optimizer = OPTIMIZERS[name](build_detector(MODEL), lr=1e-2, weight_decay=0.1, lr_factors={"backbone": 0.5})
    assert len(optimizer.param_groups) == (4 if name == "adamw" else 6)
    assert optimizer.param_groups[0]["lr"] == 1e-2


@EVERY_OPTIMIZER
def test_a_factor_of_no_part_is_refused_with_what_may_be_meant(name):
    with pytest.raises(
        InputError,
        match=r"train\.lr_factors must name parts of the detector.*got 'backbone\.level'.*backbone\.levels\?",
    ):
        OPTIMIZERS[name](build_detector(MODEL), lr=1e-2, weight_decay=0.1, lr_factors={"backbone.level": 0.5})


@pytest.mark.parametrize("factor", [0, -1.0])
def test_a_factor_that_moves_nothing_is_refused(factor):
    with pytest.raises(InputError, match=r"lr_factors must be positive.* for backbone.*belongs in freeze"):
        TrainConfig(lr_factors={"backbone": factor})
