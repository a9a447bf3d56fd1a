"""Tensor files: the frames of a recording, made once and read by slice.

An HDF5 file with one dataset ``data`` (N, C, H, W), a chunk for each frame, whose attributes are those of
``description``. Labels lie beside, see ``labels``.

Every byte that says something has a checksum, which HDF5 looks at whenever it reads: that of each chunk is the last of
its filters, and everything else has one in the layout of HDF5 1.10, which older readers do not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import h5py
import hdf5plugin
import numpy as np

from ..checks import InputError, check_at_least, check_choice, check_shape
from ..events.hdf5_files import DAMAGE, check_filters, filters, find, open_hdf5_file
from ..events.slicing import MOST_WINDOWS
from ..files import patient, replacing
from .description import AGAIN, LATEST_US, PICTURES, Description, description_of

MOST_FRAME_BYTES = 1 << 28
TIMES = "times_us"
"""The dataset beside frames of pictures: when each was taken."""


class TensorFile:
    """The frames of a file, open for reading; a context manager.

    path: of the file. data: the dataset. description: what it shows. shape: (N, C, H, W). dtype: of the frames.
    ends_us: (N,) int64, the end of the window of every frame. is_checked: whether the frames have checksums.

    Args:
        path: of the file.
        describe: says what the dataset holds, for files without attributes.

    Raises:
        InputError: if it is no tensor file, is damaged, claims what it does not hold, or was written by a newer
            version.
    """

    def __init__(
        self, path: Path | str, *, describe: Callable[[h5py.Dataset, Path], Description] | None = None
    ) -> None:
        self.path = Path(path)
        try:
            self._file = open_hdf5_file(self.path)
        except OSError as error:
            raise InputError(f"{path} must be a whole HDF5 tensor file: {error}. {AGAIN}") from error
        try:
            self.data = find_dataset(self._file)
            check_filters(self.data, self.path)
            _check_holds(self.data, self.path)
            self.description = (describe or description_of)(self.data, self.path)
            if PICTURES in self.data.attrs:
                self.description = _with_times(self.description, self._file, len(self.data))
            self.shape = tuple(map(int, self.data.shape))
            self.dtype = self.data.dtype
            self.is_checked = h5py.h5z.FILTER_FLETCHER32 in dict(filters(self.data))
        except DAMAGE as error:
            self.close()
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} must be a tensor file with a sound dataset 'data': {error}. {AGAIN}") from error
        self.ends_us = self.description.ends_us(len(self))

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Frames [start, stop), (T, C, H, W), in a new array or in ``out``.

        Raises:
            InputError: if they are not in the file, ``out`` does not fit, or they are damaged.
        """
        frames = frames_to_fill(self, start, stop, out)
        try:
            if len(frames):
                self.data.read_direct(frames, np.s_[start:stop])
        except DAMAGE as error:
            raise InputError(f"{self.path} must have sound frames {start} to {stop}: {error}. {AGAIN}") from error
        return frames

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Frames(Protocol):
    """The frames of a recording, as ``TensorFile`` has them."""

    path: Path
    description: Description
    shape: tuple[int, ...]
    dtype: np.dtype
    ends_us: np.ndarray

    def __enter__(self) -> Frames: ...

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None: ...

    def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray: ...

    def close(self) -> None: ...


def frames_to_fill(source: Frames, start: int, stop: int, out: np.ndarray | None) -> np.ndarray:
    """Where frames [start, stop) go: ``out`` or a new array. Raises ``InputError`` as ``TensorFile.read``."""
    if not 0 <= start <= stop <= source.shape[0]:
        raise InputError(f"frames must be within 0 to {source.shape[0]} of {source.path}, got {start} to {stop}.")
    shape = stop - start, *source.shape[1:]
    frames = np.empty(shape, source.dtype) if out is None else out
    if frames.shape != shape or frames.dtype != source.dtype:
        raise InputError(f"out must be {source.dtype} {shape}, got {frames.dtype} {frames.shape}.")
    return frames


def has_frames(path: Path) -> bool:
    """Whether it is a tensor file, and not a recording of the same ending."""
    try:
        with open_hdf5_file(path) as file:
            return isinstance(find(file, "data"), h5py.Dataset)
    except DAMAGE:
        return False


