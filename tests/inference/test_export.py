from __future__ import annotations

import copy
import json
from contextlib import nullcontext

import numpy as np
import onnx
import pytest
import torch

from seqdet import InputError, VanillaConfig, build_detector, save_detector
from seqdet.cli import main
from seqdet.config import DECODING, InputConfig
from seqdet.config_files import from_dict
from seqdet.inference import export as exporting
from seqdet.inference.eight_bits import quantized
from seqdet.inference.export import (
    DecodingDetector,
    export,
    marked_survivors,
    resized,
    survivors,
)
from seqdet.inference.parity import check_eight_bits, check_parity
from seqdet.inference.runners import FOUND, OnnxRunner, sealed
from seqdet.inference.sample_frames import made_up_frames
from seqdet.inference.torch_runner import TorchRunner
from seqdet.models.detector import Detector
from seqdet.models.single_shot import single_shot_head

from .conftest import SHOWN, opinionated

SIZE_HW = SHOWN.frame_hw


def frames_of(detector, lanes, windows, size_hw=SIZE_HW):
    channels = detector.config.in_channels
    ways = [made_up_frames(detector.input, channels, size_hw, windows=windows, seed=seed) for seed in range(lanes)]
    return np.stack(ways, axis=1)


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        assert len(mine.scores) == len(theirs.scores)
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-4)
        near = np.abs(mine.xyxy[:, None] - theirs.xyxy).max(axis=-1) < 1e-2
        near &= mine.labels[:, None] == theirs.labels
        assert near.any(axis=0).all()
        assert near.any(axis=1).all()


@pytest.mark.parametrize("lanes", [1, 3])
def test_the_file_finds_what_the_detector_finds_also_after_a_reset(detector, exported, lanes):
    eager, onnx_runner = TorchRunner(detector), OnnxRunner(exported)
    mine = theirs = None
    seen = 0
    for t, window in enumerate(frames_of(detector, lanes, 7)):
        if t == 4:
            theirs = tuple(each.index_fill(0, torch.tensor([0]), 0) for each in theirs)
            mine = tuple(np.where(np.arange(lanes)[:, None, None, None] == 0, np.float32(0), each) for each in mine)
        wanted, theirs = eager(window, theirs)
        found, mine = onnx_runner(window, mine)
        assert_same(found, wanted)
        seen += sum(len(each.scores) for each in found)
    assert seen > 20 * lanes


def test_the_memory_of_a_lane_matters_and_stays_its_own(detector, exported):
    runner, windows = OnnxRunner(exported), frames_of(detector, 3, 4)
    state = None
    for window in windows:
        together, state = runner(window, state)
    alone, memory = None, None
    for window in windows[:, 1:2]:
        alone, memory = runner(window, memory)
    assert_same(alone, together[1:2])
    forgetful, _ = runner(windows[-1, 1:2])
    assert not np.array_equal(forgetful[0].scores[:5], alone[0].scores[:5])


@pytest.mark.parametrize("has_nan", [False, True])
@pytest.mark.parametrize("config", [{}, {"activation": "sigmoid"}, {"anchors": "psee", "classes": ("a",)}])
def test_one_step_decodes_as_the_detector_does(config, has_nan):
    detector, score = opinionated(**config), 0.02
    if has_nan:
        torch.nn.init.constant_(detector.head.boxes[-1].bias[:1], float("nan"))
    window = torch.from_numpy(frames_of(detector, 2, 1, (130, 90))[0])
    with torch.no_grad():
        outputs, after = detector(window[None])
        wanted = detector.decode(outputs, score=score)
        zeros = tuple(torch.zeros_like(each) for each in after)
        for suppress in (survivors, marked_survivors):
            xyxy, labels, scores, counts, *_ = DecodingDetector(detector, score, suppress)(window, *zeros)
            assert counts.tolist() == [len(boxes) for boxes in wanted]
            assert sum(counts.tolist()) > 20
            for lane, boxes in enumerate(wanted):
                torch.testing.assert_close(xyxy[lane, : len(boxes)], boxes.xyxy)
                assert torch.equal(labels[lane, : len(boxes)], boxes.labels)
                assert torch.equal(scores[lane, : len(boxes)], boxes.scores)


