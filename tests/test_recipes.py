"""The recipes for recordings, each on a small folder of its layout: from files as they come to a score."""

import json

import numpy as np
import pytest

from seqdet.cli import main
from seqdet.config import TensorConfig
from seqdet.data.labels import EVENT_BBOX
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.evaluation.protocols import GEN1_CLASSES, ONE_MEGAPIXEL_CLASSES
from seqdet.events.array import Events
from seqdet.events.dat import write_dat
from seqdet.events.evt import write_evt3

LEGACY = np.dtype(
    {
        "names": [{"t": "ts", "class_confidence": "confidence"}.get(name, name) for name in EVENT_BBOX.fields],
        "formats": [kind for kind, _ in EVENT_BBOX.fields.values()],
        "offsets": [offset for _, offset in EVENT_BBOX.fields.values()],
        "itemsize": EVENT_BBOX.itemsize,
    }
)
SECONDS = 1.2


def write_folder(folder, size_hw, classes, *, write=write_dat, ending="_td.dat", labels=EVENT_BBOX):
    """A recording a split: events all over, and two boxes of each class every quarter of a second."""
    folder.mkdir()
    (folder / "label_map_dictionary.json").write_text(json.dumps(dict(enumerate(classes))))
    height, width = size_hw
    for seed, split in enumerate(("train", "val", "test")):
        rng = np.random.default_rng(seed)
        t = np.sort(rng.integers(0, round(SECONDS * 1e6), 20_000))
        x, y, p = (rng.integers(0, most, len(t)) for most in (width, height, 2))
        (folder / split).mkdir()
        events = Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8))
        write(folder / split / f"drive{seed}{ending}", [events], size_hw=size_hw)
        times_us = np.repeat(np.arange(250_000, round(SECONDS * 1e6), 250_000), 2 * len(classes))
        boxes = np.zeros(len(times_us), EVENT_BBOX)
        boxes["t"], boxes["class_confidence"] = times_us, 1
        boxes["class_id"] = np.resize(np.arange(len(classes)), len(boxes))
        boxes["x"], boxes["y"] = rng.random(len(boxes)) * width * 0.6, rng.random(len(boxes)) * height * 0.6
        boxes["w"], boxes["h"] = width * 0.3, height * 0.3
        np.save(folder / split / f"drive{seed}_bbox.npy", boxes.view(labels))
    return folder


def train_and_score(recipe, folder, tmp_path, *scoring, model="--model.base 1 --model.channels 8"):
    small = "--data.lanes 2 --data.workers 0 --data.clip_length 6 --train.max_steps 1 --train.warmup_steps 0"
    command = ["--recipe", recipe, "--data.dataset.folder", str(folder), "--out", str(tmp_path / "run")]
    main(["train", *command, *small.split(), *model.split()])
    main(["evaluate", str(tmp_path / "run"), *scoring])
    return json.loads((tmp_path / "run" / "metrics.json").read_text())


def test_gen1_is_trained_on_and_scored_as_it_is_unpacked(tmp_path):
    folder = write_folder(tmp_path / "gen1", (240, 304), GEN1_CLASSES, labels=LEGACY)
    metrics = train_and_score("gen1", folder, tmp_path, "--protocol", "psee-gen1")
    assert metrics["frames"] == 3
    assert list(metrics["per_class"]) == ["car", "pedestrian"]
    assert "psee-gen1@1" in json.dumps(metrics)


def test_three_of_the_seven_classes_of_1mpx_are_found_at_half_resolution(tmp_path):
    folder = write_folder(tmp_path / "1mpx", (720, 1280), ONE_MEGAPIXEL_CLASSES)
    metrics = train_and_score("1mpx", folder, tmp_path, "--protocol", "psee-1mpx")
    assert list(metrics["per_class"]) == ["pedestrian", "two wheeler", "car"]
    assert metrics["truth_boxes"] == 3 * 2 * 3
    assert "psee-1mpx@1" in json.dumps(metrics)


TINY_RVT = "--model.dim 4 --model.head_width 4"


@pytest.mark.parametrize(
    ("recipe", "size_hw", "names", "protocol", "model"),
    [
        ("rvt_tiny_gen1", (240, 304), GEN1_CLASSES, "rvt", TINY_RVT),
        ("rvt_tiny_1mpx", (720, 1280), ONE_MEGAPIXEL_CLASSES, "rvt-1mpx", TINY_RVT),
        ("lowrec_gen1", (240, 304), GEN1_CLASSES, "psee-gen1", "--model.base 1"),
        ("lowrec_1mpx", (720, 1280), ONE_MEGAPIXEL_CLASSES, "psee-1mpx", "--model.base 1"),
    ],
)
def test_other_architectures_are_trained_on_both_and_scored_by_their_protocol(
    recipe, size_hw, names, protocol, model, tmp_path
):
    folder = write_folder(tmp_path / "data", size_hw, names)
    metrics = train_and_score(recipe, folder, tmp_path, "--protocol", protocol, model=model)
    assert len(metrics["per_class"]) == (2 if names == GEN1_CLASSES else 3)
    assert f"{protocol}@1" in json.dumps(metrics)


def test_folders_that_rvt_preprocessed_are_trained_on_as_they_are(tmp_path):
    recordings = write_folder(tmp_path / "gen1", (240, 304), GEN1_CLASSES)
    tensor = TensorConfig(parameters={"bins": 10, "max_count": 10})
    precompute([recordings], PrecomputeConfig(tmp_path / "rvt", tensor, layout="rvt"))
    (tmp_path / "rvt" / "label_map_dictionary.json").unlink(missing_ok=True)
    (recordings / "label_map_dictionary.json").rename(tmp_path / "rvt" / "label_map_dictionary.json")
    metrics = train_and_score("rvt_gen1", tmp_path / "rvt", tmp_path, "--protocol", "rvt")
    assert metrics["truth_boxes"] == 3 * 2 * 2
    assert "rvt@1" in json.dumps(metrics)


@pytest.mark.parametrize("ending", [".raw", ".RAW"])
def test_recordings_of_ones_own_are_trained_on(tmp_path, ending):
    folder = write_folder(tmp_path / "own", (240, 304), GEN1_CLASSES, write=write_evt3, ending=ending)
    assert train_and_score("own_data", folder, tmp_path)["frames"] == 4
