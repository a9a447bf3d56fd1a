"""The project as a whole: who imports whom, what the command line loads, what the wheel holds."""

from __future__ import annotations

import argparse
import re
import runpy
import subprocess
import sys
import zipfile
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

import seqdet
from seqdet.cli.options import options_of
from seqdet.cli.parser import functions
from seqdet.config_files import recipes

ROOT = Path(__file__).parents[1]

HELP = """
import sys
from seqdet.cli import main
try:
    main({args})
finally:
    print("loaded:", *sorted({{"torch", "torchvision", "lightning", "numba"}} & set(sys.modules)))
"""


def test_imports_keep_to_the_contracts():
    check = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)  # elsewhere, as it silences loggers


@pytest.mark.parametrize("command", ["", "train", "evaluate", "predict", "benchmark", "models", "diagnose"])
def test_help_waits_for_no_large_library(command):
    script = HELP.format(args=[*command.split(), "--help"])
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("usage: seqdet")
    assert answer.stdout.splitlines()[-1] == "loaded:"


def test_the_public_names_are_shown_before_they_are_loaded():
    script = "import sys, seqdet; print(*dir(seqdet)); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names, has_loaded = answer.stdout.splitlines()
    assert set(names.split()) == {*seqdet.__all__, "__version__"}
    assert has_loaded == "False"
    assert {name: getattr(seqdet, name).__name__ for name in seqdet.__all__} == {name: name for name in seqdet.__all__}


CHOICES = [
    ("train", "--model.cell", "models.cells.CELLS"),
    ("train", "--model.anchors", "models.single_shot.ANCHORS"),
    ("train", "--model.activation", "models.single_shot.CLASS_LOSSES"),
    ("train", "--model.box_loss", "models.single_shot.BOX_LOSSES"),
    ("train", "--train.optimizer", "training.optimizers.OPTIMIZERS"),
    ("predict", "--tracker", "inference.tracking.TRACKERS"),
    ("inspect", "--palette", "viz.images.PALETTES"),
    ("inspect", "--time_unit", "events.time_units.IN_US"),
    ("convert", "--encoding", "events.formats.ENCODINGS"),
    ("convert", "--compression", "events.hdf5.COMPRESSIONS"),
    ("precompute", "--layout", "data.layouts.LAYOUTS"),
    ("import", "--source", "importing.options.READERS"),
    ("import-weights", "--input", "models.published.DATASETS"),
]
"""Choices that stand twice: as the type of an option, which help shows without what takes long to import, and in the
dictionary in which the library looks them up."""


@pytest.mark.parametrize(("command", "option", "place"), CHOICES, ids=lambda word: word.lstrip("-"))
def test_an_option_offers_what_the_library_has(command, option, place):
    hint = options_of(functions(command))[option]
    offered = next(get_args(each) for each in (hint, *get_args(hint)) if get_origin(each) is Literal)
    module, _, name = place.rpartition(".")
    assert sorted(offered) == sorted(getattr(import_module(f"seqdet.{module}"), name))


def parts(kind: type) -> set[type]:
    """A configuration and all that it is made of."""
    inner = [hint for hint in get_type_hints(kind).values() if is_dataclass(hint) and isinstance(hint, type)]
    return {kind}.union(*map(parts, inner))


def test_whatever_a_public_configuration_is_made_of_is_public():
    assert {kind.__name__ for kind in parts(seqdet.DataConfig)} <= set(seqdet.__all__)


@pytest.mark.parametrize("module", ["seqdet", "seqdet.cli"])
def test_the_command_runs_as_a_module(module):
    def answer(*words: str) -> tuple[int, str, str]:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert answer("-m", module, "--version") == (0, f"seqdet {seqdet.__version__}\n", "")
    assert answer("-m", module, "tran")[0] == 2


class Parsed(Exception):
    """A script has understood its arguments."""


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_needs_no_arguments(script, monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self):
        raise Parsed(parse(self))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.syspath_prepend(script.parent)
    with pytest.raises(Parsed):
        runpy.run_path(str(script), run_name="__main__")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_has_the_version_of_the_source(wheel):
    assert wheel.name == f"seqdet-{seqdet.__version__}-py3-none-any.whl"


def test_the_wheel_holds_the_digits_with_their_notice_and_the_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {f"seqdet/digits/packaged/{name}" for name in ("mnist_subset.npz", "README.md")}
    assert {"seqdet/py.typed", *packaged} <= names


def test_the_wheel_holds_the_recipes(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"seqdet/recipes/{name}.yaml" for name in recipes()} <= names
    assert len(recipes()) == len([name for name in names if name.endswith(".yaml")]) > 0


def test_the_wheel_holds_the_templates_of_the_pages(wheel):
    templates = {path.name for path in (ROOT / "src/seqdet/viz/templates").iterdir()}
    assert {"page.html", "page.css"} <= templates
    assert {f"seqdet/viz/templates/{name}" for name in templates} <= set(zipfile.ZipFile(wheel).namelist())


def test_recipes_are_found_where_they_were_before():
    assert {path.resolve() for path in (ROOT / "recipes").iterdir()} == {*recipes().values()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    folders = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert folders == {"seqdet", f"seqdet-{seqdet.__version__}.dist-info"}


def test_the_page_for_contributors_names_files_that_are_there():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page[page.index("## Where does what go") : page.index("## Conventions")]
    named = set(re.findall(r"`([a-z_0-9/]+\.py)`", table))
    missing = {
        name for name in named if not list((ROOT / "src" / "seqdet").rglob(name)) and not (ROOT / name).is_file()
    }
    assert not missing
    assert len(named) > 10
