"""Whole columns: what ``read`` gives, and what memory it takes."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.events import hdf5_files, reading, tables, words
from seqdet.events.array import COLUMNS, Events, columns
from seqdet.events.dat import write_dat
from seqdet.events.evt import write_evt2, write_evt3
from seqdet.events.files import open_recording
from seqdet.events.hdf5 import write_hdf5
from seqdet.events.sieve import JITTER_US
from seqdet.events.tables import write_npz

SIZE_HW = (480, 640)


def write_evt21(path: Path, chunks: list[Events], *, size_hw: tuple[int, int]) -> None:
    """A word of time and one of an event for each event."""
    halves = [
        half
        for t, x, y, p in zip(*(getattr(chunks[0], name).tolist() for name in COLUMNS), strict=True)
        for half in (8 << 28 | t >> 6, p << 28 | (t & 63) << 22 | x << 11 | y)
    ]
    header = f"% format EVT21;endianness=little;height={size_hw[0]};width={size_hw[1]}\n% end\n"
    path.write_bytes(header.encode() + (np.array(halves, "<u8") << 32 | 1).tobytes())


def write_text(path: Path, chunks: list[Events], *, size_hw: tuple[int, int]) -> None:
    rows = zip(*(getattr(chunks[0], name).tolist() for name in COLUMNS), strict=True)
    path.write_text("t x y p\n" + "".join("{} {} {} {}\n".format(*row) for row in rows))


def write_npy(path: Path, chunks: list[Events], *, size_hw: tuple[int, int]) -> None:
    np.save(path, np.stack([getattr(chunks[0], name).astype(np.int64) for name in COLUMNS], axis=1))


WRITERS = {
    "a.evt2.raw": write_evt2,
    "a.evt21.raw": write_evt21,
    "a.evt3.raw": write_evt3,
    "a.dat": write_dat,
    "a.hdf5": write_hdf5,
    "a.npy": write_npy,
    "a.npz": write_npz,
    "a.txt": write_text,
}


@st.composite
def recordings(draw) -> Events:
    """Times that rise up to a jitter, dense or with leaps between them, at the loop of a counter of 32 bits or not."""
    count, step = draw(st.integers(1, 700)), draw(st.sampled_from([0, 1, 20, 4000, 90_000, 150_000]))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    t = draw(st.sampled_from([1000, (1 << 24) - 5000, (1 << 32) - 3000]))
    t = t + np.cumsum(random.integers(0, step + 1, count))
    share, most = draw(st.sampled_from([0, 0.01, 0.9])), draw(st.sampled_from([5, 900]))
    t -= random.integers(0, most, count) * (random.random(count) < share)
    return columns(t=t, x=random.integers(640, size=count), y=random.integers(480, size=count), p=t % 2)


@pytest.mark.parametrize("name", WRITERS)
@given(
    events=recordings(),
    ends=st.tuples(st.floats(-0.2, 1.2), st.floats(0, 1.2)),
    piece=st.sampled_from([1, 50, 300, 1 << 18]),
    block=st.sampled_from([100, 1000, 1 << 20]),
    is_passed=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_read_at_once_is_what_the_pieces_hold_between_the_times(
    tmp_path_factory, name, events, ends, piece, block, is_passed
):
    path = tmp_path_factory.mktemp("whole") / name
    WRITERS[name](path, [events], size_hw=SIZE_HW)
    options = {"size_hw": SIZE_HW} if name in ("a.npy", "a.txt") else {}
    with pytest.MonkeyPatch.context() as patch:
        for module, setting in ((hdf5_files, "ROWS"), (tables, "ROWS"), (words, "CHUNK_EVENTS")):
            patch.setattr(module, setting, piece)
        patch.setattr(words, "BLOCK_BYTES", block)
        patch.setattr(words, "MARK_BYTES", 200)
        patch.setattr(words, "AHEAD", 20)
        with open_recording(path, **options) as opened:
            first, last = opened.span_us() or (0, 0)
        start, end = sorted(first + int(share * (last + 1 - first)) for share in ends)
        with open_recording(path, **options) as opened:
            if is_passed:
                opened.span_us()
            found = opened.read(start, end)
            everything = opened.read(first, last + 1)
            dropped = dict(opened.dropped)
            pieces = Events.concatenate(list(opened.chunks()))
            assert opened.dropped == dropped
    for column in COLUMNS:
        between = (pieces.t >= start) & (pieces.t < end)
        assert getattr(found, column).tolist() == getattr(pieces, column)[between].tolist()
        assert getattr(everything, column).tolist() == getattr(pieces, column).tolist()
        assert getattr(found, column).flags.owndata
    if is_steady(events):
        assert pieces.t.tolist() == events.t.tolist()


def is_steady(events: Events) -> bool:
    """Whether no counter begins anew, and no time can be taken for damage or for one that comes too late."""
    newest = np.maximum.accumulate(events.t)
    steps = np.diff(newest, prepend=newest[0])
    return events.t.max() < 1 << 24 and (newest - events.t).max() < JITTER_US and steps.max() < 90_000


@given(pieces=st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=12), shares=st.booleans())
def test_columns_grow_to_hold_all_pieces_whatever_was_foreseen(pieces, shares):
    def decoding(room):
        for number, times in enumerate(pieces):
            place = [column[: len(times)] for column in room(number / len(pieces) if shares else 0.9)]
            for column in place:
                column[:] = times
            yield reading.DecodedPiece(place, 0, 9)

    events = reading.decoded(decoding, 0, 100, piece=6)
    for name in COLUMNS:
        assert getattr(events, name).tolist() == [time for times in pieces for time in times]


@pytest.mark.parametrize(
    ("name", "most"),
    [("a.evt2.raw", 1.2), ("a.evt3.raw", 1.2), ("a.dat", 1.2), ("a.hdf5", 2), ("a.npy", 2), ("a.npz", 2)],
)
@pytest.mark.parametrize(("end_us", "bytes_beside"), [(60_000, 1 << 23), (1 << 40, 1 << 22)])
def test_reading_takes_little_more_memory_than_what_is_read(tmp_path, monkeypatch, name, most, end_us, bytes_beside):
    monkeypatch.setattr(words, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(words, "CHUNK_EVENTS", 1 << 14)
    number = np.arange(1_000_000)
    events = columns(t=1000 + number // 2, x=number * 7 % 640, y=number * 11 % 480, p=number % 2)
    WRITERS[name](tmp_path / name, [events], size_hw=SIZE_HW)
    with open_recording(tmp_path / name, size_hw=SIZE_HW) as opened:
        opened.read(0, 10_000)  # compiles
        tracemalloc.start()
        found = opened.read(0, end_us)
        left, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(found) == (events.t < end_us).sum()
    assert left < 13 * len(found) + (1 << 18)
    assert peak < most * 13 * len(found) + bytes_beside


def test_what_is_kept_of_a_piece_does_not_hold_its_memory(tmp_path):
    number = np.arange(300_000)
    write_dat(tmp_path / "a.dat", [columns(t=number, x=number % 640, y=number % 480, p=number % 2)], size_hw=SIZE_HW)
    with open_recording(tmp_path / "a.dat") as opened:
        opened.read(0, 10)
        tracemalloc.start()
        kept = [opened.read(at, at + 10) for at in range(0, 300_000, 10_000)]
        left = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert [len(events) for events in kept] == [10] * 30
    assert left < 1 << 18
