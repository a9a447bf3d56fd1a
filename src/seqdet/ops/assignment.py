"""The assignment problem: which row goes to which column, so that the sum of the costs is least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from .boxes import rows_at

LARGEST_COST = 1e9
"""What costs that are no numbers count as; the others are kept below."""


def assigned(costs: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """The row (N, M) int64 of every column in the cheapest assignment of N problems, -1 without.

    As many pairs are made as there are rows, or columns that exist, whichever are fewer. Hungarian method by shortest
    augmenting paths (Jonker and Volgenant, doi 10.1007/BF02278710), in time fewer squared times more.

    Args:
        costs: (N, Q, M) of a row with a column; NaN and infinite ones are taken as ``LARGEST_COST``.
        exists: (N, M) bool, the columns that are to be assigned.
    """
    sound = np.nan_to_num(costs.astype(np.float64), nan=LARGEST_COST, posinf=LARGEST_COST, neginf=-LARGEST_COST)
    return _assigned(sound.clip(-LARGEST_COST, LARGEST_COST), exists)


def in_order(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[Tensor]:
    """What a head of queries says, with the queries of every frame in the order in which they are most like ``wanted``.

    Which query finds an object hangs on rounding. Each stands in one place, so what only one side says is seen.

    Args:
        found, wanted: one tensor (F, A, numbers) for each output.
    """
    scales = [each.abs().amax().clamp(min=torch.finfo(each.dtype).tiny) for each in wanted]
    mine, theirs = (
        torch.cat([each.flatten(2) / scale for each, scale in zip(outputs, scales, strict=True)], dim=2)
        for outputs in (wanted, found)
    )
    apart = torch.cdist(theirs, mine, p=torch.inf).numpy(force=True)
    order = torch.from_numpy(assigned(apart, np.ones(mine.shape[:2], bool))).to(mine.device)
    return [rows_at(each, order) for each in found]


@njit(cache=True, nogil=True)
def _assigned(costs: np.ndarray, exists: np.ndarray) -> np.ndarray:
    problems, rows, columns = costs.shape
    found = np.full((problems, columns), -1, np.int64)
    for problem in range(problems):
        chosen = np.nonzero(exists[problem])[0]
        if not rows or not len(chosen):
            continue
        if len(chosen) <= rows:
            few = np.empty((len(chosen), rows))
            for number, column in enumerate(chosen):
                few[number] = costs[problem, :, column]
            row_of = _matched(few)
            for row in range(rows):
                if row_of[row] >= 0:
                    found[problem, chosen[row_of[row]]] = row
        else:
            few = np.empty((rows, len(chosen)))
            for number, column in enumerate(chosen):
                few[:, number] = costs[problem, :, column]
            row_of = _matched(few)
            for number, column in enumerate(chosen):
                found[problem, column] = row_of[number]
    return found


@njit(cache=True, nogil=True)
def _matched(costs: np.ndarray) -> np.ndarray:
    """The row of every column, -1 without; there are at least as many columns as rows, and every row gets one."""
    rows, columns = costs.shape
    row_price = np.zeros(rows)
    column_price = np.zeros(columns + 1)
    row_of = np.full(columns + 1, -1, np.int64)  # the last column is where a path begins
    for start in range(rows):
        row_of[columns] = start
        column = columns
        least = np.full(columns, np.inf)
        before = np.full(columns, columns, np.int64)
        used = np.zeros(columns + 1, np.bool_)
        while row_of[column] >= 0:
            used[column] = True
            row = row_of[column]
            step = np.inf
            nearest = -1
            for other in range(columns):
                if used[other]:
                    continue
                price = costs[row, other] - row_price[row] - column_price[other]
                if price < least[other]:
                    least[other] = price
                    before[other] = column
                if least[other] < step:
                    step = least[other]
                    nearest = other
            for other in range(columns + 1):
                if used[other]:
                    row_price[row_of[other]] += step
                    column_price[other] -= step
                elif other < columns:
                    least[other] -= step
            column = nearest
        while column != columns:
            row_of[column] = row_of[before[column]]
            column = before[column]
    return row_of[:columns]
