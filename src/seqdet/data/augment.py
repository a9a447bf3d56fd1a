"""Changes to training recordings: one draw per recording and epoch.

A draw holds for all frames of a recording: what a detector remembers stays where it is seen. Frames and boxes move
together. A pixel of a moved frame shows the pixel under its centre, so that counts stay counts and no motion blurs. A
pixel under no centre, as when the frame shrinks, is shown where its own centre goes: no event that stays in the frame is
lost. Of several at one place the number farthest from 0 is shown, not the sum: an edge gives a pixel as many events
from afar as from near.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..checks import InputError
from ..config import AugmentConfig
from ..structures import Boxes, Clip, check_tensor
from . import augment_kernels

LEAST_SIDE = 2.0
"""Pixels. A box that gets narrower or lower than this is neither a target nor an error."""
SEED_TAG = 3  # sets the random numbers apart from those of videos, pauses and order
DIRECT_TYPES = (torch.uint8, torch.int8, torch.float32, torch.float64)  # others pass through float32
MATRIX = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


class Channel(NamedTuple):
    """What a channel shows: events of ``polarity`` 0 or 1, or None: brighter less darker ones; of time bin ``bin``.

    A ``bin`` of None is none that could be played backwards.
    """

    polarity: int | None
    bin: int | None


def channel_order(
    representation: str, channels: int, parameters: Mapping[str, Any] | None = None
) -> tuple[Channel, ...] | None:
    """What each channel of a frame shows, or None if that is not known.

    Args:
        representation: a name of ``events.tensors.REPRESENTATIONS`` or of a folder of RVT.
        channels: of a frame.
        parameters: of the representation, where they are not the usual ones.
    """
    name = representation.partition("_dt=")[0]
    is_split = (parameters or {}).get("split_polarity", True)
    if name in ("difference", "difference_quantized") or (name == "event_cube" and not is_split):
        return tuple(Channel(None, n) for n in range(channels))
    if channels % 2:
        return None
    if name == "stacked_histogram":
        return tuple(Channel(n // (channels // 2), n % (channels // 2)) for n in range(channels))
    if name in ("histogram", "histogram_quantized", "event_cube"):
        return tuple(Channel(n % 2, n // 2) for n in range(channels))
    if name in ("time_surface", "multi_channel_time_surface"):  # the last event becomes the first, which is not there
        return tuple(Channel(n % 2, None) for n in range(channels))
    return None


@dataclass(frozen=True)
class Transform:
    """One change of a recording. The same for all of its clips.

    size_hw: height and width of the frames.
    matrix: from (x, y, 1) to the (x, y) where it is shown, pixels.
    channels: what each channel shows; needed to drop a polarity or to play backwards.
    dropped_polarity: 0 or 1: all its channels are empty.
    dropped_share: of the events that are lost. Numbers of integer types are counts, of which every event is lost by
        itself; others are kept or lost as a whole. It is drawn for each frame from ``key`` and the frame's number.
    is_reversed: the recording is played backwards. Its frames come in reverse order; the time bins of a frame too;
        and what got brighter gets darker. For ``stacked_histogram`` this is exact where bins are whole microseconds;
        what is not is that sensors react to brighter and darker not quite alike, and that an object may be labelled
        at the start of a recording, before it has moved.
    least_visible: a box that keeps less than this share of its area in the frame becomes ignored.
    key: seeds the losses.
    """

    size_hw: tuple[int, int]
    matrix: tuple[tuple[float, ...], ...] = MATRIX
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
        sizes = {"C": len(self.channels)} if self.channels else {}
        check_tensor(frames, pattern, "frames", H=self.size_hw[0], W=self.size_hw[1], **sizes)
        if not (frames.dtype in DIRECT_TYPES or frames.is_floating_point()):
            raise InputError(f"frames must be uint8, int8 or floating point to be augmented, got {frames.dtype}.")
        if self.is_identity:
            return frames
        if frames.dtype not in DIRECT_TYPES:
            return self.frames(frames.float(), start=start).to(frames.dtype)
        time, lanes = len(frames), frames.shape[1:-3].numel()
        planes = np.ascontiguousarray(frames.numpy(force=True)).reshape(time * lanes, -1, math.prod(self.size_hw))
        word = math.gcd(8, planes.shape[2] * planes.itemsize)
        frame_order = np.arange(time * lanes).reshape(time, lanes)
        moved = np.empty_like(planes)
        augment_kernels.move(
            planes,
            planes.view(f"u{word}"),
            (frame_order[::-1] if self.is_reversed else frame_order).reshape(-1),
            self._sources(planes.shape[1]),
            *self._places,
            round(self.dropped_share * 65536),
            planes.dtype.kind in "iu",
            np.random.SeedSequence([self.key, start]).generate_state(time * lanes, np.uint64),
            moved,
        )
        if self.is_reversed and self.channels and self.channels[0].polarity is None:
            moved = np.negative(np.maximum(moved, -127) if moved.dtype == np.int8 else moved)
        return torch.from_numpy(moved).view(frames.shape).to(frames.device)
