"""Ctrl-C and SIGTERM at random moments of every command that works for long: one line, and whole files or none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest
import torch
import yaml
from PIL import Image

from seqdet.config import (
    DataConfig,
    DatasetConfig,
    EventDigitsConfig,
    RunConfig,
    TensorConfig,
    TrainConfig,
    VanillaConfig,
)
from seqdet.config_files import to_dict, write_config
from seqdet.data.labels import read_labels, write_labels
from seqdet.data.store import TensorFile
from seqdet.digits.recordings import write_event_digits
from seqdet.events.array import columns
from seqdet.events.evt import write_evt3
from seqdet.events.files import open_recording
from seqdet.files import TEMPORARY
from seqdet.inference.runners import OnnxRunner
from seqdet.models.weights import load_detector
from seqdet.models.zoo import build_detector
from seqdet.pictures.sequence import read_frames
from seqdet.training.fit import fit
from seqdet.viz.video import write_video

from .small import DIGITS, LONG_S, alive, environment

RECORDED = replace(
    DIGITS, frames_per_video=24, held_out_frames_per_video=96, frames_per_epoch=96, validation_frames=96, test_frames=96
)
TENSOR = TensorConfig("histogram")
MODEL = VanillaConfig(classes=tuple("0123456789"), base=1, channels=8, head_layers=0, in_channels=2)
TRAIN = TrainConfig(
    max_steps=40, checkpoint_steps=1, warmup_steps=2, validate_epochs=1, log_steps=1, device="cpu", precision="float32"
)
SIZE_HW = 240, 320
COMMANDS = {
    "train": "train --config {place}/recipe.yaml --data.dataset.tensors {out}/tensors --out {out}/new",
    "evaluate": "evaluate {out}/run",
    "predict": "predict {place}/run {place}/digits/test/digits_00000.raw -o {out}/found --track --video",
    "precompute": "precompute {place}/large.raw {place}/digits -o {out}/tensors --window-us 2000 --workers 2",
    "simulate digits": "simulate digits -o {out}/digits --scene {place}/scene.yaml --workers 2",
    "simulate a video": "simulate {place}/video.mp4 -o {out}/video.raw",
    "export": "export {place}/run -o {out}/model.onnx",
    "export --int8": "export {place}/run -o {out}/model.onnx --int8",
    "convert": "convert {place}/large.raw {out}/large.hdf5",
    "inspect": "inspect {place}/large.raw --plot {out}/plot.png --video {out}/video.mp4",
    "audit": "audit {place}/digits --page {out}/audit.html",
    "import": "import {place}/labels {place}/recordings --from csv -o {out}/imported",
    "benchmark": "benchmark {place}/run {place}/digits/test/digits_00000.raw --windows 40 --json {out}/figures.json",
}
SCRIPT = """
import signal, sys
from pathlib import Path
from seqdet.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts beside itself ignore it
Path(sys.argv.pop(1)).touch()
main()
"""
"""The command, which makes a file once Python has come to it: what a signal does before is not for us to say."""
SEED, SIGNALS = 0, 20


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What the commands read: recordings, a run that was trained with them, labels, a video."""
    folder = tmp_path_factory.mktemp("signals")
    write_event_digits(folder / "digits", EventDigitsConfig(RECORDED))
    for path in (folder / "digits").rglob("*_bbox.npy"):  # of one class, which no split lacks: audits end well
        boxes = read_labels(path)
        boxes["class_id"] = 1
        write_labels(path, boxes)
    data = DataConfig(clip_length=3, lanes=2, dataset=DatasetConfig(folder / "digits", tensor=TENSOR))
    write_config(RunConfig(data, MODEL, TRAIN), folder / "recipe.yaml")
    (folder / "scene.yaml").write_text(yaml.safe_dump(to_dict(EventDigitsConfig(RECORDED))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)
        fit(build_detector(MODEL), data, TRAIN, folder / "run")
    write_large(folder / "large.raw")
    for each in ("labels", "recordings"):
        (folder / each).mkdir()
    for n in range(6):
        shutil.copy(folder / "large.raw", folder / "recordings" / f"drive{n}.raw")
        rows = [f"{t},5,5,9,9,car,1" for t in range(10_000, 3_000_000, 10_000)]
        (folder / "labels" / f"drive{n}.csv").write_text("\n".join(["t,x,y,w,h,class,track_id", *rows, ""]))
    draw = np.random.default_rng(0)
    write_video(folder / "video.mp4", draw.integers(0, 256, (90, 120, 160, 3), np.uint8), fps=30)
    return folder


def write_large(path):
    """Three seconds of two million events at random."""
    draw, count = np.random.default_rng(0), 2_000_000
    t, p = np.sort(draw.integers(0, 3_000_000, count)), draw.integers(0, 2, count)
    x, y = draw.integers(0, SIZE_HW[1], count), draw.integers(0, SIZE_HW[0], count)
    write_evt3(path, [columns(t=t, x=x, y=y, p=p)], size_hw=SIZE_HW)


class Ended(NamedTuple):
    """How a command ended, after how many seconds, and what it said: before a signal came, if one did, and in all."""

    code: int
    seconds: float
    said_before: str | None
    said: str
    complained: str


def ended(words: list[str], folder: Path, *, moment_s: float = LONG_S, number: int = 0, to_all: bool = False) -> Ended:
    """Run a command and signal it, or all of its session, at a moment, unless it is done by then."""
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    with (folder / "said.txt").open("w") as output, (folder / "complained.txt").open("w") as errors:
        run = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(ready), *words],
            cwd=folder,
            stdout=output,
            stderr=errors,
            env=environment(folder) | {"TMPDIR": str(folder)},
            start_new_session=True,
        )
    while not ready.exists():
        assert run.poll() is None, (folder / "complained.txt").read_text()
        time.sleep(0.002)
    begun_s, said_before = time.monotonic(), None
    try:
        run.wait(moment_s)
    except subprocess.TimeoutExpired:
        said_before = (folder / "said.txt").read_text()
        (os.killpg if to_all else os.kill)(run.pid, number)
    code = run.wait(LONG_S)
    seconds = time.monotonic() - begun_s
    said, complained = ((folder / f"{each}.txt").read_text() for each in ("said", "complained"))
    return Ended(code, seconds, said_before, said, complained)


