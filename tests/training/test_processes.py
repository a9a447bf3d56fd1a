"""Several processes that train one detector."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from torch import distributed

from seqdet.checks import InputError, Stopped
from seqdet.config import DataConfig, DigitsConfig, RunConfig, TrainConfig, VanillaConfig
from seqdet.config_files import write_config
from seqdet.evaluation.coco import CocoEvaluator
from seqdet.loading import TrainingOrder, evaluation_loader, open_split
from seqdet.models.layers import reset_lanes
from seqdet.models.weights import load_detector
from seqdet.models.zoo import build_detector
from seqdet.training import processes
from seqdet.training.fit import fit, resume
from seqdet.training.module import TrainingModule

DIGITS = DigitsConfig(
    frames_per_video=6, held_out_frames_per_video=6, frames_per_epoch=30, validation_frames=18, test_frames=12
)
"""Five videos to train on and three to validate with: neither is a multiple of the lanes."""
DATA = DataConfig(clip_length=3, lanes=4, digits=DIGITS)
MODEL = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8, head_layers=0)
TRAIN = TrainConfig(
    max_steps=6, checkpoint_steps=2, warmup_steps=2, validate_epochs=1, log_steps=1, device="cpu", processes=2
)


LONG_S = 600
"""For what takes a second or two unless the machine has other work: a test that waits longer has failed."""


def run(out, *, data=DATA, train=TRAIN):
    return fit(build_detector(MODEL, seed=train.seed), data, train, out)


def learnt(folder):
    """The weights, and the memory of all lanes, after the last step."""
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {**checkpoint["state_dict"], **dict(enumerate(checkpoint["recurrent_state"]))}


def assert_equal(one, other):
    first, second = learnt(one), learnt(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("two") / "run")


def test_two_processes_play_what_one_plays_on_all_lanes(whole):
    weights = open_split(DATA, "train").weights
    orders = [list(TrainingOrder(DATA, weights, steps=6, rank=rank, ranks=2)) for rank in (0, 1)]
    assert [first + second for first, second in zip(*orders, strict=True)] == list(
        TrainingOrder(DATA, weights, steps=6)
    )
    played = sum(3 for step in TrainingOrder(DATA, weights, steps=6) for cue in step if not cue.is_blank)
    facts = json.loads((whole / "training.json").read_text())
    assert (facts["frames"], facts["processes"]) == (played, 2)
    assert learnt(whole)[0].shape[0] == 4


def test_two_processes_give_the_same_weights_every_time(whole, tmp_path):
    assert_equal(whole, run(tmp_path / "again"))


def test_the_score_of_a_validation_is_that_of_all_recordings_together(whole):
    """Three recordings on four lanes of two processes: one lane is blank, and counts nothing."""
    detector, evaluator, state = load_detector(whole / "detector.safetensors"), CocoEvaluator(MODEL.classes), None
    for clip in evaluation_loader(DATA, "validation"):
        with torch.no_grad():
            outputs, state = detector(clip.frames, reset_lanes(state, clip.is_first))
        evaluator.add(clip.labelled(clip.boxes), clip.labelled(detector.decode(outputs)))
    scores = evaluator.compute()
    shares = [list(evaluation_loader(DATA, "validation", rank=rank, ranks=2)) for rank in (0, 1)]
    seen = [clip.recordings[~clip.is_blank].tolist() for clips in shares for clip in clips]
    assert sorted(number for numbers in seen for number in numbers) == [0, 0, 1, 1, 2, 2]
    assert len(shares[0]) == len(shares[1])
    assert scores.frames == 18
    told = json.loads((whole / "training.json").read_text())["validation_AP"]
    assert told == pytest.approx(scores.AP, abs=0.02)  # bfloat16 there


SCRIPT = Path(__file__).with_name("two_processes.py")
ALONE = runpy.run_path(str(SCRIPT))
"""What the functions of the script give in a process that knows no other."""


def in_two_processes(folder, function):
    """What a function of the script returns in each of two processes that know each other."""
    command = [sys.executable, str(SCRIPT), str(folder), function]
    started = [subprocess.Popen([*command, str(rank)]) for rank in (0, 1)]
    assert [process.wait(LONG_S) for process in started] == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def test_the_mean_gradient_of_two_processes_is_that_of_one_with_all_frames(tmp_path):
    """Though the first has three positive anchors and the second has one."""
    halves = in_two_processes(tmp_path, "half_of_the_gradient")
    torch.testing.assert_close(torch.cat(halves) / 2, ALONE["gradient"]([0, 1, 2, 3]))


def test_the_mean_gradient_of_a_task_aligned_head_is_that_of_one_process_also_if_all_weigh_less_than_one(tmp_path):
    whole = ALONE["gradient_of_a_task_aligned_head"]([0, 1, 2, 3])
    halves = in_two_processes(tmp_path, "half_of_the_gradient_of_a_task_aligned_head")
    torch.testing.assert_close(sum(halves) / 2, whole)


def test_the_memory_of_all_lanes_is_put_together_and_taken_apart_again(tmp_path):
    states = zip(*in_two_processes(tmp_path, "memories"), ALONE["memories"]("0"), ALONE["memories"]("1"), strict=True)
    for one, other, *alone in states:
        for n in range(2):
            assert torch.equal(one[n], other[n])
            assert torch.equal(one[n], torch.cat([alone[0][n], alone[1][n]]))
        for rank in (0, 1):
            for mine, part in zip(processes.own_lanes(one, rank, 2), alone[rank], strict=True):
                assert torch.equal(mine, part)
                assert mine.stride() == part.stride()


def stop_in_batch(number, monkeypatch):
    """Let the user press Ctrl-C in the middle of a batch, counted from 1; the other process does not know."""
    step = TrainingModule.training_step

    def step_and_ask(self, clip, batch_index):
        if batch_index == number - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, clip, batch_index)

    monkeypatch.setattr(TrainingModule, "training_step", step_and_ask)


@pytest.mark.parametrize("stop_after", [1, 4])
def test_processes_that_stop_and_go_on_learn_what_they_would_have_learnt(whole, tmp_path, monkeypatch, stop_after):
    with monkeypatch.context() as patched:
        stop_in_batch(stop_after, patched)
        with pytest.raises(Stopped, match=f"Stopped after step {stop_after}"):
            run(tmp_path / "run")
    assert_equal(whole, resume(tmp_path / "run"))


def test_one_process_goes_on_with_what_two_began(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_in_batch(4, patched)
        with pytest.raises(Stopped):
            run(tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("processes: 2", "processes: 1"))
    assert json.loads((resume(tmp_path / "run") / "training.json").read_text())["processes"] == 1


@pytest.mark.parametrize("killed", ["first", "other"])
def test_a_killed_process_leaves_none_behind_and_a_run_to_go_on_with(tmp_path, killed):
    out, config = tmp_path / "run", tmp_path / "config.yaml"
    write_config(RunConfig(DATA, MODEL, replace(TRAIN, max_steps=10_000)), config)
    command = [sys.executable, "-m", "seqdet.cli", "train", "--config", config, "--out", out]
    with (tmp_path / "said").open("w") as said:
        first = psutil.Popen(command, stdout=said, stderr=said)
    while not (out / "checkpoints" / "last.ckpt").exists():
        assert first.poll() is None, (tmp_path / "said").read_text()
        time.sleep(0.01)
    (other,) = first.children()
    (first if killed == "first" else other).kill()
    code = first.wait(LONG_S)
    psutil.wait_procs([other], timeout=LONG_S)
    assert not other.is_running()
    if killed == "other":
        said = (tmp_path / "said").read_text()
        assert code == 1
        assert f"error: Process 1 was killed by signal 9. Go on with: seqdet train --resume {out}" in said
        assert "Traceback" not in said
    assert torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] < 10_000


def test_a_process_killed_while_the_two_connect_takes_the_other_with_it(tmp_path):
    """It would wait there for half an hour."""
    out, config = tmp_path / "run", tmp_path / "config.yaml"
    write_config(RunConfig(DATA, MODEL, TRAIN), config)
    script = f"""
