"""What the folder of a dataset says of recordings that do not say it themselves: a file ``dataset.json``.

A JSON object with ``"format": "seqdet dataset 1"`` and ``"size_hw": [height, width]`` of the sensor. What else it holds
stays as it is when a fact is written. A file of that name that is of another tool is left alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import InputError
from ..files import write_text
from ..json_files import read_json
from .sieve import LARGEST

FACTS_FILE = "dataset.json"
FORMAT = "seqdet dataset"
VERSION = 1
MOST_BYTES = 1 << 20
LEVELS = 3
"""So far above a recording the folder of its dataset is looked for: DATASET/train/day/drive.npy."""


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about all recordings of a dataset that do not state them. size_hw: height and width of the sensor."""

    size_hw: tuple[int, int] | None = None


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
    path, content = folder / FACTS_FILE, _content(folder)
    if content is None:
        return DatasetFacts()
    if content["format"] != f"{FORMAT} {VERSION}":
        raise InputError(f"{path} must be of format {FORMAT} {VERSION}, got {content['format'][:80]!r}.")
    size = content.get("size_hw")
    if size is None:
        return DatasetFacts()
    is_pair = isinstance(size, list) and len(size) == 2 and all(type(each) is int for each in size)
    if not is_pair or not 1 <= min(size) <= max(size) <= LARGEST:
        raise InputError(f"{path} must have a height and a width from 1 to {LARGEST} as size_hw, got {str(size)[:80]}.")
    return DatasetFacts((size[0], size[1]))


def check_facts(folder: Path, facts: DatasetFacts) -> None:
    """Raise ``InputError`` if the file of a folder says otherwise, or is of another tool, and facts are to be kept."""
    path, known = folder / FACTS_FILE, read_facts(folder)
    if facts.size_hw is None:
        return
    if path.exists() and _content(folder) is None:
        raise InputError(f"{path} must be ours to keep size_hw in, and is of another tool. Move it away.")
    if known.size_hw not in (None, facts.size_hw):
        raise InputError(
            f"size_hw must be {list(known.size_hw or ())}, as {path} says of the dataset, got {list(facts.size_hw)}. "
            "Recordings of another sensor belong into another folder."
        )


def keep_facts(folder: Path, facts: DatasetFacts) -> None:
    """Write what is not None into the file of a folder. Raises ``InputError`` as ``check_facts``."""
    check_facts(folder, facts)
    if facts.size_hw is None or facts == read_facts(folder):
        return
    content = (_content(folder) or {}) | {"format": f"{FORMAT} {VERSION}", "size_hw": list(facts.size_hw)}
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
