"""Damaged copies of every kind of file that seqdet reads, recordings apart: it is read, or refused in one sentence."""

import gzip
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from seqdet.allowing import ALLOWED, remember
from seqdet.config import DataConfig, DigitsConfig, InputConfig, RunConfig, TensorConfig, TrainConfig, VanillaConfig
from seqdet.config_files import write_config
from seqdet.data.cached import CachedRecording
from seqdet.data.classes import write_classes
from seqdet.data.description import Description
from seqdet.data.detections import TRACKED_BOX
from seqdet.data.disk_cache import DiskCache
from seqdet.data.labels import EVENT_BBOX, write_labelled_us, write_labels
from seqdet.data.rvt import write_rvt
from seqdet.data.store import write_tensors
from seqdet.data.surveys import kept_survey, look_through
from seqdet.events import words
from seqdet.events.array import Events, columns
from seqdet.events.dataset_facts import DatasetFacts, keep_facts
from seqdet.events.evt import write_evt3
from seqdet.events.files import open_recording
from seqdet.events.tables import write_npz
from seqdet.inference.export import export
from seqdet.inference.result_files import ResultFiles, results
from seqdet.models.weights import save_detector
from seqdet.models.zoo import build_detector
from seqdet.training.fit import fit
from seqdet.viz.video import write_video

