"""Events in text: one line each, numbers between spaces, tabs, commas or semicolons.

A first line of names (with or without # or % before it) says which column is which; without it they are t, x, y, p,
or another order that alone makes sense, see ``column_order``. Other columns are ignored, as are lines that begin with #
or %. Times with a fraction are seconds, unless the name or the user says otherwise, see ``time_units``. The size of the
sensor may stand before the events: as a line ``%geometry:640,480`` of the vendor's tools, or as a first line of two
numbers, as E2VID has it; in both, the width comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import numpy as np

from ..checks import InputError
from .array import Events
from .column_order import USUAL, find_order, order_note
from .rows import Meaning, Pieces, column_names, find_meaning, sound_events
from .sieve import LARGEST, Sieve
from .time_units import Unit

BLOCK_BYTES = 1 << 20
LONGEST_LINE, LOOKED_AT = 1 << 12, 1 << 16  # bytes; the latter tell what a file is
COMMENT = ("#", "%")
_SEPARATORS = str.maketrans(",;\t", "   ")
_GEOMETRY = re.compile(r"[#%] *geometry *[: ] *(\d+)[ x]+(\d+) *", re.IGNORECASE)
_SIZE = re.compile(r" *(\d+) +(\d+) *")


def text_pieces(path: Path, time_unit: Unit | None = None) -> tuple[Pieces, Meaning, tuple[int, int] | None]:
    """Reads a text file, a block of lines at a time; what its numbers mean; and height and width, if it says them.

    Args:
        path: of the file.
        time_unit: as the user states it.

    Raises:
        InputError: if the first lines hold no events, or the meaning of the columns cannot be told.
    """
    block = next(_blocks(path), "")
    first = next((line for line in block.split("\n") if line.strip()), "")
    words = _words(first)
    names = column_names(words)
    places = [words.index(names[name]) for name in USUAL] if names else [0, 1, 2, 3]
    stated_hw, size_line = _stated_size(block)
    header, note = first if names else size_line, ""
    sample, _ = _numbers(block, places, header)
    is_known = bool(names or size_line) or first.startswith(COMMENT) or len(_numbers(first, places, None)[0]) > 0
    if is_known and not names:
        order = find_order(sample, path)
        places, note = [order.index(name) for name in USUAL], order_note(order)
        sample = sample[:, places]
    fields = dict(zip(USUAL, sample.T, strict=True))
    meaning = find_meaning(fields, path, time_name=names.get("t", ""), time_unit=time_unit, note=note)
    if not is_known or not len(sound_events(fields, meaning, Sieve(path, None, strict=False))):
        raise InputError(
            f"{path} must hold lines of numbers t x y p, or a first line that names these columns in their order, "
            f"got {first[:60]!r} first."
        )

    size_hw = stated_hw if stated_hw and 1 <= min(stated_hw) <= max(stated_hw) <= LARGEST else None

    def pieces(sieve: Sieve) -> Iterator[Events]:
        sieve.drop("sensor sizes that cannot be, in the header", int(stated_hw != size_hw))
        for block in _blocks(path):
            rows, lines = _numbers(block, places, header)
            sieve.drop("rows that are no event", lines - len(rows))
            yield sound_events(dict(zip(USUAL, rows.T, strict=True)), meaning, sieve)

    return pieces, meaning, size_hw


class Kind(Enum):
    """What a text file holds."""

    EVENTS = "events, as a line before them says"
    LIKELY = "four columns that can be events"
    OTHER = "something else"


def text_kind(path: Path) -> Kind:
    """What the first lines of a text file tell of it, whatever its name.

    ``text_pieces`` takes more: also further columns that nothing names, and lines among which few are events.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        lines = (file.read(LOOKED_AT) + file.readline(LONGEST_LINE)).decode("latin-1").translate(_SEPARATORS)
    block = "\n".join(line for line in lines.split("\n") if line.strip())
    is_named = bool(column_names(_words(block.split("\n")[0])))
    if is_named or _stated_size(block)[0]:
        return Kind.EVENTS if "\n" in block else Kind.OTHER
    rows, count = _numbers(block, [0, 1, 2, 3], None)
    widths = [len(line.split()) for line in block.split("\n") if not line.startswith(COMMENT)]
    if not count or len(rows) < count or set(widths) != {4}:
        return Kind.OTHER
    try:
        order = find_order(rows, path)
        fields = {name: rows[:, order.index(name)] for name in USUAL}
        sieve = Sieve(path, None, strict=False)
        events = sound_events(fields, find_meaning(fields, path), sieve)
    except InputError:
        return Kind.OTHER
    return Kind.LIKELY if 2 * len(events) > count else Kind.OTHER


def _words(line: str) -> list[str]:
    """The names in a line, which may be a comment."""
    return [word.strip("\"'") for word in line.strip(" #%\r").split()]


def _stated_size(block: str) -> tuple[tuple[int, int] | None, str | None]:
    """Height and width that stand before the events, whatever they are; and the line, if it has nothing but them."""
    lines = (line.rstrip("\r") for line in block.split("\n") if line.strip())
    for line in lines:
        if found := _GEOMETRY.fullmatch(line):
            return (int(found[2]), int(found[1])), None
        if not line.startswith(COMMENT):
            found, following = _SIZE.fullmatch(line), next(lines, "").split()
            return ((int(found[2]), int(found[1])), line) if found and len(following) >= 4 else (None, None)
    return None, None


def _blocks(path: Path) -> Iterator[str]:
    """Whole lines, with blanks for separators."""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield (block + file.readline(LONGEST_LINE)).decode("latin-1").translate(_SEPARATORS)


def _numbers(block: str, order: list[int], header: str | None) -> tuple[np.ndarray, int]:
    """(N, 4) t, x, y, p of the lines that have them; and how many lines there are, without comments and the header."""
    lines = [line for line in block.split("\n") if line.strip() and not line.startswith(COMMENT)]
    lines = [line for line in lines if header is None or line.rstrip("\r") != header.rstrip("\r")]
    try:
        return np.loadtxt(lines, comments=None, usecols=order, ndmin=2) if lines else np.zeros((0, 4)), len(lines)
    except ValueError:
        rows = [row for row in (_row(line, order) for line in lines) if row]
        return np.array(rows, np.float64).reshape(-1, 4), len(lines)


def _row(line: str, order: list[int]) -> list[float]:
    words = line.split()
    try:
        return [float(words[place]) for place in order]
    except (ValueError, IndexError):
        return []
