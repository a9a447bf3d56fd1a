from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events import dat, words
from seqdet.events.array import Events
from seqdet.events.dat import is_dat, open_dat
from seqdet.events.reading import ReadOptions

HEADER = b"% Data file containing CD events.\n% Version 2\n% Height 480\n% Width 640\n"
RECORDS = st.lists(st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1)), max_size=60)


def write(path: Path, records, head: bytes = HEADER + b"\x0c\x08") -> Path:
    path.write_bytes(head + np.array(records, "<u4").tobytes())
    return path


def read(source, start_us: int | None = None) -> Events:
    return Events.concatenate(list(source.chunks(start_us)))


def address(x: int, y: int, p: int) -> int:
    return x | y << 14 | p << 28


@given(RECORDS, st.integers(1, 40))
def test_whatever_the_records_and_the_chunks_the_same_events_come_out_in_range_and_order(
    tmp_path_factory, records, room
):
    path = write(tmp_path_factory.mktemp("dat") / "a.dat", records)
    source = open_dat(path)
    events = read(source)
    assert ((events.x < 640) & (events.y < 480) & (events.p <= 1)).all()
    assert (np.maximum.accumulate(events.t) - events.t <= dat.JITTER_US).all()
    assert len(events) + source.dropped.total() == len(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "CHUNK_EVENTS", room)
        patch.setattr(words, "BLOCK_BYTES", room)
        parts = open_dat(path)
        again = read(parts)
    assert again.t.tolist() == events.t.tolist()
    assert again.x.tolist() == events.x.tolist()
    assert parts.dropped == source.dropped


@given(st.lists(st.integers(-900, 1 << 29), min_size=1, max_size=200), st.floats(0, 1), st.integers(1, 9))
def test_from_a_start_on_no_event_is_missing_over_loops_and_jitter(tmp_path_factory, steps, share, probe):
    latest = np.cumsum([1000, *np.maximum(steps, 0)])
    times = latest[:-1] + steps
    path = write(tmp_path_factory.mktemp("dat") / "a.dat", [(int(t) & 0xFFFFFFFF, address(1, 2, 1)) for t in times])
    full = read(open_dat(path, ReadOptions(strict=True)))
    assert full.t.tolist() == times.tolist()
    start = int(times.max() * share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dat, "PROBE_RECORDS", probe)
        patch.setattr(words, "BLOCK_BYTES", 8)
        later = read(open_dat(path), start)
    assert later.t[later.t >= start].tolist() == full.t[full.t >= start].tolist()


@given(
    st.integers(0, 1 << 32),
    st.sampled_from([5, 1_000_000, (1 << 32) - 400, (1 << 33) - 90_000]),
    st.sampled_from([0, 2, 900, 60_000]),
    st.sampled_from([3, 9, 950, 5000]),
    st.lists(st.tuples(st.integers(0, 899), st.integers(0, (1 << 64) - 1)), max_size=4),
)
def test_a_stretch_at_a_time_gives_what_record_by_record_gives(tmp_path_factory, seed, begin, step, fall, faults):
    random = np.random.default_rng(seed)
    times = (
        begin
        + np.cumsum(random.integers(0, step + 1, 900))
        - random.integers(0, fall, 900) * (random.random(900) < random.choice([0, 0.01, 0.9]))
    )
    place = random.integers(640, size=900) | random.integers(480, size=900) << 14 | random.integers(2, size=900) << 28
    records = (times & 0xFFFFFFFF).astype(np.uint64) | place.astype(np.uint64) << np.uint64(32)
    for which, record in faults:
        records[which] = record
    path = tmp_path_factory.mktemp("dat") / "a.dat"
    path.write_bytes(HEADER + b"\x0c\x08" + records.tobytes())
    whole = open_dat(path)
    events = read(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "CHUNK_EVENTS", 100)  # less than a stretch
        single = open_dat(path)
        expected = read(single)
    for name in ("t", "x", "y", "p"):
        assert getattr(events, name).tolist() == getattr(expected, name).tolist()
    assert whole.dropped == single.dropped


@pytest.mark.parametrize("steps", [(0, 1), (0, 1, 5, 9), (0, 40, 80, 120)])
def test_the_first_event_may_be_the_last_before_the_counter_begins_anew(tmp_path, steps):
    times = np.array(steps) + (1 << 32) - 1
    path = write(tmp_path / "a.dat", [(t & 0xFFFFFFFF, address(1, 2, 1)) for t in times.tolist()])
    assert read(open_dat(path)).t.tolist() == times.tolist()


