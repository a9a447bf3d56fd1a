import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer.record_writer import RecordWriter

from seqdet import devices
from seqdet.checks import InputError, Stopped
from seqdet.config import DataConfig, DigitsConfig, RunConfig, TrainConfig, VanillaConfig
from seqdet.config_files import read_config, write_config
from seqdet.files import MACHINE
from seqdet.locks import alone_in
from seqdet.models.weights import load_detector
from seqdet.models.zoo import build_detector
from seqdet.training import fit as training_fit
from seqdet.training.fit import fit, resume
from seqdet.training.module import TrainingModule

DIGITS = DigitsConfig(
    frames_per_video=6, held_out_frames_per_video=6, frames_per_epoch=36, validation_frames=12, test_frames=12
)
DATA = DataConfig(clip_length=3, lanes=2, digits=DIGITS)
MODEL = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8, head_layers=0)
TRAIN = TrainConfig(max_steps=10, checkpoint_steps=2, warmup_steps=2, validate_epochs=1, log_steps=1, device="cpu")


def run(out, *, data=DATA, train=TRAIN):
    return fit(build_detector(MODEL, seed=train.seed), data, train, out)


def weights(folder):
    """The weights after the last step, whether or not they were the best."""
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {**checkpoint["state_dict"], **dict(enumerate(checkpoint["recurrent_state"]))}


def assert_equal_weights(one, other):
    """After the last step, and of the detector that is handed out."""
    published = (load_file(folder / "detector.safetensors") for folder in (one, other))
    for first, second in ((weights(one), weights(other)), published):
        assert first.keys() == second.keys()
        assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole") / "run")


def test_tensorboard_has_the_configuration_of_a_run_and_its_final_score(whole):
    logs = EventAccumulator(str(whole / "logs"), size_guidance={SCALARS: 0})
    logs.Reload()
    parts = [HParamsPluginData.FromString(content) for content in logs.PluginTagToContent("hparams").values()]
    (started,) = (part.session_start_info for part in parts if part.HasField("session_start_info"))
    (experiment,) = (part.experiment for part in parts if part.HasField("experiment"))
    shown = {name: value.string_value or value.number_value for name, value in started.hparams.items()}
    assert shown["train.max_steps"] == 10
    assert shown["train.optimizer"] == "adamw"
    assert shown["train.channels_last"] == "true"
    assert shown["model.classes"] == "0,1,2,3,4,5,6,7,8,9"
    assert shown["data.digits.digit_heights"] == "24.0,60.0"
    assert set(shown) >= {f"train.{name}" for name in TrainConfig.__dataclass_fields__}
    (metric,) = experiment.metric_infos
    (point,) = logs.Scalars(metric.name.tag)
    assert point.value == pytest.approx(json.loads((whole / "training.json").read_text())["validation_AP"])
    assert point.step == 10


def test_a_run_folder_holds_config_weights_checkpoints_curves_and_facts(whole):
    assert read_config(whole / "config.yaml") == RunConfig(DATA, MODEL, TRAIN)
    assert load_detector(whole / "detector.safetensors").config == MODEL
    assert {path.name for path in (whole / "checkpoints").iterdir()} == {"last.ckpt", "best.safetensors"}
    assert list((whole / "logs").glob("events.out.tfevents.*"))
    facts = json.loads((whole / "training.json").read_text())
    assert facts["steps"] == 10
    assert facts["frames"] == 10 * 3 * 2
    assert facts["seconds"] > 0
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0]


def test_training_twice_gives_the_same_weights(whole, tmp_path):
    assert_equal_weights(whole, run(tmp_path / "again"))


@pytest.mark.parametrize("workers", [2])
def test_the_number_of_loader_processes_does_not_change_the_weights(whole, tmp_path, workers):
    assert_equal_weights(whole, run(tmp_path / "run", data=replace(DATA, workers=workers)))


def test_another_seed_gives_other_weights(whole, tmp_path):
    other = weights(run(tmp_path / "run", train=replace(TRAIN, seed=1)))
    assert not all(torch.equal(tensor, other[name]) for name, tensor in weights(whole).items())


def stop_in_batch(number, monkeypatch):
    """Let the user press Ctrl-C in the middle of a batch, counted from 1."""
    step = TrainingModule.training_step

    def step_and_ask(self, clip, batch_index):
        if batch_index == number - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, clip, batch_index)

    monkeypatch.setattr(TrainingModule, "training_step", step_and_ask)


