"""One self-contained page about a run: scores, curves, pictures and what they were made with."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files import write_text
from .charts import Chart, draw_chart
from .tables import headline, score_tables
from .tiles import LEGEND

CHART_WIDTH, ROW_WIDTH = 508, 1066
"""Pixels across the chart in half a row and in a whole row of the page."""


@dataclass(frozen=True)
class Report:
    """What the page shows. A part that is not given leaves out its section.

    scores: "AP", "AP50", "AP75", "AR", "AP_small", "AP_medium", "AP_large", and "per_class", which has name ->
        {"AP", "AP50", "AP75", "AR", "truth_boxes"}. None stands for nothing to score.
    precision: name of a class -> precision at 101 recalls from 0 to 1, at IoU 0.5; empty, NaN or below
        zero where there is none.
    precision_by_iou: name of an IoU threshold -> the same, mean over the classes, the lowest threshold first.
    training: curves over the training steps.
    pictures: caption and (H, W, 3) uint8 image.
    config: the configuration as YAML.
    versions: of the libraries, and the machine.
    seconds: what took how long.
    """

    title: str
    summary: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)
    training_frames: int | None = None
    precision: Mapping[str, np.ndarray] = field(default_factory=dict)
    precision_by_iou: Mapping[str, np.ndarray] = field(default_factory=dict)
    training: Sequence[Chart] = ()
    pictures: Sequence[tuple[str, np.ndarray]] = ()
    config: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def write_report(path: Path, report: Report) -> None:
    """Write the page as one HTML file that needs no other file and no network.

    Raises:
        InputError: if the file cannot be written; what was there stays.
    """
    write_text(path, render(report))


def render(report: Report) -> str:
    """The page as HTML; the same report gives the same text."""
    curves = [
        Chart("Precision over recall at IoU 0.50, by class", "recall", _over_recall(report.precision), (0, 1)),
        Chart(
            "Precision over recall by IoU threshold, mean of the classes",
            "recall",
            _over_recall(report.precision_by_iou),
            (0, 1),
            is_ordered=True,
        ),
    ]
    sections = {
        "Scores": score_tables(report.scores),
        "Precision and recall": _charts(curves),
        "Training": _charts(report.training),
        "Frames": _pictures(report.pictures),
        "Configuration": _folded("YAML that repeats the run", report.config),
        "Time": _pairs({name: _duration(seconds) for name, seconds in report.seconds.items()}),
        "Versions and machine": _pairs(report.versions),
    }
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections.items() if content)
    style = files("seqdet.viz").joinpath("report.css").read_text(encoding="utf-8")
    title = escape(report.title)
    summary = f"<p>{escape(report.summary)}</p>" if report.summary else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head>"
        f"<body><header><h1>{title}</h1>{summary}</header><main>{_tiles(report)}{body}</main></body></html>\n"
    )


def _tiles(report: Report) -> str:
    """The numbers that one looks for first."""
    tiles = headline(report.scores)
    if report.training_frames is not None:
        tiles.append(("Training frames", f"{report.training_frames:,}".replace(",", " "), "seen, counting repeats"))
    if report.seconds:
        tiles.append(("Time", _duration(sum(report.seconds.values())), "all together"))
    items = "".join(
        f'<div class="card"><dt>{name}</dt><dd>{value}<small>{meaning}</small></dd></div>'
        for name, value, meaning in tiles
    )
    return f'<dl class="tiles">{items}</dl>' if items else ""


def _over_recall(precision: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    recall = np.linspace(0, 1, 101)
    return {
        name: (recall, np.where(np.asarray(values) < 0, np.nan, values))
        for name, values in precision.items()
        if len(values)
    }


def _charts(charts: Sequence[Chart]) -> str:
    """The charts two by two; if one is left over, the first takes a row of its own."""
    charts = [chart for chart in charts if chart.curves]
    widths = [ROW_WIDTH if i == 0 and len(charts) % 2 else CHART_WIDTH for i in range(len(charts))]
    drawn = "".join(draw_chart(chart, width=width) for chart, width in zip(charts, widths, strict=True))
    return f'<div class="charts">{drawn}</div>' if drawn else ""


def _pictures(pictures: Sequence[tuple[str, np.ndarray]]) -> str:
    """The pictures three to a row; a strip takes a row of its own."""
    figures = "".join(
        f'<figure class="{"card strip" if image.shape[1] > 2 * image.shape[0] else "card"}">'
        f'<img src="{data_address(image)}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for caption, image in pictures
    )
    return f'<p>{LEGEND}</p><div class="pictures">{figures}</div>' if figures else ""


def data_address(image: np.ndarray) -> str:
    """The picture as a data address."""
    stream = BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _folded(summary: str, text: str) -> str:
    """Text that opens on a click."""
    return f'<details class="card"><summary>{summary}</summary><pre>{escape(text)}</pre></details>' if text else ""


def _pairs(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in values.items())
    return f'<dl class="card pairs">{rows}</dl>' if rows else ""


def _duration(seconds: float) -> str:
    """7.4 s, 8 min 05 s or 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
