"""Formats with a line for each box: CSV, MOT and the text of the vendor's labelling tool."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ...checks import InputError
from ...events.time_units import SPELT, Unit, is_time_name, unit_in_name
from .drafts import Draft, Drafts, When
from .frames import CLASS_FILES
from .reading import frame_number, read_text, real, times_us, whole

ORDER = ("t", "class_id", "track_id", "x", "y", "w", "h", "class_confidence")
"""Columns of a CSV file without a header."""
NAMES = {
    "frame": ("frame", "frame_id", "frame_number", "frame_index"),
    "x": ("x", "x1", "xmin", "left", "bb_left"),
    "y": ("y", "y1", "ymin", "top", "bb_top"),
    "w": ("w", "width", "bb_width"),
    "h": ("h", "height", "bb_height"),
    "x2": ("x2", "xmax", "right"),
    "y2": ("y2", "ymax", "bottom"),
    "class_id": ("class_id", "class", "label", "category", "class_name", "name"),
    "track_id": ("track_id", "track", "object_id", "id"),
    "class_confidence": ("class_confidence", "confidence", "score"),
}
"""Our name of a column and what headers call it, besides t: see ``events.time_units``."""
ACTIONS = ("BB_CREAT", "BB_MOVE", "BB_RESIZE", "BB_MOVE_AND_RESIZE", "BB_DELETE")
DETECTIONS = "det.txt"
MOT_FILES = ("labels.txt", "seqinfo.ini", DETECTIONS)
MOT_COLUMNS = (6, 10)
MOST_AERIAL = 20
"""VisDrone numbers its classes from 0 to 11."""
PLAIN, SPATIAL, AERIAL = "plain", "spatial", "aerial"
"""What the last three of ten columns are: nothing, a place in space, or class, truncation and occlusion."""
READINGS = {
    8: "confidence, class",
    9: "confidence, class, visibility; the visibility is not kept",
    PLAIN: "confidence, and three numbers that say nothing",
    SPATIAL: "confidence, x, y, z in space; these three are not kept",
    AERIAL: "confidence, class, truncation, occlusion, as of VisDrone; the last two are not kept",
}
"""Columns after frame, identity and box, by how many there are, or what the last three of ten are."""


def read_csv(drafts: Drafts) -> None:
    """One file for each recording, separated by commas, semicolons, tabs or spaces.

    Without a header the columns are those of ``ORDER``. A header may have them in any order and under the names in
    ``NAMES``, with ``frame`` for ``t``, corners for sizes and names for classes. The unit of times is what their column
    says, as t_ns does, or else follows by the rule for recordings. A row without a box (x is empty) is a time at which
    somebody looked and there was no object.
    """
    drafts.find_classes(*CLASS_FILES)
    unit = "s" if any(table.has_fractions() for table in _tables(drafts)) else None
    for table in _tables(drafts):
        draft = _draft(drafts, table.path, "frame" if "frame" in table.names else "us")
        if draft is None:
            continue
        if table.rest:
            drafts.told[f"files with columns that are not read: {', '.join(table.rest)[:200]}"] += 1
        for at, (place, cells) in zip(_times(drafts, table, unit), table.rows, strict=True):
            draft.at.add(at)
            if not cells["x"]:
                continue
            x, y = real(cells["x"], place), real(cells["y"], place)
            w = real(cells["x2"], place) - x if "x2" in table.names else real(cells["w"], place)
            h = real(cells["y2"], place) - y if "y2" in table.names else real(cells["h"], place)
            track = drafts.identity(draft, cells.get("track_id"), place)
            score = real(cells.get("class_confidence") or 1, place)
            draft.rows.append((at, x, y, w, h, _class(drafts, cells.get("class_id", ""), place), track, score))


class Table(NamedTuple):
    """A CSV file. names: where it has our columns. rest: columns that it has besides. time: what it calls its times.
    rows: of each its place, for messages, and its cells by our names."""

    path: Path
    names: dict[str, int]
    rest: list[str]
    time: str
    rows: list[tuple[str, dict[str, str]]]

    def has_fractions(self) -> bool:
        """Whether times that state no unit have a fraction, and are in seconds."""
        if "frame" in self.names or unit_in_name(self.time):
            return False
        return any(not real(cells["t"], place).is_integer() for place, cells in self.rows)


def _tables(drafts: Drafts) -> Iterator[Table]:
    """The CSV files."""
    for path, rows in _files(drafts, ".csv", ".txt"):
        header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
        is_headed = bool(header) and not re.match(r"[-+.\d]", header[0])
        names = _columns(header, path) if is_headed else {name: n for n, name in enumerate(ORDER)}
        longest = max((len(row) for _, row in rows), default=0)
        rest = [cell for n, cell in enumerate(header) if cell and n not in names.values()]
        rest = rest if is_headed else [f"number {n + 1}" for n in range(len(ORDER), longest)]
        time = header[names["t"]] if is_headed and "t" in names else "t"
        cells = [
            (
                f"{path}, line {number},",
                {name: row[n].strip() if n < len(row) else "" for name, n in names.items()},
            )
            for number, row in rows[is_headed:]
        ]
        yield Table(path, names, rest, time, cells)


def read_mot(drafts: Drafts) -> None:
    """MOTChallenge: frame, id, left, top, width, height, confidence, class, visibility; frames and classes from 1.

    A folder or zip ``<recording>/gt/gt.txt``, with ``seqinfo.ini`` for the rate and the size of the frames and
    ``labels.txt`` for the names, or one file for each recording. Ten columns end in a place in space, or as those of
    VisDrone, which what they hold in the whole folder tells. Corners are taken as they are; a confidence of 0 is
    ignored. Every frame from the first to the last, which ``seqLength`` may say, is labelled; in a file that has a
    frame 0 that is the first. Source: https://motchallenge.net/instructions

    Raises:
        InputError: if a row is none of these, or classes are numbered from 0.
    """
    drafts.find_classes("labels.txt", *CLASS_FILES)
    drafts.dropped[f"files of detections, {DETECTIONS}"] += sum(
        path.name == DETECTIONS and path != drafts.root for path in drafts.files(".txt", ".csv")
    )
    kind = _last_three(row for _, rows in _files(drafts, ".txt", ".csv") for _, row in rows if len(row) == 10)
    for path, rows in _files(drafts, ".txt", ".csv"):
        info = next(
            (f for f in (path.with_name("seqinfo.ini"), path.parent.parent / "seqinfo.ini") if f.is_file()), None
        )
        facts = dict(re.findall(r"(?m)^\s*(\w+)\s*=\s*([\d.]+)\s*$", read_text(info))) if info else {}
        height, width = (whole(facts.get(side, 0), str(info)) for side in ("imHeight", "imWidth"))
        draft = _draft(drafts, path, "frame", (height, width) if min(height, width) > 0 else None)
        if draft is None:
            continue
        frames = [_mot_frame(row, f"{path}, line {number},") for number, row in rows]
        first = min([1, *frames])
        drafts.told["files of MOT with a frame 0: their first frame is 0, and not 1"] += first == 0
        draft.rate = real(facts["frameRate"], str(info)) if "frameRate" in facts else None
        last = max([frame_number(facts.get("seqLength", 0), str(info)) - 1, *(frame - first for frame in frames)])
        draft.at.update(range(last + 1))
        for frame, (number, row) in zip(frames, rows, strict=True):
            place = f"{path}, line {number},"
            x, y, w, h = (real(cell, place) for cell in row[2:6])
            score = real(row[6], place) if len(row) > 6 else 1.0
            reading = kind if len(row) == 10 else len(row)
            if reading in READINGS:
                drafts.told[f"rows of {len(row)} columns: frame, id, box, {READINGS[reading]}"] += 1
            label = _mot_class(drafts, row, place) if reading in (8, 9, AERIAL) else _only(drafts)
            if label is None:
                drafts.dropped["regions to be ignored (class 0 of VisDrone)"] += 1
                continue
            draft.rows.append((frame - first, x, y, w, h, label, drafts.identity(draft, row[1], place), score))


def _mot_frame(row: list[str], place: str) -> int:
    """The number of a row's frame. Raises ``InputError`` if it has none, or not as many columns as MOT."""
    if not MOT_COLUMNS[0] <= len(row) <= MOT_COLUMNS[1]:
        raise InputError(f"{place} must be frame, id, left, top, width, height, ...; got {len(row)} columns.")
    if (frame := frame_number(row[0], place)) < 0:
        raise InputError(f"{place} must have a frame from 0 or 1 on, got {frame}.")
    return frame


