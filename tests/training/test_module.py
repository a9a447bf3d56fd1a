import math
from dataclasses import replace

import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import TrainConfig
from seqdet.models.vanilla import Vanilla
from seqdet.models.zoo import build_detector
from seqdet.training.fit import resume
from seqdet.training.module import TrainingModule, learning_rate_factor

from .small import DATA, DIGITS, MODEL, TRAIN, run


def test_the_cosine_falls_from_its_peak_to_nothing():
    factor = learning_rate_factor(TrainConfig(max_steps=100, warmup_steps=0, schedule="cosine"), 10)
    assert factor(0) == 1
    assert factor(50) == pytest.approx(0.5)
    assert factor(100) == pytest.approx(0, abs=1e-12)
    assert factor(25) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_the_exponential_falls_by_its_factor_after_every_epoch():
    factor = learning_rate_factor(TrainConfig(warmup_steps=0, schedule="exponential", decay=0.98), 10)
    assert [factor(step) for step in (0, 9, 10, 19, 25)] == pytest.approx([1, 1, 0.98, 0.98, 0.98**2])


def test_the_rate_rises_over_the_warm_up_and_never_starts_at_nothing():
    factor = learning_rate_factor(TrainConfig(warmup_steps=4, schedule="constant"), 10)
    assert [factor(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


@pytest.mark.parametrize(("steps", "warmup"), [(100, 10), (400, 2), (7, 3)])
def test_one_cycle_is_that_of_torch_from_a_twentieth_to_a_ten_thousandth_at_the_last_step(steps, warmup):
    factor = learning_rate_factor(TrainConfig(max_steps=steps, warmup_steps=warmup, schedule="one_cycle"), 10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=steps + 1,
        pct_start=(warmup + 1) / (steps + 1),
        anneal_strategy="linear",
        cycle_momentum=False,
        div_factor=20,
        final_div_factor=500,
    )
    for step in range(steps + 1):
        assert factor(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        if step < steps:
            theirs.step()
    assert [factor(0), factor(warmup), factor(steps)] == pytest.approx([1 / 20, 1, 1e-4])


def test_one_cycle_without_a_warm_up_begins_at_its_peak():
    factor = learning_rate_factor(TrainConfig(max_steps=10, warmup_steps=0, schedule="one_cycle"), 10)
    assert [factor(0), factor(5), factor(10)] == pytest.approx([1, (1 + 1e-4) / 2, 1e-4])


def test_one_cycle_must_have_steps_to_fall():
    with pytest.raises(
        InputError, match=r"warmup_steps must be fewer than the 50 max_steps with the schedule one_cycle"
    ):
        TrainConfig(max_steps=50, warmup_steps=50, schedule="one_cycle")


def test_a_run_of_one_cycle_cannot_be_made_longer(tmp_path):
    folder = run(tmp_path / "run", replace(TRAIN, schedule="one_cycle"))
    with pytest.raises(
        InputError, match=r"schedule one_cycle, whose learning rate ends at a ten-thousandth.*leap back"
    ):
        resume(folder, max_steps=12)
    (folder / "training.json").unlink()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("max_steps: 6", "max_steps: 12"))
    with pytest.raises(InputError, match=r"train\.max_steps was 6, and is 12"):
        resume(folder)


def clipped(entries, **settings):
    """What becomes of a gradient of these entries of a single weight."""
    module = TrainingModule(build_detector(MODEL), TrainConfig(**settings), steps_per_epoch=1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    bias = module.detector.head.boxes[-1].bias
    bias.grad[: len(entries)] = torch.tensor(entries)
    module.configure_gradient_clipping()
    return bias.grad[: len(entries)].tolist()


def test_entries_of_the_gradient_are_cut_one_by_one_and_then_by_their_norm():
    assert clipped([30.0, -40.0, 0.5], gradient_clip=1e6) == pytest.approx([30, -40, 0.5])
    assert clipped([30.0, -40.0, 0.5], gradient_clip=1e6, gradient_clip_value=5.0) == pytest.approx([5, -5, 0.5])
    assert clipped([30.0, -40.0], gradient_clip=10.0) == pytest.approx([6, -8], rel=1e-5)
    assert clipped([30.0, -4.0], gradient_clip=1.0, gradient_clip_value=3.0) == pytest.approx([2**-0.5, -(2**-0.5)])


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_gradient_that_is_no_number_is_refused_before_it_is_cut(value):
    with pytest.raises(InputError, match="The gradient stopped being a number at step 0"):
        clipped([value], gradient_clip_value=1.0)


def test_a_clip_by_value_of_nothing_is_refused():
    with pytest.raises(InputError, match="gradient_clip_value must be positive, got 0"):
        TrainConfig(gradient_clip_value=0)


def test_memory_of_clips_on_their_own_starts_from_nothing_and_that_of_streams_goes_on(tmp_path, monkeypatch):
    """Half of the lanes, as RVT trains: what a lane remembers is what its clips since the last start have shown."""
    used = []
    forward = Vanilla.forward

    def forward_and_look(self, frames, state=None):
        maps, after = forward(self, frames, state)
        if self.training:
            used.append((state, after))
        return maps, after

    firsts = []
    step = TrainingModule.training_step

    def step_and_look(self, clip, batch_index):
        firsts.append(clip.is_first.tolist())
        return step(self, clip, batch_index)

    monkeypatch.setattr(Vanilla, "forward", forward_and_look)
    monkeypatch.setattr(TrainingModule, "training_step", step_and_look)
    run(tmp_path / "run", data=replace(DATA, lanes=4, random_share=0.5, digits=replace(DIGITS, frames_per_epoch=24)))
    assert len(used) == 6
    carried = 0
    for n in range(1, 6):
        given, before = used[n][0], used[n - 1][1]
        for now, then in zip(given, before, strict=True):
            assert not now[2:].any()
            for lane in (0, 1):
                assert torch.equal(now[lane], torch.zeros_like(then[lane]) if firsts[n][lane] else then[lane])
                carried += bool(now[lane].any())
    assert [lanes[2:] for lanes in firsts] == [[True, True]] * 6
    assert carried
