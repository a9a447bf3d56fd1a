"""What is measured of a detector at work: everything is counted once. How long it took is not for a test to say."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.events.array import columns
from seqdet.events.evt import write_evt3
from seqdet.events.files import open_recording
from seqdet.inference import backends
from seqdet.inference.backends import Backend
from seqdet.inference.latency import STAGES, LatencyConfig, benchmark, figures, play, shared, table
from seqdet.inference.streaming import StreamConfig, StreamingDetector
from seqdet.models.weights import save_detector

from .fakes import SENSOR_HW, HullRunner
from .test_onnx_runner import run

QUICK = LatencyConfig(windows=6, warm_up=2, threads=1)


def recorded(path, size_hw, *, count=3000, span_us=400_000, begin_us=7_300):
    """Events at random, with a pause in the middle."""
    rng = np.random.default_rng(0)
    t = begin_us + np.sort(rng.integers(0, span_us, count))
    x, y = (rng.integers(0, size, count) for size in size_hw[::-1])
    kept = (t < begin_us + 0.4 * span_us) | (t > begin_us + 0.6 * span_us)
    write_evt3(path, [columns(t=t, x=x, y=y, p=x % 2)[kept]], size_hw=size_hw)
    return path


@pytest.fixture(scope="module", autouse=True)
def process():
    """A short product, and the threads afterwards as before."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "SIDE", 64)
        patch.setattr(backends, "FRAME", 8)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("latency") / "detector.safetensors"
    save_detector(detector, path)
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("latency") / "a.raw", (120, 125))


@pytest.mark.parametrize("span_us", [900, 40_000])
def test_windows_events_and_boxes_are_those_of_a_stream(span_us, tmp_path):
    path = recorded(tmp_path / "a.raw", SENSOR_HW, span_us=span_us)
    with open_recording(path) as opened:
        stream = StreamingDetector(HullRunner(), StreamConfig(score=0.3))
        found = [each for piece in opened.chunks() for each in stream.push(piece)] + list(stream.flush())
        played = play(opened, Backend("hull", HullRunner()), QUICK, windows=10**6)
        fewer = play(opened, Backend("hull", HullRunner()), QUICK, windows=1)
    assert len(played.seconds) == len(found)
    assert played.events == sum(len(each.events) for each in found)
    assert played.boxes == sum(len(each.boxes) for each in found) > 0
    assert len(fewer.seconds) == 1
    assert fewer.events == len(found[0].events)


def test_stages_add_up_to_the_time_from_event_to_box(tmp_path):
    with open_recording(recorded(tmp_path / "a.raw", SENSOR_HW)) as opened:
        seconds = play(opened, Backend("hull", HullRunner()), QUICK, windows=50).seconds
    assert seconds.shape == (50, len(STAGES))
    assert (seconds >= 0).all()
    assert np.allclose(seconds[:, :4].sum(axis=1), seconds[:, 4], rtol=1e-9)


def test_a_live_window_is_taken_up_when_it_is_due(tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    config = LatencyConfig(live=True)
    with open_recording(recorded(tmp_path / "a.raw", SENSOR_HW)) as opened:
        played = play(opened, Backend("hull", HullRunner()), config, windows=50)
    assert len(played.seconds) == len(slept) == 50
    assert all(0 <= seconds <= n * 0.001 + 1e-9 for n, seconds in enumerate(slept))


def test_a_live_window_that_waits_for_those_before_it_counts_from_its_end(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))

    class Slow(HullRunner):
        """Takes three windows' time, as the clock says."""

        def __call__(self, frames, state=None):
            clock[0] += 0.003
            return super().__call__(frames, state)

    with open_recording(recorded(tmp_path / "a.raw", SENSOR_HW)) as opened:
        played = play(opened, Backend("slow", Slow()), LatencyConfig(live=True), windows=5)
    assert np.allclose(played.seconds[:, STAGES.index("event to box")], [0.003, 0.005, 0.007, 0.009, 0.011])
    found = figures("slow", [played], STAGES, 1000, None)
    assert found["windows_per_s"] == pytest.approx(1 / 0.003)


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans(), st.integers(0, 10**6)), min_size=1, max_size=40))
def test_the_time_of_a_piece_is_shared_by_events_and_nothing_is_lost(rows):
    seconds, is_new, events = map(np.array, zip(*rows, strict=True))
    pieces = np.cumsum(is_new)
    shares = shared(seconds, pieces, events)
    assert np.allclose(np.bincount(pieces, shares), np.bincount(pieces, seconds))
    for piece in np.unique(pieces):
        rate = shares[pieces == piece] / (events[pieces == piece] + 1)
        assert np.allclose(rate, rate[0])


