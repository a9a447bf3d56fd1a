"""The recordings that a trained detector is scored on: those of its run, or others that fit it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...checks import InputError, proposed
from ...config import AugmentConfig, DataConfig, RunConfig
from ...data.classes import read_classes
from ...data.dataset import FOLDERS, Split
from ...data.layouts import label_place
from ...data.recorded import RecordedClips
from ...data.sources import stated_facts
from ...evaluation.breakdown import events_in_boxes
from ...evaluation.files import Truth, name_of, split_folder, truth_of
from ...loading import open_split, prepare

log = logging.getLogger(__name__)


class HeldOut:
    """A split of the data of a run, or of another dataset.

    Args:
        config: of the run.
        split: which part.
        dataset: a folder of recordings or of tensors instead of the run's.

    Raises:
        InputError: if the data cannot be read, or is none that the detector was made for.
    """

    def __init__(self, config: RunConfig, split: Split, *, dataset: Path | None = None) -> None:
        self.split: Split = split
        data = config.data if dataset is None else _moved(config, dataset)
        self.config = replace(config, data=replace(data, dataset=replace(data.dataset, augment=AugmentConfig())))
        if self.config.data.dataset.folder is not None:
            prepare(self.config.data.dataset, splits=(FOLDERS[split],))
        self.source = open_split(self.config.data, split)
        if self.source.channels != config.model.in_channels or self.source.classes != config.model.classes:
            raise InputError(
                f"{dataset or 'the data'} must fit the detector, which takes {config.model.in_channels} channels and "
                f"knows {', '.join(config.model.classes)}; got {self.source.channels} channels and "
                f"{', '.join(self.source.classes)}."
            )

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Pixels of the sensor across a pixel of a frame."""
        if not isinstance(self.source, RecordedClips):
            return 1, 1
        (height, width), sensor_hw = self.source.input.frame_hw, self.source.input.sensor_hw
        return sensor_hw[1] / width, sensor_hw[0] / height

    @cached_property
    def names(self) -> list[str]:
        """Of the recordings, as files of detections are named; of moving digits their numbers."""
        if not isinstance(self.source, RecordedClips):
            return [str(number) for number in range(len(self.source.clip_counts))]
        return [name_of(label_place(each.path) or each.path) for each in self.source.recordings]

    @property
    def titles(self) -> list[str]:
        """What the recordings are called in pictures."""
        return self.names if isinstance(self.source, RecordedClips) else [f"video {name}" for name in self.names]

    @cached_property
    def truth(self) -> Truth | None:
        """The labels in the files of the split, with the classes of the detector; None for moving digits as frames."""
        if not isinstance(self.source, RecordedClips):
            return None
        places = zip(self.names, (label_place(each.path) for each in self.source.recordings), strict=True)
        labels = {name: path for name, path in places if path is not None}
        return truth_of(labels, self.source.class_map.found).mapped(self.source.class_map)

    def events(self, truth: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """How many events boxes had inside, as ``events_in_boxes``; None where there are no recordings."""
        folder = self.config.data.dataset.folder
        if folder is None:
            return None
        part = split_folder(folder, FOLDERS[self.split])
        dataset = self.config.data.dataset
        return events_in_boxes(part, truth, size_hw=dataset.size_hw, time_unit=stated_facts(dataset).time_unit)


def place_of_dataset(config: RunConfig, training: Mapping[str, Any], root: Path) -> Path | None:
    """Where the dataset of a run is if not where its configuration says: that may be meant from another folder.

    Args:
        config: of the run.
        training: what ``fit`` wrote about it, with the whole path of the dataset.
        root: the folder of the run.

    Raises:
        InputError: if there is no such folder any more.
    """
    mine = config.data.dataset.folder
    recorded = training.get("dataset")
    if mine is None or (recorded is None and config.data.dataset.simulate):
        return None
    whole = Path(recorded) if isinstance(recorded, str) else mine
    if whole.is_dir():
        if whole.resolve() == mine.resolve():
            return None
        log.info("The dataset is that of the training, %s.", whole)
        return whole
    if mine.is_dir() or config.data.dataset.simulate:
        return None
    raise InputError(
        f"{mine} must be the folder of the dataset of {root}, and is not there"
        f"{'' if whole == mine else f', nor is {whole}'}. Name where it is now: {proposed('evaluate', root, 'DATASET')}"
    )


def _moved(config: RunConfig, folder: Path) -> DataConfig:
    """The data of a run, in another folder; its classes those that the detector knows by name, if they are there."""
    mine = config.data.dataset
    if mine.folder is not None and mine.folder.resolve() == folder.resolve():
        return config.data
    if not folder.is_dir():
        raise InputError(f"{folder} must be the folder of a dataset, and is none.")
    is_known = set(config.model.classes) <= set(read_classes(folder))
    classes = config.model.classes if is_known else mine.classes
    return replace(config.data, dataset=replace(mine, folder=folder, simulate=False, tensors=None, classes=classes))
