"""A run scored by protocols: as its own detections are when they come from files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from seqdet import (
    DataConfig,
    DigitsConfig,
    EventDigitsConfig,
    TrainConfig,
    VanillaConfig,
    build_detector,
    evaluate,
    fit,
)
from seqdet.checks import InputError
from seqdet.config import AugmentConfig, DatasetConfig, TensorConfig
from seqdet.config_files import read_config
from seqdet.data.classes import read_classes, write_classes
from seqdet.data.labels import read_labels, write_labelled_us, write_labels
from seqdet.evaluation.report import evaluate_files
from seqdet.inference.evaluate import summary
from seqdet.inference.scoring import HeldOut, held_out_config
from seqdet.loading import prepare_split
from seqdet.structures import Boxes

SHIFT_US = 10_000


def trained(folder, downscale):
    length = {"frames_per_video": 12, "held_out_frames_per_video": 12}
    digits = DigitsConfig(frames_per_epoch=12, validation_frames=12, test_frames=36, **length)
    dataset = DatasetConfig(
        folder / "digits",
        simulate=True,
        scene=EventDigitsConfig(digits, moving_s=(0.05, 0.1), still_s=(0.4, 0.5)),
        tensor=TensorConfig(parameters={"bins": 1}, downscale=downscale),
        augment=AugmentConfig(flip=1),
    )
    data = DataConfig(clip_length=4, lanes=2, dataset=dataset)
    model = VanillaConfig(classes=tuple("0123456789"), in_channels=2, base=2, channels=16)
    return fit(build_detector(model), data, TrainConfig(max_steps=1), folder / f"run{downscale}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By how much smaller frames are than the sensor."""
    folder = tmp_path_factory.mktemp("protocols")
    return {downscale: trained(folder, downscale) for downscale in (1, 2)}


def guesses(detector, clips, *, score, precision, remembers):
    """Truth that is moved a little, with some scores, and something wrong in every frame, also in unlabelled ones."""
    rng = np.random.default_rng(int(remembers))
    for clip in clips:
        found = []
        for boxes in clip.boxes:
            moved = boxes.xyxy + torch.from_numpy(rng.normal(0, 2, (len(boxes), 4)).astype(np.float32))
            xyxy = torch.cat([moved, torch.tensor([[1.0, 2.0, 30.0, 31.0]])])
            moved_last = torch.cat([xyxy[:, :2], torch.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)], dim=1)
            scores = torch.from_numpy(rng.random(len(xyxy)).astype(np.float32))
            found.append(Boxes(moved_last, torch.cat([boxes.labels, torch.tensor([3])]), scores=scores))
        yield clip, found


def perfect(detector, clips, **options):
    for clip in clips:
        yield clip, [Boxes(each.xyxy, each.labels, scores=torch.full((len(each),), 0.9)) for each in clip.boxes]


@pytest.fixture
def predicting(monkeypatch):
    """A function that says what every detector finds; nothing is filmed, which takes most of the time."""
    monkeypatch.setattr("seqdet.inference.evaluate.write_video", lambda *_, **__: None)
    return lambda function: monkeypatch.setattr("seqdet.inference.scoring.predict", function)


def numbers(facts, path=""):
    """All figures of nested facts, by their path."""
    for name, value in facts.items() if isinstance(facts, dict) else enumerate(facts):
        if isinstance(value, dict | list):
            yield from numbers(value, f"{path}/{name}")
        else:
            yield f"{path}/{name}", value


@pytest.mark.parametrize("downscale", [1, 2])
@pytest.mark.parametrize("protocol", ["coco@1", "metavision@1"])
def test_a_run_has_the_figures_of_its_detections_in_files(downscale, protocol, runs, predicting, tmp_path):
    predicting(guesses)
    run = runs[downscale]
    other = {"coco@1": "metavision", "metavision@1": "coco"}[protocol]
    metrics = evaluate(run, protocol=protocol, other=other, samples=20, detections=tmp_path / "found")
    target = tmp_path / "figures.json"
    given = {"protocol": protocol, "other": other, "samples": 20, "target": target}
    said = evaluate_files(tmp_path / "found", run.parent / "digits", **given)
    expected = dict(numbers(json.loads(target.read_text())))
    found = {name: value for name, value in numbers(metrics["by_protocol"]) if not name.startswith("/lines")}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value, abs=1e-12) if isinstance(value, float) else value), name
    assert 0.1 < metrics["by_protocol"]["AP"] < 0.9
    assert metrics["by_protocol"]["lines"] == said
    assert {"speed, px/s", "still, s", "without events, s"} == metrics["by_protocol"]["breakdowns"].keys()
    assert "\n".join(said) in "\n".join(summary(metrics, run))
    assert f"{protocol} {metrics['by_protocol']['digest']}" in (run / "report.html").read_text()