def test_the_file_says_what_it_is(detector, exported):
    model = onnx.load(exported)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["format"] == "seqdet model 1"
    assert json.loads(facts["classes"]) == ["a", "b"]
    assert from_dict(InputConfig, json.loads(facts["input"]), name="input") == detector.input
    assert facts["normalisation"] == "inside: divided by 255"
    assert facts["score"] == repr(DECODING.score)
    assert [each.type.tensor_type.shape.dim[0].dim_param for each in model.graph.input] == ["lanes"] * 11
    assert b".py" not in exported.read_bytes()
    onnx.checker.check_model(model)


class Flat(torch.nn.Module):
    """A backbone of one map, with (B, 1, C) memory of the mean of the maps before, or without any."""

    strides = (8,)
    channels = (8,)
    multiple = 8
    scaled = True
    exact = 0

    def __init__(self, *, remembers):
        super().__init__()
        self.remembers = remembers
        self.convolution = torch.nn.Conv2d(4, 8, 8, stride=8)

    def forward(self, frames, state=None):
        maps = self.convolution(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        if not self.remembers:
            return [maps.flatten(0, 1)], ()
        (memory,) = state or (maps.new_zeros(frames.shape[1], 1, 8),)
        seen = []
        for x in maps:
            seen.append(x + memory.transpose(1, 2)[..., None])
            memory = memory / 2 + x.mean(dim=(2, 3))[:, None]
        return [torch.cat(seen)], (memory,)


@pytest.mark.parametrize("remembers", [False, True])
def test_a_backbone_without_memory_and_one_of_three_axes_are_exported(tmp_path, remembers):
    torch.manual_seed(0)
    backbone = Flat(remembers=remembers)
    head = single_shot_head(VanillaConfig(classes=("a", "b")), 8, (8,))
    detector = Detector(backbone, head, classes=("a", "b"), in_channels=4).eval()
    detector.input = SHOWN
    with torch.no_grad():
        detector.backbone.convolution.weight *= 20
        for layer in detector.head.predictors:
            layer.weight *= 100
    export(detector, tmp_path / "a.onnx", program=tmp_path / "a.pt2")
    eager, onnx_runner = TorchRunner(detector), OnnxRunner(tmp_path / "a.onnx")
    mine = theirs = None
    for window in frames_of(detector, 2, 3):
        wanted, theirs = eager(window, theirs)
        found, mine = onnx_runner(window, mine)
        assert len(mine) == len(theirs) == remembers
        assert min(len(each.scores) for each in wanted) > 5
        assert_same(found, wanted)


def forgets(run):
    return lambda frames, memory: run(frames, tuple(np.zeros_like(each) for each in memory))


def never_resets(run):
    lanes = {}

    def keep(frames, memory):
        results = run(frames, lanes.get(len(frames), memory))
        lanes[len(frames)] = tuple(results[4:-2])
        return results

    return keep


def loses_a_box(run):
    return lambda frames, memory: [*(r := run(frames, memory))[:3], np.maximum(r[3] - 1, 0), *r[4:]]


def shifts_boxes(run):
    return lambda frames, memory: [(r := run(frames, memory))[0] + 0.1, *r[1:]]


def is_off(run):
    return lambda frames, memory: [*(r := run(frames, memory))[:-1], r[-1] * 1.001]


@pytest.mark.parametrize("wrong", [forgets, never_resets, loses_a_box, shifts_boxes, is_off])
def test_what_computes_something_else_is_refused(detector, exported, wrong):
    run, check = OnnxRunner(exported).raw, {"score": DECODING.score, "tolerance": 1e-4, "name": "model.onnx"}
    check_parity(run, detector, SIZE_HW, **check)
    with pytest.raises(InputError, match=r"^model.onnx must "):
        check_parity(wrong(run), detector, SIZE_HW, **check)


def test_nothing_is_written_when_the_file_differs(detector, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "onnx_model", lambda *_, **__: onnx.load(exported))
    other = copy.deepcopy(detector)
    with torch.no_grad():
        other.head.classes[-1].bias += 0.01
    path = tmp_path / "model.onnx"
    path.write_text("what stood here")
    with pytest.raises(InputError, match=r"differs in logits\. Nothing was written"):
        export(other, path)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["what stood here"]


def test_int8_quantises_the_convolutions_and_keeps_the_rest(detector, exported, tmp_path):
    runner, windows = OnnxRunner(exported), frames_of(detector, 2, 6)
    model = quantized(onnx.load(exported), runner, [windows[:, lane] for lane in range(2)], exact=4)
    path = tmp_path / "int8.onnx"
    path.write_bytes(sealed(model.SerializeToString()))
    small = OnnxRunner(path)
    assert (small.classes, small.input, small.score) == (runner.classes, runner.input, runner.score)
    kinds = {each.name: each.data_type for each in model.graph.initializer}
    weights = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    scales = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    plain = [name for name in weights if name not in scales]
    assert sorted(name.removeprefix("detector.backbone.stem.")[0] for name in plain) == ["0", "1", "1", "1"]
    assert all(kinds[scales[name]] == onnx.TensorProto.INT8 for name in set(weights) - set(plain))
    wanted, found = runner.raw(windows[0])[-1], small.raw(windows[0])[-1]
    assert np.corrcoef(wanted.ravel(), found.ravel())[0, 1] > 0.9


def test_int8_is_what_its_numbers_give_exactly_and_needs_no_more_than_sixteen_bits(detector, exported, tmp_path):
    """x86 without VNNI adds two products of an input of eight bits and a weight in sixteen bits."""
    windows, path = frames_of(detector, 1, 3), tmp_path / "int8.onnx"
    model = quantized(onnx.load(exported), OnnxRunner(exported), [windows[:, 0]], exact=4)
    path.write_bytes(sealed(model.SerializeToString()))
    mine, exact = (OnnxRunner(path, optimised=each).raw(windows[0])[-1] for each in (True, False))
    np.testing.assert_allclose(mine, exact, atol=1e-2 * exact.std())
    weights = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer if each.data_type == 3]
    assert max(np.abs(each.astype(int)).max() for each in weights) * 255 * 2 < 2**15


