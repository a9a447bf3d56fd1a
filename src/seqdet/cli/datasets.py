"""Commands about datasets: recordings and their labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from ..checks import InputError, proposed
from ..files import check_output
from ..progress import log_lines

log = logging.getLogger("seqdet")


def import_dataset(
    labels: Path,
    recordings: Path,
    source: Literal["coco", "cvat", "csv", "labelstudio", "mot", "psee-txt", "voc", "yolo"] | None = None,
    out: Path | None = None,
    label_rate: float | None = None,
    frame_us: float | None = None,
    start_us: int = 0,
    classes: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
    others: Literal["discard", "ignore"] = "discard",
    split: Literal["train", "val", "test"] | None = None,
    ratios: tuple[float, float, float] | None = None,
    seed: int = 0,
    size_hw: tuple[int, int] | None = None,
    time_unit: Literal["s", "ms", "us", "ns"] | None = None,
    leave_out: bool = False,
) -> None:
    """Bring recordings and labels of another tool into the layout that is trained on.

    Args:
        labels: file, folder or zip.
        recordings: file or folder; labels and recordings belong together by their names.
        source: format of the labels; --from is the same.
        out: folder of the dataset; recordings are linked there, or copied.
        label_rate: frames per second, for labels that number frames.
        frame_us: microseconds per frame instead.
        start_us: time of the first frame; added to labels that have times.
        classes: names of the classes by number; those in the files, if there are any, if not given.
        keep: classes to keep: names, new=old to rename, new=old+old to merge.
        others: boxes of other classes are left out, or become neither targets nor errors.
        split: where recordings go; as the folder in which they are says, or else train, if not given.
        ratios: instead, shares of train, val and test, drawn by seed.
        seed: of that draw.
        size_hw: height and width of the sensor, for recordings that do not say; kept in the dataset's dataset.json.
        time_unit: of the times, for tables and HDF5 columns that do not say; kept there too, and guessed if not given.
        leave_out: import what pairs, where otherwise a recording or labels alone are an error.
    """
    from ..data.importers import import_labels
    from ..data.importing.options import ImportOptions

    if out is None or source is None:
        raise InputError("--from must name the format of the labels and --out the folder of the dataset.")
    options = ImportOptions(
        label_rate, frame_us, start_us, classes, keep, others, split, ratios, seed, size_hw, leave_out, time_unit
    )
    done = import_labels(source, labels, recordings, out, options)
    log_lines(log, done.lines())
    log.info("The dataset is in %s. Next: %s", out, proposed("audit", out))
    for warning in done.warnings:
        log.warning("%s", warning)
    for failure in done.failed[:-1]:
        log.warning("%s", failure)
    if done.failed:
        raise InputError(f"{done.failed[-1]} ({len(done.failed)} of the recordings are not in the dataset.)")


def audit_dataset(
    folder: Path,
    page: Path | None = None,
    window_us: int = 50_000,
    tolerance_us: int = 2_000,
    few_events: int = 0,
    frozen_s: float = 5.0,
    gap_s: float = 2.0,
    worst: int = 6,
    size_hw: tuple[int, int] | None = None,
    time_unit: Literal["s", "ms", "us", "ns"] | None = None,
    overwrite: bool = False,
) -> None:
    """Find what ruins trainings in a dataset: a summary, and a page with pictures of the worst cases.

    The exit status is 1 if something was found that is an error, for scripts; warnings and notes alone leave it 0.

    Args:
        folder: with train, val and test.
        page: HTML file; audit.html in the folder if not given.
        window_us: events of a box are those in this time before its label; windows end at multiples of it.
        tolerance_us: labels may be this far from the end of a window.
        few_events: a box with at most so many events counts as one without.
        frozen_s: a box may stand still without events for so long.
        gap_s: a recording may be without labels for so long.
        worst: cases of each kind that are shown.
        size_hw: height and width of the sensor, for recordings that do not say.
        time_unit: of the times, for tables and HDF5 columns that do not say; guessed if not given.
        overwrite: replace a page that is there already; that of an earlier audit in the folder is replaced anyway.
    """
    from ..data.audit import Limits, audit
    from ..viz.audit import is_audit_page, write_audit_page

    is_usual = page is None
    page = page or folder / "audit.html"
    check_output(page, suffix=".html", overwrite=overwrite or (is_usual and is_audit_page(page)))
    limits = Limits(window_us, tolerance_us, few_events, frozen_s, gap_s)
    found = audit(folder, limits, worst=worst, size_hw=size_hw, time_unit=time_unit)
    log_lines(log, found.lines())
    write_audit_page(page, found)
    log.info("Pictures of the worst cases: %s", page)
    if errors := [each.sentence for each in found.findings if each.severity == "error"]:
        raise InputError(f"{folder} must be free of errors to be trained on, and has {'; '.join(errors)}.")
