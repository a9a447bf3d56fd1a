"""From a configuration to batches: recordings or moving digits, in which order, from which step on.

Here alone a configuration chooses between the two; the digits are imported where they are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from .checks import InputError
from .config import DataConfig, DatasetConfig, ModelConfig, SingleShotConfig
from .data import sources
from .data.checking import NEEDED, check_folder
from .data.classes import ClassMap, map_classes
from .data.clips import RecordedClips
from .data.dataset import FOLDERS, Split
from .data.labels import CLASSES_FILE
from .data.layouts import label_place
from .data.schedule import Cue, drawn, schedule, share, shuffled
from .events.tensors import blank_frame
from .models.fitted_anchors import fitted_anchors
from .models.single_shot import SingleShotHead
from .models.zoo import build_detector
from .structures import Clip

if TYPE_CHECKING:
    from .digits.videos import MovingDigits

ClipSource: TypeAlias = "MovingDigits | RecordedClips"
"""A dataset of clips: classes and channels, the number of clips of every recording and how often each is drawn."""


def model_of_data(model: ModelConfig, config: DataConfig) -> ModelConfig:
    """The configuration of a detector with the classes and channels of the data, where it does not state its own.

    No frame is made: of recordings it is known beforehand.

    Raises:
        InputError: if it states others than the data have, or these cannot be known; what is wrong with the folder of
            a dataset as a whole goes before both.
    """
    dataset = config.dataset
    try:
        return fitted_model(model, *classes_and_channels(config))
    except InputError:
        if dataset.folder is not None and not dataset.simulate:
            check_folder(sources.dataset_folder(dataset), dataset.classes, dataset.other_classes)
        raise


def fitted_model(model: ModelConfig, classes: tuple[str, ...], channels: int) -> ModelConfig:
    """The configuration of a detector for frames of so many channels that show these classes.

    Args:
        model: as it was configured; what it leaves open is filled in.
        classes: of the data, in the order of their labels.
        channels: of a frame of the data.

    Raises:
        InputError: if it states others.
    """
    if model.in_channels not in (None, channels):
        raise InputError(f"model.in_channels must be the {channels} of the data, got {model.in_channels}.")
    if model.classes not in ((), classes):
        raise InputError(
            f"model.classes must be those of the data, {', '.join(classes)}; got {', '.join(model.classes)}."
        )
    return replace(model, classes=classes, in_channels=channels)


def with_fitted_anchors(model: ModelConfig, config: DataConfig) -> ModelConfig:
    """The configuration with anchors of the shapes that the boxes of the training data have, if it asks for them.

    Recordings are made into tensors before, as ``prepare`` does. What augmentation does to boxes does not count.

    Args:
        model: with classes and channels; it stays as it is if its anchors are presets, or have shapes already.
        config: the data.

    Raises:
        InputError: if there are too few boxes, or the data cannot be read.
    """
    if not isinstance(model, SingleShotConfig) or model.anchors != "fitted" or model.anchor_shapes:
        return model
    with torch.device("meta"):
        detector = build_detector(replace(model, anchor_shapes=((1.0, 1.0),)))
    assert isinstance(detector.head, SingleShotHead)  # settings of anchors are refused for any other
    if config.dataset.folder is not None:
        prepare(config.dataset)
    sizes_wh = open_split(config, "train").target_sizes_wh
    strides = detector.head.anchors.strides
    return replace(model, anchor_shapes=fitted_anchors(sizes_wh, strides, per_cell=model.anchors_per_cell))


def classes_and_channels(config: DataConfig) -> tuple[tuple[str, ...], int]:
    """The names of the classes and the channels of the frames, also of digits that have yet to be simulated."""
    dataset = config.dataset
    if dataset.folder is not None and not (dataset.simulate and not (dataset.folder / CLASSES_FILE).is_file()):
        return sources.recorded_classes_and_channels(dataset)
    from .digits.videos import MovingDigits

    if dataset.folder is None:
        return MovingDigits.classes, MovingDigits.channels
    names = map_classes(MovingDigits.classes, dataset.classes, others=dataset.other_classes).names
    return names, len(blank_frame(dataset.tensor.of_smallest()))


def prepare(config: DatasetConfig, *, splits: Sequence[str] = NEEDED) -> None:
    """Simulate what is to be simulated, and make recordings into tensors, as ``sources.make_tensors``.

    Args:
        config: a dataset that has a folder.
        splits: that have to hold recordings with labels; those of a training if not given.
    """
    if config.simulate:
        from .digits.recordings import write_event_digits

        write_event_digits(sources.dataset_folder(config), config.scene, workers=os.cpu_count() or 1)
    sources.make_tensors(config, splits=splits)


def prepare_split(config: DataConfig, split: Split) -> None:
    """As ``prepare``, for one split, so that it can be opened; moving digits are drawn as they are asked for."""
    if config.dataset.folder is not None:
        prepare(config.dataset, splits=(FOLDERS[split],))


def open_split(config: DataConfig, split: Split) -> ClipSource:
    """The dataset of one split.

    Raises:
        InputError: if the configuration does not fit together or the data cannot be read.
    """
    if config.dataset.folder is not None:
        return RecordedClips(config.dataset, split, clip_length=config.clip_length, seed=config.seed)
    from .digits.videos import MovingDigits

    return MovingDigits(config.digits, split, clip_length=config.clip_length, seed=config.seed)


def frame_size(source: ClipSource) -> tuple[int, int]:
    """Height and width of the frames of an open split."""
    return source.input.frame_hw if isinstance(source, RecordedClips) else (source.config.height, source.config.width)


def left_out(source: ClipSource) -> dict[str, Any]:
    """What could not be read of the recordings, by name, as JSON holds it: of those of which something could not."""
    accounts = source.accounts if isinstance(source, RecordedClips) else {}
    return {name: account.as_dict() for name, account in accounts.items() if account.dropped or account.notes}


class SplitDescription(NamedTuple):
    """What is known of the recordings of a split beside their clips.

    title: of the dataset. kind: what goes before the name of a recording in titles. paths: of their labels, or else of
    themselves, which name them; of videos of digits their numbers. labels: where their labels are, None for one
    without; None in all where only clips have labels. class_map: from the classes of the labels. ends_us: of the
    windows of each. scales_xy: of each, pixels of the sensor or the picture across a pixel of a frame.
    """

    title: str
    kind: str
    paths: list[Path]
    labels: list[Path | None] | None
    class_map: ClassMap
    ends_us: list[np.ndarray]
    scales_xy: list[tuple[float, float]]


def describe_split(source: ClipSource) -> SplitDescription:
    """What is known of an open split."""
    if not isinstance(source, RecordedClips):
        paths = [Path(str(number)) for number in range(len(source.clip_counts))]
        return SplitDescription(
            "Moving digits", "video ", paths, None, map_classes(source.classes), [], [(1, 1)] * len(paths)
        )
    assert source.config.folder is not None
    labels = [label_place(each.path) for each in source.recordings]
    return SplitDescription(
        title=source.config.folder.name,
        kind="",
        paths=[place or each.path for place, each in zip(labels, source.recordings, strict=True)],
        labels=labels,
        class_map=source.class_map,
        ends_us=[each.ends_us for each in source.recordings],
        scales_xy=[each.scale_xy for each in source.recordings],
    )


class TrainingOrder(Sampler[list[Cue]]):
    """The cues of ``steps`` batches, epoch after epoch, each in an order of its own.

    Some lanes play recordings, in order, the others clips on their own. An epoch ends when all recordings were played,
    or, if no lane plays them, after as many clips as they have.

    Args:
        config: lanes, the share of them that play clips on their own, and seed; lanes are shared among the processes.
        weights: for each recording, of its clips, how often they are drawn on their own.
        steps: batches in all.
        rank, ranks: this process, and how many there are.
    """

    def __init__(
        self, config: DataConfig, weights: list[np.ndarray], *, steps: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.config = config
        self.weights = weights
        self.steps = steps
        self.rank = rank
        self.ranks = ranks
        self.done = 0
        self._of_epoch = lru_cache(maxsize=1)(self._schedule)

    @property
    def steps_per_epoch(self) -> int:
        return len(self._of_epoch(0))

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Cue]]:
        """The cues from batch number ``done`` on."""
        position = 0
        epoch = 0
        while position < self.steps:
            plan = self._of_epoch(epoch)
            yield from plan[max(0, self.done - position) : self.steps - position]
            position = position + len(plan)
            epoch = epoch + 1

    def _schedule(self, epoch: int) -> list[list[Cue]]:
        seed = self.config.seed
        lanes = self.config.lanes
        counts = [len(each) for each in self.weights]
        alone = round(self.config.random_share * lanes)
        if alone == lanes:
            plan = drawn(self.weights, lanes, -(-sum(counts) // lanes), seed=seed, epoch=epoch)
        else:
            order = shuffled(len(counts), seed=seed, epoch=epoch)
            plan = schedule(counts, lanes - alone, order=order, epoch=epoch)
            if alone:
                others = drawn(self.weights, alone, len(plan), seed=seed, epoch=epoch)
                plan = [[*step, *other] for step, other in zip(plan, others, strict=True)]
        return share(plan, self.rank, self.ranks)


class TrainingLoader:
    """The batches of a ``TrainingOrder``; its state is how many of them have been handed out.

    Args:
        dataset: what the cues point into.
        order: which batches.
        workers: loader processes.
    """

    def __init__(self, dataset: ClipSource, order: TrainingOrder, *, workers: int) -> None:
        self.order = order
        self.handed_out = order.done
        self._loader = _loader(dataset, order, workers)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Clip]:
        self.handed_out = self.order.done
        for clip in self._loader:
            self.handed_out += 1
            yield clip

    def state_dict(self) -> dict[str, int]:
        """How many batches have been handed out."""
        return {"handed_out": self.handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batches that had been handed out."""
        self.order.done = state["handed_out"]


def evaluation_loader(
    config: DataConfig,
    split: Split,
    *,
    source: ClipSource | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> DataLoader[Clip]:
    """Every clip of a split once, in the order of the recordings.

    Args:
        config: the data; their lanes are shared among the processes.
        split: of them.
        source: the split, if it is open.
        rank, ranks: this process, and how many there are.
    """
    dataset = open_split(config, split) if source is None else source
    steps = share(schedule(dataset.clip_counts, config.lanes), rank, ranks)
    return _loader(dataset, steps, config.workers)


def _loader(dataset: ClipSource, order: Iterable[list[Cue]], workers: int) -> DataLoader[Clip]:
    """Its processes are seeded by a generator of its own: torch's is left to what a training draws."""
    own = torch.Generator()
    return DataLoader(dataset, batch_sampler=order, num_workers=workers, collate_fn=Clip.collate, generator=own)
