"""Which picture of a video, or of a folder of images, each frame of labels is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ..checks import InputError
from .options import ImportOptions, ImportReport
from .parsed import RecordingLabels
from .sequences import PictureSequence

ABSENT = -1
SAME_RATE = 0.01
"""Rates that differ by less are one: cameras are not more exact."""
MOST_LOST = 0.05
"""If a larger part of the frames with boxes has no picture, labels and pictures do not belong together."""
EARLY = 0.9
"""Labels that end before this part of their pictures end early."""
LOST = "boxes of frames that their pictures do not have"
LOST_EMPTY = "labelled frames without a box that their pictures do not have"
FROM = "sequences whose frames are numbered from {}, as {}"
BY_NAME = "sequences whose frames are the numbers in the names of their images"
BY_TIME = "sequences whose labels have frames of their own rate: each is the picture nearest to its time"


class Timed(NamedTuple):
    """The labels of a sequence and when its pictures are, (N,) int64, rising."""

    labels: RecordingLabels
    sequence: PictureSequence
    times_us: np.ndarray


@dataclass
class FrameFit:
    """How the frames of labels fit the pictures of all sequences.

    lost: for each sequence that lacks some, how many. early: those whose labels end early. guessed: those whose frames
    may be numbered from 0 or from 1.
    """

    lost: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)

    def tell(self, report: ImportReport) -> None:
        """Warn of what was lost or guessed; that labels end early is told alone."""
        if self.lost:
            report.warnings.append(f"Warning: {self.lost[0]} ({_sequences(len(self.lost))} in all). They are left out.")
        if self.guessed:
            report.warnings.append(
                f"Warning: the frames of {_sequences(len(self.guessed))} ({self.guessed[0]}) may be numbered from 0 or "
                "from 1, which nothing tells, and from 0 was taken. If that is one off, give --first-frame 1."
            )
        if self.early:
            report.told[f"sequences whose labels end early, the first {self.early[0]}"] += len(self.early)


def first_frames(all_timed: Sequence[Timed], options: ImportOptions, report: ImportReport, fit: FrameFit) -> None:
    """Decide for every sequence, in its labels, from 0 or 1 on frames are numbered, where the format does not say.

    A frame 0 tells it, and so does one whose number is how many pictures there are. Where neither is there, it is as
    for the others, or else from 0 on.
    """
    open_ones = [each for each in all_timed if each.labels.first is None and _is_counted(each, options)]
    told = {id(each): _evidence(each) for each in open_ones}
    ours = Counter(first for first in told.values() if first is not None)
    for each in open_ones:
        if _numbers_fit(each):
            continue
        own = told[id(each)]
        if options.first_frame is not None:
            first, why = options.first_frame, "--first-frame says"
        elif own is not None:
            first, why = own, "alone fits"
        elif ours:
            first, why = ours.most_common(1)[0][0], "in others, where nothing else fits"
        else:
            first, why = 0, "nothing says otherwise"
            fit.guessed.append(each.sequence.shown)
        report.told[FROM.format(first, why)] += 1
        each.labels.first = first


def picture_places(timed: Timed, options: ImportOptions, report: ImportReport) -> tuple[np.ndarray, np.ndarray]:
    """What the rows of labels are at, (M,) int64, rising, and which picture each is, ``ABSENT`` if none.

    Raises:
        InputError: if labels say nothing of when they are, and there are several pictures.
    """
    labels, sequence, times_us = timed
    at = np.array(sorted(labels.at), np.int64)
    if labels.when == "picture":
        return at, np.maximum(at, ABSENT)
    if labels.when == "end":
        if len(times_us) > 1:
            raise InputError(
                f"{labels.source} is named as {sequence.shown}, which has {len(times_us)} pictures, and does not say "
                "which one it is about: write its number behind the name, as in drive_000012."
            )
        return at, np.zeros(len(at), np.int64)
    if labels.when == "us":
        return at, _nearest(at + options.start_us, times_us)
    if rate := _own_rate(timed, options):
        report.told[BY_TIME] += 1
        times = np.rint((at - (labels.first or 0)) * 1e6 / rate).astype(np.int64) + options.start_us
        return at, _nearest(times, times_us)
    if _numbers_fit(timed):
        report.told[BY_NAME] += sequence.numbers[0] != labels.first
        return at, _by_number(at, sequence.numbers)
    places = at - (labels.first or 0)
    return at, np.where((places >= 0) & (places < len(times_us)), places, ABSENT)


def kept_labels(
    timed: Timed, at: np.ndarray, places: np.ndarray, report: ImportReport, fit: FrameFit, *, leave_out: bool
) -> tuple[RecordingLabels, np.ndarray, np.ndarray]:
    """The labels of the frames that have a picture, what these are at, and when they are.

    Raises:
        InputError: if many have none, unless ``leave_out``.
    """
    labels, sequence, times_us = timed
    has_one = places != ABSENT
    with_boxes = {int(row[0]) for row in labels.rows}
    absent = set(at[~has_one].tolist())
    lost = sorted(with_boxes & absent)
    if lost:
        names = [labels.missing.get(each, str(each)) for each in lost]
        what = (
            f"{labels.source} has boxes in {len(lost):,} of {len(with_boxes):,} frames that {sequence.shown} with its "
        )
        what += f"{len(times_us):,} pictures does not have (the first is {names[0]})"
        if len(lost) > MOST_LOST * len(with_boxes) and not leave_out:
            raise InputError(f"{what}. Is it another, or cut? --leave-out imports the frames that are there.")
        fit.lost.append(what)
    report.dropped[LOST] += sum(int(row[0]) in absent for row in labels.rows)
    report.dropped[LOST_EMPTY] += len(absent - with_boxes)
    at = at[has_one]
    if len(at) and len(times_us) > 1 and (reach := (places.max() + 1) / len(times_us)) < EARLY:
        fit.early.append(f"{sequence.shown}: at picture {places.max() + 1:,} of {len(times_us):,} ({reach:.0%})")
    rows = [row for row in labels.rows if int(row[0]) not in absent] if absent else labels.rows
    return replace(labels, rows=rows, at=set(at.tolist())), at, times_us[places[has_one]]


def _sequences(count: int) -> str:
    return f"{count:,} sequence{'s' if count > 1 else ''}"


def _is_counted(timed: Timed, options: ImportOptions) -> bool:
    """Whether labels count the pictures of their sequence."""
    return timed.labels.when in ("frame", "number") and not _own_rate(timed, options)


def _evidence(timed: Timed) -> int | None:
    """From where on frames are numbered, if they tell."""
    at = timed.labels.at
    if min(at, default=0) == 0:
        return 0
    return 1 if max(at) == len(timed.times_us) else None


def _numbers_fit(timed: Timed) -> bool:
    """Whether frames are the numbers in the names of images, which all have to be there.

    A format that says from where it counts, counts images instead, where these fit and their names begin elsewhere;
    names from 0 on are none of the numbers of MOT.
    """
    labels, sequence, times_us = timed
    frames = {int(row[0]) for row in labels.rows} or labels.at
    if not sequence.numbers or not frames <= set(sequence.numbers):
        return False
    if labels.first in (None, sequence.numbers[0]):
        return True
    if labels.is_named:
        return sequence.numbers[0] > labels.first
    return max(frames) - labels.first >= len(times_us)


def _by_number(at: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    places = {number: n for n, number in enumerate(numbers)}
    return np.array([places.get(each, ABSENT) for each in at.tolist()], np.int64)


def _own_rate(timed: Timed, options: ImportOptions) -> float | None:
    """At how many frames a second labels count, where that is another rate than that of the pictures."""
    labels, sequence, times_us = timed
    given = options.rate
    if given is None and labels.own_count not in (None, len(times_us)):
        given = labels.rate
    if given is None or not sequence.is_video or len(times_us) < 2:
        return None
    rate = (len(times_us) - 1) * 1e6 / int(times_us[-1] - times_us[0])
    return given if abs(given / rate - 1) > SAME_RATE else None


def _nearest(wanted_us: np.ndarray, times_us: np.ndarray) -> np.ndarray:
    """The picture nearest to each time, for each picture that of one time; ``ABSENT`` if none is near.

    Near is half of the longest step between pictures, or of the last one beyond the ends.
    """
    after = np.searchsorted(times_us, wanted_us).clip(0, len(times_us) - 1)
    before = (after - 1).clip(0)
    places = np.where(wanted_us - times_us[before] < times_us[after] - wanted_us, before, after)
    far = np.abs(times_us[places] - wanted_us)
    step = int(np.median(np.diff(times_us))) if len(times_us) > 1 else 0
    is_between = (wanted_us >= times_us[0]) & (wanted_us <= times_us[-1])
    places = np.where(is_between | (far <= step / 2), places, ABSENT)
    order = np.lexsort((far, places))
    is_first = np.ones(len(places), bool)
    is_first[order[1:]] = places[order[1:]] != places[order[:-1]]
    return np.where(is_first, places, ABSENT)
