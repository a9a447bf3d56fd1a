"""The page of an audit: what was found in a dataset, with pictures of the worst cases."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

from ..data.audit import Audit
from ..data.audit_findings import SEVERITIES, Finding
from ..files import write_text
from ..progress import progress
from .audit_pictures import case_picture
from .elements import data_address

STYLE = """
.error { --mark: #c4302b; } .warning { --mark: #b97a00; } .note { --mark: var(--muted); }
h2 .mark { display: inline-block; min-width: 76px; margin-right: 10px; padding: 1px 9px; border-radius: 999px;
  color: #fff; background: var(--mark); font-size: 13px; text-align: center; vertical-align: 2px; }
.tiles .error dd, .tiles .warning dd { color: var(--mark); }
section ul { margin: 0 0 14px; padding: 10px 16px 10px 32px; }
.splits { padding: 8px 16px 12px; margin-top: 22px; }
"""
MARK = '<meta name="generator" content="seqdet audit">'
"""What tells such a page from another."""
PLURALS: dict[str, str] = {"error": "Errors", "warning": "Warnings", "note": "Notes"}
MEANINGS: dict[str, str] = {"error": "mend these", "warning": "look at these", "note": "good to know"}
LEGEND = (
    "Events of the window before the label, brighter ones pale, darker ones blue. The box in question is dashed in "
    "white, the others of that time are dotted in grey; what lies beyond the sensor is brown."
)


def write_audit_page(path: Path, audit: Audit) -> None:
    """Write what an audit found as one HTML file that needs no other file and no network.

    Raises:
        InputError: if the file cannot be written; what was there stays.
    """
    write_text(path, render_audit(audit))


def is_audit_page(path: Path) -> bool:
    """Whether a file is such a page, which the next one may replace."""
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(1000)
    except OSError:
        return False


def render_audit(audit: Audit) -> str:
    """The page as HTML. Reads the recordings of the worst cases again; one that has gone has no picture."""
    shown = progress(audit.findings, "pictures", unit="finding")
    sections = [_section(finding, audit) for finding in shown]
    style = files("seqdet.viz").joinpath("report.css").read_text(encoding="utf-8") + STYLE
    title = escape(f"Audit of {audit.folder.resolve().name}")
    summary = escape(f"{audit.folder}. Windows of {audit.limits.window_us / 1000:g} ms. {LEGEND}")
    body = "".join(sections) or "<p>Nothing was found.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{MARK}'
        f"<title>{title}</title><style>{style}</style></head><body><header><h1>{title}</h1><p>{summary}</p></header>"
        f"<main>{_tiles(audit)}{_splits(audit)}{body}</main></body></html>\n"
    )


def _tiles(audit: Audit) -> str:
    counts = {severity: sum(each.severity == severity for each in audit.findings) for severity in SEVERITIES}
    tiles = [
        f'<div class="card{f" {severity}" if count else ""}"><dt>{PLURALS[severity]}</dt>'
        f"<dd>{count}<small>kinds; {MEANINGS[severity]}</small></dd></div>"
        for severity, count in counts.items()
    ]
    frames = sum(split.labelled for split in audit.splits.values())
    boxes = sum(split.boxes.total() for split in audit.splits.values())
    recordings = sum(split.recordings for split in audit.splits.values())
    for name, value, meaning in (
        ("Recordings", recordings, "in all splits"),
        ("Labelled frames", frames, "with and without boxes"),
        ("Boxes", boxes, "ignored ones too"),
    ):
        number = f"{value:,}".replace(",", " ")
        tiles.append(f'<div class="card"><dt>{name}</dt><dd>{number}<small>{meaning}</small></dd></div>')
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _splits(audit: Audit) -> str:
    """A table of the splits, with the boxes of every class."""
    classes = sorted({n for split in audit.splits.values() for n in split.boxes})[:50]
    head = ["Split", "Recordings", "Seconds", "Frames", "Empty", *map(audit.class_name, classes)]
    rows = "".join(
        f'<tr><th scope="row">{escape(name or "all")}</th>'
        + "".join(
            f"<td>{value:,.0f}</td>"
            for value in (
                split.recordings, split.seconds, split.labelled, split.empty, *(split.boxes[n] for n in classes)
            )
        )
        + "</tr>"
        for name, split in audit.splits.items()
    )  # fmt: skip
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return f'<div class="card splits"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>'


def _section(finding: Finding, audit: Audit) -> str:
    """One finding: what it is, what it means, and its cases with pictures or as a list."""
    figures, items = [], []
    for case in finding.cases:
        image = case_picture(case, audit)
        if image is None:
            items.append(f"<li>{escape(str(case))}</li>")
        else:
            text = escape(str(case))
            shown = f'<img src="{data_address(image)}" alt="{text}"><figcaption>{text}</figcaption>'
            figures.append(f'<figure class="card">{shown}</figure>')
    listed = f'<ul class="card">{"".join(items)}</ul>' if items else ""
    pictures = f'<div class="pictures">{"".join(figures)}</div>' if figures else ""
    sentence = escape(finding.sentence[0].upper() + finding.sentence[1:])
    return (
        f'<section class="{finding.severity}"><h2><span class="mark">{finding.severity}</span>{sentence}</h2>'
        f"<p>{escape(finding.meaning)}</p>{listed}{pictures}</section>"
    )
