"""Names of classes: the file that has them, and which of them a dataset keeps, renames or merges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..checks import InputError, check_choice
from ..config import OtherClasses
from ..config_files import suggestion
from ..files import read_json, write_text
from .labels import CLASSES_FILE, IGNORED

DISCARDED = -1


def read_classes(folder: Path) -> tuple[str, ...]:
    """The names in the ``label_map_dictionary.json`` of a dataset, by class index.

    Raises:
        InputError: if there is no such file, it is damaged, or it does not name the classes from 0 on, each once.
    """
    path = folder / CLASSES_FILE
    if not path.is_file():
        raise InputError(
            f"{path} must name the classes by the numbers that the labels have, and does not exist. Write it, such as "
            '{"0": "car", "1": "pedestrian"} for Gen1, or {"0": "pedestrian", "1": "two wheeler", "2": "car"} for the '
            "1 Mpx folders of RVT."
        )
    try:
        found = read_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be a JSON object of class names: {error}.") from error
    names = found if isinstance(found, dict) else {}
    wanted = [str(n) for n in range(len(names))]
    if not names or set(names) != set(wanted) or not all(isinstance(name, str) for name in names.values()):
        raise InputError(f'{path} must name the classes from 0 on, as in {{"0": "car", "1": "person"}}.')
    if len(set(names.values())) < len(names):
        raise InputError(f"{path} must name every class once, got {', '.join(names.values())}.")
    return tuple(names[n] for n in wanted)


def write_classes(folder: Path, names: Sequence[str]) -> None:
    """Write the ``label_map_dictionary.json`` of a dataset. Raises ``InputError`` as ``replacing`` does."""
    write_text(folder / CLASSES_FILE, json.dumps({str(n): name for n, name in enumerate(names)}) + "\n")


@dataclass(frozen=True)
class ClassMap:
    """From the classes in label files to those of a dataset.

    found: names in the files, by index. names: of the dataset, by index. indices: for each of those found, its new
    index or ``DISCARDED``. others: what becomes of boxes of the discarded ones.
    """

    found: tuple[str, ...]
    names: tuple[str, ...]
    indices: tuple[int, ...]
    others: OtherClasses = "discard"

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """The boxes, (N,) ``EVENT_BBOX``, with their new classes; those of others as ``others`` says.

        "discard" leaves them out: an object that looks like them is background. "ignore" has one with a score of 0 for
        each class, so that to find it is no error.

        Raises:
            InputError: if a box has a class without a name.
        """
        if len(boxes) and (most := int(boxes["class_id"].max())) >= len(self.found):
            raise InputError(
                f"classes of boxes must be below {len(self.found)}, as many as have names, got {most}. Add its name to "
                f"{CLASSES_FILE}."
            )
        classes = np.array(self.indices, np.int64)[boxes["class_id"]] if len(boxes) else np.zeros(0, np.int64)
        kept = boxes[classes != DISCARDED].copy()
        kept["class_id"] = classes[classes != DISCARDED]
        if self.others == "discard" or (classes != DISCARDED).all():
            return kept
        ignored = np.repeat(boxes[classes == DISCARDED], len(self.names))
        ignored["class_id"] = np.tile(np.arange(len(self.names)), int((classes == DISCARDED).sum()))
        ignored["class_confidence"] = IGNORED
        both = np.concatenate([kept, ignored])
        return both[np.argsort(both["t"], kind="stable")]


def alike(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The names in groups that only case and blanks tell apart, most of them of one name."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_plain(name), []).append(name)
    return [tuple(group) for group in groups.values()]


def merging(classes: ClassMap, known: Sequence[str] = ()) -> list[str]:
    """Wishes for ``map_classes`` that merge the classes which only case and blanks tell apart.

    Args:
        classes: the map as it is.
        known: names that stay as they are, those of a dataset that is there.
    """
    wishes = []
    for names in alike(classes.names):
        olds = [
            old for old, n in zip(classes.found, classes.indices, strict=True) if n >= 0 and classes.names[n] in names
        ]
        new = next(name for name in (*known, _plain(names[0]), *names) if name in names)
        new = new if len(names) == 1 or new in known else " ".join(new.split())
        if olds:
            wishes.append(new if olds == [new] else f"{new}={'+'.join(olds)}")
    return wishes


def _plain(name: str) -> str:
    """A name without what nobody means to say by it."""
    return " ".join(name.split()).casefold()


def map_classes(found: Sequence[str], wanted: Sequence[str] = (), *, others: OtherClasses = "discard") -> ClassMap:
    """The map to the classes that are wanted, in their order.

    Args:
        found: names in the label files, by index.
        wanted: names to keep, or ``new=old`` to rename, or ``new=old+old`` to merge; all as they are if empty.
        others: whether boxes of other classes are discarded or ignored.

    Raises:
        InputError: if a class does not exist, or is wanted twice.
    """
    check_choice(others, ("discard", "ignore"), "others")
    indices = [DISCARDED] * len(found)
    names = []
    for entry in wanted or found:
        new, _, olds = (entry, "", entry) if entry in found else entry.partition("=")
        for old in [olds or new] if olds in found else (olds or new).split("+"):
            if old not in found:
                known = ", ".join(found)
                raise InputError(f"classes must be among {known}; got {old!r}.{suggestion(old, list(found))}")
            if indices[found.index(old)] != DISCARDED:
                raise InputError(f"every class must be wanted once, got {old} twice.")
            indices[found.index(old)] = len(names)
        if not new or new in names:
            raise InputError(f"new names of classes must differ, got {entry!r}. Merge by name=old+old.")
        names.append(new)
    return ClassMap(tuple(found), tuple(names), tuple(indices), others)
