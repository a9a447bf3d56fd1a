"""The tutorial runs from top to bottom, what it says comes out, and its page shows the notebook as it is."""

from __future__ import annotations

import json
import re
import runpy
import sys
from html import unescape
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell

from seqdet.config_files import read_config

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tutorials" / "moving_digits.ipynb"
RECIPE = ROOT / "recipes" / "moving_digits.yaml"
PAGE = NOTEBOOK.with_suffix(".html").read_text(encoding="utf-8")
CODE = re.compile(r'<div class="highlight[^"]*"><pre>(.*?)</pre>', re.DOTALL)
FACTS = """
import sys
print(json.dumps({"AP": metrics["AP"], "is_same": is_same, "memory": memory, "python": sys.executable}))
"""

SCRIPT = runpy.run_path(str(ROOT / "scripts" / "render_tutorial.py"))


@pytest.fixture(scope="module")
def cells():
    return [cell for cell in SCRIPT["read"](NOTEBOOK).cells if cell.cell_type == "code"]


def test_the_page_shows_the_code_of_the_notebook(cells):
    shown = [unescape(re.sub("<[^>]*>", "", block)).strip() for block in CODE.findall(PAGE)]
    assert shown == [cell.source for cell in cells]


def test_the_page_shows_the_pictures_of_the_notebook(cells):
    data = [output.get("data", {}) for cell in cells for output in cell.outputs]
    pictures = [entry["image/png"] for entry in data if "image/png" in entry]
    assert len(pictures) >= 8
    assert all(picture.replace("\n", "") in PAGE.replace("\n", "") for picture in pictures)


def test_the_notebook_holds_one_run_from_top_to_bottom(cells):
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_the_page_needs_no_server():
    assert not re.search(r"<script|<link|(src|href)=.https?:|url\(", PAGE)


def test_the_tutorial_runs_without_a_warning_and_what_it_says_comes_out(tmp_path):
    notebook = SCRIPT["read"](NOTEBOOK)
    notebook.cells.append(new_code_cell(FACTS))
    done = SCRIPT["tidy"](SCRIPT["run"](notebook, tmp_path))
    facts = json.loads(done.cells[-1].outputs[0].text)
    memory = facts["memory"]
    assert facts["python"] == sys.executable
    assert facts["AP"] > 0.5
    assert facts["is_same"]
    assert memory["every third lost, state carried"] > memory["every third lost, state reset"] + 0.02
    assert read_config(tmp_path / "runs" / "tutorial" / "config.yaml").model == read_config(RECIPE).model
