"""What images and annotations of COCO say besides a box."""

import json

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.data.labels import read_labels
from seqdet.importing import ImportOptions, import_labels
from seqdet.importing.shapes import mask_box


@pytest.fixture
def imported(folder):
    """A function: what an image and its annotations say besides, to the boxes and what the import said."""

    def run(*annotations, **image):
        content = {
            "images": [{"id": 1, "file_name": "drive_000002.png", **image}],
            "annotations": [{"id": 5, "image_id": 1, "category_id": 1, **each} for each in annotations],
            "categories": [{"id": 1, "name": "car"}],
        }
        (folder / "drive.json").write_text(json.dumps(content))
        options = ImportOptions(label_rate=10)
        done = import_labels("coco", folder, folder.parent / "drive.npz", folder.parent / "out", options)
        return read_labels(folder.parent / "out" / "train" / "drive_bbox.npy"), "\n".join(done.lines())

    return run


BOX = {"bbox": [10, 20, 30, 5]}


def test_scores_are_kept_and_told_and_a_crowd_is_ignored_whatever_its_score(imported):
    boxes, said = imported({**BOX, "score": 0.25}, {**BOX, "confidence": 0.5, "iscrowd": 1}, BOX)
    assert boxes["class_confidence"].tolist() == [0.25, 0, 1]
    assert "1 boxes with a score between 0 and 1: it is kept" in said


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("timestamp_us", 345_678, ""),
        ("t", 345_678, ""),
        ("timestamp_ms", 345.678, "milliseconds"),
        ("time_s", 0.345678, "seconds"),
        ("t_ns", 345_678_901, "nanoseconds"),
    ],
)
def test_times_of_images_are_in_the_unit_that_they_state(imported, name, value, unit):
    boxes, said = imported(BOX, **{name: value})
    assert boxes["t"].tolist() == [345_678]
    assert ("images whose time is in" in said) == bool(unit)
    assert unit in said


def test_a_time_without_a_unit_is_not_used_and_that_is_told(imported):
    boxes, said = imported(BOX, timestamp=0.345678)
    assert boxes["t"].tolist() == [200_000]
    assert "1 images whose timestamp is not used, as it says no unit: name it timestamp_us, _ms, _s or _ns" in said


def packed(lengths):
    """Lengths of runs as COCO packs them."""
    text = ""
    for n, length in enumerate(lengths):
        value = length - (lengths[n - 2] if n > 2 else 0)
        while True:
            bits = value & 31
            value >>= 5
            is_done = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * (not is_done))
            if is_done:
                break
    return text


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_the_box_of_a_mask_is_that_of_its_pixels(is_packed, seed):
    random = np.random.default_rng(seed)
    mask = np.zeros(random.integers(1, 90, 2), np.bool_)
    top, left = (random.integers(0, size) for size in mask.shape)
    mask[top : top + 40, left : left + 30] = random.random(mask[top : top + 40, left : left + 30].shape) < 0.5
    down = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(down.astype(int), prepend=0, append=1 - int(down[-1])))
    lengths = np.diff(edges, prepend=0).tolist()
    ys, xs = np.nonzero(mask)
    expected = (0, 0, 0, 0)
    if len(xs):
        expected = xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1
    rle = {"size": list(mask.shape), "counts": packed(lengths) if is_packed else lengths}
    assert mask_box(rle, "it") == expected


def test_a_packed_mask_of_the_format_s_own_tools(imported):
    boxes, said = imported({"segmentation": {"size": [9, 9], "counts": "<36NK052Z1"}})
    assert [boxes[name].tolist() for name in "xywh"] == [[1], [3], [3], [3]]
    assert "1 masks that became their upright boxes" in said


def test_a_mask_without_a_pixel_is_a_box_of_no_size(imported):
    boxes, said = imported({"segmentation": {"size": [9, 9], "counts": [81]}})
    assert not len(boxes)
    assert "left out: 1 boxes of no size" in said


@pytest.mark.parametrize("counts", ["a", "\x00", "z", [80], [90, -9], [40, 42], "PPPPPPPPPPPPPPPPPPPPP0", ["x"]])
def test_a_mask_that_is_not_of_its_size_is_refused(imported, counts):
    with pytest.raises(InputError, match=r"annotation 5 of .* must have"):
        imported({"segmentation": {"size": [9, 9], "counts": counts}})
