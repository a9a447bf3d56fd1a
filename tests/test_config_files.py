from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.config import DataConfig, DigitsConfig, RunConfig, TrainConfig, VanillaConfig
from seqdet.config_files import check_setting, from_dict, read_config, to_dict, to_yaml, write_config
from seqdet.importing.files import read_names

POSITIVE = st.floats(1e-12, 1e12)
DIGITS = st.builds(
    DigitsConfig,
    height=st.integers(1, 2000),
    digit_heights=st.tuples(st.floats(4, 20), st.floats(40, 1e3)),
    max_speed=st.floats(0, 1e6),
    folder=st.none() | st.text().map(Path),
)
CONFIGS = st.builds(
    RunConfig,
    data=st.builds(DataConfig, lanes=st.integers(1, 99), seed=st.integers(0, 2**63), digits=DIGITS),
    model=st.builds(
        VanillaConfig,
        classes=st.lists(st.text(), min_size=1, unique=True).map(tuple),
        cell=st.sampled_from(["lstm", "gru"]),
        box_weight=POSITIVE,
    ),
    train=st.builds(TrainConfig, lr=POSITIVE, channels_last=st.booleans(), warmup_steps=st.integers(0, 10**9)),
)

SCHEDULES = "constant, cosine, exponential, one_cycle"


@settings(max_examples=20)
@given(config=CONFIGS)
def test_a_configuration_reads_back_from_yaml_and_json(tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    write_config(config, path)
    assert read_config(path) == config
    assert path.read_text(encoding="utf-8") == "# seqdet run 1\n" + to_yaml(config)
    assert from_dict(RunConfig, json.loads(json.dumps(to_dict(config))), name="config") == config


def read(tmp_path: Path, content: str | bytes) -> RunConfig:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_config(path)


def test_settings_that_are_not_given_keep_their_defaults(tmp_path):
    assert read(tmp_path, "train: {max_steps: 7}") == RunConfig(train=TrainConfig(max_steps=7))
    assert read(tmp_path, "{}") == RunConfig()


def test_a_table_may_be_merged_into_another(tmp_path):
    train = read(tmp_path, "train:\n  <<: {lr: 1, seed: 2}\n  lr: 3").train
    assert (train.lr, train.seed) == (3.0, 2)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("train.lr", "fast", r"^train\.lr must be a number, got 'fast'\.$"),
        ("train.lr", "[fast", r"^train\.lr must be a number, got '\[fast'\.$"),
        ("data.digits.height", "1.5", r"^data\.digits\.height must be a whole number, got 1\.5\.$"),
        ("model", "3", r"^model must be a table of settings, got 3\.$"),
    ],
)
def test_a_single_setting_is_checked_under_its_name(name, text, words):
    with pytest.raises(InputError, match=words):
        check_setting(name, text)


def test_a_single_setting_that_fits_passes():
    check_setting("train.lr", "1e-3")
    check_setting("data.digits.digit_heights", "[24, 60]")


def test_a_configuration_of_another_version_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"recipe\.yaml must be of version 1, got 2\. A newer seqdet wrote it\."):
        read(tmp_path, "# seqdet run 2\ntrain: {max_steps: 7}")


def test_numbers_in_a_table_are_taken_in_every_way_too(tmp_path):
    (tmp_path / "recipe.yaml").write_text("train: {lr_factors: {backbone: 1e-1, backbone.stem: 2, head: 0.5}}")
    factors = read_config(tmp_path / "recipe.yaml").train.lr_factors
    assert factors == {"backbone": 0.1, "backbone.stem": 2.0, "head": 0.5}


