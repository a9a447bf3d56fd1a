import io
import struct
import zipfile
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events import reading, tables, text
from seqdet.events.array import Events, columns
from seqdet.events.formats import find_format
from seqdet.events.reading import ReadOptions, Recording
from seqdet.events.tables import open_nmnist, open_npy, open_npz, write_npz
from seqdet.events.text import open_text

SIZE_HW = (48, 64)
same_folder = HealthCheck.function_scoped_fixture


def open_table(path: Path, **options: Any) -> Recording:
    return find_format(path).open(path, ReadOptions(**options))


def make_events(count, *, start=0, seed=0):
    random = np.random.default_rng(seed)
    return columns(
        t=start + np.cumsum(random.integers(0, 50, count)),
        x=random.integers(0, 64, count),
        y=random.integers(0, 48, count),
        p=random.integers(0, 2, count),
    )


def read(path, *, strict=True, start_us=None, size_hw=None):
    source = open_table(path, strict=strict, size_hw=size_hw)
    return Events.concatenate(list(source.chunks(start_us))), source


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in "txyp")


def structured(events, names="txyp", types=("<i8", "<u2", "<u2", "?")):
    rows = np.zeros(len(events), list(zip(names, types, strict=True)))
    for name, ours in zip(names, "txyp", strict=True):
        rows[name] = getattr(events, ours)
    return rows


def matrix(events, dtype=np.int64):
    return np.stack([getattr(events, name).astype(dtype) for name in "txyp"], axis=1)


def write_text(path, events, *, order="txyp", separator=" ", header="", number=str):
    names = {"t": lambda value: number(value)}
    lines = [
        separator.join(names.get(name, str)(getattr(events, name)[row].item()) for name in order)
        for row in range(len(events))
    ]
    path.write_text("\n".join([header, *lines] if header else lines) + "\n")


WRITERS = {
    "rows": lambda path, events: np.save(path, structured(events)),
    "usual names": lambda path, events: np.save(path, structured(events, ["Timestamp", "x", "y", "polarity"])),
    "(N, 4)": lambda path, events: np.save(path, matrix(events)),
    "(N, 4) by column": lambda path, events: np.save(path, np.asfortranarray(matrix(events))),
    "(4, N)": lambda path, events: np.save(path, matrix(events).T.copy()),
    "(4, N) by column": lambda path, events: np.save(path, matrix(events).T),
    "(N, 4) floats": lambda path, events: np.save(path, matrix(events, np.float64)),
    "npz of columns": lambda path, events: np.savez_compressed(
        path, ts=events.t, xs=events.x, ys=events.y, ps=events.p
    ),
    "npz of rows": lambda path, events: np.savez(path, events=structured(events)),
    "npz of columns of floats": lambda path, events: np.savez(
        path, t=events.t / 1e6, x=events.x * 1.0, y=events.y, p=events.p * 2.0 - 1
    ),
    "our npz": lambda path, events: write_npz(path, [events[:3], events[3:]], size_hw=SIZE_HW),
    "t x y p": write_text,
    "x,y,p,t with a header": lambda path, events: write_text(
        path, events, order="xypt", separator=",", header="x,y,p,t"
    ),
    "tabs, a header after #": lambda path, events: write_text(path, events, separator="\t", header="# t x y p"),
    "seconds": lambda path, events: write_text(path, events, number=lambda t: f"{t / 1e6:.6f}"),
    "savetxt": lambda path, events: np.savetxt(path, matrix(events)),
}


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 17)
    monkeypatch.setattr(reading, "RECORDS", 17)
    monkeypatch.setattr(text, "BLOCK_BYTES", 300)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("start", [0, 1_589_163_147_368_868])
