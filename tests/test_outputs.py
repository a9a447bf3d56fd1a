"""No command replaces a file without being told to, and none writes over what it reads."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.config import DatasetConfig, InputConfig, VanillaConfig
from seqdet.data.classes import write_classes
from seqdet.data.labels import EVENT_BBOX, read_labels, write_labels
from seqdet.events.array import columns
from seqdet.events.convert import convert
from seqdet.events.evt import write_evt3
from seqdet.events.files import open_recording
from seqdet.files import below, check_output
from seqdet.loading import prepare
from seqdet.models.weights import save_detector
from seqdet.models.zoo import build_detector

SIZE_HW = 32, 32
COMMANDS = {
    "inspect --plot": ("inspect a.raw --plot OUT", "out.png"),
    "inspect --video": ("inspect a.raw --video OUT", "out.mp4"),
    "convert": ("convert a.raw OUT", "out.dat"),
    "simulate": ("simulate pictures --fps 100 --out OUT", "out.raw"),
    "export": ("export detector.safetensors --size-hw [32,32] --out OUT", "out.onnx"),
    "export --program": ("export detector.safetensors --size-hw [32,32] --out new.onnx --program OUT", "out.pt2"),
    "benchmark": ("benchmark detector.safetensors a.raw --backends eager --windows 2 --warm-up 1 --json OUT", "o.json"),
    "evaluate": ("evaluate found dataset --protocol coco --figures OUT", "out.json"),
    "evaluate --tracks": ("evaluate tracks dataset --tracks --figures OUT", "out.json"),
    "audit": ("audit dataset --page OUT", "out.html"),
    "predict": ("predict detector.safetensors a.raw --out found", "found/csv/a_detections.csv"),
    "predict --video": ("predict detector.safetensors a.raw --video --out new", "new/videos/a.mp4"),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A recording, a detector, pictures, a dataset and boxes for it."""
    root = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 150_000, 3000))
    size = np.where(np.arange(3000) % 4, 9, 32)  # most events are of one object, at the top left
    events = columns(t=t, x=rng.integers(0, size), y=rng.integers(0, size), p=rng.integers(0, 2, 3000))
    write_evt3(root / "a.raw", [events], size_hw=SIZE_HW)
    detector = build_detector(VanillaConfig(in_channels=2, base=1, channels=8, classes=("car",)))
    for parameter in detector.head.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    detector.input = InputConfig("stacked_histogram", {"bins": 1}, 50_000, SIZE_HW, SIZE_HW)
    save_detector(detector, root / "detector.safetensors")
    (root / "pictures").mkdir()
    for n in range(3):
        Image.fromarray(np.full((8, 8), 80 * n, np.uint8)).save(root / "pictures" / f"{n}.png")
    boxes = np.zeros(3, EVENT_BBOX)
    boxes["t"], boxes["w"], boxes["h"], boxes["class_confidence"] = [50_000, 100_000, 150_000], 9, 9, 0.5
    boxes["track_id"] = 1
    (root / "dataset" / "test").mkdir(parents=True)
    shutil.copy(root / "a.raw", root / "dataset" / "test" / "a.raw")
    write_labels(root / "dataset" / "test" / "a_bbox.npy", boxes)
    for folder in ("dataset", "found", "tracks"):
        (root / folder).mkdir(exist_ok=True)
        write_classes(root / folder, ["car"])
    write_labels(root / "found" / "a_bbox.npy", boxes)
    write_labels(root / "tracks" / "a_bbox.npy", boxes)
    return root


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_there_is_refused_by_name_unless_it_is_to_be_replaced(name, given, tmp_path, monkeypatch):
    if name.startswith("export"):
        pytest.importorskip("onnxscript")
    if name == "evaluate --tracks":
        pytest.importorskip("trackers")
    root = tmp_path / "given"
    shutil.copytree(given, root)
    monkeypatch.chdir(root)
    command, out = COMMANDS[name]
    target = root / out
    target.parent.mkdir(exist_ok=True, parents=True)
    target.write_text("precious")
    words = command.replace("OUT", out).split()
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert f"{out} must be a new file, and is there already. --overwrite" in str(stop.value)
    assert target.read_text() == "precious"
    if name == "export --program":
        return  # takes half a minute, and is replaced as the model is
    main([*words, "--overwrite"])
    assert target.read_bytes() != b"precious"


