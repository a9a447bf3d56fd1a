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
from seqdet.loading import fitted_model

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tutorials" / "moving_digits.ipynb"
RECIPE = ROOT / "recipes" / "moving_digits.yaml"
PAGE = NOTEBOOK.with_suffix(".html").read_text(encoding="utf-8")
CODE = re.compile(r'<div class="highlight[^"]*"><pre>(.*?)</pre>', re.DOTALL)
FACTS = """
import sys
with torch.inference_mode():
    last = detector(video)[0].logits[-len(outputs.logits) :]
streams = {"is_same": is_same, "is_last_frame_same": torch.allclose(outputs.logits, last, atol=1e-3)}
found = {"AP": metrics["AP"], "memory": memory, **streams}
print(json.dumps({**found, "python": sys.executable, "files": sorted(path.name for path in run.iterdir())}))
"""
SMALL = {
    "base=12, channels=96": "base=2, channels=16",
    "frames_per_epoch=1600": "frames_per_epoch=80",
    "validation_frames=192, test_frames=480": "validation_frames=96, test_frames=96",
    "max_steps=600": "max_steps=10",
}
"""What makes the notebook run in seconds. A detector that has learnt so little finds nothing."""

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


def facts_of(notebook, folder):
    """What is so after the last cell of the notebook, which runs without a warning."""
    notebook.cells.append(new_code_cell(FACTS))
    done = SCRIPT["tidy"](SCRIPT["run"](notebook, folder))
    return json.loads(done.cells[-1].outputs[0].text)


def shrunk(notebook):
    """The notebook with ``SMALL`` settings."""
    for large, small in SMALL.items():
        (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and large in cell.source]
        assert cell.source.count(large) == 1
        cell.source = cell.source.replace(large, small)
    return notebook


def test_every_cell_of_the_tutorial_runs_without_a_warning_when_it_trains_little(tmp_path):
    facts = facts_of(shrunk(SCRIPT["read"](NOTEBOOK)), tmp_path)
    assert facts["python"] == sys.executable
    assert facts["is_same"]
    assert facts["is_last_frame_same"]
    assert facts["memory"].keys() >= {"every third lost, state carried", "every third lost, state reset"}
    assert {"config.yaml", "detector.safetensors", "metrics.json", "report.html", "demo.mp4"} <= set(facts["files"])
    assert (tmp_path / "digits.mp4").stat().st_size > 0


@pytest.mark.slow
def test_what_the_tutorial_says_comes_out(tmp_path):
    facts = facts_of(SCRIPT["read"](NOTEBOOK), tmp_path)
    memory = facts["memory"]
    assert facts["AP"] > 0.5
    assert facts["is_same"]
    assert memory["every third lost, state carried"] > memory["every third lost, state reset"] + 0.02
    assert read_config(tmp_path / "runs" / "tutorial" / "config.yaml").model == fitted_model(
        read_config(RECIPE).model, tuple("0123456789"), 3
    )