class Off:
    """A file of eight bits with logits that are off by a share of their spread."""

    def __init__(self, path, share) -> None:
        self.runner, self.share = OnnxRunner(path), share
        self.outputs = self.runner.outputs

    def raw(self, frames, state=None):
        *rest, logits = self.runner.raw(frames, state)
        noise = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
        return [*rest, logits + self.share * logits.std() * noise]


@pytest.mark.parametrize(
    ("exact", "full", "message"),
    [
        (0.0, 0.0, None),
        (0.03, 0.0, r"what its numbers give exactly, and differs in logits by (2|3)\.\d%"),
        (0.0, 0.4, r"nearly what float32 gives, and differs in logits by 3\d\.\d%"),
        (0.0, float("nan"), r"nearly what float32 gives, and differs in logits by nan%"),
    ],
)
def test_eight_bits_that_lose_much_or_are_computed_inexactly_are_refused(detector, exported, exact, full, message):
    frames = frames_of(detector, 1, 2)[:, 0]
    steps = [Off(exported, share) for share in (0.0, exact, full)]
    with nullcontext() if message is None else pytest.raises(InputError, match=f"^model.onnx must .* {message}"):
        check_eight_bits(*steps, frames, name="model.onnx")


class Drifting(Off):
    """Another rounding, which a memory carries on: each window leaves a little more in it."""

    def raw(self, frames, state=None):
        *rest, deltas, logits = super().raw(frames, state)
        found, memory = rest[: len(FOUND)], rest[len(FOUND) :]
        return [*found, *(1.5 * each for each in memory), deltas, logits]


def test_eight_bits_are_held_against_exact_arithmetic_from_the_same_memory(detector, exported):
    frames = frames_of(detector, 1, 6)[:, 0]
    check_eight_bits(Off(exported, 0), Drifting(exported, 0), Off(exported, 0), frames, name="model.onnx")
    with pytest.raises(InputError, match="nearly what float32 gives"):  # which goes its own way
        check_eight_bits(Off(exported, 0), Off(exported, 0), Drifting(exported, 0), frames, name="model.onnx")


def test_a_file_of_eight_bits_is_checked_before_it_is_written(detector, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "onnx_model", lambda *_, **__: onnx.load(exported))
    windows, path = frames_of(detector, 2, 6), tmp_path / "model.onnx"
    export(detector, path, precision="int8", calibration=(windows[:, lane] for lane in range(2)))
    assert OnnxRunner(path).precision == "int8"
    other = copy.deepcopy(onnx.load(exported))
    bias = [each for each in other.graph.initializer if ".head.classes." in each.name and "bias" in each.name][-1]
    bias.CopyFrom(onnx.numpy_helper.from_array(-50 * onnx.numpy_helper.to_array(bias), bias.name))
    monkeypatch.setattr(exporting, "quantized", lambda *_, **__: other)
    path.write_text("what stood here")
    with pytest.raises(InputError, match=r"nearly what float32 gives.* Nothing was written; calibrate it on"):
        export(detector, path, precision="int8", calibration=[windows[:, 0]])
    assert [each.read_text() for each in tmp_path.iterdir()] == ["what stood here"]


