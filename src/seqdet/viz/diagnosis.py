"""The page of a diagnosis: what the memory of a detector does, in charts and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..files import write_text
from .charts import Chart, Figure, lay_out
from .pages import ROW_WIDTH, Cell, PageTable, Tile, measured_duration, render_page, whole

SCORES = ("AP", "AP50")
STILL = "AP50 of still objects"
ALL = "never"


class Section(NamedTuple):
    """A question, what was measured for it, and what the figures mean."""

    title: str
    text: str
    charts: Sequence[Figure] = ()
    tables: Sequence[PageTable] = ()


def write_diagnosis(path: Path, facts: Mapping[str, Any]) -> None:
    """Write what ``inference.diagnose`` measured as one HTML file that needs no other file and no network.

    Raises:
        InputError: if the file cannot be written; what was there stays.
    """
    write_text(path, render_diagnosis(facts))


def render_diagnosis(facts: Mapping[str, Any]) -> str:
    """The page as HTML; the same facts give the same text."""
    sections = [_horizon(facts), _positions(facts), _lost(facts), _window_lengths(facts), _effect(facts), _lanes(facts)]
    return render_page(
        "diagnosis.html",
        title=f"Memory of {facts['model']}",
        summary=f"{facts['recordings']} recordings of {facts['dataset']} ({facts['split']}), up to {facts['windows']} "
        f"windows of {facts['window_us'] / 1000:g} ms from the beginning of each; {facts['all']['boxes']} boxes.",
        tiles=_tiles(facts),
        findings=facts["findings"],
        sections=[each for each in sections if each is not None],
        seconds=measured_duration(facts["seconds"]),
        versions=facts["versions"],
    )


def _tiles(facts: Mapping[str, Any]) -> list[Tile]:
    forgetful = facts["horizon"][0]["AP"] if facts["horizon"] else None
    lanes = facts["lanes"]
    apart = max(lanes["beside_others"], lanes["after_a_reset"]) <= lanes["limit"]
    felt = facts["effect_windows"]
    return [
        Tile("AP", _score(facts["all"]["AP"]), "with all memory" if facts["has_memory"] else "without memory"),
        *([Tile("AP, forgetful", _score(forgetful), "forgetting after every window")] if facts["horizon"] else []),
        *(
            [Tile("Felt for", f"{'over ' if felt is None else ''}{_windows(facts)}", "one window, above 1\u00a0%")]
            if facts["has_memory"] and facts["effect"]
            else []
        ),
        Tile("Lanes", "apart" if apart else "leak", "what one is beside others", "" if apart else "error"),
        Tile("Work", f"{facts['flop'] / 1e9:.2f} GFLOP", f"of a frame, {facts['parameters'] / 1e6:.2f} M parameters"),
        Tile("State", f"{facts['state_bytes'] / 1e3:.0f} kB", "of a lane"),
    ]


def _windows(facts: Mapping[str, Any]) -> str:
    """For how long one window is felt."""
    windows = len(facts["effect"]) if facts["effect_windows"] is None else facts["effect_windows"]
    return f"{windows * facts['window_us'] / 1e6:g} s"


def _horizon(facts: Mapping[str, Any]) -> Section | None:
    if not facts["horizon"]:
        return None
    rows = [*facts["horizon"], {"windows": None, **facts["all"]}]
    names = [ALL if each["windows"] is None else str(each["windows"]) for each in rows]
    return Section(
        "Horizon of the memory",
        "The detector begins anew after so many windows. Where the curve rises memory that reaches farther back helps; "
        "where it is flat it does not.",
        _charts("Score, forgetting after so many windows", "windows between forgetting", names, _curves(rows)),
    )


def _positions(facts: Mapping[str, Any]) -> Section | None:
    rows = facts["positions"]
    names = [_span(each) for each in rows]
    table_rows = [
        (name, [Cell(whole(each["boxes"])), _bar(each["AP"]), _bar(each["AP50"])])
        for name, each in zip(names, rows, strict=True)
    ]
    return Section(
        "Place in the recording",
        f"With all memory, by how long the recording has been playing. Gradients reached back over clips of "
        f"{facts['clip_length']} windows in the training; what falls off behind that is a memory that drifts. Other "
        "boxes are there in every row, so only large differences mean something.",
        _charts("Score by the window since the start", "window", names, _curves(rows)),
        [PageTable("By the window since the start", ("Window", "Boxes", "AP", "AP50"), table_rows)],
    )


def _lost(facts: Mapping[str, Any]) -> Section:
    rows = facts["lost"]
    curves = {"AP": [each["AP"] for each in rows]}
    if facts["has_memory"]:
        curves["AP without memory"] = [each["AP_without_memory"] for each in rows]
    if any(each["still_AP50"] is not None for each in rows):
        curves[STILL] = [each["still_AP50"] for each in rows]
    return Section(
        "Lost windows",
        "A share of the windows comes without anything in it, and is scored all the same. A detector that remembers "
        "finds there what it saw before.",
        _charts("Score by the share of lost windows", "lost", [f"{each['share']:.0%}" for each in rows], curves),
    )


def _window_lengths(facts: Mapping[str, Any]) -> Section:
    rows = facts["window_lengths"]
    table_rows = [
        (
            f"{each['factor']:g} x",
            [
                Cell(f"{each['factor'] * facts['window_us'] / 1000:g} ms"),
                Cell(whole(each["boxes"])),
                *(_bar(each[name]) for name in SCORES),
            ],
        )
        for each in rows
    ]
    table = PageTable("Score by the length of a window", ("Windows", "Length", "Boxes", *SCORES), table_rows)
    return Section("Length of the windows", facts["window_lengths_note"], (), [table])


def _effect(facts: Mapping[str, Any]) -> Section | None:
    effect = facts["effect"]
    if not effect or not facts["has_memory"]:
        return None
    drawn = {"effect": (list(range(len(effect))), [100 * max(each, 1e-6) for each in effect])}
    figure = lay_out(
        Chart("What is left of the effect, in per cent", "windows later", drawn, is_log=True), width=ROW_WIDTH
    )
    return Section(
        "Receptive time",
        "One window is played as if nothing happened in it. The curve says how much of the change of the outputs is "
        "left so many windows later.",
        [figure] if figure else [],
    )


def _lanes(facts: Mapping[str, Any]) -> Section:
    lanes = facts["lanes"]
    rows = [
        (title, [Cell(f"{lanes[name]:.1e}"), Cell("the same" if lanes[name] <= lanes["limit"] else "NOT THE SAME")])
        for title, name in (
            ("A lane beside others, and alone", "beside_others"),
            ("A lane that was reset, and a fresh one", "after_a_reset"),
        )
    ]
    return Section(
        "Leaks between lanes",
        f"The largest difference of outputs and memory in float32, as a share of the largest number. Rounding makes "
        f"differences of about 1e-6; up to {lanes['limit']:g} counts as the same.",
        (),
        [PageTable("", ("What is compared", "Difference", "Verdict"), rows)],
    )


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """The scores that rows have, by name."""
    curves = {name: [each[name] for each in rows] for name in SCORES}
    if any(each["still_AP50"] is not None for each in rows):
        curves[STILL] = [each["still_AP50"] for each in rows]
    return curves


def _charts(
    title: str, x_label: str, names: Sequence[str], curves: Mapping[str, Sequence[float | None]]
) -> list[Figure]:
    """One chart over named places; where there is no score there is no point."""
    places = list(range(len(names)))
    points = {
        name: (places, [float("nan") if each is None else each for each in values]) for name, values in curves.items()
    }
    figure = lay_out(Chart(title, x_label, points, (0, 1), x_names=names), width=ROW_WIDTH)
    return [figure] if figure else []


def _span(row: Mapping[str, Any]) -> str:
    return str(row["first"]) if row["first"] == row["last"] else f"{row['first']} to {row['last']}"


def _bar(score: float | None) -> Cell:
    return Cell(_score(score), None if score is None else 100 * score)


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