def read_tensors(path: Path) -> None:
    with TensorFile(path) as file:
        file.read(0, len(file))


def read_events(path: Path) -> None:
    with open_recording(path, strict=True) as opened:
        deque(opened.chunks(), maxlen=0)


def read_checkpoint(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    torch.load(path, weights_only=True)


def read_lines(path: Path) -> None:
    """Of as many columns each, the last one whole too."""
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    assert len({len(line.split()) for line in text.splitlines()}) <= 1


READERS: dict[str, Callable[[Path], object]] = {
    ".raw": read_events,
    ".hdf5": read_events,
    ".h5": read_tensors,
    ".npy": np.load,
    ".csv": read_lines,
    ".safetensors": load_detector,
    ".ckpt": read_checkpoint,
    ".onnx": OnnxRunner,
    ".yaml": lambda path: yaml.safe_load(path.read_text()),
    ".json": lambda path: json.loads(path.read_text()),
    ".html": lambda path: path.read_text().rindex("</html>"),
    ".mp4": lambda path: deque(read_frames(path), maxlen=0),
    ".png": lambda path: Image.open(path).load(),
}


def faults(found: Ended, number: int, folder: Path, out: Path) -> Iterator[str]:
    """What is not as it should be after a command that a signal ended, or that was done before."""
    if found.code not in (0, 128 + number):
        yield f"the status is {found.code}"
    spoken = found.said.splitlines()
    is_heard = any(line.startswith("Stopping after ") for line in spoken)  # the last step was in work
    if found.code == 0 and found.said_before not in (None, found.said) and not is_heard:
        yield "it goes on to its end"
    stops = [line for line in spoken if line.startswith("Stopped")]
    is_told = len(stops) == 1 and found.said.endswith(f"{stops[0]}\n") and stops[0].count(". ") <= 1
    if found.code == 128 + number and not is_told:
        yield "it does not end in one or two sentences that say that it stopped"
    if "Traceback" in found.said:
        yield "there is a traceback in what it says"
    lines = found.complained.splitlines()
    if lines and not (len(lines) == 1 and lines[0].startswith("seqdet: error: ")):
        yield "it complains"
    _, left = psutil.wait_procs(alive(folder), timeout=LONG_S / 10)
    if left:
        yield f"processes are left: {left}"
    for path in (path for path in out.rglob("*") if path.is_file()):
        if TEMPORARY.fullmatch(path.name):
            yield f"{path.relative_to(out)} is left"
            continue
        if path.name == ".lock" or ".tfevents." in path.name:  # curves grow
            continue
        try:
            READERS[path.suffix](path)
        except Exception as error:  # whatever a reader of half a file may say
            yield f"{path.relative_to(out)} is not whole: {error!r}"


def check_signals(name, signals, folder, place):
    """Signal a command so many times, each time a new one, at random moments within the time that it takes."""

    def prepared(number):
        out = folder / f"out{number}"
        out.mkdir()
        if "{out}/run" in COMMANDS[name]:
            shutil.copytree(place / "run", out / "run")
        return out, [word.format(place=place, out=out) for word in COMMANDS[name].split()]

    out, words = prepared(0)
    whole = ended(words, folder)
    assert (whole.code, whole.complained, list(faults(whole, 0, folder, out))) == (0, "", [])
    draw, found = np.random.default_rng([SEED, *name.encode()]), []
    for n in range(1, signals + 1):
        out, words = prepared(n)
        number = draw.choice([signal.SIGINT, signal.SIGTERM])
        moment_s, to_all = draw.uniform(0, whole.seconds), bool(draw.random() < 0.3)
        done = ended(words, folder, moment_s=moment_s, number=int(number), to_all=to_all)
        told = f"{signal.Signals(number).name} to {'all' if to_all else 'one'} after {moment_s:.4f} s"
        found += [f"{told}: {each}; {done}\n" for each in faults(done, int(number), folder, out)]
        shutil.rmtree(out)
    assert found == [], f"seed {SEED}, {' '.join(words)}, which takes {whole.seconds:.3f} s:\n" + "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_signals_at_random_end_every_command_in_one_line_and_leave_no_half_of_a_file(tmp_path, place, name):
    check_signals(name, SIGNALS, tmp_path, place)