def _last_three(rows: Iterable[list[str]]) -> str:
    """What the last three of the ten columns of all rows are: those of VisDrone are small whole numbers."""
    says_class = False
    for row in rows:
        cells = [cell.strip() for cell in row[7:]]
        if not all(re.fullmatch(r"-?\d+(\.0*)?", cell) for cell in cells):
            return SPATIAL
        label, truncation, occlusion = (int(float(cell)) for cell in cells)
        if not (-1 <= label <= MOST_AERIAL and -1 <= truncation <= 1 and -1 <= occlusion <= 2):
            return SPATIAL
        says_class |= label > 0
    return AERIAL if says_class else PLAIN


def _mot_class(drafts: Drafts, row: list[str], place: str) -> int | None:
    """The index of the class that a row numbers; of one that has none, the only one; None for VisDrone's 0.

    Raises:
        InputError: if it has no name, or is 0 where there are several.
    """
    number = whole(row[7], place)
    if number > 0:
        return drafts.numbered(number, place, first=1)
    if number == 0 and len(row) == 10:
        return None
    if number == 0 and len(drafts.classes) > 1:
        raise InputError(f"{place} must have a class from 1 on, as MOT numbers them, got 0.")
    return _only(drafts)


def read_psee_txt(drafts: Drafts) -> None:
    """The text of the vendor's labelling tool: ts, object id, action, class id, x, y, width, height, confidence.

    As the vendor's converter: each action is a box at its time, a deletion is none. Nothing is filled in between the
    actions of a track. Source: https://docs.prophesee.ai/stable/samples/modules/ml/bbox_txt2npy.html
    """
    drafts.find_classes(*CLASS_FILES)
    for path, rows in _files(drafts, ".txt"):
        draft = _draft(drafts, path, "us")
        for number, row in rows if draft else ():
            assert draft
            place = f"{path}, line {number},"
            if len(row) != 9 or row[2] not in ACTIONS:
                raise InputError(
                    f"{place} must be ts, object id, action, class id, x, y, width, height, confidence, with an action "
                    f"of {', '.join(ACTIONS)}; got {' '.join(row)[:80]}."
                )
            if row[2] == "BB_DELETE":
                continue
            at, label = whole(row[0], place), drafts.numbered(whole(row[3], place), path)
            track = drafts.identity(draft, row[1], place)
            draft.rows.append((at, *(real(cell, place) for cell in row[4:8]), label, track, real(row[8], place)))
            draft.at.add(at)


