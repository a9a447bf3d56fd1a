"""Commands about recordings of event cameras, and datasets of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..checks import InputError, proposed
from ..config import EventDigitsConfig, Unit
from ..events.sensor import USUAL, Sensor
from ..files import check_output
from ..progress import log_lines

if TYPE_CHECKING:  # imported when the command is asked for, see ``options.flat``
    from ..audit import Limits
    from ..data.precompute import PrecomputeConfig
    from ..importing import ImportOptions, LabelFormat

log = logging.getLogger("seqdet")


def inspect_recording(
    recording: Path,
    *,
    strict: bool = False,
    size_hw: tuple[int, int] | None = None,
    time_unit: Unit | None = None,
    plot: Path | None = None,
    video: Path | None = None,
    palette: Literal["dark", "light", "grey", "cool_warm", "colour_blind"] = "dark",
    speed: float = 1.0,
    window_us: int | None = None,
    place: str | None = None,
    overwrite: bool = False,
) -> None:
    """Say what is in a recording: format, sensor, events, rates, hot pixels, gaps, triggers, faults; draw and play it.

    Args:
        recording: RAW, DAT, HDF5, AEDAT, npy, npz, text or bin file.
        plot: PNG file with the rate over time, the events of every pixel and the facts.
        video: MP4 file of the events.
        palette: colours of the video.
        speed: of the video; 1 plays in real time, 0.1 ten times slower.
        window_us: how far a picture of the video looks back; to the one before if not given.
        overwrite: replace a plot or a video that is there already.
    """
    for each, suffix in ((plot, ".png"), (video, ".mp4")):
        if each is not None:
            check_output(each, inputs=[recording], suffix=suffix, overwrite=overwrite)
    from ..events.accounts import tell
    from ..events.files import open_recording
    from ..events.inspection import inspect

    with open_recording(
        recording, size_hw=size_hw, strict=strict, time_unit=time_unit, place=place, joins_clocks=True
    ) as opened:
        found = inspect(opened)
        log_lines(log, found.facts())
        if plot:
            from ..viz.inspection import write_inspection_image

            write_inspection_image(plot, found, title=recording.name)
            log.info("The plot is in %s.", plot)
        if video:
            from ..viz.video import write_recording_video

            write_recording_video(
                video,
                opened,
                speed=speed,
                window_us=window_us,
                start_us=found.first_us,
                duration_us=found.duration_us + 1,
                palette=palette,
                size_hw=found.size_hw,
            )
            log.info("The video is in %s.", video)
    tell(log, {str(recording): found.account})


def convert_recording(
    recording: Path,
    target: Path,
    *,
    encoding: Literal["evt2", "evt3", "dat", "hdf5", "npz"] | None = None,
    start_us: int | None = None,
    duration_us: int | None = None,
    filter: str = "",
    roi: tuple[int, int, int, int] | None = None,
    compression: Literal["none", "blosc"] | None = None,
    size_hw: tuple[int, int] | None = None,
    time_unit: Unit | None = None,
    join_clocks: bool = False,
    strict: bool = False,
    place: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a recording, or a part of it, in another format.

    Args:
        recording: RAW, DAT, HDF5, AEDAT, npy, npz, text or bin file.
        target: new file; its ending tells the format: .raw (EVT3), .dat, .hdf5 or .npz.
        encoding: the format, where the ending does not tell.
        start_us: leave out the events before this time.
        duration_us: leave out the events from so long after the start on.
        filter: leave out noise: activity:10000, trail, stc or stc_keep_trail, with microseconds; or several between
            commas.
        roi: x1,y1,x2,y2; leave out the events outside.
        compression: of HDF5; blosc needs the package hdf5plugin to be read.
        join_clocks: where the clock of the camera begins anew, go on from the time before.
        overwrite: replace a file that is there already.
    """
    from ..events.accounts import tell
    from ..events.convert import convert
    from ..events.files import open_recording
    from ..events.filters import find_filters

    with open_recording(
        recording, size_hw=size_hw, strict=strict, time_unit=time_unit, place=place, joins_clocks=join_clocks
    ) as opened:
        done = convert(
            opened,
            target,
            encoding=encoding,
            start_us=start_us,
            duration_us=duration_us,
            filters=find_filters(filter),
            roi=roi,
            compression=compression,
            overwrite=overwrite,
        )
    log.info("%s: %s", target, done)
    tell(log, {str(recording): done.account})