import os, sys, time
from seqdet.training import fit, processes
def connect(*_, **__):
    print(os.environ["MASTER_PORT"], flush=True)
    time.sleep({LONG_S})
fit.Trainer.fit = connect
sys.argv = ["seqdet", "train", "--config", {str(config)!r}, "--out", {str(out)!r}]
from seqdet.cli import main
main()
"""
    with psutil.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as first:
        while not first.stdout.readline().strip().isdigit():
            assert first.poll() is None
        (other,) = (each for each in first.children() if "seqdet.training" in each.cmdline())
        assert other.is_running()
        first.kill()
    assert psutil.wait_procs([other], timeout=LONG_S / 10) == ([other], [])


def test_what_goes_wrong_in_another_process_is_said_by_the_first(tmp_path, monkeypatch):
    """The second process plays the last two lanes; their memory is no number."""
    monkeypatch.setattr(processes, "PATIENCE_S", LONG_S)
    with monkeypatch.context() as patched:
        stop_in_batch(1, patched)
        with pytest.raises(Stopped):
            run(tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    for tensor in content["recurrent_state"]:
        tensor[2:] = torch.nan
    torch.save(content, checkpoint)
    before = dict(os.environ)
    with pytest.raises(InputError, match="stopped being a number at step 1"):
        resume(tmp_path / "run")
    assert os.environ == before
    assert not distributed.is_initialized()


def test_another_process_that_cannot_begin_ends_the_run_with_its_sentence(tmp_path, monkeypatch):
    start = subprocess.Popen

    def start_elsewhere(command, **kwargs):
        *program, _, precision = command
        return start([*program, str(tmp_path / "nowhere"), precision], **kwargs)

    monkeypatch.setattr(subprocess, "Popen", start_elsewhere)
    with pytest.raises(InputError, match=r"nowhere/config\.yaml cannot be read"):
        run(tmp_path / "run")


@pytest.mark.parametrize(
    ("data", "train", "words"),
    [
        (DATA, replace(TRAIN, processes=3), "lanes must be a multiple of the 3 processes, got 4"),
        (replace(DATA, clip_length=1), replace(TRAIN, processes=4), "clip_length times lanes must be at least 2"),
    ],
)
def test_lanes_that_cannot_be_shared_are_refused_before_anything_is_written(tmp_path, data, train, words):
    with pytest.raises(InputError, match=words):
        run(tmp_path / "run", data=data, train=train)
    assert not (tmp_path / "run").exists()


def test_a_launcher_of_several_is_told_that_seqdet_starts_them_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(InputError, match="Start seqdet once, without torchrun"):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
