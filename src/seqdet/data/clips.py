"""Clips of recordings: their frames, and the labels of their windows."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..checks import InputError, check_choice
from ..config import DatasetConfig, InputConfig, PictureInput
from ..events.accounts import tell
from ..events.tensors import channels_of, check_frame_type
from ..structures import Boxes, Clip
from .appearance import check_appearance, draw_appearance
from .augmentation import Transform, draw_transform
from .classes import map_classes, read_classes
from .dataset import FOLDERS, Split
from .faults import Fault, FaultyFrames, evaluated_fault
from .joining import Labelled, join_labels, length_between
from .labels import is_ignored, recording_name
from .schedule import BLANK, Cue
from .sources import accounts_of, dataset_folder, open_source
from .store import Frames, TensorFile

log = logging.getLogger(__name__)
OPEN_FILES = 64
OPEN_RECORDINGS = 16
"""At a time in each process; of a recording that is read, 6 to 25 MB are in memory."""


class RecordedClips(Dataset[Clip]):
    """The clips of the recordings of one split; ``dataset[cue]`` has one lane: frames (T, 1, C, H, W).

    The last clip of a recording is filled up with empty, unlabelled frames. Recordings without events are left out.
    input: what the frames show. accounts: what became of the events of the recordings, by their names, as far as that
    is known; the log says it.

    Args:
        config: the folder, and how its recordings become clips; tensor files are there or ``cache_gb`` is given.
        split: "train", "validation" or "test": the folders train, val and test.
        clip_length: frames per clip (T).
        seed: of the changes to training recordings.

    Raises:
        InputError: if there is nothing of that split, most events of a recording cannot be read, no label comes to any
            window, files are damaged, or recordings differ in what their frames show.
    """

    def __init__(self, config: DatasetConfig, split: Split, *, clip_length: int, seed: int = 0) -> None:
        assert config.folder is not None
        self.config = config
        self.split = split
        self.clip_length = clip_length
        self.seed = seed
        folder = dataset_folder(config)
        self._source = open_source(config, clip_length=clip_length)
        self.class_map = map_classes(read_classes(folder), config.classes, others=config.other_classes)
        self._files: dict[tuple[int, int], Frames] = {}
        found = accounts_of(self._source, folder / FOLDERS[split])
        paths = list(found)
        known = {path: account for path, account in found.items() if account is not None}
        self.accounts = {f"{FOLDERS[split]}/{path.name}": account for path, account in known.items()}
        tell(log, self.accounts)
        with self._source.open(paths[0]) as first:
            self.frame = first.shape[1:]
            self.dtype = first.dtype
            shown = first.description.input
            self._kind = _kind(first)
        self.recordings = [self._labelled(path) for path in paths]
        self.input = _of_all(shown, self.recordings)
        if not any((each.shown >= 0).any() for each in self.recordings):
            raise InputError(
                f"labels in {folder / FOLDERS[split]} must be within tolerance_us = {config.tolerance_us} of the ends "
                f"of windows, and none is. Compare their times with those of the recordings. {self._advice()}"
            )
        self._tell_of_lost_labels(FOLDERS[split])
        check_appearance(config.augment, are_pictures=isinstance(self.input, PictureInput))
        self.channel_order = None
        if isinstance(self.input, InputConfig):
            check_frame_type(self.dtype, self.input.representation)
            self.channel_order = channels_of(self.input, self.channels)
        self._transform(BLANK)  # changes that these channels cannot have are refused now
        has_faults = split == "train" and config.augment.faults > 0
        self._faulty = self._faulty_frames() if has_faults else None
        self._stated_fault: tuple[str, int] | None = None

    def fault_names(self) -> tuple[str, ...]:
        """The faults that the sensor may have, for ``with_fault``.

        Raises:
            InputError: if it is not known what the frames show.
        """
        return self._faulty_frames().names

    def with_fault(self, name: str, severity: int) -> RecordedClips:
        """The same clips of a sensor with a fault, as detectors are compared by it; whatever the split.

        Raises:
            InputError: if there is no such fault or severity, or it is not known what the frames show.
        """
        faulty = copy(self)
        faulty._faulty = self._faulty_frames()
        check_choice(evaluated_fault(name, severity, 0).name, faulty._faulty.names, "the fault of these frames")
        faulty._stated_fault = (name, severity)
        return faulty

    def _faulty_frames(self) -> FaultyFrames:
        if isinstance(self.input, PictureInput):
            raise InputError("faults must be left out for pictures: they are those of sensors of events.")
        return FaultyFrames(self.input, self.channels)

    def _tell_of_lost_labels(self, part: str) -> None:
        """Say how many labelled times belong to no window."""
        found = sum(len(each.firsts) - 1 for each in self.recordings)
        if lost := found - sum(int((each.shown >= 0).sum()) for each in self.recordings):
            log.warning(
                "%s: %d of %d labelled times belong to no window: they are farther than tolerance_us = %d from the end "
                "of one, or share it with a nearer. %s",
                *(part, lost, found, self.config.tolerance_us, self._advice()),
            )

    def _advice(self) -> str:
        """Which windows would suit the labels."""
        if isinstance(self.input, PictureInput):
            return "Labels of pictures have the time of one."
        length_us = length_between(np.unique(self.recordings[0].boxes["t"]), self.input.window_us)
        return (
            f"Windows of {length_us} us that end with labels may have them: tensor.window_us and tensor.align: labels."
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.class_map.names

    @property
    def channels(self) -> int:
        """Channels of a frame."""
        return self.frame[0]

    @property
    def names(self) -> list[str]:
        """Of the recordings."""
        return [recording_name(each.path) for each in self.recordings]

    @property
    def clip_counts(self) -> list[int]:
        """Clips of every recording."""
        return [-(-each.windows // self.clip_length) for each in self.recordings]

    @property
    def weights(self) -> list[np.ndarray]:
        """Of the clips of every recording: 1 with a label and 0 without; or more the rarer the classes in it are."""
        counts = np.bincount(np.concatenate([each.boxes["class_id"] for each in self.recordings]), minlength=1)
        rarity = counts.sum() / np.maximum(counts, 1) / len(counts)
        weights = []
        for recording, clips in zip(self.recordings, self.clip_counts, strict=True):
            of_window = (recording.shown >= 0).astype(float)
            if self.config.balance_classes:
                sums = np.append(0, np.cumsum(rarity[recording.boxes["class_id"]]))[recording.firsts]
                of_window *= np.append(np.diff(sums), 0)[recording.shown]
            padded = np.zeros(clips * self.clip_length)
            padded[: len(of_window)] = of_window
            of_clip = padded.reshape(clips, self.clip_length).sum(axis=1)
            weights.append(of_clip if self.config.balance_classes else (of_clip > 0).astype(float))
        return weights

    @property
    def target_sizes_wh(self) -> np.ndarray:
        """(N, 2) width and height of all boxes to find, in pixels of the frame, as long as nothing changes them."""
        return np.concatenate([self._boxes(each, each.boxes).targets.sizes_wh.numpy() for each in self.recordings])

    def __getitem__(self, cue: Cue) -> Clip:
        length = self.clip_length
        frames = np.empty((length, 1, *self.frame), self.dtype)  # numpy asks for large pages, which torch does not
        boxes = [Boxes.empty() for _ in range(length)]
        is_labelled = np.zeros(length, bool)
        ends_us = np.zeros(length, np.int64)
        transform = self._transform(cue)
        before = None
        count = 0
        if not cue.is_blank:
            recording = self.recordings[cue.recording]
            start = transform.source_clip(cue.clip, self.clip_counts[cue.recording]) * length
            if transform.is_reversed and start and recording.shown[start - 1] >= 0:
                before = self._boxes(recording, recording.at(start - 1))
            stop = min(start + length, recording.windows)
            count = stop - start
            self._file(cue.recording).read(start, stop, frames[:count, 0])
            is_labelled[:count] = recording.shown[start:stop] >= 0
            ends_us[:count] = recording.ends_us[start:stop]
            for n in np.flatnonzero(is_labelled).tolist():
                boxes[n] = self._boxes(recording, recording.at(start + n))
        frames[count:] = 0
        clip = Clip(
            frames=torch.from_numpy(frames),
            is_first=torch.tensor([cue.is_first]),
            is_blank=torch.tensor([cue.is_blank]),
            is_labelled=torch.from_numpy(is_labelled[:, None]),
            boxes=boxes,
            recordings=torch.tensor([cue.recording]),
            end_us=torch.from_numpy(ends_us[:, None]),
        )
        played = max(cue.clip, 0) * length
        clip = transform.clip(clip, start=played, before=before)
        if isinstance(self.input, PictureInput):
            return self._looking(clip, cue, played)
        return self._with_fault(clip, cue, played)

    def _looking(self, clip: Clip, cue: Cue, start: int) -> Clip:
        """The clip of pictures as the camera of that epoch shows it; training alone changes that."""
        if self.split != "train":
            return clip
        seen = draw_appearance(self.config.augment, seed=self.seed, recording=cue.recording, epoch=cue.epoch)
        return replace(clip, frames=seen.frames(clip.frames[:, 0], start=start)[:, None])

    def _with_fault(self, clip: Clip, cue: Cue, start: int) -> Clip:
        """The clip as a sensor with the fault of the recording shows it, if it has one."""
        if self._faulty is None or cue.is_blank:
            return clip
        if (fault := self._fault(self._faulty, cue)) is None:
            return clip
        frames = self._faulty.frames(clip.frames[:, 0], fault, start=start)
        return replace(clip, frames=frames[:, None])

    def _fault(self, faulty: FaultyFrames, cue: Cue) -> Fault | None:
        """Of the recording, in that epoch."""
        if self._stated_fault is not None:
            return evaluated_fault(*self._stated_fault, cue.recording)
        origin = {"seed": self.seed, "recording": cue.recording, "epoch": cue.epoch}
        return faulty.drawn(self.config.augment, **origin)

    def _transform(self, cue: Cue) -> Transform:
        """How the recording is changed in that epoch; training alone is."""
        if self.split != "train":
            return Transform(self.input.frame_hw)
        origin = {"seed": self.seed, "recording": cue.recording, "epoch": cue.epoch}
        return draw_transform(self.config.augment, size_hw=self.input.frame_hw, channels=self.channel_order, **origin)

    def _boxes(self, recording: Labelled, rows: np.ndarray) -> Boxes:
        """The boxes of label rows of a recording in pixels of the frame, cut at its rim."""
        corners = np.stack([rows["x"], rows["y"], rows["x"] + rows["w"], rows["y"] + rows["h"]], axis=1)
        limits = np.array(self.input.frame_hw)[::-1]
        corners = corners / np.tile(recording.scale_xy, 2)
        corners = np.clip(corners, 0, np.tile(limits, 2)).astype(np.float32)
        seen = (corners[:, 2:] > corners[:, :2]).all(axis=1)
        rows = rows[seen]
        return Boxes(
            torch.from_numpy(corners[seen]),
            torch.from_numpy(rows["class_id"].astype(np.int64)),
            track_ids=torch.from_numpy(rows["track_id"].astype(np.int64)),
            is_ignored=torch.from_numpy(is_ignored(rows)),
        )

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which opens files itself."""
        return {**self.__dict__, "_files": {}}

    def _file(self, recording: int) -> Frames:
        """Opened in this process, as HDF5 does not share files with its children, and kept open for a while."""
        key = os.getpid(), recording
        if (file := self._files.pop(key, None)) is None:
            file = self._source.open(self.recordings[recording].path)
        while len(self._files) >= (OPEN_FILES if isinstance(file, TensorFile) else OPEN_RECORDINGS):
            self._files.pop(next(iter(self._files))).close()
        self._files[key] = file  # the last, as the first is closed next
        return file

    def _labelled(self, path: Path) -> Labelled:
        """A recording with its labels, once it is sure that its frames are as those of the others."""
        with self._source.open(path) as file:
            if (kind := _kind(file)) != self._kind:
                advice = " Give tensor.to_hw, the one size for all." if file.description.times_us else ""
                raise InputError(f"{path} must have frames as the others, {self._kind}, got {kind}.{advice}")
            return join_labels(path, file, self.config, self.class_map)


def _of_all(shown: InputConfig | PictureInput, recordings: Sequence[Labelled]) -> InputConfig | PictureInput:
    """What the frames of all recordings show: of pictures, their usual distance in time."""
    if isinstance(shown, InputConfig):
        return shown
    steps_us = np.concatenate([np.diff(each.ends_us) for each in recordings])
    return replace(shown, period_us=round(float(np.median(steps_us))) if len(steps_us) else 0)


def _kind(file: Frames) -> str:
    """What its frames are, as an error names it."""
    shown = file.description.input
    if isinstance(shown, PictureInput):
        height, width = shown.frame_hw
        return f"{shown.colour} pictures of {width}x{height}"
    return f"{shown.representation} {file.shape[1:]} of {file.dtype} every {shown.window_us} us"
