"""What both have: small digits, and processes that can be found again."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

from seqdet.config import DigitsConfig

DIGITS = DigitsConfig(
    height=64,
    width=64,
    max_digits=1,
    digit_heights=(12.0, 30.0),
    frames_per_video=6,
    held_out_frames_per_video=6,
    frames_per_epoch=24,
    validation_frames=12,
    test_frames=6,
)
LONG_S = 600
"""For what takes seconds unless the machine has other work."""
MARK = "SEQDET_TEST_OF_INTERRUPTIONS"
"""Environment variable of the processes of a test, which all that they start inherit."""


def environment(folder: Path) -> dict[str, str]:
    """That of a command which works on a thread, and can be found by the folder of its test."""
    return {**os.environ, "OMP_NUM_THREADS": "1", MARK: str(folder)}


def alive(folder: Path) -> list[psutil.Process]:
    """The processes that were started for a test in the folder."""
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if each.environ().get(MARK) == str(folder) and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found