DAMAGING = Path(__file__).with_name("damaging.py")
SAMPLED, MANY, FILES = 8, 4000, 63
"""Damaged copies of each file, in every test and in the slow one, and how many files there are."""
NEVER_REFUSED = ("dataset", "survey", "cached", "index", "allowed")
"""An audit tells what it finds, and what is kept of something else is made again."""
SIZE_HW = (60, 80)
MODEL = VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8, head_layers=0)
WINDOW = Description(InputConfig("histogram", {"max_incr_per_pixel": 5.0}, 50_000, (24, 32), (24, 32)), source="a.raw")
COCO = {
    "images": [{"id": n, "file_name": f"drive/{n:06}.png", "width": 80, "height": 60} for n in (2, 3)],
    "annotations": [{"id": n, "image_id": n, "category_id": 7, "bbox": [5, 5, 9, 9], "track_id": n} for n in (2, 3)],
    "categories": [{"id": 7, "name": "car"}],
}
COCO_OF_VIDEOS = {
    "videos": [{"id": 1, "name": "drive.mp4", "width": 80, "height": 60, "fps": 10}],
    "images": [{"id": n, "video_id": 1, "frame_id": n} for n in (2, 3)],
    "annotations": [
        {"id": 1, "image_id": 2, "category_id": 7, "segmentation": [[5, 5, 14, 5, 14, 14]], "iscrowd": 0},
        {"id": 2, "image_id": 3, "category_id": 7, "bbox": [5, 5, 9, 9], "attributes": {"track_id": 4}},
    ],
    "categories": [{"id": 7, "name": "car"}],
}
VOC = """<annotation><size><width>80</width><height>60</height></size><object><name>car</name><difficult>0</difficult>
<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>14</xmax><ymax>14</ymax></bndbox></object></annotation>"""
TURNED_VOC = """<annotation><size><width>80</width><height>60</height></size>
<object><name>car</name><robndbox><cx>20</cx><cy>20</cy><w>9</w><h>5</h><angle>0.5</angle></robndbox></object>
<object><name>car</name><polygon><pt><x>5</x><y>5</y></pt><pt><x>9</x><y>6</y></pt></polygon></object>
<object><name>car</name><polygon><x1>5</x1><y1>5</y1><x2>9</x2><y2>6</y2></polygon></object></annotation>"""
CVAT_VIDEO = """<annotations><version>1.1</version><meta><task><id>1</id><name>my task</name>
<start_frame>0</start_frame><stop_frame>4</stop_frame><frame_filter>step=1</frame_filter>
<labels><label><name>car</name></label></labels><source>drive.mp4</source>
<original_size><width>160</width><height>120</height></original_size></task></meta>
<track id="0" label="car">
<box frame="1" xtl="10" ytl="10" xbr="30" ybr="25"><attribute name="ignored">true</attribute></box>
<box frame="3" keyframe="1" outside="0" xtl="14" ytl="10" xbr="34" ybr="25" rotation="30"/>
<box frame="4" keyframe="1" outside="1" xtl="14" ytl="10" xbr="34" ybr="25"/></track>
<track id="1" label="car"><polygon frame="1" points="10,10;40,12;20,30"/>
<ellipse frame="2" cx="50" cy="25" rx="10" ry="5" rotation="90"/>
<mask frame="3" rle="3" left="4" top="5" width="6" height="7"/></track></annotations>"""
CVAT_IMAGES = """<annotations><image id="2" name="drive/frame_000002.PNG" width="80" height="60"><tag label="rain"/>
<box label="car" xtl="5" ytl="2" xbr="15" ybr="12"/><cuboid label="car" xtl1="1" ytl1="2" xbr1="5" ybr1="6"/>
<skeleton label="car"><points outside="0" points="5,6"/><points outside="0" points="9,8"/></skeleton></image>
<image id="3" name="drive/frame_000003.PNG" width="80" height="60"/></annotations>"""
SIDES = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 15}
LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/upload/1/0a1b2c3d-drive_000003.png"},
        "annotations": [
            {
                "result": [
                    {
                        "type": "rectanglelabels",
                        "original_width": 80,
                        "original_height": 60,
                        "value": {**SIDES, "rectanglelabels": ["car"]},
                    },
                    {
                        "type": "polygonlabels",
                        "value": {"points": [[10, 20], [40, 20], [30, 60]], "polygonlabels": ["car"]},
                    },
                    {
                        "type": "ellipselabels",
                        "value": {"x": 30, "y": 30, "radiusX": 9, "radiusY": 5, "ellipselabels": ["car"]},
                    },
                ],
                "was_cancelled": False,
            }
        ],
    }
]
LABEL_STUDIO_VIDEO = [
    {
        "id": 2,
        "data": {"video": "drive.mp4"},
        "annotations": [
            {
                "result": [
                    {
                        "id": "a",
                        "type": "videorectangle",
                        "original_width": 80,
                        "original_height": 60,
                        "value": {
                            "framesCount": 5,
                            "duration": 0.5,
                            "sequence": [{"frame": n, "enabled": n < 4, **SIDES} for n in (1, 3, 4)],
                            "labels": ["car"],
                        },
                    }
                ]
            }
        ],
    }
]
POLYGONS = "0 .1 .1 .3 .1 .3 .4 .1 .4\n1 .5 .5 .7 .5 .7 .8 .6 .9 .5 .8\n1 .5 .5 .2 .2\n"
MOT = {
    "gt/gt.txt": "1,1,5,5,9,9,1,1,1\n2,1,6,5,9,9,1,1,1\n",
    "gt/labels.txt": "car\nperson\n",
    "seqinfo.ini": "[Sequence]\nframeRate=10\nseqLength=5\nimWidth=80\nimHeight=60\n",
}
LABELS = {
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
    "coco folders": {"drive/annotations/instances_default.json": json.dumps(COCO)},
    "coco videos": {"export.json": json.dumps(COCO_OF_VIDEOS)},
    "voc turned": {"drive/000002.xml": TURNED_VOC},
    "csv bare": {"drive.csv": "100000 0 1 5 5 9 9 1\n200000 0 1 6 5 9 9 .5\n", "classes.txt": "car\n"},
    "yolo polygons": {"drive_000002.txt": POLYGONS, "classes.txt": "car\nperson\n"},
    "yolo tracks": {"drive_000002.txt": "0 .5 .5 .2 .2 .9 7\n0 .3 .3 .2 .2 .8 8\n", "obj.names": "car\n"},
    "cvat video": {"drive.xml": CVAT_VIDEO},
    "cvat images": {"annotations.xml": CVAT_IMAGES},
    "labelstudio images": {"export.json": json.dumps(LABEL_STUDIO)},
    "labelstudio video": {"export.json": json.dumps(LABEL_STUDIO_VIDEO)},
}
"""Labels of other tools, by their format and what is special, as files in one folder."""
ZIPS = {"mot": MOT, "cvat": {"annotations.xml": CVAT_IMAGES}, "coco": {"annotations/a.json": json.dumps(COCO)}}
"""Labels of other tools in zips."""


def some_boxes() -> np.ndarray:
    boxes = np.zeros(6, EVENT_BBOX)
    boxes["t"] = np.repeat([100_000, 200_000, 300_000], 2)
    for name in ("x", "y", "w", "h"):
        boxes[name] = np.arange(6) + 5
    boxes["class_confidence"] = 0.5
    return boxes


def some_events() -> Events:
    t = np.arange(0, 500_000, 500)
    return columns(t=t, x=t % 80, y=t % 60, p=t % 2)


