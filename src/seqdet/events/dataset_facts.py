"""What the folder of a dataset says of recordings that do not say it themselves: a file ``dataset.json``.

A JSON object with ``"format": "seqdet dataset 1"``, and, where they are known, ``"size_hw": [height, width]`` of the
sensor and ``"time_unit"``, one of s, ms, us and ns, of the times of tables and HDF5 columns. What else it holds stays
as it is when a fact is written. A file of that name that is of another tool is left alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ..checks import LARGEST_SIDE, InputError, is_size
from ..files import read_json, write_text
from .time_units import Unit

FACTS_FILE = "dataset.json"
FORMAT = "seqdet dataset"
VERSION = 1
MOST_BYTES = 1 << 20
LEVELS = 3
"""So far above a recording the folder of its dataset is looked for: DATASET/train/day/drive.npy."""


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about all recordings of a dataset that do not state them.

    size_hw: height and width of the sensor. time_unit: of the times of tables and HDF5 columns.
    """

    size_hw: tuple[int, int] | None = None
    time_unit: Unit | None = None

    def or_given(
        self, size_hw: tuple[int, int] | None, time_unit: Unit | None
    ) -> tuple[tuple[int, int] | None, Unit | None]:
        """The facts, but for those that are given."""
        return size_hw or self.size_hw, time_unit or self.time_unit

    def under(self, given: DatasetFacts) -> DatasetFacts:
        """The facts, but for those that are given."""
        return DatasetFacts(*self.or_given(given.size_hw, given.time_unit))

    def as_dict(self) -> dict[str, Any]:
        """Those that are known, by their names in the file."""
        size = {} if self.size_hw is None else {"size_hw": list(self.size_hw)}
        return size | ({} if self.time_unit is None else {"time_unit": self.time_unit})


UNSTATED = DatasetFacts()
"""Nothing is known but what the recordings say themselves."""


def facts_about(recording: Path) -> DatasetFacts:
    """What the dataset that a recording lies in says; nothing if it lies in none.

    Raises:
        InputError: as ``read_facts``.
    """
    for folder in recording.absolute().parents[:LEVELS]:
        if _content(folder) is not None:
            return read_facts(folder)
    return DatasetFacts()


def read_facts(folder: Path) -> DatasetFacts:
    """What the file of a folder says; nothing if there is none of ours.

    Raises:
        InputError: if it is damaged, or of a later version.
    """
    path = folder / FACTS_FILE
    content = _content(folder)
    if content is None:
        return DatasetFacts()
    if content["format"] != f"{FORMAT} {VERSION}":
        raise InputError(f"{path} must be of format {FORMAT} {VERSION}, got {content['format'][:80]!r}.")
    size = content.get("size_hw")
    unit = content.get("time_unit")
    is_pair = isinstance(size, list) and len(size) == 2 and all(type(each) is int for each in size)
    if size is not None and not (is_pair and is_size(size)):
        raise InputError(
            f"{path} must have a height and a width from 1 to {LARGEST_SIDE} as size_hw, got {str(size)[:80]}."
        )
    if unit is not None and unit not in get_args(Unit):
        raise InputError(f"{path} must have one of {', '.join(get_args(Unit))} as time_unit, got {str(unit)[:80]}.")
    return DatasetFacts(None if size is None else (size[0], size[1]), unit)


def check_facts(folder: Path, facts: DatasetFacts) -> None:
    """Raise ``InputError`` if the file of a folder says otherwise, or is of another tool, and facts are to be kept."""
    path = folder / FACTS_FILE
    known = read_facts(folder).as_dict()
    for name, fact in facts.as_dict().items():
        if path.exists() and _content(folder) is None:
            raise InputError(f"{path} must be ours to keep {name} in, and is of another tool. Move it away.")
        if known.get(name, fact) != fact:
            raise InputError(
                f"{name} must be {known[name]}, as {path} says of the dataset, got {fact}. Recordings of another "
                "sensor or clock belong into another folder."
            )


def keep_facts(folder: Path, facts: DatasetFacts) -> None:
    """Write what is not None into the file of a folder. Raises ``InputError`` as ``check_facts``."""
    check_facts(folder, facts)
    known = read_facts(folder).as_dict()
    if known | facts.as_dict() == known:
        return
    content = (_content(folder) or {}) | {"format": f"{FORMAT} {VERSION}", **facts.as_dict()}
    write_text(folder / FACTS_FILE, json.dumps(content, indent=2) + "\n")


def _content(folder: Path) -> dict[str, Any] | None:
    """The object in the file of a folder; None if there is none, or one of another tool.

    Raises:
        InputError: if one of ours is damaged.
    """
    path = folder / FACTS_FILE
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    try:
        found = read_json(text)
    except ValueError as error:
        if FORMAT not in text:
            return None
        raise InputError(f"{path} must be sound JSON: {error}.") from error
    is_ours = isinstance(found, dict) and isinstance(found.get("format"), str) and found["format"].startswith(FORMAT)
    return found if is_ours else None