def test_every_form_of_table_gives_the_events_that_were_written(tmp_path, small_pieces, form, start):
    path = tmp_path / (
        "a.npz" if "npz" in form else "a.npy" if "N" in form or "name" in form or form == "rows" else "a.txt"
    )
    events = make_events(100, start=start)
    WRITERS[form](path, events)
    found, source = read(path)
    assert equal(found, events)
    assert source.stated_size_hw == (SIZE_HW if form == "our npz" else None)
    later = int(events.t[70])
    part, _ = read(path, start_us=later)
    assert equal(part, events[100 - len(part) :])
    assert len(part) >= (events.t >= later).sum()


@settings(max_examples=20, suppress_health_check=[same_folder])
@given(count=st.integers(0, 500), cuts=st.lists(st.integers(0, 500), max_size=3))
def test_an_npz_written_in_pieces_of_any_size_comes_back(tmp_path, count, cuts):
    events, bounds = make_events(count), sorted(min(cut, count) for cut in [0, *cuts, count])
    write_npz(tmp_path / "a.npz", (events[a:b] for a, b in pairwise(bounds)), size_hw=SIZE_HW)
    found, source = read(tmp_path / "a.npz")
    assert equal(found, events)
    assert source.size_hw == SIZE_HW
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["t"], events.t)
        assert arrays["format_version"].tolist() == [1]


def test_samples_as_of_pedro_are_read_as_numpy_reads_them(samples):
    for path in samples.glob("*.npy"):
        found, _ = read(path, size_hw=(260, 346))
        assert equal(found, columns(**dict(zip("txyp", np.load(path).T, strict=True))))


def test_a_record_of_nmnist_is_40_bits_and_row_240_moves_the_time_on(tmp_path, small_pieces):
    records = [(3, 4, 1, 100), (0, 240, 0, 0), (33, 32, 0, 200), *[(1, 2, 1, 300)] * 40]
    content = b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in records)
    (tmp_path / "a.bin").write_bytes(content)
    found, source = read(tmp_path / "a.bin")
    assert source.format == "N-MNIST"
    assert found.t.tolist() == [100, 8392, *[8492] * 40]
    assert [found.x[:2].tolist(), found.y[:2].tolist(), found.p[:2].tolist()] == [[3, 33], [4, 32], [1, 0]]
    (tmp_path / "a.bin").write_bytes(content + b"123")
    assert read(tmp_path / "a.bin", strict=False)[1].dropped == {"bytes of a last record cut off": 3}
    with pytest.raises(InputError, match="3 bytes of a last record cut off"):
        read(tmp_path / "a.bin")


def test_lines_that_are_no_event_are_left_out_and_counted(tmp_path, small_pieces):
    path = tmp_path / "a.csv"
    path.write_text(
        "5,1,2,1\n\n# word\n6,1,2\nnonsense\n7,1,2,9\n8,-1,2,1\n9,1.5,2,1\n10,nan,2,1\n11,3,4,-1\n12,99,0,1"
    )
    found, source = read(path, strict=False, size_hw=SIZE_HW)
    assert matrix(found).tolist() == [[5, 1, 2, 1], [11, 3, 4, 0]]
    assert source.dropped == {"rows that are no event": 6, "events outside the sensor": 1}
    with pytest.raises(InputError, match="rows that are no event"):
        read(path)


@pytest.mark.parametrize(
    "content", ["", "\n\n", "hello\n", "when,where,what\n1,2,3,1\n", "5 100000 6 1\n7 100001 8 3\n9 100002 9 5\n"]
)
def test_text_without_events_in_a_known_order_is_refused(tmp_path, content):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(InputError, match="names these columns in their order"):
        open_table(tmp_path / "a.txt")


@pytest.mark.parametrize("number", [1e308, -1e308, np.nan, np.inf, np.array(0x7FF4 << 48, np.uint64).view(np.float64)])
@pytest.mark.parametrize("place", [0, 1])
def test_a_number_that_no_event_has_costs_its_row_and_overflows_nothing(tmp_path, number, place):
    rows = np.zeros((300, 4))
    rows[:, 0] = np.arange(300) // 2 * 1000 + np.arange(300) % 2 * -30  # each second event comes late
    rows[:, 1], rows[:, 3] = np.arange(300) % 64, np.arange(300) % 2
    rows[150:152, place] = number
    np.save(tmp_path / "a.npy", rows)
    source = open_table(tmp_path / "a.npy", time_unit="us")
    assert sum(map(len, source.chunks())) == 298
    assert source.dropped == {"rows that are no event": 2}


