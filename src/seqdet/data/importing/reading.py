"""Read files that people and other tools have written: text, numbers, names of classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

import numpy as np
import yaml

from ...checks import InputError
from ...config_files import read_yaml
from ...events.time_units import TimeUnit, Unit, find_unit
from ...files import read_json
from ..classes import read_classes
from ..labels import CLASSES_FILE

MOST_BYTES = 1 << 31
MOST_FRAMES = 4_000_000
"""A day and a half at 30 frames a second: each is a labelled time."""


def last_number(name: str) -> int | None:
    """The last number in a name, of which 18 digits count; None if there is none."""
    found = re.findall(r"[0-9]+", name)
    return int(found[-1][-18:]) if found else None


def read_text(path: Path) -> str:
    """The text of a file of labels. Raises ``InputError`` if it cannot be read or is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path} must be a file of labels of at most 2 GB.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be a file of labels, in UTF-8: {error}.") from error
    if "\0" in text:
        raise InputError(f"{path} must be a file of labels, and is none: it holds zeros.")
    return text


def real(text: object, place: str) -> float:
    """A finite number. Raises ``InputError`` if it is none."""
    try:
        value = float(str(text))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{place} must have numbers, got {str(text)[:40]!r}.") from error
    if not isfinite(value):
        raise InputError(f"{place} must have finite numbers, got {value}.")
    return value


def is_number(text: str) -> bool:
    """Whether a text is a number, be it none that is finite."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def whole(text: object, place: str) -> int:
    """A whole number of at most 18 digits. Raises ``InputError`` if it is none."""
    found = re.fullmatch(r"\s*([+-]?\d{1,18})(\.0*)?\s*", str(text))
    if not found:
        raise InputError(f"{place} must have a whole number here, got {str(text)[:40]!r}.")
    return int(found[1])


def times_us(cells: Sequence[object], path: Path, name: str, unit: Unit | None = None) -> tuple[np.ndarray, TimeUnit]:
    """Microseconds (N,) int64 of times, and in which unit they are, by the rule for recordings, ``find_unit``.

    Args:
        cells: numbers, as text or as JSON has them.
        path: of their file, for messages.
        name: what the file calls them, which may say the unit.
        unit: of the times, if it is known.

    Raises:
        InputError: if one is no number, or none that a time can be.
    """
    texts = [str(cell).strip() for cell in cells]
    is_whole = all(re.fullmatch(r"[+-]?\d{1,18}(\.0*)?", text) or re.fullmatch(r"[+-]?\d{19}", text) for text in texts)
    numbers = [int(text.partition(".")[0]) if is_whole else real(text, f"times ({name}) of {path}") for text in texts]
    if numbers and max(map(abs, numbers)) >= 1 << 63:
        raise InputError(f"{path} must have times that can be, got {max(numbers, key=abs)}.")
    t = np.array(numbers, np.int64 if is_whole else np.float64)
    found = find_unit(t, path, name=name, stated=unit)
    if len(t) and np.abs(t).max() > found.limit:
        raise InputError(f"{path} must have times that can be, got {max(numbers, key=abs)} {found.unit}.")
    return found.to_us(t), found


def frame_number(cell: str | int, place: str) -> int:
    """The number of a frame. Raises ``InputError`` if it is none, or greater than any recording has."""
    if (frame := whole(cell, place)) > MOST_FRAMES:
        raise InputError(f"{place} must have a frame of at most {MOST_FRAMES:,}, got {frame:,}.")
    return frame


def read_names(path: Path) -> list[str]:
    """The names of classes in a file of YOLO, of CVAT or of ours."""
    if path.name == CLASSES_FILE:
        return list(read_classes(path.parent))
    text = read_text(path)
    if path.suffix not in (".yaml", ".yml"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        names = read_yaml(text)["names"]
        return [str(names[n]) for n in range(len(names))]
    except (yaml.YAMLError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{path} must have names of the classes from 0 on, under 'names'.") from error


def key_point_numbers(paths: Sequence[Path]) -> int:
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


def parsed_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ``InputError`` if it is none."""
    found = any_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path} must hold a JSON object, got a {type(found).__name__}.")
    return found


def any_json(path: Path) -> Any:
    """What a JSON file says. Raises ``InputError`` if it is none."""
    try:
        return read_json(read_text(path))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be sound JSON: {error}.") from error


STEP = 1 << 16
"""Characters that are parsed at once."""


def parts(path: Path, tag: str, what: str) -> Iterator[Element]:
    """The elements right below the root of a file, each when it is complete; afterwards it is forgotten.

    Args:
        path: of the file.
        tag: of its root.
        what: the format, for messages.

    Raises:
        InputError: if it is no sound XML, has another root, or declares types and entities, which may blow up.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path} must be {what}, without entities of its own.")
    parser, open_elements = XMLPullParser(("start", "end")), list[Element]()
    try:
        for start in range(0, len(text), STEP):
            parser.feed(text[start : start + STEP])
            yield from _complete(parser, open_elements, path, tag, what)
        parser.close()
        yield from _complete(parser, open_elements, path, tag, what)
    except (ParseError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a sound XML file: {error}.") from error


def whole_xml(path: Path, tag: str, what: str) -> Element:
    """The root of a small file, with all in it. Arguments and errors are those of ``parts``."""
    root = Element(tag)
    root.extend(list(parts(path, tag, what)))
    return root


def _complete(
    parser: XMLPullParser, open_elements: list[Element], path: Path, tag: str, what: str
) -> Iterator[Element]:
    for found in parser.read_events():
        event, element = found[0], found[-1]
        assert isinstance(element, Element)
        if event == "start":
            if not open_elements and element.tag != tag:
                raise InputError(f"{path} must be {what}, got <{element.tag[:40]}>.")
            open_elements.append(element)
            continue
        open_elements.pop()
        if len(open_elements) == 1:
            yield element
            open_elements[0].clear()