@pytest.mark.parametrize(("number", "value"), [("1e-3", 1e-3), ("1.0e-3", 1e-3), ("'0.5'", 0.5), ("2", 2.0)])
def test_every_way_to_write_a_number_is_taken_for_it(tmp_path, number, value):
    lr = read(tmp_path, f"train: {{lr: {number}}}").train.lr
    assert lr == value
    assert type(lr) is float


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "train: {learning_rate: 1}",
            "recipe.yaml.train has no setting 'learning_rate'. The settings are accumulate, ",
        ),
        ("trian: {lr: 1}", "recipe.yaml has no setting 'trian'. The settings are data, model, train."),
        ("trian: {lr: 1}", "Did you mean train?"),
        ("train: {lr: 1, seed: 2, lr: 1}", "cannot be read as a configuration: lr is given twice, again in line 1."),
        ("train: {}\nmodel: {}\ntrain: {}", "a configuration: train is given twice, again in line 3."),
        ("[" * 2000, "recipe.yaml cannot be read as a configuration: "),
        ("{1: 2, trian: 3}", "recipe.yaml has no setting 1. The settings are data, model, train."),
        ("data: {digits: {hight: 1}}", "recipe.yaml.data.digits has no setting 'hight'. The settings are delta_t_us, "),
        ("train: {lr: fast}", "recipe.yaml.train.lr must be a number, got 'fast'."),
        ("train: {lr: true}", "recipe.yaml.train.lr must be a number, got True."),
        ("train: {lr: [1]}", "recipe.yaml.train.lr must be a number, got [1]."),
        ("train: {lr: }", "recipe.yaml.train.lr must be a number, got None."),
        ("train: {lr: .inf}", "recipe.yaml.train.lr must be a finite number, got inf."),
        ("train: {lr: -1}", "recipe.yaml.train.lr must be positive, got -1.0."),
        ("train: {lr: .nan}", "recipe.yaml.train.lr must be a finite number, got nan."),
        ("train: {max_steps: 1.0}", "recipe.yaml.train.max_steps must be a whole number, got 1.0."),
        ("train: {max_steps: true}", "recipe.yaml.train.max_steps must be a whole number, got True."),
        ("train: {max_steps: '7'}", "recipe.yaml.train.max_steps must be a whole number, got '7'."),
        ("train: {max_steps: 0}", "recipe.yaml.train.max_steps must be at least 1, got 0."),
        ("train: {channels_last: 1}", "recipe.yaml.train.channels_last must be true or false, got 1."),
        ("train: {schedule: cosin}", f"train.schedule must be one of {SCHEDULES}; got 'cosin'."),
        ("train: {schedule: [cosine]}", f"train.schedule must be one of {SCHEDULES}; got ['cosine']."),
        ("model: {cell: 1}", "recipe.yaml.model.cell must be one of gru, lstm, mingru, separable; got 1."),
        ("model: {name: 1}", "recipe.yaml.model.name must be text, got 1."),
        ("model: {classes: car}", "recipe.yaml.model.classes must be a list, got 'car'."),
        ("model: {classes: [0, 1]}", "recipe.yaml.model.classes must be text, got 0."),
        ("model: {classes: [a, a]}", "recipe.yaml.model.classes must be different names, got ('a', 'a')."),
        ("data: {digits: {digit_heights: 24}}", "data.digits.digit_heights must be a list of 2 values, got 24."),
        ("data: {digits: {digit_heights: [1, 2, 3]}}", "digit_heights must be a list of 2 values, got [1, 2, 3]."),
        ("data: {digits: {digit_heights: [a, b]}}", "data.digits.digit_heights must be a number, got 'a'."),
        ("data: {digits: {digit_heights: [60, 24]}}", "data.digits.digit_heights must be two rising numbers"),
        ("data: {digits: {folder: 3}}", "recipe.yaml.data.digits.folder must be a path, got 3."),
        ("data: {digits: 3}", "recipe.yaml.data.digits must be a table of settings, got 3."),
        ("data: ", "recipe.yaml.data must be a table of settings, got None."),
        ("", "recipe.yaml must be a table of settings, got None."),
        ("- 1", "recipe.yaml must be a table of settings, got [1]."),
        ("data: {", "recipe.yaml cannot be read as a configuration: while parsing"),
        ("data: 2020-13-45", "recipe.yaml cannot be read as a configuration: month must be in 1..12"),
        ("data: !!python/object:os.system {}", "recipe.yaml cannot be read as a configuration: could not determine"),
        (b"data: \xff", "recipe.yaml cannot be read as a configuration: 'utf-8' codec can't decode"),
        (b"data: \x00", "recipe.yaml cannot be read as a configuration: unacceptable character"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence_that_names_the_place(tmp_path, content, words):
    with pytest.raises(InputError) as refusal:
        read(tmp_path, content)
    message = str(refusal.value)
    assert words in message
    assert "\n" not in message
    assert message.startswith(str(tmp_path / "recipe.yaml"))


BOMB = "&x0 [l,l,l,l,l,l,l,l,l]" + "".join(f", &x{n} [{','.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 10))


@pytest.mark.parametrize("text", [f"data:\n  lanes: [{BOMB}]\n", "data: &a\n  lanes: [*a]\n"])
def test_what_aliases_blow_up_is_refused_before_it_takes_memory(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(InputError, match=r"recipe.yaml cannot be read as a configuration: aliases make more than"):
        read_config(tmp_path / "recipe.yaml")
    (tmp_path / "data.yaml").write_text(f"names: [{BOMB}]\n")
    with pytest.raises(InputError, match=r"data.yaml must have names of the classes from 0 on"):
        read_names(tmp_path / "data.yaml")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"missing\.yaml cannot be read as a configuration: .*No such file"):
        read_config(tmp_path / "missing.yaml")
    with pytest.raises(InputError, match=r"cannot be read as a configuration: .*Is a directory"):
        read_config(tmp_path)
