"""The moving digits as event recordings: a toy problem that only a detector with memory can solve.

Every digit moves as in the videos, but stands completely still now and then, on a schedule of its own. Then it sends
no events and vanishes from the stream, and it is still to be found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import islice, tee
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError, check_at_least
from ..config import EventDigitsConfig
from ..config_files import to_dict
from ..data.classes import write_classes
from ..data.dataset import FOLDERS, SPLITS, Split
from ..data.detections import box_rows
from ..data.labels import CLASSES_FILE, LABEL_SUFFIX, write_labelled_us, write_labels
from ..data.processes import Report, each
from ..events.array import Events
from ..events.evt import write_evt3
from ..events.sensor import USUAL, Sensor
from ..events.simulation import LUMINANCE, simulate
from ..files import is_free, read_json, write_text
from ..progress import Progress
from .rendering import render_light
from .videos import MovingDigits, Scene, shown_boxes

STEP_PIXELS = 0.5
"""Between two rendered frames no digit moves by more. An edge then takes at least two steps to pass a pixel, so that
the straight lines of the simulator follow the light."""
REACH = 0.7  # from the centre of a digit to its farthest ink, in heights
PATH_POINTS = 8  # of a window, to measure how far a digit goes
BLOCK_WINDOWS = 12  # rendered at once
PAUSES = 1  # sets the random numbers of the pauses apart from those of the scene
SENSOR = 2  # and this those of the sensor
FORMAT = "seqdet event digits 1"
SETTINGS_FILE = "event_digits.json"

FrameNumbers = Callable[[np.ndarray], np.ndarray]
"""From times in windows, (T,), to the frame numbers of the videos that the digits then show, (T, D)."""


class SimulatedWindow(NamedTuple):
    """The events with times in ``[end_us - delta_t_us, end_us)``, and the boxes, (N,) ``EVENT_BBOX``, at its end."""

    end_us: int
    events: Events
    boxes: np.ndarray


class _RenderedFrame(NamedTuple):
    """A rendered frame, (H, W) of light, and the boxes if a window ends with it."""

    time_us: int
    light: np.ndarray
    boxes: np.ndarray | None


class EventDigits:
    """The recordings of one split; each is a pure function of the seed, the split and its number.

    Args:
        config: the digits, their motion and their pauses.
        split: "train", "validation" or "test": whose digits are shown.
        sensor: thresholds and noise.
        seed: recordings are drawn from ``(seed, split, recording)``.

    Raises:
        InputError: as ``MovingDigits``.
    """

    def __init__(self, config: EventDigitsConfig, split: Split, *, sensor: Sensor = USUAL, seed: int = 0) -> None:
        self.config = config
        self.sensor = sensor
        self.seed = seed
        self._videos = MovingDigits(config.digits, split, clip_length=1, seed=seed)

    def __len__(self) -> int:
        return len(self._videos.clip_counts)

    def windows(self, index: int) -> Iterator[SimulatedWindow]:
        """The windows of a recording, one after the other.

        A box is tight around the ink that shows, as in the videos. A digit that has not moved yet has none; one with
        less than a quarter of its ink showing has a ``class_confidence`` of 0. Track ids number the digits.
        """
        frames, times, ends = tee(self._steps(index), 3)
        intervals = simulate(
            (step.light for step in frames),
            (step.time_us for step in times),
            sensor=self.sensor,
            seed=int(self._rng(index, SENSOR).integers(2**63)),
        )
        parts = []
        for step, events in zip(islice(ends, 1, None), intervals, strict=True):
            parts.append(events)
            if step.boxes is not None:
                yield SimulatedWindow(step.time_us, Events.concatenate(parts), step.boxes)
                parts = []

    def _rng(self, index: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, SPLITS.index(self._videos.split), 0, index, purpose])

    def _steps(self, index: int) -> Iterator[_RenderedFrame]:
        """The frames from which the events come: one at the start, and then more of them the faster digits move."""
        digits = self.config.digits
        scene = self._videos.scene(index)
        frame_numbers = self._frame_numbers(index, len(scene.digits))
        for first in range(0, windows := self._videos.frames_per_video, BLOCK_WINDOWS):
            ends = np.arange(first, min(first + BLOCK_WINDOWS, windows) + 1)
            last_steps = np.cumsum([0, *_step_counts(scene, frame_numbers, ends)])
            times = np.interp(np.arange(1 if first else 0, last_steps[-1] + 1), last_steps, ends)
            images, labels, to_source = self._videos.placed(scene, frame_numbers(times))
            rendering = render_light(
                images, scene.colours @ LUMINANCE / 255, to_source, size_hw=(digits.height, digits.width)
            )
            exists, xyxy, is_ignored = shown_boxes(rendering)
            exists &= frame_numbers(times) > 0
            for t, time in enumerate(times):
                time_us = round(time * digits.delta_t_us)
                boxes = None
                if time in ends:
                    boxes = _rows(time_us, xyxy[t], labels, is_ignored[t])[exists[t]]
                yield _RenderedFrame(time_us, rendering.frames[t], boxes)

    def _frame_numbers(self, index: int, count: int) -> FrameNumbers:
        """The schedules of a recording's digits."""
        rng = self._rng(index, PAUSES)
        window_s = self.config.digits.delta_t_us / 1e6
        shortest, longest = np.transpose([self.config.moving_s, self.config.still_s]) / window_s
        spells = int(self._videos.frames_per_video / shortest.sum()) + 2
        lengths = rng.uniform(shortest, longest, (count, spells, 2))
        lengths[rng.random(count) < 0.5, 0, 0] = 0  # begins with a pause
        ends = np.cumsum(lengths.reshape(count, -1), axis=1)
        moved = np.cumsum((lengths * [1, 0]).reshape(count, -1), axis=1)

        def frame_numbers(times: np.ndarray) -> np.ndarray:
            return np.stack(
                [np.interp(times, [0, *end], [0, *done]) for end, done in zip(ends, moved, strict=True)], axis=1
            )

        return frame_numbers


