from __future__ import annotations

from dataclasses import fields

import pytest

from seqdet.evaluation.protocols import Protocol, find_protocol
from seqdet.evaluation.report import compare

from .scored import score

NAMES = ("car", "pedestrian", "two wheeler")
PAPER = find_protocol("psee-gen1")
AT, BOX = 1_000_000, (50, 50, 40, 40)


def test_a_comparison_ends_at_the_second_protocol_and_names_every_rule_that_differs(random_recordings):
    truth, detections, labelled = random_recordings(0, recordings=8, times=40)
    given = {"class_names": NAMES, "labelled_us": labelled}
    for first, second in [
        ("psee-gen1", "toolbox-legacy"),
        ("rvt", "metavision"),
        ("coco", "psee-1mpx"),
        ("coco", "coco"),
    ]:
        a, b = find_protocol(first), find_protocol(second)
        found = compare(truth, detections, a, b, **given)
        last = found.steps[-1].AP if found.steps else found.start.AP
        assert last == pytest.approx(score(truth, detections, b, **given).AP, abs=1e-12)
        outside = {"name", "version", "note", "dataset_classes", "sensor_hw"}
        assert {step.rule for step in found.steps} == {
            field.name for field in fields(Protocol) if getattr(a, field.name) != getattr(b, field.name)
        } - outside
        assert len(found.lines()) == len(found.steps) + 2
        assert all(a.digest in line or b.digest in line or line.startswith("  ") for line in found.lines())


def test_a_comparison_says_what_a_rule_takes_out(boxes):
    truth = {"a": boxes((200_000, *BOX), (AT, *BOX), (AT, 150, 50, 15, 40))}
    legacy = find_protocol("toolbox-legacy")
    steps = compare(truth, truth, PAPER, legacy, class_names=NAMES).steps
    assert [(step.rule, step.truth, step.detections) for step in steps] == [("skip_us", 1, 1), ("min_side", 1, 1)]
    assert (
        "skip_us 500000 -> 100000: AP 1.000 (+0.000; 1 truth boxes"
        in compare(truth, truth, PAPER, legacy, class_names=NAMES).lines()[1]
    )
