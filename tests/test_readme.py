"""What README.md and the guides show works: their Python runs, their commands parse."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
from jsonargparse import capture_parser

from seqdet.cli import main
from seqdet.cli.parser import spelt

ROOT = Path(__file__).parents[1]
NAMES = ("README.md", "docs/recordings.md", "docs/datasets.md", "docs/labels.md", "docs/running.md")
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
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


@pytest.mark.parametrize("page", PAGES)
def test_every_code_block_is_one_that_these_tests_read(page):
    found = BLOCK.findall(PAGES[page])
    assert {language for language, _ in found} <= LANGUAGES
    assert PAGES[page].count("```") == 2 * len(found)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_blocks_run_one_after_the_other(page, tmp_path, monkeypatch):
    examples = blocks(page, "python")
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for line, text in examples:
        exec(compile("\n" * line + text, ROOT / page, "exec"), module.__dict__)


def test_the_pages_show_commands():
    assert commands()
    assert len(TABLED.findall(PAGES["README.md"])) >= 15


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_pages_parses(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = spelt(shlex.split(command, comments=True))
    parser = capture_parser(main)
    if {"--help", "--help-all"} & {*arguments}:
        with pytest.raises(SystemExit, match=r"^0$"):
            parser.parse_args(arguments)
    else:
        parser.parse_args(arguments)