def find_dataset(file: h5py.File) -> h5py.Dataset:
    """The frames of an open file. Raises ``InputError`` if there are none."""
    data = find(file, "data")
    if not isinstance(data, h5py.Dataset):
        raise InputError(f"{file.filename} must have a dataset 'data', got {', '.join(list(file)[:9]) or 'nothing'}.")
    check_shape(data, "N C H W", f"data of {file.filename}")
    return data


def _check_holds(data: h5py.Dataset, path: Path) -> None:
    """Raise ``InputError`` if frames are too many, too large or of no numbers, or fewer than the file says."""
    frames = len(data)
    dtype = data.dtype
    piece = data.chunks or data.shape[1:]
    largest = max(math.prod(data.shape[1:]), math.prod(piece)) * dtype.itemsize
    if frames > MOST_WINDOWS or largest > MOST_FRAME_BYTES:
        raise InputError(
            f"{path} must have at most {MOST_WINDOWS:,} frames and {MOST_FRAME_BYTES:,} bytes in one or in a chunk, "
            f"got {frames:,} and {largest:,}."
        )
    if dtype.kind not in "buif" or not math.prod(data.shape[1:]):
        raise InputError(f"{path} must have frames of numbers, got {dtype} {data.shape[1:]}.")
    if data.chunks:
        wanted = math.prod(-(-size // step) for size, step in zip(data.shape, data.chunks, strict=True))
        is_whole = data.id.get_num_chunks() >= wanted
    else:
        is_whole = data.id.get_storage_size() >= data.size * dtype.itemsize
    if not is_whole:
        raise InputError(f"{path} must hold the {frames:,} frames that it tells of, and holds fewer. {AGAIN}")


def _with_times(description: Description, file: h5py.File, frames: int) -> Description:
    """With the times of the pictures. Raises ``InputError`` if they are not there."""
    data = find(file, TIMES)
    if not isinstance(data, h5py.Dataset) or data.shape != (frames,) or data.dtype != np.int64:
        raise InputError(f"{file.filename} must have a time for each of its {frames} pictures. {AGAIN}")
    check_filters(data, Path(file.filename))
    times_us = np.asarray(data[:])
    if (np.diff(times_us) <= 0).any() or (frames and not -LATEST_US <= times_us[0] <= times_us[-1] <= LATEST_US):
        raise InputError(f"{file.filename} must have pictures whose times rise. {AGAIN}")
    return replace(description, times_us=tuple(times_us.tolist()))


def _write_times(file: h5py.File, times_us: Sequence[int]) -> None:
    """Beside frames of pictures: when each was taken."""
    if times_us:
        file.create_dataset(TIMES, data=np.array(times_us, np.int64), chunks=(len(times_us),), fletcher32=True)


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
    height, width = description.input.frame_hw
    check_shape(first, "N C H W", "frames", H=height, W=width)
    with replacing(path) as temporary, patient(temporary) as target, h5py.File(target, "w", libver=LAYOUT) as file:
        data = _dataset(file, first, COMPRESSIONS[compression], description)
        for batch in chain([first], pieces):
            _add(data, batch)
        _write_times(file, description.times_us)


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
        frame = first.shape[1:]
        space = h5py.h5s.create_simple((0, *frame), (h5py.h5s.UNLIMITED, *frame))
        plan = first.data.id.get_create_plist()  # chunks and filters
        plan.set_obj_track_times(False)
        data = h5py.Dataset(h5py.h5d.create(file.id, b"data", first.data.id.get_type(), space, plan))
        data.attrs.update(first.data.attrs)
        before = None
        count = 0
        times_us: list[int] = []
        for part in parts:
            with TensorFile(part) as source:
                done = len(data)
                is_next = before is None or before.is_followed_by(source.description, count)
                if not is_next or (source.shape[1:], source.dtype) != (frame, first.dtype):
                    raise InputError(f"{part} must follow the frames before it, {before}, got {source.description}.")
                before = source.description
                count = len(source)
                times_us += before.times_us
                if packing(source.data) != packing(first.data):
                    raise InputError(f"{part} must be compressed as {parts[0]} is, and is not.")
                data.resize(done + len(source), axis=0)
                for n in range(len(source)):
                    mask, content = source.data.id.read_direct_chunk((n, 0, 0, 0))
                    data.id.write_direct_chunk((done + n, 0, 0, 0), content, mask)
        _write_times(file, times_us)


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
