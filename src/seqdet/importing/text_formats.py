"""Formats of texts with a line for each box: YOLO, MOT, CSV and the text of the vendor's labelling tool."""

from __future__ import annotations

import csv
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import yaml

from ..checks import InputError
from ..config_files import read_yaml
from ..data.labels import TEXT_COLUMNS
from ..events.time_units import SPELT, Unit, is_time_name, unit_in_name
from .files import frame_number, read_text, real, times_us, whole
from .parsed import CLASS_FILES, RELATIVE, ParsedLabels, frame_size
from .shapes import corners, hull

BOX, BOX_AND_ONE, BOX_AND_TWO = 5, 6, 7
"""Columns of class, centre and size of YOLO; and of one or two more."""
LEAST_POLYGON = 7
LISTS = ("train.txt", "val.txt", "test.txt")
"""Texts that list images."""
POLYGONS = "polygons that became their upright boxes (if they are key points, kpt_shape in data.yaml must say so)"
OUTERMOST = -0.5, 1.5
"""Least and most of a place, as a share of the frame: objects may be partly outside."""
LastColumn = Literal["confidence", "identity"]
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
TextRows = list[tuple[str, list[str]]]
"""The lines of a text that are not blank: the place of each, for messages, and its cells."""


def read_yolo(labels: ParsedLabels) -> None:
    """One text for each frame, a line for each box: class, centre x and y, width, height, as shares of the frame.

    An empty text is a frame without objects. Rows of six columns end in a confidence or in an identity, which what
    they hold in the whole folder tells; rows of seven in both, unless they are triangles. An odd number of columns from
    seven on is a class and the corners of a polygon, of which the upright box is taken, as of oriented boxes, which
    have four corners. Where ``kpt_shape`` in data.yaml says that rows have key points after their box, those are left
    out. Source: https://docs.ultralytics.com/datasets/detect/ and .../segment/, .../obb/, .../pose/

    Raises:
        InputError: if a row is none of these, or the folder does not tell what its sixth columns are.
    """
    labels.find_classes()
    paths = [path for path in labels.files(".txt") if path.name not in (*CLASS_FILES, *LISTS)]
    points = _key_point_numbers(labels.notes(*(name for name in CLASS_FILES if name.endswith(".yaml"))))
    sixth, is_tracked = _survey_yolo(labels, paths, points)
    for path in paths:
        frame = labels.of_frame_file(path, RELATIVE)
        if frame is None:
            continue
        for place, row in _yolo_rows(path, points):
            label = labels.class_numbered(whole(row[0], place), path)
            score = 1.0
            track = 0
            if len(row) >= LEAST_POLYGON and not (len(row) == BOX_AND_TWO and is_tracked):
                _check_shares(row[1:], place)
                box = hull(corners(row[1:], place))
                labels.told[POLYGONS] += 1
            else:
                x, y, w, h = _check_shares(row[1:BOX], place)
                box = x - w / 2, y - h / 2, w, h
                if len(row) == BOX_AND_TWO or (len(row) == BOX_AND_ONE and sixth == "confidence"):
                    score = real(row[5], place)
                if len(row) == BOX_AND_TWO or (len(row) == BOX_AND_ONE and sixth == "identity"):
                    track = labels.identity(frame.recording, row[-1], place)
            frame.add(box, label, track=track, score=score)


def _key_point_numbers(paths: Sequence[Path]) -> int:
    """How many numbers each row has for its key points, as ``kpt_shape`` in files of YOLO says; 0 if none says it.

    Raises:
        InputError: if one cannot be read or is no such shape, or two differ.
    """
    found = dict[int, Path]()
    for path in paths:
        try:
            content = read_yaml(read_text(path))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise InputError(f"{path} must be sound YAML: {error}.") from error
        shape = content.get("kpt_shape") if isinstance(content, dict) else None
        if shape is None:
            continue
        if not (isinstance(shape, list) and len(shape) == 2 and type(shape[0]) is int and shape[0] > 0):
            raise InputError(f"{path} must have a kpt_shape of a number of points and 2 or 3, got {str(shape)[:40]}.")
        if shape[1] not in (2, 3):
            raise InputError(f"{path} must have a kpt_shape with 2 or 3 numbers for a point, got {str(shape)[:40]}.")
        found[shape[0] * shape[1]] = path
    if len(found) > 1:
        raise InputError(f"{' and '.join(map(str, found.values()))} must have the same kpt_shape, and differ.")
    return next(iter(found), 0)


