"""What several tests of imports share."""

import numpy as np
import pytest

from seqdet.events.array import columns
from seqdet.events.tables import write_npz


@pytest.fixture
def folder(tmp_path):
    """An empty folder of labels, beside recordings of a second and 100x50 pixels, drive and night."""
    for name in ("drive", "night"):
        t = np.arange(0, 1_000_000, 1000)
        write_npz(tmp_path / f"{name}.npz", [columns(t=t, x=t % 100, y=t % 49, p=t % 2)], size_hw=(50, 100))
    (tmp_path / "labels").mkdir()
    return tmp_path / "labels"
