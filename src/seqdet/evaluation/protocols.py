"""The protocols that have a name: those that published figures follow, and plain COCO.

A released protocol never changes: another rule is another version, and its digest stands beside every figure.

Sources: the supplement of the paper on the 1 Mpx data set (https://arxiv.org/abs/2009.13436); the evaluators of the
Prophesee automotive dataset toolbox, of RVT and of HMNet; the documentation of Metavision's ``CocoEvaluator``.
"""

from __future__ import annotations

from dataclasses import replace

from ..checks import InputError
from .protocol import Protocol

GEN1_CLASSES = ("car", "pedestrian")
ONE_MEGAPIXEL_CLASSES = ("pedestrian", "two wheeler", "car", "truck", "bus", "traffic sign", "traffic light")

_GEN1 = Protocol(
    name="psee-gen1",
    version=1,
    note="The rules of the papers on Gen1. Detections more often than every 50 ms count as duplicates of each other.",
    classes=GEN1_CLASSES,
    dataset_classes=GEN1_CLASSES,
    sensor_hw=(240, 304),
    skip_us=500_000,
    min_diagonal=30,
    min_side=10,
    moments="truth",
    before_us=50_000,
    after_us=50_000,
)
_1MPX = replace(
    _GEN1,
    name="psee-1mpx",
    note="What is published for 1 Mpx is at half resolution, where sides of 60 and 20 px are 30 and 10. "
    "Trucks, buses, signs and lights are left out.",
    classes=ONE_MEGAPIXEL_CLASSES[:3],
    dataset_classes=ONE_MEGAPIXEL_CLASSES,
    sensor_hw=(720, 1280),
    scale=0.5,
)
_1MPX_FULL = replace(
    _1MPX,
    name="psee-1mpx-full",
    note="AP is that of psee-1mpx; what counts as a small, medium or large box differs.",
    scale=1.0,
    min_diagonal=60,
    min_side=20,
)
_RVT = replace(
    _GEN1,
    name="rvt",
    note="RVT on Gen1. It looks at the windows that end at labels, so only detections within 2 ms of one count.",
    clips_truth=True,
    before_us=2000,
    after_us=2000,
    least_score=0.001,
)
_TOOLBOX = replace(
    _GEN1,
    name="toolbox-legacy",
    note="What the toolbox's own program does on Gen1: it skips 0.1 s instead of 0.5 s and asks for sides of 20 px, "
    "which are meant for 1 Mpx. For old figures only.",
    skip_us=100_000,
    min_side=20,
)
RELEASED = (
    _GEN1,
    _1MPX,
    _1MPX_FULL,
    _TOOLBOX,
    replace(
        _1MPX_FULL,
        name="toolbox-legacy-1mpx",
        note="What the toolbox's own program does on 1 Mpx: it skips 0.1 s instead of 0.5 s, asks for sides of 10 px, "
        "which are meant for Gen1, and scores the first two classes, as car and pedestrian. For old figures only.",
        classes=ONE_MEGAPIXEL_CLASSES[:2],
        skip_us=100_000,
        min_side=10,
    ),
    replace(
        _GEN1,
        name="hmnet",
        note="HMNet on Gen1: a window of 50 ms in all, so 25 ms to each side.",
        before_us=25_000,
        after_us=25_000,
        least_score=0.01,
    ),
    _RVT,
    replace(
        _1MPX,
        name="rvt-1mpx",
        note="RVT on 1 Mpx, at half resolution. It looks at windows that end at labels, so only detections within "
        "2 ms of one count.",
        clips_truth=True,
        before_us=2000,
        after_us=2000,
        least_score=0.001,
    ),
    Protocol(
        name="metavision",
        version=1,
        note="Metavision's CocoEvaluator with its defaults. Truth and detections are both those of a window around "
        "every time that has any, so false alarms count where there is no truth, and a box counts several times.",
        moments="any",
        before_us=40_000,
        after_us=40_000,
        truth_tolerance_us=40_000,
    ),
    Protocol(
        name="coco",
        version=1,
        note="Plain COCO over all labelled times, also those without a box. Nothing is left out.",
    ),
)
PROTOCOLS = {protocol.title: protocol for protocol in RELEASED}
"""By ``name@version``."""


def find_protocol(title: str) -> Protocol:
    """The protocol ``name@version``, or the newest of a name.

    Raises:
        InputError: if there is none; the message lists all.
    """
    versions = {protocol.version: protocol for protocol in RELEASED if protocol.name == title}
    if not versions and title not in PROTOCOLS:
        raise InputError(f"protocol must be one of {', '.join(sorted(PROTOCOLS))}; got {title!r}.")
    return versions[max(versions)] if versions else PROTOCOLS[title]