def _yolo_rows(path: Path, points: int) -> Iterator[tuple[str, list[str]]]:
    """The rows of a file, each with its place, without the ``points`` numbers of their key points.

    Raises:
        InputError: if one has a number of columns that none has.
    """
    for place, line in _lines(path):
        row = line.split()
        if points:
            count = len(row)
            row = row[:BOX] + row[BOX + points :] if count >= BOX + points else row
            if not BOX <= len(row) <= BOX_AND_TWO:
                raise InputError(
                    f"{place} must be class, centre x, centre y, width, height, and the {points} numbers of key points "
                    f"that kpt_shape in data.yaml says; got {count} columns."
                )
        if len(row) < BOX or (len(row) > BOX_AND_ONE and len(row) % 2 == 0):
            raise InputError(
                f"{place} must be class, centre x, centre y, width, height, and perhaps a confidence or an identity or "
                f"both; or class and corners x y of a polygon; got {len(row)} columns."
            )
        yield place, row


def _survey_yolo(labels: ParsedLabels, paths: list[Path], points: int) -> tuple[LastColumn, bool]:
    """What rows of six columns end in, and whether those of seven are boxes with a confidence and an identity.

    Where they have key points, which are not counted here, none is a polygon.
    """
    lengths = Counter[int]()
    last = {BOX_AND_ONE: array("d"), BOX_AND_TWO: array("d")}
    for path in paths:
        for place, row in _yolo_rows(path, points):
            lengths[len(row)] += 1
            if len(row) in last:
                last[len(row)].append(real(row[-1], place))
    sixth = np.array(last[BOX_AND_ONE])
    seventh = np.array(last[BOX_AND_TWO])
    has_longer = max(lengths, default=0) > BOX_AND_TWO
    is_whole = bool((seventh == np.rint(seventh)).all())
    is_tracked = len(seventh) > 0 and is_whole and (seventh.max() > OUTERMOST[1] or not has_longer)
    if points:
        what = f"rows, whose {points} numbers of key points, as of kpt_shape, are left out where there are any"
        labels.told[what] += lengths.total()
        is_tracked = len(seventh) > 0
    if is_tracked:
        what = "rows of 7 columns, whose last is whole numbers: taken as class, box, confidence, identity"
        labels.told[what] += len(seventh)
    if not len(sixth):
        return "confidence", is_tracked
    kind = _sixth_kind(sixth, labels.root)
    why = "whole numbers, not only 0 and 1" if kind == "identity" else "from 0 to 1"
    labels.told[f"rows of 6 columns, whose last is {why}: taken as class, box, {kind}"] += len(sixth)
    return kind, is_tracked


def _sixth_kind(sixth: np.ndarray, root: Path) -> LastColumn:
    """What a sixth column is, of which these are the numbers.

    Raises:
        InputError: if it can be both, or neither.
    """
    told = f"{root} must have identities (whole numbers) or confidences (from 0 to 1) in all sixth columns, and has"
    least, most = sixth.min(), sixth.max()
    is_whole = (sixth == np.rint(sixth)).all()
    if is_whole and (most > 1 or least < 0):
        return "identity"
    if not 0 <= least <= most <= 1:
        raise InputError(f"{told} numbers from {least:g} to {most:g}, which are not all whole.")
    if is_whole and least == 0:
        raise InputError(
            f"{told} only 0 and 1, which can be either. Write seven columns: class, box, confidence, identity."
        )
    return "confidence"


def _check_shares(row: list[str], place: str) -> list[float]:
    """The numbers of a row. Raises ``InputError`` if they are no shares of a frame."""
    values = [real(each, place) for each in row]
    if not OUTERMOST[0] <= min(values) <= max(values) <= OUTERMOST[1]:
        raise InputError(f"{place} must be shares of the frame, from 0 to 1, got {' '.join(row)[:80]}.")
    return values