def _files(drafts: Drafts, *suffixes: str) -> Iterator[tuple[Path, list[tuple[int, list[str]]]]]:
    """Files with their rows, each with the number of its line; files about classes and frames are left out."""
    for path in drafts.files(*suffixes):
        if path.name in (*CLASS_FILES, *MOT_FILES) and path != drafts.root:
            continue
        lines = [(n, line) for n, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]
        first = lines[0][1] if lines else ""
        mark = next((each for each in (";", "\t", ",") if each in first), " ")
        try:
            cells = csv.reader((line for _, line in lines), delimiter=mark, skipinitialspace=True, strict=True)
            rows = [
                (n, [cell for cell in row if cell or mark != " "]) for (n, _), row in zip(lines, cells, strict=True)
            ]
        except (csv.Error, ValueError) as error:
            raise InputError(f"{path} must be a table with one line for each box: {error}.") from error
        yield path, rows


def _draft(drafts: Drafts, path: Path, when: When, frame_hw: tuple[int, int] | None = None) -> Draft | None:
    owner = drafts.owner_of_file(path)
    return drafts.draft(owner.recording, path, when, frame_hw) if owner else None


def _times(drafts: Drafts, table: Table, unit: Unit | None) -> list[int]:
    """Numbers of frames, or microseconds, of the rows of a table; the unit is told where it is another one.

    Args:
        drafts: to tell.
        table: the table.
        unit: of times whose column states none; found by their numbers if not given.
    """
    if "frame" in table.names:
        return [whole(cells["frame"], place) for place, cells in table.rows]
    for place, cells in table.rows:
        real(cells["t"], place)
    named = unit_in_name(table.time)
    times, found = times_us([cells["t"] for _, cells in table.rows], table.path, table.time, named or unit)
    if found.unit != "us":
        why = "as they can be nothing else" if unit is None else "as some have a fraction"
        why = f"as their column {table.time} says" if named else why
        drafts.told[f"times that are taken for {SPELT[found.unit]}, {why}"] += len(times)
    return times.tolist()


def _columns(header: list[str], path: Path) -> dict[str, int]:
    """Where the header has our columns."""
    found = {our: next((header.index(n) for n in names if n in header), -1) for our, names in NAMES.items()}
    found["t"] = next((n for n, name in enumerate(header) if is_time_name(name)), -1)
    found = {name: n for name, n in found.items() if n >= 0}
    sides = {"x", "y", "w", "h"} <= set(found) or {"x", "y", "x2", "y2"} <= set(found)
    if not sides or not {"t", "frame"} & set(found):
        raise InputError(f"{path} must have columns t or frame, x, y, w, h and class, got {', '.join(header)[:200]}.")
    if "t" in found:
        found.pop("frame", None)
    return found


def _class(drafts: Drafts, cell: str, place: str) -> int:
    """The index of a class that a cell numbers or names."""
    if cell and cell not in drafts.classes and re.fullmatch(r"\d+(\.0*)?", cell):
        return drafts.numbered(whole(cell, place), place)
    return drafts.named(cell, place) if cell else _only(drafts)


def _only(drafts: Drafts) -> int:
    """The class of boxes that have none, of which there may be but one."""
    if not drafts.classes:
        return drafts.named("object", drafts.root)
    if len(drafts.classes) > 1:
        raise InputError(f"{drafts.root} must say the class of every box, of {', '.join(drafts.classes)}.")
    return 0
