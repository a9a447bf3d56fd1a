"""Folders of moving digits as event recordings, with their labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

from ..checks import InputError, check_at_least
from ..config import EventDigitsConfig
from ..config_files import to_dict
from ..events.array import Events
from ..events.sensor import USUAL, Sensor
from ..events.writers import write_evt3
from ..files import is_free, write_text
from ..json_files import read_json
from ..progress import Progress
from .classes import write_classes
from .digits import Split
from .event_digits import EventDigits
from .labels import CLASSES_FILE, LABEL_SUFFIX, write_labelled_us, write_labels
from .moving_digits import MovingDigits
from .processes import Report, each

FORMAT, SETTINGS_FILE = "seqdet event digits 1", "event_digits.json"
FOLDERS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}


def write_event_digits(
    folder: Path, config: EventDigitsConfig, *, sensor: Sensor = USUAL, seed: int = 0, workers: int = 1
) -> None:
    """Write the recordings of all splits as EVT3, with their labels beside: ``train/digits_00000.raw`` and so on.

    The splits show different images. A recording that is there is complete, so that what was interrupted goes on
    where it stopped, and the files are the same for any number of workers.

    Args:
        folder: a new or empty one, or one that was begun with the same settings.
        config: the digits, and how many recordings.
        sensor: thresholds and noise.
        seed: of everything that is drawn.
        workers: processes.

    Raises:
        InputError: if the folder holds something else, or cannot be written, or as ``MovingDigits``.
    """
    check_at_least(workers, 1, "workers")
    recordings: list[tuple[Split, int]] = [
        (split, n) for split in FOLDERS for n in range(len(_digits(config, split, sensor, seed)))
    ]
    _begin(folder, {"format": FORMAT, "seed": seed, "config": to_dict(config), "sensor": to_dict(sensor)})
    missing = [recording for recording in recordings if not _path(folder, *recording).exists()]
    write = partial(_write_recording, folder=folder, config=config, sensor=sensor, seed=seed)
    done = len(recordings) - len(missing)
    with Progress("simulating", unit="recording", total=len(recordings), done=done, stays=True) as shown:
        for _, result in each(write, missing, workers=min(workers, max(len(missing), 1)), shown=shown):
            if isinstance(result, InputError):
                raise result


def _begin(folder: Path, settings: dict[str, object]) -> None:
    """Make the folders, or find those of the same settings."""
    path = folder / SETTINGS_FILE
    try:
        if path.exists():
            if read_json(path.read_text(encoding="utf-8")) != settings:
                raise InputError(f"{folder} holds digits of other settings, see {path}. Name another folder.")
        elif not is_free(folder):
            raise InputError(f"{folder} must be a new or an empty folder, and there is something else.")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(settings, indent=2) + "\n")
        for name in FOLDERS.values():
            (folder / name).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder} cannot be written or continued: {error}.") from error
    if not (folder / CLASSES_FILE).is_file():
        write_classes(folder, MovingDigits.classes)


def _path(folder: Path, split: Split, index: int) -> Path:
    return folder / FOLDERS[split] / f"digits_{index:05}.raw"


@cache
def _digits(config: EventDigitsConfig, split: Split, sensor: Sensor, seed: int) -> EventDigits:
    return EventDigits(config, split, sensor=sensor, seed=seed)


def _write_recording(
    recording: tuple[Split, int], report: Report, *, folder: Path, config: EventDigitsConfig, sensor: Sensor, seed: int
) -> None:
    """Write one recording and its labels."""
    split, index = recording
    path = _path(folder, split, index)

    def events() -> Iterator[Events]:
        boxes, ends_us = [], []
        for window in _digits(config, split, sensor, seed).windows(index):
            boxes.append(window.boxes)
            ends_us.append(window.end_us)
            yield window.events
        labels = path.with_name(path.stem + LABEL_SUFFIX)  # before the recording is there
        write_labels(labels, np.concatenate(boxes))
        write_labelled_us(labels, np.array(ends_us))

    write_evt3(path, events(), size_hw=(config.digits.height, config.digits.width))
    report(1)
