"""What a training says about its time, by a clock that the tests move."""

import logging
from dataclasses import replace

import pytest

from seqdet.config import DataConfig, DigitsConfig, TrainConfig, VanillaConfig
from seqdet.models.zoo import build_detector
from seqdet.training.fit import fit
from seqdet.training.module import TrainingModule
from seqdet.training.monitoring import PATIENCE_S, SURE_S, SURE_STEPS, WARM_UP_STEPS, Pace

DIGITS = DigitsConfig(
    frames_per_video=6, held_out_frames_per_video=6, frames_per_epoch=36, validation_frames=12, test_frames=12
)
DATA = DataConfig(clip_length=3, lanes=2, digits=DIGITS)
MODEL = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8, head_layers=0)
TRAIN = TrainConfig(max_steps=40, checkpoint_steps=100, warmup_steps=2, validate_epochs=5, device="cpu")


def pace(steps=100, validate_steps=30, step=0):
    return Pace(steps=steps, validate_steps=validate_steps, step=step)


def test_the_first_steps_say_nothing_about_the_others():
    seen = pace()
    for _ in range(WARM_UP_STEPS):
        seen.add_step(1000.0)
        assert seen.left_s is None
        assert not seen.is_sure
    seen.add_step(2.0)
    assert seen.left_s == 2.0 * (100 - WARM_UP_STEPS - 1)


@pytest.mark.parametrize(
    ("seconds", "after"), [(0.1, 100), (0.5, SURE_STEPS), (1.0, SURE_STEPS), (10.0, 3), (PATIENCE_S, 1), (500.0, 1)]
)
def test_it_is_sure_after_enough_steps_and_time_and_of_slow_steps_a_few_do(seconds, after):
    seen = pace(steps=1000)
    for _ in range(WARM_UP_STEPS):
        seen.add_step(seconds)
    count = 0
    while not seen.is_sure:
        seen.add_step(seconds)
        count += 1
    assert count == pytest.approx(after, abs=1)
    assert count * seconds >= min(SURE_S, PATIENCE_S)


@pytest.mark.parametrize(
    ("steps", "step", "left"),
    [(100, 0, 4), (90, 0, 3), (100, 29, 4), (100, 30, 3), (100, 95, 1), (90, 90, 0), (10, 0, 1)],
)
def test_there_is_a_validation_at_every_multiple_and_one_at_the_end(steps, step, left):
    assert pace(steps=steps, step=step).validations_left == left


def test_validations_count_as_soon_as_one_is_measured_and_the_sentence_says_which_it_is():
    seen = pace(steps=1000, validate_steps=300)
    for _ in range(WARM_UP_STEPS + SURE_STEPS):
        seen.add_step(0.5)
    assert seen.left_s == 0.5 * 977
    sentence = "About 8 min to go on this machine: 977 steps at 0.5 s, and 4 validations"
    assert seen.sentence() == f"{sentence}, whose time is not in it."
    seen.add_validation(60.0)
    seen.add_validation(120.0)
    assert seen.left_s == 0.5 * 977 + 4 * 90
    assert seen.sentence() == f"{sentence.replace('8 min', '14 min')}, of 2 min each."


@pytest.fixture
def clock(monkeypatch, caplog):
    """A step takes 10 s, a validation 100 s."""

    class Clock:
        now_s = 0.0

    def taking(method, seconds):
        def slow(self, *args):
            Clock.now_s += seconds
            return method(self, *args)

        return slow

    for module in ("seqdet.progress", "seqdet.training.monitoring"):
        monkeypatch.setattr(f"{module}.monotonic", lambda: Clock.now_s)
    for name, seconds in (("training_step", 10.0), ("on_validation_epoch_start", 100.0)):
        monkeypatch.setattr(TrainingModule, name, taking(getattr(TrainingModule, name), seconds))
    caplog.set_level(logging.INFO, "seqdet")
    return Clock


def test_the_log_of_a_training_says_once_how_long_and_every_minute_how_far(clock, tmp_path, caplog, capfd):
    fit(build_detector(MODEL), DATA, replace(TRAIN, precision="float32"), tmp_path / "run")
    lines = caplog.messages
    assert lines[0].startswith("Training 40 steps of 6 frames on cpu in float32; ")
    (time,) = (line for line in lines if " on this machine: " in line)
    assert time.startswith("About 6 min to go on this machine: 34 steps at 10 s, and 2 validations, whose time is not")
    steps = [line for line in lines if line.startswith("training: ")]
    assert [int(line.split()[1]) for line in steps] == [6, 12, 18, 24, 30, 31, 37]
    assert all(line.split(", ")[1].startswith("loss ") for line in steps)
    assert all("1 frames/s" in line for line in steps)
    assert steps[0].endswith(", about 6 min to go")
    assert steps[5].endswith(", about 3 min to go")  # 9 steps and a validation
    validated = [line for line in lines if line.startswith("Validated ")]
    assert [line.partition(": AP ")[0] for line in validated] == ["Validated after step 30", "Validated after step 40"]
    assert all(line.endswith(", in 2 min.") for line in validated)
    assert len(lines) == 1 + 1 + len(steps) + 2 + sum(line.startswith("validating: ") for line in lines)
    shown = capfd.readouterr()
    assert "\r" not in shown.out + shown.err


def test_a_training_of_less_than_a_minute_says_nothing_about_its_time(clock, tmp_path, caplog):
    fit(build_detector(MODEL), DATA, replace(TRAIN, max_steps=4, validate_epochs=1), tmp_path / "run")
    assert [line.split()[0] for line in caplog.messages if not line.startswith("validating: ")] == [
        "Training",
        "Validated",
    ]


def test_of_batches_that_are_gathered_for_a_step_the_steps_are_counted(clock, tmp_path, caplog):
    fit(build_detector(MODEL), DATA, replace(TRAIN, accumulate=2, max_steps=9), tmp_path / "run")
    steps = [line.split(",")[0] for line in caplog.messages if line.startswith("training: ")]
    assert steps == ["training: 3 of 9 steps", "training: 6 of 9 steps", "training: 9 of 9 steps"]
