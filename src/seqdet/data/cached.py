"""Frames of recordings that are made when they are asked for, and kept in a folder of bounded size."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from ..checks import InputError, check_at_least
from ..config import TensorConfig
from ..events.accounts import check
from ..events.dataset_facts import UNSTATED, DatasetFacts, facts_about
from ..events.slicing import check_windows
from ..files import read_json, write_text
from ..pictures.sequence import is_sequence, times_path
from .description import Description
from .disk_cache import DiskCache
from .frames import described, empty_frame, open_reader, settings_of, windows_of
from .labels import labels_beside
from .store import COMPRESSIONS, frames_to_fill
from .surveys import Survey, kept_survey, look_through

VERSION = 4
LEAST_WINDOWS = 4
"""In a file, so that clips of one window do not become as many files."""
SAMPLED_WINDOWS = 8


def facts_file(
    path: Path,
    tensor: TensorConfig,
    folder: Path,
    stated: DatasetFacts = UNSTATED,
) -> Path:
    """Where the facts about a recording are kept: in a folder that is named by it and by the settings.

    By its path, size and the time of its last change, by what is stated about it, or what its dataset says in place of
    that, and by the last change of its labels, where windows end with them.

    Args:
        path: of the recording.
        tensor: the frames.
        folder: of the cache.
        stated: about the sensor and the clock, for formats that do not say.

    Raises:
        InputError: if there is no such recording.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise InputError(f"{path} must be a recording, and cannot be found: {error.strerror}.") from error
    known = facts_about(path).under(stated)
    origin = [VERSION, str(path.resolve()), facts.st_size, facts.st_mtime_ns, *settings_of(tensor)]
    origin += [known.size_hw, known.time_unit]
    if path.is_dir() and times_path(path).is_file():
        origin.append(times_path(path).stat().st_mtime_ns)
    if tensor.align == "labels" and (labels := labels_beside(path)) is not None:
        origin.append(labels.stat().st_mtime_ns)
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:16]
    return folder / f"{path.stem}-{digest}" / "windows.json"


def kept_survey_of(
    path: Path,
    tensor: TensorConfig,
    folder: Path,
    stated: DatasetFacts = UNSTATED,
) -> Survey:
    """What became of the events of a recording, kept beside the facts about it; the first time it is read for that.

    Args:
        path: of the recording.
        tensor: the frames.
        folder: of the cache.
        stated: about the sensor and the clock, for formats that do not say.

    Raises:
        InputError: if it cannot be read.
    """
    facts = facts_file(path, tensor, folder, stated)
    return kept_survey(
        facts.with_name("read.json"), facts.parent.name, partial(look_through, path, stated, tensor.pictures)
    )


