"""Labels in zips, as tools export them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from ...checks import InputError
from ...events.packed import DAMAGE
from ...files import below

SUFFIXES = (".txt", ".csv", ".json", ".xml", ".yaml", ".yml", ".ini", ".names")
"""Of files about labels; the others, such as pictures, stay packed."""
MOST_BYTES, MOST_FILES = 1 << 31, 1_000_000
"""Of labels in all zips together."""
STEP = 1 << 20


@contextmanager
def unpacked(labels: Path) -> Iterator[list[Path]]:
    """A folder for every zip that is the labels or lies in their folder, with its name and the labels in it.

    The folders are temporary; where an error names a file in one of them, it names the zip instead.

    Raises:
        InputError: if a zip is damaged or encrypted, has more than 2 GB of labels, or names of files outside of itself.
    """
    zips = [labels] if labels.is_file() else below(labels)
    zips = [path for path in zips if is_zip(path)]
    if not zips:
        yield []
        return
    with TemporaryDirectory(prefix="seqdet-labels-") as temporary:
        folders = [Path(temporary) / str(n) / path.stem for n, path in enumerate(zips)]
        left = [MOST_BYTES, MOST_FILES]
        for path, folder in zip(zips, folders, strict=True):
            _unpack(path, folder, left)
        try:
            yield folders
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
                name = PurePosixPath(entry.filename.replace("\\", "/"))
                if entry.filename.endswith("/") or name.suffix.lower() not in SUFFIXES or name.name.startswith("."):
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
    except DAMAGE as error:
        raise InputError(f"{path} must be a sound zip without a password: {error}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be unpacked to {folder.parent}: {error.strerror or error}.") from error
