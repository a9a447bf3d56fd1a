"""Of which split of the dataset each recording is: as the user says, as its folder says, or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.checking import OTHER_NAMES
from ..data.dataset import SPLIT_FOLDERS
from .options import ImportOptions, ImportReport


def splits(said: Sequence[str | None], options: ImportOptions, report: ImportReport) -> list[str]:
    """The split of every recording, and why it is that one is told.

    Args:
        said: for each what its folder says, see ``split_in``.
        options: which go before that.
        report: to tell.
    """
    if options.ratios is None:
        found = []
        for each in said:
            split = options.split or each or "train"
            why = "--split says" if options.split else "their folder says" if each else "no folder says otherwise"
            report.told[f"{report.what} are of {split}, as {why}"] += 1
            found.append(split)
        return found
    report.told[f"{report.what} are split by --ratios, with the seed {options.seed}"] += len(said)
    ends = np.rint(np.cumsum(options.ratios) / sum(options.ratios) * len(said))
    order = np.random.default_rng(options.seed).permutation(len(said))
    return [SPLIT_FOLDERS[int(np.searchsorted(ends, place, side="right"))] for place in np.argsort(order)]


def split_in(path: Path, named: Path) -> str | None:
    """The split of which the innermost folder of a file has the name, from the folder that was named on.

    Only that folder, and those in it, are asked: what is above it is the user's own order.
    """
    if not named.is_dir():
        return None
    top = named.name if named.name not in ("", "..") else named.resolve().name
    parts = (top, *path.parts[len(named.parts) : -1])
    return next((split for part in reversed(parts) if (split := as_split(part))), None)


def as_split(folder: str) -> str | None:
    """The split that a folder of that name holds, ``val`` for ``valid``; None if it is no name of one."""
    known = OTHER_NAMES.get(folder.lower(), folder)
    return known if known in SPLIT_FOLDERS else None