def precompute_tensors(paths: list[str], how: PrecomputeConfig, *, workers: int = 1, dry_run: bool = False) -> None:
    """Turn recordings into tensor files for training, with their labels beside; interrupted, it goes on where it was.

    Args:
        paths: recordings, and folders of them.
        how: which tensors.
        out: folder of the tensor files.
        tensor: histogram, event_cube, ..., or a function of your own: file.py:function, package.module:function.
        parameters: its arguments, such as '{bins: 5}'.
        max_duration_us: longest stretch of a recording in one file; longer recordings become several files.
        layout: of the files: ours, or folders of RVT.
        compression: lz4, if not given, is the fastest to read, zstd takes half of the disk; RVT reads blosc. Any HDF5
            library reads gzip and none, the others need plugins, as of the package hdf5plugin.
        workers: processes.
        dry_run: only say how many bytes and how long.
    """
    from ..data.estimate import estimate
    from ..data.precompute import Outcome, precompute
    from ..events.accounts import tell

    work = estimate if dry_run else precompute
    report = work([Path(path) for path in paths], how, workers=workers)
    has_some = False
    if isinstance(report, Outcome):
        tell(log, report.accounts)
        has_some = report.made + report.found > 0
    written = [f"The tensors are in {how.out}."] if has_some else []
    log_lines(log, report.lines() + written + [f"failed: {reason}" for reason in report.failed[1:]])
    if report.failed:
        raise InputError(report.failed[0])


def import_dataset(
    labels: Path,
    options: ImportOptions,
    *,
    source: LabelFormat,
    out: Path,
    recordings: Path | None = None,
) -> None:
    """Bring recordings, videos or images, and labels of another tool, into the layout that is trained on.

    Args:
        labels: file, folder or zip; or a folder that has both, as people download it.
        recordings: file or folder of recordings of events, videos or images, named behind the labels; they and labels
            belong together by their names.
        options: how labels are understood.
        source: format of the labels.
        out: folder of the dataset; recordings are linked there, or copied.
        label_rate: frames per second, for labels that number frames; those of videos need none.
        frame_us: microseconds per frame instead.
        first_frame: number of the first frame, 0 or 1, for pictures whose labels do not tell.
        of: what the labels are of, where a folder has recordings of events and pictures.
        stills: images are no sequences, whatever their names.
        keep: classes to keep: names, new=old to rename, new=old+old to merge.
        others: boxes of other classes are left out, or become neither targets nor errors.
        seed: of the draw by ratios.
        size_hw: height and width of the sensor, for recordings that do not say; kept in the dataset's dataset.json.
        time_unit: of the times, for tables and HDF5 columns that do not say; kept there too, and guessed if not given.
        leave_out: import what pairs, where otherwise a recording or labels alone are an error.
    """
    from ..importing import import_labels

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
    limits: Limits,
    *,
    page: Path | None = None,
    worst: int = 6,
    size_hw: tuple[int, int] | None = None,
    time_unit: Unit | None = None,
    overwrite: bool = False,
) -> None:
    """Find what ruins trainings in a dataset: a summary, and a page with pictures of the worst cases.

    The exit status is 1 if something was found that is an error, for scripts; warnings and notes alone leave it 0.

    Args:
        folder: with train, val and test.
        limits: from where on something is found.
        page: HTML file; audit.html in the folder if not given.
        worst: cases of each kind that are shown.
        overwrite: replace a page that is there already; that of an earlier audit in the folder is replaced anyway.
    """
    from ..audit import audit, is_audit_page, write_audit_page

    target = page or folder / "audit.html"
    is_next = page is None and is_audit_page(target)
    check_output(target, suffix=".html", overwrite=overwrite or is_next)
    found = audit(folder, limits, worst=worst, size_hw=size_hw, time_unit=time_unit)
    log_lines(log, found.lines())
    write_audit_page(target, found)
    log.info("Pictures of the worst cases: %s", target)
    if errors := [each.sentence for each in found.findings if each.severity == "error"]:
        raise InputError(f"{folder} must be free of errors to be trained on, and has {'; '.join(errors)}.")


def simulate_frames(
    source: Path,
    *,
    out: Path,
    fps: float | None = None,
    sensor: Sensor = USUAL,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write what an event camera would have recorded of a video or a folder of images.

    Args:
        source: video, or folder of images, which are shown in the order of their names.
        out: the recording; its ending tells the format: .raw (EVT3), .dat, .hdf5 or .npz.
        fps: frames per second; a folder needs it, and a video is replayed at it, as one in slow motion.
        sensor: the camera.
        seed: of its noise.
        overwrite: replace a file that is there already.
    """
    from ..pictures.simulated import write_simulated

    check_output(out, inputs=[source], overwrite=overwrite)
    write_simulated(source, out, fps=fps, sensor=sensor, seed=seed)
    log.info("Written. Next: %s", proposed("inspect", out))


def simulate_digits(
    *,
    out: Path,
    scene: EventDigitsConfig = EventDigitsConfig(),
    sensor: Sensor = USUAL,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Write moving digits as event recordings with labels: they stand still now and then, and so vanish.

    Args:
        out: folder of the recordings, with train, val and test.
        scene: the digits, how they move and pause, and how many there are.
        sensor: the camera.
        seed: of everything that is drawn.
        workers: processes; the files are the same for any number.
    """
    from ..digits.recordings import write_event_digits

    write_event_digits(out, scene, sensor=sensor, seed=seed, workers=workers)
    log.info("%s holds the recordings and their labels.", out)
