"""The checks of an audit on the labels of one recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import check_at_least
from .audit_events import Watched, duplicates, nearest
from .audit_findings import Case, Findings
from .checking import label_reach, labels_outside
from .dataset import Entry
from .labels import is_ignored

FAR_US = 1_000_000
"""Labels this far outside a recording, or more than half of all outside, are an error: its last events may be a little
earlier than the last label."""
OVERLAP = 0.95  # IoU of boxes that are the same
GRAIN = 2  # parts of a pixel: boxes that differ by less stand still
STEP_S = 2.0  # between labels of a track that stands still
USUAL_STEPS = 3  # between labels, before it is called a gap
MANY = 0.1  # share of boxes


@dataclass(frozen=True)
class Limits:
    """From where on something is found.

    window_us: events of a box are those in this time before its label; windows end at multiples of it.
    tolerance_us: labels may be this far from the end of a window.
    few_events: a box with at most so many events counts as one without; so does one with as few as noise puts there.
    frozen_s: a box may stand still without events for so long.
    gap_s: a recording may be without labels for so long, and for three times the usual step between labels.
    """

    window_us: int = 50_000
    tolerance_us: int = 2_000
    few_events: int = 0
    frozen_s: float = 5.0
    gap_s: float = 2.0

    def __post_init__(self) -> None:
        check_at_least(self.window_us, 1, "window_us")
        for name in ("tolerance_us", "few_events", "frozen_s", "gap_s"):
            check_at_least(getattr(self, name), 0, name)


def check_times(
    entry: Entry, boxes: np.ndarray, labelled_us: np.ndarray, watched: Watched, limits: Limits, findings: Findings
) -> np.ndarray:
    """Note label times that are outside, between windows, or far from each other; which boxes are within, (N,)."""
    assert watched.span_us is not None
    first, last = watched.span_us
    reach = limits.window_us if watched.ends_us is None else limits.tolerance_us
    far = np.maximum(first - boxes["t"], boxes["t"] - last)
    within_us = labelled_us
    if outside := labels_outside(labelled_us, watched.span_us, tolerance_us=reach):
        count, at = int(outside.is_outside.sum()), int(labelled_us[outside.worst])
        severity = "error" if outside.far_us > FAR_US or 2 * count > len(labelled_us) else None
        case = Case(entry, entry.name, at, value=float(outside.far_us), text=outside.words)
        findings.add("outside_time", [case], count=count, severity=severity)
        within_us = labelled_us[~outside.is_outside]
    if len(within_us):
        if watched.ends_us is None:
            ends_us = np.rint(within_us / limits.window_us).astype(np.int64) * limits.window_us
        else:
            ends_us = watched.ends_us[nearest(watched.ends_us, within_us)]
        off = np.abs(within_us - ends_us)
        if (off > limits.tolerance_us).any():
            n = int(np.argmax(off))
            case = Case(entry, entry.name, int(within_us[n]), value=float(off[n]), text=f"off by {off[n] / 1e3:.1f} ms")
            findings.add("off_grid", [case], count=int((off > limits.tolerance_us).sum()))
        points = np.array([first, *within_us, max(last, int(within_us[-1]))])
        usual = float(np.median(np.diff(within_us))) if len(within_us) > 1 else 0
        steps = np.diff(points)
        long = np.flatnonzero(steps > max(limits.gap_s * 1e6, USUAL_STEPS * usual))
        cases = []
        for n in long.tolist():
            text = f"{steps[n] / 1e6:.1f} s without labels"
            if n == len(steps) - 1 and (short := label_reach(labelled_us, watched.span_us)):
                text += f"; {short.fitting:.4g} labels a second would reach its end"
            cases.append(Case(entry, entry.name, int(points[n]), value=float(steps[n]), text=text))
        findings.add("gap", cases)
    return far <= reach


def check_boxes(
    entry: Entry,
    boxes: np.ndarray,
    watched: Watched,
    size_hw: tuple[int, int] | None,
    is_within: np.ndarray,
    limits: Limits,
    findings: Findings,
) -> None:
    """Note boxes that are wrong in themselves, or at odds with the events.

    Args:
        entry: the recording.
        boxes: of it, (N,) ``EVENT_BBOX``, sorted by time.
        watched: the events in them.
        size_hw: of the sensor; the pixels that sent events if None.
        is_within: (N,) those at times that the recording shows.
        limits: from where on something is found.
        findings: where to.
    """
    height, width = size_hw or watched.counts.shape
    x1, y1 = boxes["x"].astype(np.float64), boxes["y"].astype(np.float64)
    edges = np.stack([x1, y1, x1 + boxes["w"], y1 + boxes["h"]], axis=1)
    counts = ~is_ignored(boxes)
    has_size = (boxes["w"] > 0) & (boxes["h"] > 0)
    over = np.stack([-edges[:, 0], -edges[:, 1], edges[:, 2] - width, edges[:, 3] - height]).max(axis=0, initial=0)
    is_out = has_size & ((edges[:, :2] >= [width, height]) | (edges[:, 2:] <= 0)).any(axis=1)
    findings.add_boxes("no_size", entry, boxes, ~has_size)
    findings.add_boxes("outside_sensor", entry, boxes, is_out, values=over, text="{:.0f} pixels beyond the rim")
    is_part = counts & has_size & ~is_out & (over > 1)
    if is_part.sum() > MANY * len(boxes) and ((boxes["w"] > x1) & (boxes["h"] > y1)).all():
        findings.add("corners", [Case(entry, entry.name, text=f"{len(boxes):,} boxes")])
    else:
        findings.add_boxes("partly_outside", entry, boxes, is_part, values=over, text="{:.1f} pixels beyond the rim")
    sound = counts & has_size & ~is_out
    overlap = np.zeros(len(boxes))
    overlap[sound] = duplicates(boxes["t"][sound], edges[sound], OVERLAP)
    findings.add_boxes("duplicate", entry, boxes, overlap > 0, values=overlap, text="IoU {:.3f}")
    sound &= is_within & (overlap == 0)
    areas = boxes["w"].astype(np.float64) * boxes["h"]
    few, few_before = watched.few(areas, (height, width)), watched.few(areas * watched.reach, (height, width))
    is_quiet = sound & (watched.inside <= np.maximum(limits.few_events, few))
    is_new = is_quiet & ~_was_seen(boxes, watched.before > np.maximum(limits.few_events, few_before))
    frozen_s = _still_s(boxes, is_quiet)
    is_much = is_new.sum() > MANY * max(int(sound.sum()), 1)
    severity = "error" if is_much else None
    findings.add_boxes("no_events", entry, boxes, is_new, values=areas, text="{:.0f} pixels", severity=severity)
    is_frozen = frozen_s > limits.frozen_s
    findings.add_boxes("frozen", entry, boxes, is_frozen, values=frozen_s, text="for {:.1f} s")
    findings.add_boxes("quiet", entry, boxes, is_quiet & ~is_new, values=areas, text="{:.0f} pixels")


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


def _still_s(boxes: np.ndarray, is_quiet: np.ndarray) -> np.ndarray:
    """For the last of the boxes that stay at one place without events, (N,), how many seconds they do; else 0."""
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
