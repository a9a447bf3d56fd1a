"""Videos and images that are labelled: when their pictures are, and what their labels are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from ..checks import InputError
from ..pictures.images import image_size, images_in
from ..pictures.sequence import check_fps, open_pictures, times_path
from ..progress import progress
from .boxes import Frame, placed_boxes
from .frames import FrameFit, Timed, first_frames, kept_labels, picture_places
from .layouts import Part
from .options import ImportOptions, ImportReport
from .owners import Owners
from .parsed import RELATIVE, ParsedLabels, RecordingLabels
from .sequences import PictureSequence
from .work import Labelled, Source

USUAL_FPS = 25
"""Of images of which nothing says how many a second has."""
LEAST_US = 1000
"""Numbers in names that are further apart are microseconds, unless a rate is given."""
UNSTATED = f"sequences of images at {USUAL_FPS} a second, as nothing says their rate: --label-rate does"
IN_NAMES = "sequences of images whose names have their times in microseconds"
BACKGROUND = "images without a text, which have no object, as in Ultralytics' datasets"
GAPS = "sequences of images some of which have no text: those are not labelled"


def sources_of(part: Part) -> tuple[list[Source], Owners]:
    """The sequences of a part, and what its labels may call them.

    Raises:
        InputError: if two have the same name.
    """
    sources = list[Source]()
    names = dict[str, str]()
    others = dict[str, str]()
    for each in part.sequences:
        split = part.split or each.split
        key = f"{split or ''}/{each.name}"
        if each.name in names:
            raise InputError(
                f"pictures must have different names, or labels in folders train, val and test as they are, got "
                f"{each.name} in two splits. Import them one by one."
            )
        names[each.name] = key
        others |= {alias: key for alias in each.aliases if alias not in others}
        target = each.path.name if each.is_video else each.name.replace(".", "_")  # it has no ending
        sources.append(Source(key, each.path, split, target, each))
    images = {each.key: each.sequence for each in sources if each.sequence is not None and not each.sequence.is_video}
    return sources, Owners(others | names, images)


def note_background(parsed: ParsedLabels, sources: Sequence[Source]) -> None:
    """Take images that stand alone and have no labels for labelled, without an object."""
    for each in sources:
        sequence = each.sequence
        known = parsed.recordings.get(each.key)
        if sequence is None or sequence.is_video:
            continue
        count = len(sequence.images)
        if count == 1 and known is None:
            parsed.of_recording(each.key, sequence.path, "picture", RELATIVE).at.add(0)
            parsed.told[BACKGROUND] += 1
        elif known is not None:
            parsed.told[GAPS] += len(known.at) < count


def read_pictures(
    work: Sequence[tuple[Source, Path]], parsed: ParsedLabels, options: ImportOptions, report: ImportReport
) -> Iterator[Labelled]:
    """The labels of sequences, each with its place in the dataset; one that cannot be read is noted as failed.

    Raises:
        InputError: if labels do not fit their pictures.
    """
    opened = list[tuple[Source, Path, Timed, tuple[int, int]]]()
    for source, target in progress(work, "reading", unit="sequence"):
        assert source.sequence is not None
        labels = parsed.recordings[source.key]
        try:
            size_hw, times_us = _size_and_times(source.sequence, labels, options, report)
        except InputError as error:
            report.failed.append(str(error))
            continue
        opened.append((source, target, Timed(labels, source.sequence, times_us), size_hw))
    fit = FrameFit()
    first_frames([timed for _, _, timed, _ in opened], options, report, fit)
    for source, target, timed, size_hw in opened:
        at, places = picture_places(timed, options, report)
        labels, at, times_us = kept_labels(timed, at, places, report, fit, leave_out=options.leave_out)
        boxes = placed_boxes(labels, at, times_us, Frame("picture", timed.sequence.shown, size_hw), report)
        images_us = None if timed.sequence.is_video else timed.times_us
        yield Labelled(source, target, boxes, np.sort(times_us), images_us)
    fit.tell(report)


def _size_and_times(
    sequence: PictureSequence, labels: RecordingLabels, options: ImportOptions, report: ImportReport
) -> tuple[tuple[int, int], np.ndarray]:
    """Height and width of the pictures, and when each is, (N,) int64, rising."""
    if sequence.is_video:
        with closing(open_pictures(sequence.path)) as pictures:
            return pictures.size_hw, pictures.times_us
    size_hw = image_size(sequence.images[0])
    if len(sequence.images) == 1:
        return size_hw, np.zeros(1, np.int64)
    rate = options.rate or labels.rate
    is_whole = rate is None and times_path(sequence.path).is_file()
    if is_whole and images_in(sequence.path) == list(sequence.images):
        with closing(open_pictures(sequence.path)) as pictures:
            return size_hw, pictures.times_us
    numbers = np.array(sequence.numbers, np.int64)
    if rate is None and np.median(np.diff(numbers)) >= LEAST_US:
        report.told[IN_NAMES] += 1
        return size_hw, numbers - numbers[0]
    report.told[UNSTATED] += rate is None
    check_fps(rate)
    return size_hw, np.rint((numbers - numbers[0]) * 1e6 / (rate or USUAL_FPS)).astype(np.int64)
