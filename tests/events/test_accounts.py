"""What is left out of a recording, and what its numbers are taken for, is known and told; too much is refused."""

import logging
import re
from collections import Counter

import h5py
import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.events.accounts import Account, check, tell
from seqdet.events.array import Events
from seqdet.events.files import open_recording

SIZE_HW = (48, 64)
COUNT = 400
FORMS = ["text", "npy", "npy rows", "npz", "hdf5"]


def table(count: int = COUNT, step_us: int = 2000) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    t = np.cumsum(random.integers(1, step_us, count))
    return {
        "t": t,
        "x": random.integers(64, size=count),
        "y": random.integers(48, size=count),
        "p": np.arange(count) % 2,
    }


def write(folder, form: str, columns: dict[str, np.ndarray], *, time: str = "t"):
    """A recording of columns t, x, y, p in one of ``FORMS``; ``time`` is what the first of them is called."""
    path = folder / f"a{'.csv' if form == 'text' else '.h5' if form == 'hdf5' else '.npz' if form == 'npz' else '.npy'}"
    names = [time, "x", "y", "p"]
    if form == "text":
        rows = zip(*(each.tolist() for each in columns.values()), strict=True)
        path.write_text(",".join(names) + "\n" + "\n".join(",".join(map(str, row)) for row in rows))
    elif form == "npy":
        np.save(path, np.stack(list(columns.values()), axis=1))
    elif form == "npy rows":
        rows = np.zeros(
            len(columns["t"]), [(name, each.dtype) for name, each in zip(names, columns.values(), strict=True)]
        )
        for name, each in zip(names, columns.values(), strict=True):
            rows[name] = each
        np.save(path, rows)
    elif form == "npz":
        np.savez(path, **dict(zip(names, columns.values(), strict=True)))
    else:
        with h5py.File(path, "w") as file:
            for name, each in columns.items():
                file.create_dataset(f"events/{name}", data=each, chunks=(100,))
    return path


def read(path, **options) -> tuple[Events, Account]:
    with open_recording(path, size_hw=SIZE_HW, **options) as recording:
        found = Events.concatenate(list(recording.chunks()))
        return found, recording.account


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("levels", [(0, 1), (-1, 1), (1, 2), (0, 255), (-1, 0), (255, 1)])
def test_two_polarities_are_darker_and_brighter_in_their_order(tmp_path, form, levels):
    columns = table()
    expected = columns["p"].tolist()
    path = write(tmp_path, form, columns | {"p": np.array(levels)[columns["p"]]})
    found, account = read(path)
    assert found.p.tolist() == expected
    assert not account.dropped
    usual = levels in ((0, 1), (-1, 1))
    wrapped = ", as -1 and 1 are in bytes without sign" if levels[0] == 255 else ""
    told = () if usual else (f"polarities {levels[0]} and {levels[1]} are taken for darker and brighter{wrapped}",)
    assert account.notes == told


@pytest.mark.parametrize("form", FORMS)
def test_a_recording_that_begins_with_one_polarity_alone_is_looked_at_further(tmp_path, monkeypatch, form):
    monkeypatch.setattr("seqdet.events.tables.ROWS", 70)
    monkeypatch.setattr("seqdet.events.hdf5_files.ROWS", 100)
    monkeypatch.setattr("seqdet.events.text.BLOCK_BYTES", 700)
    columns = table(1000)
    columns["p"][:900] = 0
    columns["p"][300] = 1  # damage, or the second polarity: too few to tell
    found, account = read(write(tmp_path, form, columns | {"p": columns["p"] + 1}))
    assert found.p.tolist() == columns["p"].tolist()
    assert account.notes == ("polarities 1 and 2 are taken for darker and brighter",)


@pytest.mark.parametrize("form", FORMS)
def test_a_two_alone_is_the_brighter_of_one_and_two_and_told(tmp_path, form):
    found, account = read(write(tmp_path, form, table() | {"p": np.full(COUNT, 2)}))
    assert found.p.tolist() == [1] * COUNT
    assert account.notes == ("the polarity 2, which is alone, is taken for brighter",)


@pytest.mark.parametrize("form", ["text", "npy rows", "npz", "hdf5"])
@pytest.mark.parametrize("p", [np.arange(COUNT) % 3, np.full(COUNT, 7)])
def test_three_polarities_or_an_unknown_one_alone_are_refused(tmp_path, form, p):
    with pytest.raises(InputError, match="must have two polarities"):
        read(write(tmp_path, form, table() | {"p": p}))


