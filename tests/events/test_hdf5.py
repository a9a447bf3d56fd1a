import hashlib
import struct
from contextlib import suppress
from itertools import pairwise

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events import hdf5_files
from seqdet.events.array import Events, Triggers, columns
from seqdet.events.hdf5 import EVENT, is_hdf5, open_hdf5, write_hdf5
from seqdet.events.reading import ReadOptions

ECF, PLAIN = "lens_640x480.ecf.hdf5", "lens_640x480.plain.hdf5"
SIZE_HW = (480, 640)


def make_events(count, *, start=0, step=40, seed=0):
    random = np.random.default_rng(seed)
    return columns(
        t=start + np.cumsum(random.integers(0, 2 * step, count)),
        x=random.integers(0, 640, count),
        y=random.integers(0, 480, count),
        p=random.integers(0, 2, count),
    )


def read(path, *, strict=True, start_us=None):
    source = open_hdf5(path, ReadOptions(strict=strict))
    events = Events.concatenate(list(source.chunks(start_us)))
    source.close()
    return events, source


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in "txyp")


def write_columns(path, events, *, chunks=None, offset=None, **options):
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", data=getattr(events, name), chunks=chunks and (chunks,), **options)
        file["ms_to_idx"] = np.zeros(3, np.uint64)
        if offset is not None:
            file["t_offset"] = offset


@pytest.fixture
def ecf_file(recordings, tmp_path):
    path = tmp_path / ECF
    path.write_bytes((recordings / ECF).read_bytes())
    return path


@pytest.mark.parametrize("name", [ECF, PLAIN])
def test_the_columns_of_a_real_recording_have_the_known_digests(recordings, digests, name):
    known = digests[name]
    events, source = read(recordings / name)
    found = {name: hashlib.sha1(getattr(events, name[0]).tobytes()).hexdigest() for name in known["sha1"]}
    assert found == known["sha1"]
    assert source.size_hw == (known["height"], known["width"])
    assert len(source.triggers()) == 0
    assert not source.dropped


def test_the_index_that_we_write_is_the_vendors(recordings, tmp_path):
    events, _ = read(recordings / ECF)
    write_hdf5(tmp_path / "a.hdf5", [events[:1000], events[1000:]], size_hw=SIZE_HW)
    with h5py.File(tmp_path / "a.hdf5") as ours, h5py.File(recordings / ECF) as theirs:
        assert ours["CD/events"].dtype == theirs["CD/events"].dtype
        assert ours["CD/indexes"].attrs["offset"] == theirs["CD/indexes"].attrs["offset"]
        np.testing.assert_array_equal(ours["CD/indexes"][:], theirs["CD/indexes"][:])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 40_000),
    cuts=st.lists(st.integers(0, 40_000), max_size=3),
    start=st.sampled_from([0, 7, 1_589_163_147_368_868]),
    compression=st.sampled_from([None, "blosc"]),
)
def test_what_was_written_in_pieces_of_any_size_comes_back(tmp_path, count, cuts, start, compression):
    events, path = make_events(count, start=start), tmp_path / "a.hdf5"
    edges = Triggers(np.array([5, 9], np.int64), np.array([0, 3], np.uint8), np.array([1, 0], np.uint8))
    bounds = sorted(min(cut, count) for cut in [0, *cuts, count])
    pieces = (events[a:b] for a, b in pairwise(bounds))
    write_hdf5(path, pieces, size_hw=SIZE_HW, triggers=edges, compression=compression)
    back, source = read(path)
    assert equal(back, events)
    assert source.size_hw == SIZE_HW
    found = open_hdf5(path).triggers()
    assert [found.t.tolist(), found.channel.tolist(), found.p.tolist()] == [[5, 9], [0, 3], [1, 0]]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.sampled_from([None, 1, 7, 1000, 2000]),
    rows=st.integers(1, 3000),
    start_us=st.one_of(st.none(), st.integers(-10, 90_000)),
    options=st.sampled_from([{}, {"compression": "gzip"}, dict(hdf5plugin.Blosc())]),
)
def test_columns_read_the_same_whatever_the_chunks_and_the_start(
    tmp_path, monkeypatch, chunks, rows, start_us, options
):
    monkeypatch.setattr(hdf5_files, "ROWS", rows)
    events = make_events(2000)
    write_columns(tmp_path / "a.h5", events, chunks=chunks, offset=1000, **(options if chunks else {}))
    found, source = read(tmp_path / "a.h5", start_us=None if start_us is None else start_us + 1000)
    assert source.format == "HDF5 columns"
    first = len(events) - len(found)
    assert np.array_equal(found.t, events.t[first:] + 1000)
    assert np.array_equal(found.x, events.x[first:])
    assert start_us is None or first == 0 or events.t[first - 1] < start_us
    assert start_us is not None or first == 0


