"""What is labelled, and what became of its labels: the same for recordings of events and for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .sequences import PictureSequence


class Source(NamedTuple):
    """A recording or a sequence of pictures that may have labels.

    key: under which its labels are kept. path: of its file, or of the folder of its images. said: the split that its
    folder says. target: its name in the dataset. sequence: its pictures, if it is one of these.
    """

    key: str
    path: Path
    said: str | None
    target: str
    sequence: PictureSequence | None = None

    @property
    def name(self) -> str:
        """Without an ending."""
        return self.key if self.sequence is None else self.sequence.name


class Labelled(NamedTuple):
    """One with its labels. target: where it belongs. boxes: (N,) ``EVENT_BBOX`` with classes of the files.
    labelled_us: (M,) times at which somebody looked. times_us: (T,) times of its images, if it is a folder of them."""

    source: Source
    target: Path
    boxes: np.ndarray
    labelled_us: np.ndarray
    times_us: np.ndarray | None = None
