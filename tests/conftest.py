"""For all tests."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell that runs the tests in the background ignores

untimed = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # the first call of a kernel compiles it
settings.register_profile("untimed", **untimed)
settings.load_profile("untimed")

LONG = ("training", "interruptions", "compat", "inference", "test_allowing.py", "test_fuzz.py", "test_tutorial.py")
"""Files and folders that take minutes: one that begins last would keep a process busy and the others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in LONG)


CUTS = Path(__file__).parent / "recordings"
WHOLE = Path(__file__).parents[2] / "shared" / "data" / "recordings"


@pytest.fixture(params=["cut", "whole"] if WHOLE.is_dir() else ["cut"])
def recordings(request) -> Path:
    """A folder of real recordings and their digests: the repository's, and the whole ones where they lie beside it."""
    return {"cut": CUTS, "whole": WHOLE}[request.param]


@pytest.fixture
def digests(recordings) -> dict[str, dict[str, Any]]:
    """What independent decoders read in each of the ``recordings``, by name."""
    return json.loads((recordings / "digests.json").read_text())


SAMPLES = {  # x1, y1, x2, y2 of the persons in each
    "frame0000009": [(28, 85, 152, 260)],
    "frame0000010": [(30, 80, 150, 258)],
    "frame0017525": [(40, 120, 70, 200), (110, 130, 150, 215), (190, 140, 212, 210), (216, 154, 254, 222)],
}
REAL_SAMPLES = WHOLE.parent / "labelled" / "pedro"


@pytest.fixture(params=["made up", "real"] if REAL_SAMPLES.is_dir() else ["made up"])
def samples(request, tmp_path) -> Path:
    """Samples of 40 ms and 346x260 pixels as of PEDRo: arrays of t, x, y and p by column, VOC and YOLO labels.

    The real ones may not be passed on, so those in their place are made up.
    """
    if request.param == "real":
        return REAL_SAMPLES
    folder = tmp_path / "samples"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, boxes in SAMPLES.items():
        rows = [np.sort(random.integers(40_000, size=2000)), *(random.integers(n, size=2000) for n in (346, 260, 2))]
        np.save(folder / f"{name}.npy", np.asfortranarray(np.stack(rows, axis=1)))
        corners = [dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)) for box in boxes]
        edges = ["".join(f"<{key}>{value}</{key}>" for key, value in each.items()) for each in corners]
        objects = "".join(f"<object><name>person</name><bndbox>{each}</bndbox></object>" for each in edges)
        size = "<size><width>346</width><height>260</height></size>"
        (folder / f"{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
        shares = [((a + c) / 692, (b + d) / 520, (c - a) / 346, (d - b) / 260) for a, b, c, d in boxes]
        (folder / f"{name}.txt").write_text("".join(f"0 {x} {y} {w} {h}\n" for x, y, w, h in shares))
    return folder
