"""Formats with a line for each box: CSV, MOT and the text of the vendor's labelling tool."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from ...checks import InputError
from .drafts import Draft, Drafts, When
from .frames import CLASS_FILES
from .reading import frame_number, read_text, real, whole

ORDER = ("t", "class_id", "track_id", "x", "y", "w", "h", "class_confidence")
"""Columns of a CSV file without a header."""
NAMES = {
    "t": ("t", "ts", "timestamp", "timestamp_us", "time_us"),
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
"""Our name of a column and what headers call it."""
ACTIONS = ("BB_CREAT", "BB_MOVE", "BB_RESIZE", "BB_MOVE_AND_RESIZE", "BB_DELETE")
MOT_FILES = ("labels.txt", "seqinfo.ini", "det.txt")
MOT_COLUMNS = (6, 10)


def read_csv(drafts: Drafts) -> None:
    """One file for each recording, separated by commas, semicolons, tabs or spaces.

    Without a header the columns are those of ``ORDER``. A header may have them in any order and under the names in
    ``NAMES``, with ``frame`` for ``t``, corners for sizes and names for classes. A row without a box (x is empty) is a
    time at which somebody looked and there was no object.
    """
    drafts.find_classes(*CLASS_FILES)
    for path, rows in _files(drafts, ".csv", ".txt"):
        header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
        is_headed = bool(header) and not re.match(r"[-+.\d]", header[0])
        names = _columns(header, path) if is_headed else {name: n for n, name in enumerate(ORDER)}
        draft = _draft(drafts, path, "frame" if "frame" in names else "us")
        for number, row in rows[is_headed:] if draft else ():
            assert draft
            place = f"{path}, line {number},"
            cells = {name: row[n].strip() if n < len(row) else "" for name, n in names.items()}
            at = whole(cells["frame" if "frame" in names else "t"], place)
            draft.at.add(at)
            if not cells["x"]:
                continue
            x, y = real(cells["x"], place), real(cells["y"], place)
            w = real(cells["x2"], place) - x if "x2" in names else real(cells["w"], place)
            h = real(cells["y2"], place) - y if "y2" in names else real(cells["h"], place)
            track = max(whole(cells.get("track_id") or 0, place), 0)
            score = real(cells.get("class_confidence") or 1, place)
            draft.rows.append((at, x, y, w, h, _class(drafts, cells.get("class_id", ""), place), track, score))


def read_mot(drafts: Drafts) -> None:
    """MOTChallenge: frame, id, left, top, width, height, confidence, class, visibility; frames and classes from 1.

    A folder or zip ``<recording>/gt/gt.txt``, with ``seqinfo.ini`` for the rate and the size of the frames and
    ``labels.txt`` for the names, or one file for each recording. Corners are taken as they are; a confidence of 0 is
    ignored. Every frame from 1 to the last, which ``seqLength`` may say, is labelled.
    Source: https://motchallenge.net/instructions
    """
    drafts.find_classes("labels.txt", *CLASS_FILES)
    for path, rows in _files(drafts, ".txt", ".csv"):
        info = next(
            (f for f in (path.with_name("seqinfo.ini"), path.parent.parent / "seqinfo.ini") if f.is_file()), None
        )
        facts = dict(re.findall(r"(?m)^\s*(\w+)\s*=\s*([\d.]+)\s*$", read_text(info))) if info else {}
        height, width = (whole(facts.get(side, 0), str(info)) for side in ("imHeight", "imWidth"))
        draft = _draft(drafts, path, "frame", (height, width) if min(height, width) > 0 else None)
        if draft is None:
            continue
        draft.first = 1
        draft.rate = real(facts["frameRate"], str(info)) if "frameRate" in facts else None
        last = frame_number(facts.get("seqLength", 0), str(info))
        for number, row in rows:
            place = f"{path}, line {number},"
            if not MOT_COLUMNS[0] <= len(row) <= MOT_COLUMNS[1]:
                raise InputError(f"{place} must be frame, id, left, top, width, height, ...; got {len(row)} columns.")
            frame, track = frame_number(row[0], place), whole(row[1], place)
            x, y, w, h = (real(cell, place) for cell in row[2:6])
            score = 0.0 if len(row) > 6 and real(row[6], place) == 0 else 1.0
            number = whole(row[7], place) if len(row) in (8, 9) else -1
            label = drafts.numbered(number - 1, path) if number > 0 else _only(drafts)
            draft.rows.append((frame, x, y, w, h, label, max(track, 0), score))
            last = max(last, frame)
            draft.at.add(frame)
        draft.at.update(range(1, last + 1))


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
            track = max(whole(row[1], place), 0)
            draft.rows.append((at, *(real(cell, place) for cell in row[4:8]), label, track, real(row[8], place)))
            draft.at.add(at)


def _files(drafts: Drafts, *suffixes: str) -> Iterator[tuple[Path, list[tuple[int, list[str]]]]]:
    """Files with their rows, each with the number of its line; files about classes and frames are left out."""
    for path in drafts.files(*suffixes):
        if path.name in (*CLASS_FILES, *MOT_FILES):
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


def _columns(header: list[str], path: Path) -> dict[str, int]:
    """Where the header has our columns."""
    found = {our: next((header.index(n) for n in names if n in header), -1) for our, names in NAMES.items()}
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