def label_folder(folder: Path, texts: dict[str, str], *, is_packed: bool = False) -> list[Path]:
    """Labels of another tool beside the recording that they are of."""
    (folder / "recordings").mkdir(parents=True)
    write_npz(folder / "recordings" / "drive.npz", [some_events()], size_hw=SIZE_HW)
    (folder / "labels").mkdir()
    if is_packed:
        with zipfile.ZipFile(folder / "labels" / "drive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
        return [folder / "labels" / "drive.zip"]
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
    window = Description(replace(WINDOW.input, representation="stacked_histogram", parameters={"bins": 10}))
    write_tensors(folder.with_suffix(".h5"), [frames], window, compression="blosc")
    write_rvt(folder, folder.with_suffix(".h5"), some_boxes())
    labels = folder / "labels_v2" / "labels.npz"
    with zipfile.ZipFile(labels) as archive:  # as numpy writes it, which does not pack it
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}


def kept(folder: Path) -> list[tuple[str, Path]]:
    """What seqdet keeps beside recordings and tensors, in caches, and in the home of the user."""
    folder.mkdir()
    recording, raw = folder / "drive.npz", folder / "drive.raw"
    write_npz(recording, [some_events()], size_hw=SIZE_HW)
    write_evt3(raw, [some_events()], size_hw=SIZE_HW)
    files = [("facts", folder / "dataset.json"), ("survey", folder / "drive_read.json")]
    keep_facts(folder, DatasetFacts(SIZE_HW, "us"))
    kept_survey(files[1][1], "drive", partial(look_through, recording))
    tensor = TensorConfig("histogram", window_us=50_000)
    with CachedRecording(recording, tensor, DiskCache(folder / "cache", 1 << 30), clip_length=4) as cached:
        cached.read(0, 4)
    files += [("cached", path) for path in sorted((folder / "cache").glob("drive-*/*"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "SAVED_BYTES", 1)
        patch.setattr(words, "MARK_BYTES", 100)
        patch.setenv("SEQDET_CACHE", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv(ALLOWED, json.dumps(["rates.py:rates"]))
        with open_recording(raw) as opened:
            opened.span_us()
        (folder / "config.yaml").write_text("{}")
        remember(folder / "config.yaml")
    files += [("index", path) for path in (folder / "indexes").iterdir()]
    return files + [("allowed", path) for path in (folder / "seqdet" / "allowed").iterdir()]


def others(folder: Path) -> list[tuple[str, Path]]:
    """Results of a prediction, recordings through a pipe and in a folder, and the files of digits."""
    boxes, tracks = some_boxes(), np.zeros(6, TRACKED_BOX)
    for name in EVENT_BBOX.names or ():
        tracks[name] = boxes[name]
    with ResultFiles(folder / "results", Path("drive"), has_tracks=True) as outputs:
        outputs.add(boxes, tracks, tracks)
    written = [path for path in results(folder / "results", Path("drive")) if path.exists()]
    found = [("results", path) for path in written if path.parent.name != "mot"]  # which is a format of labels
    (folder / "audited").mkdir()
    write_npz(folder / "audited" / "drive.npz", [some_events()], size_hw=SIZE_HW)
    write_labels(folder / "audited" / "drive_bbox.npy", boxes)
    write_labelled_us(folder / "audited" / "drive_bbox.npy", np.arange(1, 5) * 100_000)
    write_evt3(folder / "drive.raw", [some_events()], size_hw=SIZE_HW)
    (folder / "texts").mkdir()
    rows = np.stack([getattr(some_events()[:300], name) for name in "txyp"], axis=1)
    np.savetxt(folder / "texts" / "drive.csv", rows, fmt="%d", delimiter=",")
    (folder / "digits").mkdir()
    for name, head in (("images-idx3", (2051, 10_000, 28, 28)), ("labels-idx1", (2049, 10_000))):
        content = np.array(head, ">i4").tobytes() + bytes(prod(head[1:]))
        (folder / "digits" / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(content, 9))
    return [
        *found,
        *(("dataset", path) for path in sorted((folder / "audited").iterdir())),
        ("pipe", folder / "drive.raw"),
        ("listing", folder / "texts" / "drive.csv"),
        *(("digits", path) for path in sorted((folder / "digits").iterdir())),
    ]


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
        *kept(folder / "kept"),
        *others(folder / "others"),
        *((name.split()[0], path) for name, texts in LABELS.items() for path in label_folder(folder / name, texts)),
        *(
            (name, path)
            for name, texts in ZIPS.items()
            for path in label_folder(folder / f"{name} zip", texts, is_packed=True)
        ),
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
    many = MANY // 10 if kind == "digits" else MANY  # they have to have all pixels
    (outcomes,) = read_damaged([(kind, path)], many, tmp_path).values()
    assert outcomes.get("refused") or kind in NEVER_REFUSED, "damage that does nothing"
