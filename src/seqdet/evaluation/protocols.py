"""The protocols that have a name: those that published figures follow, and plain COCO.

A released protocol never changes: another rule is another version, and its digest stands beside every figure.

Sources: the supplement of the paper on the 1 Mpx data set (https://arxiv.org/abs/2009.13436); the evaluators of the
Prophesee automotive dataset toolbox, of RVT and of HMNet; the documentation of Metavision's ``CocoEvaluator``.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from typing import Literal

from ..checks import InputError, check_at_least, check_range, fit_fields

TIMES = {
    "truth": "at every time with a truth box",
    "any": "at every time with a truth box or a detection",
    "grid": "at whole multiples of a period",
    "labelled": "at every labelled time, also without a box",
}
GEN1_CLASSES = ("car", "pedestrian")
ONE_MEGAPIXEL_CLASSES = ("pedestrian", "two wheeler", "car", "truck", "bus", "traffic sign", "traffic light")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How files of boxes become figures. Boxes are filtered, then joined into frames, then scored as COCO does.

    A moment is a time at which a frame is scored. Lengths are in pixels after scaling. Intervals include both ends.
    Labels of confidence 0 are ignored regions (COCO's crowd) in every protocol.
    """

    name: str
    version: int
    note: str = ""
    """What whoever reads a figure should know. The digest leaves it out."""
    classes: tuple[str, ...] | None = None
    """The classes that are scored, by name; boxes of other classes are left out. None: all of the data set."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Classes of the data set that count as another one: from, to."""
    dataset_classes: tuple[str, ...] = ()
    """Names of the class indices where a data set brings no list of its own."""
    sensor_hw: tuple[int, int] | None = None
    """Height and width of the sensor, before scaling. None: of any sensor."""
    scale: float = 1.0
    """Factor on all boxes before they are filtered and sorted by COCO's areas, 32 and 96 pixels squared."""
    clips_truth: bool = False
    """Truth is cut to the sensor first, and left out where nothing remains."""
    skip_us: int = -1
    """Truth and detections at this time or before are left out. -1: none."""
    min_diagonal: float = 0.0
    min_side: float = 0.0
    """Shorter boxes are left out."""
    filters_truth: bool = True
    filters_detections: bool = True
    """Which boxes the least diagonal and side are asked of."""
    moments: Literal["truth", "any", "grid", "labelled"] = "labelled"
    """Where frames are, see ``TIMES``: at times that are left after the filters."""
    period_us: int = 50_000
    """Between two moments of a grid, which starts at 0."""
    before_us: int = 0
    after_us: int = 0
    """A frame has all detections from so long before its moment until so long after; one may be in several frames."""
    truth_tolerance_us: int = 0
    """A frame has all truth up to so long before and after its moment."""
    least_score: float = 0.0
    """Detections below are left out."""
    max_detections: int = 100
    """Of every class and frame only so many count, those of the highest scores. COCO has 100, and so the most here."""
    average_precision: Literal["coco"] = "coco"
    """Mean over IoU 0.50, 0.55, ..., 0.95 and classes of the precision at 101 recalls, as pycocotools has it."""

    def __post_init__(self) -> None:
        fit_fields(self)
        if not re.fullmatch(r"[\w-]+", self.name):
            raise InputError(f"name of a protocol must be letters, digits, - and _, got {self.name!r}.")
        check_at_least(self.version, 1, "version")
        check_range(self, 1e-3, 1e3, "scale")
        check_range(self, 0, 1e6, "min_diagonal", "min_side")
        check_range(self, 0, 10**9, "before_us", "after_us", "truth_tolerance_us")
        check_range(self, -1, 10**12, "skip_us")
        check_range(self, 1000, 10**9, "period_us")
        check_range(self, 0, 1, "least_score")
        check_range(self, 1, 100, "max_detections")
        if self.clips_truth and self.sensor_hw is None:
            raise InputError("sensor_hw must be given where truth is cut to the sensor, got none.")

    @property
    def title(self) -> str:
        """Name and version as ``find_protocol`` takes them."""
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str:
        """Ten hexadecimal digits of the SHA-256 of the rules as canonical JSON: sorted keys, no blanks, ASCII.

        Rules at their defaults are left out, so that a rule that is new in the library leaves old digests as they are.
        """
        values = ((field, getattr(self, field.name)) for field in fields(self) if field.name != "note")
        rules = {field.name: value for field, value in values if value != field.default}
        text = json.dumps(rules, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def lines(self) -> list[str]:
        """The protocol in words, to print beside its figures."""
        whose = " and ".join(name for name in ("truth", "detections") if getattr(self, f"filters_{name}"))
        sizes = f"shorter than {self.min_diagonal:g} px along the diagonal or {self.min_side:g} px along a side"
        rules = [
            f"scored: {', '.join(self.classes or ['all classes of the data set'])}",
            *(f"{old} counts as {new}" for old, new in self.renamed),
            f"sensor: {self.sensor_hw[1]}x{self.sensor_hw[0]}" if self.sensor_hw else "",
            f"boxes scaled by {self.scale:g}" if self.scale != 1 else "",
            "truth cut to the sensor" if self.clips_truth else "",
            f"left out up to {self.skip_us / 1e6:g} s" if self.skip_us >= 0 else "",
            f"left out in {whose}: boxes {sizes}" if whose and (self.min_diagonal or self.min_side) else "",
            f"frames {TIMES[self.moments].replace('a period', f'{self.period_us / 1000:g} ms')}",
            f"with truth up to {self.truth_tolerance_us / 1000:g} ms before and after"
            if self.truth_tolerance_us
            else "",
            f"with detections from {self.before_us / 1000:g} ms before to {self.after_us / 1000:g} ms after",
            f"of score {self.least_score:g} and more" if self.least_score else "",
            f"at most {self.max_detections} of a class in a frame",
            "AP over IoU 0.50:0.05:0.95 at 101 recalls, as pycocotools",
        ]
        text = f"protocol {self.title}, digest {self.digest}: {'; '.join(rule for rule in rules if rule)}."
        return [text, *([self.note] if self.note else [])]


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
