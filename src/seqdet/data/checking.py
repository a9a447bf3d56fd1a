"""What cannot be trained on, found before hours of work are spent on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import InputError
from ..config import OtherClasses
from ..events.formats import RECORDINGS
from ..files import below
from .classes import map_classes, read_classes
from .dataset import SPLIT_FOLDERS, Contents, contents, labels_of
from .labels import LABEL_SUFFIX, recording_name
from .layouts import LAYOUTS, layout_of

NEEDED = ("train", "val")
"""Splits of which a training makes use."""
OTHER_NAMES = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
"""What else people call the splits."""
SLACK_US = 1_000_000
"""Labels that all lie further outside the recording are of another clock."""
SHORT = 0.01
DENSE_US = 1000
"""Labels in less than this part of a recording, and closer than this, are in another unit than microseconds."""
SEVERAL = 10
"""Boxes that are all wrong in the same way are no accident."""
FACTORS = (1 / 2, 2, 1 / 3, 3, 1 / 4, 4)
"""By which rates are mistaken: 60 for 30, 30 for 60, 90 for 30, and so on."""
NEAR = 0.03
FARTHEST = 0.1
"""How near to such a part the labels must end, and one step more; at most so far."""
USUAL_RATES = (1, 2, 4, 5, 10, 12, 15, 20, 24, 25, 30, 40, 50, 60, 90, 100, 120, 200, 240)
"""Labels a second."""
OUTSIDE_US = 50_000
"""Labels that are less far outside the recording are of its rims: its last event may be a little earlier."""
LEAST_STEPS = 5
EVEN = 0.1
MOST_EVEN = 0.7
LATE = 0.1
"""Of labels that tell their rate: how many steps, how even, how many of them so even, and how late the first."""
LARGEST_GAP = 0.5
"""A step that is a larger part of the time that labels span says nothing about their rate: some time is astray."""
SHARE = 1.5
"""Boxes that all end before this are shares of a frame: they may be partly outside."""


def check_folder(
    folder: Path, classes: Sequence[str] = (), others: OtherClasses = "discard", *, splits: Sequence[str] = NEEDED
) -> None:
    """Raise unless a folder has what is needed: some splits, labels in each, and names for their classes.

    Args:
        folder: with recordings, tensor files or folders of RVT.
        classes, others: wishes, see ``map_classes``.
        splits: those that are needed if they are there; all of those of a training if not given.

    Raises:
        InputError: saying what is missing, and what is there instead.
    """
    _check_level(folder)
    found = contents(folder)
    if splits != NEEDED:  # whoever opens one says if it is not there
        splits = sorted({entry.split for entry in found.entries}.intersection(splits))
    for split in splits:
        _check_split(folder / split, split, found)
    names = map_classes(read_classes(folder), classes, others=others).found
    for entry in found.entries:
        boxes = labels_of(entry)[0]
        if len(boxes) and (most := int(boxes["class_id"].max())) >= len(names):
            raise InputError(
                f"{entry.labels} must have classes that are named, 0 to {len(names) - 1} ({', '.join(names)}), and has "
                f"class {most}. Add its name to the label map."
            )


def scored_splits(folder: Path) -> list[str]:
    """Of test, val and train, in the order in which one would be scored, those that hold labels."""
    places = [(split, folder / split) for split in reversed(SPLIT_FOLDERS)]
    return [name for name, place in places if any(place.glob(f"*{LABEL_SUFFIX}")) or recording_folders(place)]


def recording_folders(folder: Path) -> list[Path]:
    """The folders right in a folder that are recordings of a layout which has a folder for each, by name."""
    inside = sorted(folder.glob("*/*"))
    return [path for layout in LAYOUTS.values() for path in layout.recordings(inside)]


def instead_of_split(folder: Path) -> str:
    """The end of a message that a split has nothing to score: which there are."""
    found = scored_splits(folder)
    return f" Labels are in {' and '.join(found)}: --split {found[0]}." if found else ""


def check_labels(
    path: Path, boxes: np.ndarray, labelled_us: np.ndarray, *, span_us: tuple[int, int], sensor_hw: tuple[int, int]
) -> None:
    """Raise unless labels can be those of a recording.

    Args:
        path: of the labels.
        boxes: in them, (N,) ``EVENT_BBOX``.
        labelled_us: (M,) int64, rising, their times.
        span_us: the first and the last time that the recording shows.
        sensor_hw: height and width of its sensor.

    Raises:
        InputError: if the times are of another clock or unit, see ``check_clock``; if there are several boxes and none
            is in the sensor, or all are shares of the frame.
    """
    check_clock(labelled_us, span_us, path)
    check_inside(boxes, sensor_hw, path)
    sides = np.stack([boxes[name] for name in "xywh"], axis=1)
    check_pixels(sides, sensor_hw, path, ", or import them with seqdet import --from yolo")


def check_clock(labelled_us: np.ndarray, span_us: tuple[int, int], labels: Path, advice: str = "") -> None:
    """Raise unless times of labels can be those of a recording, in microseconds.

    Args:
        labelled_us: (M,) int64, rising.
        span_us: the first and the last time that the recording shows.
        labels: their file, for the message.
        advice: what to do, at the end of the message.

    Raises:
        InputError: if all are far outside the recording, or so close to each other that their unit is another one.
    """
    if not len(labelled_us):
        return
    first = int(labelled_us[0])
    last = int(labelled_us[-1])
    told = f"{labels} must have times of the recording, {span_us[0]} to {span_us[1]} us, and has {first} to {last}."
    if first > span_us[1] + SLACK_US or last < span_us[0] - SLACK_US:
        is_finer = 100 * span_us[1] < last <= 1000 * (span_us[1] + SLACK_US)
        raise InputError(f"{told} {'Are they in nanoseconds?' if is_finer else 'Is the clock another?'}{advice}")
    steps = np.diff(labelled_us)
    is_short = last - first < SHORT * (span_us[1] - span_us[0])
    if len(steps) > 1 and is_short and np.median(steps) < DENSE_US:
        unit, factor = ("seconds", 1_000_000) if last * 1_000_000 <= span_us[1] + SLACK_US else ("milliseconds", 1000)
        raise InputError(f"{told} Are they {unit}, to be multiplied by {factor}, or numbers of frames?{advice}")


class LabelReach(NamedTuple):
    """How far labels at even steps come, that begin with the recording.

    reach: up to which part of its time. rate: labels a second. fitting: the rate at which they would come to its end,
    one of ``USUAL_RATES`` where one is near. is_usual: whether it is one of them.
    """

    reach: float
    rate: float
    fitting: float
    is_usual: bool

    def __str__(self) -> str:
        return f"{self.rate:.4g} labels a second reach {self.reach:.2f} of its time; {self.fitting:.4g} would fit"


def label_reach(labelled_us: np.ndarray, span_us: tuple[int, int]) -> LabelReach | None:
    """How far labels come; None if they are few, not at even steps, or do not begin with the recording.

    Args:
        labelled_us: (M,) int64, rising.
        span_us: the first and the last time that the recording shows.
    """
    duration_us = span_us[1] - span_us[0]
    steps = np.diff(labelled_us)
    if len(steps) < LEAST_STEPS or duration_us <= 0:
        return None
    step_us = float(np.median(steps))
    last_us = int(labelled_us[-1]) - span_us[0]
    is_even = np.abs(steps - step_us) <= EVEN * step_us + 1
    begins_late = abs(int(labelled_us[0]) - span_us[0]) > LATE * last_us + 2 * step_us
    if begins_late or is_even.mean() < MOST_EVEN or steps.max() > LARGEST_GAP * last_us:
        return None
    reach = last_us / duration_us
    rate = 1e6 / step_us
    if reach <= 0:
        return None
    least = rate * reach
    most = rate * (reach + step_us / duration_us)  # the next label would be beyond the end
    usual = [each for each in USUAL_RATES if least * (1 - NEAR) <= each <= most * (1 + NEAR)]
    usual = [each for each in usual if abs(each / rate - 1) > NEAR]
    fitting = min(usual, key=lambda each: abs(each - (least + most) / 2), default=least)
    return LabelReach(reach, rate, fitting, bool(usual))


def rate_misfit(labelled_us: np.ndarray, span_us: tuple[int, int]) -> LabelReach | None:
    """How far labels come, if that looks like a wrong rate.

    They end at a simple part or multiple of the recording's time; or beyond it, and a usual rate would fit. Arguments
    are those of ``label_reach``.
    """
    found = label_reach(labelled_us, span_us)
    if found is None:
        return None
    step = 1e6 / found.rate / (span_us[1] - span_us[0])
    is_simple = any(abs(found.reach / each - 1) <= min(NEAR + step / each, FARTHEST) for each in FACTORS)
    is_beyond = found.reach - 1 > NEAR + step
    return found if is_simple or (is_beyond and found.is_usual) else None


class LabelsOutside(NamedTuple):
    """Times of labels that the recording does not show.

    is_outside: which of them. worst: the one that is farthest outside. far_us: how far. words: all of that.
    """

    is_outside: np.ndarray
    worst: int
    far_us: int
    words: str


def labels_outside(
    labelled_us: np.ndarray, span_us: tuple[int, int], *, tolerance_us: int = OUTSIDE_US
) -> LabelsOutside | None:
    """Which labels lie outside the time of their recording, and which rate would fit; None if none does.

    Args:
        labelled_us: (M,) int64, rising.
        span_us: the first and the last time that the recording shows.
        tolerance_us: those that are no farther outside count as inside.
    """
    first, last = span_us
    far = np.maximum(first - labelled_us, labelled_us - last)
    is_outside = far > tolerance_us
    if not is_outside.any():
        return None
    count = int(is_outside.sum())
    worst = int(np.argmax(far))
    text = f"{count:,} of {len(far):,} times ({count / len(far):.0%}) are outside {first / 1e6:.2f} to "
    text += f"{last / 1e6:.2f} s, by up to {far[worst] / 1e6:.2f} s"
    reach = label_reach(labelled_us, span_us)
    text += f"; {reach}" if reach and reach.reach > 1 else ""
    return LabelsOutside(is_outside, worst, int(far[worst]), text)


def check_inside(boxes: np.ndarray, sensor_hw: tuple[int, int], labels: Path, *, what: str = "sensor") -> None:
    """Raise ``InputError`` if there are several boxes, (N,) with x, y, w, h in pixels, and none is in the sensor."""
    height, width = sensor_hw
    x = boxes["x"]
    y = boxes["y"]
    right = boxes["x"] + boxes["w"]
    bottom = boxes["y"] + boxes["h"]
    if len(boxes) >= SEVERAL and ((x >= width) | (y >= height) | (right <= 0) | (bottom <= 0)).all():
        raise InputError(
            f"{labels} must have boxes within the {width}x{height} pixels of the {what}, and none of its {len(boxes)} "
            f"is. Are x and y swapped, or are they of another {what}?"
        )


def check_pixels(
    sides: np.ndarray, frame_hw: tuple[int, int] | None, labels: Path, advice: str = "", *, what: str = "sensor"
) -> None:
    """Raise unless boxes are in pixels.

    Args:
        sides: x, y, w, h of all, (N, 4).
        frame_hw: height and width of what they are about, for the message, if it is known.
        labels: their file, for the message.
        advice: what else to do, at the end of the message.

    Raises:
        InputError: if no box reaches beyond the first pixel, and there are several or some are not of whole pixels.
    """
    if not len(sides) or (sides[:, :2] + sides[:, 2:]).max() > SHARE:
        return
    if len(sides) >= SEVERAL or (sides != np.rint(sides)).any():
        factors = f"{frame_hw[1]}, y and h by {frame_hw[0]}" if frame_hw else "the width, y and h by the height"
        raise InputError(
            f"{labels} must have boxes in pixels of the {what}, and its {len(sides)} are shares of the frame. "
            f"Multiply x and w by {factors}{advice}."
        )


def _check_level(folder: Path) -> None:
    """Raise unless the folder is the one that has the splits."""
    if not folder.is_dir():
        hint = " Write / between folders, not \\." if "\\" in str(folder) else ""
        raise InputError(f"{folder} must be a folder with train, val and test, and does not exist.{hint}")
    inner = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if any(each.name in SPLIT_FOLDERS for each in inner):
        return
    told = f"{folder} must have folders named train, val and test, and has none."
    if deeper := [each for each in inner if any((each / split).is_dir() for split in SPLIT_FOLDERS)]:
        raise InputError(f"{told} Did you mean {deeper[0]}?")
    if folder.name in SPLIT_FOLDERS:
        raise InputError(f"{told} It is one of them: name the folder that it is in, {folder.resolve().parent}.")
    raise InputError(f"{told} Recordings in train are learnt from, those in val choose the best weights.")


def _check_split(folder: Path, split: str, found: Contents) -> None:
    """Raise unless there are recordings with labels."""
    entries = [entry for entry in found.entries if entry.split == split]
    if deeper := [entry.path.parent for entry in entries if entry.path.parent != folder]:
        raise InputError(f"{folder} must hold recordings itself, and has some in {deeper[0]}. Move them up, or away.")
    if not entries:
        raise InputError(f"{folder} must hold recordings ({' '.join(RECORDINGS)}) or tensors, {_instead(folder)}")
    for entry in entries:
        layout_of(entry.path).check(entry.path)
    if any(entry.labels is not None for entry in entries):
        return
    wanted = recording_name(entries[0].path).removesuffix("_td") + LABEL_SUFFIX
    orphans = [path.name for path in found.orphans if folder in path.parents]
    instead = f" {orphans[0]} has no recording of that name." if orphans else ""
    raise InputError(
        f"{folder} must hold labels beside its recordings, such as {wanted} for {entries[0].path.name}, and holds none."
        f"{instead} Labels of other tools come there by seqdet import."
    )


def _instead(folder: Path) -> str:
    """What is there in place of the recordings of a split."""
    if not folder.is_dir():
        siblings = [each.name for each in sorted(folder.parent.iterdir()) if each.is_dir()]
        other = [name for name in siblings if OTHER_NAMES.get(name.lower(), name.lower()) == folder.name]
        return (
            f"and does not exist. Rename {other[0]}." if other else "and does not exist. Move some of the others there."
        )
    kinds = sorted({path.suffix or path.name for path in below(folder) if path.is_file()})
    held = f"only files of {' '.join(kinds[:5])}" if kinds else "nothing"
    return f"and holds {held}. Were they unpacked there?"
