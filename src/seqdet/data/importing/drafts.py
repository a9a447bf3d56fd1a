"""What every reader of labels fills: boxes by recording and frame, and the names of their classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from ...checks import InputError
from ...config_files import suggestion
from ...files import below
from ..labels import LABEL_SUFFIX, recording_name
from .reading import last_number, read_names

When = Literal["us", "frame", "number", "end"]
"""What says when a label was: a time; the number of a frame; a number that is one or the other; nothing, for a
recording that is one labelled sample, of which it is the end."""
RELATIVE = (1, 1)


class Owner(NamedTuple):
    """The recording that a file of labels belongs to, and the last number in the rest of its name."""

    recording: str
    number: int | None
    is_whole: bool


@dataclass
class Draft:
    """The labels of one recording, as a format has them.

    source: a file, for messages. when: what ``at`` and the ``t`` of the rows are. rows: entries of ``EVENT_BBOX``. at:
    where somebody looked. frame_hw: what the boxes refer to: height and width of the labelled frames, ``RELATIVE``, or
    the sensor if None. rate: frames per second, if the files say. first: number of the first frame. dropped: what was
    left out, by reason.
    """

    source: Path
    when: When
    rows: list[tuple[float, ...]] = field(default_factory=list)
    at: set[int] = field(default_factory=set)
    frame_hw: tuple[int, int] | None = None
    rate: float | None = None
    first: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class Drafts:
    """The labels of all recordings.

    recordings: by name. classes: names of the classes, by index. unpaired: files whose recording is not there.

    Args:
        root: file or folder of the labels.
        names: of the recordings.
        classes: names by index; looked for in files if not given.
    """

    def __init__(self, root: Path, names: Sequence[str], classes: Sequence[str] = ()) -> None:
        self.root, self.recordings, self.unpaired = root, dict[str, Draft](), list[str]()
        self.classes, self._is_closed = list(classes), bool(classes)
        self._names = {name.removesuffix("_td"): name for name in names} | {name: name for name in names}

    def files(self, *suffixes: str) -> Iterator[Path]:
        """The files of labels with such an ending.

        Raises:
            InputError: if there are none.
        """
        found = (
            [self.root]
            if self.root.is_file()
            else [
                path
                for path in below(self.root)
                if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".")
            ]
        )
        if not found:
            raise InputError(f"{self.root} must be or hold files of labels ({' '.join(suffixes)}), got none.")
        return iter(found)

    def owner(self, path: PurePath) -> Owner | None:
        """The recording of a file: by its name, that of a folder it is in, or how its name begins; or the only one."""
        stem = path.name.removesuffix(LABEL_SUFFIX) if path.name.endswith(LABEL_SUFFIX) else path.stem
        stem = stem.removesuffix("_bbox")
        if name := self._names.get(stem):
            return Owner(name, None, True)
        last = last_number(stem)
        for folder in reversed(path.parts[:-1]):
            if name := self._names.get(recording_name(Path(folder))) or self._names.get(folder):
                return Owner(name, last, False)
        begins = [n for n in self._names if stem.startswith(n) and not stem[len(n)].isalnum()]
        if begins:
            longest = max(begins, key=len)
            return Owner(self._names[longest], last_number(stem[len(longest) :]), False)
        only = set(self._names.values())
        return Owner(only.pop(), last, False) if len(only) == 1 else None

    def owner_of_file(self, path: Path) -> Owner | None:
        """As ``owner`` of a file on the disk; one without a recording is written down."""
        resolved, root = path.resolve(), self.root.resolve()
        near = PurePath(*resolved.parts[-3:]) if self.root.is_file() else resolved.relative_to(root.parent)
        if (owner := self.owner(near)) is None:
            self.unpaired.append(str(path))
        return owner

    def draft(self, recording: str, source: Path, when: When, frame_hw: tuple[int, int] | None = None) -> Draft:
        """The labels of a recording, to add to.

        Raises:
            InputError: if earlier files of it were different.
        """
        draft = self.recordings.setdefault(recording, Draft(source, when, frame_hw=frame_hw))
        if (draft.when, draft.frame_hw) != (when, frame_hw):
            raise InputError(
                f"labels of one recording must have frames of one size and be told in one way when they are; "
                f"{source} differs from {draft.source}."
            )
        return draft

    def named(self, name: str, source: object) -> int:
        """The index of a class that the files name; new ones are added unless all were given.

        Raises:
            InputError: if it is none of those that were given.
        """
        if name not in self.classes:
            if self._is_closed:
                known = ", ".join(self.classes)
                hint = suggestion(name, self.classes)
                raise InputError(
                    f"classes must list all that the labels have, got {known}, not {name!r} of {source}.{hint}"
                )
            self.classes.append(name)
        return self.classes.index(name)

    def numbered(self, number: int, source: object) -> int:
        """The index itself.

        Raises:
            InputError: if it has no name.
        """
        if not 0 <= number < len(self.classes):
            raise InputError(
                f"classes must name every number from 0 on, got {', '.join(self.classes) or 'none'} and "
                f"a class {number} in {source}. Give --classes, or put a classes.txt beside the labels."
            )
        return number

    def find_classes(self, *names: str) -> None:
        """Take the names of the classes from the first of such files in or beside the folder, unless they are given.

        Raises:
            InputError: if it cannot be read.
        """
        folder = self.root if self.root.is_dir() else self.root.parent
        inner = sorted({path.parent for path in below(folder) if path.name in names})
        for path in (place / name for place in (folder, *inner, folder.parent) for name in names):
            if not self._is_closed and path.is_file():
                self.classes, self._is_closed = read_names(path), True
