"""YOLO: one text for each labelled frame, with boxes, confidences, identities or corners of polygons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from ...checks import InputError
from .drafts import RELATIVE, Drafts
from .frames import CLASS_FILES, frame_draft
from .reading import key_point_numbers, read_text, real, whole
from .shapes import Box, corners, hull

BOX, BOX_AND_ONE, BOX_AND_TWO = 5, 6, 7
"""Columns of class, centre and size; and of one or two more."""
LEAST_POLYGON = 7
LISTS = ("train.txt", "val.txt", "test.txt")
"""Texts that list images."""
POLYGONS = "polygons that became their upright boxes (if they are key points, kpt_shape in data.yaml must say so)"
OUTERMOST = -0.5, 1.5
"""Least and most of a place, as a share of the frame: objects may be partly outside."""
Extra = Literal["confidence", "identity"]


@dataclass
class Column:
    """What all rows of one length hold in one column."""

    count: int = 0
    is_whole: bool = True
    least: float = inf
    most: float = -inf

    def add(self, value: float) -> None:
        """Take note of a value."""
        self.count += 1
        self.is_whole &= value == int(value)
        self.least, self.most = min(self.least, value), max(self.most, value)


def read_yolo(drafts: Drafts) -> None:
    """One text for each frame, a line for each box: class, centre x and y, width, height, as shares of the frame.

    An empty text is a frame without objects. Rows of six columns end in a confidence or in an identity, which what
    they hold in the whole folder tells; rows of seven in both, unless they are triangles. An odd number of columns from
    seven on is a class and the corners of a polygon, of which the upright box is taken, as of oriented boxes, which
    have four corners. Where ``kpt_shape`` in data.yaml says that rows have key points after their box, those are left
    out. Source: https://docs.ultralytics.com/datasets/detect/ and .../segment/, .../obb/, .../pose/

    Raises:
        InputError: if a row is none of these, or the folder does not tell what its sixth columns are.
    """
    drafts.find_classes(*CLASS_FILES)
    paths = [path for path in drafts.files(".txt") if path.name not in (*CLASS_FILES, *LISTS)]
    points = key_point_numbers(drafts.notes(*(name for name in CLASS_FILES if name.endswith(".yaml"))))
    sixth, is_tracked = _survey(drafts, paths, points)
    for path in paths:
        draft, at = frame_draft(drafts, path, RELATIVE)
        if draft is None:
            continue
        for place, row in _rows(path, points):
            label = drafts.numbered(whole(row[0], place), path)
            confidence, identity = 1.0, 0
            if len(row) >= LEAST_POLYGON and not (len(row) == BOX_AND_TWO and is_tracked):
                _check_shares(row[1:], place)
                box = hull(corners(row[1:], place))
                drafts.told[POLYGONS] += 1
            else:
                box = _centred(row[1:BOX], place)
                if len(row) == BOX_AND_TWO:
                    confidence, identity = real(row[5], place), drafts.identity(draft, row[6], place)
                elif len(row) == BOX_AND_ONE and sixth == "identity":
                    identity = drafts.identity(draft, row[5], place)
                elif len(row) == BOX_AND_ONE:
                    confidence = real(row[5], place)
            draft.rows.append((at, *box, label, identity, confidence))


def _rows(path: Path, points: int) -> Iterator[tuple[str, list[str]]]:
    """The rows of a file, each with its place, without the ``points`` numbers of their key points.

    Raises:
        InputError: if one has a number of columns that none has.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        row, place = line.split(), f"{path}, line {number},"
        if not row:
            continue
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


def _survey(drafts: Drafts, paths: list[Path], points: int) -> tuple[Extra, bool]:
    """What rows of six columns end in, and whether those of seven are boxes with a confidence and an identity.

    Where they have key points, which are not counted here, none is a polygon.
    """
    lengths, sixth, seventh = defaultdict[int, int](int), Column(), Column()
    for path in paths:
        for place, row in _rows(path, points):
            lengths[len(row)] += 1
            if len(row) == BOX_AND_ONE:
                sixth.add(real(row[5], place))
            elif len(row) == BOX_AND_TWO:
                seventh.add(real(row[6], place))
    has_longer = any(length > BOX_AND_TWO for length in lengths)
    is_tracked = seventh.count > 0 and seventh.is_whole and (seventh.most > OUTERMOST[1] or not has_longer)
    if points:
        drafts.told[
            f"rows, whose {points} numbers of key points, as of kpt_shape, are left out where there are any"
        ] += sum(lengths.values())
        is_tracked = seventh.count > 0
    if is_tracked:
        drafts.told["rows of 7 columns, whose last is whole numbers: taken as class, box, confidence, identity"] += (
            seventh.count
        )
    if not sixth.count:
        return "confidence", is_tracked
    kind = _kind(sixth, drafts.root)
    why = "whole numbers, not only 0 and 1" if kind == "identity" else "from 0 to 1"
    drafts.told[f"rows of 6 columns, whose last is {why}: taken as class, box, {kind}"] += sixth.count
    return kind, is_tracked


def _kind(sixth: Column, root: Path) -> Extra:
    """What a sixth column is.

    Raises:
        InputError: if it can be both, or neither.
    """
    told = f"{root} must have identities (whole numbers) or confidences (from 0 to 1) in all sixth columns, and has"
    if sixth.is_whole and (sixth.most > 1 or sixth.least < 0):
        return "identity"
    if not 0 <= sixth.least <= sixth.most <= 1:
        raise InputError(f"{told} numbers from {sixth.least:g} to {sixth.most:g}, which are not all whole.")
    if sixth.is_whole and sixth.least == 0:
        raise InputError(
            f"{told} only 0 and 1, which can be either. Write seven columns: class, box, confidence, identity."
        )
    return "confidence"


def _centred(row: list[str], place: str) -> Box:
    """The box of a centre and a size."""
    x, y, w, h = _check_shares(row, place)
    return x - w / 2, y - h / 2, w, h


def _check_shares(row: list[str], place: str) -> list[float]:
    """The numbers of a row. Raises ``InputError`` if they are no shares of a frame."""
    values = [real(each, place) for each in row]
    if not OUTERMOST[0] <= min(values) <= max(values) <= OUTERMOST[1]:
        raise InputError(f"{place} must be shares of the frame, from 0 to 1, got {' '.join(row)[:80]}.")
    return values
