import logging

import h5py
import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.cli.recordings import convert_recording
from seqdet.events import hdf5_files
from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording

SIZE_HW = (48, 64)
START_US = 1_504_645_177_420_000  # MVSEC counts from 1970


def make_events(count=300, *, start=0):
    random = np.random.default_rng(3)
    return columns(
        t=start + np.cumsum(random.integers(0, 5000, count)),
        x=random.integers(0, 64, count),
        y=random.integers(0, 48, count),
        p=random.integers(0, 2, count),
    )


def matrix(events, order, dtype):
    return np.stack([getattr(events, name).astype(dtype) for name in order], axis=1)


def records(events, *names):
    rows = np.zeros(len(events), list(zip(names, ("<i8", "<u2", "<u2", "u1"), strict=True)))
    for name, ours in zip(names, "txyp", strict=True):
        rows[name] = getattr(events, ours)
    return rows


def of_mvsec(events):
    rows = matrix(events, "xytp", np.float64)
    rows[:, 2] /= 1e6
    rows[:, 3] = 2 * rows[:, 3] - 1
    return rows


def side_by_side(place, names, *, seconds=False, polarity=lambda p: p):
    def write(file, events):
        values = (events.t / 1e6 if seconds else events.t, events.x, events.y, polarity(events.p))
        for name, value in zip(names.split(), values, strict=True):
            file[f"{place}/{name}"] = value

    return write