def test_columns_of_numbers_that_are_next_to_nothing_are_refused(tmp_path):
    rows = np.random.default_rng(0).random((300, 4)) * 1e-300
    np.save(tmp_path / "a.npy", rows)
    with pytest.raises(InputError, match="of which one alone can be the time"):
        open_table(tmp_path / "a.npy")


@pytest.mark.parametrize("form", ["rows", "(N, 4) by column", "our npz", "npz of columns"])
def test_an_array_cut_short_is_refused_or_what_is_missing_is_counted(tmp_path, form):
    path, events = tmp_path / "a.npy", make_events(300)
    with path.open("wb") as file:
        WRITERS[form](path if form == "our npz" else file, events)
    path.write_bytes(path.read_bytes()[:-1000])
    try:
        found, source = read(path, strict=False)
    except InputError:
        assert "npz" in form  # its list of members stands at the end
    else:
        assert equal(found, events[: len(found)])
        assert source.dropped == {"rows missing at the end of the file": 300 - len(found)}
        with pytest.raises(InputError, match="rows missing"):
            read(path)


def test_a_header_that_claims_more_rows_than_there_are_takes_no_memory(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (10**15, 4)})
    (tmp_path / "a.npy").write_bytes(header.getvalue() + struct.pack("<4q", 5, 1, 2, 1))
    found, source = read(tmp_path / "a.npy", strict=False)
    assert matrix(found).tolist() == [[5, 1, 2, 1]]
    assert source.dropped == {"rows missing at the end of the file": 10**15 - 1}


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros((3, 5)), np.zeros((3, 4), complex), np.zeros(3, [("t", int), ("x", int)])]
)
def test_arrays_of_something_else_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match="must hold columns t, x, y, p"):
        open_table(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", a=array, b=array)
    with pytest.raises(InputError, match="must hold arrays t, x, y, p"):
        open_table(tmp_path / "b.npz")


def test_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, None], object), allow_pickle=True)
    with pytest.raises(InputError):
        open_table(tmp_path / "a.npy")


@settings(max_examples=150, suppress_health_check=[same_folder])
@given(st.sampled_from(["rows", "(N, 4) by column", "our npz", "npz of columns", "t x y p"]), st.data())
def test_changed_bytes_give_events_or_one_sentence(tmp_path, form, data):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        WRITERS[form](path if form in ("our npz", "t x y p") else file, make_events(30))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(InputError):
        found, _ = read(path, strict=False)
        assert len(found) <= 200


@settings(max_examples=80, suppress_health_check=[same_folder])
@given(st.sampled_from([b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00", b"PK\x03\x04"]), st.binary(max_size=100))
def test_noise_is_refused_in_one_sentence(tmp_path, magic, content):
    (tmp_path / "a.dat").write_bytes(magic + content)
    with suppress(InputError):
        read(tmp_path / "a.dat", strict=False)


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path):
    for open_one in (open_npy, open_npz, open_nmnist, open_text):
        for path in (tmp_path / "a.npy", tmp_path):
            with pytest.raises(InputError, match="must be a readable table"):
                open_one(path)


def test_events_outside_the_sensor_are_not_written(tmp_path):
    with pytest.raises(InputError, match="were height and width swapped"):
        write_npz(tmp_path / "a.npz", [make_events(100)], size_hw=(64, 48))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot be written"):
        write_npz(tmp_path / "none" / "a.npz", [], size_hw=SIZE_HW)
    assert zipfile.is_zipfile(tmp_path / "a.npz") is False
