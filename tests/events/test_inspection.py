from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.events.array import Events
from seqdet.events.convert import convert
from seqdet.events.files import open_recording
from seqdet.events.formats import ENCODINGS
from seqdet.events.inspection import inspect
from seqdet.events.tables import write_npz

SIZE = (48, 64)


def events(count: int, *, seed: int = 0) -> Events:
    """About one a millisecond, none at the rim."""
    random = np.random.default_rng(seed)
    return Events(
        t=np.sort(random.integers(0, 1000 * count, count)),
        x=random.integers(1, SIZE[1] - 1, count).astype(np.uint16),
        y=random.integers(1, SIZE[0] - 1, count).astype(np.uint16),
        p=random.integers(0, 2, count).astype(np.uint8),
    )


@pytest.fixture
def path(tmp_path) -> Path:
    """Three seconds, then one of silence and a hot pixel that sends 500 events in a millisecond."""
    hot = [np.full(500, value, dtype) for value, dtype in ((7, np.uint16), (5, np.uint16), (1, np.uint8))]
    burst = Events(4_050_000 + np.arange(500) * 2, *hot)
    write_npz(tmp_path / "recording.npz", [events(3000), burst], size_hw=SIZE)
    return tmp_path / "recording.npz"


def test_an_inspection_counts_what_is_there(path):
    wanted = Events.concatenate(list(open_recording(path).chunks()))
    with open_recording(path) as opened:
        found = inspect(opened)
    assert (found.events, found.size_hw, found.format) == (3500, SIZE, "npz")
    assert (found.first_us, found.last_us) == (int(wanted.t[0]), 4_050_998)
    assert found.brighter == int(wanted.p.sum())
    assert found.hot_xy == [(7, 5)]
    assert found.longest_gap_us == int(np.diff(wanted.t).max())
    assert found.long_gaps == 1
    assert found.peak_rate == 5000
    assert sum(found.rates.values()) == found.counts.sum() == 3500
    y, x = np.nonzero(found.counts)
    assert set(zip(x.tolist(), y.tolist(), strict=True)) == set(zip(wanted.x.tolist(), wanted.y.tolist(), strict=True))


def test_the_command_says_it_on_standard_output(path):
    command = [sys.executable, "-m", "seqdet.cli", "inspect", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "npz, 64x48, 3,500 events"
    assert "1 hot (7,5)" in "\n".join(lines)


def test_the_command_says_which_files_it_wrote(path, tmp_path, caplog):
    plot, video = tmp_path / "plot.png", tmp_path / "play.mp4"
    with caplog.at_level("INFO", "seqdet"):
        main(["inspect", str(path), "--plot", str(plot), "--video", str(video)])
    assert caplog.messages[-2:] == [f"The plot is in {plot}.", f"The video is in {video}."]
    assert min(plot.stat().st_size, video.stat().st_size) > 0


def test_an_empty_recording_has_nothing_to_say(tmp_path):
    write_npz(tmp_path / "empty.npz", [], size_hw=SIZE)
    found = inspect(open_recording(tmp_path / "empty.npz"))
    assert found.lines() == ["npz, 64x48, 0 events"]
    assert found.counts.shape == SIZE


@pytest.mark.parametrize("ending", [ending for each in ENCODINGS.values() for ending in each.endings])
def test_a_converted_recording_has_the_same_events(path, tmp_path, ending):
    target = tmp_path / f"converted{ending}"
    with open_recording(path) as opened:
        convert(opened, target)
    with open_recording(target) as opened:
        assert opened.size_hw == SIZE
        found = Events.concatenate(list(opened.chunks()))
    wanted = Events.concatenate(list(open_recording(path).chunks()))
    for column in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(found, column), getattr(wanted, column))


def test_a_part_of_a_recording_is_what_lies_within(path, tmp_path):
    main(["convert", str(path), str(tmp_path / "part.npz"), "--start_us", "500000", "--duration_us", "1000000",
          "--roi", "[10, 5, 40, 30]"])  # fmt: skip
    found = Events.concatenate(list(open_recording(tmp_path / "part.npz").chunks()))
    whole = Events.concatenate(list(open_recording(path).chunks()))
    inside = (whole.t >= 500_000) & (whole.t < 1_500_000)
    inside &= (whole.x >= 10) & (whole.x < 40) & (whole.y >= 5) & (whole.y < 30)
    np.testing.assert_array_equal(found.t, whole.t[inside])
    np.testing.assert_array_equal(found.x, whole.x[inside])
    assert len(found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": Path("a.avi")}, "the ending of the file's name must be one of .dat, .h5"),
        ({"encoding": "evt9"}, "encoding must be one of"),
        ({"duration_us": 0}, "duration_us must be at least 1, got 0"),
        ({"roi": (9, 0, 9, 5)}, r"roi must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, got \(9, 0, 9, 5\)"),
        ({"target": Path("/nowhere/a.npz")}, "cannot be written: No such file"),
    ],
)
def test_a_wrong_conversion_is_one_sentence_and_leaves_no_file(path, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with open_recording(path) as opened, pytest.raises(InputError, match=words):
        convert(opened, options.pop("target", Path("a.npz")), **options)
    assert sorted(tmp_path.iterdir()) == before


def test_the_facts_about_a_real_recording_are_those_of_its_digest(recordings, digests):
    wanted = digests["trigger_1280x720.evt3.raw"]
    found = inspect(open_recording(recordings / "trigger_1280x720.evt3.raw"))
    assert (found.events, found.brighter) == (wanted["events"], wanted["p1"])
    assert (found.first_us, found.last_us) == (wanted["first_t"], wanted["last_t"])
    assert sum(found.triggers.values()) == 2
