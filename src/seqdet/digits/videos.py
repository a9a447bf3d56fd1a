"""Moving digits: handwritten ones, of MNIST, in videos whose every frame is a pure function of the seed, the split, the
epoch, the video and the time.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from ..checks import InputError, check_at_least, check_choice
from ..config import DigitsConfig
from ..data.dataset import SPLITS, Split
from ..data.schedule import Cue
from ..structures import Boxes, Clip
from .rendering import Rendering, ink_boxes, render

PACKAGED = Path(__file__).parent / "packaged" / "mnist_subset.npz"
FORMAT_VERSION = 1
_DAMAGE = (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile)
TARGET_SHARE = 0.25
"""A digit with less of its ink visible than this is no target, and predicting it is no error."""
SAMPLED_VIDEOS = 1000
"""Whose boxes stand for those of all, of which there is no list."""
_ZOOM_PERIODS = (12.0, 24.0)  # shortest and longest cycle in frames
_TURN_PERIODS = (40.0, 160.0)
_USUAL_ASPECT = 1.3  # width over height up to which digits must fit at every height; wider ones are kept smaller


class Digits(NamedTuple):
    """Images (N, 28, 28) uint8, 0 for paper and 255 for ink, and labels (N,) uint8 from 0 to 9. Both are read-only."""

    images: np.ndarray
    labels: np.ndarray


@cache
def load_digits(split: Split, folder: Path | None = None) -> Digits:
    """The digits of one split; no digit is in two splits.

    Validation digits come from the original training set, so choosing a checkpoint with them tells nothing about the
    test digits.

    Args:
        split: of the packaged subset 9,000, 1,000 and 2,000 digits, equally many of each class; with ``folder`` the
            first 55,000 and the last 5,000 of the original training set, and the 10,000 of the original test set.
        folder: holds the four files of the original distribution, compressed or not; the packaged subset if None.

    Raises:
        InputError: if a file is missing or damaged.
    """
    check_choice(split, SPLITS, "split")
    original: Literal["train", "t10k"] = "t10k" if split == "test" else "train"
    digits = _read_packaged(original) if folder is None else read_originals(folder, original)
    held_back = len(digits.labels) - (1_000 if folder is None else 5_000)
    part = {"train": slice(held_back), "validation": slice(held_back, None), "test": slice(None)}[split]
    digits = Digits(*(array[part] for array in digits))
    for array in digits:
        array.flags.writeable = False
    return digits


def read_originals(folder: Path, original: Literal["train", "t10k"]) -> Digits:
    """The original training or test set, in its own order, from files such as ``train-images-idx3-ubyte.gz``.

    Raises:
        InputError: if a file is missing or damaged.
    """
    images = _read_idx(folder / f"{original}-images-idx3-ubyte", dimensions=3)
    labels = _read_idx(folder / f"{original}-labels-idx1-ubyte", dimensions=1)
    count = 60_000 if original == "train" else 10_000
    if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() > 9:
        raise InputError(
            f"{folder} must hold MNIST's {count} digits of 28 x 28 pixels as {original}-*-ubyte, got others."
        )
    return Digits(images, labels)


def _read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """The uint8 array of an IDX file, ``path`` itself or ``path`` with ``.gz`` added.

    Source: the format note at http://yann.lecun.com/exdb/mnist.
    """
    compressed = path.with_name(f"{path.name}.gz")
    found = next((candidate for candidate in (compressed, path) if candidate.is_file()), None)
    if found is None:
        raise InputError(f"{compressed} must be one of the four original MNIST files; it does not exist.")
    try:
        content = gzip.decompress(found.read_bytes()) if found == compressed else found.read_bytes()
        shape = np.frombuffer(content, ">i4", dimensions, offset=4)
        if content[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError("wrong magic number")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except _DAMAGE as error:
        raise InputError(f"{found} must be an IDX file of bytes in {dimensions} dimensions; it is damaged.") from error


def _read_packaged(original: Literal["train", "t10k"]) -> Digits:
    try:
        with PACKAGED.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if arrays["format_version"] != FORMAT_VERSION:
                raise ValueError("another format version")
            return Digits(arrays[f"{original}_images"], arrays[f"{original}_labels"])
    except _DAMAGE as error:
        raise InputError(f"{PACKAGED} must hold the packaged digits; it is damaged, install seqdet again.") from error


class Scene(NamedTuple):
    """What a video shows, one entry per digit, the first in front. Pixels, frames and radians, clockwise.

    digits: (D,) indices of the images.
    colours: (D, 3) RGB in [0, 255].
    mean_height: (D,) of the upright ink.
    zoom, turn: (3, D), the amplitude, period and phase of a sine; of the height over its mean, and of the angle.
    lowest_xy, range_xy: (D, 2), where the centre may go: from the lowest value, over a range.
    start_xy, velocity_xy: (D, 2), the straight motion that is folded into that range.
    """

    digits: np.ndarray
    colours: np.ndarray
    mean_height: np.ndarray
    zoom: np.ndarray
    turn: np.ndarray
    lowest_xy: np.ndarray
    range_xy: np.ndarray
    start_xy: np.ndarray
    velocity_xy: np.ndarray

    def at(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Heights (T, D), angles (T, D) and centres (T, D, 2) of the digits at the given moments.

        ``frames`` are frame numbers, also fractions: (T,), or (T, D) where every digit has moments of its own.
        """
        frames = frames if frames.ndim == 2 else frames[:, None]
        amplitude, period, phase = self.zoom
        heights = self.mean_height * (1 + amplitude * np.sin(2 * np.pi * frames / period + phase))
        amplitude, period, phase = self.turn
        angles = amplitude * np.sin(2 * np.pi * frames / period + phase)
        straight = self.start_xy + frames[..., None] * self.velocity_xy
        there_and_back = np.mod(straight, np.maximum(2 * self.range_xy, 1e-9))
        return heights, angles, self.lowest_xy + self.range_xy - np.abs(there_and_back - self.range_xy)