def _step_counts(scene: Scene, frame_numbers: FrameNumbers, ends: np.ndarray) -> np.ndarray:
    """Into how many steps to cut every window between the given ends, so that no digit goes far in one."""
    heights, angles, centres = scene.at(
        frame_numbers(np.linspace(ends[0], ends[-1], (len(ends) - 1) * PATH_POINTS + 1))
    )
    straight = np.linalg.norm(np.diff(centres, axis=0), axis=-1)
    turned = np.abs(np.diff(angles, axis=0)) * heights[1:]
    zoomed = np.abs(np.diff(heights, axis=0))
    paths = (straight + REACH * (turned + zoomed)).reshape(len(ends) - 1, PATH_POINTS, -1).sum(axis=1).max(axis=1)
    return np.maximum(np.ceil(paths / STEP_PIXELS), 1).astype(np.int64)


def _rows(time_us: int, xyxy: np.ndarray, labels: np.ndarray, is_ignored: np.ndarray) -> np.ndarray:
    rows = box_rows(xyxy, labels, time_us)
    rows["track_id"] = np.arange(len(labels))
    rows["class_confidence"] = ~is_ignored
    return rows


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
            if _settings_in(path) != settings:
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


def _settings_in(path: Path) -> dict[str, Any]:
    """The settings that a file holds; of the sensor, what it does not say is usual: it had no such flaw."""
    settings = read_json(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or not isinstance(settings.get("sensor"), dict):
        return {}
    return {**settings, "sensor": {**to_dict(USUAL), **settings["sensor"]}}


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
        boxes = []
        ends_us = []
        for window in _digits(config, split, sensor, seed).windows(index):
            boxes.append(window.boxes)
            ends_us.append(window.end_us)
            yield window.events
        labels = path.with_name(path.stem + LABEL_SUFFIX)  # before the recording is there
        write_labels(labels, np.concatenate(boxes))
        write_labelled_us(labels, np.array(ends_us))

    write_evt3(path, events(), size_hw=(config.digits.height, config.digits.width))
    report(1)
