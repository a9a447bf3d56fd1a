"""A finished run, ready to be looked at: its detector, and where the data are that it is held against."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..allowing import recall
from ..checks import InputError, proposed
from ..config import RunConfig
from ..config_files import read_config
from ..devices import choose_device
from ..models.detector import Detector
from ..models.weights import load_detector
from ..runs import RunFolder, training_facts
from .scoring import held_out_config

log = logging.getLogger(__name__)


class FinishedRun(NamedTuple):
    """A run whose training came to its end.

    config: of the run, with its data as they are scored. training: what ``fit`` wrote about it. detector: where the run
    computes. dataset: what it is held against, as it was named. called: the same, in messages.
    """

    folder: RunFolder
    config: RunConfig
    training: dict[str, Any]
    detector: Detector
    dataset: str
    called: str


def check_finished(folder: RunFolder) -> None:
    """Raise unless a folder holds a finished training, naming what to do."""
    folder.check_holds_run()
    if not folder.training.is_file():
        onward = proposed("train", "--resume", folder.root)
        raise InputError(f"{folder.root} must hold a finished training. Go on with: {onward}")


def finished_run(folder: RunFolder, dataset: Path | None = None) -> FinishedRun:
    """The run in a folder, with its data or those of another folder.

    Raises:
        InputError: if there is no trained detector, no such data, or a file is damaged.
    """
    check_finished(folder)
    config = read_config(folder.config)
    training = training_facts(folder.training)
    recall(folder.config)
    detector = load_detector(folder.detector, device=choose_device(config.train.device))
    place = dataset or place_of_dataset(config, training, folder.root)
    return FinishedRun(
        folder=folder,
        config=held_out_config(config, place),
        training=training,
        detector=detector,
        dataset=str(dataset or config.data.dataset.folder or "moving digits"),
        called=str(place or "the data"),
    )


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
