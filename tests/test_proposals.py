"""What messages propose to type can be typed."""

import ast
import logging
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import capture_parser

import seqdet
from seqdet import VanillaConfig, build_detector, save_detector
from seqdet.checks import proposed
from seqdet.cli import main
from seqdet.cli.options import EVERYWHERE, SHORT, options_of, parsers_name
from seqdet.cli.parser import ALLOW, COMMANDS, RECIPE, functions, spelt
from seqdet.config import InputConfig
from seqdet.data.labels import EVENT_BBOX, write_labels
from seqdet.events.array import columns
from seqdet.events.evt import write_evt3
from seqdet.viz.video import write_video

SOURCES = sorted(Path(seqdet.__file__).parent.rglob("*.py"))
TREES = {path.relative_to(SOURCES[0].parent): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def words_of(call: ast.Call) -> list[str]:
    """The words of a proposed command, with something in the place of what only a running program knows."""
    fixed = [each for each in call.args if not isinstance(each, ast.Starred)]
    return [str(each.value) if isinstance(each, ast.Constant) else "1" for each in fixed]


PROPOSALS = [
    (f"{path}:{node.lineno}", words_of(node))
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "proposed"
]


def texts(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and text of every string that is no docstring; of one with fields, with something in their place."""
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose | inner:
            found.append((node.lineno, node.value))
        if isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "x" for each in node.values)
            found.append((node.lineno, "".join(map(str, parts))))
    return found


TEXTS = [(f"{path}:{line}", text) for path, tree in TREES.items() for line, text in texts(tree)]


def test_messages_propose_commands():
    assert len(PROPOSALS) >= 10


@pytest.mark.parametrize(("place", "words"), PROPOSALS)
def test_a_proposed_command_parses(place, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    capture_parser(main).parse_args(spelt(words))


def test_options_that_messages_mention_are_of_the_command_that_they_stand_with():
    mention = re.compile(rf"\bseqdet ({'|'.join(COMMANDS)})((?: --?[a-z][\w-]*)+)")
    for place, text in TEXTS:
        for command, options in mention.findall(text):
            known = options_of(functions(command))
            assert {parsers_name(option, known) for option in options.split()} <= known.keys(), f"{place}: {text}"


def test_no_command_is_put_together_by_hand():
    by_hand = re.compile(rf": seqdet (?:{'|'.join(COMMANDS)})\b")
    assert [place for place, text in TEXTS if by_hand.search(text)] == []


def test_options_that_messages_mention_exist():
    known = {name: None for command in COMMANDS for name in options_of(functions(command))}
    for place, text in TEXTS:
        for option in re.findall(r"(?<![\w-])(?<!var\()--[a-z][\w.-]*\w(?![\w:-])", text):  # not of a style sheet
            name = parsers_name(option, known)
            assert name in {*known, *EVERYWHERE, *SHORT, ALLOW, RECIPE}, f"{place}: {option} in {text}"


def test_names_that_a_shell_takes_apart_are_quoted():
    assert proposed("inspect", Path("my drive/a.raw")) == "seqdet inspect 'my drive/a.raw'"
    assert shlex.split(proposed("train", "--resume", "a'b $HOME")) == ["seqdet", "train", "--resume", "a'b $HOME"]


# The commands of real messages, in small.


def printed(args: list[str], caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    with caplog.at_level(logging.INFO, "seqdet"):
        main(args)
    return "\n".join(caplog.messages)


def next_of(text: str) -> list[str]:
    """The words of the command at the end of a message."""
    return shlex.split(text.rpartition(": seqdet ")[2])


@pytest.fixture
def dataset(tmp_path):
    """One recording for training and one for validation, in a folder whose name a shell would take apart."""
    folder = tmp_path / "my data"
    for seed, split in enumerate(("train", "val")):
        (folder / split).mkdir(parents=True)
        rng = np.random.default_rng(seed)
        t = np.sort(rng.integers(0, 1_000_000, 4000))
        x, y, p = (rng.integers(0, most, 4000) for most in (64, 48, 2))
        write_evt3(folder / split / f"drive{seed}.raw", [columns(t=t, x=x, y=y, p=p)], size_hw=(48, 64))
        boxes = np.zeros(4, EVENT_BBOX)
        boxes["t"], boxes["w"], boxes["h"], boxes["class_confidence"] = np.arange(1, 5) * 200_000, 20, 20, 1
        write_labels(folder / split / f"drive{seed}_bbox.npy", boxes)
    (folder / "label_map_dictionary.json").write_text('{"0": "car"}')
    return folder


@pytest.fixture
def training(dataset, tmp_path):
    """The words of a small training on it."""
    return [
        *("train", "--out", str(tmp_path / "my run"), "--data.dataset.folder", str(dataset), "--data.lanes", "2"),
        *("--data.dataset.tensor.representation", "histogram", "--model.in_channels", "2", "--model.classes", "car"),
        *("--data.clip_length", "4", "--model.base", "1", "--model.channels", "8", "--train.max_steps", "1"),
    ]


def test_a_video_for_a_detector_of_events_is_simulated_and_inspected_as_proposed(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    frames = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3)).astype(np.uint8)
    write_video(tmp_path / "a drive.mp4", frames, fps=30)
    detector = build_detector(VanillaConfig(classes=tuple("0123456789"), in_channels=2, base=1, channels=8))
    detector.input = InputConfig("histogram_quantized", {}, 50_000, (32, 32), (32, 32))
    save_detector(detector, tmp_path / "detector.safetensors")
    with pytest.raises(SystemExit, match="must be a recording of events") as told:
        main(["predict", "detector.safetensors", "a drive.mp4", "-o", "out"])
    said = printed(next_of(str(told.value)), caplog)
    assert "events" in printed(next_of(said), caplog)


def test_what_follows_a_training_without_a_test_split_is_as_proposed(training, dataset, caplog, capsys):
    following = next_of(printed(training, caplog))
    assert following[2:] == ["--split", "val"]
    assert "AP" in printed(following, caplog)
    with pytest.raises(SystemExit, match=r"has none\. Is the split empty\? Labels are in val and train: --split val\."):
        main(following[:2])
    with pytest.raises(SystemExit, match="Name another folder, or go on with: ") as told:
        main(training)
    assert printed(next_of(str(told.value)), caplog).partition(". ")[0].endswith("is finished")
    with pytest.raises(SystemExit, match=r"holds none\. Labels are in val and train: --split val\."):
        main(["evaluate", str(dataset / "val" / "drive1_bbox.npy"), str(dataset)])


def test_a_run_on_a_relative_dataset_is_scored_from_anywhere(training, dataset, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    training[training.index(str(dataset))] = dataset.name
    following = next_of(printed(training, caplog))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert f"The dataset is that of the training, {dataset}." in printed(following, caplog)
    dataset.rename(tmp_path / "moved")
    with pytest.raises(SystemExit, match=f"my data must be the folder of the dataset of .* nor is {dataset}") as told:
        main(following)
    words = [str(tmp_path / "moved") if word == "DATASET" else word for word in next_of(str(told.value))]
    assert "AP" in printed([*words, "--split", "val"], caplog)


def test_a_run_that_does_not_find_its_dataset_goes_on_from_where_it_was_started(
    training, dataset, tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    training[training.index(str(dataset))] = dataset.name
    printed(training, caplog)
    (tmp_path / "my run" / "training.json").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(
        SystemExit, match=r"there is no my data here\. It is meant from the folder in which the training"
    ):
        main(["train", "--resume", str(tmp_path / "my run")])
    monkeypatch.chdir(tmp_path)
    assert "Trained: " in printed(["train", "--resume", str(tmp_path / "my run")], caplog)


def test_imported_labels_are_audited_as_proposed(dataset, tmp_path, caplog):
    for split in ("train", "val"):
        (path,) = (dataset / split).glob("*.raw")
        path.with_suffix(".csv").write_text("t,x,y,w,h,class\n200000,1,1,20,20,car\n400000,1,1,20,20,car\n")
        path.with_name(f"{path.stem}_bbox.npy").unlink()
    words = ["import", str(dataset), str(dataset), "--from", "csv", "-o", str(tmp_path / "an import")]
    proposal = next_of(printed(words, caplog))
    with pytest.raises(SystemExit, match="an import must be free of errors"):  # the events are noise, without objects
        main(proposal)
    assert "Pictures of the worst cases" in caplog.text
