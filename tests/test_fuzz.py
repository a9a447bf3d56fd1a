"""Damaged copies of every kind of file that seqdet reads, recordings apart: it is read, or refused in one sentence."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from seqdet.config import DataConfig, DigitsConfig, ModelConfig, RunConfig, TrainConfig
from seqdet.config_files import write_config
from seqdet.data.classes import write_classes
from seqdet.data.labels import EVENT_BBOX, write_labelled_us, write_labels
from seqdet.data.rvt import write_rvt
from seqdet.data.store import Description
from seqdet.data.store_writer import write_tensors
from seqdet.events.array import columns
from seqdet.events.npy import write_npz
from seqdet.inference.exporting.export import export
from seqdet.models.weights import save_detector
from seqdet.models.zoo import build_detector
from seqdet.training.fit import fit
from seqdet.viz.video import write_video

DAMAGING = Path(__file__).with_name("damaging.py")
SAMPLED, MANY, FILES = 12, 4000, 29
"""Damaged copies of each file, in every test and in the slow one, and how many files there are."""
MODEL = ModelConfig(base=1, channels=8, head_layers=0)
WINDOW = Description("histogram", (24, 32), 50_000, parameters={"max_incr_per_pixel": 5.0}, source="a.raw")
COCO = {
    "images": [{"id": n, "file_name": f"drive/{n:06}.png", "width": 80, "height": 60} for n in (2, 3)],
    "annotations": [{"id": n, "image_id": n, "category_id": 7, "bbox": [5, 5, 9, 9], "track_id": n} for n in (2, 3)],
    "categories": [{"id": 7, "name": "car"}],
}
VOC = """<annotation><size><width>80</width><height>60</height></size><object><name>car</name><difficult>0</difficult>
<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>14</xmax><ymax>14</ymax></bndbox></object></annotation>"""
TEXTS = {
    "coco": {"drive.json": json.dumps(COCO)},
    "mot": {
        "drive/gt/gt.txt": "1,1,5,5,9,9,1,1,1\n2,1,6,5,9,9,1,1,1\n4,2,6,5,9,9,0,1,1\n",
        "drive/gt/labels.txt": "car\nperson\n",
        "drive/seqinfo.ini": "[Sequence]\nframeRate=10\nseqLength=5\n",
    },
    "yolo": {
        "drive/000002.txt": "0 .5 .5 .1 .1\n1 .25 .25 .125 .125\n",
        "data.yaml": "path: .\nnc: 2\nnames: {0: car, 1: person}\n",
    },
    "voc": {"drive/000002.xml": VOC},
    "csv": {"drive.csv": "t,x,y,w,h,class,track_id\n100000,5,5,9,9,car,1\n200000,6,5,9,9,car,1\n300000,,,,,,\n"},
    "psee-txt": {"drive.txt": "100000 1 BB_CREAT 0 5 5 9 9 1\n200000 1 BB_MOVE 0 6 5 9 9 .5\n", "classes.txt": "car\n"},
}
"""Labels of other tools, by their format, as files in one folder."""


def some_boxes() -> np.ndarray:
    boxes = np.zeros(6, EVENT_BBOX)
    boxes["t"] = np.repeat([100_000, 200_000, 300_000], 2)
    for name in ("x", "y", "w", "h"):
        boxes[name] = np.arange(6) + 5
    boxes["class_confidence"] = 0.5
    return boxes


def label_folder(folder: Path, texts: dict[str, str]) -> list[Path]:
    """Labels of another tool beside the recording that they are of."""
    t = np.arange(0, 500_000, 500)
    (folder / "recordings").mkdir(parents=True)
    write_npz(folder / "recordings" / "drive.npz", [columns(t=t, x=t % 80, y=t % 60, p=t % 2)], size_hw=(60, 80))
    for name, text in texts.items():
        (folder / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "labels" / name).write_text(text)
    return [folder / "labels" / name for name in texts]


def make_run(folder: Path) -> None:
    digits = DigitsConfig(
        frames_per_video=4, held_out_frames_per_video=4, frames_per_epoch=16, validation_frames=16, test_frames=16
    )
    data = DataConfig(clip_length=2, lanes=4, digits=digits)
    fit(build_detector(MODEL), data, TrainConfig(max_steps=2, warmup_steps=1, device="cpu"), folder)


def make_dataset(folder: Path) -> None:
    """Tensors of two kinds, a recording, and labels."""
    frames = np.random.default_rng(0).poisson(0.2, (12, 2, 24, 32)).astype(np.uint8)
    (folder / "train").mkdir(parents=True)
    write_tensors(folder / "train" / "ours.h5", [frames], WINDOW)
    with h5py.File(folder / "train" / "theirs.h5", "w") as file:
        file.create_dataset("data", data=frames, chunks=(3, 2, 24, 32), compression="gzip")
        facts = {"events_to_tensor": b"histo", "delta_t": 50_000, "shape": (2, 24, 32), "max_incr_per_pixel": 5.0}
        file["data"].attrs.update({**facts, "event_input_height": 24, "event_input_width": 32, "note": "of any length"})
    for name in ("ours", "theirs"):
        path = folder / "train" / f"{name}_bbox.npy"
        write_labels(path, some_boxes())
        write_labelled_us(path, np.arange(1, 8) * 50_000)
    write_classes(folder, ("car", "person"))


def make_rvt(folder: Path) -> None:
    frames = np.zeros((6, 20, 24, 32), np.uint8)
    window = replace(WINDOW, representation="stacked_histogram", parameters={"bins": 10})
    write_tensors(folder.with_suffix(".h5"), [frames], window, compression="blosc")
    write_rvt(folder, folder.with_suffix(".h5"), some_boxes())
    labels = folder / "labels_v2" / "labels.npz"
    with zipfile.ZipFile(labels) as archive:  # as numpy writes it, which does not pack it
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> list[tuple[str, Path]]:
    """A whole file of every kind."""
    folder = tmp_path_factory.mktemp("whole")
    make_run(folder / "run")
    make_dataset(folder / "dataset")
    make_rvt(folder / "rvt")
    write_config(RunConfig(), folder / "config.yaml")
    save_detector(build_detector(MODEL), folder / "detector.safetensors")
    export(build_detector(MODEL), folder / "model.onnx", size_hw=(64, 64))
    boxes = some_boxes()
    write_labels(folder / "a_bbox.npy", boxes)
    write_labelled_us(folder / "a_bbox.npy", boxes["t"])
    write_labels(folder / "found.npy", boxes)
    rows = boxes[["t", "class_id", "track_id", "x", "y", "w", "h", "class_confidence"]].tolist()
    (folder / "found.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    write_video(folder / "video.mp4", np.random.default_rng(0).integers(0, 255, (9, 32, 32, 3), np.uint8), fps=10)
    (folder / "images").mkdir()
    Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(folder / "images" / "0.png")
    train, inner = folder / "dataset" / "train", next((folder / "rvt" / "event_representations_v2").iterdir())
    return [
        ("weights", folder / "detector.safetensors"),
        ("exported", folder / "model.onnx"),
        ("configuration", folder / "config.yaml"),
        ("configuration", folder / "run" / "config.yaml"),
        ("checkpoint", folder / "run" / "checkpoints" / "last.ckpt"),
        ("training", folder / "run" / "training.json"),
        ("tensors", train / "ours.h5"),
        ("tensors", train / "theirs.h5"),
        ("dataset", train / "theirs.h5"),
        ("classes", folder / "dataset" / "label_map_dictionary.json"),
        ("rvt", folder / "rvt" / "labels_v2" / "labels.npz"),
        ("rvt", inner / "timestamps_us.npy"),
        ("rvt", inner / "event_representations.h5"),
        ("labels", folder / "a_bbox.npy"),
        ("labels", folder / "a_labelled.npy"),
        ("detections", folder / "found.npy"),
        ("detections", folder / "found.csv"),
        ("frames", folder / "video.mp4"),
        ("frames", folder / "images" / "0.png"),
        *((source, path) for source, texts in TEXTS.items() for path in label_folder(folder / source, texts)),
    ]


def read_damaged(files: list[tuple[str, Path]], cases: int, folder: Path) -> dict[str, dict[str, int]]:
    """How reading of damaged copies ended, by file; that it ended well is asserted."""
    words = [str(word) for file in files for word in file]
    command = [sys.executable, str(DAMAGING), str(cases), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    case = (folder / "case").read_text() if (folder / "case").is_file() else "none"
    assert done.returncode == 0, f"ended in case {case}: {done.stderr[-3000:]}"
    findings = [line for line in lines if "finding" in line]
    assert not findings, json.dumps(findings[:3], indent=2).replace("\\n", "\n")
    return {line["file"]: line["outcomes"] for line in lines}


def test_damaged_files_of_every_kind_are_read_or_refused_in_a_sentence(files, tmp_path):
    assert len(files) == FILES
    found = read_damaged(files, SAMPLED, tmp_path)
    assert sum(outcomes.get("refused", 0) for outcomes in found.values()) > len(files)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(FILES))
def test_thousands_of_damaged_files_are_read_or_refused_in_a_sentence(files, tmp_path, number):
    kind, path = files[number]
    (outcomes,) = read_damaged([(kind, path)], MANY, tmp_path).values()
    assert outcomes.get("refused") or kind == "dataset", "damage that does nothing"  # an audit tells what it finds
