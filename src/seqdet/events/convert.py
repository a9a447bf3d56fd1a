"""Write a recording, or a part of it, in another format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..checks import InputError, check_at_least, check_choice
from .array import Events
from .files import Recording
from .hdf5_writer import write_hdf5
from .npy import write_npz
from .writers import write_dat, write_evt2, write_evt3

WRITERS: dict[str, Callable[..., None]] = {
    "evt2": write_evt2,
    "evt3": write_evt3,
    "dat": write_dat,
    "hdf5": write_hdf5,
    "npz": write_npz,
}
FORMATS = {".raw": "evt3", ".dat": "dat", ".hdf5": "hdf5", ".h5": "hdf5", ".npz": "npz"}
"""The format that a name ends in if none is given."""


def convert(
    recording: Recording,
    target: Path,
    *,
    encoding: str | None = None,
    start_us: int | None = None,
    duration_us: int | None = None,
    roi: tuple[int, int, int, int] | None = None,
) -> None:
    """Write ``target``; an existing file is replaced once the new one is complete. Memory is bounded.

    Args:
        recording: what to write; times stay as they are.
        target: the file.
        encoding: a key of ``WRITERS``; by the ending of the name, see ``FORMATS``, if None.
        start_us: no event before this; the first event if None.
        duration_us: so much from ``start_us`` on, or from the first event; to the end if None.
        roi: x1, y1, x2, y2 in pixels, half open: only events within, which keep their coordinates.

    Raises:
        InputError: if the format is not one that can be written, a range is empty, or the file cannot be written.
    """
    if encoding is None:
        check_choice(target.suffix, FORMATS, "the ending of the file's name")
        encoding = FORMATS[target.suffix]
    check_choice(encoding, WRITERS, "encoding")
    if duration_us is not None:
        check_at_least(duration_us, 1, "duration_us")
    if roi is not None and not (0 <= roi[0] < roi[2] and 0 <= roi[1] < roi[3]):
        raise InputError(f"roi must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, got {roi}.")
    WRITERS[encoding](target, _part(recording, start_us, duration_us, roi), size_hw=recording.size_hw)


def _part(
    recording: Recording, start_us: int | None, duration_us: int | None, roi: tuple[int, int, int, int] | None
) -> Iterator[Events]:
    """The events wanted, in pieces, in the order of the file."""
    for chunk in recording.chunks(start_us):
        if not len(chunk):
            continue
        start_us = int(chunk.t[0]) if start_us is None else start_us
        keep = chunk.t >= start_us
        if duration_us is not None:
            keep &= chunk.t < start_us + duration_us
        if roi is not None:
            x1, y1, x2, y2 = roi
            keep &= (chunk.x >= x1) & (chunk.x < x2) & (chunk.y >= y1) & (chunk.y < y2)
        yield chunk[keep]
