"""How well tracks follow the objects: MOTA, IDF1 and HOTA over recordings.

The figures are those of TrackEval, computed by the library ``trackers`` (Apache-2.0), an extra of this package.
MOTA: Bernardin and Stiefelhagen, 2008. IDF1: Ristani et al., 2016. HOTA: Luiten et al., 2021.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError
from ..data.box_events import nearest_window
from ..data.detections import overlaps
from ..data.labels import is_ignored
from ..files import write_text
from .files import of_classes, read_detections, read_truth
from .protocols import Recordings, some

IOU = 0.5
"""Least overlap of a track with its object, for MOTA and IDF1; HOTA is a mean over 0.05, 0.10, ..., 0.95."""
TOLERANCE_US = 2_000
"""How far the tracks of a labelled time may be from it."""


def score_tracks(
    truth: Recordings,
    tracked: Recordings,
    *,
    labelled_us: Mapping[str, np.ndarray] | None = None,
    tolerance_us: int = 0,
) -> dict[str, Any]:
    """Figures over all recordings together, each object and each box counted alike, of all classes in one.

    ``MOTA``, ``MOTP`` (mean overlap of the hits), ``IDF1``, ``IDP``, ``IDR``, ``HOTA``, ``DetA``, ``AssA`` and ``LocA``
    are at most 1, or None where there is no truth. The rest are counts: ``identity_switches``, ``fragmentations``,
    ``misses``, ``false_alarms``, ``truth_boxes``, ``truth_tracks``, ``tracked_boxes``, ``tracks``, ``mostly_tracked``
    (at more than 0.8 of its times), ``mostly_lost`` (at less than 0.2) and ``frames``.

    A truth box that ``is_ignored`` is no target, and a tracked box of which at least half lies in it is no error
    unless it follows a target. A track of another class never follows an object, and a number of two classes is two
    tracks.

    Args:
        truth: the labels by recording, with a track of their own for every object.
        tracked: rows with ``t x y w h class_id track_id`` by recording; one that is missing has none.
        labelled_us: times (M,) int64 at which a recording is labelled; those of its boxes where it is not named.
        tolerance_us: the tracked boxes of a labelled time are those of the nearest time at most this far.

    Raises:
        InputError: if there is no recording, a tracked one is unknown, an identity has two boxes at one time, or the
            library is not installed.
    """
    library = _library()
    if not truth:
        raise InputError("truth must have at least one recording, got none.")
    if unknown := sorted(set(tracked) - set(truth)):
        raise InputError(f"tracks must be of the recordings of the truth ({some(sorted(truth))}), got {some(unknown)}.")
    figures: dict[str, list[dict[str, Any]]] = {"clear": [], "identity": [], "hota": []}
    tracks = 0
    for name, boxes in truth.items():
        followed = np.asarray(tracked.get(name, boxes[:0]))
        frames = _frames(
            np.asarray(boxes),
            followed,
            (labelled_us or {}).get(name, boxes["t"]),
            tolerance_us=tolerance_us,
            name=name,
        )
        tracks += len(np.unique(np.concatenate([np.zeros(0, np.int64), *frames.track_ids])))
        figures["clear"].append(library.compute_clear_metrics(*frames, threshold=IOU))
        figures["identity"].append(library.compute_identity_metrics(*frames, threshold=IOU))
        figures["hota"].append(library.compute_hota_metrics(*frames))
    clear = library.aggregate_clear_metrics(figures["clear"])
    identity = library.aggregate_identity_metrics(figures["identity"])
    hota = library.aggregate_hota_metrics(figures["hota"])
    return _named(clear, identity, hota) | {"tracks": tracks}


class _Frames(NamedTuple):
    """What the library takes: identities (N,) and (M,) and overlaps (N, M) of every time."""

    truth_ids: list[np.ndarray]
    track_ids: list[np.ndarray]
    overlaps: list[np.ndarray]


def _frames(
    truth: np.ndarray,
    tracked: np.ndarray,
    times_us: np.ndarray,
    *,
    tolerance_us: int,
    name: str,
) -> _Frames:
    truth, tracked = (boxes[np.argsort(boxes["t"], kind="stable")] for boxes in (truth, tracked))
    truth_ids = _identities(truth, f"truth of {name}")
    track_ids = _identities(tracked, f"tracks of {name}")
    moments, times = np.unique(tracked["t"]), np.unique(times_us)
    frames = _Frames([], [], [])
    for time, moment in zip(times, moments[nearest_window(times, moments)] if len(moments) else times, strict=True):
        here = slice(*np.searchsorted(truth["t"], [time, time + 1]))
        is_near = abs(int(moment) - int(time)) <= tolerance_us
        there = slice(*np.searchsorted(tracked["t"], [moment, moment + 1])) if is_near else slice(0, 0)
        is_target = ~is_ignored(truth[here])
        targets, ignored, found = truth[here][is_target], truth[here][~is_target], tracked[there]
        overlap, inside = overlaps(targets, found), overlaps(found, ignored, of_first=True)
        overlap *= targets["class_id"][:, None] == found["class_id"]
        inside *= found["class_id"][:, None] == ignored["class_id"]
        counts = (overlap >= IOU).any(axis=0) | ~(inside >= 0.5).any(axis=1)
        frames.truth_ids.append(truth_ids[here][is_target])
        frames.track_ids.append(track_ids[there][counts])
        frames.overlaps.append(overlap[:, counts])
    return frames


def _identities(boxes: np.ndarray, whose: str) -> np.ndarray:
    """(N,) number of the track of every box; a track number of two classes is two tracks."""
    columns = np.stack([boxes["track_id"].astype(np.int64), boxes["class_id"].astype(np.int64)])
    numbers = np.unique(columns, axis=1, return_inverse=True)[1].reshape(-1)
    if np.unique(np.stack([numbers, boxes["t"]]), axis=1).shape[1] < len(boxes):
        raise InputError(f"{whose} must have one box of a track at a time, got two. Are there no identities?")
    return numbers


def _named(clear: dict[str, Any], identity: dict[str, Any], hota: dict[str, Any]) -> dict[str, Any]:
    targets = clear["CLR_TP"] + clear["CLR_FN"]
    shares = {
        **{name: clear[name] for name in ("MOTA", "MOTP")},
        **{name: identity[name] for name in ("IDF1", "IDP", "IDR")},
        **{name: hota[name] for name in ("HOTA", "DetA", "AssA", "LocA")},
    }
    return {name: float(share) if targets else None for name, share in shares.items()} | {
        "identity_switches": int(clear["IDSW"]),
        "fragmentations": int(clear["Frag"]),
        "misses": int(clear["CLR_FN"]),
        "false_alarms": int(clear["CLR_FP"]),
        "truth_boxes": int(targets),
        "truth_tracks": int(clear["MT"] + clear["PT"] + clear["ML"]),
        "tracked_boxes": int(clear["CLR_TP"] + clear["CLR_FP"]),
        "mostly_tracked": int(clear["MT"]),
        "mostly_lost": int(clear["ML"]),
        "frames": int(clear["CLR_Frames"]),
    }


def _library() -> Any:
    try:
        return import_module("trackers.eval")  # takes a second: OpenCV comes along
    except ImportError as error:
        raise InputError(
            f"scores of tracks need the library trackers ({error}). Install it: pip install 'seqdet[track]'"
        ) from error


def evaluate_tracks(tracks: Path, dataset: Path, *, split: str = "test", target: Path | None = None) -> list[str]:
    """Score files of tracks; the lines to print.

    Args:
        tracks: file or folder, see ``read_detections``; where the folder lists classes, only these are scored.
        dataset: folder whose labels have tracks, see ``read_truth``.
        split: of the dataset.
        target: JSON file for all figures.

    Raises:
        InputError: if a file is missing, they do not belong together, or the extra ``track`` is not installed.
    """
    truth = of_classes(read_truth(dataset, split=split), tracks, kind="tracks")
    found = read_detections(tracks, kind="tracks")
    score = score_tracks(truth.boxes, found, labelled_us=truth.labelled_us, tolerance_us=TOLERANCE_US)
    if target:
        write_text(target, json.dumps(score, indent=2) + "\n")
    without = sorted(set(truth.boxes) - set(found))
    shares = ("IDF1", "MOTA", "HOTA", "DetA", "AssA")
    counts = ("identity_switches", "fragmentations", "misses", "false_alarms")
    return [
        "  ".join(f"{name} {score[name]:.3f}" if score[name] is not None else f"{name} -" for name in shares),
        f"{len(truth.boxes)} recordings, {score['frames']:,} labelled times, {score['truth_tracks']:,} objects with "
        f"{score['truth_boxes']:,} boxes, {score['tracks']:,} tracks with {score['tracked_boxes']:,}",
        ", ".join(f"{score[name]:,} {name.replace('_', ' ')}" for name in counts),
        *([f"no file of tracks, so that all is missed: {some(without)}"] if without else []),
    ]