@pytest.fixture
def has_bfloat16(monkeypatch, request):
    """Whether the machine is faster in bfloat16: it is if a test does not say otherwise."""
    answer = getattr(request, "param", True)
    monkeypatch.setattr("seqdet.devices.choose_precision", lambda *_: "bfloat16" if answer else "float32")
    return answer


def test_backends_see_the_same_and_their_figures_fit_together(weights, recording, has_bfloat16):
    pytest.importorskip("onnxscript")
    config = LatencyConfig(windows=6, warm_up=2, threads=1, passes=2)
    report = benchmark(weights, recording, config, device="cpu")
    assert [row["name"] for row in report["backends"]] == ["eager", "eager_bfloat16", "onnx"]
    assert json.loads(json.dumps(report)) == report
    assert min(report["network_flop"], report["best_float32_flop_per_s"]) > 0
    eager, _, onnx = report["backends"]
    assert eager["boxes_per_window"] == onnx["boxes_per_window"] > 0
    lines = "\n".join(table(report)).partition("peak memory")[0]
    for row in report["backends"]:
        assert (row["windows"], row["events"]) == (12, eager["events"])
        assert list(row["ms"]) == list(STAGES)
        assert all(each["p50"] <= each["p95"] <= each["p99"] for each in row["ms"].values())
        assert row["real_time_factor"] == pytest.approx(row["windows_per_s"] * 0.05)
        assert row["events_per_s"] / row["windows_per_s"] == pytest.approx(row["events"] / row["windows"])
        assert [line.split()[0] for line in lines.splitlines() if line.strip()].count(row["name"]) == 2


def test_a_network_in_pytorch_ends_before_its_boxes_are_there(weights, recording):
    with open_recording(recording) as opened:
        (backend,), _ = backends.find_backends(
            weights, ["eager"], size_hw=opened.size_hw, score=0.3, threads=1, any_size=False, device="cpu"
        )
        seconds = play(opened, backend, QUICK, windows=4).seconds
    assert len(backend.forward_ended_s) == 1
    assert (seconds[:, [2, 3]] > 0).all()


def test_an_exported_model_is_measured_without_torch(exported, recording):
    code = (
        "from pathlib import Path; from seqdet.inference.latency import *; import sys, json\n"
        "config = LatencyConfig(windows=4, warm_up=1, threads=1, track=False)\n"
        "print(json.dumps(benchmark(Path(sys.argv[1]), Path(sys.argv[2]), config)))"
    )
    report = json.loads(run(code, exported, recording, without=("torch", "onnx", "onnxscript")))
    (row,) = report["backends"]
    assert (row["name"], row["windows"], row["share_of_bound"]) == ("onnx", 4, None)
    assert "track" not in row["ms"]
    assert "onnx" in "\n".join(table(report))


def test_a_sensor_of_another_size_is_taken_if_wanted(weights, tmp_path):
    path = recorded(tmp_path / "a.raw", (60, 62))
    options = {"windows": 3, "warm_up": 1, "threads": 1}
    with pytest.raises(InputError, match="must see 125x120 pixels, as in training, got 62x60"):
        benchmark(weights, path, LatencyConfig(**options), names=["eager"], device="cpu")
    report = benchmark(weights, path, LatencyConfig(**options, any_size=True), names=["eager"], device="cpu")
    assert report["sensor_hw"] == [60, 62]


