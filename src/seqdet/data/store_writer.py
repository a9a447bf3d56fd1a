"""Write tensor files, and put them together; ``store`` says what they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from shutil import copyfile
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from ..checks import InputError, check_at_least, check_choice, check_shape
from ..events.hdf5_files import filters
from ..files import patient, replacing
from .store import Description, TensorFile, find_dataset

COMPRESSIONS: dict[str, dict[str, Any]] = {
    "lz4": dict(hdf5plugin.LZ4()),
    "zstd": dict(hdf5plugin.Zstd(clevel=1)),
    "blosc": dict(hdf5plugin.Blosc(cname="zstd", clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE)),
    "gzip": {"compression": "gzip", "compression_opts": 1},
    "none": {},
}
"""``lz4`` is the fastest to read, ``zstd`` takes half of the disk, and ``blosc`` is what RVT writes. HDF5 alone,
without a plugin, reads ``gzip`` and ``none``."""
FILTERS = {1: "gzip", 32001: "blosc", 32004: "lz4", 32015: "zstd"}
"""Their numbers in a file."""
LAYOUT = ("v110", "v110")
"""Oldest and newest release of HDF5 whose structures are written: the oldest with checksums in all of them."""


def write_tensors(
    path: Path, batches: Iterable[np.ndarray], description: Description, *, compression: str = "lz4"
) -> None:
    """Write frames as they come; the file appears, or is replaced, when all are in.

    Args:
        path: of the file.
        batches: (n, C, H, W) each, of one frame size and dtype; at least one.
        description: what they show.
        compression: a key of ``COMPRESSIONS``.

    Raises:
        InputError: if there is nothing to write or it does not fit together; and as ``replacing`` does.
    """
    check_choice(compression, COMPRESSIONS, "compression")
    pieces = iter(batches)
    first = next(pieces, None)
    if first is None:
        raise InputError(f"frames must be at least one, got none for {path}.")
    check_shape(first, "N C H W", "frames")
    with replacing(path) as temporary, patient(temporary) as target, h5py.File(target, "w", libver=LAYOUT) as file:
        data = _dataset(file, first, COMPRESSIONS[compression], description)
        for batch in chain([first], pieces):
            _add(data, batch)


def append_tensors(path: Path, batches: Iterable[np.ndarray]) -> None:
    """Add frames after those that are in the file, as it describes and compresses them. Nothing changes if that fails.

    Raises:
        InputError: as ``write_tensors`` and ``TensorFile`` do.
    """
    TensorFile(path).close()
    with replacing(path) as temporary:
        copyfile(path, temporary)
        with patient(temporary, "r+b") as target, h5py.File(target, "r+", libver=LAYOUT) as file:
            data = find_dataset(file)
            for batch in batches:
                _add(data, batch)


def join_tensors(path: Path, parts: Sequence[Path]) -> None:
    """Put consecutive tensor files together without unpacking their frames.

    Raises:
        InputError: if they do not follow each other or differ in what they show; and as ``replacing`` does.
    """
    check_at_least(len(parts), 1, "the number of parts")
    with (
        TensorFile(parts[0]) as first,
        replacing(path) as temporary,
        patient(temporary) as target,
        h5py.File(target, "w", libver=LAYOUT) as file,
    ):
        window, frame = first.description, first.shape[1:]
        space = h5py.h5s.create_simple((0, *frame), (h5py.h5s.UNLIMITED, *frame))
        plan = first.data.id.get_create_plist()  # chunks and filters
        plan.set_obj_track_times(False)
        data = h5py.Dataset(h5py.h5d.create(file.id, b"data", first.data.id.get_type(), space, plan))
        data.attrs.update(first.data.attrs)
        for part in parts:
            with TensorFile(part) as source:
                done = len(data)
                expected = replace(window, start_us=window.start_us + done * window.duration_us)
                if (source.description, source.shape[1:], source.dtype) != (expected, frame, first.dtype):
                    raise InputError(f"{part} must follow the frames before it, {expected}, got {source.description}.")
                if packing(source.data) != packing(first.data):
                    raise InputError(f"{part} must be compressed as {parts[0]} is, and is not.")
                data.resize(done + len(source), axis=0)
                for n in range(len(source)):
                    mask, content = source.data.id.read_direct_chunk((n, 0, 0, 0))
                    data.id.write_direct_chunk((done + n, 0, 0, 0), content, mask)


def compression_of(data: h5py.Dataset) -> str:
    """The key of ``COMPRESSIONS`` by which frames were written."""
    return next((FILTERS[number] for number, _ in filters(data) if number in FILTERS), "none")


def packing(data: h5py.Dataset) -> list[tuple[int, tuple[int, ...]]]:
    """How the frames are compressed and checked: number and settings of each filter."""
    plan = data.id.get_create_plist()
    return [(number, values) for number, _, values, _ in map(plan.get_filter, range(plan.get_nfilters()))]


def _dataset(file: h5py.File, frames: np.ndarray, packed: dict[str, Any], description: Description) -> h5py.Dataset:
    """An empty dataset for frames such as these."""
    frame = frames.shape[1:]
    shuffles = frames.itemsize > 1 and packed is not COMPRESSIONS["blosc"]  # which shuffles itself
    data = file.create_dataset(
        "data",
        (0, *frame),
        frames.dtype,
        maxshape=(None, *frame),
        chunks=(1, *frame),
        shuffle=shuffles,
        fletcher32=True,
        **packed,
    )
    data.attrs.update(description.attributes(frame))
    return data


def _add(data: h5py.Dataset, frames: np.ndarray) -> None:
    if frames.shape[1:] != data.shape[1:] or frames.dtype != data.dtype:
        wanted = f"{data.dtype} {data.shape[1:]}"
        raise InputError(f"frames must all be {wanted}, got {frames.dtype} {frames.shape[1:]}.")
    done = len(data)
    data.resize(done + len(frames), axis=0)
    data[done:] = frames