@pytest.mark.parametrize("stop_after", [1, 4, 6, 9])
def test_a_run_stopped_between_steps_and_resumed_equals_one_never_stopped(whole, tmp_path, monkeypatch, stop_after):
    """The epochs have six steps: it is stopped within the first, at its end, and before the last step."""
    with monkeypatch.context() as patched:
        stop_in_batch(stop_after, patched)
        with pytest.raises(Stopped, match=rf"Stopped after step {stop_after}\. Go on with: seqdet train --resume"):
            run(tmp_path / "run")
    assert not (tmp_path / "run" / "training.json").exists()
    assert_equal_weights(whole, resume(tmp_path / "run"))


def test_a_run_goes_on_in_the_precision_in_which_it_began(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(devices, "_is_bfloat16_faster", lambda: False)
    never_stopped = run(tmp_path / "whole")
    with monkeypatch.context() as patched:
        stop_in_batch(4, patched)
        with pytest.raises(Stopped):
            run(tmp_path / "run")
    monkeypatch.setattr(devices, "_is_bfloat16_faster", lambda: True)
    assert_equal_weights(never_stopped, resume(tmp_path / "run"))


def test_a_run_asked_to_stop_while_it_gathers_gradients_finishes_the_step_first(tmp_path, monkeypatch):
    train = replace(TRAIN, accumulate=2, max_steps=5)
    never_stopped = run(tmp_path / "whole", train=train)
    assert json.loads((never_stopped / "training.json").read_text())["frames"] == 5 * 2 * 3 * 2
    with monkeypatch.context() as patched:
        stop_in_batch(3, patched)
        with pytest.raises(Stopped, match="Stopped after step 2"):
            run(tmp_path / "run", train=train)
    assert_equal_weights(never_stopped, resume(tmp_path / "run"))


def test_a_run_killed_at_any_step_and_resumed_equals_one_never_killed(whole, tmp_path):
    out, config = tmp_path / "run", tmp_path / "config.yaml"
    write_config(RunConfig(DATA, MODEL, TRAIN), config)
    command = [sys.executable, "-m", "seqdet.cli", "train", "--config", config, "--out", out]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    checkpoint = out / "checkpoints" / "last.ckpt"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(time.monotonic() % 0.1)  # a moment that nobody chose, on a busy machine perhaps after the end
    process.kill()
    said = process.communicate()[1].decode()
    assert checkpoint.exists(), said
    (out / "training.json").unlink(missing_ok=True)
    assert_equal_weights(whole, resume(out))


class Killed(BaseException):
    """What a signal that cannot be caught looks like from within."""


@pytest.mark.parametrize("moment", ["save_detector", "write_config", "remember", "_run"])
def test_a_run_killed_before_its_first_checkpoint_starts_with_the_weights_it_was_given(tmp_path, monkeypatch, moment):
    """Where the configuration is not there yet, the folder is one that nothing was begun in."""

    def die(*_, **__):
        raise Killed

    never_stopped = fit(build_detector(MODEL, seed=7), DATA, TRAIN, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(training_fit, moment, die)
        with pytest.raises(Killed):
            fit(build_detector(MODEL, seed=7), DATA, TRAIN, tmp_path / "run")
    if moment in ("save_detector", "write_config"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / f".{MACHINE}-1.config.yaml").write_text("data: {clip_")  # as a process that cannot clean up
        (tmp_path / "run" / ".lock").touch()
        fit(build_detector(MODEL, seed=7), DATA, TRAIN, tmp_path / "run")
    else:
        resume(tmp_path / "run")
    assert_equal_weights(never_stopped, tmp_path / "run")
    assert not (tmp_path / "run" / "start.safetensors").exists()


def test_a_run_without_anything_to_go_on_from_is_not_begun_anew_without_a_word(tmp_path):
    write_config(RunConfig(DATA, MODEL, TRAIN), tmp_path / "config.yaml")
    with pytest.raises(InputError, match=r"must have last\.ckpt to go on from, and has none"):
        resume(tmp_path)


def test_a_run_is_trained_by_one_command_at_a_time(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "training.json").unlink()
    with alone_in(tmp_path / "run"), pytest.raises(InputError, match="must not be in use by another command"):
        resume(tmp_path / "run")
    with alone_in(tmp_path / "new"), pytest.raises(InputError, match="must not be in use by another command"):
        run(tmp_path / "new")


@pytest.mark.parametrize("content", [None, b"", bytes(1000)], ids=["missing", "empty", "zeros"])
def test_a_finished_run_whose_detector_is_damaged_is_mended(whole, tmp_path, caplog, content):
    """What a power cut may leave."""
    shutil.copytree(whole, tmp_path / "run")
    detector = tmp_path / "run" / "detector.safetensors"
    detector.unlink()
    if content is not None:
        detector.write_bytes(content)
    caplog.set_level(logging.INFO)
    assert_equal_weights(whole, resume(tmp_path / "run"))
    assert caplog.messages[-1] == f"{detector} was damaged, and is written again."
    detector.write_bytes(b"")
    (tmp_path / "run" / "checkpoints" / "best.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"best\.safetensors cannot take its place: copy the run again"):
        resume(tmp_path / "run")


def test_a_run_whose_facts_are_damaged_is_finished_again(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "training.json").write_bytes(bytes(300))
    assert_equal_weights(whole, resume(tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "training.json").read_text())["steps"] == 10


@pytest.mark.parametrize("name", ["checkpoints", "logs"])
def test_a_run_of_others_writes_nowhere_else(whole, tmp_path, name):
    shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / name)
    (tmp_path / "run" / name).symlink_to(tmp_path)
    with pytest.raises(InputError, match=rf"{name} must be a folder, and is a link"):
        resume(tmp_path / "run")


def kill_in_validation(number, monkeypatch):
    """Die while the detector is validated for the n-th time, counted from 1."""
    start, begun = TrainingModule.on_validation_epoch_start, []

    def start_or_die(self):
        begun.append(self.trainer.global_step)
        if len(begun) == number:
            raise Killed
        start(self)

    monkeypatch.setattr(TrainingModule, "on_validation_epoch_start", start_or_die)
    return begun


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_killed_in_a_validation_and_resumed_makes_up_for_it(whole, tmp_path, monkeypatch, number):
    """The first is due after an epoch of six steps, the second after the last step."""
    with monkeypatch.context() as patched:
        kill_in_validation(number, patched)
        with pytest.raises(Killed):
            run(tmp_path / "run")
    with monkeypatch.context() as patched:
        validated = kill_in_validation(0, patched)
        assert_equal_weights(whole, resume(tmp_path / "run"))
    assert validated == [6, 10][number - 1 :]


def test_a_run_killed_while_it_hands_out_the_detector_hands_out_the_same(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    for name in ("training.json", "detector.safetensors"):
        (tmp_path / "run" / name).unlink()
    assert_equal_weights(whole, resume(tmp_path / "run"))


def test_a_run_killed_in_its_first_step_goes_on_with_the_weights_it_was_given(tmp_path, monkeypatch):
    start = build_detector(MODEL, seed=7)
    never_stopped = fit(build_detector(MODEL, seed=7), DATA, TRAIN, tmp_path / "whole")

    def die(self, clip, batch_index):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "training_step", die)
        with pytest.raises(Killed):
            fit(start, DATA, TRAIN, tmp_path / "run")
    assert_equal_weights(never_stopped, resume(tmp_path / "run"))


def test_a_loaded_detector_trains_its_batch_norm_too(whole, tmp_path):
    detector = load_detector(whole / "detector.safetensors")
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    fit(detector, DATA, replace(TRAIN, max_steps=2), tmp_path / "run")
    after = detector.state_dict()
    assert not any(torch.equal(after[name], before[name]) for name in before if name.endswith("running_mean"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_narrow_models_train_on_frames_of_any_size(tmp_path, precision, channels_last):
    digits = replace(DIGITS, height=200, width=264, validation_frames=6)
    train = replace(TRAIN, max_steps=2, precision=precision, channels_last=channels_last)
    fit(build_detector(replace(MODEL, base=2)), replace(DATA, digits=digits), train, tmp_path / "run")


def test_frames_are_counted_where_something_plays(tmp_path):
    digits = replace(DIGITS, frames_per_epoch=18)  # three videos on two lanes
    out = run(tmp_path / "run", data=replace(DATA, digits=digits), train=replace(TRAIN, max_steps=4))
    assert json.loads((out / "training.json").read_text())["frames"] == 18


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("train", {"lr": 0.5}, "train.lr was 0.002, and is 0.5"),
        ("train", {"max_steps": 4}, "train.max_steps was 10, and is 4"),
        ("data", {"seed": 3}, "data.seed was 0, and is 3"),
        ("model", {"channels": 16}, "model.channels was 8, and is 16"),
    ],
)
def test_a_run_goes_on_only_as_it_was_configured(whole, tmp_path, part, change, words):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "training.json").unlink()
    config = RunConfig(DATA, MODEL, TRAIN)
    write_config(replace(config, **{part: replace(getattr(config, part), **change)}), tmp_path / "run" / "config.yaml")
    with pytest.raises(InputError, match=rf"config\.yaml must be as it was when the run started: {words}\."):
        resume(tmp_path / "run")


def test_what_does_not_touch_the_weights_may_change_when_a_run_goes_on(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "training.json").unlink()
    write_config(
        RunConfig(replace(DATA, workers=1), MODEL, replace(TRAIN, checkpoint_steps=3)),
        tmp_path / "run" / "config.yaml",
    )
    assert_equal_weights(whole, resume(tmp_path / "run"))


@pytest.mark.parametrize(
    ("model", "train", "words"),
    [
        (replace(MODEL, in_channels=1), TRAIN, r"model\.in_channels must be the 3 of the data, got 1"),
        (MODEL, replace(TRAIN, device="cuda"), "device"),
    ],
)
def test_a_refused_run_leaves_no_folder_behind(tmp_path, model, train, words):
    if train.device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=words):
        fit(build_detector(model), DATA, train, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_gradient_that_is_no_number_stops_the_run_before_the_step(tmp_path, monkeypatch):
    step = TrainingModule.training_step
    monkeypatch.setattr(TrainingModule, "training_step", lambda *given: step(*given) * float("inf"))
    with pytest.raises(InputError, match=r"The gradient stopped being a number at step 0\. Lower train\.lr"):
        run(tmp_path / "run")


def test_a_finished_run_is_left_as_it_is(whole):
    before = (whole / "detector.safetensors").stat().st_mtime_ns
    assert resume(whole) == whole
    assert (whole / "detector.safetensors").stat().st_mtime_ns == before


def test_a_folder_with_another_run_is_refused_and_untouched(whole):
    before = (whole / "config.yaml").read_text()
    with pytest.raises(
        InputError, match=r"holds a run already. Name another folder, or go on with: seqdet train --resume"
    ):
        run(whole, train=replace(TRAIN, lr=1.0))
    assert (whole / "config.yaml").read_text() == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="must be a new or an empty folder"):
        run(tmp_path)


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path):
    with pytest.raises(InputError, match=r"must be the folder of a run, and holds no config\.yaml"):
        resume(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_refused(tmp_path, content):
    write_config(RunConfig(DATA, MODEL, TRAIN), tmp_path / "config.yaml")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"last\.ckpt must be a checkpoint of seqdet; it is damaged"):
        resume(tmp_path)


