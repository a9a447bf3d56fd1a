from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events import words
from seqdet.events.array import COLUMNS, Events, columns
from seqdet.events.files import open_recording
from seqdet.events.formats import ENCODINGS, encoding_of
from seqdet.events.reading import AS_IT_IS, Recording

NAMES = sorted(json.loads((Path(__file__).parents[1] / "recordings" / "digests.json").read_text()))


class Pieces(Recording):
    """A recording of the given events, cut into pieces."""

    def __init__(self, events: Events, size: int) -> None:
        super().__init__(Path("test"), AS_IT_IS, format="test")
        self.events, self.size = events, size

    def _chunks(self, start_us: int | None) -> Iterator[Events]:
        for start in range(0, len(self.events), self.size):
            yield self.events[start : start + self.size]

    def _find_span_us(self) -> tuple[int, int] | None:
        return (int(self.events.t.min()), int(self.events.t.max())) if len(self.events) else None


def recording(times: list[int], size: int) -> Recording:
    number = np.arange(len(times))
    events = Events(
        np.array(times, np.int64), number.astype(np.uint16), number.astype(np.uint16), number.astype(np.uint8)
    )
    return Pieces(events, size)


@st.composite
def recordings(draw) -> tuple[list[int], Recording]:
    """Rising times with a jitter below that which readers let pass."""
    steps = draw(st.lists(st.integers(0, 3000), max_size=40))
    jitter = draw(st.lists(st.integers(0, 900), min_size=len(steps), max_size=len(steps)))
    times = (np.cumsum(steps).astype(np.int64) - jitter).tolist()
    return times, recording(times, draw(st.integers(1, 9)))


@settings(max_examples=200)
@given(
    given=recordings(), duration=st.integers(1, 20_000), ends=st.tuples(st.integers(-50, 9000), st.integers(0, 90_000))
)
def test_windows_on_a_grid_share_no_event_and_lose_none(given, duration, ends):
    times, opened = given
    start_us, end_us = ends[0], ends[0] + ends[1]
    windows = list(opened.windows(window_us=duration, start_us=start_us, end_us=end_us))
    for number, window in enumerate(windows):
        assert window.start_us == start_us + number * duration
        assert window.end_us == min(window.start_us + duration, end_us)
        assert ((window.events.t >= window.start_us) & (window.events.t < window.end_us)).all()
        assert (np.diff(window.events.t) >= 0).all()
    seen = sorted(int(x) for window in windows for x in window.events.x)
    assert seen == [i for i, t in enumerate(times) if start_us <= t < end_us]
    assert not windows or windows[-1].end_us == end_us or windows[-1].end_us > max(times)


@settings(max_examples=200)
@given(given=recordings(), count=st.integers(1, 7), duration=st.none() | st.integers(1, 20_000))
def test_windows_of_so_many_events_share_none_and_lose_none(given, count, duration):
    times, opened = given
    windows = list(opened.windows(count=count, window_us=duration))
    assert sorted(int(x) for window in windows for x in window.events.x) == list(range(len(times)))
    for window in windows:
        assert 1 <= len(window.events) <= count
        assert window.events.t[0] == window.start_us
        assert window.events.t[-1] < window.end_us
        assert duration is None or window.end_us - window.start_us <= duration
    if duration is None:
        assert {len(window.events) for window in windows[:-1]} <= {count}


@settings(max_examples=100)
@given(given=recordings(), ends=st.tuples(st.integers(-50, 9000), st.integers(0, 90_000)))
def test_a_stretch_holds_the_events_of_its_time_in_the_order_of_the_file(given, ends):
    times, opened = given
    events = opened.read(ends[0], ends[0] + ends[1])
    assert events.x.tolist() == [i for i, t in enumerate(times) if ends[0] <= t < ends[0] + ends[1]]


def test_windows_start_at_the_first_event_if_not_told_otherwise():
    windows = list(recording([7000, 7100, 99_000], 1).windows(window_us=50_000))
    assert [(window.start_us, len(window.events)) for window in windows] == [(7000, 2), (57_000, 1)]


def test_two_readers_of_one_recording_do_not_meet():
    opened = recording(list(range(0, 90_000, 700)), 5)
    alone = [window.events.x.tolist() for window in opened.windows(window_us=9000)]
    ahead = opened.windows(window_us=9000)
    seen = [next(ahead).events.x.tolist() for _ in range(3)]
    assert [window.events.x.tolist() for window in opened.windows(window_us=4000)] != alone
    assert seen + [window.events.x.tolist() for window in ahead] == alone


