"""The flies that come with seqdet: a real video whose labels somebody else drew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqdet.data.labels import label_path, read_labels
from seqdet.importing import ImportOptions, import_labels
from seqdet.pictures.sequence import open_pictures

FLIES = Path(__file__).parents[2] / "samples" / "flies"
COUNTS = {"train/long": (3000, 6000), "train/clip": (1200, 2400), "val/clip_end": (300, 600), "test/two": (128, 256)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("flies") / "dataset"
    report = import_labels("mot", FLIES, None, out, ImportOptions(classes=("fly",)))
    assert (report.failed, report.warnings) == ([], [])
    assert report.boxes == {"fly": sum(boxes for _, boxes in COUNTS.values())}
    return out


@pytest.mark.parametrize("name", COUNTS)
def test_every_picture_has_its_two_flies_and_they_are_what_is_bright(dataset, name):
    video = dataset / f"{name}.mp4"
    pictures = open_pictures(video)
    boxes = read_labels(label_path(video))
    assert (len(pictures), len(boxes)) == COUNTS[name]
    assert np.array_equal(np.unique(boxes["t"]), pictures.times_us)
    step = len(pictures) // 16
    for n in range(0, len(pictures), step):
        (picture,) = pictures.read(n, n + 1)
        grey = picture.mean(axis=2)
        for box in boxes[boxes["t"] == pictures.times_us[n]]:
            x, y, right, bottom = np.rint([box["x"], box["y"], box["x"] + box["w"], box["y"] + box["h"]]).astype(int)
            assert grey[max(y, 0) : bottom, max(x, 0) : right].max() > 4 * grey.mean()
    pictures.close()
