"""Clips of recordings: tensors from their files, and the labels of their windows."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from ..checks import InputError
from ..config import DatasetConfig
from ..structures import Boxes, Clip
from .alignment import align
from .augment import draw
from .channels import channel_order
from .classes import map_classes, read_classes
from .digits import Split
from .labels import EVENT_BBOX, labels_beside, read_labelled_us, read_labels
from .rvt import open_rvt
from .schedule import Cue
from .sources import open_tensors, tensor_files, tensor_folder
from .store import TensorFile
from .transform import Transform

log = logging.getLogger(__name__)
FOLDERS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
OPEN_FILES = 64


@dataclass(frozen=True)
class Labelled:
    """A recording and its labels.

    path: of the tensor file, or the folder of RVT. ends_us: of the windows. shown: for each window the labelled time
    that it shows, an index, or -1. boxes: (N,) ``EVENT_BBOX`` with the classes of the dataset. firsts: for each
    labelled time, where its boxes begin, and a last entry that ends them.
    """

    path: Path
    ends_us: np.ndarray
    shown: np.ndarray
    boxes: np.ndarray
    firsts: np.ndarray

    @property
    def windows(self) -> int:
        """How many there are."""
        return len(self.ends_us)

    def at(self, window: int) -> np.ndarray:
        """The boxes of a labelled window."""
        time = self.shown[window]
        return self.boxes[self.firsts[time] : self.firsts[time + 1]]


class RecordedClips(Dataset[Clip]):
    """The clips of the recordings of one split; ``dataset[cue]`` has one lane: frames (T, 1, C, H, W).

    The last clip of a recording is filled up with empty, unlabelled frames.

    Args:
        config: the folder, and how its recordings become clips; it must hold tensor files, see ``prepare``.
        split: "train", "validation" or "test": the folders train, val and test.
        clip_length: frames per clip (T).
        seed: of the changes to training recordings.

    Raises:
        InputError: if there is nothing of that split, no label comes to any window, files are damaged, or recordings
            differ in what their frames show.
    """

    def __init__(self, config: DatasetConfig, split: Split, *, clip_length: int, seed: int = 0) -> None:
        assert config.folder is not None
        self.config, self.split, self.clip_length, self.seed = config, split, clip_length, seed
        folder = tensor_folder(config)
        self.class_map = map_classes(read_classes(folder), config.classes, others=config.other_classes)
        self._files: dict[tuple[int, int], TensorFile] = {}
        paths = tensor_files(folder / FOLDERS[split])
        if not paths:
            raise InputError(f"{folder / FOLDERS[split]} must hold tensor files, and has none. Is the split empty?")
        with open_tensors(paths[0]) as first:
            self.frame, self.dtype, self.description = first.shape[1:], first.dtype, first.description
        self.frame_hw = self.frame[1], self.frame[2]
        self.recordings = [self._labelled(path) for path in paths]
        if not any((each.shown >= 0).any() for each in self.recordings):
            raise InputError(
                f"labels in {folder / FOLDERS[split]} must be within tolerance_us = {config.tolerance_us} of the ends "
                "of windows, and none is. Compare their times with those of the recordings."
            )
        self.channel_order = channel_order(self.description.representation, self.channels, self.description.parameters)

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
        return [each.path.stem for each in self.recordings]

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
                of_window *= np.diff(sums)[recording.shown]
            padded = np.zeros(clips * self.clip_length)
            padded[: len(of_window)] = of_window
            of_clip = padded.reshape(clips, self.clip_length).sum(axis=1)
            weights.append(of_clip if self.config.balance_classes else (of_clip > 0).astype(float))
        return weights

    def __getitem__(self, cue: Cue) -> Clip:
        length = self.clip_length
        frames = np.empty((length, 1, *self.frame), self.dtype)  # numpy asks for large pages, which torch does not
        boxes, is_labelled = [Boxes.empty() for _ in range(length)], np.zeros(length, bool)
        ends_us = np.zeros(length, np.int64)
        transform, before, count = self._transform(cue), None, 0
        if not cue.is_blank:
            recording = self.recordings[cue.recording]
            start = transform.source_clip(cue.clip, self.clip_counts[cue.recording]) * length
            if transform.is_reversed and start and recording.shown[start - 1] >= 0:
                before = self._boxes(recording.at(start - 1))
            stop = min(start + length, recording.windows)
            count = stop - start
            self._file(cue.recording).read(start, stop, frames[:count, 0])
            is_labelled[:count] = recording.shown[start:stop] >= 0
            ends_us[:count] = recording.ends_us[start:stop]
            for n in np.flatnonzero(is_labelled).tolist():
                boxes[n] = self._boxes(recording.at(start + n))
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
        return transform.clip(clip, start=max(cue.clip, 0) * length, before=before)

    def _transform(self, cue: Cue) -> Transform:
        """How the recording is changed in that epoch; training alone is."""
        if self.split != "train":
            return Transform(self.frame_hw)
        origin = {"seed": self.seed, "recording": cue.recording, "epoch": cue.epoch}
        return draw(self.config.augment, size_hw=self.frame_hw, channels=self.channel_order, **origin)

    def _boxes(self, rows: np.ndarray) -> Boxes:
        """The boxes of label rows in pixels of the frame, cut at its rim."""
        corners = np.stack([rows["x"], rows["y"], rows["x"] + rows["w"], rows["y"] + rows["h"]], axis=1)
        limits = np.array(self.frame_hw)[::-1]
        corners = corners * np.tile(limits / np.array(self.description.sensor_hw)[::-1], 2)
        corners = np.clip(corners, 0, np.tile(limits, 2)).astype(np.float32)
        seen = (corners[:, 2:] > corners[:, :2]).all(axis=1)
        rows = rows[seen]
        return Boxes(
            torch.from_numpy(corners[seen]),
            torch.from_numpy(rows["class_id"].astype(np.int64)),
            track_ids=torch.from_numpy(rows["track_id"].astype(np.int64)),
            is_ignored=torch.from_numpy(rows["class_confidence"] == 0),
        )

    def _file(self, recording: int) -> TensorFile:
        """Opened in this process, as HDF5 does not share files with its children, and kept open for a while."""
        key = os.getpid(), recording
        if key not in self._files:
            while len(self._files) >= OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            self._files[key] = open_tensors(self.recordings[recording].path)
        return self._files[key]

    def _labelled(self, path: Path) -> Labelled:
        """A recording with its labels; without any, all of its windows are unlabelled."""
        with open_tensors(path) as file:
            if (file.shape[1:], file.dtype) != (self.frame, self.dtype):
                raise InputError(
                    f"{path} must have frames as the others, {self.dtype} {self.frame}, got {file.shape[1:]}."
                )
            ends_us, start_us = file.ends_us, file.description.start_us
        if path.is_dir():
            boxes = open_rvt(path)[1]
            labelled_us = np.unique(boxes["t"])
        elif (labels := labels_beside(path)) is not None:
            boxes = read_labels(labels)
            labelled_us = read_labelled_us(labels, boxes)
        else:
            log.warning("%s has no labels beside it: it is seen, and neither trained on nor scored.", path)
            boxes, labelled_us = np.zeros(0, EVENT_BBOX), np.zeros(0, np.int64)
        boxes = self.class_map.boxes(boxes)
        labelled_us = labelled_us[labelled_us >= start_us + self.config.skip_us]
        boxes = boxes[boxes["t"] >= start_us + self.config.skip_us]
        shown = align(labelled_us, ends_us, policy=self.config.policy, tolerance_us=self.config.tolerance_us)
        firsts = np.searchsorted(boxes["t"], np.append(labelled_us, np.iinfo(np.int64).max))
        return Labelled(path, ends_us, shown, boxes, firsts)
