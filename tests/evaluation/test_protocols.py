from __future__ import annotations

from dataclasses import fields, replace

import pytest

from seqdet.checks import InputError
from seqdet.evaluation import protocols
from seqdet.evaluation.protocols import PROTOCOLS, Protocol, find_protocol

DIGESTS = {
    "psee-gen1@1": "d57b1dd951",
    "psee-1mpx@1": "9c558edccb",
    "psee-1mpx-full@1": "f416098d71",
    "toolbox-legacy@1": "1a0d2fbe3e",
    "toolbox-legacy-1mpx@1": "45f0898bde",
    "hmnet@1": "d02a192c55",
    "rvt@1": "d5f8a0b7ac",
    "rvt-1mpx@1": "857fa451b2",
    "metavision@1": "5c5e61ec6d",
    "coco@1": "214ca00de8",
}


def test_released_protocols_never_change():
    assert {title: protocol.digest for title, protocol in PROTOCOLS.items()} == DIGESTS


CHANGES = {
    "name": "other",
    "version": 2,
    "classes": ("car",),
    "renamed": (("truck", "car"),),
    "dataset_classes": ("car",),
    "sensor_hw": (480, 640),
    "scale": 0.5,
    "clips_truth": True,
    "skip_us": 7,
    "min_diagonal": 7,
    "min_side": 7,
    "filters_truth": False,
    "filters_detections": False,
    "moments": "any",
    "period_us": 7000,
    "before_us": 7,
    "after_us": 7,
    "truth_tolerance_us": 7,
    "least_score": 0.7,
    "max_detections": 7,
}


def test_every_rule_changes_the_digest_and_the_note_does_not():
    start = find_protocol("psee-gen1")
    changed = {name: replace(start, **{name: value}).digest for name, value in CHANGES.items()}
    assert len({*changed.values(), start.digest}) == len(CHANGES) + 1
    assert replace(start, note="other").digest == start.digest
    only_one_value = {"average_precision"}
    assert {field.name for field in fields(Protocol)} == {*CHANGES, *only_one_value, "note"}


def test_the_digest_is_the_same_for_whole_numbers_and_fractions_of_one_value():
    assert replace(find_protocol("coco"), min_side=10).digest == replace(find_protocol("coco"), min_side=10.0).digest


def test_a_name_without_a_version_is_the_newest(monkeypatch):
    newer = [replace(find_protocol("coco"), version=version) for version in (10, 2)]
    monkeypatch.setattr(protocols, "RELEASED", (*protocols.RELEASED, *newer))
    assert find_protocol("coco").version == 10
    assert find_protocol("coco@1").version == 1
    assert find_protocol("psee-gen1").title == "psee-gen1@1"


@pytest.mark.parametrize("title", ["psee", "psee-gen1@2", "psee-gen1@", "", "@1"])
def test_an_unknown_protocol_is_refused_with_the_list_of_all(title):
    with pytest.raises(InputError, match=r"protocol must be one of coco@1, hmnet@1, .*toolbox-legacy@1"):
        find_protocol(title)


def test_every_protocol_is_told_in_words():
    words = {title: " ".join(protocol.lines()) for title, protocol in PROTOCOLS.items()}
    assert all(title in text and PROTOCOLS[title].digest in text for title, text in words.items())
    assert "left out up to 0.5 s" in words["rvt@1"]
    assert "truth cut to the sensor" in words["rvt@1"]
    assert "detections from 25 ms before to 25 ms after" in words["hmnet@1"]
    assert "truth up to 40 ms before and after" in words["metavision@1"]
    assert "boxes scaled by 0.5" in words["psee-1mpx@1"]
    grid = replace(find_protocol("coco"), moments="grid", renamed=(("truck", "car"),), least_score=0.1)
    assert "at whole multiples of 50 ms" in grid.lines()[0]
    assert "truck counts as car" in grid.lines()[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a b"}, "name of a protocol"),
        ({"version": 0}, "version must be at least 1"),
        ({"scale": 0}, "scale must be at least"),
        ({"before_us": -1}, "before_us must be at least 0"),
        ({"max_detections": 101}, "max_detections must be at most 100"),
        ({"moments": "sometimes"}, "moments must be one of"),
        ({"clips_truth": True, "sensor_hw": None}, "sensor_hw must be given"),
        ({"min_side": float("nan")}, "min_side must be a finite number"),
    ],
)
def test_rules_that_cannot_be_are_refused_in_one_sentence(change, message):
    with pytest.raises(InputError, match=message):
        replace(find_protocol("psee-gen1"), **change)
