"""Tables of boxes: in which unit their times are, and which columns they have."""

import pytest

from seqdet.checks import InputError
from seqdet.data.labels import read_labels
from seqdet.importing import ImportOptions, import_labels


@pytest.fixture
def imported(folder):
    """A function: the text of drive to its boxes, and what the import said."""

    def run(text):
        (folder / "drive.csv").write_text(text)
        options = ImportOptions(classes=("car",))
        done = import_labels("csv", folder, folder.parent / "drive.npz", folder.parent / "out", options)
        return read_labels(folder.parent / "out" / "train" / "drive_bbox.npy"), "\n".join(done.lines())

    return run


def table(name, *times, mark=","):
    lines = [[name, "x", "y", "w", "h", "class"], *([time, "10", "2", "30", "4", "car"] for time in times)]
    return "".join(mark.join(line) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "times", "unit"),
    [
        ("t", ("100000", "250000"), ""),
        ("time", ("100000", "250000"), ""),
        ("timestamp_us", ("100000.0", "250000.0"), ""),
        ("Timestamp [us]", ("100000", "250000"), ""),
        ("t_ns", ("100000999", "250000999"), "nanoseconds, as their column t_ns says"),
        ("timestamp_ms", ("100", "250"), "milliseconds, as their column timestamp_ms says"),
        ("time (ms)", ("100.0", "250"), "milliseconds, as their column time (ms) says"),
        ("time_s", ("0.1", "0.25"), "seconds, as their column time_s says"),
        ("t", ("0.1", "0.25"), "seconds, as some have a fraction"),
        ("timestamp", ("1e-1", "2.5e-1"), "seconds, as some have a fraction"),
    ],
)
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_times_are_in_the_unit_that_their_column_says_as_those_of_recordings(imported, name, times, unit, mark):
    boxes, said = imported(table(name, *times, mark=mark))
    assert boxes["t"].tolist() == [100_000, 250_000]
    assert (f"2 times that are taken for {unit}" in said) if unit else ("times that" not in said)


def test_times_without_a_header_follow_the_same_rule(imported):
    boxes, said = imported("0.1 0 1 10 2 30 4 1\n0.25 0 1 10 2 30 4 1\n")
    assert boxes["t"].tolist() == [100_000, 250_000]
    assert "2 times that are taken for seconds, as some have a fraction" in said


def test_times_of_a_folder_are_in_one_unit_unless_a_column_says_another(folder):
    for name, text in (("drive_a", table("t", "1", "0")), ("drive_b", table("t", "0.5"))):
        (folder / f"{name}.csv").write_text(text)
    (folder / "drive_c.csv").write_text(table("t_us", "250000"))
    options = ImportOptions(classes=("car",))
    import_labels("csv", folder, folder.parent / "drive.npz", folder.parent / "out", options)
    boxes = read_labels(folder.parent / "out" / "train" / "drive_bbox.npy")
    assert boxes["t"].tolist() == [0, 250_000, 500_000, 1_000_000]


@pytest.mark.parametrize("time", ["1e30", "9999999999999999999", "now", "nan", ""])
def test_what_is_no_time_is_refused(imported, time):
    with pytest.raises(InputError, match=r"drive\.csv"):
        imported(table("t_us", time))


def test_times_of_another_unit_are_refused_with_a_name_for_their_column(imported):
    with pytest.raises(InputError, match="name columns of times t_s, t_ms, t_us or t_ns"):
        imported(table("t", "100000000", "250000000"))


def test_columns_that_are_not_read_are_told(imported):
    _, said = imported("t,x,y,w,h,class,Occluded,colour\n100000,1,2,30,4,car,1,red\n")
    assert "1 files with columns that are not read: occluded, colour" in said


def test_columns_beyond_those_of_a_table_without_names_are_told(imported):
    boxes, said = imported("100000 0 1 10 2 30 4 1 7 red\n")
    assert len(boxes) == 1
    assert "1 files with columns that are not read: number 9, number 10" in said


def test_the_end_of_a_sentence_has_no_comma_of_a_place(imported):
    with pytest.raises(InputError, match=r"a class 3 in .*drive\.csv, line 2\. Give --classes"):
        imported("t,x,y,w,h,class\n100000,1,2,30,4,3\n")
    with pytest.raises(InputError, match=r"not 'cat' of .*drive\.csv, line 2\."):
        imported("t,x,y,w,h,class\n100000,1,2,30,4,cat\n")
