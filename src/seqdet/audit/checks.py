"""Find in a dataset what ruins trainings, before they are run."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view

from ..checks import InputError, check_at_least
from ..config import PictureInput
from ..data.box_events import BoxEvents, count_in_recording, count_in_tensors, nearest_window, seen_in_pictures
from ..data.checking import label_reach, labels_outside, rate_misfit
from ..data.classes import alike, read_classes
from ..data.dataset import SPLIT_FOLDERS, Entry, content_digest, contents, labels_of, opened, sensor_hw
from ..data.detections import corners, overlap
from ..data.labels import CLASSES_FILE, has_odd_score, is_ignored, times_as_written
from ..data.store import TensorFile
from ..data.surveys import has_no_bytes
from ..events.accounts import Account
from ..events.dataset_facts import DatasetFacts
from ..events.files import Recording
from ..events.inspection import hot_xy
from ..events.time_units import Unit
from ..pictures.sequence import Pictures
from ..progress import progress
from .findings import AuditResult, Case, Findings, Limits, SplitFacts

FAR_US = 1_000_000
"""Labels this far outside a recording, or more than half of all outside, are an error: its last events may be a little
earlier than the last label."""
OVERLAP = 0.95  # IoU of boxes that are the same
GRAIN = 2  # parts of a pixel: boxes that differ by less stand still
STEP_S = 2.0  # between labels of a track that stands still
USUAL_STEPS = 3  # between labels, before it is called a gap
MANY = 0.1  # share of boxes
MOST_HOT = 10_000  # pixels
NEIGHBOURS = 2
ALONE_FACTOR = 20
"""A hot pixel sends so many times what the median one of those at most ``NEIGHBOURS`` away does; edges are not
alone."""
HOT_SIDE = 12.0
"""Of the box around a hot pixel in a picture."""


def audit(
    folder: Path,
    limits: Limits | None = None,
    *,
    worst: int = 6,
    size_hw: tuple[int, int] | None = None,
    time_unit: Unit | None = None,
) -> AuditResult:
    """Look at every recording and every label of a dataset.

    Recordings and tensor files are read from begin to end, which compares the checksums of tensors; memory does not
    grow with their length. What cannot be read is a finding as well.

    Args:
        folder: with train, val and test, or with recordings; also of tensors, the vendor's and RVT's among them.
        limits: from where on something is found.
        worst: at most so many cases of each kind are kept.
        size_hw: height and width of the sensor, for recordings that do not say.
        time_unit: of the times, for recordings that do not say.

    Raises:
        InputError: if there is no such folder, or nothing in it.
    """
    check_at_least(worst, 1, "worst")
    limits = limits or Limits()
    found = contents(folder)
    findings = Findings(worst)
    if not found.entries and not found.orphans:
        raise InputError(f"{folder} must hold recordings or tensor files, in train, val and test, and holds none.")
    classes = _classes(folder, findings)
    findings.add_names("alike_classes", [", ".join(map(repr, each)) for each in alike(classes) if len(each) > 1])
    splits = {split: SplitFacts() for split in found.splits}
    missing = [split for split in SPLIT_FOLDERS if found.splits != [""] and split not in found.splits]
    findings.add_names("missing_split", missing)
    filled = {entry.split for entry in found.entries}
    findings.add_names("empty_split", [split or str(folder) for split in found.splits if split not in filled])
    findings.add_names("no_recording", [str(path.relative_to(folder)) for path in found.orphans])
    digests: dict[str, list[Entry]] = defaultdict(list)
    for entry in progress(found.entries, "looking", unit="recording"):
        splits[entry.split].recordings += 1
        if has_no_bytes(entry.path):
            findings.add_recording("silent", entry)
            continue
        try:
            with opened(entry, DatasetFacts(size_hw, time_unit)) as source:
                digests[content_digest(entry, source)].append(entry)
                _look(entry, source, limits, findings, splits[entry.split], len(classes))
        except InputError as error:
            findings.add_recording("unreadable", entry, text=str(error))
    _compare(found.entries, digests, findings)
    _balance(splits, classes, findings)
    _compare_rates(list(splits.values()), findings)
    return AuditResult(folder, limits, size_hw, classes, splits, findings.sorted(), time_unit)


def _classes(folder: Path, findings: Findings) -> tuple[str, ...]:
    """The names of the classes."""
    try:
        return read_classes(folder)
    except InputError as error:
        findings.add_names("no_classes", [CLASSES_FILE], text=str(error))
        return ()


def _look(
    entry: Entry,
    source: TensorFile | Recording | Pictures,
    limits: Limits,
    findings: Findings,
    split: SplitFacts,
    classes: int,
) -> None:
    """Everything about one recording."""
    try:
        boxes, labelled_us = labels_of(entry)
    except InputError as error:
        findings.add_recording("unreadable", entry, text=str(error))
        return
    _look_at_labels(entry, boxes, labelled_us, findings, split, classes)
    is_tensor = isinstance(source, TensorFile)
    if is_tensor and (damaged := _damaged_frames(source)):
        shown = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        text = f"{len(damaged):,} of {len(source):,} ({shown})"
        findings.add_recording("damaged_frames", entry, value=len(damaged), text=text, count=len(damaged))
        return
    seen = _seen(source, boxes, limits)
    split.seconds += (seen.span_us[1] - seen.span_us[0]) / 1e6 if seen.span_us else 0
    if is_tensor:
        shown = source.description.input
        kind = "pictures" if isinstance(shown, PictureInput) else shown.representation
        findings.add_recording("tensors_only", entry, text=kind)
        if not source.is_checked:
            findings.add_recording("no_checksums", entry)
    _look_at_losses(entry, seen.account, findings)
    if len(hot := _lone_hot_xy(seen.counts)):
        scale = sensor_hw(source) or seen.counts.shape
        places = (hot[:5] + 0.5) * [scale[1] / seen.counts.shape[1], scale[0] / seen.counts.shape[0]]
        text = f"{len(hot):,} ({', '.join(f'{int(x)},{int(y)}' for x, y in places)})"
        around = float(places[0, 0]) - HOT_SIDE / 2, float(places[0, 1]) - HOT_SIDE / 2, HOT_SIDE, HOT_SIDE
        findings.add("hot", [Case(entry, entry.name, None, around, len(hot), text)], count=len(hot))
    if seen.span_us is None:
        findings.add_recording("silent", entry)
    elif entry.labels is not None:
        is_within = _look_at_times(entry, boxes, labelled_us, seen, limits, findings)
        split.timed += 1
        if misfit := rate_misfit(labelled_us, seen.span_us):
            split.misfits.append(Case(entry, entry.name, value=abs(misfit.reach - 1), text=str(misfit)))
        _look_at_boxes(entry, boxes, seen, sensor_hw(source), is_within, limits, findings)


def _seen(source: TensorFile | Recording | Pictures, boxes: np.ndarray, limits: Limits) -> BoxEvents:
    """What there is to see of the boxes, by one pass."""
    if isinstance(source, TensorFile):
        if isinstance(source.description.input, PictureInput):
            return seen_in_pictures(boxes, source.ends_us, Account())
        return count_in_tensors(source, boxes)
    if isinstance(source, Recording):
        return count_in_recording(source, boxes, limits.window_us)
    source.look_through()
    return seen_in_pictures(boxes, source.times_us, source.account)


def _damaged_frames(tensors: TensorFile) -> list[int]:
    """The frames that cannot be read, or whose checksum says that they are not what was written."""
    frame = np.empty((1, *tensors.shape[1:]), tensors.dtype)
    damaged = []
    for n in range(len(tensors)):
        try:
            tensors.read(n, n + 1, frame)
        except InputError:
            damaged.append(n)
    return damaged


def _lone_hot_xy(counts: np.ndarray) -> np.ndarray:
    """Those of ``hot_xy`` that also have far more events than the pixels around them, (K, 2), the hottest first.

    ``counts`` are the events of all, (H, W).
    """
    hot = hot_xy(counts)[:MOST_HOT]
    if not len(hot):
        return hot
    side = 2 * NEIGHBOURS + 1
    around = sliding_window_view(np.pad(counts, NEIGHBOURS), (side, side))
    usual = np.array([np.median(around[y, x]) for x, y in hot])
    return hot[counts[hot[:, 1], hot[:, 0]] >= ALONE_FACTOR * np.maximum(usual, 1)]


def _look_at_losses(entry: Entry, account: Account, findings: Findings) -> None:
    """What the reader left out, and what it took numbers for."""
    if account.dropped:
        kind = "mostly_lost" if account.is_too_little else "damage"
        text = ", ".join(account.reasons())
        findings.add_recording(kind, entry, value=account.share, text=text, count=account.dropped.total())
    findings.add("taken", [Case(entry, entry.name, text=note) for note in account.notes])


def _look_at_labels(
    entry: Entry, boxes: np.ndarray, labelled_us: np.ndarray, findings: Findings, split: SplitFacts, classes: int
) -> None:
    """What labels say by themselves, whatever became of their recording."""
    split.labelled += len(labelled_us)
    split.empty += len(np.setdiff1d(labelled_us, boxes["t"]))
    split.boxes.update(Counter(boxes["class_id"].tolist()))
    if entry.labels is None:
        findings.add_recording("no_labels", entry)
        return
    times = times_as_written(entry.labels)
    if back := int((times[1:] < times[:-1]).sum()):
        findings.add_recording("unsorted", entry, value=back, text=f"{back:,} times")
    scores = boxes["class_confidence"]
    findings.add_boxes("odd_score", entry, boxes, has_odd_score(boxes), values=scores, text="score {:g}")
    is_unknown = boxes["class_id"] >= (classes or np.iinfo(np.uint32).max)
    findings.add_boxes("unknown_class", entry, boxes, is_unknown, values=boxes["class_id"], text="class {:.0f}")


def _look_at_times(
    entry: Entry, boxes: np.ndarray, labelled_us: np.ndarray, seen: BoxEvents, limits: Limits, findings: Findings
) -> np.ndarray:
    """Note label times that are outside, between windows, or far from each other; which boxes are within, (N,)."""
    assert seen.span_us is not None
    first, last = seen.span_us
    reach = limits.window_us if seen.ends_us is None else limits.tolerance_us
    far = np.maximum(first - boxes["t"], boxes["t"] - last)
    within_us = labelled_us
    if outside := labels_outside(labelled_us, seen.span_us, tolerance_us=reach):
        count = int(outside.is_outside.sum())
        at = int(labelled_us[outside.worst])
        far_us = float(outside.far_us)
        severity = "error" if far_us > FAR_US or 2 * count > len(labelled_us) else None
        case = Case(entry, entry.name, at, value=far_us, text=outside.words)
        findings.add("outside_time", [case], count=count, severity=severity)
        within_us = labelled_us[~outside.is_outside]
    if len(within_us):
        if seen.ends_us is None:
            ends_us = np.rint(within_us / limits.window_us).astype(np.int64) * limits.window_us
        else:
            ends_us = seen.ends_us[nearest_window(within_us, seen.ends_us)]
        off = np.abs(within_us - ends_us)
        if count := int((off > limits.tolerance_us).sum()):
            n = int(np.argmax(off))
            case = Case(entry, entry.name, int(within_us[n]), value=float(off[n]), text=f"off by {off[n] / 1e3:.1f} ms")
            findings.add("off_grid", [case], count=count)
        points = np.array([first, *within_us, max(last, int(within_us[-1]))])
        usual = float(np.median(np.diff(within_us))) if len(within_us) > 1 else 0
        steps = np.diff(points)
        long = np.flatnonzero(steps > max(limits.gap_s * 1e6, USUAL_STEPS * usual))
        cases = []
        for n in long.tolist():
            text = f"{steps[n] / 1e6:.1f} s without labels"
            if n == len(steps) - 1 and (short := label_reach(labelled_us, seen.span_us)):
                text += f"; {short.fitting:.4g} labels a second would reach its end"
            cases.append(Case(entry, entry.name, int(points[n]), value=float(steps[n]), text=text))
        findings.add("gap", cases)
    return far <= reach


def _look_at_boxes(
    entry: Entry,
    boxes: np.ndarray,
    seen: BoxEvents,
    size_hw: tuple[int, int] | None,
    is_within: np.ndarray,
    limits: Limits,
    findings: Findings,
) -> None:
    """Note boxes that are wrong in themselves, or at odds with the events.

    Args:
        entry: the recording.
        boxes: of it, (N,) ``EVENT_BBOX``, sorted by time.
        seen: the events in them.
        size_hw: of the sensor; the pixels that sent events if None.
        is_within: (N,) those at times that the recording shows.
        limits: from where on something is found.
        findings: where to.
    """
    height, width = size_hw or seen.counts.shape
    edges = corners(boxes)
    is_counted = ~is_ignored(boxes)
    has_size = (boxes["w"] > 0) & (boxes["h"] > 0)
    over = np.stack([-edges[:, 0], -edges[:, 1], edges[:, 2] - width, edges[:, 3] - height]).max(axis=0, initial=0)
    is_out = has_size & ((edges[:, :2] >= [width, height]) | (edges[:, 2:] <= 0)).any(axis=1)
    findings.add_boxes("no_size", entry, boxes, ~has_size)
    findings.add_boxes("outside_sensor", entry, boxes, is_out, values=over, text="{:.0f} pixels beyond the rim")
    is_part = is_counted & has_size & ~is_out & (over > 1)
    if is_part.sum() > MANY * len(boxes) and ((boxes["w"] > edges[:, 0]) & (boxes["h"] > edges[:, 1])).all():
        findings.add_recording("corners", entry, text=f"{len(boxes):,} boxes")
    else:
        findings.add_boxes("partly_outside", entry, boxes, is_part, values=over, text="{:.1f} pixels beyond the rim")
    sound = is_counted & has_size & ~is_out
    shared = np.zeros(len(boxes))
    shared[sound] = _duplicates(boxes["t"][sound], edges[sound], OVERLAP)
    findings.add_boxes("duplicate", entry, boxes, shared > 0, values=shared, text="IoU {:.3f}")
    sound &= is_within & (shared == 0)
    areas = boxes["w"].astype(np.float64) * boxes["h"]
    few = np.maximum(limits.few_events, seen.noise(areas, (height, width)))
    few_before = np.maximum(limits.few_events, seen.noise(areas * seen.reach, (height, width)))
    is_quiet = sound & (seen.inside <= few)
    is_new = is_quiet & ~_was_seen(boxes, seen.before > few_before)
    frozen_s = _frozen_s(boxes, is_quiet)
    is_much = is_new.sum() > MANY * max(int(sound.sum()), 1)
    severity = "error" if is_much else None
    findings.add_boxes("no_events", entry, boxes, is_new, values=areas, text="{:.0f} pixels", severity=severity)
    is_frozen = frozen_s > limits.frozen_s
    findings.add_boxes("frozen", entry, boxes, is_frozen, values=frozen_s, text="for {:.1f} s")
    findings.add_boxes("quiet", entry, boxes, is_quiet & ~is_new, values=areas, text="{:.0f} pixels")


@njit(cache=True, nogil=True)
def _duplicates(times, edges, iou):
    """For each box, sorted by time, its largest overlap with an earlier one of the same time, if at least ``iou``."""
    found = np.zeros(len(times))
    first = 0
    for n in range(len(times)):
        if times[n] != times[first]:
            first = n
        for i in range(first, n):
            shared = overlap(edges[n], edges[i], False)
            if shared >= iou:
                found[n] = max(found[n], shared)
    return found


def _was_seen(boxes: np.ndarray, is_active: np.ndarray) -> np.ndarray:
    """Whether a box or an earlier one of its track had events, (N,)."""
    keys = np.stack([boxes["t"], boxes["track_id"].astype(np.int64)], axis=1)
    if len(np.unique(keys, axis=0)) < (1 - MANY) * len(boxes):  # one number for several objects of a time
        return is_active
    order = np.lexsort((boxes["t"], boxes["track_id"]))
    before = np.cumsum(is_active[order])
    starts = np.diff(boxes["track_id"][order].astype(np.int64), prepend=-1) != 0
    at_start = np.maximum.accumulate(np.where(starts, before - is_active[order], 0))
    seen = np.empty(len(boxes), np.bool_)
    seen[order] = before > at_start
    return seen


def _frozen_s(boxes: np.ndarray, is_quiet: np.ndarray) -> np.ndarray:
    """For the last of the boxes that stay at one place without events, (N,), how many seconds they do; else 0.

    Other than ``evaluation.breakdown.still_us`` it trusts no identity, which wrong labels may not have: boxes are the
    same where place and class are, and a gap in their times ends it.
    """
    seconds = np.zeros(len(boxes))
    if not is_quiet.any():
        return seconds
    sides = [np.rint(boxes[name].astype(np.float64) * GRAIN) for name in ("x", "y", "w", "h")]
    place = np.unique(np.stack([*sides, boxes["class_id"]], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    chosen = np.flatnonzero(is_quiet)
    chosen = chosen[np.lexsort((boxes["t"][chosen], place[chosen]))]
    t = boxes["t"][chosen]
    begins = np.flatnonzero((np.diff(place[chosen], prepend=-1) != 0) | (np.diff(t, prepend=t[0]) > STEP_S * 1e6))
    ends = np.append(begins[1:], len(chosen)) - 1
    seconds[chosen[ends]] = (t[ends] - t[begins]) / 1e6
    return seconds


def _compare(entries: list[Entry], digests: dict[str, list[Entry]], findings: Findings) -> None:
    """Recordings that are there more than once."""
    copies = {}
    for same in digests.values():
        copies.update(dict.fromkeys(same, same[0]))
        for kind, is_same_split in (("same_content", False), ("repeated", True)):
            names = [each.name for each in same[1:] if (each.split == same[0].split) == is_same_split]
            findings.add_names(kind, names, text=f"as {same[0].name}")
    first: dict[str, Entry] = {}
    for entry in entries:
        name = re.sub(r"(_td)?(_\d+_\d+)?(\.\w+)*$", "", entry.path.name)
        other = first.setdefault(name, entry)
        if other.split != entry.split and copies.get(entry, entry) != copies.get(other, other):
            findings.add_names("same_name", [entry.name], text=f"as {other.name}")


def _compare_rates(splits: list[SplitFacts], findings: Findings) -> None:
    """Recordings whose labels seem to have a wrong rate: an error where they are half of all, as one rate is of all."""
    cases = [case for split in splits for case in split.misfits]
    is_error = 2 * len(cases) >= sum(split.timed for split in splits)
    for case in cases:
        findings.add("label_rate", [case], severity="error" if is_error else None)


def _balance(splits: dict[str, SplitFacts], classes: tuple[str, ...], findings: Findings) -> None:
    """Classes that one split has and another lacks."""
    train = splits.get("train")
    for name, split in splits.items():
        if train is None or name == "train" or not train.boxes or not split.boxes:
            continue
        pairs = (
            ("untrained_class", (name, split), ("train", train)),
            ("unscored_class", ("train", train), (name, split)),
        )
        for kind, (has, there), (lacks, missing) in pairs:
            findings.add(
                kind,
                [
                    Case(None, classes[n], value=there.boxes[n], text=f"{there.boxes[n]:,} in {has}, none in {lacks}")
                    for n in sorted(there.boxes)
                    if n < len(classes) and not missing.boxes[n]
                ],
            )