@pytest.mark.parametrize("place", [0, -1])
def test_a_flipped_bit_in_a_checkpoint_is_noticed(whole, tmp_path, place):
    """In the largest of the tensors, at its start and at its end."""
    write_config(RunConfig(DATA, MODEL, TRAIN), tmp_path / "config.yaml")
    (tmp_path / "checkpoints").mkdir()
    content = bytearray((whole / "checkpoints" / "last.ckpt").read_bytes())
    with zipfile.ZipFile(whole / "checkpoints" / "last.ckpt") as archive:
        member = max(archive.infolist(), key=lambda info: info.file_size)
        stored = archive.read(member)
    start = content.find(stored)
    content[start + place % len(stored)] ^= 1
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"last\.ckpt must be a checkpoint of seqdet; it is damaged"):
        resume(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"global_step": 3}])
def test_another_file_of_torch_is_no_checkpoint(tmp_path, content):
    write_config(RunConfig(DATA, MODEL, TRAIN), tmp_path / "config.yaml")
    (tmp_path / "checkpoints").mkdir()
    torch.save(content, tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt must be a checkpoint of seqdet"):
        resume(tmp_path)


def test_a_checkpoint_with_a_pickle_inside_is_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "ran", "evil"))

    write_config(RunConfig(DATA, MODEL, TRAIN), tmp_path / "config.yaml")
    (tmp_path / "checkpoints").mkdir()
    torch.save({"global_step": Evil()}, tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt must be a checkpoint of seqdet"):
        resume(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_loss_that_is_no_number_stops_with_a_sentence_that_says_where(tmp_path):
    detector = build_detector(MODEL)
    with torch.no_grad():
        detector.head.boxes[-1].weight.fill_(torch.nan)
    with pytest.raises(
        InputError, match=r"loss of the boxes stopped being a number at step 0 \(epoch 0, recordings \["
    ):
        fit(detector, DATA, TRAIN, tmp_path / "run")


def test_classes_that_the_data_do_not_have_are_refused_before_anything_is_written(tmp_path):
    detector = build_detector(replace(MODEL, classes=("car", "bus")))
    with pytest.raises(InputError, match=r"model\.classes must be those of the data"):
        fit(detector, DATA, TRAIN, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_frame_a_batch_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="clip_length times lanes must be at least 2"):
        run(tmp_path / "run", data=replace(DATA, clip_length=1, lanes=1))
    assert not (tmp_path / "run").exists()


def test_a_full_disk_ends_training_with_a_sentence_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    from seqdet import files

    written = []

    def write_until_full(path, content):
        written.append(path.name)
        if written.count("last.ckpt") == 3:
            raise InputError(f"{path} cannot be written: No space left on device.")
        return write(path, content)

    write = files.write_bytes
    monkeypatch.setattr("seqdet.training.checkpoints.write_bytes", write_until_full)
    with pytest.raises(InputError, match="No space left on device"):
        run(tmp_path / "run")
    monkeypatch.undo()
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


def test_a_full_disk_says_how_to_go_on_and_the_run_goes_on_as_if_it_had_never_been(whole, tmp_path, monkeypatch):
    """The disk is full when the second checkpoint is written; the first is that before the first step."""
    opened = []
    write = Path.open

    def open_until_full(self, *args, **kwargs):
        if self.name.endswith("last.ckpt") and args == ("wb",):
            opened.append(self)
            if len(opened) == 2:
                raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_until_full)
    out = tmp_path / "run"
    told = rf"last\.ckpt cannot be written: No space left on device\. Make room, .*: seqdet train --resume {out}"
    with pytest.raises(InputError, match=told):
        run(out)
    monkeypatch.undo()
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["last.ckpt"]
    assert_equal_weights(whole, resume(out))


def test_curves_that_cannot_be_written_end_the_run_in_one_sentence(tmp_path, monkeypatch, capfd):
    """Lightning's logger writes in a thread, which would otherwise end with a traceback of its own."""
    written = []

    def write_until_full(self, data):
        written.append(data)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", write_until_full)
    out = tmp_path / "run"
    with pytest.raises(InputError, match=rf"logs cannot be written: No space left on device\. .* --resume {out}"):
        run(out)
    assert "Traceback" not in capfd.readouterr().err


def test_a_detector_that_cannot_be_handed_out_is_handed_out_by_the_resumed_run(whole, tmp_path, monkeypatch):
    def refuse(path, content):
        raise InputError(f"{path} cannot be written: No space left on device.") from OSError(errno.ENOSPC, "")

    monkeypatch.setattr("seqdet.training.fit.write_bytes", refuse)
    out = tmp_path / "run"
    with pytest.raises(InputError, match=rf"detector\.safetensors cannot be written: .* --resume {out}"):
        run(out)
    monkeypatch.undo()
    assert_equal_weights(whole, resume(out))


def test_a_second_ctrl_c_stops_at_once_and_says_how_to_go_on(whole, tmp_path, monkeypatch):
    step = TrainingModule.training_step

    def ask_twice(self, clip, batch_index):
        for _ in range(2 if batch_index == 5 else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, clip, batch_index)

    out, before = tmp_path / "run", signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(TrainingModule, "training_step", ask_twice)
            with pytest.raises(Stopped, match=rf"Stopped at once\. Go on from the last checkpoint: .* --resume {out}"):
                run(out)
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert_equal_weights(whole, resume(out))


def test_weights_of_every_few_epochs_are_kept(tmp_path):
    folder = run(tmp_path / "run", train=replace(TRAIN, keep_epochs=1))
    kept = folder / "checkpoints" / "step=000006.safetensors"
    assert load_file(kept).keys() == load_file(folder / "detector.safetensors").keys()


def test_training_off_the_main_thread_works(tmp_path):
    thread = threading.Thread(target=run, args=(tmp_path / "run",), kwargs={"train": replace(TRAIN, max_steps=1)})
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "training.json").is_file()
