"""From a configuration to batches: recordings or moving digits, in which order, from which step on.

Here alone both are known; the digits are imported where they are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from torch.utils.data import DataLoader, Sampler

from .config import DataConfig, DatasetConfig
from .data import sources
from .data.checking import NEEDED
from .data.classes import ClassMap, map_classes
from .data.dataset import FOLDERS, Split
from .data.labels import CLASSES_FILE
from .data.layouts import label_place
from .data.recorded import RecordedClips
from .data.schedule import Cue, drawn, schedule, share, shuffled
from .events.tensors import blank_frame
from .structures import Clip

if TYPE_CHECKING:
    from .digits.videos import MovingDigits

ClipSource: TypeAlias = "MovingDigits | RecordedClips"
"""A dataset of clips: classes and channels, the number of clips of every recording and how often each is drawn."""


def classes_and_channels(config: DatasetConfig) -> tuple[tuple[str, ...], int]:
    """As ``sources.classes_and_channels``, also of digits that have yet to be simulated."""
    assert config.folder is not None
    if not config.simulate or (config.folder / CLASSES_FILE).is_file():
        return sources.classes_and_channels(config)
    from .digits.videos import MovingDigits

    names = map_classes(MovingDigits.classes, config.classes, others=config.other_classes).names
    return names, len(blank_frame(config.tensor.of_smallest()))


def prepare(
    config: DatasetConfig,
    *,
    check: Callable[[tuple[str, ...], int], None] = lambda *_: None,
    splits: Sequence[str] = NEEDED,
) -> None:
    """Simulate what is to be simulated, and make recordings into tensors, as ``sources.prepare``."""
    if config.simulate:
        from .digits.recordings import write_event_digits

        check(*classes_and_channels(config))
        write_event_digits(sources.dataset_folder(config), config.scene, workers=os.cpu_count() or 1)
    sources.prepare(config, check=check, splits=splits)


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


def left_out(source: ClipSource) -> dict[str, Any]:
    """What could not be read of the recordings, by name, as JSON holds it: of those of which something could not."""
    accounts = source.accounts if isinstance(source, RecordedClips) else {}
    return {name: account.as_dict() for name, account in accounts.items() if account.dropped or account.notes}


class SplitDescription(NamedTuple):
    """What is known of the recordings of a split beside their clips.

    title: of the dataset. kind: what goes before the name of a recording in titles. paths: of their labels, or else of
    themselves, which name them; of videos of digits their numbers. labels: where their labels are, None for one
    without; None in all where only clips have labels. class_map: from the classes of the labels. ends_us: of the
    windows of each. scale_xy: pixels of the sensor across a pixel of a frame.
    """

    title: str
    kind: str
    paths: list[Path]
    labels: list[Path | None] | None
    class_map: ClassMap
    ends_us: list[np.ndarray]
    scale_xy: tuple[float, float]


def describe_split(source: ClipSource) -> SplitDescription:
    """What is known of an open split."""
    if not isinstance(source, RecordedClips):
        paths = [Path(str(number)) for number in range(len(source.clip_counts))]
        return SplitDescription("Moving digits", "video ", paths, None, map_classes(source.classes), [], (1, 1))
    assert source.config.folder is not None
    labels = [label_place(each.path) for each in source.recordings]
    return SplitDescription(
        title=source.config.folder.name,
        kind="",
        paths=[place or each.path for place, each in zip(labels, source.recordings, strict=True)],
        labels=labels,
        class_map=source.class_map,
        ends_us=[each.ends_us for each in source.recordings],
        scale_xy=(
            source.input.sensor_hw[1] / source.input.frame_hw[1],
            source.input.sensor_hw[0] / source.input.frame_hw[0],
        ),
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
        self.config, self.weights, self.steps, self.rank, self.ranks = config, weights, steps, rank, ranks
        self.done = 0
        self._of_epoch = lru_cache(maxsize=1)(self._schedule)

    @property
    def steps_per_epoch(self) -> int:
        return len(self._of_epoch(0))

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Cue]]:
        """The cues from batch number ``done`` on."""
        position, epoch = 0, 0
        while position < self.steps:
            plan = self._of_epoch(epoch)
            yield from plan[max(0, self.done - position) : self.steps - position]
            position, epoch = position + len(plan), epoch + 1

    def _schedule(self, epoch: int) -> list[list[Cue]]:
        seed, lanes, counts = self.config.seed, self.config.lanes, [len(each) for each in self.weights]
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
        self.order, self.handed_out = order, order.done
        self._loader = DataLoader(dataset, batch_sampler=order, num_workers=workers, collate_fn=Clip.collate)

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
    lanes: int | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> DataLoader[Clip]:
    """Every clip of a split once, in the order of the recordings.

    Args:
        config: the data.
        split: of it.
        source: the split, if it is open.
        lanes: clips side by side, as in training if None; shared among the processes.
        rank, ranks: this process, and how many there are.
    """
    dataset = open_split(config, split) if source is None else source
    steps = share(schedule(dataset.clip_counts, lanes or config.lanes), rank, ranks)
    return DataLoader(dataset, batch_sampler=steps, num_workers=config.workers, collate_fn=Clip.collate)
