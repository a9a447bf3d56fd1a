"""What making tensors will take: disk, time, and which recordings cannot be made, from samples that are thrown away."""

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
from .dataset import find_recordings
from .precompute import PrecomputeConfig, RecordingPlan, Segment, make_segments, plan_recording
from .processes import each
from .store import TensorFile

SAMPLED_RECORDINGS = 8
SAMPLES = 3  # of a recording
SAMPLED_WINDOWS = 8  # of a sample


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


def estimate(paths: Sequence[Path], config: PrecomputeConfig, *, workers: int = 1) -> Estimate:
    """What ``precompute`` would do: some windows of some recordings are made and thrown away.

    Args:
        paths: recordings, and folders of them.
        config: what to make of them.
        workers: processes.

    Raises:
        InputError: as ``precompute``.
    """
    check_at_least(workers, 1, "workers")
    found = find_recordings(paths, pictures=True)
    planned = partial(plan_recording, config=config, counts=False)
    with Progress("looking", unit="recording", total=len(found)) as shown:
        plans = [plan for _, plan in each(planned, found, workers=min(workers, len(found)), shown=shown)]
    failed = [str(plan) for plan in plans if isinstance(plan, InputError)]
    missing = [plan for plan in plans if isinstance(plan, RecordingPlan) and plan.parts]
    windows = sum(part.stop - part.first for plan in missing for part in plan.parts)
    chosen = {int(n) for n in np.linspace(0, len(missing) - 1, SAMPLED_RECORDINGS)} if missing else set()
    frame_bytes = disk_bytes = seconds = 0.0
    sampled = 0
    with TemporaryDirectory() as folder:
        for n in progress(sorted(chosen), "sampling", unit="recording"):
            plan = missing[n]
            firsts = np.linspace(0, max(plan.windows - SAMPLED_WINDOWS, 0), SAMPLES if plan.can_seek else 1)
            for first in sorted({0, *firsts.astype(int).tolist()}):
                path = Path(folder, f"{n}_{first}.h5")
                segment = Segment(path, first, min(SAMPLED_WINDOWS, plan.windows - first))
                batch = replace(plan.batch, segments=(segment,))
                if not sampled:  # and the compiler is still to start
                    make_segments(batch, lambda count: None)
                    path.unlink()
                begin = time.perf_counter()
                make_segments(batch, lambda count: None)
                seconds += time.perf_counter() - begin
                with TensorFile(path) as file:
                    frame_bytes += file.data.nbytes
                    disk_bytes += file.data.id.get_storage_size()
                sampled += segment.windows
    share = windows / max(sampled, 1)
    there = next(path for path in (config.out, *config.out.absolute().parents) if path.exists())
    return Estimate(
        recordings=len(missing),
        windows=windows,
        frame_bytes=round(frame_bytes * share),
        disk_bytes=disk_bytes * share,
        free_bytes=shutil.disk_usage(there).free,
        seconds=seconds * share / workers,
        failed=failed,
    )
