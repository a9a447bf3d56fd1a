"""How options are written, and how messages quote them."""

import inspect
import re
from dataclasses import is_dataclass

import pytest

from seqdet.checks import InputError
from seqdet.cli.options import flat, list_entries, options_of, quoting
from seqdet.cli.parser import COMMANDS, FIRST, functions, spelt
from seqdet.config import TensorConfig

EVERY = {command: options_of(functions(command)) for command in COMMANDS}
LISTS = [(command, name) for command, options in EVERY.items() for name in options if list_entries(options[name])]


def typed(option, value):
    """The words for an option, as people type them."""
    return [option if "." in option else option.replace("_", "-"), value]


@pytest.mark.parametrize(("command", "option"), LISTS)
def test_every_list_is_written_with_commas_or_as_in_a_configuration(command, option):
    entries = list_entries(EVERY[command][option])
    values = ["car", "two wheeler"] if entries[0] is str else ["1", "2", "3", "4"][: len(entries)]
    plain, bracketed = ",".join(values), f"[{', '.join(values)}]"
    read = spelt([command, *typed(option, plain)])[-1]
    assert read == ('["car", "two wheeler"]' if entries[0] is str else f"[{plain}]")
    assert spelt([command, f"{option}={plain}"])[-1] == f"{option}={read}"
    assert spelt([command, *typed(option, bracketed)])[-1] == bracketed


def test_names_of_classes_that_look_like_numbers_are_names(capsys):
    from seqdet.cli import main

    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", "--model.classes", "1,2,yes", "--data.digits.training_digits", "3,5", "--print_config"])
    said = capsys.readouterr().out
    assert "classes:\n  - '1'\n  - '2'\n  - 'yes'\n" in said
    assert "training_digits:\n    - 3\n    - 5\n" in said


@pytest.mark.parametrize(
    ("command", "said", "wanted"),
    [
        ("inspect a --size-hw 0,640", "size_hw must be from 1, got (0, 640).", "--size-hw must be from 1, got 0,640."),
        ("inspect a --size-hw=[0,640]", "size_hw must be, got (0, 640).", "--size-hw must be, got [0,640]."),
        ("inspect a", "a must state the size. Give size_hw.", "a must state the size. Give --size-hw."),
        ("inspect size_hw", "size_hw.npy must be a recording.", "size_hw.npy must be a recording."),
        ("inspect x/size_hw/a", "x/size_hw/a must be a recording.", "x/size_hw/a must be a recording."),
        ("convert a b --roi 4,4,2,2", "roi must rise, got (4, 4, 2, 2).", "--roi must rise, got 4,4,2,2."),
        ("convert a b", "roi must rise.", "roi must rise."),
        ("convert a b --duration 0", "duration_us must be at least 1, got 0.", "--duration must be at least 1, got 0."),
        ("predict a b --step-us 5 --count 3", "step_us and count must not both be given, got 5 and 3.",
         "--step-us and --count must not both be given, got 5 and 3."),
        ("import a b --from csv2", "source must be one of csv; got 'csv2'.", "--from must be one of csv; got 'csv2'."),
        ("import a b --keep bus --classes car", "classes must be among car; got 'bus'.",
         "classes must be among car; got 'bus'."),
        ("import a b --classes bus,car", "classes must be among x; got 'bus'.",
         "--classes must be among x; got 'bus'."),
        ("train --train.lr 1e400", "train.lr must be finite, got inf.", "--train.lr must be finite, got 1e400."),
        ("train --train.lr 1e-9", "lr must be larger, got 1e-09.", "--train.lr must be larger, got 1e-9."),
        ("train --data.dataset.classes a --model.classes b", "classes must be among b, c; got 'a'.",
         "--data.dataset.classes must be among b, c; got 'a'."),
        ("train --config c.yaml", "c.yaml.train.lr must be positive, got 0.",
         "c.yaml.train.lr must be positive, got 0."),
        ("train --config c.yaml", "to_hw must be at most the sensor.", "to_hw must be at most the sensor."),
    ],
)  # fmt: skip
def test_a_message_has_names_and_values_as_they_were_typed(command, said, wanted):
    args = command.split()
    assert quoting(said, args, EVERY[args[0]]) == wanted