def test_plain_scores_have_the_protocol_where_they_are_its_figures(runs, predicting):
    predicting(guesses)
    full = evaluate(runs[1], protocol="coco")
    assert (full["protocol"], full["digest"]) == ("coco@1", full["by_protocol"]["digest"])
    assert {name: full[name] for name in ("AP", "AP_small", "AR")} == pytest.approx(
        {name: full["by_protocol"][name] for name in ("AP", "AP_small", "AR")}, abs=1e-6
    )
    half = evaluate(runs[2], protocol="coco")
    assert (half["protocol"], half["digest"]) == (None, None)
    assert half["by_protocol"]["AP"] == pytest.approx(half["AP"], abs=1e-6)


def moved(dataset, folder, shift_us):
    """A copy of the recordings with labels that are so much later."""
    shutil.copytree(dataset, folder)
    for path in folder.rglob("*_bbox.npy"):
        boxes = read_labels(path)
        times = np.load(path.with_name(path.name.replace("_bbox", "_labelled")))
        boxes["t"] += shift_us
        write_labels(path, boxes)
        write_labelled_us(path, times + shift_us)
    return folder


def test_a_labelled_time_gets_the_detections_of_the_window_that_shows_it(runs, predicting, tmp_path):
    predicting(perfect)
    dataset = moved(runs[1].parent / "digits", tmp_path / "moved", SHIFT_US)
    metrics = evaluate(runs[1], dataset, protocol="coco", detections=tmp_path / "found", split="validation")
    assert (metrics["by_protocol"]["AP"], metrics["by_protocol"]["frames"]) == (1, 12)
    assert (metrics["split"], metrics["dataset"]) == ("validation", str(dataset))
    (path,) = (tmp_path / "found").glob("*_bbox.npy")
    assert set(read_labels(path)["t"] % 50_000) == {SHIFT_US}
    assert evaluate_files(tmp_path / "found", dataset, split="val")[0].startswith("AP 1.000")
    evaluate(runs[1], dataset, protocol="metavision", detections=tmp_path / "all", split="validation")
    assert set(read_labels(tmp_path / "all" / path.name)["t"] % 50_000) == {0}


def test_labels_that_the_data_skips_still_count_in_files(runs, predicting, tmp_path):
    predicting(perfect)
    run = tmp_path / "run"
    shutil.copytree(runs[1], run)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("skip_us: 0", "skip_us: 300000"))
    metrics = evaluate(run, protocol="coco")
    assert metrics["frames"] < metrics["by_protocol"]["frames"] == 36
    assert metrics["protocol"] is None


def test_training_recordings_are_scored_as_they_are_and_not_changed(runs):
    config = held_out_config(read_config(runs[1] / "config.yaml"))
    prepare_split(config.data, "train")
    data = HeldOut(config, "train")
    assert data.source.config.augment == AugmentConfig()


def test_data_that_do_not_fit_the_detector_are_refused_in_one_sentence(runs, tmp_path):
    dataset = tmp_path / "cars"
    shutil.copytree(runs[1].parent / "digits", dataset)
    write_classes(dataset, [f"car {name}" for name in read_classes(dataset)])
    with pytest.raises(InputError, match=r"cars must fit the detector, .* knows 0, 1, .*; got 2 channels and car 0"):
        evaluate(runs[1], dataset)
    with pytest.raises(InputError, match="must be the folder of a dataset, and is none"):
        evaluate(runs[1], tmp_path / "nothing")
    with pytest.raises(InputError, match="psee-gen1@1 scores car, pedestrian, and the data set has no class car"):
        evaluate(runs[1], protocol="psee-gen1")
    with pytest.raises(InputError, match="--protocol must be given"):
        evaluate(runs[1], samples=10)
    with pytest.raises(InputError, match="protocol must be one of"):
        evaluate(runs[1], protocol="best")


def test_the_page_shows_the_worst_errors_with_their_frames(runs, predicting):
    predicting(guesses)
    metrics = evaluate(runs[2])
    page = (Path(runs[2]) / "report.html").read_text()
    for part in ("Worst misses", "Worst false alarms", "Reliability of the scores", "By time of standing still", " px"):
        assert part in page
    assert page.count("<img") >= 2 * 3
    errors, bins = metrics["errors"], metrics["reliability"]["bins"]
    assert errors["right"] + errors["missed"] == metrics["truth_boxes"]
    assert sum(each["detections"] for each in bins) <= metrics["detections"]
