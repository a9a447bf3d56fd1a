"""``seqdet predict --json``: lines for another program, whatever becomes of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqdet.events.array import columns
from seqdet.events.evt import write_evt3
from seqdet.viz.video import write_video

from .inference.fakes import SENSOR_HW

COMMAND = """
import sys
from fakes import HullRunner
from seqdet.cli import main
from seqdet.inference import loading
class Steady(HullRunner):  # the same class in every window
    def __call__(self, frames, state=None):
        return super().__call__(frames)
runners = {"events": Steady(), "pictures": HullRunner(None, 3)}
loading.load_runner = lambda path, **options: runners[path.name]
main()
"""
"""``seqdet`` with detectors that are there at once."""
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent / "inference")])}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings of 4 and 100 windows, and a video of 5 pictures."""
    root = tmp_path_factory.mktemp("json")
    rng = np.random.default_rng(0)
    for name, windows in (("a", 4), ("b", 100)):
        t = np.sort(rng.integers(0, windows * 1000, 3000))
        events = columns(t=t, x=rng.integers(3, 30, 3000), y=rng.integers(5, 20, 3000), p=rng.integers(0, 2, 3000))
        write_evt3(root / f"{name}.raw", [events], size_hw=SENSOR_HW)
    write_video(root / "film.mp4", rng.integers(0, 256, (5, *SENSOR_HW, 3), np.uint8), fps=20)
    return root


def command(*words: object, detector: str = "events") -> list[str]:
    return [sys.executable, "-c", COMMAND, "predict", detector, *map(str, words)]


def ran(words: list[str], **options) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, capture_output=True, check=False, env=ENVIRONMENT, **options)


def lines_of(done: subprocess.CompletedProcess[bytes]) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]


def test_lines_say_what_the_files_say_and_nothing_else_is_on_the_standard_output(folder, tmp_path):
    done = ran(command(folder / "a.raw", "-o", tmp_path / "out", "--track", "--json"))
    lines = lines_of(done)
    assert b"The results are in" in done.stderr
    assert [list(each) for each in lines] == [["recording", "start_us", "end_us", "boxes", "tracks"]] * 4
    assert [(each["recording"], each["start_us"], each["end_us"]) for each in lines] == [
        ("a", 1000 * n, 1000 * n + 1000) for n in range(4)
    ]
    for kind, name in (("boxes", "detections/a_bbox.npy"), ("tracks", "tracks/a_tracks.npy")):
        rows = np.load(tmp_path / "out" / name)
        told = [(line["end_us"], box) for line in lines for box in line[kind]]
        assert len(told) == len(rows) > 0
        for (time_us, box), row in zip(told, rows, strict=True):
            corners = [row["x"], row["y"], row["x"] + row["w"], row["y"] + row["h"]]
            assert time_us == row["t"]
            assert box["xyxy"] == pytest.approx(corners, abs=0.006)
            assert box["score"] == pytest.approx(row["class_confidence"], abs=6e-5)
            assert box["label"] == ("a", "b")[row["class_id"]]
            assert box.get("track_id") == (row["track_id"] if kind == "tracks" else None)
    assert len(max(done.stdout.replace(b"}", b",").split(b","), key=len)) < len('"tracks":[{"xyxy":[-123.45')


def test_without_a_folder_no_file_is_written(folder, tmp_path):
    lines = lines_of(ran(command(folder / "a.raw", folder / "b.raw", "--json"), cwd=tmp_path))
    assert [each["recording"] for each in lines] == ["a"] * 4 + ["b"] * 100
    assert "tracks" not in lines[0]
    assert not list(tmp_path.iterdir())
    for words in (["--video", "--json"], []):
        done = ran(command(folder / "a.raw", *words))
        assert done.returncode != 0
        assert done.stderr.startswith(b"seqdet: error: --out must be given")


def test_pictures_and_the_pipe_have_lines_too(folder):
    with (folder / "a.raw").open("rb") as pipe:
        piped = lines_of(ran(command("-", "--json"), stdin=pipe))
    direct = lines_of(ran(command(folder / "a.raw", "--json")))
    assert piped == [each | {"recording": "stdin"} for each in direct]
    lines = lines_of(ran(command(folder / "film.mp4", "--json", detector="pictures")))
    assert [(each["start_us"], each["end_us"]) for each in lines] == [(50_000 * n, 50_000 * n) for n in range(5)]


def test_live_sources_have_lines_and_end_in_a_sentence(folder):
    with (folder / "film.mp4").open("rb") as film:
        lines = lines_of(ran(command("-", "--json", detector="pictures"), stdin=film))
    assert [(each["recording"], each["end_us"]) for each in lines] == [("stdin", 50_000 * n) for n in range(5)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/live"
    done = ran(command(address, "--json", detector="pictures"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"error: {address} must be a source of pictures, and none came: Connection refused." in done.stderr.decode()


def test_a_line_is_there_before_the_next_window_comes(folder):
    """The rest of the stream is sent when the first line was read: a buffer would wait for ever."""
    content = (folder / "b.raw").read_bytes()
    words = command("-", "--json")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env=ENVIRONMENT, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(content[: len(content) // 2])
        process.stdin.flush()
        first = process.stdout.readline()
        process.stdin.write(content[len(content) // 2 :])
        process.stdin.close()
        rest = process.stdout.readlines()
    assert json.loads(first)["start_us"] == 0
    assert len(rest) == 99


def test_a_reader_that_goes_away_ends_the_work_quietly_with_whole_files(folder, tmp_path):
    """Its status is that of a process that SIGPIPE ended."""
    words = command(folder / "b.raw", "--json", "-o", tmp_path / "out", "--video")
    with subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before the first line
        said = process.stderr.read()
    assert process.returncode == 141
    assert said == b""
    boxes = np.load(tmp_path / "out" / "detections" / "b_bbox.npy")
    assert set(boxes["t"]) == {1000}
    assert (tmp_path / "out" / "videos" / "b.mp4").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full disk")
def test_an_output_that_takes_nothing_is_one_sentence(folder):
    with Path("/dev/full").open("w") as full:
        words = command(folder / "a.raw", "--json")
        done = subprocess.run(words, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(b"the standard output cannot be written: No space left on device.\n")
    closed = ran(["sh", "-c", '"$@" >&-', "sh", *words])
    assert (closed.returncode, closed.stdout) == (1, b"")
    assert closed.stderr == b"seqdet: error: --json must have a standard output to write to, and there is none.\n"
