"""What the channels of a frame show: which polarity, and which part of the window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..checks import InputError


class Channel(NamedTuple):
    """What a channel shows: events of ``polarity`` 0 or 1, or None: brighter less darker ones; of time bin ``bin``.

    A ``bin`` of None is none that could be played backwards.
    """

    polarity: int | None
    bin: int | None


def check_frame_type(dtype: np.dtype, representation: str) -> None:
    """Raise ``InputError`` unless a detector takes frames of that type, which a representation has."""
    if dtype in (np.uint8, np.int8) or dtype.kind == "f":
        return
    raise InputError(
        f"frames to learn from must be uint8, int8 or floating point, and those of {representation} are {dtype}. "
        "Choose stacked_histogram, or a time_surface with a linear or exponential decay."
    )


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