def test_windows_without_a_length_are_refused():
    with pytest.raises(InputError, match="windows must have a window_us, a count or both, got neither"):
        list(recording([1], 1).windows())
    with pytest.raises(InputError, match="window_us must be at least 1, got 0"):
        list(recording([1], 1).windows(window_us=0))


def test_a_size_that_nobody_stated_is_asked_for():
    with pytest.raises(InputError, match=r"must state the size of its sensor, and does not\. Give size_hw"):
        _ = recording([1], 1).size_hw


@pytest.mark.parametrize("name", NAMES)
def test_real_recordings_read_as_independent_decoders_read_them(recordings, digests, name):
    wanted = digests[name]
    with open_recording(recordings / name) as opened:
        events = Events.concatenate(list(opened.chunks()))
        assert len(events) == wanted["events"]
        assert opened.size_hw == (wanted["height"], wanted["width"])
        for column, digest in zip(COLUMNS, ("t_i8", "x_u2", "y_u2", "p_u1"), strict=True):
            assert hashlib.sha1(getattr(events, column).tobytes()).hexdigest() == wanted["sha1"][digest]
        windows = list(opened.windows(window_us=50_000))
        assert sum(len(window.events) for window in windows) == wanted["events"]
        middle = (wanted["first_t"] + wanted["last_t"]) // 2
        late = opened.read(middle, wanted["last_t"] + 1)
        assert len(late) == int((events.t >= middle).sum())
        assert not opened.dropped


@pytest.mark.parametrize(
    ("name", "content"), [("a.raw", b""), ("a.txt", b"\x00\xff" * 99), ("a.bin", b""), ("a.xyz", b"?")]
)
def test_a_file_that_is_no_recording_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refusal:
        list(open_recording(tmp_path / name).chunks())
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="there is no such file"):
        open_recording(tmp_path / "gone")


def strip_size(path: Path) -> None:
    """Take what says the size of the sensor out of the header of a RAW or DAT file, or of an HDF5 file."""
    if path.suffix == ".hdf5":
        with h5py.File(path, "r+") as file:
            del file.attrs["geometry"]
        return
    head, sign, rest = path.read_bytes().partition(b"% end\n")
    if not sign:  # DAT, whose events begin after the last line
        lines = path.read_bytes().split(b"\n")
        last = max(n for n, line in enumerate(lines) if line.startswith(b"%"))
        head, rest = b"\n".join(lines[: last + 1]) + b"\n", b"\n".join(lines[last + 1 :])
    kept = [line for line in head.splitlines() if not re.search(rb"(?i)geometry|width|height", line)]
    kept = [re.sub(rb";(width|height)=\d+", b"", line) for line in kept]
    path.write_bytes(b"\n".join(kept) + b"\n" + sign + rest)


@pytest.mark.parametrize("name", ["a.raw", "a.dat", "a.hdf5", "a.csv"])
def test_a_size_that_the_user_gives_sifts_as_one_in_the_header_does(tmp_path, monkeypatch, name):
    """Also where an index of the file was made without it."""
    monkeypatch.setenv("SEQDET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(words, "SAVED_BYTES", 0)
    t = np.arange(0, 40_000, 10)
    events = columns(t=t, x=t // 10 % 64, y=t // 10 % 48, p=t // 10 % 2)
    path = tmp_path / name
    if name == "a.csv":
        rows = zip(*(getattr(events, column).tolist() for column in "txyp"), strict=True)
        path.write_text("t,x,y,p\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    else:
        ENCODINGS[encoding_of(path)].write(path, [events], size_hw=(48, 64))
        strip_size(path)
    with open_recording(path) as opened:
        assert opened.stated_size_hw is None
        assert len(opened.read(0, 50_000)) == len(Events.concatenate(list(opened.chunks()))) == len(events)
    times = events.t[events.x < 32]
    with open_recording(path, size_hw=(48, 32)) as opened:
        assert opened.read(0, 50_000).t.tolist() == times.tolist()
        assert Events.concatenate(list(opened.chunks())).t.tolist() == times.tolist()
        assert opened.dropped == {"events outside the sensor": len(events) - len(times)}
        assert opened.read(20_000, 30_000).t.tolist() == times[(times >= 20_000) & (times < 30_000)].tolist()
