"""Recordings to tensor files: in several processes, interrupted and started again at will."""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..checks import InputError, check_at_least
from ..events.accounts import Account
from ..files import write_bytes
from ..locks import alone_in
from ..progress import Progress, duration, progress
from .classes import read_classes
from .jobs import UNFINISHED, Job, Options, finish, plan, stretches
from .labels import CLASSES_FILE
from .layouts import Found, find_recordings
from .processes import each
from .segments import Segment, make
from .store import TensorFile

log = logging.getLogger(__name__)
__all__ = ["Options", "Outcome", "estimate", "precompute"]


@dataclass
class Outcome:
    """What ``precompute`` did.

    made, found: recordings that were finished, and that were there before. windows, bytes: of those made. accounts:
    what became of the events of each recording, by its name. silent: those without events, of which nothing is made.
    dropped: what else was left out, by reason. failed: for each recording that could not be made, why.
    """

    made: int = 0
    found: int = 0
    windows: int = 0
    bytes: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    silent: list[Path] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The facts in words."""
        text = [f"{self.made} recordings, {self.windows:,} windows, {self.bytes / 1e6:,.1f} MB"]
        if self.found:
            text.append(f"{self.found} recordings were there before")
        if self.silent:
            text.append(f"{len(self.silent)} recordings without events are left out")
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

    Another command that writes there is waited for.

    Raises:
        InputError: if there is nothing to do or the folder cannot be written.
        Stopped: if Ctrl-C was pressed.
    """
    check_at_least(workers, 1, "workers")
    found = find_recordings(paths)
    if options.out.is_dir():  # perhaps complete, and perhaps one that can only be read
        work = _look(found, options, workers)
        if not work.jobs and _names(paths, options.out) is None:
            return _told(work, found)
    with alone_in(options.out, waits=True):
        work = _look(found, options, workers)  # another command may have made some until now
        if (names := _names(paths, options.out)) is not None:
            write_bytes(options.out / CLASSES_FILE, names.read_bytes())
        return _make(found, work, options, workers)


def _told(work: Work, found: Sequence[Found]) -> Outcome:
    """Before anything was made, with a warning about each recording without events."""
    outcome = work.outcome(found)
    for path in outcome.silent:
        log.warning("%s has no events: it is left out.", path)
    return outcome


@dataclass
class Work:
    """What is to be done, and for each recording that cannot be made, why; by the number of the recording.

    accounts, silent: as of ``Outcome``.
    """

    jobs: dict[int, Job] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    accounts: dict[int, Account] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)

    def outcome(self, found: Sequence[Found]) -> Outcome:
        """Before anything was made."""
        return Outcome(
            found=len(found) - len(self.jobs) - len(self.failed) - len(self.silent),
            accounts={str(found[n].place): self.accounts[n] for n in sorted(self.accounts)},
            silent=[found[n].path for n in sorted(self.silent)],
            failed=[self.failed[n] for n in sorted(self.failed)],
        )


def _look(found: Sequence[Found], options: Options, workers: int) -> Work:
    """Find out what there is to do."""
    work = Work()
    with Progress("looking", unit="recording", total=len(found)) as shown:
        for n, job in each(partial(plan, options=options), found, workers=min(workers, len(found)), shown=shown):
            if isinstance(job, InputError):
                work.failed[n] = str(job)
            elif job is None:
                work.silent.add(n)
            else:
                work.accounts |= {n: job.account} if job.account is not None else {}
                work.jobs |= {n: job} if job.parts else {}
    return work


def _make(found: Sequence[Found], work: Work, options: Options, workers: int) -> Outcome:
    outcome, jobs, failed = _told(work, found), work.jobs, work.failed
    pieces = [(n, stretch) for n in sorted(jobs) for stretch in stretches(jobs[n], options)]
    left = Counter(n for n, _ in pieces)
    windows = sum(stretch.windows for _, stretch in pieces)
    with Progress("tensors", unit="window", total=windows, stays=bool(pieces)) as shown:
        for k, failure in each(
            make, [stretch for _, stretch in pieces], workers=min(workers, max(len(pieces), 1)), shown=shown
        ):
            n, stretch = pieces[k]
            left[n] -= 1
            if failure is not None:
                failed[n] = str(failure)
                continue
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


