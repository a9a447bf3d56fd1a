"""Labels as the files of a format have them: which recording and frame each is of, its class, and its object.

``ParsedLabels`` is what every reader fills; ``sensor_boxes`` turns what it holds of a recording into microseconds and
pixels of its sensor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

import numpy as np

from ..checks import InputError
from ..config_files import suggestion
from ..data.checking import check_clock, check_inside, check_pixels
from ..data.labels import CLASSES_FILE, EVENT_BBOX, LABEL_SUFFIX, is_ignored, recording_name
from ..events.files import Recording
from ..events.time_units import LATEST_US
from ..files import below
from .files import is_number, is_zip, last_number, read_names, whole
from .options import ImportOptions, ImportReport
from .shapes import Box, Keyframe, between

TimeKind = Literal["us", "frame", "number", "end"]
"""What says when a label was: a time; the number of a frame; a number that is one or the other; nothing, for a
recording that is one labelled sample, of which it is the end."""
RELATIVE = (1, 1)
CLASS_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names", CLASSES_FILE)
"""Files with the names of classes, beside labels that number them."""
UNNAMED = "boxes with an identity below 0, as the -1 of MOT: they have none, and get the track_id 0"
NAMED = "objects whose identity is a name: numbered in the order in which they appear"
FILLED = "boxes interpolated between keyframes"
MOST_FILLED = 20_000_000
"""More are no labels of a person."""
ADVICE = " Give --start-us, and --label-rate where they number frames; name columns of times t_s, t_ms, t_us or t_ns."
FAR_ASPECT = 0.02
"""Frames whose shape differs by this part from the sensor's show something else."""
MOST_TRACKS = 1 << 32
MOST = 1 << 24
"""Of the place and the size of a box, and of a score; larger ones are damage, and no numbers that labels hold."""
NOT_STATED = "boxes with a score below 0, as the -1 of MOT: it is not stated, and becomes 1"
SCORED = "boxes with a score between 0 and 1: it is kept, and they are targets like others"
ODD = "boxes with a score above 1: it is kept, though it is no share from 0 to 1"
IGNORED_TOLD = "boxes that are ignored, neither targets nor errors: of a score of 0, difficult, or a crowd"


class Owner(NamedTuple):
    """The recording that a file of labels belongs to, and the last number in the rest of its name.

    is_whole: the file has just its name, and so is about all of it.
    """

    recording: str
    number: int | None
    is_whole: bool


@dataclass
class RecordingLabels:
    """The labels of one recording, as a format has them.

    name: of the recording. source: a file, for messages. when: what ``at`` and the ``t`` of the rows are. frame_hw:
    what the boxes refer to: height and width of the labelled frames, ``RELATIVE``, or the sensor if None. rows:
    entries of ``EVENT_BBOX``. at: where somebody looked. rate: frames per second, if the files say. first: number of
    the first frame. named: identities that are no numbers, each with the number below 0 that rows have for it.
    """

    name: str
    source: Path
    when: TimeKind
    frame_hw: tuple[int, int] | None = None
    rows: list[tuple[float, ...]] = field(default_factory=list)
    at: set[int] = field(default_factory=set)
    rate: float | None = None
    first: int = 0
    named: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, at: int, box: Box, label: int, *, track: int = 0, score: float = 1.0) -> None:
        """Add a box; that somebody looked there is noted apart, in ``at``."""
        self.rows.append((at, *box, label, track, score))

    def next_track(self, first: int) -> int:
        """A number after those of all objects so far, and ``first`` where there is none."""
        return int(max((row[6] for row in self.rows if row[6] >= 0), default=first - 1)) + 1


class FrameLabels(NamedTuple):
    """The labels of one frame: those of its recording, and which frame it is."""

    recording: RecordingLabels
    at: int

    def add(self, box: Box, label: int, *, track: int = 0, score: float = 1.0) -> None:
        """Add a box of the frame."""
        self.recording.add(self.at, box, label, track=track, score=score)


class ParsedLabels:
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
        self.root = root
        self.recordings = dict[str, RecordingLabels]()
        self.unpaired = list[str]()
        self.told = Counter[str]()
        self.dropped = Counter[str]()
        self.classes = list(classes)
        self._is_closed = bool(classes)
        self._places = [place for place in (root, *more) if not is_zip(place)]
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

    def notes(self, *names: str) -> list[Path]:
        """The files of such names in the folder of the labels, or else beside it, those further up first."""
        folders = [place if place.is_dir() else place.parent for place in self._places]
        inner = sorted({path.parent for folder in folders for path in below(folder) if path.name in names})
        places = dict.fromkeys([*folders, *inner])
        found = [path for place in places for name in names if (path := place / name).is_file()]
        return found or [path for name in names if (path := folders[0].parent / name).is_file()]

    def first_owner(self, paths: Sequence[PurePath], *, or_only: bool = True) -> Owner | None:
        """The recording of the first of several files that has one, or else the only recording.

        It has one by its name, that of a folder it is in, or how its name begins.

        Args:
            paths: of the files.
            or_only: whether the only recording will do.
        """
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
        """The recording of a file on the disk; one without a recording is written down."""
        if (owner := self.first_owner([self.near(path)])) is None:
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
        at, when = stated or ((0, "end") if owner.is_whole else (owner.number, "number"))
        if at is None:
            raise InputError(refusal)
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
            if self._is_closed:
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
        found = [] if self._is_closed else self.notes(*more, *CLASS_FILES)
        if not found:
            return
        self.classes = read_names(found[0])
        self._is_closed = True
        others = [] if found[0].parent == self.root else found[1:]  # there it is the one for all
        for other in others:
            if other.name == found[0].name and read_names(other) != self.classes:
                raise InputError(
                    f"files of classes must have the same names in the same order, and {other} and {found[0]} differ. "
                    "Import them one by one."
                )

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


