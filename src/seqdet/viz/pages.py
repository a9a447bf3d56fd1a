"""Pages that need no other file and no network: the report about a run, and what all pages share.

The HTML is in ``templates``: ``page.html`` is what every page has around it, ``parts.html`` holds tiles, tables and
pictures. Templates escape whatever is given to them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from ..files import write_text
from .charts import Chart, Figure, lay_out, lay_out_reliability
from .tiles import LEGEND

CHART_WIDTH = 508
ROW_WIDTH = 1066
"""Pixels across the chart in half a row and in a whole row of the page."""

MISSED = (
    "The largest boxes that no shown detection matches at IoU 0.5, of as many recordings as there are. Dashed: "
    "the box. Dotted: other truth. Solid: detections and their scores."
)
FALSE = (
    "The detections of the highest scores that are wrong, of as many recordings as there are. Solid: the detection. "
    "Dashed: truth. Dotted: neither a target nor an error."
)
MEANINGS = {
    "AP": "mean over IoU 0.50 to 0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "AR": "recall, at most 100 boxes a frame",
}
SIZES = {
    "AP_small": "small, to 32² px",
    "AP_medium": "medium, to 96² px",
    "AP_large": "large, above",
}
FAULT_FIGURES = {
    "AP": "AP",
    "AP50": "AP50",
    "still_AP50": "AP50 of what has stood still for 0.3 s or more",
}
"""What is scored with faults of the sensor, and what it is called."""
TITLES = {"still, s": "time of standing still, s", "without events, s": "time without events, s"}


class Tile(NamedTuple):
    """A number that one looks for first."""

    name: str
    value: str
    meaning: str
    style: str = ""


class Cell(NamedTuple):
    """Text in a table, over a bar that fills so many per cent of the cell if it has one."""

    text: str
    filled: float | None = None


class PageTable(NamedTuple):
    """Rows with a head each, below a line of columns."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


class Picture(NamedTuple):
    """A picture as a data address."""

    caption: str
    address: str
    is_strip: bool


