from __future__ import annotations

import copy
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from seqdet import InputError
from seqdet.config import DECODING
from seqdet.events.array import Events
from seqdet.events.tables import write_npz
from seqdet.events.tensors import stacked_histogram
from seqdet.inference.export import export
from seqdet.inference.runners import OnnxRunner, frame_type, sealed

from .conftest import SHOWN

PAGE = Path(__file__).parents[2] / "docs" / "edge.md"
WITHOUT = "import sys; sys.modules.update(dict.fromkeys({!r})); "
"""An import of a module that is None is refused."""


def run(code, *args, without=("torch",)):
    command = [sys.executable, "-W", "error", "-c", WITHOUT.format(without) + code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def runner(exported):
    return OnnxRunner(exported, threads=1)


def test_a_step_tells_what_it_takes(runner):
    assert (runner.classes, runner.input, runner.channels, runner.size_hw) == (("a", "b"), SHOWN, 4, (120, 125))
    assert (runner.dtype, runner.score, runner.precision) == (np.uint8, DECODING.score, "float32")


def test_equal_input_gives_equal_output_and_the_input_stays(runner):
    frames = np.random.default_rng(0).integers(0, 5, (2, 4, 120, 125), np.uint8)
    before = frames.copy()
    _, state = runner(frames)
    kept = [each.copy() for each in state]
    (first, _), (second, _) = runner(frames, state), runner(frames, state)
    assert all(np.array_equal(*pair) for a, b in zip(first, second, strict=True) for pair in zip(a, b, strict=True))
    assert np.array_equal(frames, before)
    assert all(map(np.array_equal, state, kept))


def test_detections_are_the_best_first_within_the_frame_and_above_the_score(runner):
    found, _ = runner(np.random.default_rng(1).integers(0, 9, (3, 4, 120, 125), np.uint8))
    for each in found:
        assert len(each.scores)
        assert (each.xyxy.dtype, each.labels.dtype, each.scores.dtype) == (np.float32, np.int64, np.float32)
        assert (np.diff(each.scores) <= 0).all()
        assert each.scores.min() >= np.float32(DECODING.score)
        assert (each.xyxy >= 0).all()
        assert (each.xyxy <= [125, 120, 125, 120]).all()
        assert set(each.labels) <= {0, 1}


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((1, 3, 120, 125), np.uint8), r"frames must have shape \(B, C=4, H, W\)"),
        (np.zeros((4, 120, 125), np.uint8), r"frames must have shape"),
        (np.zeros((1, 4, 120, 125), np.float32), "frames must be uint8"),
        (np.zeros((0, 4, 120, 125), np.uint8), "frames must not be empty"),
        (np.zeros((1, 4, 128, 128), np.uint8), "frames must be 125x120 pixels, got 128x128"),
    ],
)
def test_frames_that_do_not_fit_are_refused(runner, frames, message):
    with pytest.raises(InputError, match=message):
        runner(frames)


def test_the_memory_of_other_lanes_is_refused(runner):
    frames = np.zeros((2, 4, 120, 125), np.uint8)
    _, state = runner(frames)
    for wrong in (tuple(each[:1] for each in state), state[:-1], (*state, state[0])):
        with pytest.raises(InputError, match="state must be what the last call returned for 2 lanes"):
            runner(frames, wrong)


def foreign(content):
    return onnx.helper.make_model(onnx.GraphProto(name="another")).SerializeToString()


def newer(content):
    model = onnx.load_from_string(content)
    del model.metadata_props[-1]
    for entry in model.metadata_props:
        entry.value = "seqdet model 2" if entry.key == "format" else entry.value
    return sealed(model.SerializeToString())


def silent(content):
    model = onnx.load_from_string(content)
    kept = [entry for entry in model.metadata_props if entry.key not in ("sha256", "classes")]
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in kept})
    return sealed(model.SerializeToString())