class FrameMaker:
    """Makes frames of a recording. Reading goes on where it stopped, or begins anew where the format lets it.

    description: what the first frame shows. shape: (N, C, H, W) of all frames. dtype: of them. disk_bytes: about what
    they would take. facts: the file that keeps all this, as it may take a whole pass over the recording.

    Args:
        path: of the recording.
        tensor: the frames.
        folder: for that file.
        stated: about the sensor and the clock, for formats that do not say.

    Raises:
        InputError: as ``windows_of`` does, or if most events cannot be read.
    """

    def __init__(
        self,
        path: Path,
        tensor: TensorConfig,
        folder: Path,
        stated: DatasetFacts = UNSTATED,
    ) -> None:
        self.path = path
        self.tensor = tensor
        self._stated = stated
        self.facts = facts_file(path, tensor, folder, stated)
        self.survey = kept_survey_of(path, tensor, folder, stated)
        check(path, self.survey.account)
        try:
            found = read_json(self.facts.read_text(encoding="utf-8"))
            if found.pop("checksum") != _checksum(found):
                raise ValueError("it is damaged")
            if is_sequence(path):  # whose own index is read faster than all of its times
                self._describe(*windows_of(path, tensor, stated=stated)[:2])
            else:
                windows, start_us, *sensor_hw = (
                    int(found[name]) for name in ("windows", "start_us", "height", "width")
                )
                check_at_least(windows, 1, "windows")
                check_windows(path, start_us, start_us + (windows - 1) * tensor.window_us, tensor.window_us)
                self._describe(described(path, tensor, start_us, (sensor_hw[0], sensor_hw[1])), windows)
            self.disk_bytes = int(found["disk_bytes"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._look()

    def packed(self, first: int, count: int) -> bytes:
        """Frames [first, first + count), as the content of an HDF5 file with the frames of a tensor file.

        Raises:
            InputError: if the recording cannot be read.
        """
        filters = COMPRESSIONS["lz4"]
        done = 0
        buffer = io.BytesIO()
        shape = count, *self.shape[1:]
        with h5py.File(buffer, "w", libver="latest") as file:
            chunks = (1, *self.shape[1:])
            shuffles = self.dtype.itemsize > 1
            data = file.create_dataset("data", shape, self.dtype, chunks=chunks, shuffle=shuffles, **filters)
            for batch in self._reader.batches(first, count):
                data[done : done + len(batch)] = batch
                done += len(batch)
        return buffer.getvalue()

    def close(self) -> None:
        """Close the recording."""
        self._reader.close()

    def _describe(self, first: Description, windows: int) -> None:
        """What is to be made of the recording. Raises ``InputError`` if that cannot be."""
        frame = empty_frame(first.input)
        self.shape = (windows, *frame.shape)
        self.dtype = frame.dtype
        self.description = first
        self._reader = open_reader(self.path, self.tensor, first, windows, stated=self._stated)

    def _look(self) -> None:
        first, windows, can_seek = windows_of(self.path, self.tensor, stated=self._stated, span_us=self.survey.span_us)
        self._describe(first, windows)
        sampled = min(SAMPLED_WINDOWS, windows)
        self.disk_bytes = len(self.packed((windows - sampled) // 2 if can_seek else 0, sampled)) * windows // sampled
        height, width = first.sensor_hw
        facts = {"windows": windows, "start_us": first.start_us, "height": height, "width": width}
        facts |= {"disk_bytes": self.disk_bytes}
        with suppress(InputError, OSError):  # it is looked up again
            self.facts.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.facts, json.dumps({**facts, "checksum": _checksum(facts)}))


class CachedRecording:
    """The frames of a recording, read as from a ``TensorFile`` of it: those that the cache does not have are made.

    Args:
        path: of the recording.
        tensor: the frames.
        cache: of this dataset.
        clip_length: frames that are usually read at once, from a multiple of them on: so many, or more if they are
            few, are a file.
        stated: about the sensor and the clock, for formats that do not say.

    Raises:
        InputError: as ``FrameMaker`` does, or if the cache is too small for a file.
    """

    def __init__(
        self,
        path: Path,
        tensor: TensorConfig,
        cache: DiskCache,
        *,
        clip_length: int,
        stated: DatasetFacts = UNSTATED,
    ) -> None:
        hdf5plugin.register(force=False)
        self._maker = FrameMaker(path, tensor, cache.folder, stated)
        self._cache = cache
        self._windows = clip_length * -(-LEAST_WINDOWS // clip_length)
        self.path = path
        self.description = self._maker.description
        self.shape = self._maker.shape
        self.dtype = self._maker.dtype
        least = self._windows * int(np.prod(self.shape[1:])) * self.dtype.itemsize
        if cache.limit < least:
            raise InputError(
                f"cache_gb must be at least {least / 1e9:.3g} for {self._windows} windows of {path}, "
                f"got {cache.limit / 1e9:.3g}."
            )
        self.ends_us = self.description.ends_us(len(self))

    def __enter__(self) -> CachedRecording:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Frames [start, stop), (T, C, H, W), in a new array or in ``out``.

        Raises:
            InputError: if there are none such, ``out`` does not fit, or the recording cannot be read.
        """
        target = frames_to_fill(self, start, stop, out)
        for first in range(start - start % self._windows, stop, self._windows):
            begin = max(start, first)
            end = min(stop, first + self._windows)
            count = min(self._windows, len(self) - first)
            name = f"{self._maker.facts.parent.name}/{first:08}_{count}"
            content = self._cache.get(name)
            if content is None:
                content = memoryview(self._maker.packed(first, count))
                self._cache.put(name, content)
            _unpack(content, begin - first, target[begin - start : end - start])
        return target

    def close(self) -> None:
        """Close the recording."""
        self._maker.close()


def _checksum(facts: dict[str, Any]) -> int:
    """Of the facts about a recording: those of damage would not fit the frames that are kept."""
    return zlib.crc32(json.dumps(facts, sort_keys=True).encode())


def _unpack(content: memoryview, first: int, out: np.ndarray) -> None:
    """Read as many frames of a packed file as ``out`` has, from ``first`` on."""
    with h5py.File(io.BytesIO(content), "r") as file:
        data = file["data"]
        assert isinstance(data, h5py.Dataset)
        data.read_direct(out, np.s_[first : first + len(out)])
