"""Labels of recordings: boxes with a time, a class and an identity."""

from __future__ import annotations

import numpy as np

EVENT_BBOX = np.dtype(
    [
        ("t", "<i8"),
        ("x", "<f4"),
        ("y", "<f4"),
        ("w", "<f4"),
        ("h", "<f4"),
        ("class_id", "<u4"),
        ("track_id", "<u4"),
        ("class_confidence", "<f4"),
    ],
    align=True,
)
"""One box of a label file, 40 bytes: microseconds, the top left corner and the size in pixels, class, track, score.
Layout of the Prophesee automotive dataset toolbox (Apache-2.0)."""
