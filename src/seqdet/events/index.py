"""The index of a recording, kept in a cache folder from one opening to the next: where decoding can begin.

The folder is ``$SEQDET_CACHE``, else ``$XDG_CACHE_HOME/seqdet``, else ``~/.cache/seqdet``. Nothing depends on it: an
index that cannot be written is not kept, and one that is damaged or of an older state of the recording is not used.
"""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import InputError
from ..files import replacing

VERSION = 2
NAMES = ("facts", "positions", "latest_us", "states")
LARGEST_BYTES = 1 << 26  # of an index; one of 100 GB of recording has 5 MB


class Mark(NamedTuple):
    """A place from which decoding can go on: byte, the greatest event time before it, and the state of the kernel."""

    position: int
    latest_us: int
    state: np.ndarray


class Index(NamedTuple):
    """What a whole pass finds: marks, of which the first is the begin; how many events, and the time of the first
    and of the last, 0 where there is none."""

    marks: list[Mark]
    events: int
    first_us: int
    last_us: int

    @property
    def span_us(self) -> tuple[int, int] | None:
        """The time of the first and of the last event; None without events."""
        return (self.first_us, self.last_us) if self.events else None


class Stamp(NamedTuple):
    """What changes when a file is written."""

    size: int
    modified_ns: int


def stamp_of(path: Path) -> Stamp:
    """The present one. Raises OSError if there is no such file."""
    found = path.stat()
    return Stamp(found.st_size, found.st_mtime_ns)


def save_index(path: Path, stamp: Stamp, index: Index, *, limits_hw: tuple[int, int]) -> None:
    """Keep the index of the recording ``path``, as it is without events beyond those limits, if it can be written."""
    with suppress(InputError, OSError, RuntimeError):  # the last: nobody's home is known
        place = _place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as temporary, temporary.open("wb") as file:
            columns = [[VERSION, *stamp, *limits_hw, *index[1:]], *zip(*index.marks, strict=True)]
            facts, positions, latest_us, states = (np.array(column, np.int64) for column in columns)
            np.savez(file, facts=facts, positions=positions, latest_us=latest_us, states=states)


def load_index(path: Path, stamp: Stamp, first: Mark, word_bytes: int, *, limits_hw: tuple[int, int]) -> Index | None:
    """The index kept for ``path``; None if there is none, or it cannot be that of a file with this stamp and limits.

    Args:
        first: the begin of the words; its state holds the options that matter.
        word_bytes: marks lie between words of this size.
    """
    try:
        place = _place(path)
        if place.stat().st_size > LARGEST_BYTES:
            return None
        with np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as arrays:
            facts, positions, latest_us, states = (arrays[name] for name in NAMES)
        if facts[:5].tolist() != [VERSION, *stamp, *limits_hw] or states.shape != (len(positions), len(first.state)):
            return None
        marks = [Mark(*each) for each in zip(positions.tolist(), latest_us.tolist(), states, strict=True)]
        events, first_us, last_us = facts[5:].tolist()
        is_sound = all(array.dtype == np.int64 for array in (facts, positions, latest_us, states))
        is_sound &= marks[0][:2] == first[:2] and np.array_equal(marks[0].state, first.state)
        is_sound &= bool((np.diff(positions) > 0).all() and (np.diff(latest_us) >= 0).all())
        is_sound &= positions[-1] <= stamp.size and not ((positions - first.position) % word_bytes).any()
    except Exception:  # zip, npy and numpy have many ways to say that a file is damaged
        return None
    return Index(marks, events, first_us, last_us) if is_sound else None


def _place(path: Path) -> Path:
    """The file of an index. Raises RuntimeError if there is no home folder."""
    if chosen := os.environ.get("SEQDET_CACHE"):
        folder = Path(chosen)
    else:
        caches = os.environ.get("XDG_CACHE_HOME")
        folder = (Path(caches) if caches else Path.home() / ".cache") / "seqdet"
    return folder / "indexes" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.npz"
