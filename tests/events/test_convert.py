from pathlib import Path

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.events.array import Events, Triggers, columns
from seqdet.events.convert import convert
from seqdet.events.files import open_recording
from seqdet.events.filters import NoiseFilter, filtered, find_filters
from seqdet.events.hdf5 import write_hdf5

REAL = ["lens_640x480.evt3.raw", "trigger_1280x720.evt3.raw"]


def read(path: Path) -> tuple[Events, Triggers]:
    with open_recording(path, strict=True) as opened:
        return Events.concatenate(list(opened.chunks())), opened.triggers()


@pytest.fixture
def path(tmp_path) -> Path:
    number = np.arange(1000)
    triggers = Triggers(np.arange(0, 100_000, 5000), np.full(20, 3, np.uint8), np.arange(20, dtype=np.uint8) % 2)
    events = columns(t=5000 + number * 50, x=number % 64, y=number % 48, p=number % 2)
    write_hdf5(tmp_path / "a.hdf5", [events], size_hw=(48, 64), triggers=triggers)
    return tmp_path / "a.hdf5"


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("target", ["a.evt2", "a.evt3", "a.hdf5"])
def test_the_triggers_of_a_real_recording_go_along(recordings, tmp_path, name, target):
    encoding = target.removeprefix("a.")
    with open_recording(recordings / name) as opened:
        done = convert(opened, tmp_path / target, encoding=encoding)
    (events, triggers), (wanted, edges) = read(tmp_path / target), read(recordings / name)
    assert (done.events, done.triggers, dict(done.lost)) == (len(wanted), len(edges), {})
    assert len(edges) > 0
    loops = wanted.t[0] - events.t[0]
    assert loops % (1 << 24) == 0
    for column, same in (("t", events.t + loops), ("x", events.x), ("y", events.y), ("p", events.p)):
        assert np.array_equal(getattr(wanted, column), same)
    order = np.argsort(edges.t, kind="stable") if encoding != "hdf5" else np.arange(len(edges))
    assert np.array_equal(edges.t[order], triggers.t + loops)
    assert np.array_equal(edges.channel[order], triggers.channel)
    assert np.array_equal(edges.p[order], triggers.p)


@pytest.mark.parametrize(("target", "kept"), [("b.raw", 20), ("b.dat", 0), ("b.npz", 0), ("b.hdf5", 20)])
def test_the_answer_counts_the_edges_that_the_target_cannot_hold(path, tmp_path, target, kept):
    with open_recording(path) as opened:
        done = convert(opened, tmp_path / ("c" + target))
    assert (done.events, done.triggers, done.lost.total()) == (1000, kept, 20 - kept)
    assert len(read(tmp_path / ("c" + target))[1]) == kept
    text = str(done)
    assert text.startswith(f"1,000 events and {kept} trigger edges written")
    assert ("20 trigger edges, for which" in text) == (not kept)


@pytest.mark.parametrize("target", ["b.raw", "b.dat", "b.npz", "b.hdf5"])
def test_a_target_may_be_a_string(path, tmp_path, target):
    with open_recording(str(path)) as opened:
        done = convert(opened, str(tmp_path / target))
    assert done.events == len(read(tmp_path / target)[0]) == 1000


@pytest.mark.parametrize(
    ("start", "duration", "edges", "events"),
    [
        (None, 20_000, [0, 5000, 10_000, 15_000, 20_000], 400),
        (10_000, 10_000, [10_000, 15_000], 200),
        (90_000, None, [90_000, 95_000], 0),
    ],
)
def test_edges_are_cut_to_the_range_of_time(path, tmp_path, start, duration, edges, events):
    with open_recording(path) as opened:
        done = convert(opened, tmp_path / "b.raw", encoding="evt2", start_us=start, duration_us=duration)
    found, triggers = read(tmp_path / "b.raw")
    assert (len(found), triggers.t.tolist()) == (events, [t for t in edges if start is not None or t >= 5000])
    assert done.events == events


@pytest.mark.parametrize("suffix", [".raw", ".dat", ".hdf5", ".npz"])
def test_a_part_without_events_is_not_written(path, tmp_path, suffix):
    with open_recording(path) as opened, pytest.raises(InputError, match="must have events in the part"):
        convert(opened, tmp_path / f"b{suffix}", start_us=10**6)
    assert [each.name for each in tmp_path.iterdir()] == ["a.hdf5"]


@pytest.mark.parametrize(("encoding", "loop_us"), [("evt3", 1 << 24), ("dat", 1 << 32), ("evt2", 1 << 34)])
def test_times_that_a_format_cannot_count_to_are_said_to_be_earlier(tmp_path, encoding, loop_us):
    late = columns(t=np.arange(3) + 5 * loop_us + 7, x=[1, 2, 3], y=[1, 2, 3], p=[0, 1, 0])
    write_hdf5(tmp_path / "late.hdf5", [late], size_hw=(48, 64))
    with open_recording(tmp_path / "late.hdf5") as opened:
        done = convert(opened, tmp_path / "b", encoding=encoding)
    assert done.earlier_us == 5 * loop_us
    assert f"times are {5 * loop_us:,} us earlier" in str(done)
    assert read(tmp_path / "b")[0].t.tolist() == [7, 8, 9]


def test_noise_is_left_out_of_a_part_and_counted(path, tmp_path):
    filters = find_filters("activity:100,stc:70000")
    with open_recording(path) as opened:
        done = convert(opened, tmp_path / "b.hdf5", start_us=10_000, duration_us=20_000, filters=filters)
    chain = [NoiseFilter(each, (48, 64)) for each in filters]
    events, _ = read(path)
    (wanted,) = filtered([events[(events.t >= 10_000) & (events.t < 30_000)]], chain)
    assert read(tmp_path / "b.hdf5")[0].t.tolist() == wanted.t.tolist()
    assert done.lost == {f"events that did not pass {each.config.name}": each.removed for each in chain}
    assert 0 < done.events == 400 - sum(done.lost.values())
