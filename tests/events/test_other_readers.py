"""Readers of other libraries, of permissive licences, give just the events that seqdet wrote."""

import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording
from seqdet.events.formats import ENCODINGS

SCRIPT = Path(__file__).with_name("readers_of_others.py")
SIZE_HW = (480, 640)
COUNT = 200_000
RELEASES = ("evt3==0.4.1", "eventcv==1.0.8", "evlib==0.13.2")
"""MIT, Apache-2.0 and MIT; other releases may need other calls. Readers under the GPL or LGPL are not installed."""
READ = {
    "evt3": ("evt3",),
    "evlib": ("evt3", "evt2"),
    "eventcv": ("evt3", "evt2", "dat", "hdf5", "npz"),
}
"""The formats that a library reads as seqdet writes them."""
STEPS_US = (0, 1, 7, 300, 4095, 4096, 8192, 70_000, 1 << 20)
"""Between events: within a row, at the borders of the parts of a time, and silences."""


def made_up() -> Events:
    """Rows, and silences that take the counter of EVT3 around several times."""
    random = np.random.default_rng(1)
    chances = np.array([1e6, 2e5, 1e5, 1e4, 100, 100, 100, 20, 20])
    steps = random.choice(STEPS_US, COUNT, p=chances / chances.sum())
    y = random.integers(SIZE_HW[0], size=COUNT)[np.cumsum(steps > 0)]
    x, p = random.integers(SIZE_HW[1], size=COUNT), random.integers(2, size=COUNT)
    return columns(t=4096 + np.cumsum(steps), x=x, y=y, p=p)


def real(folder: Path) -> Events:
    with open_recording(folder / "lens_640x480.evt3.raw") as recording:
        return Events.concatenate(list(recording.chunks()))[:COUNT]


@pytest.fixture(scope="session")
def python(tmp_path_factory) -> Iterator[Path]:
    """That of an environment with the libraries, which is removed afterwards."""
    folder = tmp_path_factory.mktemp("readers")
    try:
        venv.create(folder, with_pip=True)
        path = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        command = [str(path), "-m", "pip", "install", "-q", "--retries", "1", "--only-binary", ":all:", *RELEASES]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"pip cannot install {' '.join(RELEASES)}: {done.stderr.strip()[-500:]}")
        yield path
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("library", "encoding"), [(name, each) for name, read in READ.items() for each in read])
def test_another_library_reads_just_the_events_that_were_written(python, recordings, tmp_path, library, encoding):
    path = tmp_path / ("a.raw" if encoding.startswith("evt") else f"a.{encoding}")
    for events in (made_up(), real(recordings)):
        ENCODINGS[encoding].write(path, [events], size_hw=SIZE_HW)
        command = [str(python), "-I", str(SCRIPT), library, str(path), str(tmp_path / "found.npz")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        with np.load(tmp_path / "found.npz") as found:
            for name in "txyp":
                np.testing.assert_array_equal(found[name].astype(np.int64), getattr(events, name), name)
