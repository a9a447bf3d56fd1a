"""Labels as the files of a format have them: which recording and frame each is of, its class, and its object.

``ParsedLabels`` is what every reader fills; ``boxes`` and ``frames`` turn what it holds into microseconds and pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

from ..checks import InputError
from ..config_files import suggestion
from ..data.labels import CLASSES_FILE
from ..files import below
from .files import is_number, is_zip, read_names, whole
from .owners import Owner, Owners
from .shapes import Box, Keyframe, between

TimeKind = Literal["us", "frame", "number", "end", "picture"]
"""What says when a label was: a time; the number of a frame; a number that is one or the other; nothing, for a
recording that is one labelled sample, of which it is the end; the place of an image in its sequence, below 0 where its
name is none of the sequence."""
RELATIVE = (1, 1)
CLASS_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names", CLASSES_FILE)
"""Files with the names of classes, beside labels that number them."""
UNNAMED = "boxes with an identity below 0, as the -1 of MOT: they have none, and get the track_id 0"
NAMED = "objects whose identity is a name: numbered in the order in which they appear"
FILLED = "boxes interpolated between keyframes"
MOST_FILLED = 20_000_000
"""More are no labels of a person."""
DIFFER = "files of classes must have the same names in the same order, and {} and {} differ. Import them one by one."


@dataclass
class RecordingLabels:
    """The labels of one recording, as a format has them.

    name: key of the recording. source: a file, for messages. when: what ``at`` and the ``t`` of the rows are. frame_hw:
    what the boxes refer to: height and width of the labelled frames, ``RELATIVE``, or the sensor if None. rows:
    entries of ``EVENT_BBOX``. at: where somebody looked. rate: frames per second, if the files say. first: number of
    the first frame, if the format says. is_named: its frames are the numbers in the names of images. own_count: how
    many frames a tool made of a video at ``rate``, whatever the video has. named: identities that are no numbers, each
    with the number below 0 that rows have for it. missing: names of images that are none of the sequence.
    """

    name: str
    source: Path
    when: TimeKind
    frame_hw: tuple[int, int] | None = None
    rows: list[tuple[float, ...]] = field(default_factory=list)
    at: set[int] = field(default_factory=set)
    rate: float | None = None
    first: int | None = None
    is_named: bool = False
    own_count: int | None = None
    named: dict[tuple[str, str], int] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)

    def add(self, at: int, box: Box, label: int, *, track: int = 0, score: float = 1.0) -> None:
        """Add a box; that somebody looked there is noted apart, in ``at``."""
        self.rows.append((at, *box, label, track, score))

    def next_track(self, first: int) -> int:
        """A number after those of all objects so far, and ``first`` where there is none."""
        return int(max((row[6] for row in self.rows if row[6] >= 0), default=first - 1)) + 1

    def miss(self, name: str) -> int:
        """A place below 0 for an image that is not in the sequence."""
        at = -1 - len(self.missing)
        self.missing[at] = name
        self.at.add(at)
        return at


class FrameLabels(NamedTuple):
    """The labels of one frame: those of its recording, and which frame it is."""

    recording: RecordingLabels
    at: int

    def add(self, box: Box, label: int, *, track: int = 0, score: float = 1.0) -> None:
        """Add a box of the frame."""
        self.recording.add(self.at, box, label, track=track, score=score)


class ParsedLabels:
    """The labels of all recordings.

    recordings: by key. classes: names of the classes, by index. unpaired: files whose recording is not there.
    told: what was understood in one way of several, and how often. dropped: what was left out, by reason. root: file or
    folder of the labels that are read. owners: the recordings that these may be about.

    Args:
        classes: names by index; looked for in files if not given.
    """

    root: Path
    owners: Owners

    def __init__(self, classes: Sequence[str] = ()) -> None:
        self.recordings = dict[str, RecordingLabels]()
        self.unpaired = list[str]()
        self.told = Counter[str]()
        self.dropped = Counter[str]()
        self.classes = list(classes)
        self._are_given = bool(classes)
        self._named_by: Path | None = None
        self._places = list[Path]()
        self._top: Path | None = None

    def turn_to(self, root: Path, owners: Owners, *, more: Sequence[Path] = (), top: Path | None = None) -> None:
        """Read labels of one place from now on.

        Args:
            root: file or folder.
            owners: the recordings that they may be about.
            more: folders of what was in zips.
            top: a folder in which the names of the classes may be, too.
        """
        self.root = root
        self.owners = owners
        self._places = [place for place in (root, *more) if not is_zip(place)]
        self._top = top

    def files(self, *suffixes: str) -> Iterator[Path]:
        """The files of labels with such an ending.

        Raises:
            InputError: if there are none.
        """
        if not (found := self._files(suffixes)):
            raise InputError(f"{self.root} must be or hold files of labels ({' '.join(suffixes)}), got none.")
        return iter(found)

    def has_files(self, *suffixes: str) -> bool:
        """Whether there are any."""
        return bool(self._files(suffixes))

    def _files(self, suffixes: Sequence[str]) -> list[Path]:
        return [
            path
            for place in self._places
            for path in ([place] if place.is_file() else below(place))
            if path == place or (path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith("."))
        ]

    def notes(self, *names: str) -> list[Path]:
        """The files of such names in the folder of the labels, or else beside it, those further up first."""
        folders = [place if place.is_dir() else place.parent for place in self._places]
        inner = sorted({path.parent for folder in folders for path in below(folder) if path.name in names})
        places = dict.fromkeys([*folders, *inner])
        found = [path for place in places for name in names if (path := place / name).is_file()]
        above = [folders[0].parent, *([self._top] if self._top else [])]
        return found or [path for place in above for name in names if (path := place / name).is_file()]

    def owner_of_file(self, path: Path) -> Owner | None:
        """The recording of a file on the disk; one without a recording is written down."""
        if (owner := self.owners.of_frame(self.near(path))) is None:
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

    def of_recording(
        self, name: str, source: Path, when: TimeKind, frame_hw: tuple[int, int] | None = None
    ) -> RecordingLabels:
        """The labels of a recording, to add to.

        Args:
            name: of the recording.
            source: the file that has some.
            when: what says when they were.
            frame_hw: what the boxes refer to, see ``RecordingLabels``.

        Raises:
            InputError: if earlier files of it were different.
        """
        labels = self.recordings.setdefault(name, RecordingLabels(name, source, when, frame_hw))
        if (labels.when, labels.frame_hw) != (when, frame_hw):
            raise InputError(
                f"labels of one recording must have frames of one size and be told in one way when they are; "
                f"{source} differs from {labels.source}."
            )
        return labels

    def of_file(self, path: Path, when: TimeKind, frame_hw: tuple[int, int] | None = None) -> RecordingLabels | None:
        """As ``of_recording`` of the one that a file belongs to; None, written down, if it is not there."""
        owner = self.owner_of_file(path)
        return owner and self.of_recording(owner.recording, path, when, frame_hw)

    def of_frame(
        self,
        owner: Owner,
        source: Path,
        frame_hw: tuple[int, int] | None,
        refusal: str,
        *,
        stated: tuple[int, TimeKind] | None = None,
    ) -> FrameLabels:
        """The labels of a frame, to add to; it is labelled from now on.

        Args:
            owner: the recording, and the number in the name of the frame.
            source: the file that has labels of it.
            frame_hw: what the boxes refer to, see ``RecordingLabels``.
            refusal: the message if nothing says when it was.
            stated: when it was, if more than its name says so.

        Raises:
            InputError: if nothing says when it was, or as ``of_recording`` does.
        """
        if owner.picture is not None:
            at, when = owner.picture, "picture"
        else:
            at, when = stated or ((0, "end") if owner.is_whole else (owner.number, "number"))
        known = self.recordings.get(owner.recording)
        if known is not None and known.when == "picture" != when:
            return FrameLabels(known, known.miss(f"{'' if at is None else at} of {source}".strip()))
        if at is None:
            raise InputError(refusal)
        if known is not None and when == "picture" and known.when in ("number", "frame"):
            _miss_all(known)
        labels = self.of_recording(owner.recording, source, when, frame_hw)
        labels.at.add(at)
        return FrameLabels(labels, at)

    def of_frame_file(self, path: Path, frame_hw: tuple[int, int] | None) -> FrameLabels | None:
        """As ``of_frame`` of a file about one frame; None, written down, if its recording is not there."""
        refusal = f"{path} must have the number of its frame, or its time in microseconds, in its name."
        owner = self.owner_of_file(path)
        return owner and self.of_frame(owner, path, frame_hw, refusal)

    def identity(self, labels: RecordingLabels, cell: object, place: str, *, group: str = "") -> int:
        """The number of an object; 0 where the file says that it has none, as -1 does.

        A name, such as a7, has a number below 0, which ``sensor_boxes`` replaces by one after all that are numbers.

        Args:
            labels: those of its recording.
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
        if key not in labels.named:
            labels.named[key] = -1 - len(labels.named)
            self.told[NAMED] += 1
        return labels.named[key]

    def class_named(self, name: str, source: object) -> int:
        """The index of a class that the files name; new ones are added unless all were given.

        Raises:
            InputError: if it is none of those that were given.
        """
        if name not in self.classes:
            if self._are_given or self._named_by:
                known = ", ".join(self.classes)
                hint = suggestion(name, self.classes)
                raise InputError(
                    f"classes must list all that the labels have, got {known}, not {name!r} of {_bare(source)}.{hint}"
                )
            self.classes.append(name)
        return self.classes.index(name)

    def class_numbered(self, number: int, source: object, *, first: int = 0) -> int:
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

    def only_class(self) -> int:
        """The class of boxes that have none, of which there may be but one. Raises ``InputError`` if there are more."""
        if not self.classes:
            return self.class_named("object", self.root)
        if len(self.classes) > 1:
            raise InputError(f"{self.root} must say the class of every box, of {', '.join(self.classes)}.")
        return 0

    def find_classes(self, *more: str) -> None:
        """Take the names of the classes, unless they are given, from the first file that has them.

        Args:
            more: names of such files, in or beside the folder, that go before ``CLASS_FILES``.

        Raises:
            InputError: if it cannot be read, or two differ.
        """
        found = [] if self._are_given else self.notes(*more, *CLASS_FILES)
        if not found:
            return
        names = read_names(found[0])
        if self._named_by is not None and names != self.classes:
            raise InputError(DIFFER.format(found[0], self._named_by))
        self.classes = names
        self._named_by = found[0]
        others = [] if found[0].parent == self.root else found[1:]  # there it is the one for all
        for other in others:
            if other.name == found[0].name and read_names(other) != self.classes:
                raise InputError(DIFFER.format(other, found[0]))

    def tell_upright(self, shapes: str, count: int = 1) -> None:
        """Say that shapes of a kind became their upright boxes."""
        self.told[f"{shapes} that became their upright boxes"] += count

    def filled(self, first: Keyframe, second: Keyframe, frames: Sequence[int]) -> list[Keyframe]:
        """The boxes ``between`` two keyframes.

        Raises:
            InputError: if so many were asked for that the file must be damaged.
        """
        self.told[FILLED] += len(frames)
        if self.told[FILLED] > MOST_FILLED:
            raise InputError(f"{self.root} must have tracks of at most {MOST_FILLED:,} boxes together, and has more.")
        return between(first, second, frames)


def _miss_all(labels: RecordingLabels) -> None:
    """Take the frames so far for images that are not in the sequence, of which others are named."""
    places = {at: -1 - n for n, at in enumerate(sorted(labels.at))}
    labels.missing = {place: str(at) for at, place in places.items()}
    labels.rows = [(places[int(row[0])], *row[1:]) for row in labels.rows]
    labels.at = set(places.values())
    labels.when = "picture"


def frame_size(height: object, width: object, place: str) -> tuple[int, int] | None:
    """Height and width of frames as a file says them; None where it does not, or says 0."""
    size = whole(height or 0, place), whole(width or 0, place)
    return size if min(size) > 0 else None


def _bare(place: object) -> str:
    """A place as it stands at the end of a sentence."""
    return str(place).rstrip(",")
