"""Events in text: one line each, numbers between spaces, tabs, commas or semicolons.

A first line of names (with or without # or % before it) says which column is which; without it they are t, x, y, p,
or another order that alone makes sense, see ``rows``. Other columns are ignored, as are lines that begin with #
or %. Times with a fraction are seconds, unless the name or the user says otherwise, see ``time_units``. Polarities may
be words, such as True and OFF; between semicolons, a comma is that of a decimal. The size of the sensor may stand
before the events: as a line ``%geometry:640,480`` of the vendor's tools, or as a first line of two numbers, as E2VID
has it; in both, the width comes first. A text is in UTF-8 or Latin-1, or as a mark at its begin says.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import LARGEST_SIDE, InputError, is_size
from .array import Events
from .reading import AS_IT_IS, PieceRecording, Pieces, ReadOptions
from .rows import USUAL_ORDER, Meaning, column_names, find_meaning, find_order, order_note, sound_events
from .sieve import Sieve
from .tables import readable_table
from .time_units import Unit

BLOCK_BYTES = 1 << 20
MOST_UNNAMED = 5  # columns of a text in a folder that nothing names, as the vendor's tools write
LONGEST_LINE = 1 << 12  # bytes
LOOKED_AT = 1 << 16  # bytes that tell what a file is
COMMENT = ("#", "%")
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Encodings, by the mark that a text begins with."""
DELIMITERS = ";", ",", "\t"
"""Of which the first that a line has stands between its cells, however empty they are; blanks do if it has none."""
_BLANKS = str.maketrans(",;\t", "   ")
_GEOMETRY = re.compile(r"[#%] *geometry *[: ] *(\d+)[ x]+(\d+) *", re.IGNORECASE)
_SIZE = re.compile(r" *(\d+) +(\d+) *")
_WORDS = {"true": "1", "on": "1", "false": "0", "off": "0"}
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)


class _Form(NamedTuple):
    """How a text is written, as its first lines tell.

    encoding: of its characters. header: a line before the events that is none; None without one. delimiter: of the
    cells of the other lines; None if blanks are. has_words: whether some cells are words for polarities. names: what
    the header calls t, x, y and p; empty if it does not. places: of t, x, y, p in a line.
    stated_hw: height and width that stand before the events, whatever they are. note: what is to be said.
    """

    encoding: str
    header: str | None
    delimiter: str | None
    has_words: bool
    names: dict[str, str]
    places: list[int]
    stated_hw: tuple[int, int] | None
    note: str

    def events_in(self, block: str) -> list[str]:
        """The lines of a block, without blank ones, comments and the header."""
        lines = [line for line in block.split("\n") if line.strip() and not line.startswith(COMMENT)]
        return [line for line in lines if line != self.header]

    def numbers(self, lines: list[str]) -> np.ndarray:
        """(N, 4) t, x, y, p of those lines that have them."""
        if self.has_words:
            lines = _WORD.sub(lambda found: _WORDS[found[0].lower()], "\n".join(lines)).split("\n")
        if self.delimiter == ";":
            lines = [line.replace(",", ".") for line in lines]
        if not lines:
            return np.zeros((0, 4))
        try:
            return np.loadtxt(lines, comments=None, delimiter=self.delimiter, usecols=self.places, ndmin=2)
        except ValueError:
            found = [row for row in map(self._row, lines) if row]
            return np.array(found, np.float64).reshape(-1, 4)

    def _row(self, line: str) -> list[float]:
        words = line.split(self.delimiter)
        try:
            return [float(words[place]) for place in self.places]
        except (ValueError, IndexError):
            return []


def open_text(path: Path, options: ReadOptions = AS_IT_IS) -> PieceRecording:
    """A recording in a text file, which is read a block of lines at a time.

    Raises:
        InputError: if ``path`` cannot be read, its first lines hold no events, or the meaning of its columns cannot be
            told.
    """
    with readable_table(path):
        pieces, meaning, size_hw = _text_pieces(path, options.time_unit)
    return PieceRecording(path, options, format="text", pieces=pieces, size_hw=size_hw, meaning=meaning)


def _text_pieces(path: Path, time_unit: Unit | None) -> tuple[Pieces, Meaning, tuple[int, int] | None]:
    """The events of a text file; what their numbers mean; and height and width of the sensor, if it says them."""
    encoding = _encoding(path)
    block = next(_blocks(path, encoding), "")
    form = _find_form(block, encoding)
    lines = form.events_in(block)
    first = next((line for line in block.split("\n") if line.strip()), "")
    is_known = form.header is not None or first.startswith(COMMENT) or len(form.numbers(lines[:1])) > 0
    form = _in_order(form, form.numbers(lines), path) if is_known else form

    sample = _columns(form.numbers(lines))
    later = (_columns(form.numbers(form.events_in(block))) for block in islice(_blocks(path, encoding), 1, None))
    time_name = form.names.get("t", "")
    meaning = find_meaning(sample, path, later=later, time_name=time_name, time_unit=time_unit, note=form.note)
    has_events = len(sound_events(sample, meaning, Sieve(path, None, strict=False))) > 0
    if form.names and lines and not has_events:
        raise InputError(
            f"{path} must hold numbers t x y p with whole pixels x and y from 0 to {LARGEST_SIDE - 1}, and none of its "
            f"first rows does, such as {lines[0][:60]!r}."
        )
    if not is_known or not (has_events or form.names):
        raise InputError(
            f"{path} must hold lines of numbers t x y p, or a first line that names these columns in their order, "
            f"got {repr(first[:60]) if first.replace(chr(9), ' ').isprintable() else 'bytes that are no text'} first."
        )

    stated_hw = form.stated_hw
    size_hw = stated_hw if stated_hw and is_size(stated_hw) else None

    def pieces(_: int, sieve: Sieve) -> Iterator[Events]:
        sieve.drop("sensor sizes that are not plausible, in the header", int(stated_hw != size_hw))
        for block in _blocks(path, encoding):
            lines = form.events_in(block)
            rows = form.numbers(lines)
            sieve.drop("rows that are no event", len(lines) - len(rows))
            yield sound_events(_columns(rows), meaning, sieve)

    return pieces, meaning, size_hw