def test_a_few_damaged_polarities_are_left_out_and_others_that_come_later_refused(tmp_path):
    columns = table()
    columns["p"][[3, 250]] = 9
    found, account = read(write(tmp_path, "npz", columns))
    assert (len(found), account.dropped) == (COUNT - 2, {"rows that are no event": 2})
    columns = table(200_000)
    columns["p"][150_000:] += 1  # after both of the usual ones
    with pytest.raises(InputError, match="two polarities, 0 and 1 or -1 and 1 as its first events have, and then"):
        read(write(tmp_path, "npz", columns))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1 << 17, 70])
def test_a_clock_that_begins_anew_is_refused_with_the_place_or_joined(tmp_path, monkeypatch, form, rows):
    monkeypatch.setattr("seqdet.events.tables.ROWS", rows)
    monkeypatch.setattr("seqdet.events.hdf5_files.ROWS", rows)
    monkeypatch.setattr("seqdet.events.text.BLOCK_BYTES", 10 * rows)
    columns = table()
    first_us, last_us = int(columns["t"][0]), int(columns["t"][-1])
    again = {name: np.concatenate([each, each]) for name, each in columns.items()}
    path = write(tmp_path, form, again)
    with pytest.raises(
        InputError, match=f"anew after 400 events: {last_us:,} us are followed by {first_us:,} us.*--join-clocks"
    ):
        read(path)
    found, account = read(path, joins_clocks=True)
    assert found.t.tolist() == [*columns["t"], *(columns["t"] + last_us - first_us)]
    assert not account.dropped
    assert account.notes == (
        f"the clock begins anew after 400 events: {last_us:,} us are followed by {first_us:,} us, and times from there "
        f"on are made {last_us - first_us:,} us later",
    )


@pytest.mark.parametrize("rows", [1 << 17, 70, 13])
@pytest.mark.parametrize("clocks", [2, 5])
@pytest.mark.parametrize("length_us", [8000, 50_000, 150_000, 250_000])
def test_a_clock_that_begins_anew_soon_is_refused_or_joined_as_any_other(
    tmp_path, monkeypatch, rows, clocks, length_us
):
    monkeypatch.setattr("seqdet.events.tables.ROWS", rows)
    columns = table()
    t = columns["t"] - columns["t"][0]
    one_us = t * length_us // t[-1]
    again = {name: np.concatenate([each] * clocks) for name, each in (columns | {"t": one_us}).items()}
    path = write(tmp_path, "npz", again)
    with pytest.raises(InputError, match=r"anew after 400 events: .* are followed by 0 us.*--join-clocks"):
        read(path)
    found, account = read(path, joins_clocks=True)
    assert found.t.tolist() == np.concatenate([one_us + n * length_us for n in range(clocks)]).tolist()
    assert not account.dropped
    assert len(account.notes) == clocks - 1