def _names(paths: Sequence[Path], out: Path) -> Path | None:
    """The names of classes to take along, if they are not there yet.

    Raises:
        InputError: if they differ between folders, or those that are there are others.
    """
    target = out / CLASSES_FILE
    found = [path / CLASSES_FILE for path in paths if (path / CLASSES_FILE).is_file()]
    first = target if target.is_file() else None
    for path in found:
        first = first or path
        if read_classes(path.parent) != read_classes(first.parent):
            raise InputError(f"{path} must have the names of classes that {first} has, and has others.")
    return None if first in (None, target) else first


SAMPLED_RECORDINGS, SAMPLES, SAMPLED_WINDOWS = 8, 3, 8


@dataclass(frozen=True)
class Estimate:
    """What is still to do. recordings, windows: how many. frame_bytes: of all frames, unpacked.

    disk_bytes, seconds: extrapolated from a sample. free_bytes: on that disk. failed: for each recording that cannot be
    made, why.
    """

    recordings: int
    windows: int
    frame_bytes: int
    disk_bytes: float
    free_bytes: int
    seconds: float
    failed: list[str]

    def lines(self) -> list[str]:
        """The facts in words."""
        fits = "" if self.disk_bytes < self.free_bytes else ": they do not fit"
        return [
            f"{self.recordings} recordings, {self.windows:,} windows, {self.frame_bytes / 1e9:,.2f} GB of frames",
            f"about {self.disk_bytes / 1e9:,.2f} GB on disk, where {self.free_bytes / 1e9:,.1f} GB are free{fits}",
            f"about {duration(self.seconds)}",
        ]


def estimate(paths: Sequence[Path], options: Options, *, workers: int = 1) -> Estimate:
    """What ``precompute`` would do: some windows of some recordings are made and thrown away.

    Raises:
        InputError: as ``precompute``.
    """
    check_at_least(workers, 1, "workers")
    found = find_recordings(paths)
    with Progress("looking", unit="recording", total=len(found)) as shown:
        planned = each(
            partial(plan, options=options, counts=False), found, workers=min(workers, len(found)), shown=shown
        )
        plans = [job for _, job in planned]
    failed = [str(job) for job in plans if isinstance(job, InputError)]
    jobs = [job for job in plans if isinstance(job, Job) and job.parts]
    windows = sum(part.stop - part.first for job in jobs for part in job.parts)
    chosen = {int(n) for n in np.linspace(0, len(jobs) - 1, SAMPLED_RECORDINGS)} if jobs else set()
    frame_bytes = disk_bytes = seconds = 0.0
    sampled = 0
    with TemporaryDirectory() as folder:
        for n in progress(sorted(chosen), "sampling", unit="recording"):
            firsts = np.linspace(0, max(jobs[n].windows - SAMPLED_WINDOWS, 0), SAMPLES if jobs[n].can_seek else 1)
            for first in sorted({0, *firsts.astype(int).tolist()}):
                path = Path(folder, f"{n}_{first}.h5")
                segment = Segment(path, first, min(SAMPLED_WINDOWS, jobs[n].windows - first))
                stretch = replace(jobs[n].stretch, segments=(segment,))
                if not sampled:  # and the compiler is still to start
                    make(stretch, lambda count: None)
                    path.unlink()
                begin = time.perf_counter()
                make(stretch, lambda count: None)
                taken = time.perf_counter() - begin
                with TensorFile(path) as file:
                    frame_bytes += file.data.nbytes
                    disk_bytes += file.data.id.get_storage_size()
                seconds, sampled = seconds + taken, sampled + segment.windows
    share = windows / max(sampled, 1)
    there = next(path for path in (options.out, *options.out.absolute().parents) if path.exists())
    return Estimate(
        recordings=len(jobs),
        windows=windows,
        frame_bytes=round(frame_bytes * share),
        disk_bytes=disk_bytes * share,
        free_bytes=shutil.disk_usage(there).free,
        seconds=seconds * share / workers,
        failed=failed,
    )