@dataclass(frozen=True)
class ReportPage:
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
    faults: "severities"; "without" a fault the value of each of ``FAULT_FIGURES``; "by_fault": name -> the same, with a
        value for each severity, None where there is none.
    reliability: "bins" as ``lay_out_reliability`` takes them, "expected_error", "expected_error_shown", "shown_score".
    errors: "least_score" of the detections that count, how many are "right", how many of each kind are wrong, and how
        many boxes are "missed".
    misses, false_alarms: the worst errors, as ``pictures``.
    training: curves over the training steps.
    pictures: caption and (H, W, 3) uint8 image.
    config: the configuration as YAML.
    versions: of the libraries, and the machine.
    costs: what the detector costs.
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
    faults: Mapping[str, Any] = field(default_factory=dict)
    reliability: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, Any] = field(default_factory=dict)
    misses: Sequence[tuple[str, np.ndarray]] = ()
    false_alarms: Sequence[tuple[str, np.ndarray]] = ()
    training: Sequence[Chart] = ()
    pictures: Sequence[tuple[str, np.ndarray]] = ()
    config: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def write_report(path: Path, report: ReportPage) -> None:
    """Write the page as one HTML file that needs no other file and no network.

    Raises:
        InputError: if the file cannot be written; what was there stays.
    """
    write_text(path, render(report))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(__package__ or "seqdet.viz"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def render_page(template: str, **values: Any) -> str:
    """A page as HTML; the same values give the same text.

    Args:
        template: its file in ``templates``.
        values: what it shows.
    """
    return _environment().get_template(template).render(values)


def draw_chart(chart: Chart, *, width: int = 540) -> str:
    """The ``<figure>`` element of a chart alone, ``width`` pixels wide at full size; nothing if no curve has a point.

    Raises:
        InputError: if x and y of a curve differ in length.
    """
    figure = lay_out(chart, width=width)
    return render_page("chart.html", figure=figure) if figure else ""


def render(report: ReportPage) -> str:
    """The page as HTML; the same report gives the same text."""
    over_recall = [
        Chart("Precision over recall at IoU 0.50, by class", "recall", _over_recall(report.precision), (0, 1)),
        Chart(
            "Precision over recall by IoU threshold, mean of the classes",
            "recall",
            _over_recall(report.precision_by_iou),
            (0, 1),
            is_ordered=True,
        ),
    ]
    reliability = report.reliability
    has_error = reliability.get("expected_error") is not None
    return render_page(
        "report.html",
        title=report.title,
        summary=report.summary,
        tiles=_tiles(report),
        notes=report.notes,
        scores=_score_tables(report.scores),
        protocol=report.protocol,
        breakdowns=_breakdown_tables(report.breakdowns),
        faults=_fault_tables(report.faults),
        curves=_figures(over_recall),
        reliability=reliability,
        bars=lay_out_reliability(reliability["bins"], width=ROW_WIDTH) if has_error else None,
        errors=_error_tables(report.errors),
        misses=pictures(report.misses),
        missed=MISSED,
        false_alarms=pictures(report.false_alarms),
        wrong=FALSE,
        training=_figures(report.training),
        frames=pictures(report.pictures),
        legend=LEGEND,
        config=report.config,
        costs=report.costs,
        seconds={name: measured_duration(seconds) for name, seconds in report.seconds.items()},
        versions=report.versions,
    )


def pictures(shown: Sequence[tuple[str, np.ndarray]]) -> list[Picture]:
    """Captions and images (H, W, 3) uint8 as templates take them; a strip takes a row of its own."""
    return [Picture(caption, _address(image), image.shape[1] > 2 * image.shape[0]) for caption, image in shown]


def _address(image: np.ndarray) -> str:
    """The picture as a data address."""
    stream = BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def whole(number: int) -> str:
    """A whole number with gaps: 39 840."""
    return f"{number:,}".replace(",", " ")


def measured_duration(seconds: float) -> str:
    """A time that was measured, 7.4 s, 8 min 05 s or 2 h 10 min; ``progress.duration`` is for one that is foreseen."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _tiles(report: ReportPage) -> list[Tile]:
    tiles = [
        Tile(name, _score(report.scores[name]), meaning) for name, meaning in MEANINGS.items() if name in report.scores
    ]
    if report.training_frames is not None:
        tiles.append(Tile("Training frames", whole(report.training_frames), "seen, counting repeats"))
    if report.seconds:
        tiles.append(Tile("Time", measured_duration(sum(report.seconds.values())), "all together"))
    return tiles


def _over_recall(precision: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    recall = np.linspace(0, 1, 101)
    return {
        name: (recall, np.where(np.asarray(values) < 0, np.nan, values))
        for name, values in precision.items()
        if len(values)
    }


def _figures(charts: Sequence[Chart]) -> list[Figure]:
    """The charts two by two; if one is left over, the first takes a row of its own."""
    charts = [chart for chart in charts if chart.curves]
    widths = [ROW_WIDTH if i == 0 and len(charts) % 2 else CHART_WIDTH for i in range(len(charts))]
    figures = [lay_out(chart, width=width) for chart, width in zip(charts, widths, strict=True)]
    return [figure for figure in figures if figure is not None]


def _score_tables(scores: Mapping[str, Any]) -> list[PageTable]:
    """AP by size, and all scores by class, each with a bar; a dash where there is nothing to score."""
    by_size = [(meaning, [_bar(scores[name])]) for name, meaning in SIZES.items() if name in scores]
    by_class = [
        (name, [Cell(str(of_class.get("truth_boxes", "–"))), *(_bar(of_class.get(column)) for column in MEANINGS)])
        for name, of_class in scores.get("per_class", {}).items()
    ]
    tables = [
        PageTable("By size of the object", ("Size", "AP"), by_size),
        PageTable("By class", ("Class", "Boxes", *MEANINGS), by_class),
    ]
    return [table for table in tables if table.rows]


def _breakdown_tables(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[PageTable]:
    """Scores by what the objects do: a table for each of "low", "high", "truth_boxes", "AP", "AP50" and "recall50"."""
    tables = []
    for name, bins in found.items():
        rows = [
            (
                _interval(each),
                [Cell(str(each["truth_boxes"])), *(_bar(each[column]) for column in ("AP", "AP50", "recall50"))],
            )
            for each in bins
            if each["truth_boxes"]
        ]
        columns = ("From, to", "Boxes", "AP", "AP50", "Recall at IoU 0.5")
        tables.append(PageTable(f"By {TITLES.get(name, name)}", columns, rows))
    return [table for table in tables if table.rows]


def _fault_tables(faults: Mapping[str, Any]) -> list[PageTable]:
    """A table for each figure: a row for each fault, without it and by its severity."""
    if not faults:
        return []
    columns = ("Fault", "none", *map(str, faults["severities"]))
    tables = []
    for figure, caption in FAULT_FIGURES.items():
        clean = faults["without"][figure]
        rows = [
            (name.replace("_", " "), [_bar(each) for each in (clean, *values[figure])])
            for name, values in faults["by_fault"].items()
        ]
        if clean is not None:
            tables.append(PageTable(f"{caption}, by fault and severity", columns, rows))
    return tables


def _error_tables(errors: Mapping[str, Any]) -> list[PageTable]:
    """How many detections are right, of which kind the false alarms are, and how many boxes were missed."""
    if not errors:
        return []
    counts = {name: count for name, count in errors.items() if name not in ("least_score", "missed")}
    found = sum(counts.values())
    rows = [(name, [Cell(str(count)), _bar(count / found if found else None)]) for name, count in counts.items()]
    shown = f"Detections of score {errors['least_score']:g} and more, at IoU 0.5"
    return [PageTable(f"{shown}; {errors['missed']} boxes are missed", ("Kind", "Detections", "Share"), rows)]


def _interval(each: Mapping[str, Any]) -> str:
    """The bounds of a bin; the highest may be open."""
    return f"{each['low']:g} and more" if each["high"] is None else f"{each['low']:g} to {each['high']:g}"


def _bar(score: float | None) -> Cell:
    """The number over a bar of that length."""
    return Cell(_score(score), None if score is None else 100 * score)


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