@pytest.mark.parametrize("rows", [1 << 17, 70])
@pytest.mark.parametrize("form", ["npz", "text"])
@pytest.mark.parametrize(
    ("by", "told"),
    [
        (lambda columns: columns["p"], "they are sorted by polarity"),
        (lambda columns: columns["x"] // 20, "they are sorted by x"),
        (lambda columns: columns["x"] * 64 + columns["y"], "go back from the one before"),
        (lambda columns: np.random.default_rng(1).permutation(4000), "go back from the one before"),
        (lambda columns: -columns["t"], "most of its events are earlier than others before them"),
    ],
)
def test_events_in_another_order_than_that_of_time_are_no_new_clocks(tmp_path, monkeypatch, rows, form, by, told):
    monkeypatch.setattr("seqdet.events.tables.ROWS", rows)
    monkeypatch.setattr("seqdet.events.text.BLOCK_BYTES", 10 * rows)
    columns = table(4000)
    order = np.argsort(by(columns), kind="stable")
    if "by x" in told:
        columns["x"] = columns["x"] // 20
    path = write(tmp_path, form, {name: each[order] for name, each in columns.items()})
    for joins_clocks in (False, True):
        with pytest.raises(InputError, match=f"(?i){told}.*Sort its rows by t") as error:
            check(path, read(path, joins_clocks=joins_clocks)[1])
        assert "--join-clocks" not in str(error.value)


def test_noise_and_late_events_are_neither_new_clocks_nor_disorder(tmp_path):
    columns = table(4000, step_us=100)
    random = np.random.default_rng(4)
    for place in range(300, 3900, 200):  # a few from another buffer, late by some milliseconds
        columns["t"][place : place + 5] -= int(random.integers(6_000, 180_000))
    columns["t"] -= random.integers(0, 900, 4000)
    found, account = read(write(tmp_path, "npz", columns))
    assert account.dropped["events running back in time"] >= 5 * 18 - 10
    assert len(found) + account.lost == 4000
    assert account.share < 0.03


@pytest.mark.parametrize("rows", [1 << 17, 70])
@pytest.mark.parametrize("late", [1, 5, 60])
def test_events_that_come_late_are_no_new_clock(tmp_path, monkeypatch, rows, late):
    monkeypatch.setattr("seqdet.events.tables.ROWS", rows)
    columns = table()
    columns["t"][200 : 200 + late] -= 300_000
    found, account = read(write(tmp_path, "npz", columns))
    assert account.dropped == {"events running back in time": late}
    assert found.t.tolist() == np.delete(columns["t"], np.s_[200 : 200 + late]).tolist()


@pytest.mark.parametrize("order", ["xytp", "xypt"])
@pytest.mark.parametrize("form", ["npy", "npz", "fortran", "text"])
def test_columns_without_names_are_told_by_what_they_hold(tmp_path, order, form):
    columns = table()
    array = np.stack([columns[name] for name in order], axis=1)
    path = tmp_path / ("a.txt" if form == "text" else "a.npy")
    if form == "text":
        np.savetxt(path, array, fmt="%d")
    elif form == "npz":
        path = tmp_path / "a.npz"
        np.savez(path, array)
    else:
        np.save(path, np.asfortranarray(array) if form == "fortran" else array)
    found, account = read(path)
    for name, column in columns.items():
        assert getattr(found, name).tolist() == column.tolist()
    assert account.notes == (f"columns are taken in the order {' '.join(order)}",)


def test_columns_that_could_be_in_several_orders_are_refused(tmp_path):
    number = np.arange(100)
    np.save(tmp_path / "a.npy", np.stack([number % 2, number, number + 1, number % 2], axis=1))
    with pytest.raises(InputError, match=r"several orders.* an array fields of these names"):
        read(tmp_path / "a.npy")


def test_parts_of_pixels_are_refused_with_the_reason(tmp_path):
    columns = table()
    path = write(tmp_path, "npz", columns | {name: np.maximum(columns[name], 2) * 32 for name in "xy"})
    _, account = read(path)
    with pytest.raises(InputError, match=r"left out were 400 events outside the sensor.*parts of 32 of a pixel"):
        check(path, account)


@pytest.mark.parametrize("form", ["text", "npy rows", "npz"])
@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("t_ns", 1000),
        ("timestampNs", 1000),
        ("tNs", 1000),
        ("t/ns", 1000),
        ("time_nanosecond", 1000),
        ("nanoseconds", 1000),
        ("time [ms]", 0.001),
        ("t_millis", 0.001),
        ("t_s", 1e-6),
        ("t_second", 1e-6),
        ("seconds", 1e-6),
        ("ts", 1),
        ("times", 1),
        ("t_us", 1),
        ("time (us)", 1),
        ("timestamp [us]", 1),
    ],
)
def test_the_unit_that_a_name_says_is_understood(tmp_path, form, name, factor):
    columns = table()
    t = columns["t"] * factor
    found, account = read(write(tmp_path, form, columns | {"t": t}, time=name))
    assert found.t.tolist() == columns["t"].tolist()
    assert bool(account.notes) == (factor != 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("unit", "factor"), [("ns", 1000), ("us", 1), ("ms", 0.001), ("s", 1e-6)])
def test_the_unit_that_the_user_states_is_taken(tmp_path, form, unit, factor):
    columns = table()
    if form == "hdf5" and factor < 1:
        pytest.skip("its columns hold whole numbers")
    path = write(tmp_path, form, columns | {"t": columns["t"] * factor})
    found, account = read(path, time_unit=unit)
    assert found.t.tolist() == columns["t"].tolist()
    assert not account.notes
    with open_recording(path, size_hw=SIZE_HW, time_unit=unit) as recording:
        assert recording.span_us() == (columns["t"][0], columns["t"][-1])
        assert len(recording.read(int(columns["t"][100]), int(columns["t"][200]))) == 100


def test_a_name_and_a_user_that_differ_are_refused(tmp_path):
    with pytest.raises(InputError, match="must be read in ns, which its column t_ns says, got the time unit ms"):
        read(write(tmp_path, "npz", table(), time="t_ns"), time_unit="ms")


def test_nanoseconds_since_1970_are_known_by_themselves(tmp_path):
    columns = table()
    found, account = read(write(tmp_path, "npz", columns | {"t": columns["t"] * 1000 + 1_600_000_000_000_000_000}))
    assert found.t.tolist() == (columns["t"] + 1_600_000_000_000_000).tolist()
    assert "nanoseconds since 1970" in account.notes[0]