@pytest.mark.parametrize("link", [None, "symbolic", "hard"])
def test_a_recording_is_never_written_over_itself(given, tmp_path, link):
    source = tmp_path / "a.raw"
    shutil.copy(given / "a.raw", source)
    target = source
    if link:
        target = tmp_path / "b.raw"
        target.symlink_to(source) if link == "symbolic" else target.hardlink_to(source)
    before = source.read_bytes()
    with pytest.raises(SystemExit, match=r"must be another file than \S*a\.raw, which is read"):
        main(["convert", str(source), str(target), "--duration-us", "50000", "--overwrite"])
    with open_recording(source) as recording, pytest.raises(InputError, match="must be another file"):
        convert(recording, target, overwrite=True)
    assert source.read_bytes() == before


def test_weights_are_never_written_over_by_their_export(given, tmp_path):
    shutil.copy(given / "detector.safetensors", tmp_path / "a.onnx")
    words = ["--out", str(tmp_path / "a.onnx"), "--size-hw", "[32,32]", "--overwrite"]
    with pytest.raises(SystemExit, match="must be another file than"):
        main(["export", str(tmp_path / "a.onnx"), *words])


def test_a_folder_of_detections_is_a_new_one(given, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("precious")
    with pytest.raises(SystemExit, match="must be a new or an empty folder"):
        main(["evaluate", "run", "--detections", str(tmp_path / "there")])


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "dataset", "--page", "dataset/test/a_bbox.npy"],
        ["evaluate", "run", "dataset", "--detections", "dataset/test"],
        ["evaluate", "found", "dataset", "--figures", "dataset/label_map_dictionary.json"],
        ["evaluate", "found", "dataset", "--figures", "dataset/test/a_bbox.npy"],
        ["inspect", "a.raw", "--video", "dataset/test/a.raw"],
    ],
    ids=" ".join,
)
def test_no_file_of_a_folder_that_is_read_makes_way(words, given, tmp_path, monkeypatch):
    shutil.copytree(given, tmp_path / "given")
    monkeypatch.chdir(tmp_path / "given")
    before = {path: path.read_bytes() for path in Path("dataset").rglob("*") if path.is_file()}
    with pytest.raises(SystemExit, match=r"which is read\. Name|must end in \.\w+, as what is written there does"):
        main([*words, "--overwrite"])
    assert {path: path.read_bytes() for path in Path("dataset").rglob("*") if path.is_file()} == before


def test_a_training_leaves_labels_in_a_folder_of_tensors_that_the_user_named(given, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(given / "dataset" / "test", tmp_path / "data" / split)
    write_classes(tmp_path / "data", ["car"])
    config = DatasetConfig(tmp_path / "data", tensors=tmp_path / "mine")
    prepare(config)
    labels = tmp_path / "mine" / "train" / "a_bbox.npy"
    edited = read_labels(labels)
    edited["x"] += 1
    write_labels(labels, edited)
    with pytest.raises(InputError, match=r"a_bbox\.npy must hold the labels of .*, and holds others\. Delete it"):
        prepare(config)
    assert (read_labels(labels) == edited).all()


def test_an_audit_replaces_its_own_page_and_no_other(given, tmp_path, monkeypatch):
    shutil.copytree(given, tmp_path / "given")
    monkeypatch.chdir(tmp_path / "given")
    page = Path("dataset/audit.html")
    page.write_text("<html>mine</html>")
    with pytest.raises(SystemExit, match=r"dataset/audit\.html must be a new file, and is there already\. --overwrite"):
        main(["audit", "dataset"])
    for words in (["--overwrite"], []):
        with suppress(SystemExit):  # as there is nothing to train on
            main(["audit", "dataset", *words])
        assert "Audit of dataset" in page.read_text()


def test_a_link_that_leads_nowhere_is_something_that_is_there(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="is there already"):
        check_output(tmp_path / "a")
    check_output(tmp_path / "a", overwrite=True)


def test_links_to_folders_are_folders_and_circles_end(tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.raw").touch()
    (tmp_path / "data" / "train" / "a.raw").touch()
    (tmp_path / "data" / "val").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to("../data")
    (tmp_path / "data" / "train" / "self").symlink_to(".")
    found = [str(path.relative_to(tmp_path / "data")) for path in below(tmp_path / "data") if path.is_file()]
    assert found == ["train/a.raw", "val/b.raw"]
    assert below(tmp_path / "none") == []
