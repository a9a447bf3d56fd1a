"""``seqdet predict``: what a user types, and the sentence where it does not fit."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch

from seqdet.cli import main
from seqdet.config import InputConfig, VanillaConfig
from seqdet.events.array import columns
from seqdet.events.evt import write_evt3
from seqdet.inference.streaming import least_score
from seqdet.models.weights import save_detector
from seqdet.models.zoo import build_detector

SIZE_HW = 64, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A detector and a recording of three windows."""
    root = tmp_path_factory.mktemp("predict")
    detector = build_detector(VanillaConfig(in_channels=2, base=1, channels=8, classes=("car", "person")))
    for parameter in detector.head.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    detector.input = InputConfig("stacked_histogram", {"bins": 1}, 50_000, SIZE_HW, SIZE_HW)
    save_detector(detector, root / "detector.safetensors")
    detector.input = None
    save_detector(detector, root / "pictures.safetensors")
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 150_000, 3000))
    events = columns(t=t, x=rng.integers(0, 64, 3000), y=rng.integers(0, 64, 3000), p=rng.integers(0, 2, 3000))
    write_evt3(root / "a.raw", [events], size_hw=SIZE_HW)
    return root


def predicted(folder, out, *options, recording="a.raw") -> np.ndarray:
    main(["predict", f"{folder}/detector.safetensors", f"{folder}/{recording}", "-o", str(out), *options])
    return np.load(out / "detections" / "a_bbox.npy")


def refusal(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["predict", *args])
    code = stop.value.code if isinstance(stop.value.code, str) else ""
    (line,) = (line for line in (capsys.readouterr().err + code).splitlines() if line.startswith("seqdet: error: "))
    return line


def test_options_reach_the_detector_and_the_files(folder, tmp_path):
    boxes = predicted(folder, tmp_path / "all")
    assert np.unique(boxes["t"]).tolist() == [50_000, 100_000, 150_000]
    assert boxes["class_confidence"].min() >= 0.3
    assert set(boxes["class_id"]) == {0, 1}
    more = "--score", "0.9999", "--track", "--video"
    some = predicted(folder, tmp_path / "some", "--classes", "person:0.5", "--step-us", "25000", *more)
    assert set(some["class_id"]) == {1}
    assert 0.5 <= some["class_confidence"].min() < 0.9999
    assert len(np.unique(some["t"])) > 4
    assert (tmp_path / "some" / "videos" / "a.mp4").is_file()
    assert len(np.load(tmp_path / "some" / "tracks" / "a_tracks.npy"))
    look = "--count", "20", "--filter", "trail:1000,activity:9000", "--roi", "[0,0,30,30]", "--flip-x"
    few = predicted(folder, tmp_path / "few", *look)
    assert len(np.unique(few["t"])) > 3


def test_a_pipe_is_read(folder, tmp_path, monkeypatch):
    class Standard:
        buffer = io.BytesIO((folder / "a.raw").read_bytes())
        isatty = staticmethod(lambda: False)

    monkeypatch.setattr(sys, "stdin", Standard)
    main(["predict", f"{folder}/detector.safetensors", "-", "-o", str(tmp_path)])
    stdin = np.load(tmp_path / "detections" / "stdin_bbox.npy")
    assert stdin.tolist() == predicted(folder, tmp_path / "file").tolist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["none.safetensors", "a.raw", "-o", "out"], "none.safetensors must be a file with a detector"),
        (["", "a.raw", "-o", "out"], "must be the folder of a run"),
        (["a.raw", "a.raw", "-o", "out"], "a.raw must be a safetensors file; it is damaged or of another kind"),
        (["pictures.safetensors", "a.raw", "-o", "out"], "the detector must say that its frames show events to see "),
        (["detector.safetensors", "b.raw", "-o", "out"], "b.raw must be a recording or a folder of recordings"),
        (["detector.safetensors", "a.raw", "-o", "out", "--filter", "noise"], "filter must be one of activity, stc"),
        (
            ["detector.safetensors", "a.raw", "-o", "out", "--classes", "tram"],
            "error: --classes must be among car, person",
        ),
        (["detector.safetensors", "a.raw", "-o", "out", "--step-us", "60000"], "error: --step-us must be from 1"),
        (["detector.safetensors", "a.raw", "-o", "out", "--roi", "9,9,0,0"], "--roi must be x1, y1, x2, y2 with x1"),
        (
            ["detector.safetensors", "a.raw", "-o", "out", "--track-score", "0.9"],
            "--track must be given where --tracker",
        ),
        (
            ["detector.safetensors", "a.raw", "-o", "out", "--track", "--tracker", "sort", "--track-score", "0.9"],
            "tracker, to have a --track-score, must be one of association; got 'sort'",
        ),
        (["detector.safetensors", "a.raw", "-o", "out", "--score", "3"], "a score must be a number from 0 to 1, got 3"),
        (["detector.safetensors", "a.raw", "-o", "a.raw"], "must be a folder that can be made"),
    ],
)
def test_what_does_not_fit_is_one_sentence(options, words, folder, capsys):
    paths = {*options[:2], "a.raw", "out"}
    assert words in refusal([f"{folder}/{each}" if each in paths else each for each in options], capsys)


def test_a_damaged_model_is_one_sentence(folder, tmp_path, capsys):
    content = (folder / "detector.safetensors").read_bytes()
    for name, damaged in (("cut", content[:-9]), ("zero", bytes(999)), ("changed", content[:-1] + b"\7")):
        (tmp_path / name).write_bytes(damaged)
        assert "damaged" in refusal([str(tmp_path / name), str(folder / "a.raw"), "-o", str(tmp_path / "out")], capsys)


def test_a_detector_gives_what_the_lowest_score_asks_for():
    assert least_score(("car", "a:b", "person:0.1", "tram:0.5"), 0.3) == 0.1
    assert least_score(("car:1e-3", "0"), 0.3) == 0.001
    assert least_score((), 0.3) == 0.3


@pytest.mark.parametrize("option", [["--track-us", "5000"], ["--tracker", "sort"]])
def test_how_to_follow_objects_without_following_them_is_refused(option, tmp_path, capsys):
    with pytest.raises(SystemExit, match="--track must be given"):
        main(["predict", "model.onnx", "x.raw", "-o", str(tmp_path), *option])


def test_an_exported_model_has_the_ending_by_which_it_is_known(tmp_path):
    with pytest.raises(SystemExit, match=r"--out must end in \.onnx, got .*model\.txt"):
        main(["export", "runs/last", "-o", str(tmp_path / "model.txt")])