@pytest.mark.parametrize("start_us", [0, 1, 200_000, 500_000, 1_999_999, 2_078_178, 2_078_179])
def test_a_pass_that_starts_later_misses_no_event_and_reads_little_before(recordings, start_us):
    whole, _ = read(recordings / ECF)
    part, _ = read(recordings / ECF, start_us=start_us)
    wanted = int((whole.t >= start_us).sum())
    assert equal(part, whole[len(whole) - len(part) :])
    assert wanted <= len(part) <= wanted + 2 * 16384


def test_sizes_of_the_rvt_layout_are_read(tmp_path):
    write_columns(tmp_path / "a.h5", make_events(3))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["events/height"], file["events/width"] = 480, 640
    assert open_hdf5(tmp_path / "a.h5").size_hw == SIZE_HW


@pytest.mark.parametrize("geometry", ["640", "0x0", "99999999x9", "x", b"\xff", 7, "640x480x3"])
def test_a_sensor_size_that_cannot_be_is_not_believed(tmp_path, geometry):
    write_hdf5(tmp_path / "a.hdf5", [make_events(3)], size_hw=SIZE_HW)
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file.attrs["geometry"] = geometry
    assert read(tmp_path / "a.hdf5")[1].stated_size_hw is None


def change_chunk(path, number, content, *, mask=0):
    with h5py.File(path, "a") as file:
        file["CD/events"].id.write_direct_chunk((number * 16384,), content, mask)


def chunk_of(path, number):
    with h5py.File(path) as file:
        return bytearray(file["CD/events"].id.read_direct_chunk((number * 16384,))[1])


@pytest.mark.parametrize("damage", ["cut short", "count", "huge count", "time", "zeros"])
def test_a_damaged_ecf_chunk_is_left_out_and_counted_or_refused(ecf_file, damage):
    whole, _ = read(ecf_file)
    number = min(3, len(whole) // 16384 - 2)
    content = chunk_of(ecf_file, number)
    content[:4] = {"count": (100 << 2 | 2).to_bytes(4, "little"), "huge count": b"\xff\xff\xff\xff"}.get(
        damage, content[:4]
    )
    if damage == "time":
        content[4:12] = bytes(8)
    content = {"cut short": content[:-1], "zeros": bytes(len(content))}.get(damage, content)
    change_chunk(ecf_file, number, bytes(content))
    found, source = read(ecf_file, strict=False)
    assert equal(found, Events.concatenate([whole[: number * 16384], whole[(number + 1) * 16384 :]]))
    reason = "events running back in time" if damage == "time" else "events in damaged chunks"
    assert source.dropped == {reason: 16384}
    with pytest.raises(InputError, match=f"16384 {reason}"):
        read(ecf_file, strict=True)


def test_a_chunk_that_skipped_the_codec_is_read_as_it_is(ecf_file):
    whole, _ = read(ecf_file)
    rows = np.zeros(16384, EVENT)
    for name in "txyp":
        rows[name] = getattr(whole, name)[:16384]
    change_chunk(ecf_file, 0, rows.tobytes(), mask=1)
    assert equal(read(ecf_file)[0], whole)


def test_chunks_of_a_wrong_size_without_a_codec_are_not_read(ecf_file, digests):
    content = bytearray(ecf_file.read_bytes())
    content[content.index(b"HDF ECF filter") - 23] = 0xFF  # the message of the codec becomes one of another type
    ecf_file.write_bytes(content)
    with h5py.File(ecf_file) as file:
        assert file["CD/events"].id.get_create_plist().get_nfilters() == 0
    assert read(ecf_file, strict=False)[1].dropped == {"events in missing chunks": digests[ECF]["events"]}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_in_chunks_never_crash_and_lose_no_event_uncounted(recordings, digests, tmp_path, data):
    content = bytearray((recordings / ECF).read_bytes())
    with h5py.File(recordings / ECF) as file:
        rows = file["CD/events"].id
        chunks = [rows.get_chunk_info(number) for number in range(rows.get_num_chunks())]
    first = min(chunk.byte_offset for chunk in chunks)
    last = max(chunk.byte_offset + chunk.size for chunk in chunks) - 1
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(first, last))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.hdf5"
    path.write_bytes(content)
    with suppress(InputError):
        found, source = read(path, strict=False)
        assert len(found) + source.dropped.total() == digests[ECF]["events"]


