"""What README.md shows works: its Python runs, its commands parse."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
from jsonargparse import capture_parser

from seqdet.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LANGUAGES = {"python", "bash", "text", "yaml"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[int, str]]:
    """Line number and text of every fenced block in ``language``."""
    return [(README.count("\n", 0, b.start(2)), b[2]) for b in BLOCK.finditer(README) if b[1] == language]


def commands() -> list[str]:
    """What follows ``seqdet`` on every line of a shell block that starts with it."""
    text = "\n".join(text for _, text in blocks("bash")).replace("\\\n", " ")
    return re.findall(r"^\s*(?:\S+/)?seqdet (.*)$", text, re.MULTILINE)


def test_every_code_block_is_one_that_these_tests_read():
    assert {block[1] for block in BLOCK.finditer(README)} <= LANGUAGES
    assert README.count("```") == 2 * len(BLOCK.findall(README))


def test_the_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    examples = blocks("python")
    assert examples, "README.md must hold a Python example"
    monkeypatch.chdir(tmp_path)
    module = ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)
    for line, text in examples:
        exec(compile("\n" * line + text, ROOT / "README.md", "exec"), module.__dict__)


def test_the_readme_shows_commands():
    assert commands()


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_parses(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = shlex.split(command, comments=True)
    parser = capture_parser(main)
    if "--help" in arguments:
        with pytest.raises(SystemExit, match=r"^0$"):
            parser.parse_args(arguments)
    else:
        parser.parse_args(arguments)
