from pathlib import Path

import pytest
import yaml

from seqdet.cli import main
from seqdet.config import RunConfig
from seqdet.config_files import read_config, to_yaml

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "--train.max_step", "4"], "--train.max_step"),
        (["train", "--train.max_steps", "0"], "max_steps must be at least 1, got 0"),
        (["train", "--data.clip_length", "5"], "frames_per_video must be a multiple of clip_length"),
        (["train", "--model.cell", "rnn"], "cell"),
        (["train", "--model.name", "resnet", "--out", "{tmp}/run"], "model.name must be one of vanilla; got 'resnet'"),
        (["train", "--config", "{tmp}/none.yaml"], "none.yaml"),
        (["train", "--resume", "{tmp}"], "must be the folder of a run"),
        (["train", "--resume", "{tmp}", "--train.lr", "1"], "--resume must be the only option"),
        (["evaluate", "{tmp}"], "must be the folder of a run"),
        (["evaluate"], "run"),
        (["tran"], "tran"),
    ],
)
def test_a_wrong_command_line_ends_in_a_sentence_and_no_traceback(args, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([arg.format(tmp=tmp_path) for arg in args])
    assert stop.value.code != 0
    text = f"{stop.value.code}{capsys.readouterr().err}"
    assert words in text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_key_in_a_recipe_is_named(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train:\n  max_stepz: 3\n")
    with pytest.raises(SystemExit):
        main(["train", "--config", str(recipe), "--out", str(tmp_path / "run")])
    assert "max_stepz" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_is_a_configuration_that_states_its_score_its_time_and_its_command(recipe):
    assert isinstance(read_config(recipe), RunConfig)
    head = " ".join(line[1:] for line in recipe.read_text().splitlines() if line.startswith("#"))
    for words in ("AP", "minutes", f"seqdet train --config recipes/{recipe.name}"):
        assert words in head


def test_a_written_configuration_is_a_recipe(tmp_path, capsys):
    recipe = tmp_path / "config.yaml"
    recipe.write_text(to_yaml(RunConfig()))
    with pytest.raises(SystemExit) as stop:
        main(["train", "--config", str(recipe), "--print_config"])
    assert stop.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert {name: printed[name] for name in ("data", "model", "train")} == yaml.safe_load(recipe.read_text())
