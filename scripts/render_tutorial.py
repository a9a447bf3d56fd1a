"""Run the tutorial, keep in the notebook what its cells show, and write it as a page that needs no other file.

python scripts/render_tutorial.py
"""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorials" / "moving_digits.ipynb"
LARGEST_BYTES = 3_000_000
"""Of notebook and page together."""
PATIENCE_S = 600
"""For the kernel to start and its outputs to come, on a machine that has other work."""
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
IGNORED_WARNING = "ignore:`isinstance(treespec:FutureWarning"
"""Lightning 2.6 builds torch's pytree leaves by a constructor that torch 2.15 deprecates."""
STYLE = """
body { max-width: 1080px; margin: 0 auto; padding: 32px 20px 80px; color: #16191d; background: #fff;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; margin: 8px 0 16px; }
h2 { font-size: 21px; margin: 48px 0 8px; }
p { margin: 14px 0 10px; }
p, ul { max-width: 820px; }
a { color: #2166c4; }
code, pre { font: 13.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
p code, li code, td code { background: #f1f3f6; padding: 1px 4px; border-radius: 4px; }
pre { margin: 0; overflow-x: auto; }
.highlight { background: #f6f7f9; border: 1px solid #e3e7ec; border-radius: 6px; padding: 10px 14px; }
.code_cell { margin: 14px 0; }
.output { margin: 8px 0 0; }
.output_text pre { color: #444b54; padding: 2px 15px; white-space: pre-wrap; }
img, video { display: block; max-width: 100%; height: auto; border-radius: 6px; }
.prompt, .anchor-link { display: none; }
"""


def read(path: Path) -> NotebookNode:
    """The notebook in ``path``."""
    return nbformat.read(path, as_version=4)


def run(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """The notebook after all of its cells ran, one after the other, in ``folder``; a cell that fails raises."""
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        startup_timeout=PATIENCE_S,
        iopub_timeout=PATIENCE_S,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute(env={**os.environ, "PYTHONWARNINGS": IGNORED_WARNING})


def tidy(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what differs from run to run or does not belong on a page.

    Raises:
        RuntimeError: if a cell warned.
    """
    notebook.metadata = NotebookNode(METADATA)
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = re.sub(r"[^\n]*\r", "", output.text).strip()  # of a progress bar its last state
                if output.text and output.name == "stderr":
                    raise RuntimeError(f"A cell must run without a warning, got: {output.text}")
            else:
                output.data.pop("image/jpeg", None)  # the same picture as the PNG
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.output_type != "stream" or output.text]
    return notebook


def page(notebook: NotebookNode) -> str:
    """The notebook as HTML without scripts or references to other servers."""
    body, resources = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    title = escape(notebook.cells[0].source.partition("\n")[0].removeprefix("# "))
    styles = "".join(f"<style>{style}</style>" for style in (*resources["inlining"]["css"], STYLE))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>{styles}</head><body>{body}</body></html>\n"
    )


def main() -> None:
    with TemporaryDirectory() as folder:
        notebook = tidy(run(read(NOTEBOOK), Path(folder)))
    text, html = nbformat.writes(notebook) + "\n", page(notebook)
    if (size := len(text) + len(html)) > LARGEST_BYTES:
        raise RuntimeError(f"Notebook and page must stay below {LARGEST_BYTES} bytes, got {size}.")
    NOTEBOOK.write_text(text, encoding="utf-8")
    NOTEBOOK.with_suffix(".html").write_text(html, encoding="utf-8")
    print(f"{NOTEBOOK} and its page: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
