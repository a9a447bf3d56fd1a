"""The page of an audit: what was found in a dataset, with pictures of the worst cases."""

from __future__ import annotations

import base64
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ..checks import InputError
from ..data.audit import Audit
from ..data.audit_entries import labels_of, opened
from ..data.audit_events import nearest
from ..data.audit_findings import SEVERITIES, Case, Finding, Severity
from ..data.store import TensorFile
from ..events.files import Recording
from ..files import write_text
from ..structures import Boxes
from .draw import draw_boxes
from .event_images import accumulated_image, events_image
from .tensor_images import tensor_image

STYLE = """
.error { --mark: #c4302b; } .warning { --mark: #b97a00; } .note { --mark: var(--muted); }
h2 .mark { display: inline-block; min-width: 76px; margin-right: 10px; padding: 1px 9px; border-radius: 999px;
  color: #fff; background: var(--mark); font-size: 13px; text-align: center; vertical-align: 2px; }
.tiles .error dd, .tiles .warning dd { color: var(--mark); }
section ul { margin: 0 0 14px; padding: 10px 16px 10px 32px; }
.splits { padding: 8px 16px 12px; margin-top: 22px; }
"""
PLURALS: dict[Severity, str] = {"error": "Errors", "warning": "Warnings", "note": "Notes"}
MEANINGS: dict[Severity, str] = {"error": "mend these", "warning": "look at these", "note": "good to know"}
LEGEND = (
    "Events of the window before the label, brighter ones pale, darker ones blue. The box in question is dashed in "
    "white, the others of that time are dotted in grey; what lies beyond the sensor is brown."
)
BEYOND = (62, 48, 36)
SMALLEST = 8  # pixels a box has in a picture
ACCUMULATED_US = 5_000_000
"""Of the begin of a recording, for pictures of hot pixels."""


def write_audit_page(path: Path, audit: Audit) -> None:
    """Write what an audit found as one HTML file that needs no other file and no network.

    Raises:
        InputError: if the file cannot be written; what was there stays.
    """
    write_text(path, render_audit(audit))


def render_audit(audit: Audit) -> str:
    """The page as HTML. Reads the recordings of the worst cases again; one that has gone has no picture."""
    sections = [_section(finding, audit) for finding in tqdm(audit.findings, unit="finding", disable=None)]
    style = files("seqdet.viz").joinpath("report.css").read_text(encoding="utf-8") + STYLE
    title = escape(f"Audit of {audit.folder.resolve().name}")
    summary = escape(f"{audit.folder}. Windows of {audit.limits.window_us / 1000:g} ms. {LEGEND}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body><header><h1>{title}</h1><p>{summary}</p></header>"
        f"<main>{_tiles(audit)}{_splits(audit)}{''.join(sections) or '<p>Nothing was found.</p>'}</main></body></html>\n"
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
        image = _picture(case, audit)
        if image is None:
            items.append(f"<li>{escape(str(case))}</li>")
        else:
            text = escape(str(case))
            figures.append(
                f'<figure class="card"><img src="{_address(image)}" alt="{text}"><figcaption>{text}</figcaption></figure>'
            )
    listed = f'<ul class="card">{"".join(items)}</ul>' if items else ""
    pictures = f'<div class="pictures">{"".join(figures)}</div>' if figures else ""
    sentence = escape(finding.sentence[0].upper() + finding.sentence[1:])
    return (
        f'<section class="{finding.severity}"><h2><span class="mark">{finding.severity}</span>{sentence}</h2>'
        f"<p>{escape(finding.meaning)}</p>{listed}{pictures}</section>"
    )


def _picture(case: Case, audit: Audit) -> np.ndarray | None:
    """The window before a label with its boxes, or the accumulated events around a pixel; None if there is neither."""
    if case.entry is None or case.box is None:
        return None
    try:
        with opened(case.entry, audit.size_hw) as source:
            image, sensor_hw = _ground(source, case, audit.limits.window_us)
        boxes = labels_of(case.entry)[0]
    except InputError:
        return None
    boxes = boxes[boxes["t"] == case.time_us]
    sides = np.stack([boxes[name].astype(np.float64) for name in ("x", "y", "w", "h")], axis=1)
    is_other = (sides != case.box).any(axis=1)
    sides = np.concatenate([sides[is_other], [case.box]])
    numbers = [*boxes["class_id"][is_other].tolist(), *boxes["class_id"][~is_other][:1].tolist()]
    names = [audit.class_name(n) for n in numbers] + ["hot"] * (len(sides) - len(numbers))
    scale = np.tile([image.shape[1] / sensor_hw[1], image.shape[0] / sensor_hw[0]], 2)
    sides *= scale
    grown = np.maximum(SMALLEST - sides[-1, 2:], 0)
    sides[-1] += [*(-grown / 2), *grown]
    return _drawn(image, sides, names)


def _drawn(image: np.ndarray, sides: np.ndarray, names: list[str]) -> np.ndarray:
    """The image, widened as far as the last box reaches, with that box dashed and the others dotted."""
    height, width, _ = image.shape
    x, y, w, h = sides[-1]
    over = np.clip(
        np.ceil([-y, y + h - height, -x, x + w - width]), 0, [height // 2, height // 2, width // 2, width // 2]
    )
    top, bottom, left, right = (over + 4 * (over > 0)).astype(int)
    ground = np.empty((height + top + bottom, width + left + right, 3), np.uint8)
    ground[:] = BEYOND
    ground[top : top + height, left : left + width] = image
    corners = np.stack([sides[:, 0], sides[:, 1], sides[:, 0] + sides[:, 2], sides[:, 1] + sides[:, 3]], axis=1)
    corners += [left, top, left, top]
    truth = Boxes(
        torch.from_numpy(corners).float(),
        torch.arange(len(sides)),
        is_ignored=torch.arange(len(sides)) < len(sides) - 1,
    )
    return draw_boxes(ground, classes=names, truth=truth)


def _ground(source: TensorFile | Recording, case: Case, window_us: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture to draw on, and the size of the sensor that it shows."""
    if isinstance(source, TensorFile):
        at = 0 if case.time_us is None else int(nearest(source.ends_us, np.array([case.time_us]))[0])
        frame = source.read(at, at + 1)[0]
        name = source.description.representation.partition("_dt=")[0]
        try:
            image = tensor_image(frame, representation=name)
        except InputError:
            image = accumulated_image((frame != np.median(frame, axis=(1, 2), keepdims=True)).sum(axis=0))
        return image, source.description.sensor_hw
    if case.time_us is not None:
        events = source.read(case.time_us - window_us, case.time_us)
    else:
        first = (source.span_us() or (0, 0))[0]
        events = source.read(first, first + ACCUMULATED_US)
    size_hw = source.stated_size_hw or (int(events.y.max(initial=0)) + 1, int(events.x.max(initial=0)) + 1)
    if case.time_us is not None:
        return events_image(events, size_hw=size_hw), size_hw
    counts = np.bincount(events.y.astype(np.int64) * size_hw[1] + events.x, minlength=size_hw[0] * size_hw[1])
    return accumulated_image(counts.reshape(size_hw)), size_hw


def _address(image: np.ndarray) -> str:
    """The picture as a data address."""
    stream = BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
