"""Recordings to tensor files: in several processes, interrupted and started again at will."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..checks import InputError, check_at_least
from ..files import alone_in, make_folder, write_bytes
from ..progress import Progress
from .estimate import estimate
from .jobs import UNFINISHED, Job, Options, finish, plan, stretches
from .labels import CLASSES_FILE
from .layouts import Found, find_recordings
from .processes import each
from .segments import make

__all__ = ["Options", "Outcome", "estimate", "precompute"]


@dataclass
class Outcome:
    """What ``precompute`` did.

    made, found: recordings that were finished, and that were there before. windows, bytes: of those made. dropped: what
    they left out, by reason. failed: for each recording that could not be made, why.
    """

    made: int = 0
    found: int = 0
    windows: int = 0
    bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The facts in words."""
        text = [f"{self.made} recordings, {self.windows:,} windows, {self.bytes / 1e6:,.1f} MB"]
        if self.found:
            text.append(f"{self.found} recordings were there before")
        return text + [f"left out: {count:,} {reason}" for reason, count in self.dropped.items()]


def precompute(paths: Sequence[Path], options: Options, *, workers: int = 1) -> Outcome:
    """Write the tensors of recordings, with their labels beside.

    ``<name>.h5`` (see ``store``) and ``<name>_bbox.npy`` for each recording, ``<name>_<start>_<end>.h5`` for each part
    of a longer one; folders keep their tree and their names of classes. What is finished stays when the work is
    interrupted; started again, it goes on and ends with the same bytes. One bad recording does not stop the others.

    Args:
        paths: recordings, and folders of them.
        options: what to make of them.
        workers: processes.

    Raises:
        InputError: if there is nothing to do or the folder cannot be written.
        Stopped: if Ctrl-C was pressed.
    """
    check_at_least(workers, 1, "workers")
    found = find_recordings(paths)
    make_folder(options.out)
    with alone_in(options.out):
        _copy_names(paths, options.out)
        return _precompute(found, options, workers)


def _precompute(found: Sequence[Found], options: Options, workers: int) -> Outcome:
    outcome = Outcome()
    jobs: dict[int, Job] = {}
    failed: dict[int, str] = {}
    with Progress("looking", unit="recording", total=len(found)) as shown:
        for n, job in each(partial(plan, options=options), found, workers=min(workers, len(found)), shown=shown):
            if isinstance(job, InputError):
                failed[n] = str(job)
            elif job.parts:
                jobs[n] = job
    outcome.found = len(found) - len(jobs) - len(failed)
    work = [(n, stretch) for n in sorted(jobs) for stretch in stretches(jobs[n], options)]
    left = Counter(n for n, _ in work)
    windows = sum(stretch.windows for _, stretch in work)
    with Progress("tensors", unit="window", total=windows, stays=bool(work)) as shown:
        for k, dropped in each(
            make, [stretch for _, stretch in work], workers=min(workers, max(len(work), 1)), shown=shown
        ):
            n, stretch = work[k]
            left[n] -= 1
            if isinstance(dropped, InputError):
                failed[n] = str(dropped)
                continue
            outcome.dropped += dropped
            outcome.windows += stretch.windows
            if not left[n] and n not in failed:
                try:
                    size, lost = finish(jobs[n], options)
                except InputError as error:
                    failed[n] = str(error)
                    continue
                outcome.bytes += size
                outcome.dropped += lost
                outcome.made += 1
    outcome.failed = [failed[n] for n in sorted(failed)]
    if not failed:
        shutil.rmtree(options.out / UNFINISHED, ignore_errors=True)
    return outcome


def _copy_names(paths: Sequence[Path], out: Path) -> None:
    """Take the names of the classes along."""
    for path in paths:
        names = path / CLASSES_FILE
        if names.is_file():
            write_bytes(out / CLASSES_FILE, names.read_bytes())