def test_a_recording_that_says_nothing_is_measured_with_what_the_user_says(weights, tmp_path):
    times = np.arange(0, 1000, 2)
    (tmp_path / "a.csv").write_text("\n".join(f"{time},{time % 125},{time % 120},1" for time in times))
    stated = LatencyConfig(windows=30, warm_up=1, threads=1, size_hw=(120, 125), time_unit="ms")
    (row,) = benchmark(weights, tmp_path / "a.csv", stated, names=["eager"], device="cpu")["backends"]
    assert row["windows"] == 20


def test_what_does_not_fit_is_one_sentence(weights, exported, recording, detector, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="backends must be one of compiled, eager, eager_bfloat16, onnx; got 'tpu'"):
        benchmark(weights, recording, QUICK, names=["tpu"])
    with pytest.raises(InputError, match=r"backends must be onnx alone for .*model\.onnx"):
        benchmark(exported, recording, QUICK, names=["eager"])
    for path in (tmp_path, Path("-")):
        with pytest.raises(InputError, match="recording must be one file of events, and is a folder or a pipe"):
            benchmark(weights, path, QUICK, names=["eager"])
    write_evt3(tmp_path / "silence.raw", [], size_hw=(120, 125))
    with pytest.raises(InputError, match=r"silence.raw must have events, and has none\."):
        benchmark(weights, tmp_path / "silence.raw", QUICK, names=["eager"])
    monkeypatch.setattr(detector, "input", None)
    save_detector(detector, tmp_path / "pictures.safetensors")
    with pytest.raises(InputError, match="must hold a detector for events, got one for pictures of 4 channels"):
        benchmark(tmp_path / "pictures.safetensors", recording, QUICK, names=["eager"])
    with pytest.raises(InputError, match="windows must be at least 1, got 0"):
        LatencyConfig(windows=0)


@pytest.mark.parametrize("has_bfloat16", [False], indirect=True)
def test_bfloat16_that_is_not_faster_is_measured_only_if_named(weights, recording, has_bfloat16, monkeypatch, caplog):
    monkeypatch.setattr(backends, "EXPORTERS", ("package_that_is_not_there",))
    with caplog.at_level(logging.INFO, "seqdet"):
        report = benchmark(weights, recording, QUICK, device="cpu")
    assert [row["name"] for row in report["backends"]] == ["eager"]
    assert "eager_bfloat16 is left out: this machine is not faster in it." in caplog.text
    report = benchmark(weights, recording, QUICK, names=["eager_bfloat16"], device="cpu")
    assert [row["name"] for row in report["backends"]] == ["eager_bfloat16"]


def test_without_onnx_the_others_are_measured_and_a_line_says_what_to_install(
    weights, recording, has_bfloat16, monkeypatch, caplog
):
    monkeypatch.setattr(backends, "EXPORTERS", ("onnx", "package_that_is_not_there"))
    with caplog.at_level(logging.INFO, "seqdet"):
        report = benchmark(weights, recording, QUICK, device="cpu")
    assert [row["name"] for row in report["backends"]] == ["eager", "eager_bfloat16"]
    assert "package_that_is_not_there must be installed to measure ONNX Runtime: pip install 'seq" in caplog.text
    with pytest.raises(InputError, match="package_that_is_not_there must be installed"):
        benchmark(weights, recording, QUICK, names=["onnx"])


def test_the_command_prints_a_table_and_writes_the_figures(weights, recording, tmp_path, caplog):
    options = "--backends", "eager", "--threads", "1", "--windows", "3", "--warm-up", "1", "--device", "cpu"
    main(["benchmark", str(weights), str(recording), *options, "--json", str(tmp_path / "out.json")])
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["threads"], report["warm_up"], report["backends"][0]["windows"]) == (1, 1, 3)
    assert caplog.messages[: len(table(report))] == table(report)