def test_what_was_typed_wrong_is_quoted_as_it_was_typed(tmp_path, capsys):
    from seqdet.cli import main

    for value, sentence in {
        "480x640": "--size-hw must be a list of 2 values, got 480x640. Entries of a list stand between commas, as in",
        "480": "--size-hw must be a list of 2 values, got 480. Entries of a list stand between commas, as in 480,640.",
        "4,b": "--size-hw must be a whole number, got 'b'.",
    }.items():
        with pytest.raises(SystemExit) as stop:
            main(["inspect", str(tmp_path / "a.raw"), "--size-hw", value])
        assert stop.value.code == 2
        assert capsys.readouterr().err.startswith(f"seqdet: error: {sentence}")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_options_and_lists_as_the_guides_write_them(command, capsys):
    from seqdet.cli import main

    words = [command, "digits", "--help"] if command == "simulate" else [command, "--help"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(words)
    said = capsys.readouterr().out
    assert "[ITEM" not in said
    assert "tuple" not in said
    assert not re.findall(r"--[a-z]+_[a-z_]+(?![\w.])", said)


def test_an_error_of_the_library_speaks_of_its_own_arguments(tmp_path):
    from seqdet.events.files import open_recording

    path = tmp_path / "a.csv"
    path.write_text("t,x,y,p\n1,1,1,1\n")
    with pytest.raises(InputError, match=r"^size_hw must be from 1"):
        open_recording(path, size_hw=(0, 640))


def shown(words, capsys):
    from seqdet.cli import main

    with pytest.raises(SystemExit, match=r"^0$"):
        main(words)
    return capsys.readouterr().out


def test_the_help_of_train_shows_what_people_use_first_and_all_when_asked(capsys):
    first, whole = (shown(["train", option], capsys) for option in ("--help", "--help-all"))
    begins = re.compile(r"^  (?:-\w(?: \w+)?, )?(--[\w.-]+)", re.MULTILINE)
    of_first, of_whole = ({name.replace("-", "_") for name in begins.findall(said)} for said in (first, whole))
    assert of_first - {"__allow", "__recipe"} == {name.replace("-", "_") for name in FIRST}
    assert not any("digits" in name for name in of_first)
    settings = {name.replace("-", "_") for name, hint in EVERY["train"].items() if not is_dataclass(hint)}
    assert settings <= of_whole


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "train"])
def test_every_option_says_what_it_means_and_whether_it_is_required(command, capsys):
    words = [command, "digits", "--help"] if command == "simulate" else [command, "--help"]
    said = " ".join(shown(words, capsys).partition("\noptions:")[2].split())
    for name in EVERY[command]:
        if "." in name or (command == "simulate" and name in ("--fps", "--source", "--overwrite")):
            continue
        option = {"--source": "--from"}.get(name, name.replace("_", "-"))
        assert not re.search(rf"{option} \S+ \((required|type)", said), name
    assert ("-o OUT, --out OUT" in said) == ("--out" in EVERY[command] and command != "train")
    may_be_left_out = command in ("diagnose", "predict")  # a page has its place in the run, lines need no folder
    assert "-o OUT, --out OUT" not in said or may_be_left_out or re.search(r"--out OUT [^(]*\(required", said)


def test_the_fields_of_a_dataclass_are_options_with_its_own_defaults():
    taken = []

    def command(paths: list[str], tensor: TensorConfig, *, workers: int = 1) -> None:
        taken.append((paths, tensor, workers))

    as_options = flat(command)
    signature = inspect.signature(as_options).parameters
    assert {name: signature[name].default for name in ("tensor", "window_us", "downscale", "align")} == {
        "tensor": TensorConfig().representation,
        "window_us": TensorConfig().window_us,
        "downscale": TensorConfig().downscale,
        "align": TensorConfig().align,
    }
    given = {name: each.default for name, each in signature.items() if name != "paths"}
    as_options(paths=["a"], **given | {"tensor": "event_cube", "window_us": 7})
    assert taken == [(["a"], TensorConfig("event_cube", window_us=7), 1)]
