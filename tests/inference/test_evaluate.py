import json
import re

import av
import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.config import DataConfig, DigitsConfig, TrainConfig, VanillaConfig
from seqdet.inference.evaluate import evaluate, read_curves, summary
from seqdet.models.measuring import measure
from seqdet.models.weights import load_detector
from seqdet.models.zoo import build_detector
from seqdet.training.fit import fit

DIGITS = DigitsConfig(
    frames_per_video=6, held_out_frames_per_video=6, frames_per_epoch=36, validation_frames=12, test_frames=24
)
DATA = DataConfig(clip_length=3, lanes=2, digits=DIGITS)
TRAIN = TrainConfig(max_steps=8, warmup_steps=2, log_steps=2, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluate") / "run"
    fit(
        build_detector(VanillaConfig(classes=tuple("0123456789"), in_channels=3, base=1, channels=8, head_layers=0)),
        DATA,
        TRAIN,
        out,
    )
    evaluate(out)
    return out


def test_metrics_hold_scores_and_the_facts_of_the_training(run):
    metrics = json.loads((run / "metrics.json").read_text())
    for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AR"):
        assert 0 <= metrics[name] <= 1
    assert metrics["AP_large"] is None
    assert metrics["format"] == "seqdet metrics 1"
    assert metrics["frames"] == 24
    assert metrics["training_frames"] == 8 * 3 * 2
    assert metrics["training_seconds"] > 0
    costs = measure(load_detector(run / "detector.safetensors"), (128, 128))
    assert (metrics["parameters"], metrics["flop"], metrics["state_bytes"]) == costs
    assert set(metrics["per_class"]) == set("0123456789")
    assert set(metrics["versions"]) >= {"seqdet", "torch", "python"}


def test_plain_scores_of_moving_digits_are_those_of_the_protocol_coco(run):
    metrics = evaluate(run, protocol="coco")
    scores = metrics["by_protocol"]
    assert (metrics["protocol"], metrics["digest"]) == (scores["protocol"], scores["digest"])
    assert scores["AP"] == pytest.approx(metrics["AP"], abs=1e-6)
    assert scores["truth_boxes"] == metrics["truth_boxes"] == metrics["errors"]["right"] + metrics["errors"]["missed"]
    assert "speed, px/s" in metrics["breakdowns"]
    assert (metrics["dataset"], metrics["split"]) == ("moving digits", "test")


def test_an_evaluation_done_again_gives_the_same_scores(run):
    before = json.loads((run / "metrics.json").read_text())
    again = evaluate(run)
    assert {name: again[name] for name in ("AP", "AP50", "AR", "per_class")} == {
        name: before[name] for name in ("AP", "AP50", "AR", "per_class")
    }


def test_the_video_shows_the_clips_side_by_side_in_h264(run):
    with av.open(str(run / "demo.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        images = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
    assert len(images) == 4 * 3  # two lanes play four recordings of two clips
    assert images[0].shape[1] > 2 * 128
    assert max(np.abs(images[0].astype(int) - images[-1]).max(), 0) > 50


def test_the_page_stands_alone_and_shows_scores_curves_and_configuration(run):
    page = (run / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    for part in ("AP50", "Loss", "Learning rate", "recall", "frames_per_video", "torch"):
        assert part in page
    assert "Worst misses" in page


def test_the_curves_are_those_of_the_training(run):
    curves = read_curves(run / "logs")
    assert {"loss/total", "loss/classes", "loss/boxes", "lr", "validation/AP"} <= set(curves)
    steps, values = curves["loss/total"]
    assert steps.tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(values, curves["loss/classes"][1] + curves["loss/boxes"][1], rtol=1e-5)


def test_the_summary_names_the_scores_and_the_files(run):
    text = "\n".join(summary(json.loads((run / "metrics.json").read_text()), run))
    assert "24 held-out frames: AP 0." in text
    assert str(run / "report.html") in text


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must be the folder of a run, and holds no config\.yaml"):
        evaluate(tmp_path)


def test_an_unfinished_run_is_refused_with_the_command_that_finishes_it(run, tmp_path):
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    with pytest.raises(InputError, match=r"must hold a finished training\. Go on with: seqdet train --resume"):
        evaluate(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b'{"frames": 1', b"[1]", b'{"frames": 1}', b'{"format": "seqdet training 2"}', b"\x99"]
)
def test_damaged_facts_of_the_training_are_one_sentence(run, tmp_path, content):
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    (tmp_path / "training.json").write_bytes(content)
    with pytest.raises(InputError, match=r"training\.json must"):
        evaluate(tmp_path)


def test_a_run_without_logs_has_no_curves(tmp_path):
    assert read_curves(tmp_path / "logs") == {}