def test_int8_sees_small_counts_beside_a_large_one(detector, exported, tmp_path):
    windows = frames_of(detector, 1, 6) > 0
    calibration = windows[:, 0].astype(np.uint8)
    calibration[:, :, 0, 0] = 255
    path = tmp_path / "int8.onnx"
    path.write_bytes(
        sealed(quantized(onnx.load(exported), OnnxRunner(exported), [calibration], exact=4).SerializeToString())
    )
    wanted, found = (OnnxRunner(each).raw(windows[0].astype(np.uint8))[-1].ravel() for each in (exported, path))
    assert np.corrcoef(wanted, found)[0, 1] > 0.9995


def test_int8_needs_frames(exported):
    with pytest.raises(InputError, match="calibration must be frames"):
        quantized(onnx.load(exported), OnnxRunner(exported), [], exact=4)


def test_another_size_shows_as_much_per_pixel(detector):
    smaller = copy.deepcopy(detector)
    smaller.input = InputConfig("stacked_histogram", {"bins": 2}, 50_000, (240, 304), (120, 152))
    copied, size_hw = resized(smaller, (60, 80))
    assert size_hw == copied.input.frame_hw == (60, 80)
    assert copied.input.sensor_hw == (120, 160)
    assert smaller.input.frame_hw == (120, 152)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "x.onnx", "--int8", "--fp16"], "--int8 and --fp16 must not both be given"),
        (["-o", "x.onnx", "--size-hw", "0,4"], "--size-hw must be from 1 to 65536 each"),
        (["-o", "x.onnx", "--score", "0"], "score must be above 0"),
        (["-o", "x.onnx", "--int8"], "--calibration must name a recording"),
        (["-o", "detector.safetensors/x.onnx"], "must be a folder that can be made"),
    ],
)
def test_options_that_cannot_be_are_one_sentence(detector, exported, tmp_path, monkeypatch, words, message):
    monkeypatch.setattr(exporting, "onnx_model", lambda *_, **__: onnx.load(exported))
    monkeypatch.chdir(tmp_path)
    save_detector(detector, "detector.safetensors")
    with pytest.raises(SystemExit, match=message):
        main(["export", "detector.safetensors", *words])
    assert not (tmp_path / "x.onnx").exists()


def test_a_detector_of_pictures_needs_a_size(tmp_path):
    save_detector(
        build_detector(VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8)),
        tmp_path / "detector.safetensors",
    )
    with pytest.raises(SystemExit, match="--size-hw must be given"):
        main(["export", str(tmp_path / "detector.safetensors"), "-o", str(tmp_path / "x.onnx")])


def test_the_program_runs_on_any_number_of_lanes_without_seqdet(detector, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "onnx_model", lambda *_, **__: onnx.load(exported))
    save_detector(detector, tmp_path / "detector.safetensors")
    path = tmp_path / "deep" / "program.pt2"
    main(["export", str(tmp_path / "detector.safetensors"), "-o", str(tmp_path / "x.onnx"), "--program", str(path)])
    module = torch.export.load(path).module()
    for lanes in (1, 2):
        (window,), runner = frames_of(detector, lanes, 1), OnnxRunner(exported)
        memory = [torch.from_numpy(each) for name, each in runner.inputs(window).items() if name != "frames"]
        results = [each.numpy() for each in module(torch.from_numpy(window), *memory)]
        for mine, theirs in zip(results, runner.raw(window), strict=True):
            assert mine.shape == theirs.shape
            np.testing.assert_allclose(mine, theirs, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("config", [{"cell": "gru"}, {"activation": "sigmoid", "anchors": "psee"}])
def test_other_detectors_and_half_precision_pass_the_check(config, tmp_path):
    for precision in ("float32", "float16"):
        export(opinionated(**config), tmp_path / "x.onnx", size_hw=(64, 200), precision=precision)
        assert OnnxRunner(tmp_path / "x.onnx").precision == precision