LAYOUTS = {
    "xs ys ts ps in seconds": side_by_side("events", "ts xs ys ps", seconds=True, polarity=lambda p: p.astype(bool)),
    "ts": side_by_side("events", "ts x y p"),
    "seconds": side_by_side("events", "t x y p", seconds=True),
    "polarities of -1": side_by_side("events", "t x y p", polarity=lambda p: p.astype(np.int8) * 2 - 1),
    "numbers with a point": side_by_side("events", "t x y p", seconds=True, polarity=lambda p: p * 1.0),
    "(N, 4)": lambda file, events: file.update({"events": matrix(events, "txyp", np.uint32)}),
    "(N, 4) of the vendor": lambda file, events: file.update({"events": matrix(events, "xypt", np.int64)}),
    "(N, 4) of MVSEC": lambda file, events: file.update({"davis/left/events": of_mvsec(events)}),
    "(N, 4) in chunks of a part of a row": lambda file, events: file.create_dataset(
        "events", data=matrix(events, "txyp", np.uint32), chunks=(17, 3), compression="gzip"
    ),
    "event_data (N, 4)": lambda file, events: file.update({"event_data": matrix(events, "txyp", np.int64)}),
    "(4, N)": lambda file, events: file.update({"events": matrix(events, "txyp", np.int64).T}),
    "(4, N) of another order": lambda file, events: file.update({"dvs/event_data": matrix(events, "xypt", np.int64).T}),
    "(4, N) in chunks of a part of a column": lambda file, events: file.create_dataset(
        "events", data=matrix(events, "txyp", np.uint32).T, chunks=(3, 17), compression="gzip"
    ),
    "records": lambda file, events: file.update({"events": records(events, "t", "x", "y", "p")}),
    "records of other names": lambda file, events: file.update(
        {"dvs/data": records(events, "timestamp", "x", "y", "polarity")}
    ),
    "root": side_by_side("/", "t x y p"),
    "prophesee/left": side_by_side("prophesee/left", "t x y p"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [17, 1 << 17])
def test_the_layouts_of_others_give_the_events_that_were_written(tmp_path, monkeypatch, layout, rows):
    monkeypatch.setattr(hdf5_files, "ROWS", rows)
    events = make_events(start=START_US if "MVSEC" in layout else 0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        LAYOUTS[layout](file, events)
        file["images/0"] = np.zeros((48, 64), np.uint8)
    with open_recording(tmp_path / "a.h5", size_hw=SIZE_HW, strict=True) as recording:
        found = Events.concatenate(list(recording.chunks()))
        later = Events.concatenate(list(recording.chunks(int(events.t[200]))))
        span_us = recording.span_us()
    for name in "txyp":
        np.testing.assert_array_equal(getattr(found, name), getattr(events, name))
    assert span_us == (events.t[0], events.t[-1])
    assert (events.t >= events.t[200]).sum() <= len(later)
    np.testing.assert_array_equal(later.t, events.t[-len(later) :])
    assert len(later) < len(events) or rows > 17


def write_pair(path):
    left, right = make_events(), make_events(100)
    with h5py.File(path, "w") as file:
        side_by_side("prophesee/left", "t x y p")(file, left)
        side_by_side("prophesee/right", "t x y p")(file, right)
    return left, right


def test_of_several_places_with_events_one_is_chosen(tmp_path, caplog):
    _, right = write_pair(tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"has them in prophesee/left, prophesee/right.*--place prophesee/left$"):
        open_recording(tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"one where .* has events, prophesee/left, prophesee/right; got prophesee"):
        open_recording(tmp_path / "a.h5", place="prophesee")
    with open_recording(tmp_path / "a.h5", place="/prophesee/right") as recording:
        np.testing.assert_array_equal(Events.concatenate(list(recording.chunks())).t, right.t)
    caplog.set_level(logging.INFO)
    convert_recording(tmp_path / "a.h5", tmp_path / "a.npz", size_hw=SIZE_HW, place="prophesee/right")
    with open_recording(tmp_path / "a.npz") as recording:
        np.testing.assert_array_equal(Events.concatenate(list(recording.chunks())).t, right.t)
    with pytest.raises(InputError, match="must be of an HDF5 file"):
        open_recording(tmp_path / "a.npz", place="prophesee/right")


def test_the_usual_place_comes_first_and_arrays_of_boxes_are_no_events(tmp_path):
    write_pair(tmp_path / "a.h5")
    events = make_events(50)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        side_by_side("events", "t x y p")(file, events)
    with open_recording(tmp_path / "a.h5") as recording:
        np.testing.assert_array_equal(Events.concatenate(list(recording.chunks())).t, events.t)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["boxes"] = matrix(events, "txyp", np.int64)
    with pytest.raises(InputError, match="it has boxes"):
        open_recording(tmp_path / "b.h5")


def test_rows_that_are_no_event_are_counted_by_row(tmp_path):
    events = make_events()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        side_by_side("events", "t x y p", seconds=True)(file, events)
        file["events/t"][7] = np.nan
    with open_recording(tmp_path / "a.h5") as recording:
        assert sum(map(len, recording.chunks())) == 299
        assert recording.dropped == {"rows that are no event": 1}


def test_an_offset_is_in_the_unit_of_the_times(tmp_path):
    events = make_events()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        side_by_side("events", "t x y p", seconds=True)(file, events)
        file["t_offset"] = 12.5
    with open_recording(tmp_path / "a.h5") as recording:
        np.testing.assert_array_equal(Events.concatenate(list(recording.chunks())).t, events.t + 12_500_000)


def test_an_array_across_that_is_cut_short_gives_the_rows_that_are_whole(tmp_path):
    events = make_events()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["events"] = matrix(events, "txyp", np.int64).T
        whole = file["events"].id.get_offset() + 4 * len(events) * 8
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[: whole - 100 * 8])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["events"] = matrix(events, "txyp", np.int64).T
        runs = hdf5_files._stored(file["events"], len(events), whole - 100 * 8, 1)
    assert runs.tolist() == [[0, 200]]
    with pytest.raises(InputError, match="cut short or damaged"):
        open_recording(tmp_path / "a.h5", size_hw=SIZE_HW)


def test_a_chunk_of_a_part_of_a_row_that_is_missing_takes_its_rows_along(tmp_path):
    events = make_events(100)
    rows = matrix(events, "txyp", np.uint32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = file.create_dataset("events", rows.shape, rows.dtype, chunks=(10, 2))
        array[:20], array[30:], array[20:30, 2:] = rows[:20], rows[30:], rows[20:30, 2:]
    with open_recording(tmp_path / "a.h5") as recording:
        found = Events.concatenate(list(recording.chunks()))
        assert recording.dropped == {"events in missing chunks": 10}
    np.testing.assert_array_equal(found.t, np.delete(events.t, np.s_[20:30]))


def test_a_file_of_many_data_sets_and_groups_within_themselves_is_looked_at_for_a_while_only(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(3000):
            file[f"aa/{number}"] = 0
        file.create_group("d")
        file["d/d"] = file["d"]
        side_by_side("z/left", "t x y p")(file, make_events())
    with open_recording(tmp_path / "a.h5") as recording:
        assert recording.span_us() is not None


def test_events_beside_links_are_found_and_links_are_not_followed(tmp_path):
    write_pair(tmp_path / "side.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["elsewhere"] = h5py.ExternalLink("side.h5", "prophesee/left")
        side_by_side("own", "t x y p")(file, make_events(20))
    with open_recording(tmp_path / "a.h5") as recording:
        assert sum(map(len, recording.chunks())) == 20
    with pytest.raises(InputError, match="must hold 'elsewhere' itself"):
        open_recording(tmp_path / "a.h5", place="elsewhere")