def flipped(content):
    changed = bytearray(content)
    changed[len(content) // 2] ^= 4
    return bytes(changed)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "was cut short or is of another kind"),
        (lambda content: content[:-1], "was cut short or is of another kind"),
        (lambda content: content[: len(content) // 2], "was cut short or is of another kind"),
        (lambda content: bytes(len(content)), "was cut short or is of another kind"),
        (foreign, "was cut short or is of another kind"),
        (flipped, "is damaged"),
        (lambda content: sealed(b"not a model"), "ONNX Runtime .* cannot run it"),
        (lambda content: sealed(b""), "ONNX Runtime .* cannot run it"),
        (silent, "must say in its metadata what it was made for"),
        (newer, "must have the format 'seqdet model 1' in its metadata, got 'seqdet model 2'"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(exported, tmp_path, damage, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(damage(exported.read_bytes()))
    with pytest.raises(InputError, match=f"^{re.escape(str(path))} .*{message}"):
        OnnxRunner(path)


def test_a_file_that_is_missing_or_a_folder_is_one_sentence(tmp_path):
    for path in (tmp_path / "model.onnx", tmp_path):
        with pytest.raises(InputError, match="must be a file that can be read"):
            OnnxRunner(path)


def test_a_library_that_is_missing_is_one_sentence(detector, exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match="onnxscript must be installed to export"):
        export(detector, tmp_path / "x.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="onnxruntime must be installed"):
        OnnxRunner(exported)


def test_a_provider_that_is_not_there_is_refused(exported):
    with pytest.raises(InputError, match=r"providers must be some of .*CPUExecutionProvider"):
        OnnxRunner(exported, providers=["SomethingElse"])


@pytest.mark.parametrize(("shown", "dtype"), [(None, "uint8"), (SHOWN, "uint8")])
def test_the_type_of_frames_is_that_of_the_representation(shown, dtype):
    assert frame_type(shown) == dtype


def test_a_file_runs_without_torch(exported, runner):
    frames = np.ones((1, 4, 120, 125), np.uint8)
    code = (
        "import numpy as np; from seqdet.inference.runners import OnnxRunner; runner = OnnxRunner(sys.argv[1]);"
        "found, state = runner(np.ones((1, 4, 120, 125), np.uint8)); print(len(found[0].scores), found[0].scores.sum())"
    )
    count, total = run(code, exported, without=("torch", "onnx", "onnxscript")).split()
    scores = runner(frames)[0][0].scores
    assert int(count) == len(scores)
    assert float(total) == pytest.approx(scores.sum(), rel=1e-5)


@pytest.mark.parametrize("pixels", [1, 2])
def test_the_script_of_the_page_finds_the_same_without_torch_or_seqdet(detector, tmp_path, pixels):
    detector, exported, size_hw = copy.deepcopy(detector), tmp_path / "model.onnx", (120 * pixels, 125 * pixels)
    detector.input = replace(detector.input, sensor_hw=size_hw)
    export(detector, exported)
    runner = OnnxRunner(exported)
    (script,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "argv" in block]
    assert len(script.splitlines()) <= 34
    assert "torch" not in script
    draw = np.random.default_rng(0)
    t = np.sort(draw.integers(50_000, 300_000, 20_000))
    y, x = (draw.integers(0, most, 20_000).astype(np.uint16) for most in size_hw)
    events = Events(t, x, y, draw.integers(0, 2, 20_000, np.uint8))
    write_npz(tmp_path / "events.npz", [events], size_hw=size_hw)
    (tmp_path / "edge.py").write_text(script)
    code = "import runpy; runpy.run_path(sys.argv.pop(1))"
    args = tmp_path / "edge.py", exported, tmp_path / "events.npz"
    lines = run(code, *args, without=("torch", "seqdet")).splitlines()
    wanted, state = [], None
    window = {"size_hw": size_hw, "start_us": 50_000, "window_us": 50_000, "windows": 5, "bins": 2}
    for n, frame in enumerate(stacked_histogram(events, **window, to_hw=(120, 125))):
        (found,), state = runner(frame[None], state)
        rows = zip(found.xyxy, found.labels, found.scores, strict=True)
        wanted += [(100_000 + 50_000 * n, "ab"[label], score, *box * pixels) for box, label, score in rows]
    assert len(lines) == len(wanted) > 20
    for line, (end_us, name, *numbers) in zip(lines, wanted, strict=True):
        words = line.split()
        assert (int(words[0]), words[1]) == (end_us, name)
        assert [float(word) for word in words[2:]] == pytest.approx(numbers, abs=0.06)