def test_a_first_time_that_is_damaged_is_left_out(tmp_path):
    path = write(tmp_path / "a.dat", [(t, address(1, 2, 1)) for t in (3 << 30, 1000, 1001, 1002, 1003)])
    assert read(open_dat(path)).t.tolist() == [1000, 1001, 1002, 1003]


def test_a_start_is_found_without_reading_what_comes_before(tmp_path, monkeypatch):
    monkeypatch.setattr(dat, "PROBE_RECORDS", 64)
    source = open_dat(write(tmp_path / "a.dat", [(k * 1000, address(k % 640, 2, 0)) for k in range(10_000)]))
    later = read(source, 9_000_000)
    assert len(later) < 1100
    assert later.t[-1] == 9_999_000


def test_types_0_and_12_are_read_with_or_without_a_size(tmp_path):
    for kind in (0, 12):
        path = write(tmp_path / "a.dat", [(7, address(16383, 16382, 1))], b"% Version 2\n" + bytes((kind, 8)))
        source = open_dat(path, ReadOptions(strict=True))
        assert is_dat(path)
        assert (source.format, source.stated_size_hw, len(source.triggers())) == ("DAT", None, 0)
        events = read(source)
        assert (events.t[0], events.x[0], events.y[0], events.p[0]) == (7, 16383, 16382, 1)


def test_plain_records_without_a_header_are_read_if_they_can_be_events(tmp_path):
    path = write(tmp_path / "a.dat", [(k, address(k, 2, 1)) for k in range(50)], b"")
    assert read(open_dat(path, ReadOptions(strict=True))).x.tolist() == list(range(50))
    assert not is_dat(path)


@pytest.mark.parametrize("content", [
    b"", bytes(4096), b"%", HEADER, HEADER + b"\x0c", HEADER + b"\x0e\x08" + bytes(8), HEADER + b"\x0c\x10" + bytes(16),
    np.random.default_rng(0).bytes(4096), b"% evt 3.0\n% end\n\x0c\x09",
])  # fmt: skip
def test_a_file_that_is_no_dat_of_events_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "a.dat"
    path.write_bytes(content)
    assert not is_dat(path)
    with pytest.raises(InputError, match="must"):
        open_dat(path)


def test_another_version_is_refused(tmp_path):
    with pytest.raises(InputError, match="version 2, got '1'"):
        open_dat(write(tmp_path / "a.dat", [(1, 2)], b"% Version 1\n\x00\x08"))


def test_what_cannot_be_is_dropped_and_counted_or_strictly_refused(tmp_path):
    records = [
        (9000, address(1, 1, 0)),
        (7999, address(1, 1, 0)),
        (8000, address(639, 479, 1)),
        (9001, address(640, 1, 0)),
    ]
    path = write(tmp_path / "a.dat", records)
    path.write_bytes(path.read_bytes() + b"cut")
    source = open_dat(path)
    assert read(source).t.tolist() == [9000, 8000]
    reasons = ("events running back in time", "events outside the sensor", "bytes of a last word cut off")
    assert source.dropped == dict(zip(reasons, (1, 1, 3), strict=True))
    with pytest.raises(InputError, match="Without strict they are left out"):
        read(open_dat(path, ReadOptions(strict=True)))


def test_a_clock_that_begins_anew_is_refused_or_goes_on_once_it_is_sure(tmp_path, monkeypatch):
    monkeypatch.setattr(words, "BLOCK_BYTES", 800)
    monkeypatch.setattr(words, "AHEAD", 16)
    times = np.arange(5000) * 1000
    path = write(tmp_path / "a.dat", [(int(t), address(1, 1, 0)) for t in np.concatenate([times, times])])
    with pytest.raises(InputError, match=r"one clock, and it begins anew before byte .*--join-clocks"):
        read(open_dat(path))
    source = open_dat(path, ReadOptions(joins_clocks=True))
    found = read(source)
    lost = source.dropped["events running back in time"]
    assert len(found) + lost == 10_000
    assert found.t[:5000].tolist() == times.tolist()
    assert (np.diff(found.t) >= 0).all()
    assert 1024 <= lost < 1400
    assert "the clock begins anew" in source.notes[0]