def read_csv(labels: ParsedLabels) -> None:
    """One file for each recording, separated by commas, semicolons, tabs or spaces.

    Without a header the columns are those of ``TEXT_COLUMNS``. A header may have them in any order and under the names
    in ``NAMES``, with ``frame`` for ``t``, corners for sizes and names for classes. The unit of times is what their
    column says, as t_ns does, or else follows by the rule for recordings. A row without a box (x is empty) is a time at
    which somebody looked and there was no object.
    """
    labels.find_classes()
    unit = "s" if any(table.has_fractions() for table in _box_tables(labels)) else None
    for table in _box_tables(labels):
        found = labels.of_file(table.path, "frame" if "frame" in table.names else "us")
        if found is None:
            continue
        if table.rest:
            labels.told[f"files with columns that are not read: {', '.join(table.rest)[:200]}"] += 1
        for at, (place, cells) in zip(_times(labels, table, unit), table.rows, strict=True):
            found.at.add(at)
            if not cells["x"]:
                continue
            x = real(cells["x"], place)
            y = real(cells["y"], place)
            w = real(cells["x2"], place) - x if "x2" in table.names else real(cells["w"], place)
            h = real(cells["y2"], place) - y if "y2" in table.names else real(cells["h"], place)
            track = labels.identity(found, cells.get("track_id"), place)
            score = real(cells.get("class_confidence") or 1, place)
            found.add(at, (x, y, w, h), _class(labels, cells.get("class_id", ""), place), track=track, score=score)


class BoxTable(NamedTuple):
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


def _box_tables(labels: ParsedLabels) -> Iterator[BoxTable]:
    """The CSV files."""
    for path, rows in _tables(labels, ".csv", ".txt"):
        header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
        is_headed = bool(header) and not re.match(r"[-+.\d]", header[0])
        names = _columns(header, path) if is_headed else {name: n for n, name in enumerate(TEXT_COLUMNS)}
        longest = max((len(row) for _, row in rows), default=0)
        rest = [cell for n, cell in enumerate(header) if cell and n not in names.values()]
        rest = rest if is_headed else [f"number {n + 1}" for n in range(len(TEXT_COLUMNS), longest)]
        time = header[names["t"]] if is_headed and "t" in names else "t"
        cells = [
            (place, {name: row[n].strip() if n < len(row) else "" for name, n in names.items()})
            for place, row in rows[is_headed:]
        ]
        yield BoxTable(path, names, rest, time, cells)


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


