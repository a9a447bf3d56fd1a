"""Which formats of labels there are, how they are understood, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from ..checks import InputError
from ..config import OtherClasses
from ..events.time_units import Unit

SplitName = Literal["train", "val", "test"]
LabelFormat = Literal["coco", "cvat", "csv", "labelstudio", "mot", "psee-txt", "voc", "yolo"]
READERS: dict[str, str] = {
    "coco": "json_formats.read_coco",
    "mot": "text_formats.read_mot",
    "yolo": "text_formats.read_yolo",
    "voc": "xml_formats.read_voc",
    "csv": "text_formats.read_csv",
    "cvat": "xml_formats.read_cvat",
    "labelstudio": "json_formats.read_label_studio",
    "psee-txt": "text_formats.read_psee_txt",
}
"""For each ``LabelFormat`` the module of this package, and the function there, that fills ``ParsedLabels``; it is
imported when it is asked for."""

SUFFIXES: dict[str, tuple[str, ...]] = {
    "coco": (".json",),
    "mot": (".txt", ".csv"),
    "yolo": (".txt",),
    "voc": (".xml",),
    "csv": (".csv", ".txt"),
    "cvat": (".xml",),
    "labelstudio": (".json",),
    "psee-txt": (".txt",),
}
"""How the files of each format end."""
Kind = Literal["events", "pictures"]
"""What is labelled: recordings of event cameras, or videos and images."""


@dataclass(frozen=True)
class ImportOptions:
    """How labels are understood, and what becomes of them.

    label_rate, frame_us: frames per second, or microseconds per frame, for labels that number frames. Numbers in the
        names of files count frames if one of them is given, else microseconds. Frames of videos are their pictures,
        and need neither; where it is another rate than that of the video, each is the picture nearest to its time. It
        is the rate of images, which is else what a file says, or 25.
    start_us: time of the first frame; added to labels that have times.
    first_frame: number of the first frame, 0 or 1, for pictures whose labels do not tell.
    of: what is labelled, where a folder has both recordings of events and pictures.
    stills: images are no sequences, whatever their names: each stands alone.
    classes: names of the classes by number; those in the files, if there are any, if not given.
    keep, others: see ``classes.map_classes``.
    split: where recordings go; if not given, as the folder in which they are says, from the one that was named on, or
        else "train".
    ratios: instead, shares of train, val and test, drawn by ``seed``.
    size_hw: height and width of the sensor, for recordings that do not say; kept with the dataset.
    time_unit: of the times of tables and HDF5 columns that do not say.
    leave_out: import what pairs, where otherwise a recording without labels, or labels without, are an error.
    """

    label_rate: float | None = None
    frame_us: float | None = None
    start_us: int = 0
    classes: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    others: OtherClasses = "discard"
    split: SplitName | None = None
    ratios: tuple[float, float, float] | None = None
    seed: int = 0
    size_hw: tuple[int, int] | None = None
    leave_out: bool = False
    time_unit: Unit | None = None
    first_frame: Literal[0, 1] | None = None
    of: Kind | None = None
    stills: bool = False

    def __post_init__(self) -> None:
        for name in ("label_rate", "frame_us"):
            if (value := getattr(self, name)) is not None and not 0 < value < 1e12:
                raise InputError(f"{name} must be a number above 0, got {value}.")
        if self.label_rate and self.frame_us:
            raise InputError("label_rate and frame_us must not both be given: one follows from the other.")
        if self.split and self.ratios:
            raise InputError("split and ratios must not both be given.")
        if self.ratios and not (len(self.ratios) == 3 and min(self.ratios) >= 0 and sum(self.ratios) > 0):
            raise InputError(f"ratios must be three shares of at least 0, not all 0, got {self.ratios}.")

    @property
    def rate(self) -> float | None:
        """Frames per second, if they are given."""
        return 1e6 / self.frame_us if self.frame_us else self.label_rate


@dataclass
class ImportReport:
    """What ``import_labels`` did.

    what: is labelled, in words. recordings: by split. boxes: by class. labelled, empty: frames, and those of them
    without a box. dropped: what was left out, by reason. told: what was understood in one way of several, and how
    often. warnings: what looks wrong. failed: for each recording that could not be read, why.
    """

    what: str = "recordings"
    recordings: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)
    labelled: int = 0
    empty: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The facts in words."""
        splits = ", ".join(f"{count:,} {split}" for split, count in self.recordings.items())
        text = [f"{self.recordings.total():,} {self.what} ({splits}), {self.boxes.total():,} boxes"]
        text.append(f"{self.labelled:,} labelled frames, {self.empty:,} of them without a box")
        text.append("classes: " + ", ".join(f"{name} {count:,}" for name, count in self.boxes.items()))
        text += [f"{count:,} {what}" for what, count in self.told.items()]
        return text + [f"left out: {count:,} {reason}" for reason, count in self.dropped.items()]
