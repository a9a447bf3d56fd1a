"""Exported files that take float32 frames, run by us and by runners that know no other type."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from seqdet import InputError, save_detector
from seqdet.cli import main
from seqdet.inference import export as exporting
from seqdet.inference.export import export
from seqdet.inference.runners import OnnxRunner
from seqdet.inference.sample_frames import made_up_frames

from .conftest import SHOWN


@pytest.fixture(scope="module")
def floats(detector, tmp_path_factory):
    """The detector as a file that takes float32 frames."""
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("floats") / "model.onnx"
    export(detector, path, frames_as="float32", program=path.with_suffix(".pt2"))  # both are held against the detector
    return path


@pytest.fixture(scope="module")
def windows(detector):
    """Frames (T, C, H, W) uint8 of one lane."""
    return made_up_frames(SHOWN, detector.channels, SHOWN.frame_hw, windows=5, seed=3)


def test_all_that_goes_in_and_out_is_float32_and_our_runner_takes_the_same_frames_as_ever(exported, floats, windows):
    graph = onnx.load(floats).graph
    assert {each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}
    usual, other = OnnxRunner(exported), OnnxRunner(floats)
    assert other.dtype == usual.dtype == np.uint8
    wanted = found = None
    for window in windows:
        mine, theirs = usual.raw(window[None], wanted), other.raw(window[None], found)
        for one, two in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)
        wanted, found = (tuple(each[4:-2]) for each in (mine, theirs))


def test_a_plain_loop_over_onnxruntime_finds_the_same(floats, windows):
    session = onnxruntime.InferenceSession(floats)
    names = [each.name for each in session.get_outputs()]
    memory = {
        each.name: np.zeros([1, *each.shape[1:]], np.float32) for each in session.get_inputs() if each.name != "frames"
    }
    runner, state = OnnxRunner(floats), None
    seen = 0
    for window in windows:
        said = dict(zip(names, session.run(None, {"frames": window[None].astype(np.float32), **memory}), strict=True))
        memory = {name: said[f"{name}_after"] for name in memory}
        (found,), state = runner(window[None], state)
        count = int(said["counts"][0])
        np.testing.assert_array_equal(said["xyxy"][0, :count], found.xyxy)
        np.testing.assert_array_equal(said["scores"][0, :count], found.scores)
        seen += count
    assert seen > 50


def test_eventcv_finds_the_same_boxes(floats, windows):
    """Its documented ``StatefulModel`` hands out the first output that is no memory: the boxes."""
    eventcv = pytest.importorskip("eventcv")
    memory = [each.name for each in onnx.load(floats).graph.input if each.name != "frames"]
    model = eventcv.StatefulModel(eventcv.Model(str(floats)), {f"{name}_after": name for name in memory})
    runner, state = OnnxRunner(floats), None
    for window in windows:
        (found,), state = runner(window[None], state)
        boxes = np.asarray(model(window.astype(np.float32)))
        np.testing.assert_allclose(boxes[0, : len(found.xyxy)], found.xyxy, atol=1e-2)


def test_eight_bits_take_floats_too(detector, floats, windows, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "onnx_model", lambda *_, **__: onnx.load(floats))
    path = tmp_path / "model.onnx"
    export(detector, path, precision="int8", calibration=[windows], frames_as="float32")
    small = OnnxRunner(path)
    assert small.precision == "int8"
    wanted, found = (runner.raw(windows[0][None])[-1].ravel() for runner in (OnnxRunner(floats), small))
    assert np.corrcoef(wanted, found)[0, 1] > 0.9
    assert onnx.load(path).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_half_precision_takes_floats_too(detector, tmp_path):
    path = tmp_path / "model.onnx"
    export(detector, path, precision="float16", frames_as="float32")
    assert OnnxRunner(path).precision == "float16"


def test_the_command_writes_it_and_another_type_is_refused(detector, tmp_path, monkeypatch):
    save_detector(detector, tmp_path / "detector.safetensors")
    said = []
    monkeypatch.setattr("seqdet.inference.export.export_run", lambda *_, **options: said.append(options) or "done")
    main(["export", str(tmp_path / "detector.safetensors"), "-o", str(tmp_path / "m.onnx"), "--input", "float32"])
    assert said[0]["frames_as"] == "float32"
    with pytest.raises(InputError, match="frames_as must be one of auto, float32"):
        export(detector, tmp_path / "m.onnx", frames_as="float64")
