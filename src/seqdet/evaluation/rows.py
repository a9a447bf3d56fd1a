"""Boxes of all recordings as one table, of which a protocol leaves some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..checks import InputError
from ..data.labels import EVENT_BBOX, is_ignored
from .coco import FRAME_BOX
from .protocol import Protocol

Recordings = Mapping[str, np.ndarray]
"""Boxes (N,) ``EVENT_BBOX`` by the name of the recording, in sensor pixels and microseconds."""
MOST_TIME_US = 1 << 60
ROW = np.dtype([*FRAME_BOX.descr, ("t", np.int64), ("recording", np.int64), ("row", np.int64)])
"""A box. row: its number, counted through all recordings in their order."""


def labels_of(
    protocol: Protocol, class_names: Mapping[int, str] | Sequence[str]
) -> tuple[tuple[str, ...], dict[int, int]]:
    """The names of the labels, and the label of every class index, -1 where it is not scored."""
    names = dict(class_names) if isinstance(class_names, Mapping) else dict(enumerate(class_names))
    renamed = {_key(old): new for old, new in protocol.renamed}
    final = {index: renamed.get(_key(name), name) for index, name in names.items()}
    classes = protocol.classes or tuple(dict.fromkeys(final.values()))
    known = {_key(name) for name in final.values()}
    if missing := [name for name in classes if _key(name) not in known]:
        raise InputError(
            f"{protocol.title} scores {', '.join(classes)}, and the data set has no class {', '.join(missing)} "
            f"but {', '.join(names.values())}. Score it with another protocol, such as coco, or correct its class list."
        )
    place = {_key(name): label for label, name in enumerate(classes)}
    return classes, {index: place.get(_key(name), -1) for index, name in final.items()}


def _key(name: str) -> str:
    """Equal for ``two wheeler``, ``Two-wheeler`` and ``two_wheeler``."""
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


def table(boxes: Recordings, names: Sequence[str], whose: str, label_of: Mapping[int, int]) -> np.ndarray:
    """Rows of all recordings, sorted by recording and time, in sensor pixels."""
    parts = [np.asarray(boxes.get(name, np.zeros(0, EVENT_BBOX))) for name in names]
    if wrong := [name for name, part in zip(names, parts, strict=True) if part.dtype.names != EVENT_BBOX.names]:
        raise InputError(f"{whose} of {some(wrong)} must be boxes with {', '.join(EVENT_BBOX.names or ())}.")
    found = np.concatenate(parts)
    rows = np.zeros(len(found), ROW)
    rows["recording"] = np.repeat(np.arange(len(names)), [len(part) for part in parts])
    rows["row"] = np.arange(len(found))
    rows["t"], rows["scores"] = found["t"], found["class_confidence"]
    corner, size = (np.stack([found[each] for each in pair], 1).astype(np.float64) for pair in ("xy", "wh"))
    rows["xyxy"] = np.hstack([corner, corner + size])
    if whose == "truth":
        rows["is_ignored"] = is_ignored(found)
        rows["scores"] = ~rows["is_ignored"]  # what else labels have as scores says nothing
    numbers = np.column_stack([rows["xyxy"], rows["scores"]])
    is_sound = np.isfinite(numbers).all(1) & (size >= 0).all(1) & (abs(rows["t"]) < MOST_TIME_US)
    if not is_sound.all():
        bad = found[~is_sound][0]
        raise InputError(f"{whose} of {names[rows[~is_sound][0]['recording']]} must be finite boxes, got {bad}.")
    indices, inverse = np.unique(found["class_id"], return_inverse=True)
    if unknown := [int(index) for index in indices if int(index) not in label_of]:
        raise InputError(
            f"class_id of {whose} must be one of {', '.join(map(str, label_of))}, got {unknown[0]}. "
            "Were they made with another class list?"
        )
    rows["labels"] = np.array([label_of[int(index)] for index in indices], np.int64)[inverse]
    return rows[np.lexsort((rows["t"], rows["recording"]))]


def filtered(rows: np.ndarray, whose: str, protocol: Protocol, dropped: dict[str, int]) -> np.ndarray:
    """The rows that the rules leave, in scaled pixels."""
    is_truth = whose == "truth"
    if is_truth and protocol.clips_truth and protocol.sensor_hw:
        height, width = protocol.sensor_hw
        rows["xyxy"] = np.clip(rows["xyxy"], 0, [width, height, width, height])
    rows["xyxy"] *= protocol.scale
    size = rows["xyxy"][:, 2:] - rows["xyxy"][:, :2]
    rules: dict[str, np.ndarray] = {"of a class that is not scored": rows["labels"] >= 0}
    if protocol.skip_us >= 0:
        rules[f"at {protocol.skip_us / 1e6:g} s or before"] = rows["t"] > protocol.skip_us
    if is_truth and protocol.clips_truth:
        rules["outside of the sensor"] = size.min(1) > 0
    if protocol.filters_truth if is_truth else protocol.filters_detections:
        is_long = (size**2).sum(1) >= protocol.min_diagonal**2
        rules["too small"] = is_long & (size.min(1) >= protocol.min_side)
    if not is_truth:
        rules[f"of a score below {protocol.least_score:g}"] = rows["scores"] >= np.float32(protocol.least_score)
    kept = np.ones(len(rows), bool)
    for why, holds in rules.items():
        dropped[f"{whose} {why}"] = int((kept & ~holds).sum())
        kept &= holds
    return rows[kept]


def some(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
