"""One change of a whole recording, of its frames and boxes alike.

A pixel of a moved frame shows the pixel under its centre, so that counts stay counts and nothing blurs. A pixel under
no centre, as when the frame shrinks, is shown where its own centre goes, so that a single event still leaves a trace.
Of several at one place the number farthest from 0 is shown, not the sum: an edge gives a pixel as many events from afar
as from near.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..checks import InputError
from ..config import AugmentConfig
from ..events.canvas import Channel
from ..structures import Boxes, Clip, check_tensor

LEAST_SIDE = 2.0
"""Pixels. A box that gets narrower or lower than this is neither a target nor an error."""
UNMOVED = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
DIRECT_TYPES = (torch.uint8, torch.int8, torch.float32, torch.float64)  # others pass through float32


@dataclass(frozen=True)
class Transform:
    """One change of a recording. The same for all of its clips.

    size_hw: height and width of the frames.
    matrix: from (x, y, 1) to the (x, y) where it is shown, pixels.
    channels: what each channel shows; needed to drop a polarity or to play backwards.
    dropped_polarity: 0 or 1, as it is played: all its channels are empty.
    dropped_share: of the events that are lost, drawn for each frame from ``key`` and its number. Numbers of integer
        types are counts, of which every event is lost by itself; others are lost as a whole or not at all.
    is_reversed: the recording is played backwards: an event at t of a window [start, end) is one of the other polarity
        at start + end - 1 - t, and the frames come in reverse order. This is what the function that made the frames
        gives for such events, exactly for histograms whose bins are whole microseconds, and to a microsecond for
        ``event_cube``. What no frame can tell: sensors do not react quite alike to brighter and darker, and an object
        that stands still at the end of the recording is labelled before it has moved.
    least_visible: a box that keeps less than this share of its area in the frame becomes ignored.
    key: seeds the losses.
    """

    size_hw: tuple[int, int]
    matrix: tuple[tuple[float, ...], ...] = UNMOVED
    channels: tuple[Channel, ...] | None = None
    dropped_polarity: int | None = None
    dropped_share: float = 0.0
    is_reversed: bool = False
    least_visible: float = 0.25
    key: int = 0

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return not (self._moves or self.is_reversed or self.dropped_share) and self.dropped_polarity is None

    def source_clip(self, clip: int, clips: int) -> int:
        """The clip of a recording, of ``clips`` equally long ones, to read when number ``clip`` is played."""
        return clips - 1 - clip if self.is_reversed else clip

    def frames(self, frames: Tensor, *, start: int = 0) -> Tensor:
        """The frames as they are played, of the same shape and type.

        Args:
            frames: (T, C, H, W) or (T, B, C, H, W), zero where nothing happened; as the recording has them, in its
                order. Types other than uint8, int8 and floating point are not taken.
            start: number of the first frame in the order of playing.

        Raises:
            InputError: if shape or type do not fit.
        """
        pattern = "T B C H W" if frames.ndim == 5 else "T C H W"
        check_tensor(frames, pattern, "frames", H=self.size_hw[0], W=self.size_hw[1])
        count = frames.shape[-3]
        if self.channels is not None and count != len(self.channels):
            raise InputError(f"frames must have {len(self.channels)} channels, got {count}.")
        is_signed = any(each.polarity is None for each in self.channels or ())
        if self.is_reversed and is_signed and frames.dtype == torch.uint8:
            raise InputError("frames must have signs where a channel shows brighter less darker events, got uint8.")
        if not (frames.dtype in DIRECT_TYPES or frames.is_floating_point()):
            raise InputError(f"frames must be uint8, int8 or floating point to be augmented, got {frames.dtype}.")
        if self.is_identity:
            return frames
        if frames.dtype not in DIRECT_TYPES:
            return self.frames(frames.float(), start=start).to(frames.dtype)
        time = len(frames)
        lanes = frames.shape[1:-3].numel()
        order = np.arange(time * lanes).reshape(time, lanes)
        numbers = start + np.arange(time)[:, None] + (np.arange(lanes) << 40)
        planes = np.ascontiguousarray(frames.numpy(force=True)).reshape(time * lanes, count, math.prod(self.size_hw))
        word = math.gcd(8, planes.shape[2] * planes.itemsize)
        moved = np.empty_like(planes)
        move(
            planes,
            planes.view(f"u{word}"),
            (order[::-1] if self.is_reversed else order).reshape(-1),
            self._sources(count),
            *self._places,
            round(self.dropped_share * 65536),
            planes.dtype.kind in "iu",
            np.uint64(self.key) + numbers.reshape(-1).astype(np.uint64) * GOLDEN,
            moved,
        )
        if self.is_reversed and is_signed and self.channels:
            signed = np.flatnonzero([each.polarity is None for each in self.channels])
            before = moved[:, signed]
            moved[:, signed] = np.negative(np.maximum(before, -127) if before.dtype == np.int8 else before)
        return torch.from_numpy(moved).view(frames.shape).to(frames.device)

    def boxes(self, boxes: Boxes) -> Boxes:
        """The boxes where the frames show their objects: the hull of the moved corners, cut at the frame.

        Those outside the frame vanish. Those of which less than ``least_visible`` is left, or that get smaller than
        ``LEAST_SIDE``, are ignored, as those that were ignored before.
        """
        if not self._moves:
            return boxes
        forward = np.array(self.matrix)
        before = self._cut(boxes.xyxy.numpy(force=True).astype(np.float64))
        corners = np.stack([before[:, [0, 2, 0, 2]], before[:, [1, 1, 3, 3]]], axis=2)
        moved = corners @ forward[:, :2].T + forward[:, 2]
        hull = np.hstack([moved.min(axis=1), moved.max(axis=1)])
        xyxy = self._cut(hull)
        sides_before, sides_hull, sides = (each[:, 2:] - each[:, :2] for each in (before, hull, xyxy))
        exists = (sides > 0).all(axis=1)
        is_small = (sides.min(axis=1) < LEAST_SIDE) & (sides_before.min(axis=1) >= LEAST_SIDE)
        is_ignored = torch.from_numpy(is_small | (sides.prod(axis=1) < self.least_visible * sides_hull.prod(axis=1)))
        is_ignored = is_ignored.to(boxes.xyxy.device)
        if boxes.is_ignored is not None:
            is_ignored |= boxes.is_ignored
        return replace(boxes, xyxy=torch.from_numpy(xyxy).to(boxes.xyxy), is_ignored=is_ignored)[
            torch.from_numpy(exists).to(boxes.xyxy.device)
        ]

    def clip(self, clip: Clip, *, start: int, before: Boxes | None = None) -> Clip:
        """The clip as it is played: frames, boxes and what is labelled; of one recording, so of one lane.

        Played backwards, a window ends where it used to begin. The boxes at the end of a played window are therefore
        those of the window before it in the recording, and those of the last one are at the start of the clip.
        ``is_first`` and ``end_us`` stay: the caller fills them in the order of playing.

        Args:
            clip: of the recording, number ``source_clip``.
            start: number of the first frame in the order of playing.
            before: the boxes at the start of the clip, if they are known; otherwise the frame played last has no
                label. Needed where ``is_reversed`` only.

        Raises:
            InputError: if the clip has several lanes or its frames do not fit.
        """
        check_tensor(clip.frames, "T B C H W", "frames", B=1)
        boxes = clip.boxes
        is_labelled = clip.is_labelled
        if self.is_reversed:
            boxes = [Boxes.empty() if before is None else before, *boxes[:-1]][::-1]
            is_labelled = torch.cat([is_labelled.new_full((1, 1), before is not None), is_labelled[:-1]]).flip(0)
        return replace(
            clip,
            frames=self.frames(clip.frames, start=start),
            boxes=[self.boxes(each) for each in boxes],
            is_labelled=is_labelled,
        )

    @property
    def _moves(self) -> bool:
        return self.matrix != UNMOVED

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        inverse = np.linalg.inv([*self.matrix, (0, 0, 1)])[:2]
        return find_places(np.array(self.matrix), inverse, *self.size_hw)

    def _sources(self, count: int) -> np.ndarray:
        """The channel that each played channel shows, or -1."""
        if self.channels is None:
            return np.arange(count)
        sources = []
        for n, channel in enumerate(self.channels):
            if self.dropped_polarity is not None and channel.polarity == self.dropped_polarity:
                sources.append(-1)
            elif self.is_reversed and channel.bin is not None:
                sources.append(self.channels.index(mirrored(channel, self.channels)))
            else:
                sources.append(n)
        return np.array(sources)

    def _cut(self, xyxy: np.ndarray) -> np.ndarray:
        height, width = self.size_hw
        return np.clip(xyxy, 0, [width, height, width, height])


GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
WIDE = np.int64(0)  # added to an int8, makes room for 128, the size of its smallest number


@njit(nogil=True, cache=True)
def find_places(forward, inverse, height, width):
    """Where the pixels of a plane are shown in the moved plane.

    A moved pixel shows the pixel under its centre. A pixel under no centre is shown where its own centre goes, so that
    everything that stays in the frame is shown at least once. The centre of pixel c is at c + 0.5.

    Args:
        forward, inverse: (2, 3) matrices, from (x, y, 1) of the plane to (x, y) of the moved plane and back.
        height, width: of both.

    Returns:
        starts (H * W + 1,) and places, both int32: flat pixel n is shown at ``places[starts[n] : starts[n + 1]]``.
    """
    size = height * width
    pairs = np.empty((2 * size, 2), np.int32)
    count = 0
    starts = np.zeros(size + 1, np.int32)
    for moved in range(size):
        pixel = _follow(inverse, moved, height, width)
        if pixel >= 0:
            pairs[count] = pixel, moved
            starts[pixel + 1] += 1
            count += 1
    for pixel in range(size):
        if starts[pixel + 1] == 0:
            moved = _follow(forward, pixel, height, width)
            if moved >= 0:
                pairs[count] = pixel, moved
                starts[pixel + 1] = 1
                count += 1
    starts = np.cumsum(starts).astype(np.int32)
    places = np.empty(count, np.int32)
    free = starts.copy()
    for n in range(count):
        pixel = pairs[n, 0]
        places[free[pixel]] = pairs[n, 1]
        free[pixel] += 1
    return starts, places


@njit(nogil=True, cache=True)
def _follow(matrix, pixel, height, width):
    """The pixel that the centre of ``pixel`` goes to, or -1."""
    x, y = pixel % width + 0.5, pixel // width + 0.5
    across = math.floor(matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2])
    down = math.floor(matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2])
    return down * width + across if 0 <= across < width and 0 <= down < height else -1


@njit(nogil=True, cache=True)
def move(planes, words, frame_order, channel_order, starts, places, share, is_count, keys, moved):
    """Fill ``moved``, (F, C, H * W), with ``planes`` of that shape.

    Where several pixels are shown at one place, the one farthest from 0 wins. To find the few pixels that are not 0,
    whole words are looked at first, and the lists are made without a branch that could be guessed wrongly.

    Args:
        planes: (F, C, H * W), the frames as they were.
        words: the memory of ``planes`` as larger integers, (F, C, N).
        frame_order, channel_order: the frame and the channel to show in each place; a channel of -1 is empty.
        starts, places: of ``find_places``.
        share: of the events that are lost, in 65536ths.
        is_count: whether numbers are counts, of which every event is lost by itself, or are lost as a whole.
        keys: (F,) uint64, seeds of the losses of each frame.
        moved: written to.
    """
    size = planes.shape[2]
    each = planes.shape[2] // words.shape[2]
    busy = np.empty(words.shape[2] + 1, np.int32)
    found = np.empty(size + 1, np.int32)
    for frame in range(len(frame_order)):
        key = _mixed(keys[frame])
        for channel in range(len(channel_order)):
            target = moved[frame, channel]
            target[:] = 0
            if channel_order[channel] < 0:
                continue
            source, source_words = (
                planes[frame_order[frame], channel_order[channel]],
                words[frame_order[frame], channel_order[channel]],
            )
            count = 0
            for word in range(len(source_words)):
                busy[count] = word * each
                count += source_words[word] != 0
            listed = 0
            for n in range(count):
                for pixel in range(busy[n], busy[n] + each):
                    found[listed] = pixel
                    listed += source[pixel] != 0
            for n in range(listed):
                pixel = found[n]
                value = source[pixel] + WIDE
                if share > 0:
                    value = _thinned(value, share, is_count, key + np.uint64(channel * size + pixel) * FIRST)
                for at in range(starts[pixel], starts[pixel + 1]):
                    place = places[at]
                    if abs(value) > abs(target[place] + WIDE):
                        target[place] = value


@njit(nogil=True, cache=True)
def _thinned(value, share, is_count, key):
    """What is left of a number when ``share`` 65536ths of its events are lost."""
    if not is_count:
        return value * (np.int64(_mixed(key) & np.uint64(0xFFFF)) >= share)
    size = abs(np.int64(value))
    lost = 0
    draws = key
    for event in range(size):
        draws = _mixed(key + np.uint64(event // 4) * GOLDEN) if event % 4 == 0 else draws >> np.uint64(16)
        lost += np.int64(draws & np.uint64(0xFFFF)) < share
    return value - lost if value > 0 else value + lost


@njit(nogil=True, cache=True)
def _mixed(key):
    """64 random bits that depend on ``key`` alone: the output step of SplitMix64 (https://prng.di.unimi.it)."""
    key = (key ^ (key >> np.uint64(30))) * FIRST
    key = (key ^ (key >> np.uint64(27))) * SECOND
    return key ^ (key >> np.uint64(31))


SEED_TAG = 3  # sets the random numbers apart from those of videos, pauses and order


def draw_transform(
    config: AugmentConfig,
    *,
    seed: int,
    recording: int,
    epoch: int,
    size_hw: tuple[int, int],
    channels: Sequence[Channel] | None = None,
) -> Transform:
    """The change of a recording in an epoch: a pure function. A blank lane, recording -1, is never changed.

    Changing a probability leaves what the others draw as it was.

    Args:
        config: how likely and how strong each change is.
        seed, recording, epoch: what it is drawn from.
        size_hw: height and width of the frames.
        channels: what each channel of a frame shows; None if unknown.

    Raises:
        InputError: if a polarity may be dropped or a recording played backwards and ``channels`` do not say how.
    """
    _check_channels(config, channels)
    if recording < 0:
        return Transform(size_hw)
    random = np.random.default_rng([SEED_TAG, seed, recording, epoch])
    chances = random.random(7)
    amounts = random.random(9)
    (height, width) = size_hw
    matrix = np.eye(3)
    if chances[0] < config.flip:
        matrix = _matrix([[-1, 0], [0, 1]], width, 0) @ matrix
    if chances[1] < config.zoom:
        is_in = amounts[0] < config.zoom_in_share
        smallest, largest = config.zoom_in if is_in else config.zoom_out
        factor = smallest + amounts[1] * (largest - smallest)
        factor = factor if is_in else 1 / factor
        matrix = _matrix(np.eye(2) * factor, *((1 - factor) * amounts[2:4] * (width, height))) @ matrix
    if chances[2] < config.rotate:
        angle = math.radians((2 * amounts[4] - 1) * config.max_rotation)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        centre = np.array([width / 2, height / 2])
        matrix = _matrix(turn, *(centre - turn @ centre)) @ matrix
    if chances[3] < config.translate:
        shift = (2 * amounts[5:7] - 1) * config.max_shift * (width, height)
        matrix = _matrix(np.eye(2), *np.rint(shift)) @ matrix
    return Transform(
        size_hw,
        matrix=tuple(tuple(row) for row in matrix[:2].tolist()),
        channels=None if channels is None else tuple(channels),
        dropped_polarity=int(amounts[7] < 0.5) if chances[4] < config.polarity_dropout else None,
        dropped_share=float(amounts[8] * config.max_dropped) if chances[5] < config.event_dropout else 0.0,
        is_reversed=bool(chances[6] < config.time_flip),
        least_visible=config.least_visible,
        key=int(random.integers(2**63)),
    )


def _matrix(linear: Any, across: float, down: float) -> np.ndarray:
    return np.block([[np.array(linear), np.array([[across], [down]])], [np.array([[0, 0, 1]])]])


def _check_channels(config: AugmentConfig, channels: Sequence[Channel] | None) -> None:
    if config.polarity_dropout and (channels is None or any(each.polarity not in (0, 1) for each in channels)):
        raise InputError(
            "polarity_dropout must be 0 for this representation: its channels are not known to have one polarity each."
        )
    if config.time_flip and (channels is None or any(each.bin is None for each in channels)):
        raise InputError("time_flip must be 0 for this representation: it is not known how its frames look backwards.")
    for channel in channels or () if config.time_flip else ():
        if mirrored(channel, channels or ()) not in (channels or ()):
            raise InputError(
                "time_flip must be 0 for this representation: no channel shows what that of polarity "
                f"{channel.polarity} and bin {channel.bin} would show backwards."
            )


def mirrored(channel: Channel, channels: Sequence[Channel]) -> Channel:
    """What a channel shows of events that are played backwards: the other polarity, in the bin as far from the end."""
    assert channel.bin is not None
    last = max(each.bin or 0 for each in channels)
    opposite = 1 - channel.polarity if isinstance(channel.polarity, int) else channel.polarity
    return Channel(opposite, last - channel.bin)
