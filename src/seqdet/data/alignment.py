"""Which window a label belongs to."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..checks import check_at_least, check_choice

Policy = Literal["nearest", "causal"]


def align(labelled_us: np.ndarray, ends_us: np.ndarray, *, policy: Policy, tolerance_us: int) -> np.ndarray:
    """The labelled time that every window shows, (N,) int64 as indices into ``labelled_us``, or -1 for none.

    ``nearest`` gives a labelled time to the window whose end is nearest to it; ``causal`` to the last window that ends
    at or before it, which sees nothing of what comes after the label. A time farther from the end than the tolerance
    is given to none. Of several times that come to one window it shows the nearest; of two as near, the earlier.

    Args:
        labelled_us: (M,) int64, rising.
        ends_us: (N,) int64, rising, the end of every window.
        policy: one of the two.
        tolerance_us: the farthest that a labelled time may be from the end of its window.
    """
    shown = np.full(len(ends_us), -1)
    windows = window_of(labelled_us, ends_us, policy=policy, tolerance_us=tolerance_us)
    kept = np.flatnonzero(windows >= 0)
    distances = np.abs(labelled_us[kept] - ends_us[windows[kept]])
    farthest_first = kept[np.lexsort((-kept, -distances))]
    shown[windows[farthest_first]] = farthest_first
    return shown


def window_of(labelled_us: np.ndarray, ends_us: np.ndarray, *, policy: Policy, tolerance_us: int) -> np.ndarray:
    """The window that every labelled time is given to, (M,) int64, or -1 for none. Arguments as those of ``align``."""
    check_choice(policy, ("nearest", "causal"), "policy")
    check_at_least(tolerance_us, 0, "tolerance_us")
    if not len(labelled_us) or not len(ends_us):
        return np.full(len(labelled_us), -1)
    before = np.searchsorted(ends_us, labelled_us, side="right") - 1
    if policy == "nearest":
        after = np.minimum(before + 1, len(ends_us) - 1)
        earlier = np.maximum(before, 0)
        is_nearer = np.abs(ends_us[after] - labelled_us) < np.abs(ends_us[earlier] - labelled_us)
        windows = np.where(is_nearer, after, earlier)
    else:
        windows = before
    return np.where((windows >= 0) & (np.abs(labelled_us - ends_us[windows]) <= tolerance_us), windows, -1)


def length_between(labelled_us: np.ndarray, window_us: int) -> int:
    """The length nearest to ``window_us`` of which a whole number lies between two of the times (M,) int64, rising."""
    if len(labelled_us) < 2:
        return window_us
    period_us = float(np.median(np.diff(labelled_us)))
    return max(1, round(period_us / max(1, round(period_us / window_us))))
