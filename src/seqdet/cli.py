"""The ``seqdet`` command. A function is a command, its signature the options, its docstring the help.

Bodies import what they need, so that ``--help`` never waits for torch.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NoReturn, get_type_hints

from jsonargparse import ArgumentParser, Namespace, auto_cli, set_parsing_settings

from . import __version__
from .checks import InputError, Stopped
from .config import DataConfig, EventDigitsConfig, ModelConfig, RunConfig, TensorConfig, TrainConfig
from .config_files import check_setting, from_dict, read_config, suggestion
from .events.sensor import USUAL, Sensor
from .runs import RunFolder

log = logging.getLogger("seqdet")
PARTS = get_type_hints(RunConfig)
GROUPS = {**PARTS, "scene": EventDigitsConfig, "sensor": Sensor}
"""Options that are dataclasses."""


def train(
    data: DataConfig = DataConfig(),
    model: ModelConfig = ModelConfig(),
    train: TrainConfig = TrainConfig(),
    out: Path | None = None,
    resume: Path | None = None,
) -> None:
    """Train a detector; weights, configuration and TensorBoard logs go to one folder.

    Args:
        data: the clips.
        model: the detector.
        train: the optimisation.
        out: new folder of the run; runs/last if not given.
        resume: folder of a run to go on with, as it is configured there; other options are refused.
    """
    from .models.zoo import build_detector
    from .training import fit

    if resume is not None and (out is not None or RunConfig(data, model, train) != RunConfig()):
        raise InputError("--resume must be the only option: a run goes on with the configuration in its folder.")
    was_finished = resume is not None and RunFolder(resume).training.is_file()
    out = out or Path("runs/last")
    folder = fit.resume(resume) if resume else fit.fit(build_detector(model, seed=train.seed), data, train, out)
    if not was_finished:
        log.info("Trained. Next: seqdet evaluate %s", folder)


def evaluate_run(run: Path) -> None:
    """Score a trained run on held-out clips; write metrics.json, demo.mp4 and report.html to its folder.

    Args:
        run: folder written by ``seqdet train``.
    """
    from .inference.evaluate import evaluate, summary

    log.info(summary(evaluate(run), run))


def inspect_recording(
    recording: Path,
    strict: bool = False,
    size_hw: tuple[int, int] | None = None,
    plot: Path | None = None,
    video: Path | None = None,
    palette: Literal["dark", "light", "grey", "cool_warm", "colour_blind"] = "dark",
    speed: float = 1.0,
    window_us: int | None = None,
) -> None:
    """Say what is in a recording: format, sensor, events, rates, hot pixels, gaps, triggers, faults; draw and play it.

    Args:
        recording: RAW, DAT, HDF5, AEDAT4, npy, npz, text or bin file.
        strict: stop at the first fault instead of leaving it out and counting it.
        size_hw: height and width of the sensor, for recordings that do not say.
        plot: PNG file with the rate over time, the events of every pixel and the facts.
        video: MP4 file of the events.
        palette: colours of the video.
        speed: of the video; 1 plays in real time, 0.1 ten times slower.
        window_us: how far a picture of the video looks back; to the one before if not given.
    """
    from .events.files import open_recording
    from .events.inspection import inspect

    with open_recording(recording, size_hw=size_hw, strict=strict) as opened:
        found = inspect(opened)
        log.info("\n".join(found.lines()))
        if plot:
            from .viz.inspection import write_inspection_image

            write_inspection_image(plot, found, title=recording.name)
        if video:
            from .viz.recordings import write_recording_video

            part: Any = {"start_us": found.first_us, "duration_us": found.duration_us + 1, "size_hw": found.size_hw}
            write_recording_video(video, opened, palette=palette, speed=speed, window_us=window_us, **part)


def convert_recording(
    recording: Path,
    target: Path,
    encoding: Literal["evt2", "evt3", "dat", "hdf5", "npz"] | None = None,
    start_us: int | None = None,
    duration_us: int | None = None,
    roi: tuple[int, int, int, int] | None = None,
    compression: Literal["none", "blosc"] | None = None,
    size_hw: tuple[int, int] | None = None,
    strict: bool = False,
) -> None:
    """Write a recording, or a part of it, in another format.

    Args:
        recording: RAW, DAT, HDF5, npy, npz, text or bin file.
        target: new file; its ending tells the format: .raw (EVT3), .dat, .hdf5 or .npz.
        encoding: the format, where the ending does not tell.
        start_us: leave out the events before this time.
        duration_us: leave out the events from so long after the start on.
        roi: x1, y1, x2, y2; leave out the events outside.
        compression: of HDF5; blosc needs the package hdf5plugin to be read.
        size_hw: height and width of the sensor, for recordings that do not say.
        strict: stop at the first fault instead of leaving it out and counting it.
    """
    from .events.convert import convert
    from .events.files import open_recording

    with open_recording(recording, size_hw=size_hw, strict=strict) as opened:
        part: Any = {"start_us": start_us, "duration_us": duration_us, "roi": roi, "compression": compression}
        log.info(str(convert(opened, target, encoding=encoding, **part)))


def precompute_tensors(
    paths: list[str],
    out: Path | None = None,
    tensor: str = "stacked_histogram",
    parameters: dict[str, int | float | bool | str] | None = None,
    window_us: int = 50_000,
    downscale: int = 1,
    to_hw: tuple[int, int] | None = None,
    max_duration_us: int | None = None,
    size_hw: tuple[int, int] | None = None,
    layout: Literal["seqdet", "rvt"] = "seqdet",
    compression: Literal["lz4", "zstd", "blosc", "none"] | None = None,
    workers: int = 1,
    dry_run: bool = False,
) -> None:
    """Turn recordings into tensor files for training, with their labels beside; interrupted, it goes on where it was.

    Args:
        paths: recordings, and folders of them.
        out: folder of the tensor files.
        tensor: histogram, event_cube, ..., or a function of your own: package.module:function.
        parameters: its arguments, such as '{bins: 5}'.
        window_us: time that a frame shows, and from one frame to the next.
        downscale: whole factor by which frames are smaller than the sensor.
        to_hw: height and width of the frames instead.
        max_duration_us: longest stretch of a recording in one file; longer recordings become several files.
        size_hw: height and width of the sensor, for recordings that do not say.
        layout: of the files: ours, or folders of RVT.
        compression: lz4 is the fastest to read, zstd takes half of the disk; RVT reads blosc.
        workers: processes.
        dry_run: only say how many bytes and how long.
    """
    from .data import precompute

    if out is None:
        raise InputError("--out must name the folder of the tensor files, and is not given.")
    shape = TensorConfig(tensor, parameters or {}, window_us, downscale, to_hw)
    options = precompute.Options(out, shape, max_duration_us, size_hw, layout, compression or "")
    work = precompute.estimate if dry_run else precompute.precompute
    report = work([Path(path) for path in paths], options, workers=workers)
    log.info("\n".join(report.lines() + [f"failed: {reason}" for reason in report.failed[1:]]))
    if report.failed:
        raise InputError(report.failed[0])


def simulate_frames(
    source: Path,
    out: Path | None = None,
    fps: float | None = None,
    sensor: Sensor = USUAL,
    seed: int = 0,
) -> None:
    """Write what an event camera would have recorded of a video or a folder of images.

    Args:
        source: video, or folder of images, which are shown in the order of their names.
        out: the recording; its ending tells the format: .raw (EVT3), .dat, .hdf5 or .npz.
        fps: frames per second; a folder needs it, and a video is replayed at it, as one in slow motion.
        sensor: the camera.
        seed: of its noise.
    """
    from .events.frames import write_simulated

    if out is None:
        raise InputError("--out must name the recording, and is not given.")
    write_simulated(source, out, fps=fps, sensor=sensor, seed=seed)
    log.info("Written. Next: seqdet inspect %s", out)


def simulate_digits(
    out: Path | None = None,
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
    from .data.event_digits_folder import write_event_digits

    if out is None:
        raise InputError("--out must name the folder of the recordings, and is not given.")
    write_event_digits(out, scene, sensor=sensor, seed=seed, workers=workers)


COMMANDS: dict[str, Any] = {
    "train": train,
    "evaluate": evaluate_run,
    "inspect": inspect_recording,
    "convert": convert_recording,
    "precompute": precompute_tensors,
    "simulate": {
        "_help": "Write the events of a video, of images or of moving digits.",
        "frames": simulate_frames,
        "digits": simulate_digits,
    },
}


class Parser(ArgumentParser):
    """Checks settings as those in a file are checked, and says in one line what does not fit."""

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:
        try:
            return super().parse_args(*args, **kwargs)
        except (OSError, UnicodeError) as error:
            raise InputError(f"a file that an option names cannot be read: {error}.") from error

    def parse_path(self, path: Any, *args: Any, **kwargs: Any) -> Namespace:
        if self.prog.split()[-1] == "train":
            read_config(Path(path))
        return super().parse_path(path, *args, **kwargs)

    def instantiate(self, namespace: Namespace, *args: Any, **kwargs: Any) -> Namespace:
        namespace = namespace.clone()
        for name, kind in GROUPS.items():
            if name in namespace and "subcommand" not in namespace:  # which may have that name as well
                namespace[name] = from_dict(kind, namespace.as_dict()[name], name=name)
        return super().instantiate(namespace, instantiate_groups=False)

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """What ``--config`` reads."""
        return super().dump(Namespace({name: namespace[name] for name in PARTS if name in namespace}), *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        self.exit(2, f"seqdet: error: {' '.join(self.sentence(message).split())}\n")

    def sentence(self, message: str) -> str:
        """What is wrong, in the words of the configuration where it is about a setting."""
        if unknown := re.match(r"unrecognized arguments: ([^\s=]+)", message):
            options = [option for action in self._actions for option in action.option_strings]
            return f"unknown argument {unknown[1]}.{suggestion(unknown[1], options)}"
        if not (named := re.match(r'Parser key "([\w.]+)":', message)):
            return message
        words = [word for arg in self.args for word in (arg.split("=", 1) if arg.startswith("--") else [arg])]
        if "Does not validate against" in message:  # what the parser tried, at length
            given = "".join(value for option, value in pairwise(words) if option == f"--{named[1]}")
            return f"--{named[1]} cannot be {given!r}; --help says what it can be."
        try:
            for option, value in pairwise(words):
                if option == f"--{named[1]}" and option[2:].partition(".")[0] in PARTS:
                    check_setting(named[1], value)
        except InputError as error:
            return str(error)
        return f"--{named[1]}: {message[named.end() :]}"


def spelt(args: Sequence[str]) -> list[str]:
    """The arguments as the parser takes them: ``--dry-run`` as ``--dry_run=true``, ``-o``, many paths as one list."""
    words = ["--out" if word == "-o" else word for word in args]
    functions = [each for each in (*COMMANDS.values(), *COMMANDS["simulate"].values()) if callable(each)]
    flags = {f"--{name}" for each in functions for name, kind in get_type_hints(each).items() if kind is bool}
    for n, word in enumerate(words):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            words[n] = "--" + name[2:].replace("-", "_") + equals + value
            if words[n] in flags and (words[n + 1 :] or [""])[0] not in ("true", "false"):
                words[n] += "=true"
    places = [
        n
        for n, word in enumerate(words)
        if n and not word.startswith("-") and ("=" in words[n - 1] or not words[n - 1].startswith("--"))
    ]
    if words[:1] == ["simulate"] and places and words[places[0]] not in COMMANDS["simulate"]:
        words.insert(1, "frames")
    if words[:1] == ["precompute"] and places:
        paths = json.dumps([words[n] for n in places])
        words = ["precompute", paths, *(word for n, word in enumerate(words) if n and n not in places)]
    return words


def main(args: list[str] | None = None) -> None:
    """Entry point; ``args`` defaults to the command line."""
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    sys.path.append(str(Path.cwd()))  # where representations of one's own may be
    log.setLevel(logging.INFO)
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    # Lightning 2.6 with torch 2.15: nothing that a user of the command line can do anything about.
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
    try:
        auto_cli(
            COMMANDS,
            spelt(sys.argv[1:] if args is None else args),
            prog="seqdet",
            parser_class=Parser,
            version=__version__,
            allow_abbrev=False,
        )
    except InputError as error:
        sys.exit(f"seqdet: error: {' '.join(str(error).split())}")
    except (Stopped, KeyboardInterrupt) as stop:
        log.info(str(stop) or "Stopped.")
        sys.exit(130)


if __name__ == "__main__":
    main()
