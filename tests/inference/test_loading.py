"""What names a detector: a run, a file of weights, an exported model."""

import subprocess
import sys

import numpy as np
import pytest

import seqdet
from seqdet.checks import InputError
from seqdet.config import RunConfig, VanillaConfig
from seqdet.config_files import to_yaml
from seqdet.events.array import Events, columns
from seqdet.events.evt import write_evt3
from seqdet.inference.loading import load_runner
from seqdet.inference.runners import OnnxRunner
from seqdet.inference.streaming import StreamConfig, StreamingDetector
from seqdet.inference.torch_runner import TorchRunner
from seqdet.models.weights import save_detector
from seqdet.models.zoo import build_detector

from .conftest import SHOWN as WIDE
from .fakes import SHOWN
from .test_streaming import played, share_found

MODEL = VanillaConfig(in_channels=2, base=1, channels=8, classes=("a", "b"))


@pytest.fixture
def run(tmp_path):
    """The folder of a finished run."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(to_yaml(RunConfig(model=MODEL)))
    detector = build_detector(MODEL)
    detector.input = SHOWN
    save_detector(detector, folder / "detector.safetensors")
    return folder


def test_a_run_and_its_weights_say_what_frames_show(run):
    for path in (run, run / "detector.safetensors", str(run)):
        runner = load_runner(path, score=0.2)
        assert runner.input == SHOWN
        assert runner.score == 0.2


def test_a_training_that_is_not_finished_is_refused(run):
    (run / "detector.safetensors").unlink()
    with pytest.raises(InputError, match=r"run must hold a finished training\. Go on with: seqdet train --resume"):
        load_runner(run)


def many_events() -> Events:
    """Of four windows of the sensor of the exported detector."""
    rng, (height, width) = np.random.default_rng(0), WIDE.sensor_hw
    t = np.sort(rng.integers(0, 200_000, 4000))
    return columns(t=t, **{name: rng.integers(0, most, 4000) for name, most in (("x", width), ("y", height), ("p", 2))})


def test_an_exported_model_is_run_without_torch(exported, tmp_path):
    write_evt3(tmp_path / "walk.raw", [many_events()], size_hw=WIDE.sensor_hw)
    args = ["predict", str(exported), f"{tmp_path}/walk.raw", "-o", f"{tmp_path}/out", "--track", "--video"]
    code = f"import sys; sys.modules['torch'] = None; from seqdet.cli import main; main({args})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "walk: 4 windows, " in said
    boxes = np.load(tmp_path / "out" / "detections" / "walk_bbox.npy")
    found = list(StreamingDetector(OnnxRunner(exported), StreamConfig(score=0.3)).push(many_events()))
    assert len(found) == 3
    assert boxes[boxes["t"] < 200_000].tolist() == np.concatenate([each.boxes for each in found]).tolist()


def test_a_stream_goes_on_in_onnx_runtime_and_back(detector, exported):
    whole, early, late = many_events(), many_events()[:2000], many_events()[2000:]
    steps = TorchRunner(detector), OnnxRunner(exported)
    for first, second in (steps, steps[::-1]):
        wanted = [each.boxes for each in played(StreamingDetector(first), [whole])]
        begun, resumed = StreamingDetector(first), StreamingDetector(second)
        found = [each.boxes for each in begun.push(early)]
        resumed.load_state_dict(begun.state_dict())
        found += [each.boxes for each in played(resumed, [late])]
        assert len(found) == len(wanted) == 4
        for mine, theirs in zip(found, wanted, strict=True):
            assert len(mine) == len(theirs) > 3
            assert share_found(mine, theirs) == 1


def test_a_score_that_an_exported_model_does_not_give_is_told(exported, caplog):
    assert load_runner(exported).input == WIDE
    assert not caplog.text
    load_runner(exported, score=0.001)
    assert "model.onnx was exported to find nothing of a score below 0.01." in caplog.text


def test_a_damaged_model_is_refused(exported, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(exported.read_bytes()[:-100])
    for name in ("cut.onnx", "none.onnx"):
        with pytest.raises(InputError, match=f"{name} must be a "):
            load_runner(tmp_path / name)


def test_the_former_name_is_the_same_function():
    assert seqdet.load_step is load_runner
