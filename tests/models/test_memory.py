"""Memory between the neck and the head of detectors of frames."""

from __future__ import annotations

import pytest
import torch

from seqdet import build_detector, with_memory
from seqdet.checks import InputError
from seqdet.config import VanillaConfig, model_config
from seqdet.models.cells import CELLS
from seqdet.models.layers import reset_lanes
from seqdet.models.memory import CellMemory

CONFIG = VanillaConfig(classes=("a", "b"), in_channels=3, base=1, channels=4, levels=2)
CELL = pytest.mark.parametrize("cell", CELLS)


def awake(memory: CellMemory) -> CellMemory:
    """With an effect."""
    torch.manual_seed(1)
    for projection in memory.projections:
        torch.nn.init.normal_(projection.weight)
    return memory


def of_frames():
    return build_detector(CONFIG).eval()


@CELL
def test_a_detector_finds_at_first_what_it_found_without(cell):
    usual = of_frames()
    frames = torch.rand(3, 2, 3, 64, 64)
    wanted, before = usual(frames)
    found, state = with_memory(usual, cell=cell, channels=5)(frames)
    torch.testing.assert_close(found.logits, wanted.logits)
    assert len(state) == len(before) + 2 * CELLS[cell].state_tensors
    assert {tuple(each.shape[:2]) for each in state[len(before) :]} == {(2, 5)}


@CELL
def test_maps_cut_anywhere_are_the_whole_and_a_reset_lane_forgets(cell):
    memory = awake(CellMemory((3, 4), levels=(1,), cell=cell, hidden=2)).eval()
    maps = [torch.randn(4 * 2, 3, 4, 4), torch.randn(4 * 2, 4, 2, 2)]
    whole, after = memory(maps, 2)
    first, state = memory([x[:2] for x in maps], 2)
    rest, end = memory([x[2:] for x in maps], 2, state)
    assert torch.equal(whole[0], maps[0])
    torch.testing.assert_close(torch.cat([first[1], rest[1]]), whole[1])
    torch.testing.assert_close(end, after)
    fresh, _ = memory([x[2:] for x in maps], 2)
    mixed, _ = memory([x[2:] for x in maps], 2, reset_lanes(state, torch.tensor([True, False])))
    torch.testing.assert_close(mixed[1][::2], fresh[1][::2])
    torch.testing.assert_close(mixed[1][1::2], rest[1][1::2])
    assert not torch.allclose(fresh[1], rest[1])


def test_the_memory_learns_from_the_first_step_on():
    memory = CellMemory((3,), levels=(0,), cell="lstm", hidden=2)
    memory([torch.randn(4, 3, 4, 4)], 2)[0][0].square().sum().backward()
    assert memory.projections[0].weight.grad.abs().max() > 0


def test_a_frozen_detector_of_frames_neither_learns_nor_counts():
    detector = with_memory(of_frames(), channels=4, freeze=True)
    awake(detector.memory)
    before = {name: each.clone() for name, each in detector.state_dict().items()}
    optimizer = torch.optim.SGD([each for each in detector.parameters() if each.requires_grad], lr=0.1)
    outputs, _ = detector(torch.rand(2, 2, 3, 64, 64))
    outputs.logits.square().sum().backward()
    optimizer.step()
    changed = {name for name, each in detector.state_dict().items() if not torch.equal(each, before[name])}
    assert changed
    assert {name.partition(".")[0] for name in changed} == {"memory"}
    assert not detector.backbone.training
    assert not detector.head.training
    assert detector.memory.training


def test_the_weights_are_shared_with_the_detector_of_frames():
    usual = of_frames()
    assert with_memory(usual).backbone is usual.backbone


@pytest.mark.parametrize("levels", [(), (2,), (-1,), (0, 0)])
def test_levels_that_are_not_there_are_refused(levels):
    with pytest.raises(InputError, match=r"levels must be different numbers of maps, 0 to 1, finest first; got \("):
        with_memory(of_frames(), levels=levels)


def test_other_mistakes_are_one_sentence():
    with pytest.raises(InputError, match="cell must be one of gru, lstm, mingru, separable; got 'rnn'"):
        with_memory(of_frames(), cell="rnn")
    with pytest.raises(InputError, match="channels must be at least 1, got 0"):
        with_memory(of_frames(), channels=0)
    with pytest.raises(InputError, match=r"classes must be those of frame_detector, \('a', 'b'\), or left out"):
        with_memory(of_frames(), classes=("c",))
    with pytest.raises(InputError, match="in_channels must be those of frame_detector, 3, or left out, got 4"):
        with_memory(of_frames(), in_channels=4)
    with pytest.raises(InputError, match="frame_detector must have no memory between its neck and its head"):
        with_memory(with_memory(of_frames()))
    memory = CellMemory((3,), levels=(0,), cell="gru", hidden=2)
    with pytest.raises(InputError, match="state must be what the last call returned, 1 tensors, got 2"):
        memory([torch.randn(2, 3, 4, 4)], 2, (torch.zeros(2, 2, 4, 4),) * 2)


@pytest.mark.parametrize(
    "settings", [{"channels": 7}, {"box_loss": "smooth_l1"}, {"head_layers": 5}, {"anchors": "psee"}]
)
def test_settings_that_a_detector_of_torchvision_has_no_use_for_are_refused(settings):
    (name,) = settings
    with pytest.raises(InputError, match=f"{name} must be left out with torchvision:.*it is for backbones of timm"):
        model_config("with_memory", **settings)
    model_config("with_memory", frames="timm:resnet18", **settings)
