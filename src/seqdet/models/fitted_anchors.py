"""Shapes of anchors that fit the boxes of a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..checks import InputError, check_at_least

Shapes = tuple[tuple[float, float], ...]
"""Width and height of every anchor of a cell, in cells: pixels double from map to map with the stride."""
LEAST_BOXES = 20
"""Boxes for each shape: fewer tell of themselves, and not of the dataset."""
MOST_BOXES = 20_000
"""Boxes that are looked at, spread over all by their size."""
USUAL_CELLS = 4.0
"""Side of a usual anchor, from which the search begins."""
ROUNDS = 100
DECIMALS = 3


def fitted_anchors(sizes_wh: np.ndarray, strides: Sequence[int], *, per_cell: int) -> Shapes:
    """The shapes whose anchors overlap the boxes best, centre on centre, on whichever map; wide ones first.

    k-means with the distance 1 - IoU (Redmon and Farhadi, arXiv 1612.08242, section 2), but that a shape stands on
    every map, with the stride: a box belongs to the anchor of the largest IoU of all maps. The same boxes in any order
    give the same shapes.

    Args:
        sizes_wh: (N, 2) width and height of boxes in pixels; those without area do not count.
        strides: of the maps, finest first.
        per_cell: how many shapes.

    Raises:
        InputError: if there are too few boxes, or fewer different ones than shapes.
    """
    check_at_least(per_cell, 1, "per_cell")
    sizes = np.asarray(sizes_wh, np.float64).reshape(-1, 2)
    sizes = sizes[np.isfinite(sizes).all(axis=1) & (sizes > 0).all(axis=1)]
    if len(sizes) < LEAST_BOXES * per_cell or len(np.unique(sizes, axis=0)) < per_cell:
        raise InputError(
            f"anchors must be a preset where the training data have few boxes: {per_cell} shapes are fitted to at "
            f"least {LEAST_BOXES * per_cell}, got {len(sizes)} of {len(np.unique(sizes, axis=0))} sizes."
        )
    sizes = sizes[np.lexsort(sizes.T)]
    sizes = sizes[np.linspace(0, len(sizes) - 1, min(len(sizes), MOST_BOXES)).astype(np.int64)]
    scales = np.asarray(strides, np.float64)
    side = np.sqrt(sizes.prod(axis=1))
    level = np.abs(np.log(side[:, None] / scales / USUAL_CELLS)).argmin(axis=1)
    in_cells = np.log(sizes / scales[level, None])
    found = []
    for order in (in_cells[:, 1] - in_cells[:, 0], in_cells.sum(axis=1)):  # by aspect, by area
        groups = np.array_split(np.argsort(order, kind="stable"), per_cell)
        start = np.exp([in_cells[group].mean(axis=0) for group in groups])
        found.append(_improved(sizes, scales, start))
    _, shapes = max(found, key=lambda each: each[0])
    shapes = np.round(shapes[np.argsort(shapes[:, 1] / shapes[:, 0], kind="stable")], DECIMALS)
    return tuple((float(width), float(height)) for width, height in np.maximum(shapes, 10.0**-DECIMALS))


def mean_overlap(sizes_wh: np.ndarray, strides: Sequence[int], shapes: Shapes) -> float:
    """The mean over boxes of the largest IoU that an anchor at their centre has.

    Args:
        sizes_wh: (N, 2) width and height of boxes in pixels.
        strides: of the maps.
        shapes: of the anchors.
    """
    best, _ = _assigned(np.asarray(sizes_wh, np.float64), np.asarray(strides, np.float64), np.array(shapes))
    return float(best.mean())


def _improved(sizes: np.ndarray, scales: np.ndarray, shapes: np.ndarray) -> tuple[float, np.ndarray]:
    """The best mean IoU on the way of k-means from some shapes, and the shapes there."""
    best = -1.0
    kept = shapes
    for _ in range(ROUNDS):
        overlap, anchor = _assigned(sizes, scales, shapes)
        if overlap.mean() <= best:
            break
        best = overlap.mean()
        kept = shapes
        shape = anchor % len(shapes)
        in_cells = np.log(sizes / scales[anchor // len(shapes), None])
        counts = np.bincount(shape, minlength=len(shapes))
        sums = np.stack([np.bincount(shape, in_cells[:, axis], minlength=len(shapes)) for axis in range(2)], axis=1)
        moved = np.exp(sums / np.maximum(counts, 1)[:, None])
        worst = np.argsort(overlap, kind="stable")[: len(shapes)]
        nearest = np.abs(np.log(np.sqrt(sizes[worst].prod(axis=1))[:, None] / scales / USUAL_CELLS)).argmin(axis=1)
        shapes = np.where(counts[:, None] > 0, moved, sizes[worst] / scales[nearest, None])  # nobody's: what fits worst
    return best, kept


def _assigned(sizes: np.ndarray, scales: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest IoU of every box with an anchor at its centre, and of which: map * number of shapes + shape."""
    anchors = (scales[:, None, None] * shapes).reshape(-1, 2)
    shared = np.minimum(sizes[:, None], anchors).prod(axis=2)
    overlap = shared / (sizes.prod(axis=1)[:, None] + anchors.prod(axis=1) - shared)
    return overlap.max(axis=1), overlap.argmax(axis=1)