class Kind(Enum):
    """What a text file holds."""

    EVENTS = "events, as a line before them says"
    LIKELY = "four columns that can be events"
    OTHER = "something else"


def text_kind(path: Path) -> Kind:
    """What the first lines of a text file tell of it, whatever its name.

    ``open_text`` takes more: also further columns that nothing names, unless it is one of a single value, and lines
    among which few are events.

    Raises:
        OSError: if the file cannot be read.
    """
    encoding = _encoding(path)
    block = next(_blocks(path, encoding, LOOKED_AT), "")
    form = _find_form(block, encoding)
    lines = form.events_in(block)
    if form.header is not None or form.stated_hw:
        return Kind.EVENTS if lines else Kind.OTHER
    rows = form.numbers(lines)
    cells = [line.split(form.delimiter) for line in lines]
    width = max(map(len, cells), default=0)
    has_rest = width == MOST_UNNAMED and len({tuple(each[4:]) for each in cells}) == 1
    if len(rows) < len(lines) or not lines or {len(each) for each in cells} != {width} or not (width == 4 or has_rest):
        return Kind.OTHER
    try:
        fields = _columns(_in_order(form, rows, path).numbers(lines))
        events = sound_events(fields, find_meaning(fields, path), Sieve(path, None, strict=False))
    except InputError:
        return Kind.OTHER
    return Kind.LIKELY if 2 * len(events) > len(lines) else Kind.OTHER


def _find_form(block: str, encoding: str) -> _Form:
    """How a text is written that begins with a block of whole lines; its columns are t x y p if nothing names them."""
    first = next((line for line in block.split("\n") if line.strip()), "")
    words = _words(first)
    names = column_names(words)
    stated_hw, size_line = _stated_size(block)
    places = [words.index(names[name]) for name in USUAL_ORDER] if names else [0, 1, 2, 3]
    note = "a column without a name is left out" if names and "" in words else ""
    form = _Form(encoding, first if names else size_line, None, False, names, places, stated_hw, note)
    looked_at = form.events_in(block)[:9]
    delimiter = next((each for each in DELIMITERS if looked_at and each in looked_at[-1]), None)
    return form._replace(delimiter=delimiter, has_words=any(map(_WORD.search, looked_at)))


def _in_order(form: _Form, rows: np.ndarray, path: Path) -> _Form:
    """The same, with columns without names found by the first rows. Raises InputError as ``find_order``."""
    if form.names:
        return form
    order = find_order(rows, path)
    return form._replace(places=[order.index(name) for name in USUAL_ORDER], note=order_note(order))


def _columns(rows: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(USUAL_ORDER, rows.T, strict=True))


def _words(line: str) -> list[str]:
    """The names in a line, which may be a comment; a unit in brackets belongs to the name before it."""
    bare = line.strip(" #%")
    delimiter = next((each for each in DELIMITERS if each in bare), None)
    words = bare.split(delimiter) if delimiter else re.split(r"\s+(?![\[(])", bare)
    return [word.strip(" \"'") for word in words]


def _stated_size(block: str) -> tuple[tuple[int, int] | None, str | None]:
    """Height and width that stand before the events, whatever they are; and the line, if it has nothing but them."""
    lines = (line for line in block.split("\n") if line.strip())
    for line in lines:
        plain = line.translate(_BLANKS)
        if found := _GEOMETRY.fullmatch(plain):
            return (int(found[2]), int(found[1])), None
        if not line.startswith(COMMENT):
            found = _SIZE.fullmatch(plain)
            following = next(lines, "").translate(_BLANKS).split()
            return ((int(found[2]), int(found[1])), line) if found and len(following) >= 4 else (None, None)
    return None, None


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    if marked := next((encoding for mark, encoding in MARKS.items() if start.startswith(mark)), None):
        return marked
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _blocks(path: Path, encoding: str, size: int | None = None) -> Iterator[str]:
    """Whole lines, of about so many characters, whose ends are those of Unix, whatever the file has."""
    with path.open(encoding=encoding, errors="replace") as file:
        while block := file.read(size or BLOCK_BYTES):
            yield block + file.readline(LONGEST_LINE)
