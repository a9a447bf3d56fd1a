"""How long tensors will take and how much disk they need, before they are made."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..checks import InputError, check_at_least
from ..progress import Progress, duration, progress
from .jobs import Job, Options, plan
from .layouts import find_recordings
from .processes import each
from .segments import Segment, make
from .store import TensorFile

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
