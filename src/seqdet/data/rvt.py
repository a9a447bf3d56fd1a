"""Folders of RVT: the tensors and the labels of one recording, read and written.

::

    labels_v2/labels.npz                      labels, and where those of each labelled frame begin
    labels_v2/timestamps_us.npy               time of each labelled frame
    event_representations_v2/<name>/event_representations.h5, or event_representations_ds2_nearest.h5 at half size
    event_representations_v2/<name>/objframe_idx_2_repr_idx.npy    tensor of each labelled frame
    event_representations_v2/<name>/timestamps_us.npy              end of the window of each tensor

Source: the layout that https://github.com/uzh-rpg/RVT reads and writes.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from ..checks import InputError
from ..config import InputConfig, PictureInput, TensorConfig
from ..events.tables import ZIP_DAMAGE
from ..events.tensors import RVT_NAMES
from ..files import make_folder, read_npy, replacing
from ..pictures.sequence import is_sequence
from .description import Description
from .labels import checked_boxes, npy_content
from .store import DAMAGE, TensorFile

REPRESENTATIONS = "event_representations_v2"
FULL_SIZE = "event_representations.h5"
HALF_SIZE = "event_representations_ds2_nearest.h5"
AGAIN = "Copy or unpack it again."
UNREADABLE = (*DAMAGE, *ZIP_DAMAGE, MemoryError)
LABELS = "labels_v2"
FIRST_LABEL_US = 100_000
TOLERANCE_US = 2000
"""A label is that of the window that ends within this time of it; others have no place in such a folder."""


def open_rvt(folder: Path, name: str | None = None) -> tuple[TensorFile, np.ndarray]:
    """The tensors, and the labels (N,) ``EVENT_BBOX`` with their times and sensor pixels as they are, sorted by time.

    Args:
        folder: of one recording.
        name: of the representation; needed if there are several.

    Raises:
        InputError: if a file is missing or damaged, or there is no one representation of that name.
    """
    names = representation_names(folder)
    chosen = [each for each in names if name in (None, each)]
    if len(chosen) != 1:
        wanted = f"the representation {name}" if name else "one representation"
        raise InputError(f"{folder} must have {wanted}, got {', '.join(names)}. Move the others away.")
    inner = folder / REPRESENTATIONS / chosen[0]
    path = next(inner.glob("event_representations*.h5"))
    labels = read_rvt_labels(folder)
    try:
        with (inner / "timestamps_us.npy").open("rb") as file:
            ends_us = read_npy(file).astype(np.int64)
    except UNREADABLE as error:
        raise InputError(f"{inner / 'timestamps_us.npy'} must be there and whole: {error}. {AGAIN}") from error
    window_us = _window_us(chosen[0], ends_us, folder)

    def describe(data: h5py.Dataset, path: Path) -> Description:
        """What the names of the folder and of the file say."""
        height, width = data.shape[2:]
        scale = 2 if path.name == HALF_SIZE else 1
        shown = InputConfig(chosen[0], {}, window_us, (height * scale, width * scale), (height, width))
        return Description(shown, start_us=int(ends_us[0]) - window_us if len(ends_us) else 0)

    tensors = TensorFile(path, describe=describe)
    if len(ends_us) != len(tensors):
        tensors.close()
        raise InputError(f"{folder} must have a time for each of its {len(tensors)} tensors, got {len(ends_us)}.")
    tensors.ends_us = ends_us
    return tensors, labels


def read_rvt_labels(folder: Path) -> np.ndarray:
    """The labels of one recording as ``open_rvt`` gives them.

    Raises:
        InputError: if they are missing or damaged.
    """
    path = folder / LABELS / "labels.npz"
    try:
        with zipfile.ZipFile(path) as archive, archive.open("labels.npy") as file:
            labels = read_npy(file)
    except UNREADABLE as error:
        raise InputError(f"{path} must be there and whole, with an array 'labels': {error}. {AGAIN}") from error
    return checked_boxes(labels, path)


def representation_names(folder: Path) -> list[str]:
    """The names of the representations of one recording, sorted. Raises ``InputError`` if there are none."""
    names = sorted(each.parent.name for each in folder.glob(f"{REPRESENTATIONS}/*/event_representations*.h5"))
    if not names:
        raise InputError(f"{folder} must have tensors, {REPRESENTATIONS}/<name>/{FULL_SIZE}, and has none. {AGAIN}")
    return names


def write_rvt(folder: Path, tensors: Path, labels: np.ndarray) -> int:
    """Write a tensor file, which moves, and the labels at ends of its windows as such a folder.

    RVT's own tensors of half size drop every other pixel; ours count the events of all.

    Args:
        folder: of the recording; made if it does not exist.
        tensors: stacked histograms or mixed density stacks, at the sensor's size or half of it, compressed as RVT's.
        labels: (N,) ``EVENT_BBOX``.

    Returns:
        how many labels are not at the end of a window and were left out.

    Raises:
        InputError: if the tensors are others, or a file cannot be written.
    """
    with TensorFile(tensors) as opened:
        shown = opened.description.input
        ends_us = opened.ends_us
    if isinstance(shown, PictureInput):
        raise InputError(f"RVT's layout is for events, and {tensors} holds frames of pictures.")
    height, width = shown.sensor_hw
    files = {(height, width): FULL_SIZE, (height // 2, width // 2): HALF_SIZE}
    if shown.representation not in RVT_NAMES or shown.frame_hw not in files:
        raise InputError(
            f"RVT takes stacked_histogram or mixed_density_stack at the sensor's size or half of it, "
            f"got {shown.representation} at {shown.frame_hw} of {shown.sensor_hw}."
        )
    bins = shown.parameters.get("bins", 10)
    inner = folder / REPRESENTATIONS / f"{shown.representation}_dt={shown.window_us / 1000:g}_nbins={bins}"
    make_folder(inner)
    make_folder(folder / LABELS)
    nearest = np.clip(np.rint((labels["t"] - ends_us[0]) / shown.window_us).astype(np.int64), 0, len(ends_us) - 1)
    kept = np.abs(labels["t"] - ends_us[nearest]) <= TOLERANCE_US
    labels = labels[kept]
    nearest = nearest[kept]
    frames, starts = np.unique(nearest, return_index=True)
    index = io.BytesIO()
    np.save(index, starts.astype(np.int64), allow_pickle=False)
    with replacing(folder / LABELS / "labels.npz") as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(zipfile.ZipInfo("labels.npy"), npy_content(labels))
        archive.writestr(zipfile.ZipInfo("objframe_idx_2_label_idx.npy"), index.getvalue())
    for path, array in (
        (folder / LABELS / "timestamps_us.npy", labels["t"][starts]),
        (inner / "objframe_idx_2_repr_idx.npy", frames),
        (inner / "timestamps_us.npy", ends_us),
    ):
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, array.astype(np.int64), allow_pickle=False)
    tensors.replace(inner / files[shown.frame_hw])
    return int((~kept).sum())


def _window_us(name: str, ends_us: np.ndarray, folder: Path) -> int:
    """By the name of the representation, or else by the ends of the windows."""
    if found := re.search(r"_dt=(\d+(?:\.\d+)?)", name):
        return round(float(found[1]) * 1000)
    if len(ends_us) < 2:
        raise InputError(f"{folder} must say in {name} how long its windows are, as in _dt=50.")
    return int(np.median(np.diff(ends_us)))


class RvtLayout:
    """A folder for each recording, see ``layouts.Layout``."""

    compression = "blosc"
    labels_are_independent = False  # they are those of the tensors

    def owns(self, path: Path) -> bool:
        return path.is_dir() and not is_sequence(path)

    def recordings(self, inside: Iterable[Path]) -> list[Path]:
        return [path.parent for path in inside if path.name == LABELS and path.is_dir()]

    def tensors(self, folder: Path) -> list[Path]:
        return [path.parent for path in folder.glob(f"*/{REPRESENTATIONS}")]

    def holds_tensors(self, path: Path) -> bool:
        return True

    def check(self, path: Path) -> None:
        representation_names(path)

    def open(self, path: Path) -> TensorFile:
        return open_rvt(path)[0]

    def label_place(self, path: Path) -> Path | None:
        return path

    def label_file(self, path: Path) -> Path | None:
        return path / LABELS / "labels.npz"

    def read_labels(self, place: Path) -> tuple[np.ndarray, np.ndarray]:
        boxes = read_rvt_labels(place)
        return boxes, np.unique(boxes["t"])

    def check_tensor(self, tensor: TensorConfig) -> None:
        if tensor.representation not in RVT_NAMES or tensor.downscale > 2 or tensor.to_hw is not None:
            raise InputError(
                f"RVT's layout must have {' or '.join(RVT_NAMES)} at the sensor's size or with a downscale of 2, "
                f"got {tensor.representation} with {tensor.downscale}."
            )

    def aligned(self, tensor: TensorConfig) -> tuple[TensorConfig, int]:
        """Windows end with labels; the first of these have too few events before them."""
        return replace(tensor, align="labels"), FIRST_LABEL_US

    def is_written(self, path: Path) -> bool:
        return path.is_dir()

    def written_tensors(self, place: Path) -> list[Path]:
        return list(place.glob(f"{REPRESENTATIONS}/*/*.h5"))

    def written_labels(self, place: Path) -> Path | None:
        return None

    def write(self, place: Path, tensors: Path, labels: tuple[np.ndarray, np.ndarray] | None) -> int:
        assert labels is not None  # with which its windows end
        return write_rvt(place, tensors, labels[0])
