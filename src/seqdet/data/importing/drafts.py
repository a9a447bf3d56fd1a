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
from .archives import is_zip
from .reading import is_number, last_number, read_names, whole

When = Literal["us", "frame", "number", "end"]
"""What says when a label was: a time; the number of a frame; a number that is one or the other; nothing, for a
recording that is one labelled sample, of which it is the end."""
RELATIVE = (1, 1)
UNNAMED = "boxes with an identity below 0, as the -1 of MOT: they have none, and get the track_id 0"
NAMED = "objects whose identity is a name: numbered in the order in which they appear"


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
    the sensor if None. rate: frames per second, if the files say. first: number of the first frame. named: identities
    that are no numbers, each with the number below 0 that rows have for it. dropped: what was left out, by reason.
    """

    source: Path
    when: When
    rows: list[tuple[float, ...]] = field(default_factory=list)
    at: set[int] = field(default_factory=set)
    frame_hw: tuple[int, int] | None = None
    rate: float | None = None
    first: int = 0
    named: dict[tuple[str, str], int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)


class Drafts:
    """The labels of all recordings.

    recordings: by name. classes: names of the classes, by index. unpaired: files whose recording is not there.
    told: what was understood in one way of several, and how often. dropped: what was left out, by reason.

    Args:
        root: file or folder of the labels.
        names: of the recordings.
        classes: names by index; looked for in files if not given.
        more: folders of what was in zips.
    """

    def __init__(
        self, root: Path, names: Sequence[str], classes: Sequence[str] = (), more: Sequence[Path] = ()
    ) -> None:
        self.root, self.recordings, self.unpaired = root, dict[str, Draft](), list[str]()
        self.told, self.dropped = Counter[str](), Counter[str]()
        self._places = [place for place in (root, *more) if not is_zip(place)]
        self.classes, self._is_closed = list(classes), bool(classes)
        self._names = {name.removesuffix("_td"): name for name in names} | {name: name for name in names}

    def files(self, *suffixes: str) -> Iterator[Path]:
        """The files of labels with such an ending.

        Raises:
            InputError: if there are none.
        """
        found = [
            path
            for place in self._places
            for path in ([place] if place.is_file() else below(place))
            if path == place or (path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith("."))
        ]
        if not found:
            raise InputError(f"{self.root} must be or hold files of labels ({' '.join(suffixes)}), got none.")
        return iter(found)

    def owner(self, path: PurePath) -> Owner | None:
        """The recording of a file: by its name, that of a folder it is in, or how its name begins; or the only one."""
        return self.first_owner([path])

    def first_owner(self, paths: Sequence[PurePath], *, or_only: bool = True) -> Owner | None:
        """The recording of the first of several files that has one, by the names; ``or_only``, or else the only one."""
        if (found := next((owner for path in paths if (owner := self._match(path))), None)) or not or_only:
            return found
        only = set(self._names.values())
        return Owner(only.pop(), last_number(paths[0].stem), False) if len(only) == 1 else None

    def owner_of_frame(
        self, name: PurePath, *, before: Sequence[PurePath] = (), after: Sequence[PurePath] = ()
    ) -> Owner | None:
        """The recording of an image by its name, and the number that it has there.

        Args:
            name: of the image, perhaps in folders.
            before: what decides before it, such as the name of a video.
            after: what decides after it, such as the file that names it.
        """
        own = self._match(name)
        number = own.number if own else last_number(name.stem)
        if found := self.first_owner(before, or_only=False):
            return Owner(found.recording, number, False)
        if own:
            return own
        found = self.first_owner([*after, name])
        return found and Owner(found.recording, number, False)

    def _match(self, path: PurePath) -> Owner | None:
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
        return None

    def owner_of_file(self, path: Path) -> Owner | None:
        """As ``owner`` of a file on the disk; one without a recording is written down."""
        if (owner := self.owner(self.near(path))) is None:
            self.leave_unpaired(str(path))
        return owner

    def near(self, path: Path) -> PurePath:
        """The path of a file of labels from the folder that was named on; of one that was named itself, its end."""
        resolved = path.resolve()
        for place in (each.resolve() for each in self._places if each.is_dir()):
            if resolved.is_relative_to(place):
                return resolved.relative_to(place.parent)
        return PurePath(*resolved.parts[-3:])

    def leave_unpaired(self, what: str) -> None:
        """Write down, once, a file or a part of one whose recording is not there."""
        if what not in self.unpaired:
            self.unpaired.append(what)

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

    def identity(self, draft: Draft, cell: object, place: str, *, group: str = "") -> int:
        """The number of an object; 0 where the file says that it has none, as -1 does.

        A name, such as a7, has a number below 0, which ``placed_labels`` replaces by one after all that are numbers.

        Args:
            draft: the labels of its recording.
            cell: what the file has.
            place: for messages.
            group: names of different groups are different objects.

        Raises:
            InputError: if it is neither a whole number nor a name.
        """
        text = "" if cell is None else str(cell).strip()
        if not text:
            return 0
        if is_number(text):
            number = whole(text, place)
            self.told[UNNAMED] += number < 0
            return max(number, 0)
        key = group, text
        if key not in draft.named:
            draft.named[key] = -1 - len(draft.named)
            self.told[NAMED] += 1
        return draft.named[key]

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
                    f"classes must list all that the labels have, got {known}, not {name!r} of {_bare(source)}.{hint}"
                )
            self.classes.append(name)
        return self.classes.index(name)

    def numbered(self, number: int, source: object, *, first: int = 0) -> int:
        """The index of a class that the files number from ``first`` on.

        Raises:
            InputError: if it has no name.
        """
        if not 0 <= number - first < len(self.classes):
            raise InputError(
                f"classes must name every number from {first} on, got {', '.join(self.classes) or 'none'} and "
                f"a class {number} in {_bare(source)}. Give --classes, or put a classes.txt beside the labels."
            )
        return number - first

    def notes(self, *names: str) -> list[Path]:
        """The files of such names in the folder of the labels, or else beside it, those further up first."""
        folders = [place if place.is_dir() else place.parent for place in self._places]
        inner = sorted({path.parent for folder in folders for path in below(folder) if path.name in names})
        places = dict.fromkeys([*folders, *inner])
        found = [path for place in places for name in names if (path := place / name).is_file()]
        return found or [path for name in names if (path := folders[0].parent / name).is_file()]

    def find_classes(self, *names: str) -> None:
        """Take the names of the classes from the first of such files in or beside the folder, unless they are given.

        Raises:
            InputError: if it cannot be read, or two differ.
        """
        found = [] if self._is_closed else self.notes(*names)
        if not found:
            return
        self.classes, self._is_closed = read_names(found[0]), True
        others = [] if found[0].parent == self.root else found[1:]  # there it is the one for all
        for other in others:
            if other.name == found[0].name and read_names(other) != self.classes:
                raise InputError(
                    f"files of classes must have the same names in the same order, and {other} and {found[0]} differ. "
                    "Import them one by one."
                )


def _bare(place: object) -> str:
    """A place as it stands at the end of a sentence."""
    return str(place).rstrip(",")
