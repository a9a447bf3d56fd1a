import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from seqdet import __version__
from seqdet.cli import main
from seqdet.cli.parser import COMMANDS, spelt
from seqdet.config import RunConfig, VanillaConfig
from seqdet.config_files import read_config, recipes, to_dict, to_yaml
from seqdet.data.labels import EVENT_BBOX, write_labels
from seqdet.events.array import columns
from seqdet.events.tables import write_npz
from seqdet.models.weights import save_detector
from seqdet.models.zoo import build_detector
from seqdet.runs import TRAINING_FORMAT

RECIPES = sorted(recipes().values())


def refusal(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line in which the command line ends."""
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code != 0
    code = stop.value.code if isinstance(stop.value.code, str) else ""  # which Python prints at its end
    (line,) = (capsys.readouterr().err + code).splitlines()
    assert line.startswith("seqdet: error: ")
    return line.removeprefix("seqdet: error: ")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "--train.max_step", "4"], "unknown argument --train.max_step. Did you mean --train.max_steps?"),
        (["train", "--data.digits.heigth=64"], "--data.digits.heigth. Did you mean --data.digits.height?"),
        (["train", "--lr", "1"], "unknown argument --lr. Did you mean --train.lr?"),
        (["train", "--frobnicate", "3"], "unknown argument --frobnicate."),
        (["train", "--train.lr", "fast"], "--train.lr must be a number, got 'fast'."),
        (["train", "--train.lr=1", "--train.lr=[fast"], "train.lr must be a number, got '[fast'."),
        (["train", "--train.lr", ".inf"], "--train.lr must be a finite number, got .inf."),
        (["train", "--train.max_steps", "1.5"], "train.max_steps must be a whole number, got 1.5."),
        (["train", "--train.max_steps", "0"], "train.max_steps must be at least 1, got 0."),
        (["train", "--train.max_steps"], "--train.max_steps: expected one argument"),
        (["train", "--train.channels_last", "maybe"], "train.channels_last must be true or false, got 'maybe'."),
        (
            ["train", "--data.clip_length", "5"],
            "data.digits.frames_per_video must be a multiple of --data.clip_length, got ",
        ),
        (["train", "--data.digits.width", "1000000"], "data.digits.width must be at most 8192, got 1000000."),
        (["train", "--data.digits.digit_heights", "[1, b]"], "data.digits.digit_heights must be a number, got 'b'."),
        (["train", "--data", "nothing"], "data must be a table of settings, got 'nothing'."),
        (["train", "--data", "{tmp}"], "data must be a table of settings, got "),
        (["train", "--model.base", "1000000000"], "model.base must be at most 1024, got 1000000000."),
        (["train", "--model.classes", "[1, 2]"], "model.classes must be text, got 1."),
        (["train", "--model.cell", "rnn"], "model.cell must be one of gru, lstm, mingru, separable; got 'rnn'."),
        (["train", "--model.name", "resnet", "--out", "{tmp}/run"], "vanilla, with_memory; got 'resnet'"),
        (["train", "--config", "{tmp}/none.yaml"], "--config: File does not exist: "),
        (["train", "--config", "{tmp}"], "--config: Path is not a file: "),
        (["train", "--resume", "{tmp}"], "must be the folder of a run"),
        (["train", "--resume", "{tmp}", "--train.lr", "1"], "--resume must be the only option"),
        (["train", "--resume", "{tmp}", "--out", "{tmp}/run"], "--resume must be the only option"),
        (["train", "--resume", "{tmp}", "--train.lr", "2e-3"], "--resume must be the only option"),  # the usual value
        (["train", "--resume", "{tmp}", "--recipe", "demo"], "--resume must be the only option"),
        (["train", "--resume", "{tmp}", "more"], "unknown argument more."),
        (["train", "--print_config=all"], 'Invalid option "all" for --print_config'),
        (["evaluate", "{tmp}"], "must be the folder of a run"),
        (["evaluate", "{tmp}", "--figures", "a.json"], "--figures must name a file for those of detections; a run"),
        (["evaluate", "{tmp}/a.npy", "{tmp}", "--detections", "{tmp}/b"], "--detections must be given for a run alone"),
        (["evaluate", "{tmp}/a.npy", "{tmp}", "--faults"], "--faults must be given for a run alone"),
        (["evaluate", "{tmp}", "--tracks"], "--tracks must go with files of tracks, a dataset, and at most --split"),
        (["evaluate", "{tmp}/a.npy", "{tmp}", "--tracks", "--protocol", "coco"], "a dataset, and at most --split and"),
        (["evaluate", "{tmp}/a.npy", "{tmp}", "--tracks", "--events", "false"], "a dataset, and at most --split and"),
        (["inspect", "{tmp}/none.raw"], "none.raw must be a recording, and there is no such file."),
        (["inspect", "{tmp}/none.raw", "--plot", "a.jpg"], "a.jpg must end in .png, as what is written there does."),
        (["precompute", "{tmp}/none.raw"], "--out must be given: folder of the tensor files."),
        (["precompute", "{tmp}/none.raw", "-o", "{tmp}/out"], "none.raw must be a recording or a folder of recordings"),
        (["precompute", "a", "-o", "b", "--tensor", "cube"], "the representation must be one of difference, "),
        (["precompute", "a", "-o", "b", "--parameters", "{{bin: 3}}"], "unexpected keyword argument 'bin'"),
        (["precompute", "a", "-o", "b", "--window-us", "0"], "--window-us must be at least 1, got 0."),
        (["precompute", "a", "-o", "b", "--dry-run", "--worker", "2"], "unknown argument --worker."),
        (["import", "{tmp}", "{tmp}", "-o", "{tmp}/out"], "--from must be given: format of the labels."),
        (["import", "{tmp}/a", "{tmp}", "--from", "voc", "-o", "{tmp}/out"], "must "),
        (["audit", "{tmp}/none"], "none must be the folder of a dataset"),
        (["evaluate", "{tmp}/a.npy", "{tmp}", "--protocol", "best"], "best"),
        (["evaluate", "{tmp}/a.npy", "{tmp}"], "must hold label files, which end in _bbox.npy, and holds none."),
        (["simulate", "{tmp}/none.mp4", "-o", "{tmp}/a.raw"], "must be a video or a folder of images"),
        (
            ["simulate", "digits", "-o", "{tmp}/b", "--scene.still_s", "[2, 1]"],
            "scene.still_s must be two rising times",
        ),
        (
            ["simulate", "digits", "-o", "{tmp}/b", "--sensor.on_threshold", "0"],
            "sensor.on_threshold must be at least 0.01, got 0.0.",
        ),
        (["predict", "{tmp}/a.safetensors", "{tmp}/a.raw"], "--out must be given: folder for detections/"),
        (["export", "{tmp}/a.safetensors"], "--out must be given: the file, model.onnx."),
        (["simulate", "digits"], "--out must be given: folder of the recordings"),
        (["evaluate"], "path"),
        (["tran"], "tran"),
        ([], "subcommand"),
    ],
)
def test_a_wrong_command_line_ends_in_one_line(args, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert words in refusal([arg.format(tmp=tmp_path) for arg in args], capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "content", "words"),
    [
        ("--config", b"train:\n  max_stepz: 3\n", "recipe.yaml.train has no setting 'max_stepz'. The settings are "),
        ("--config", b"train:\n  max_stepz: 3\n", "Did you mean max_steps?"),
        ("--config", b"train:\n  lr: fast\n", "recipe.yaml.train.lr must be a number, got 'fast'."),
        ("--config", b"train: {max_steps: 0}", "recipe.yaml.train.max_steps must be at least 1, got 0."),
        ("--config", b"data: {digits: {folder: 5}}", "recipe.yaml.data.digits.folder must be a path, got 5."),
        ("--config", b"model: null", "recipe.yaml.model must be a table of settings, got None."),
        ("--config", b"train: {lr: 1, lr: 2}", "lr is given twice, again in line 1."),
        ("--config", b"# seqdet run 2\n{}", "recipe.yaml must be of version 1, got 2."),
        ("--config", b"\xff\xfe", "recipe.yaml cannot be read as a configuration: 'utf-8' codec"),
        ("--config", b"{", "recipe.yaml cannot be read as a configuration: "),
        ("--data", b"\xff\xfe", "a file that an option names cannot be read: 'utf-8' codec"),
        ("--data", b"digits: null", "data.digits must be a table of settings, got None."),
    ],
)
def test_a_wrong_file_ends_in_one_line(option, content, words, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(content)
    assert words in refusal(["train", option, str(recipe), "--out", str(tmp_path / "run")], capsys)
    assert not (tmp_path / "run").exists()


def printed(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What goes to standard output when all is well."""
    with pytest.raises(SystemExit, match=r"^0$"):
        main(args)
    return capsys.readouterr().out


def test_an_option_wins_over_the_file_and_the_file_over_the_defaults(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train: {max_steps: 7, lr: 1e-3}")
    args = ["train", "--config", str(recipe), "--train.max_steps", "9", "--print_config"]
    settings = yaml.safe_load(printed(args, capsys))["train"]
    assert (settings["max_steps"], settings["lr"], settings["log_steps"]) == (9, 1e-3, RunConfig().train.log_steps)


def test_options_win_over_files_in_any_order(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train: {max_steps: 7, lr: 1e-3}")
    for args in (
        ["--train.max_steps", "9", "--config", str(recipe)],
        ["--train.max_steps=9", "--config", str(recipe), "--out", "x"],
        ["--out", "x", f"--config={recipe}", "--train.max_steps=9"],
        ["--train.max_steps=9", "--recipe", "demo", "--config", str(recipe)],
    ):
        settings = yaml.safe_load(printed(["train", *args, "--print_config"], capsys))["train"]
        assert (settings["max_steps"], settings["lr"]) == (9, 1e-3)


def test_recipes_come_with_the_package_and_wrong_names_are_told_which_there_are(capsys):
    for name, path in recipes().items():
        settings = yaml.safe_load(printed(["train", "--recipe", name, "--print_config"], capsys))
        assert settings["train"] == to_dict(read_config(path).train)
    args = ["train", "--model.base", "5", "--recipe=moving_digits", "--data.clip_length", "4", "--print-config"]
    settings = yaml.safe_load(printed(args, capsys))
    assert (settings["model"]["base"], settings["model"]["channels"], settings["data"]["clip_length"]) == (5, 96, 4)
    known = ", ".join(sorted(recipes()))
    assert refusal(["train", "--recipe", "digits"], capsys) == f"--recipe must be one of {known}; got 'digits'."
    assert refusal(["train", "--out", "x", "--recipe"], capsys) == f"--recipe must be one of {known}; got ''."
    assert all(name in printed(["train", "--help"], capsys) for name in recipes())


def test_the_printed_configuration_is_a_recipe(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(printed(["train", "--train.max_steps", "9", "--out", "elsewhere", "--print_config"], capsys))
    assert read_config(recipe).train.max_steps == 9


def test_options_are_understood_as_people_write_them():
    words = ["precompute", "-o", "out", "a.raw", "b.raw", "--max-duration", "5", "--dry-run", "--to-hw=[3,4]"]
    expected = ["precompute", '["a.raw", "b.raw"]', "--out", "out", "--max_duration_us", "5", "--dry_run=true"]
    assert spelt(words) == [*expected, "--to_hw=[3,4]"]
    words = ["predict", "model.onnx", "a.raw", "b.raw", "-o", "out", "--track", "c.raw"]
    expected = ["predict", "model.onnx", '["a.raw", "b.raw", "c.raw"]', "--out", "out", "--track=true"]
    assert spelt(words) == expected
    assert spelt(["predict", "run", "-", "-o", "out"]) == ["predict", "run", '["-"]', "--out", "out"]
    assert spelt(["simulate", "-o", "a.raw", "b.mp4"]) == ["simulate", "frames", "--out", "a.raw", "b.mp4"]
    assert spelt(["evaluate", "a.npy", "b"]) == ["evaluate", "a.npy", "--dataset", "b"]
    assert spelt(["import", "a", "b", "--from", "voc"]) == ["import", "a", "--recordings", "b", "--source", "voc"]
    assert spelt(["inspect", "a", "--strict", "false"]) == ["inspect", "a", "--strict", "false"]


def test_the_version_is_printed(capsys):
    assert printed(["--version"], capsys) == f"seqdet {__version__}\n"


def test_a_finished_run_is_said_to_be_finished_and_how_to_go_on(tmp_path, caplog):
    (tmp_path / "config.yaml").write_text(to_yaml(RunConfig()))
    save_detector(
        build_detector(VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8)),
        tmp_path / "detector.safetensors",
    )
    facts = dict.fromkeys(("precision", "frames", "seconds", "frames_per_second", "parameters"))
    (tmp_path / "training.json").write_text(json.dumps({"format": TRAINING_FORMAT, **facts}))
    main(["train", "--resume", str(tmp_path)])
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path} is finished. Its learning rate ended at nothing")


def test_ctrl_c_ends_in_one_line(tmp_path, monkeypatch, caplog):
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "evaluate", interrupted)
    with pytest.raises(SystemExit, match=r"^130$"):
        main(["evaluate", str(tmp_path)])
    assert caplog.messages == ["Stopped."]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_is_heard_where_nothing_can_be_raised_comes_again(name):
    script = f"""
import os, signal, time, weakref
from seqdet.cli import main
from seqdet.cli.parser import COMMANDS
class Thing: pass
def waiting() -> None:
    "Wait."
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.{name}))
    del thing
    for _ in range(2000):
        time.sleep(0.005)
    print("never stopped")
COMMANDS.clear()
COMMANDS["waiting"] = waiting
signal.signal(signal.SIGINT, signal.default_int_handler)
import sys
sys.argv = ["seqdet", "waiting"]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.Signals[name], "Stopped.\n", "")


def test_a_signal_that_a_library_makes_another_error_of_is_a_signal():
    script = """
import os, signal
from seqdet.cli import main
from seqdet.cli.parser import COMMANDS
def compiling() -> None:
    "Compile."
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt as error:
        raise TypeError("a tensor of no kind") from error
COMMANDS.clear()
COMMANDS["compiling"] = compiling
import sys
sys.argv = ["seqdet", "compiling"]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "Stopped.\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_after_a_command_is_done_does_not_undo_its_status(name, tmp_path):
    script = f"""
import os, signal, sys
from seqdet.cli import main
sys.argv = ["seqdet", "inspect", {str(tmp_path / "a.csv")!r}]
main()
os.kill(os.getpid(), signal.{name})
"""
    (tmp_path / "a.csv").write_text("t,x,y,p\n1,1,1,1\n")
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False).returncode == 0


