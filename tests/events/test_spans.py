from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.events import dat, hdf5_files, tables, words
from seqdet.events.array import Events, columns
from seqdet.events.dat import write_dat
from seqdet.events.evt import write_evt2, write_evt3
from seqdet.events.files import open_recording
from seqdet.events.hdf5 import write_hdf5
from seqdet.events.reading import whole_span_us
from seqdet.events.tables import write_npz

SIZE_HW = (480, 640)


def write_npy(path: Path, chunks: list[Events], *, size_hw: tuple[int, int]) -> None:
    np.save(path, np.stack([getattr(chunks[0], name).astype(np.int64) for name in "txyp"], axis=1))


def write_text(path: Path, chunks: list[Events], *, size_hw: tuple[int, int]) -> None:
    rows = zip(*(getattr(chunks[0], name).tolist() for name in "txyp"), strict=True)
    path.write_text("t x y p\n1 640 0 0\n" + "".join("{} {} {} {}\n".format(*row) for row in rows))


WRITERS = {
    "a.evt2.raw": write_evt2,
    "a.evt3.raw": write_evt3,
    "a.dat": write_dat,
    "a.hdf5": write_hdf5,
    "a.npy": write_npy,
    "a.npz": write_npz,
    "a.txt": write_text,
}
CHEAP = {"a.dat", "a.hdf5", "a.npy"}


@st.composite
def recordings(draw) -> Events:
    """Times that rise up to a jitter, in few or many pieces."""
    count, step = draw(st.integers(1, 700)), draw(st.sampled_from([0, 3, 100, 4000]))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    t = 1000 + np.cumsum(random.integers(0, step + 1, count))
    jitter = np.minimum(random.integers(0, 900, count), t) * (
        random.random(count) < draw(st.sampled_from([0, 0.1, 0.9]))
    )
    return columns(t=t - jitter, x=random.integers(640, size=count), y=random.integers(480, size=count), p=t % 2)


@pytest.mark.parametrize("name", WRITERS)
@given(events=recordings())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_span_is_what_a_whole_pass_finds(tmp_path_factory, monkeypatch, name, events):
    for module, setting in ((hdf5_files, "ROWS"), (tables, "ROWS"), (dat, "PROBE_RECORDS"), (words, "CHUNK_EVENTS")):
        monkeypatch.setattr(module, setting, 50)
    path = tmp_path_factory.mktemp("span") / name
    options = {"size_hw": SIZE_HW} if name in ("a.npy", "a.txt") else {}
    WRITERS[name](path, [events], size_hw=SIZE_HW)
    with open_recording(path, **options) as opened:
        assert opened.is_indexed == (name in CHEAP)
        assert opened.span_us() == (events.t.min(), events.t.max()) == whole_span_us(opened.chunks())
        assert opened.is_indexed == (name in CHEAP or name.endswith("raw"))
        middle = int(events.t[len(events) // 2])
        late = Events.concatenate(list(opened.chunks(middle)))
    assert late.t[late.t >= middle].tolist() == events.t[events.t >= middle].tolist()


@pytest.mark.parametrize("name", ["a.evt2.raw", "a.evt3.raw", "a.dat", "a.hdf5", "a.npz"])
def test_a_recording_without_events_has_no_span(tmp_path, name):
    WRITERS[name](tmp_path / name, [], size_hw=SIZE_HW)
    with open_recording(tmp_path / name) as opened:
        assert opened.span_us() is None


def test_npy_is_read_from_a_time_on_without_what_comes_before(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 64)
    events = columns(t=np.arange(10_000) * 1000, x=np.ones(10_000), y=np.ones(10_000), p=np.ones(10_000))
    write_npy(tmp_path / "a.npy", [events], size_hw=SIZE_HW)
    with open_recording(tmp_path / "a.npy") as opened:
        late = Events.concatenate(list(opened.chunks(9_000_000)))
    assert late.t[0] <= 9_000_000
    assert len(late) < 1200


def test_where_the_last_chunks_are_damaged_the_span_ends_before_them(tmp_path):
    events = columns(t=np.arange(200_000) * 9, x=np.ones(200_000), y=np.ones(200_000), p=np.ones(200_000))
    write_hdf5(tmp_path / "a.hdf5", [events], size_hw=SIZE_HW, compression="blosc")
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file["CD/events"].id.write_direct_chunk((196_608,), b"damage")
    with open_recording(tmp_path / "a.hdf5") as opened:
        first, last = opened.span_us()
        assert (first, last) == whole_span_us(opened.chunks())
        assert first == 0
        assert last < 196_608 * 9


def test_the_spans_of_real_recordings_are_those_of_a_whole_pass(recordings):
    for path in sorted(recordings.glob("*_*x*")):
        if path.suffix == ".aedat4":
            pytest.importorskip("aedat", reason="the package aedat is not installed")
        with open_recording(path) as opened:
            assert opened.span_us() == whole_span_us(opened.chunks())