def _times(labels: ParsedLabels, table: BoxTable, unit: Unit | None) -> list[int]:
    """Numbers of frames, or microseconds, of the rows of a table; the unit is told where it is another one.

    Args:
        labels: to tell.
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
        labels.told[f"times that are taken for {SPELT[found.unit]}, {why}"] += len(times)
    return times.tolist()


def _class(labels: ParsedLabels, cell: str, place: str) -> int:
    """The index of a class that a cell numbers or names."""
    if cell and cell not in labels.classes and re.fullmatch(r"\d+(\.0*)?", cell):
        return labels.class_numbered(whole(cell, place), place)
    return labels.class_named(cell, place) if cell else labels.only_class()


def read_mot(labels: ParsedLabels) -> None:
    """MOTChallenge: frame, id, left, top, width, height, confidence, class, visibility; frames and classes from 1.

    A folder or zip ``<recording>/gt/gt.txt``, with ``seqinfo.ini`` for the rate and the size of the frames and
    ``labels.txt`` for the names, or one file for each recording. Ten columns end in a place in space, or as those of
    VisDrone, which what they hold in the whole folder tells. Corners are taken as they are; a confidence of 0 is
    ignored. Every frame from the first to the last, which ``seqLength`` may say, is labelled; in a file that has a
    frame 0 that is the first. Source: https://motchallenge.net/instructions

    Raises:
        InputError: if a row is none of these, or classes are numbered from 0.
    """
    labels.find_classes("labels.txt")
    labels.dropped[f"files of detections, {DETECTIONS}"] += sum(
        path.name == DETECTIONS and path != labels.root for path in labels.files(".txt", ".csv")
    )
    kind = _last_three(row for _, rows in _tables(labels, ".txt", ".csv") for _, row in rows if len(row) == 10)
    for path, rows in _tables(labels, ".txt", ".csv"):
        places = path.with_name("seqinfo.ini"), path.parent.parent / "seqinfo.ini"
        info = next((place for place in places if place.is_file()), None)
        facts = dict(re.findall(r"(?m)^\s*(\w+)\s*=\s*([\d.]+)\s*$", read_text(info))) if info else {}
        found = labels.of_file(path, "frame", frame_size(facts.get("imHeight"), facts.get("imWidth"), str(info)))
        if found is None:
            continue
        frames = [_mot_frame(row, place) for place, row in rows]
        first = min([1, *frames])
        found.first = first if found.first is None else found.first
        found.is_named = True
        shift = found.first - first  # a second file of the recording may count otherwise
        labels.told["files of MOT with a frame 0: their first frame is 0, and not 1"] += first == 0
        found.rate = real(facts["frameRate"], str(info)) if "frameRate" in facts else None
        last = max([frame_number(facts.get("seqLength", 0), str(info)) - 1, *(frame - first for frame in frames)])
        found.at.update(range(found.first, found.first + last + 1))
        for frame, (place, row) in zip(frames, rows, strict=True):
            x, y, w, h = (real(cell, place) for cell in row[2:6])
            score = real(row[6], place) if len(row) > 6 else 1.0
            reading = kind if len(row) == 10 else len(row)
            if reading in READINGS:
                labels.told[f"rows of {len(row)} columns: frame, id, box, {READINGS[reading]}"] += 1
            label = _mot_class(labels, row, place) if reading in (8, 9, AERIAL) else labels.only_class()
            if label is None:
                labels.dropped["regions to be ignored (class 0 of VisDrone)"] += 1
                continue
            track = labels.identity(found, row[1], place)
            found.add(frame + shift, (x, y, w, h), label, track=track, score=score)


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


def _mot_class(labels: ParsedLabels, row: list[str], place: str) -> int | None:
    """The index of the class that a row numbers; of one that has none, the only one; None for VisDrone's 0.

    Raises:
        InputError: if it has no name, or is 0 where there are several.
    """
    number = whole(row[7], place)
    if number > 0:
        return labels.class_numbered(number, place, first=1)
    if number == 0 and len(row) == 10:
        return None
    if number == 0 and len(labels.classes) > 1:
        raise InputError(f"{place} must have a class from 1 on, as MOT numbers them, got 0.")
    return labels.only_class()


def read_psee_txt(labels: ParsedLabels) -> None:
    """The text of the vendor's labelling tool: ts, object id, action, class id, x, y, width, height, confidence.

    As the vendor's converter: each action is a box at its time, a deletion is none. Nothing is filled in between the
    actions of a track. Source: https://docs.prophesee.ai/stable/samples/modules/ml/bbox_txt2npy.html
    """
    labels.find_classes()
    for path, rows in _tables(labels, ".txt"):
        found = labels.of_file(path, "us")
        if found is None:
            continue
        for place, row in rows:
            if len(row) != 9 or row[2] not in ACTIONS:
                raise InputError(
                    f"{place} must be ts, object id, action, class id, x, y, width, height, confidence, with an action "
                    f"of {', '.join(ACTIONS)}; got {' '.join(row)[:80]}."
                )
            if row[2] == "BB_DELETE":
                continue
            at = whole(row[0], place)
            label = labels.class_numbered(whole(row[3], place), path)
            track = labels.identity(found, row[1], place)
            x, y, w, h = (real(cell, place) for cell in row[4:8])
            found.add(at, (x, y, w, h), label, track=track, score=real(row[8], place))
            found.at.add(at)


def _lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a text that are not blank, each with its place, for messages."""
    lines = enumerate(read_text(path).splitlines(), start=1)
    return [(f"{path}, line {n},", line) for n, line in lines if line.strip()]


def _tables(labels: ParsedLabels, *suffixes: str) -> Iterator[tuple[Path, TextRows]]:
    """Texts with cells between the same marks; those about classes and frames are left out."""
    for path in labels.files(*suffixes):
        if path.name in (*CLASS_FILES, *MOT_FILES) and path != labels.root:
            continue
        lines = _lines(path)
        first = lines[0][1] if lines else ""
        mark = next((each for each in (";", "\t", ",") if each in first), " ")
        try:
            cells = csv.reader((line for _, line in lines), delimiter=mark, skipinitialspace=True, strict=True)
            rows = [
                (place, [cell for cell in row if cell or mark != " "])
                for (place, _), row in zip(lines, cells, strict=True)
            ]
        except (csv.Error, ValueError) as error:
            raise InputError(f"{path} must be a table with one line for each box: {error}.") from error
        yield path, rows