@pytest.mark.parametrize("object_", [bytes(16), struct.pack("<HHIQ", 1, 1, 0, (1 << 64) - 16)])
def test_strings_in_which_the_library_would_turn_for_ever_are_refused(tmp_path, object_):
    write_hdf5(tmp_path / "a.hdf5", [], size_hw=(4, 5))
    content = bytearray((tmp_path / "a.hdf5").read_bytes())
    start = content.index(b"GCOL") + 16
    content[start : start + 16] = object_
    (tmp_path / "a.hdf5").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.hdf5 must be a sound HDF5 file: its strings are damaged\."):
        open_hdf5(tmp_path / "a.hdf5")


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, 5000, 100_000, -50_000])
def test_a_file_cut_short_is_refused(recordings, tmp_path, length):
    path = tmp_path / "a.hdf5"
    content = (recordings / ECF).read_bytes()[:length]
    path.write_bytes(content)
    with pytest.raises(InputError, match="must be a whole HDF5 file"):
        open_hdf5(path)
    assert is_hdf5(path) == (len(content) >= 8)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be a whole HDF5 file"):
        open_hdf5(tmp_path / "a.hdf5")


def test_hdf5_that_holds_something_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(InputError, match="to be a recording; it has data"):
        open_hdf5(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.update({"events/t": np.zeros(3), "events/x": np.zeros((3, 2), int), "events/y": 7})
    with pytest.raises(InputError, match="to be a recording; it has data, events"):
        open_hdf5(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["CD/events"] = np.zeros(3, [("t", float), ("x", int), ("y", int), ("p", int)])
    with pytest.raises(InputError, match="must have columns t x y p of integers in CD/events"):
        open_hdf5(tmp_path / "b.h5")


def test_rows_that_are_claimed_and_not_stored_are_counted_not_allocated(tmp_path):
    events = make_events(1000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in "txyp":
            length = 900 if name == "x" else 10**15
            column = file.create_dataset(f"events/{name}", (length,), getattr(events, name).dtype, chunks=(100,))
            column[: min(length, 1000)] = getattr(events, name)[:length]
    found, source = read(tmp_path / "a.h5", strict=False)
    assert equal(found, events[:900])
    assert source.dropped == {"events in missing chunks": 10**15 - 900}
    with pytest.raises(InputError, match="events in missing chunks"):
        open_hdf5(tmp_path / "a.h5", ReadOptions(strict=True))


def test_a_chunk_in_the_middle_that_was_never_written_is_counted(tmp_path):
    events = make_events(1000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in "txyp":
            column = file.create_dataset(f"events/{name}", (1000,), getattr(events, name).dtype, chunks=(100,))
            column[:300], column[500:] = getattr(events, name)[:300], getattr(events, name)[500:]
        file["events/y"][300:400] = 5
    found, source = read(tmp_path / "a.h5", strict=False)
    assert equal(found, Events.concatenate([events[:300], events[500:]]))
    assert source.dropped == {"events in missing chunks": 200}


def test_chunks_too_long_to_read_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", (10,), np.int64, chunks=(1 << 28,), maxshape=(None,))
    with pytest.raises(InputError, match="chunks of at most"):
        open_hdf5(tmp_path / "a.h5")


def test_events_outside_the_sensor_are_not_written_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.hdf5"
    path.write_bytes(b"before")
    with pytest.raises(InputError, match="were height and width swapped"):
        write_hdf5(path, [make_events(100)], size_hw=(640, 480))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_leap_in_time_is_refused_before_its_index_fills_the_disk(tmp_path):
    events = columns(t=[0, 1 << 50], x=[1, 1], y=[1, 1], p=[1, 1])
    with pytest.raises(InputError, match="a leap"):
        write_hdf5(tmp_path / "a.hdf5", [events], size_hw=SIZE_HW)


def test_events_that_lie_in_other_files_are_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(800))
    with h5py.File(tmp_path / "columns.h5", "w") as file:
        for name, dtype in (("t", np.int64), ("x", np.uint16), ("y", np.uint16), ("p", np.uint8)):
            file.create_dataset(f"events/{name}", (100,), dtype, external=[(secret, 0, 100 * np.dtype(dtype).itemsize)])
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file["events"] = h5py.ExternalLink("columns.h5", "events")
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["CD"] = h5py.ExternalLink("columns.h5", "events")
    for name in ("columns", "group", "table"):
        with pytest.raises(InputError, match="itself, and"):
            open_hdf5(tmp_path / f"{name}.h5")
