"""The page of an audit: what was found in a dataset, with pictures of the worst cases."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..checks import InputError
from ..data.box_events import nearest_window
from ..data.dataset import labels_of, opened
from ..data.store import TensorFile
from ..events.dataset_facts import DatasetFacts
from ..events.files import Recording
from ..files import write_text
from ..pictures.sequence import Pictures
from ..progress import progress
from ..structures import Boxes
from ..viz.draw import draw_boxes
from ..viz.images import accumulated_image, events_image, painter
from ..viz.pages import Cell, PageTable, Picture, Tile, pictures, render_page, whole
from .findings import SEVERITIES, AuditResult, Case, Finding

MARK = '<meta name="generator" content="seqdet audit">'
"""What tells such a page from another."""
PLURALS: dict[str, str] = {"error": "Errors", "warning": "Warnings", "note": "Notes"}
MEANINGS: dict[str, str] = {"error": "fix these", "warning": "look at these", "note": "good to know"}
LEGEND = (
    "Events of the window before the label, brighter ones pale, darker ones blue. The box in question is dashed in "
    "white, the others of that time are dotted in grey; what lies beyond the sensor is brown."
)
BEYOND = (62, 48, 36)
"""Colour of what lies beyond the sensor."""
RIM = 4
"""Pixels around what is drawn there."""
MOST_RIM = 2
"""The most that is drawn there, as a part of the sensor."""
SMALLEST = 8  # pixels a box has in a picture
ACCUMULATED_US = 5_000_000
"""Of the begin of a recording, for pictures of hot pixels."""
MOST_CLASSES = 50
"""That have a column in the table of the splits."""


class Section(NamedTuple):
    """A finding: its cases with pictures, and those without in words."""

    finding: Finding
    pictures: list[Picture]
    cases: list[str]


def write_audit_page(path: Path, audit: AuditResult) -> None:
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


def render_audit(audit: AuditResult) -> str:
    """The page as HTML. Reads the recordings of the worst cases again; one that has gone has no picture."""
    shown = progress(audit.findings, "pictures", unit="finding")
    return render_page(
        "audit.html",
        title=f"Audit of {audit.folder.resolve().name}",
        summary=f"{audit.folder}. Windows of {audit.limits.window_us / 1000:g} ms. {LEGEND}",
        tiles=_tiles(audit),
        splits=_splits(audit),
        sections=[_section(finding, audit) for finding in shown],
    )


def _tiles(audit: AuditResult) -> list[Tile]:
    tiles = []
    for severity in SEVERITIES:
        count = sum(each.severity == severity for each in audit.findings)
        meaning = f"kinds; {MEANINGS[severity]}"
        tiles.append(Tile(PLURALS[severity], str(count), meaning, style=severity if count else ""))
    splits = audit.splits.values()
    return [
        *tiles,
        Tile("Recordings", whole(sum(split.recordings for split in splits)), "in all splits"),
        Tile("Labelled frames", whole(sum(split.labelled for split in splits)), "with and without boxes"),
        Tile("Boxes", whole(sum(split.boxes.total() for split in splits)), "ignored ones too"),
    ]


def _splits(audit: AuditResult) -> PageTable:
    """A table of the splits, with the boxes of every class."""
    classes = sorted({n for split in audit.splits.values() for n in split.boxes})[:MOST_CLASSES]
    columns = ["Split", "Recordings", "Seconds", "Frames", "Empty", *map(audit.class_name, classes)]
    rows = []
    for name, split in audit.splits.items():
        counts = [split.recordings, split.seconds, split.labelled, split.empty, *(split.boxes[n] for n in classes)]
        rows.append((name or "all", [Cell(f"{count:,.0f}") for count in counts]))
    return PageTable("", columns, rows)


def _section(finding: Finding, audit: AuditResult) -> Section:
    shown = []
    listed = []
    for case in finding.cases:
        image = case_picture(case, audit)
        if image is None:
            listed.append(str(case))
        else:
            shown.append((str(case), image))
    return Section(finding, pictures(shown), listed)


def case_picture(case: Case, audit: AuditResult) -> np.ndarray | None:
    """The window before a label with its boxes, or the accumulated events around a pixel; None if there is neither."""
    if case.entry is None or case.box is None:
        return None
    try:
        with opened(case.entry, DatasetFacts(audit.size_hw, audit.time_unit)) as source:
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
    return _drawn(image, sides, names)


def _drawn(image: np.ndarray, sides: np.ndarray, names: list[str]) -> np.ndarray:
    """The image, widened as far as the last box reaches, with that box dashed and the others dotted."""
    height, width, _ = image.shape
    x, y, w, h = sides[-1]
    limits = np.array([height, height, width, width]) * MOST_RIM
    over = np.clip(np.ceil([-y, y + h - height, -x, x + w - width]), 0, limits)
    top, bottom, left, right = (over + RIM * (over > 0)).astype(int)
    ground = np.empty((height + top + bottom, width + left + right, 3), np.uint8)
    ground[:] = BEYOND
    ground[top : top + height, left : left + width] = image
    grown = np.maximum(SMALLEST - sides[-1, 2:], 0)
    sides[-1] += [*(-grown / 2), *grown]
    corners = np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)
    corners += [left, top, left, top]
    truth = Boxes(
        torch.from_numpy(corners).float(),
        torch.arange(len(sides)),
        is_ignored=torch.arange(len(sides)) < len(sides) - 1,
    )
    return draw_boxes(ground, classes=names, truth=truth)


def _ground(
    source: TensorFile | Recording | Pictures, case: Case, window_us: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture to draw on, and the size of the sensor that it shows."""
    if not isinstance(source, TensorFile | Recording):
        at = int(nearest_window(np.array([case.time_us or 0]), source.times_us)[0])
        return next(iter(source.read(at, at + 1))), source.size_hw
    if isinstance(source, TensorFile):
        at = 0 if case.time_us is None else int(nearest_window(np.array([case.time_us]), source.ends_us)[0])
        frame = source.read(at, at + 1)[0]
        try:
            image = painter(source.description.input)(frame)
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