def test_names_of_files_cannot_steer_the_terminal(tmp_path):
    """A name may hold escapes that clear the screen, or that write into it what was never said."""
    folder = tmp_path / "digits\x1b[2J\u202e" / "train"
    folder.mkdir(parents=True)
    (folder / "a\x1b]0;title\x07_bbox.npy").touch()
    for command in (["audit", folder.parent], ["inspect", folder.parent / "none.raw"], ["inspect", "--\x1b[31m"]):
        done = subprocess.run(
            [sys.executable, "-m", "seqdet.cli", *map(str, command)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "\\x1b[" in done.stdout + done.stderr
        assert not {"\x1b", "\x07", "\u202e"} & {*done.stdout, *done.stderr}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("moment", ["seqdet.cli.parser", "torch"])
def test_a_signal_while_all_is_loaded_ends_in_one_line(tmp_path, name, moment):
    """It comes when a module is looked for: the parser, and what computes."""
    script = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, *args):
        if name == {moment!r}:
            os.kill(os.getpid(), signal.{name})
sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts beside itself ignore it
sys.argv = ["seqdet", "train", "--out", {str(tmp_path / "run")!r}]
from seqdet.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    sentence = "Stopped." if moment.startswith("seqdet") else "Stopped before the first step. Nothing was begun."
    status = 128 + signal.Signals[name]
    assert (done.returncode, done.stdout, done.stderr) == (status, f"{sentence}\n", "")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 8 PiB for an array"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_too_little_memory_ends_in_one_line_that_says_what_to_lower(tmp_path, monkeypatch, capsys, error):
    def greedy() -> None:
        raise error

    monkeypatch.setitem(COMMANDS, "train", greedy)
    sentence = refusal(["train"], capsys)
    assert sentence.startswith(
        "there must be more memory than this machine has free. Go on with --resume when other programs"
    )


def test_another_error_of_torch_keeps_its_traceback(monkeypatch):
    def broken() -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setitem(COMMANDS, "train", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        main(["train"])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_a_configuration_that_states_its_command_and_its_score_or_that_it_was_not_run(recipe):
    assert isinstance(read_config(recipe), RunConfig)
    head = " ".join(line[1:] for line in recipe.read_text().splitlines() if line.startswith("#"))
    assert f"seqdet train --recipe {recipe.stem} " in head
    assert ("AP" in head and "minutes" in head) or "Not run" in head


def test_a_written_configuration_is_a_recipe(tmp_path, capsys):
    recipe = tmp_path / "config.yaml"
    recipe.write_text(to_yaml(RunConfig()))
    with pytest.raises(SystemExit) as stop:
        main(["train", "--config", str(recipe), "--print_config"])
    assert stop.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert {name: printed[name] for name in ("data", "model", "train")} == yaml.safe_load(recipe.read_text())


@pytest.mark.parametrize(("damage", "code"), [("none", 0), ("warning", 0), ("error", 1)])
def test_an_audit_exits_with_one_where_it_finds_an_error_and_only_there(tmp_path, damage, code):
    t = np.arange(0, 1_000_000, 500)
    for n, split in enumerate(("train", "val", "test")):
        (tmp_path / split).mkdir()
        write_npz(
            tmp_path / split / f"{split}.npz", [columns(t=t, x=t % 80, y=(t + n) % 60, p=t % 2)], size_hw=(60, 80)
        )
        boxes = np.zeros(20, EVENT_BBOX)
        boxes["t"], boxes["w"], boxes["h"], boxes["class_confidence"] = np.arange(1, 21) * 50_000, 60, 50, 1
        boxes["w"][0] *= damage != "error"
        boxes["class_confidence"][0] = -1 if damage == "warning" else 1
        write_labels(tmp_path / split / f"{split}_bbox.npy", boxes)
    (tmp_path / "label_map_dictionary.json").write_text('{"0": "car"}')
    command = [sys.executable, "-m", "seqdet.cli", "audit", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert (tmp_path / "audit.html").is_file()
    assert ("free of errors" in done.stderr) == bool(code)
