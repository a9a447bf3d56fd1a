"""Files of labels that other tools have written: zips of them, their text, and the numbers and names in it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
import yaml

from ..checks import InputError
from ..config_files import read_yaml
from ..data.classes import read_classes
from ..data.labels import CLASSES_FILE
from ..events.tables import ZIP_DAMAGE
from ..events.time_units import TimeUnit, Unit, find_unit
from ..files import below

PACKED_SUFFIXES = (".txt", ".csv", ".json", ".xml", ".yaml", ".yml", ".ini", ".names")
"""Of files about labels in zips; the others, such as pictures, stay packed."""
MOST_BYTES = 1 << 31
"""Of one file of labels, and of those in all zips together."""
MOST_FILES = 1_000_000
"""In all zips together."""
ROBOFLOW = re.compile(r"[_-](jpg|jpeg|png|bmp|webp|tif|tiff|gif)\.rf\.[0-9A-Za-z]{8,}$", re.IGNORECASE)
"""What it puts after the names of images: drive_000012.jpg becomes drive_000012_jpg.rf.0123456789abcdef.jpg."""
STEP = 1 << 20
MOST_FRAMES = 4_000_000
"""A day and a half at 30 frames a second: each is a labelled time."""


@contextmanager
def unpacked(labels: Path) -> Iterator[dict[Path, Path]]:
    """A folder for every zip that is the labels or lies in their folder, with its name and the labels in it.

    The folders are temporary; where an error names a file in one of them, it names the zip instead.

    Raises:
        InputError: if a zip is damaged or encrypted, has more than 2 GB of labels, or names of files outside of itself.
    """
    zips = [path for path in ([labels] if labels.is_file() else below(labels)) if is_zip(path)]
    if not zips:
        yield {}
        return
    with TemporaryDirectory(prefix="seqdet-labels-") as temporary:
        folders = [Path(temporary) / str(n) / path.stem for n, path in enumerate(zips)]
        left = [MOST_BYTES, MOST_FILES]
        for path, folder in zip(zips, folders, strict=True):
            _unpack(path, folder, left)
        try:
            yield dict(zip(zips, folders, strict=True))
        except InputError as error:
            text = str(error)
            for path, folder in zip(zips, folders, strict=True):
                text = text.replace(str(folder), str(path))
            raise InputError(text) from error


def is_zip(path: Path) -> bool:
    """Whether a file is to be unpacked, by its name."""
    return path.suffix.lower() == ".zip" and path.is_file() and not path.name.startswith(".")


def _unpack(path: Path, folder: Path, left: list[int]) -> None:
    """Write the labels in a zip to a folder; ``left`` bytes and files may still be written, and are counted down."""
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(path) as packed:
            for entry in packed.infolist():
                name = posix_path(entry.filename)
                if entry.filename.endswith("/") or name.suffix.lower() not in PACKED_SUFFIXES or name.name[:1] == ".":
                    continue
                if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                    raise InputError(f"{path} must hold files below itself alone, got {entry.filename[:200]!r}.")
                target = folder.joinpath(*name.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                left[1] -= 1
                with packed.open(entry) as source, target.open("xb") as file:
                    while block := source.read(STEP):
                        left[0] -= len(block)
                        if min(left) < 0:
                            raise InputError(
                                f"{path} must hold at most {MOST_BYTES >> 30} GB of labels in {MOST_FILES:,} files, "
                                "and holds more. Unpack it, and name the folder, if that is right."
                            )
                        file.write(block)
    except ZIP_DAMAGE as error:
        raise InputError(f"{path} must be a sound zip without a password: {error}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be unpacked to {folder.parent}: {error.strerror or error}.") from error


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


def posix_path(text: str) -> PurePosixPath:
    """A path in a file, which any system may have written."""
    return PurePosixPath(text.replace("\\", "/"))


def bare_stem(stem: str) -> str:
    """The name of an image, without its ending, as it was before Roboflow added that and a hash to it."""
    return ROBOFLOW.sub("", stem)


def last_number(name: str) -> int | None:
    """The last number in a name, of which 18 digits count; None if there is none."""
    found = re.findall(r"[0-9]+", name)
    return int(found[-1][-18:]) if found else None


def is_number(text: str) -> bool:
    """Whether a text is a number, be it none that is finite."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def real(text: object, place: str) -> float:
    """A finite number. Raises ``InputError`` if it is none."""
    try:
        value = float(str(text))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{place} must have numbers, got {str(text)[:40]!r}.") from error
    if not isfinite(value):
        raise InputError(f"{place} must have finite numbers, got {value}.")
    return value


def whole(text: object, place: str) -> int:
    """A whole number of at most 18 digits. Raises ``InputError`` if it is none."""
    found = re.fullmatch(r"\s*([+-]?\d{1,18})(\.0*)?\s*", str(text))
    if not found:
        raise InputError(f"{place} must have a whole number here, got {str(text)[:40]!r}.")
    return int(found[1])


def frame_number(cell: str | int, place: str) -> int:
    """The number of a frame. Raises ``InputError`` if it is none, or greater than any recording has."""
    if (frame := whole(cell, place)) > MOST_FRAMES:
        raise InputError(f"{place} must have a frame of at most {MOST_FRAMES:,}, got {frame:,}.")
    return frame


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
        raise InputError(f"{path} must have plausible times, got {max(numbers, key=abs)}.")
    t = np.array(numbers, np.int64 if is_whole else np.float64)
    found = find_unit(t, path, name=name, stated=unit)
    if len(t) and np.abs(t).max() > found.limit:
        raise InputError(f"{path} must have plausible times, got {max(numbers, key=abs)} {found.unit}.")
    return found.to_us(t), found
