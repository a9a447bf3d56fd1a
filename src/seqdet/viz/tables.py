"""The scores of a detector as HTML tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

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
TITLES = {"still, s": "time of standing still, s", "without events, s": "time without events, s"}


def headline(scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and meaning of the scores over all classes and sizes."""
    return [(name, _score(scores[name]), meaning) for name, meaning in MEANINGS.items() if name in scores]


def score_tables(scores: Mapping[str, Any]) -> str:
    """AP by size, and all scores by class, each with a bar; a dash where there is nothing to score."""
    sizes = [(meaning, scores[name]) for name, meaning in SIZES.items() if name in scores]
    rows = "".join(f'<tr><th scope="row">{meaning}</th>{_bar(ap)}</tr>' for meaning, ap in sizes)
    tables = _table("By size of the object", ("Size", "AP"), rows)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{of_class.get("truth_boxes", "–")}</td>'
        + "".join(_bar(of_class.get(column)) for column in MEANINGS)
        + "</tr>"
        for name, of_class in scores.get("per_class", {}).items()
    )
    tables += _table("By class", ("Class", "Boxes", *MEANINGS), rows)
    return f'<div class="tables">{tables}</div>' if tables else ""


def breakdown_tables(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Scores by what the objects do: a table for each of "low", "high", "truth_boxes", "AP", "AP50" and "recall50"."""
    tables = ""
    for name, bins in found.items():
        rows = "".join(
            f'<tr><th scope="row">{_interval(each)}</th><td>{each["truth_boxes"]}</td>'
            + "".join(_bar(each[column]) for column in ("AP", "AP50", "recall50"))
            + "</tr>"
            for each in bins
            if each["truth_boxes"]
        )
        tables += _table(
            f"By {escape(TITLES.get(name, name))}", ("From, to", "Boxes", "AP", "AP50", "Recall at IoU 0.5"), rows
        )
    return f'<div class="tables even">{tables}</div>' if tables else ""


def error_table(errors: Mapping[str, Any]) -> str:
    """How many detections are right, of which kind the false alarms are, and how many boxes were missed."""
    counts = {name: count for name, count in errors.items() if name != "least_score"}
    found = sum(counts.values()) - counts["missed"]
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{count}</td>{_bar(count / found if found else None)}</tr>'
        for name, count in counts.items()
        if name != "missed"
    )
    shown = f"Detections of score {errors['least_score']:g} and more, at IoU 0.5"
    table = _table(f"{shown}; {counts['missed']} boxes are missed", ("Kind", "Detections", "Share"), rows)
    return f'<div class="tables even">{table}</div>' if table else ""


def _interval(each: Mapping[str, Any]) -> str:
    """The bounds of a bin; the highest may be open."""
    return f"{each['low']:g} and more" if each["high"] is None else f"{each['low']:g} to {each['high']:g}"


def _table(caption: str, columns: Sequence[str], rows: str) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    table = f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="card">{table}</div>' if rows else ""


def _bar(score: float | None) -> str:
    """A cell with the number over a bar of that length."""
    filled = "" if score is None else f' class="bar" style="--filled:{100 * score:.1f}%"'
    return f"<td{filled}>{_score(score)}</td>"


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
