"""A detector scored with faults of the sensor: each figure is that of the frames with the fault in them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from seqdet import (
    DataConfig,
    DatasetConfig,
    DigitsConfig,
    EventDigitsConfig,
    InputError,
    TensorConfig,
    TrainConfig,
    VanillaConfig,
    evaluate,
    fit,
)
from seqdet.cli import main
from seqdet.config import RunConfig
from seqdet.data.faults import FAULTS, FaultyFrames, evaluated_fault
from seqdet.inference import faulty
from seqdet.inference.faulty import fault_lines, score_faults
from seqdet.inference.probing import marks_of
from seqdet.inference.scoring import HeldOut, LabelledFrames, held_out_config, score
from seqdet.inference.torch_runner import predict
from seqdet.loading import evaluation_loader, prepare_split

from .conftest import opinionated

DIGITS = DigitsConfig(
    height=64,
    width=64,
    digit_heights=(24.0, 36.0),
    frames_per_video=8,
    held_out_frames_per_video=8,
    frames_per_epoch=8,
    validation_frames=8,
    test_frames=16,
)
CLASSES = ("digit=" + "+".join("0123456789"),)
MODEL = VanillaConfig(base=1, channels=8, head_layers=0, levels=2)
TRAIN = TrainConfig(max_steps=1, device="cpu")


def data_of(folder) -> DataConfig:
    scene = EventDigitsConfig(DIGITS, moving_s=(0.05, 0.1), still_s=(0.4, 0.5))
    tensor = TensorConfig(parameters={"bins": 2})
    dataset = DatasetConfig(folder, simulate=True, scene=scene, tensor=tensor, classes=CLASSES)
    return DataConfig(clip_length=4, lanes=2, dataset=dataset)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return data_of(tmp_path_factory.mktemp("faults") / "digits")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return fit(MODEL, data, TRAIN, tmp_path_factory.mktemp("faults") / "run")


@pytest.fixture(scope="module")
def held_out(data):
    detector = opinionated(in_channels=4, classes=("digit",))
    prepare_split(data, "test")
    return detector, HeldOut(held_out_config(RunConfig(data, detector.config)), "test")


@pytest.fixture(scope="module")
def found(held_out):
    detector, test = held_out
    scored = score(detector, test, precision="float32")
    return scored, score_faults(detector, test, scored, precision="float32")


def test_without_a_fault_the_scores_are_those_of_the_evaluation(found):
    scored, table = found
    assert table["without"]["AP"] == pytest.approx(scored.scores.AP, abs=1e-9)
    assert table["without"]["AP50"] == pytest.approx(scored.scores.AP50, abs=1e-9)
    assert table["without"]["still_AP50"] == pytest.approx(scored.still["still"]["AP50"], abs=1e-9)


def test_every_fault_and_severity_is_scored_and_no_two_alike(found):
    _, table = found
    assert tuple(table["by_fault"]) == tuple(FAULTS)
    assert table["severities"] == [1, 2, 3, 4, 5]
    assert table["played"] == table["planned"] == 35
    figures = [value for columns in table["by_fault"].values() for each in columns.values() for value in each]
    assert len(figures) == 105
    assert all(value is not None and 0 <= value <= 1 for value in figures)
    assert json.loads(json.dumps(table)) == table


@pytest.mark.parametrize(("name", "severity"), [("flicker", 5), ("lost_windows", 3)])
def test_a_figure_is_that_of_the_frames_with_the_fault(found, held_out, name, severity):
    detector, test = held_out
    kind = FaultyFrames(test.source.input, 4)

    def clips():
        starts: dict[int, int] = {}
        for clip in evaluation_loader(test.config.data, "test", source=test.source):
            frames = clip.frames.clone()
            for lane, number in enumerate(clip.recordings.tolist()):
                if number >= 0:
                    start = starts.get(number, 0)
                    fault = evaluated_fault(name, severity, number)
                    frames[:, lane] = kind.frames(clip.frames[:, lane], fault, start=start)
                    starts[number] = start + len(frames)
            yield replace(clip, frames=frames)

    labelled = LabelledFrames(test.known.scales_xy)
    for clip, boxes in predict(detector, clips(), score=0.01, precision="float32"):
        labelled.add(clip, boxes)
    marks = marks_of(*labelled.joined(detector.classes))
    columns = found[1]["by_fault"][name]
    for each, values in columns.items():
        assert values[severity - 1] == pytest.approx(getattr(marks, each), abs=1e-9)


def test_all_detectors_see_the_same_faults(held_out, monkeypatch):
    _, test = held_out
    seen = []

    def remembering(detector, clips, **settings):
        for clip in clips:
            seen[-1].append(clip.frames.clone())
            yield clip, [each[:0] for each in clip.boxes]

    monkeypatch.setattr(faulty, "predict", remembering)
    monkeypatch.setattr(faulty, "marks_of", lambda *arguments: faulty.Marks(0.0, 0.0, 0.0, 1))
    monkeypatch.setattr(faulty.LabelledFrames, "add", lambda *arguments: None)
    monkeypatch.setattr(faulty.LabelledFrames, "joined", lambda *arguments: ())
    scored = faulty.Scored(*[None] * len(faulty.Scored._fields))
    for base in (1, 2):
        seen.append([])
        score_faults(opinionated(base=base, classes=("digit",)), test, scored, precision="float32")
    assert len(seen[0]) == len(seen[1]) > 35
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))


def test_what_is_done_when_somebody_stops_it_is_kept(run, held_out, monkeypatch, caplog):
    clips = 0

    def stopping(detector, frames, **settings):
        nonlocal clips
        for each in predict(detector, frames, **settings):
            clips += 1
            if clips > 20:
                raise KeyboardInterrupt
            yield each

    monkeypatch.setattr(faulty, "predict", stopping)
    main(["evaluate", str(run), "--faults"])
    table = json.loads((run / "metrics.json").read_text())["faults"]
    assert 0 < table["played"] == 20 // 2 < table["planned"]
    assert [value is not None for value in table["by_fault"]["flicker"]["AP"]] == [True, True, False, False, False]
    assert "Stopped after 10 of 35 faults and severities: these are kept." in caplog.text
    assert "10 of 35 faults and severities were played." in caplog.text
    assert "Faults of the sensor" in (run / "report.html").read_text()


def test_the_table_is_printed_and_on_the_page_and_gone_without_the_option(run, monkeypatch, caplog):
    columns = {"AP": [0.5, 0.4, 0.3, 0.2, None], "AP50": [0.6] * 5, "still_AP50": [None] * 5}
    table = {
        "severities": [1, 2, 3, 4, 5],
        "without": {"AP": 0.625, "AP50": 0.7, "still_AP50": None},
        "by_fault": {"hot_pixels": columns, "flicker": columns},
        "played": 8,
        "planned": 10,
    }
    assert fault_lines(table) == [
        "AP with a fault of the sensor, by severity:",
        "               none      1      2      3      4      5",
        "  hot_pixels  0.625  0.500  0.400  0.300  0.200      -",
        "  flicker     0.625  0.500  0.400  0.300  0.200      -",
        "AP50 with a fault of the sensor, by severity:",
        "               none      1      2      3      4      5",
        "  hot_pixels  0.700  0.600  0.600  0.600  0.600  0.600",
        "  flicker     0.700  0.600  0.600  0.600  0.600  0.600",
        "8 of 10 faults and severities were played.",
    ]
    monkeypatch.setattr("seqdet.inference.evaluate.score_faults", lambda *arguments, **settings: table)
    main(["evaluate", str(run), "--faults"])
    assert "  hot_pixels  0.625  0.500" in caplog.text
    page = (run / "report.html").read_text()
    assert "AP, by fault and severity" in page
    assert "hot pixels" in page
    assert "AP50 of what has stood still for 0.3 s or more, by fault" not in page
    assert "faults" not in evaluate(run)
    assert "by fault and severity" not in (run / "report.html").read_text()


def test_pictures_have_no_faults_of_event_cameras(tmp_path):
    pictures = DataConfig(clip_length=4, lanes=2, digits=DIGITS)
    run = fit(MODEL, pictures, TRAIN, tmp_path / "run")
    with pytest.raises(InputError, match="--faults must be left out: the detector was trained on pictures"):
        evaluate(run, faults=True)
    assert not (run / "metrics.json").exists()
