"""From what a user has, a folder of recordings or of tensor files, or nothing yet, to the frames of a dataset."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from ..checks import InputError
from ..config import DatasetConfig, TensorConfig
from ..events.accounts import Account, check
from ..events.dataset_facts import DatasetFacts
from ..events.tensors import blank_frame, check_frame_type
from ..files import as_on_disk
from ..pictures.fitting import CHANNELS
from ..progress import Progress
from .cached import CachedRecording, FrameMaker, facts_file, kept_survey_of
from .checking import check_folder, instead_of_split
from .classes import map_classes, read_classes
from .dataset import SPLIT_FOLDERS, holds_pictures, picture_sequences, recording_files
from .disk_cache import DiskCache
from .frames import settings_of
from .labels import recording_name
from .layouts import holds_tensors, open_tensors, tensor_paths
from .precompute import PrecomputeConfig, precompute
from .processes import Report, each
from .store import Frames, TensorFile
from .surveys import account_beside

log = logging.getLogger(__name__)


class FrameSource(Protocol):
    """The frames of a dataset. Which recordings there are, and their labels, the folder of the dataset alone says."""

    kind: str
    """What lies in that folder, as an error names it."""

    def paths(self, folder: Path) -> list[Path]:
        """The recordings or tensor files of a part, by name."""
        ...

    def account(self, path: Path) -> Account | None:
        """What became of the events of one of them; None if nobody has looked."""
        ...

    def open(self, path: Path) -> Frames:
        """The frames of one of them. Raises ``InputError`` if they cannot be read."""
        ...


class TensorFiles:
    """The frames that a dataset consists of."""

    kind = "tensor files"

    def paths(self, folder: Path) -> list[Path]:
        return tensor_paths(folder)

    def account(self, path: Path) -> Account | None:
        return account_beside(path)

    def open(self, path: Path) -> Frames:
        return open_tensors(path)


@dataclass
class MadeTensors:
    """The frames of recordings that ``make_tensors`` made. made: the folder that they are in."""

    made: Path
    kind: str = "recordings"

    def paths(self, folder: Path) -> list[Path]:
        return recordings(folder)

    def account(self, path: Path) -> Account | None:
        return account_beside(self._tensors(path))

    def open(self, path: Path) -> Frames:
        return TensorFile(self._tensors(path))

    def _tensors(self, path: Path) -> Path:
        """Of a recording."""
        return self.made / path.parent.name / f"{recording_name(path)}.h5"


@dataclass
class CachedTensors:
    """The frames of recordings that are made as these play. clip_length: frames that are read at once."""

    cache: DiskCache
    tensor: TensorConfig
    stated: DatasetFacts
    clip_length: int
    kind: str = "recordings"

    def paths(self, folder: Path) -> list[Path]:
        return recordings(folder)

    def account(self, path: Path) -> Account | None:
        return kept_survey_of(path, self.tensor, self.cache.folder, self.stated).account

    def open(self, path: Path) -> Frames:
        return CachedRecording(path, self.tensor, self.cache, clip_length=self.clip_length, stated=self.stated)


def open_source(config: DatasetConfig, *, clip_length: int) -> FrameSource:
    """Where the frames of a dataset come from.

    Args:
        config: the dataset.
        clip_length: frames that are read at once.

    Raises:
        InputError: if there is no such folder.
    """
    folder = tensor_folder(config)
    if folder == dataset_folder(config):
        return TensorFiles()
    if config.cache_gb is None:
        return MadeTensors(folder)
    cache = DiskCache(cache_folder(config), int(config.cache_gb * 1e9))
    return CachedTensors(cache, config.tensor, stated_facts(config), clip_length)


def accounts_of(source: FrameSource, folder: Path) -> dict[Path, Account | None]:
    """The recordings or tensor files in the folder of a split, without those that are known to have no events.

    Each has what became of its events; None if nobody has looked.

    Raises:
        InputError: if there are none.
    """
    found = {path: source.account(path) for path in source.paths(folder)}
    if loud := {path: account for path, account in found.items() if account is None or not account.is_silent}:
        return loud
    if found:
        raise InputError(f"{folder} must hold {source.kind} with events, and none of its {len(found)} has any.")
    raise InputError(
        f"{folder} must hold {source.kind}, and has none. Is the split empty?{instead_of_split(folder.parent)}"
    )


def recorded_classes_and_channels(config: DatasetConfig) -> tuple[tuple[str, ...], int]:
    """The names of the classes and the channels of the frames that a detector of these data has. No tensor is made.

    Raises:
        InputError: if they cannot be known, as there is no such folder, it names no classes, or its files are damaged.
    """
    folder = dataset_folder(config)
    names = map_classes(read_classes(folder), config.classes, others=config.other_classes).names
    for part in () if tensor_folder(config) != folder else SPLIT_FOLDERS:
        for path in tensor_paths(folder / part)[:1]:
            with open_tensors(path) as file:
                return names, file.shape[1]
    if holds_pictures(folder):
        return names, CHANNELS[config.tensor.pictures.colour]
    return names, len(blank_frame(config.tensor.of_smallest()))


def make_tensors(config: DatasetConfig, *, splits: Sequence[str]) -> None:
    """Make recordings into tensors; what is there stays.

    With ``cache_gb`` recordings are only looked at, and the log says how large their tensors would be.

    Args:
        config: the dataset.
        splits: that have to hold recordings with labels.

    Raises:
        InputError: if a recording cannot be read, or the folder holds something else.
    """
    folder = dataset_folder(config)
    workers = os.cpu_count() or 1
    check_folder(folder, config.classes, config.other_classes, splits=splits)
    target = tensor_folder(config)
    if target != folder and not holds_pictures(folder):
        check_frame_type(blank_frame(config.tensor.of_smallest()).dtype, config.tensor.representation)
    if target != folder and config.cache_gb is not None:
        _look(folder, config, cache_folder(config), config.cache_gb, workers)
    elif target != folder:
        how = PrecomputeConfig(
            target,
            config.tensor,
            size_hw=config.size_hw,
            time_unit=stated_facts(config).time_unit,
            compression=config.compression or "",
            replace_labels=config.tensors is None,
        )
        outcome = precompute([folder], how, workers=workers)
        if outcome.failed:
            raise InputError(outcome.failed[0])


def _look(folder: Path, config: DatasetConfig, cache: Path, cache_gb: float, workers: int) -> None:
    """Look at all recordings, which takes a pass over each the first time."""
    paths = [path for part in SPLIT_FOLDERS for path in recordings(folder / part)]
    stated = stated_facts(config)
    unknown = [path for path in paths if not facts_file(path, config.tensor, cache, stated).is_file()]
    with Progress("looking", unit="recording", total=len(unknown)) as shown:
        work = partial(_examine, tensor=config.tensor, cache=cache, stated=stated)
        for _, result in each(work, unknown, workers=max(min(workers, len(unknown)), 1), shown=shown):
            if isinstance(result, InputError):
                raise result
    silent = [path for path in paths if kept_survey_of(path, config.tensor, cache, stated).span_us is None]
    for path in silent:
        log.warning("%s has no events: it is left out.", path)
    played = [path for path in paths if path not in silent]
    total_gb = sum(FrameMaker(path, config.tensor, cache, stated).disk_bytes for path in played) / 1e9
    share = "all of them" if total_gb <= cache_gb else f"{cache_gb / total_gb:.0%}; the others are made in every epoch"
    log.info(
        "All tensors of %s take about %.3g GB; %s may keep up to %.3g GB, %s.",
        *(folder, total_gb, cache, cache_gb, share),
    )


def _examine(path: Path, report: Report, *, tensor: TensorConfig, cache: Path, stated: DatasetFacts) -> None:
    survey = kept_survey_of(path, tensor, cache, stated)
    check(path, survey.account)
    if survey.span_us is not None:
        FrameMaker(path, tensor, cache, stated)
    report(1)


def stated_facts(config: DatasetConfig) -> DatasetFacts:
    """What a configuration states about the sensor and the clock of its recordings."""
    return DatasetFacts(config.size_hw, None if config.time_unit == "auto" else config.time_unit)


def cache_folder(config: DatasetConfig) -> Path:
    """Where tensors are kept that are made while recordings play. Raises ``InputError`` as ``tensor_folder``."""
    folder = tensor_folder(config)
    return config.tensors or _beside(folder, "-cache")


def recordings(folder: Path) -> list[Path]:
    """The recordings, videos and folders of images in a folder, in the order of their tensor files."""
    found = [*recording_files(folder), *picture_sequences(folder)]
    return sorted(
        (path for path in found if path.parent == folder),
        key=lambda path: path.with_name(f"{recording_name(path)}.h5"),
    )


def dataset_folder(config: DatasetConfig) -> Path:
    """The folder of a dataset that has one, as it is spelt on the disk."""
    assert config.folder is not None
    return as_on_disk(config.folder)


def tensor_folder(config: DatasetConfig) -> Path:
    """Where the tensor files of a dataset are: in its folder, or where those of its recordings go.

    Raises:
        InputError: if there is no such folder.
    """
    folder = dataset_folder(config)
    if not folder.is_dir():
        raise InputError(f"data.dataset.folder must be a folder with train, val and test, got {folder}.")
    parts = [part for part in sorted(folder.iterdir()) if part.is_dir()]
    if any(holds_tensors(path) for part in parts for path in tensor_paths(part)[:1]):
        return folder
    settings, *made_by = settings_of(config.tensor)
    settings = json.dumps(settings, sort_keys=True) + "".join(made_by)
    if config.size_hw is not None:
        settings += json.dumps(config.size_hw)
    if config.time_unit != "auto":
        settings += config.time_unit
    kind = "pictures" if holds_pictures(folder) else config.tensor.representation
    suffix = f"-{kind}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
    return config.tensors or _beside(folder, suffix.replace(":", "-"))


def _beside(folder: Path, suffix: str) -> Path:
    """A folder next to another one, which may be given as ``.`` or end in ``..``; relative where that is."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(named.name + suffix)