def frame_size(height: object, width: object, place: str) -> tuple[int, int] | None:
    """Height and width of frames as a file says them; None where it does not, or says 0."""
    size = whole(height or 0, place), whole(width or 0, place)
    return size if min(size) > 0 else None


def _bare(place: object) -> str:
    """A place as it stands at the end of a sentence."""
    return str(place).rstrip(",")


def sensor_boxes(
    labels: RecordingLabels,
    recording: Recording,
    span_us: tuple[int, int],
    options: ImportOptions,
    report: ImportReport,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N,) ``EVENT_BBOX``, sorted by time, and the times (M,) int64 at which the recording is labelled.

    Args:
        labels: as a format has them.
        recording: to which they belong, and the size of whose sensor is asked for.
        span_us: times of its first and of its last event.
        options: which say when frames are, for labels with their numbers.
        report: what is left out, or understood in one way of several, is added.

    Raises:
        InputError: if the times or the size of the frames cannot be known, or do not fit the recording.
    """
    source = labels.source
    at = np.array(sorted(labels.at), np.int64)
    times = _times(at, labels, options, span_us[1])
    check_clock(times, span_us, source, ADVICE)
    boxes = np.zeros(len(labels.rows), EVENT_BBOX)
    rows = np.array([row[1:] for row in labels.rows], np.float64).reshape(-1, 7)
    numbers = np.abs(rows[:, [0, 1, 2, 3, 6]])
    if not (numbers <= MOST).all():
        raise InputError(f"{source} must have places, sizes and scores up to {MOST:,}, got {numbers.max():.3g}.")
    if labels.frame_hw != RELATIVE:
        check_pixels(rows[:, :4], labels.frame_hw or recording.stated_size_hw, source)
    sides = rows[:, :4] * np.tile(_scale(labels, recording), 2)
    for name, column in zip("xywh", sides.T, strict=True):
        boxes[name] = column
    if size_hw := recording.stated_size_hw:
        check_inside(boxes, size_hw, source)
    boxes["t"] = times[np.searchsorted(at, [row[0] for row in labels.rows])] if labels.rows else 0
    tracks = rows[:, 5]
    named = tracks < 0  # see ParsedLabels.identity
    tracks[named] = max(tracks.max(initial=0), 0) - tracks[named]
    if len(rows) and tracks.max() >= MOST_TRACKS:
        raise InputError(f"{source} must have numbers of objects below {MOST_TRACKS}, got {tracks.max():.0f}.")
    for name, column in zip(("class_id", "track_id", "class_confidence"), rows[:, 4:].T, strict=True):
        boxes[name] = column
    has_size = (sides[:, 2] > 0) & (sides[:, 3] > 0)
    is_inside = (sides[:, :2] + sides[:, 2:] > 0).all(axis=1)
    if size_hw:
        is_inside &= (sides[:, 0] < size_hw[1]) & (sides[:, 1] < size_hw[0])
    scores = boxes["class_confidence"]
    is_unstated = scores < 0
    is_odd = scores > 1
    scores[is_unstated] = 1
    told = {NOT_STATED: is_unstated, IGNORED_TOLD: is_ignored(boxes), SCORED: (scores > 0) & (scores < 1), ODD: is_odd}
    dropped = {"boxes of no size": ~has_size, "boxes outside the sensor": has_size & ~is_inside}
    report.told += Counter({what: int(those.sum()) for what, those in told.items()})
    report.dropped += Counter({what: int(those.sum()) for what, those in dropped.items()})
    boxes = boxes[has_size & is_inside]
    return boxes[np.argsort(boxes["t"], kind="stable")], times


def _times(at: np.ndarray, labels: RecordingLabels, options: ImportOptions, last_us: int) -> np.ndarray:
    """Microseconds of what ``at`` says."""
    if labels.when == "end":
        return np.full(len(at), last_us)
    rate = options.label_rate or labels.rate
    frame_us = options.frame_us or (1e6 / rate if rate else None)
    if labels.when == "us" or (labels.when == "number" and frame_us is None):
        times = at + options.start_us
    elif frame_us is None:
        raise InputError(f"{labels.source} numbers frames. Give --label-rate, how many of them a second has.")
    else:
        times = np.rint((at - labels.first) * frame_us) + options.start_us
    if len(times) and np.abs(times).max() > LATEST_US:
        raise InputError(f"{labels.source} must have plausible times, got {np.abs(times).max():.0f} us.")
    return times.astype(np.int64)


def _scale(labels: RecordingLabels, recording: Recording) -> np.ndarray:
    """Pixels of the sensor for what a box has across and down, (2,)."""
    frame_hw = labels.frame_hw
    if frame_hw is None or (frame_hw != RELATIVE and recording.stated_size_hw is None):
        return np.ones(2)
    scale = np.array(recording.size_hw) / frame_hw
    if frame_hw != RELATIVE and abs(scale[0] / scale[1] - 1) > FAR_ASPECT:
        raise InputError(
            f"{labels.source} is about frames of {frame_hw[1]}x{frame_hw[0]} pixels, which the sensor of "
            f"{recording.path.name}, {recording.size_hw[1]}x{recording.size_hw[0]}, does not show whole."
        )
    return scale[::-1]