class MovingDigits(Dataset[Clip]):
    """The clips of the videos of one split; ``dataset[cue]`` has one lane: frames (T, 1, 3, height, width) uint8.

    Training shows new videos in every epoch, validation and test always the same.

    Args:
        config: how the digits look and move, and how many frames there are.
        split: "train", "validation" or "test": whose digits are shown.
        clip_length: frames per clip (T).
        seed: the videos are drawn from ``(seed, split, epoch, video)``.

    Raises:
        InputError: if the digits cannot be loaded or do not fit in the frame, or a video is shorter than a clip.
    """

    classes = tuple("0123456789")
    channels = 3

    def __init__(self, config: DigitsConfig, split: Split, *, clip_length: int, seed: int = 0) -> None:
        check_at_least(seed, 0, "seed")
        self.frames_per_video = config.frames_per_video if split == "train" else config.held_out_frames_per_video
        if not 1 <= clip_length <= self.frames_per_video:
            raise InputError(f"clip_length must be 1 to {self.frames_per_video} frames of a video, got {clip_length}.")
        frames = {"train": config.frames_per_epoch, "validation": config.validation_frames, "test": config.test_frames}
        self._frames = frames[split]
        _check_fit(config)
        self.config = config
        self.split = split
        self.clip_length = clip_length
        self.seed = seed
        self._images = load_digits(split, config.folder)
        self._ink_xyxy = ink_boxes(self._images.images)
        width, height = (self._ink_xyxy[:, 2:] - self._ink_xyxy[:, :2]).T
        self._extents_xy = _extents_xy(width / np.maximum(height, 1e-9), config.max_rotation)
        fitting = (np.array([config.width, config.height]) / self._extents_xy).min(axis=1)
        self._lowest_peak = config.digit_heights[0] * (1 + config.scale_swing)
        self._highest_peak = np.minimum(fitting, config.digit_heights[1])
        self._drawable = np.flatnonzero((height > 0) & (self._highest_peak >= self._lowest_peak))

    @property
    def input(self) -> None:
        """Frames as of a camera, which show no events."""
        return None

    @property
    def clip_counts(self) -> list[int]:
        """Clips of every video of an epoch."""
        return [self.frames_per_video // self.clip_length] * -(-self._frames // self.frames_per_video)

    @property
    def weights(self) -> list[np.ndarray]:
        """Of the clips of every video: all are drawn alike."""
        return [np.ones(count) for count in self.clip_counts]

    @property
    def target_sizes_wh(self) -> np.ndarray:
        """(N, 2) width and height of boxes to find, in pixels: those of some first frames, of as many videos."""
        videos = range(min(len(self.clip_counts), SAMPLED_VIDEOS))
        return np.concatenate([boxes.targets.sizes_wh.numpy() for n in videos for boxes in self.video(n, 0, 1)[1]])

    def __getitem__(self, cue: Cue) -> Clip:
        config = self.config
        length = self.clip_length
        start = max(cue.clip, 0) * length
        if cue.is_blank:
            frames = np.zeros((length, 3, config.height, config.width), np.uint8)
            boxes = [Boxes.empty() for _ in range(length)]
        else:
            frames, boxes = self.video(cue.recording, start, start + length, epoch=cue.epoch)
        return Clip(
            frames=torch.from_numpy(frames[:, None]),
            is_first=torch.tensor([cue.is_first]),
            is_blank=torch.tensor([cue.is_blank]),
            is_labelled=torch.full((length, 1), not cue.is_blank),
            boxes=boxes,
            recordings=torch.tensor([cue.recording]),
            end_us=torch.arange(start + 1, start + length + 1)[:, None] * config.delta_t_us,
        )

    def video(self, index: int, start: int, stop: int, *, epoch: int = 0) -> tuple[np.ndarray, list[Boxes]]:
        """Frames ``[start, stop)`` of video number ``index``, (T, 3, height, width) uint8, and their boxes.

        A box is tight around the ink that shows. A digit with less than a quarter of its ink showing is marked as
        ignored, with the box that it would have if nothing covered it. Track ids number the digits of the video.
        """
        scene = self.scene(index, epoch=epoch)
        images, labels, to_source = self.placed(scene, np.arange(start, stop))
        rendering = render(images, scene.colours, to_source, size_hw=(self.config.height, self.config.width))
        exists, xyxy, is_ignored = shown_boxes(rendering)
        columns = (
            xyxy,
            np.broadcast_to(labels.astype(np.int64), is_ignored.shape),
            np.broadcast_to(np.arange(len(labels)), is_ignored.shape),
            is_ignored,
        )
        boxes = []
        for t, here in enumerate(exists):
            box_xyxy, box_labels, track_ids, ignored = (torch.from_numpy(column[t, here]) for column in columns)
            boxes.append(Boxes(box_xyxy, box_labels, track_ids=track_ids, is_ignored=ignored))
        return rendering.frames, boxes

    def placed(self, scene: Scene, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images (D, 28, 28) and labels (D,) of the digits, and where they are at ``moments``, as ``Scene.at`` takes.

        The latter is (T, D, 2, 3), as ``render`` takes it.
        """
        heights, angles, centres = scene.at(moments)
        ink = self._ink_xyxy[scene.digits]
        scale = (ink[:, 3] - ink[:, 1]) / heights
        cosine = scale * np.cos(angles)
        sine = scale * np.sin(angles)
        matrix = np.stack([cosine, sine, -sine, cosine], axis=-1).reshape(*scale.shape, 2, 2)
        first_pixel = matrix @ (0.5 - centres)[..., None]  # from the digit's centre to the centre of pixel (0, 0)
        offset = (ink[:, :2] + ink[:, 2:])[..., None] / 2 + first_pixel
        images, labels = self._images
        return images[scene.digits], labels[scene.digits], np.concatenate([matrix, offset], axis=-1)

    def scene(self, index: int, *, epoch: int = 0) -> Scene:
        """What video number ``index`` shows; of validation and test the epoch makes no difference."""
        config = self.config
        epoch = epoch if self.split == "train" else 0
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), epoch, index])
        least = 1
        most = config.max_digits
        if self.split == "train" and config.training_digits is not None:
            least, most = config.training_digits
        count = int(rng.integers(least, most + 1))
        digits = rng.choice(self._drawable, count)
        swing = config.scale_swing / (2 + config.scale_swing)  # (1 + swing) / (1 - swing) = 1 + scale_swing
        peak = rng.uniform(self._lowest_peak, self._highest_peak[digits])
        extents_xy = peak[:, None] * self._extents_xy[digits]
        range_xy = np.maximum([config.width, config.height] - extents_xy, 0)
        direction, speed = rng.uniform([[0], [0]], [[2 * np.pi], [config.max_speed]], (2, count))

        def cycle(amplitude: np.ndarray, periods: tuple[float, float]) -> np.ndarray:
            return np.stack([amplitude, rng.uniform(*periods, count), rng.uniform(0, 2 * np.pi, count)])

        return Scene(
            digits=digits,
            colours=_bright_colours(count, rng),
            mean_height=peak / (1 + swing),
            zoom=cycle(np.full(count, swing), _ZOOM_PERIODS),
            turn=cycle(np.radians(rng.uniform(0, config.max_rotation, count)), _TURN_PERIODS),
            lowest_xy=extents_xy / 2,
            range_xy=range_xy,
            start_xy=rng.uniform(0, 2 * range_xy),
            velocity_xy=speed[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1),
        )


def shown_boxes(rendering: Rendering) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which digits are there (T, D), their boxes (T, D, 4), and which of them are ignored (T, D)."""
    is_ignored = (rendering.visible_share < TARGET_SHARE) | (rendering.visible[..., 2] == 0)
    return rendering.whole[..., 2] > 0, np.where(is_ignored[..., None], rendering.whole, rendering.visible), is_ignored


def _bright_colours(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 3) RGB of any hue, never dark and never grey."""
    hue, saturation, value = rng.uniform([[0], [0.3], [0.75]], [[6], [1], [1]], (3, count))[..., None]
    distance = np.mod(hue + np.array([5, 3, 1]), 6)
    return 255 * value * (1 - saturation * np.clip(np.minimum(distance, 4 - distance), 0, 1))


def _extents_xy(aspects: np.ndarray, max_rotation: float) -> np.ndarray:
    """Width and height (N, 2) that a digit of height 1 may need, turned by up to ``max_rotation`` degrees."""
    limit = np.radians(max_rotation)
    widest = np.minimum(limit, np.arctan2(1, aspects))
    tallest = np.minimum(limit, np.arctan2(aspects, 1))
    return np.stack([aspects * np.cos(widest) + np.sin(widest), np.cos(tallest) + aspects * np.sin(tallest)], axis=-1)


def _check_fit(config: DigitsConfig) -> None:
    tallest = config.digit_heights[1]
    width, height = np.ceil(tallest * _extents_xy(np.array(_USUAL_ASPECT), config.max_rotation)).astype(int)
    if width > config.width or height > config.height:
        raise InputError(
            f"digit_heights must fit in the frame, got up to {tallest:g} in {config.height} x {config.width} pixels; "
            f"turned by {config.max_rotation:g} degrees such a digit needs {height} x {width}."
        )
