"""Labels of recordings: boxes with a time, a class and an identity."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ..checks import InputError
from ..events.files import bare_name
from ..files import as_on_disk, read_npy, replacing, write_bytes

EVENT_BBOX = np.dtype(
    [
        ("t", "<i8"),
        ("x", "<f4"),
        ("y", "<f4"),
        ("w", "<f4"),
        ("h", "<f4"),
        ("class_id", "<u4"),
        ("track_id", "<u4"),
        ("class_confidence", "<f4"),
    ],
    align=True,
)
"""One box of a label file, 40 bytes: microseconds, the top left corner and the size in pixels of the sensor, class,
track, score. Layout of the Prophesee automotive dataset toolbox (Apache-2.0)."""
TEXT_COLUMNS: tuple[str, ...] = ("t", "class_id", "track_id", "x", "y", "w", "h", "class_confidence")
"""Of a text without a line of names, as the Metavision SDK and ``seqdet predict`` write it; others may follow."""
IGNORED = 0
"""The score of a label that ``is_ignored``."""
LEGACY_NAMES = {"ts": "t", "confidence": "class_confidence"}
DEFAULTS = {"track_id": 0, "class_confidence": 1}
LABEL_SUFFIX = "_bbox.npy"
LABELLED_SUFFIX = "_labelled.npy"
"""Beside a label file: (M,) int64, the times in microseconds at which somebody looked, with and without a box."""
CLASSES_FILE = "label_map_dictionary.json"
"""In the folder of a dataset: a JSON object from the class index, as text, to the name of the class."""


def is_ignored(boxes: np.ndarray) -> np.ndarray:
    """Which labels are neither targets nor errors, (N,) bool: those of a score of exactly 0, and no others.

    The one rule, for training, scores and audits. A negative score, as the -1 of MOT, or none that is a number says
    that no score is there: such a label counts like any other, and so do all of other scores.

    Args:
        boxes: labels (N,) with the field ``class_confidence``.
    """
    return boxes["class_confidence"] == IGNORED


def has_odd_score(boxes: np.ndarray) -> np.ndarray:
    """Which labels have a score that is no share from 0 to 1, (N,) bool: a -1 of MOT, a percentage, no number."""
    return ~((boxes["class_confidence"] >= 0) & (boxes["class_confidence"] <= 1))


def read_labels(path: Path) -> np.ndarray:
    """The boxes of a label file, (N,) ``EVENT_BBOX``, sorted by time.

    Old files with ``ts`` and ``confidence``, with other field types and order, without tracks or scores are read too.

    Raises:
        InputError: if the file is missing or damaged, a field is missing, or a number is none that a box can have.
    """
    return checked_boxes(_array(path, "a label file, an npy file of boxes"), path)


def times_as_written(path: Path) -> np.ndarray:
    """The times of a label file in the order in which it has them; none if it cannot be read."""
    try:
        rows = _array(path, "a label file")
        return rows["t" if "t" in (rows.dtype.names or ()) else "ts"]
    except (InputError, ValueError, IndexError):
        return np.zeros(0, np.int64)


def _array(path: Path, what: str) -> np.ndarray:
    """What an npy file holds. Raises ``InputError`` if it is missing or damaged, and so not ``what``."""
    try:
        with path.open("rb") as file:
            return read_npy(file)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise InputError(f"{path} must be {what}: {error}.") from error


def checked_boxes(found: np.ndarray, path: Path) -> np.ndarray:
    """As ``read_labels`` for what was read from ``path``."""
    names = {LEGACY_NAMES.get(name, name): name for name in found.dtype.names or ()}
    missing = [name for name in EVENT_BBOX.names or () if name not in names and name not in DEFAULTS]
    if found.ndim != 1 or missing:
        got = ", ".join(found.dtype.names or ()) or f"{found.dtype} of shape {found.shape}"
        raise InputError(f"{path} must hold boxes with {', '.join(EVENT_BBOX.names or ())}, got {got}.")
    for name, kind in ((name, found.dtype[name]) for name in names.values()):
        if kind.kind not in "iufb" or kind.shape:
            raise InputError(f"{path} must have one number in every field of a box, got {kind} as {name}.")
    boxes = np.zeros(len(found), EVENT_BBOX)
    for name in EVENT_BBOX.names or ():
        column = found[names[name]] if name in names else DEFAULTS[name]
        with np.errstate(invalid="ignore"):
            boxes[name] = column
        if EVENT_BBOX[name].kind in "iu" and not np.all(boxes[name] == column):
            raise InputError(f"{path} must have whole numbers of at least 0 for {name}, got others.")
    check_boxes(boxes, path)
    return boxes[np.argsort(boxes["t"], kind="stable")]


def are_boxes(rows: np.ndarray) -> np.ndarray:
    """Which rows with fields x, y, w, h have finite corners and sizes of at least 0, (N,) bool."""
    are_finite = [np.isfinite(rows[name]) for name in ("x", "y", "w", "h")]
    return np.logical_and.reduce([*are_finite, rows["w"] >= 0, rows["h"] >= 0])


def check_boxes(boxes: np.ndarray, path: Path) -> None:
    """Raise ``InputError`` unless all of ``are_boxes``; ``path`` is where they are from."""
    if not are_boxes(boxes).all():
        raise InputError(f"{path} must have finite corners and sizes of at least 0, got others.")


def write_labels(path: Path, boxes: np.ndarray) -> None:
    """Write (N,) ``EVENT_BBOX`` as an npy file. Raises ``InputError`` as ``replacing`` does."""
    write_bytes(path, npy_content(boxes))


def npy_content(boxes: np.ndarray) -> bytes:
    """An npy file of (N,) ``EVENT_BBOX``, with zeros between the fields, where a copy of rows has anything."""
    rows = np.zeros(len(boxes), EVENT_BBOX)
    for name in EVENT_BBOX.names or ():
        rows[name] = boxes[name]
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(rows))
    return header.getvalue() + rows.view(np.uint8).tobytes()  # a copy of rows would not take the zeros along


def read_labelled_us(path: Path, boxes: np.ndarray) -> np.ndarray:
    """The times (M,) int64, rising, at which a recording is labelled: a time without a box then has no object.

    Args:
        path: of the label file; without a file of times beside it, only the times of its boxes are labelled.
        boxes: what is in it.

    Raises:
        InputError: if the file of times is damaged, or a box is at none of them.
    """
    times = labelled_path(path)
    if not times.is_file():
        return np.unique(boxes["t"])
    found = _array(times, "an npy file of times")
    if found.ndim != 1 or found.dtype.kind not in "iu" or not np.isin(boxes["t"], found).all():
        raise InputError(f"{times} must hold whole microseconds, those of all boxes of {path} among them.")
    return np.unique(found.astype(np.int64))


def write_labelled_us(path: Path, times_us: np.ndarray) -> None:
    """Write the times at which the recording of the label file ``path`` is labelled beside it."""
    with replacing(labelled_path(path)) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array(file, times_us.astype(np.int64), allow_pickle=False)


def labelled_path(labels: Path) -> Path:
    """Where the times are at which the recording of a label file is labelled."""
    return labels.with_name(labels.name.removesuffix(LABEL_SUFFIX) + LABELLED_SUFFIX)


def label_path(recording: Path) -> Path:
    """Where the labels of a recording are written, beside it."""
    return recording.with_name(recording_name(recording) + LABEL_SUFFIX)


def recording_name(path: Path) -> str:
    """The name of the file without its endings, also where it was converted or packed (``.dat.h5``, ``.raw.gz``)."""
    name = bare_name(path.name)
    if name == path.name or Path(name).suffix:
        return name.removesuffix(".dat.h5") if name.endswith(".dat.h5") else Path(name).stem
    return name


def labels_beside(recording: Path) -> Path | None:
    """The label file of a recording: ``<name>_bbox.npy``, where a last ``_td`` of the name may be missing."""
    stem = recording_name(recording)
    for name in (stem, stem.removesuffix("_td")):
        if (path := as_on_disk(recording.with_name(name + LABEL_SUFFIX))).is_file():
            return path
    return None
