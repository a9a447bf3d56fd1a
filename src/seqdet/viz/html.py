"""One self-contained page about a run: scores, curves, pictures and what they were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_text
from .charts import Chart, draw_chart
from .elements import duration, folded, pairs, paragraph, pictures
from .reliability import draw_reliability
from .tables import breakdown_tables, error_table, headline, score_tables
from .tiles import LEGEND

CHART_WIDTH, ROW_WIDTH = 508, 1066
"""Pixels across the chart in half a row and in a whole row of the page."""

MISSED = (
    "The largest boxes that no shown detection matches at IoU 0.5, of as many recordings as there are. Dashed: "
    "the box. Dotted: other truth. Solid: detections and their scores."
)
FALSE = (
    "The detections of the highest scores that are wrong, of as many recordings as there are. Solid: the detection. "
    "Dashed: truth. Dotted: neither a target nor an error."
)


@dataclass(frozen=True)
class Report:
    """What the page shows. A part that is not given leaves out its section.

    scores: "AP", "AP50", "AP75", "AR", "AP_small", "AP_medium", "AP_large", and "per_class", which has name ->
        {"AP", "AP50", "AP75", "AR", "truth_boxes"}. None stands for nothing to score.
    precision: name of a class -> precision at 101 recalls from 0 to 1, at IoU 0.5; empty, NaN or below
        zero where there is none.
    precision_by_iou: name of an IoU threshold -> the same, mean over the classes, the lowest threshold first.
    notes: title of a section -> a line below it.
    protocol: the scores by a protocol, as text.
    breakdowns: what the scores are broken down by -> bins with "low", "high" (None: no end), "truth_boxes", "AP",
        "AP50" and "recall50".
    reliability: "bins" as ``draw_reliability`` takes them, "expected_error", "expected_error_shown", "shown_score".
    errors: "least_score" of the detections that count, how many are "right", how many of each kind are wrong, and how
        many boxes are "missed".
    misses, false_alarms: the worst errors, as ``pictures``.
    training: curves over the training steps.
    pictures: caption and (H, W, 3) uint8 image.
    config: the configuration as YAML.
    versions: of the libraries, and the machine.
    seconds: what took how long.
    """

    title: str
    summary: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""
    training_frames: int | None = None
    precision: Mapping[str, np.ndarray] = field(default_factory=dict)
    precision_by_iou: Mapping[str, np.ndarray] = field(default_factory=dict)
    breakdowns: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    reliability: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, Any] = field(default_factory=dict)
    misses: Sequence[tuple[str, np.ndarray]] = ()
    false_alarms: Sequence[tuple[str, np.ndarray]] = ()
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
        "Protocol": folded("Scores by the protocol, in words", report.protocol),
        "What the objects do": breakdown_tables(report.breakdowns),
        "Precision and recall": _charts(curves),
        "Reliability of the scores": _reliability(report.reliability),
        "Errors": error_table(report.errors) if report.errors else "",
        "Worst misses": pictures(report.misses, MISSED),
        "Worst false alarms": pictures(report.false_alarms, FALSE),
        "Training": _charts(report.training),
        "Frames": pictures(report.pictures, LEGEND),
        "Configuration": folded("YAML that repeats the run", report.config),
        "Time": pairs({name: duration(seconds) for name, seconds in report.seconds.items()}),
        "Versions and machine": pairs(report.versions),
    }
    body = "".join(
        f"<section><h2>{title}</h2>{paragraph(report.notes.get(title, ''))}{content}</section>"
        for title, content in sections.items()
        if content
    )
    style = files("seqdet.viz").joinpath("report.css").read_text(encoding="utf-8")
    title = escape(report.title)
    summary = paragraph(report.summary)
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
        tiles.append(("Time", duration(sum(report.seconds.values())), "all together"))
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


def _reliability(found: Mapping[str, Any]) -> str:
    """Precision by score, and how far the two are apart."""
    chart = draw_reliability(found["bins"], width=ROW_WIDTH) if found else ""
    shown, error = found.get("expected_error_shown"), found.get("expected_error")
    if not chart or error is None:
        return ""
    of_shown = f"; over those from {found['shown_score']:g} on {shown:.3f}" if shown is not None else ""
    return (
        f"<p>A score is reliable if so large a share of the detections that have it is right. Expected calibration "
        f"error, the mean distance of the two: {error:.3f} over all detections{of_shown}.</p>"
        f'<div class="charts">{chart}</div>'
    )