@pytest.mark.parametrize(("factor", "likely"), [(1000, "ns"), (0.001, "ms")])
def test_an_unlikely_length_is_told_with_the_likely_unit(tmp_path, factor, likely):
    columns = table()
    t = np.floor(columns["t"] * factor).astype(np.int64)
    _, account = read(write(tmp_path, "npz", columns | {"t": t}))
    assert f"state that by --time-unit {likely}," in account.notes[0]
    assert not read(write(tmp_path, "npz", columns))[1].notes


@pytest.mark.parametrize("form", ["text", "npy", "npz", "hdf5"])
@pytest.mark.parametrize(
    ("convert", "likely", "length"),
    [
        (lambda t: t * 1000, "ns", r"0\.\d+"),  # which are multiples of 1000 alone
        (lambda t: t * 1000 + t % 1000, "ns", r"0\.\d+"),
        (lambda t: t / 1000, "ms", r"0\.\d+"),
        (lambda t: t + 0.5, "us", r"0\.\d+"),
    ],
)
def test_more_events_than_a_few_that_are_too_slow_for_a_camera_are_told_when_opened(
    tmp_path, form, convert, likely, length
):
    columns = table(20_000, step_us=100)
    told = rf"its first [\d,]+ events in .* s are few.* Then they last {length} s: state that by --time-unit {likely},"
    path = write(tmp_path, form, columns | {"t": convert(columns["t"])})
    with open_recording(path, size_hw=SIZE_HW) as recording:
        assert [bool(re.search(told, note)) for note in recording.notes] == [True]
        before = recording.notes
        assert sum(map(len, recording.chunks())) == 20_000
        assert recording.account.notes == before
    with open_recording(path, size_hw=SIZE_HW, time_unit=likely) as recording:
        assert not recording.notes
        first, last = recording.span_us()
        assert abs(first - int(columns["t"][0])) <= 1
        assert abs(last - int(columns["t"][-1])) <= 1
    columns = table(20_000, step_us=1000)
    assert not read(write(tmp_path, form, columns))[1].notes


@pytest.mark.parametrize("count", [60, 2000, 100_000])
def test_the_unit_that_is_proposed_is_that_of_a_usual_length_and_rate(tmp_path, count):
    number = np.arange(count)
    for unit, t in {"ms": number * 1000 / count + 0.25, "ns": number * 1_000_000_000 // count}.items():
        _, account = read(write(tmp_path, "npz", table(count) | {"t": t}))
        assert f"state that by --time-unit {unit}," in account.notes[0]


def test_events_of_one_time_are_no_recording_of_another_unit(tmp_path):
    _, account = read(write(tmp_path, "npz", table() | {"t": np.zeros(COUNT, int)}))
    assert account.notes == ("all 400 events have one time. Is another column the time?",)


def test_more_than_one_percent_is_a_warning_and_more_than_half_an_error(caplog):
    accounts = {
        "a": Account(1000, Counter({"events running back in time": 10})),
        "b": Account(1000, Counter({"events running back in time": 11}), ("a note",)),
        "c": Account(1000, Counter(), ("a note",)),
        "d": Account(5, Counter({"bytes of a last word cut off": 3})),
    }
    with caplog.at_level(logging.INFO, "seqdet"):
        tell(logging.getLogger("seqdet"), accounts)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "b, c: a note."),
        ("WARNING", "b: left out 11 events running back in time (1.1%)"),
        ("INFO", "a, d: left out 10 events running back in time (1.0%), 3 bytes of a last word cut off"),
    ]
    for lost in (
        Account(100, Counter({"rows that are no event": 101})),
        Account(0, Counter({"words before the first time": 1})),
    ):
        with pytest.raises(InputError, match="e must have events of which most can be read"):
            tell(logging.getLogger("seqdet"), {"e": lost})


def test_an_account_comes_back_from_json():
    account = Account(5, Counter({"rows that are no event": 2}), ("a note",))
    assert Account.of(account.as_dict()) == account
    for damaged in (None, {}, {"events": 1}, {"events": "1", "left_out": {}}, {"events": 1, "left_out": {"a": -1}}):
        with pytest.raises(ValueError, match="no account"):
            Account.of(damaged)


def test_an_account_of_an_earlier_version_counts_as_it_did():
    found = Account.of({"events": 1, "left_out": {"events at times that cannot be": 2}})
    assert (found.lost, found.is_too_little) == (2, True)
    found = Account.of({"events": 1, "left_out": {"sensor sizes that cannot be, in the header": 1}})
    assert (found.lost, found.is_too_little) == (0, False)
