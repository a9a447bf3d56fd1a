from __future__ import annotations

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.evaluation.protocols import find_protocol, join
from seqdet.evaluation.report import Interval, bootstrap

from .scored import score

NAMES = ("car", "pedestrian", "two wheeler")
PAPER, PLAIN, RVT = (find_protocol(name) for name in ("psee-gen1", "coco", "rvt"))


@pytest.mark.parametrize("protocol", [RVT, PLAIN], ids=["rvt", "plain"])
def test_intervals_are_those_of_scoring_every_sample_from_its_files(protocol, random_recordings):
    truth, detections, labelled = random_recordings(1, recordings=4, times=8)
    frames = join(truth, detections, protocol, class_names=NAMES, labelled_us=labelled)
    found = bootstrap(frames, samples=25, seed=3)
    samples = []
    for drawn in np.random.default_rng(3).integers(4, size=(25, 4)):
        tables = [
            {f"{n}": table[f"recording{number}"] for n, number in enumerate(drawn)}
            for table in (truth, detections, labelled)
        ]
        scores = score(tables[0], tables[1], protocol, class_names=NAMES, labelled_us=tables[2])
        samples.append((scores.AP, scores.AP50, scores.AP75))
    for (low, high), name in zip(np.percentile(samples, [2.5, 97.5], axis=0).T, ("AP", "AP50", "AP75"), strict=True):
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=1e-12)


def test_the_interval_has_the_figure_of_all_recordings_nearly_always(random_recordings):
    inside = 0
    for seed in range(20):
        truth, detections, _ = random_recordings(seed, recordings=10, times=20)
        frames = join(truth, detections, PAPER, class_names=NAMES)
        interval = bootstrap(frames, samples=200)["AP"]
        inside += interval.low <= score(truth, detections, PAPER, class_names=NAMES).AP <= interval.high
    assert inside >= 18


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly(random_recordings):
    truth, detections, _ = random_recordings(0, recordings=10, times=20)
    frames = join(truth, detections, PAPER, class_names=NAMES)
    first, second = bootstrap(frames, samples=500, seed=1)["AP"], bootstrap(frames, samples=500, seed=2)["AP"]
    assert bootstrap(frames, samples=500, seed=1)["AP"] == first != second
    assert (second.low, second.high) == pytest.approx((first.low, first.high), abs=0.03)


def test_equal_recordings_have_an_interval_without_width_and_none_without_truth(boxes):
    table = boxes((10**6, 50, 50, 40, 40))
    same = join({"a": table, "b": table}, {"a": table, "b": table}, PAPER, class_names=NAMES)
    assert bootstrap(same, samples=10) == dict.fromkeys(("AP", "AP50", "AP75"), Interval(1.0, 1.0))
    empty = join({"a": table[:0], "b": table[:0]}, {}, PAPER, class_names=NAMES)
    assert str(bootstrap(empty, samples=10)["AP"]) == "- to -"
    half = join({"a": table, "b": table[:0]}, {}, PAPER, class_names=NAMES)
    assert bootstrap(half, samples=100)["AP"] == Interval(0.0, 0.0)


def test_one_recording_has_no_interval(boxes):
    frames = join({"a": boxes()}, {}, PAPER, class_names=NAMES)
    with pytest.raises(InputError, match="at least 2 recordings"):
        bootstrap(frames)
