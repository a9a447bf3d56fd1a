"""The toy problem as batches of the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..checks import InputError
from ..config import DigitsConfig
from ..data.dataset import Split
from ..data.schedule import schedule, shuffled
from ..digits.videos import MovingDigits
from ..structures import Boxes, Clip
from ..viz.images import frame_image
from .boxes import LABEL_OFFSET


class FileMetadata(NamedTuple):
    """What ``video_infos`` says of the recording on a lane; times in microseconds."""

    path: str
    start_ts: int
    duration: int
    delta_t: int
    padding: bool


class MovingMNISTLoader:
    """Batches of moving digits as dictionaries; every pass over it is one epoch, new in training.

    Keys: ``inputs`` (T, B, 3, H, W) float32 in [0, 1]; ``labels[t][b]`` (N, 6) float32 rows of x1, y1, x2, y2, class
    from 1 on, track id; ``mask_keep_memory`` (B, 1, 1, 1) float32, 0 where a video starts; ``frame_is_labeled`` (T, B)
    bool; ``video_infos``, B times ``(FileMetadata, start of the batch in us, its duration in us)``.
    """

    def __init__(self, dataset: MovingDigits, *, batch_size: int, num_workers: int) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.epoch = 0

    def __len__(self) -> int:
        return len(schedule(self.dataset.clip_counts, self.batch_size))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        counts = self.dataset.clip_counts
        epoch = self.epoch
        order = shuffled(len(counts), seed=0, epoch=epoch) if self.dataset.split == "train" else None
        self.epoch += 1
        steps = schedule(counts, self.batch_size, order=order, epoch=epoch)
        loader = DataLoader(self.dataset, batch_sampler=steps, num_workers=self.num_workers, collate_fn=Clip.collate)
        for clip in loader:
            yield self._batch(clip)

    def get_vis_func(self) -> Callable[[Tensor | np.ndarray], np.ndarray]:
        """A function from one frame (C, H, W) to a picture (H, W, 3) uint8."""
        return frame_image

    def _batch(self, clip: Clip) -> dict[str, Any]:
        time, lanes = clip.is_labelled.shape
        delta_t = self.dataset.config.delta_t_us
        duration = self.dataset.frames_per_video * delta_t
        infos = [
            (
                FileMetadata(f"moving_digits/{self.dataset.split}/{number}", 0, duration, delta_t, bool(is_blank)),
                int(end) - delta_t,
                time * delta_t,
            )
            for number, is_blank, end in zip(
                clip.recordings.tolist(), clip.is_blank.tolist(), clip.end_us[0].tolist(), strict=True
            )
        ]
        return {
            "inputs": clip.frames.float() / 255,
            "labels": [[_rows(boxes.targets) for boxes in clip.at(t)] for t in range(time)],
            "mask_keep_memory": (~clip.is_first).float().view(lanes, 1, 1, 1),
            "frame_is_labeled": clip.is_labelled,
            "video_infos": infos,
        }


def make_moving_mnist(
    train: bool = True,
    height: int = 128,
    width: int = 128,
    tbins: int = 20,
    num_workers: int = 1,
    batch_size: int = 4,
    max_frames_per_video: int = 80,
    max_frames_per_epoch: int = 8000,
) -> MovingMNISTLoader:
    """The loader of the toy problem; held-out digits if not ``train``.

    Videos are cut down to whole batches: with 12 bins, 80 frames become 72. In frames of a side below 128 pixels,
    digits are smaller in proportion.

    Raises:
        InputError: if a video is shorter than a batch, or the frames are too small for digits.
    """
    return open_moving_mnist(
        "train" if train else "test",
        height=height,
        width=width,
        tbins=tbins,
        num_workers=num_workers,
        batch_size=batch_size,
        max_frames_per_video=max_frames_per_video,
        max_frames_per_epoch=max_frames_per_epoch,
    )


MovingMNISTDataset = make_moving_mnist
"""The name that the last cell of the tutorial uses."""


def open_moving_mnist(
    split: Split,
    *,
    height: int,
    width: int,
    tbins: int,
    num_workers: int,
    batch_size: int,
    max_frames_per_video: int,
    max_frames_per_epoch: int,
) -> MovingMNISTLoader:
    """The loader of the digits of one split, see ``make_moving_mnist``."""
    frames_per_video = max_frames_per_video // tbins * tbins if tbins > 0 else 0
    if not frames_per_video:
        raise InputError(f"max_frames_per_video must be at least tbins, got {max_frames_per_video} and {tbins}.")
    frames = max(frames_per_video, max_frames_per_epoch)
    shrink = min(1.0, min(height, width) / 128)
    config = DigitsConfig(
        height=height,
        width=width,
        digit_heights=(24 * shrink, 60 * shrink),
        frames_per_video=frames_per_video,
        held_out_frames_per_video=frames_per_video,
        frames_per_epoch=frames,
        validation_frames=frames,
        test_frames=frames,
    )
    dataset = MovingDigits(config, split, clip_length=tbins)
    return MovingMNISTLoader(dataset, batch_size=batch_size, num_workers=num_workers)


def _rows(boxes: Boxes) -> Tensor:
    ids = torch.zeros(len(boxes)) if boxes.track_ids is None else boxes.track_ids.float()
    return torch.cat([boxes.xyxy, (boxes.labels + LABEL_OFFSET).float()[:, None], ids[:, None]], dim=1)
