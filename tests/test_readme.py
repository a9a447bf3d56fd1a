"""What README.md and the guides show works: their Python runs, their commands parse."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from jsonargparse import capture_parser

from seqdet.allowing import ALLOWED
from seqdet.cli import main
from seqdet.cli.parser import spelt

ROOT = Path(__file__).parents[1]
NAMES = (
    "README.md",
    "docs/recordings.md",
    "docs/datasets.md",
    "docs/labels.md",
    "docs/running.md",
    "docs/models.md",
    "docs/training.md",
)
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
LANGUAGES = {"python", "bash", "text", "yaml", ""}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLED = re.compile(r"^\| [^|`]+ \| `seqdet ([^`]*)` \|", re.MULTILINE)


def blocks(page: str, language: str) -> list[tuple[int, str]]:
    """Line number and text of every fenced block in ``language``."""
    text = PAGES[page]
    return [(text.count("\n", 0, b.start(2)), b[2]) for b in BLOCK.finditer(text) if b[1] == language]


def commands() -> list[str]:
    """What follows ``seqdet`` on every line of a shell block that starts with it, and in the table of commands."""
    text = "\n".join(text for page in PAGES for _, text in blocks(page, "bash")).replace("\\\n", " ")
    in_table = [command for page in PAGES.values() for command in TABLED.findall(page)]
    return [*re.findall(r"^\s*(?:\S+/)?seqdet (.*)$", text, re.MULTILINE), *in_table]


@pytest.fixture
def beside_the_examples(tmp_path, monkeypatch) -> None:
    """A current folder in which the files are that the pages show."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ALLOWED, "[]")
    for example in EXAMPLES:
        shutil.copy(example, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_every_code_block_is_one_that_these_tests_read(page):
    found = BLOCK.findall(PAGES[page])
    assert {language for language, _ in found} <= LANGUAGES
    assert PAGES[page].count("```") == 2 * len(found)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
@pytest.mark.usefixtures("beside_the_examples")
def test_the_python_blocks_run_one_after_the_other(page, monkeypatch):
    examples = blocks(page, "python")
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for line, text in examples:
        exec(compile("\n" * line + text, ROOT / page, "exec"), module.__dict__)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_stands_on_a_page_as_it_is_in_its_file(example):
    text = example.read_text(encoding="utf-8")
    assert any(text == block for page in PAGES for _, block in blocks(page, "python"))


def test_the_pages_show_commands():
    assert commands()
    assert len(TABLED.findall(PAGES["README.md"])) >= 15


@pytest.mark.parametrize("command", commands())
@pytest.mark.usefixtures("beside_the_examples")
def test_a_command_of_the_pages_parses(command, monkeypatch):
    words = shlex.split(command, comments=True)
    monkeypatch.setattr(sys, "argv", ["seqdet", *words])  # the options are those of the detector that it names
    arguments = spelt(words)
    parser = capture_parser(main)
    if {"--help", "--help-all"} & {*arguments}:
        with pytest.raises(SystemExit, match=r"^0$"):
            parser.parse_args(arguments)
    else:
        parser.parse_args(arguments)
