"""How a text of events is written makes no difference, to its reader and to who looks for recordings in a folder."""

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.data.dataset import recording_files
from seqdet.events import text
from seqdet.events.array import Events
from seqdet.events.files import open_recording

COUNT = 300


def cells() -> list[list[str]]:
    number = np.arange(COUNT)
    columns = [number * 1000 + 3, number * 7 % 64, number * 5 % 48, number % 2]
    return [list(map(str, row)) for row in zip(*(each.tolist() for each in columns), strict=True)]


def written(rows, *, head="t,x,y,p", separator=",", end="\n", encoding="utf-8") -> bytes:
    lines = [*([head] if head else []), *(separator.join(row) for row in rows)]
    return (end.join(lines) + end).encode(encoding)


def with_words(*words: str) -> list[list[str]]:
    return [[*row[:3], words[int(row[3])]] for row in cells()]


TEXTS = {
    "UTF-8 with a mark": written(cells(), encoding="utf-8-sig"),
    "UTF-8 with a mark, no names": written(cells(), head="", encoding="utf-8-sig"),
    "UTF-16": written(cells(), encoding="utf-16"),
    "UTF-16, of Windows": written(cells(), end="\r\n", encoding="utf-16"),
    "UTF-16, other bytes first": b"\xfe\xff" + written(cells(), encoding="utf-16-be"),
    "lines of an old Mac": written(cells(), end="\r"),
    "lines of Windows": written(cells(), end="\r\n"),
    "True and False": written(with_words("False", "True")),
    "True and False, no names": written(with_words("False", "True"), head="", separator=" "),
    "ON and OFF": written(with_words("OFF", "ON"), head="t,x,y,on"),
    "on and off": written(with_words("off", "on"), separator=" "),
    "a unit in brackets": written(cells(), head="timestamp [us],x,y,polarity"),
    "a unit in brackets between blanks": written(cells(), head="# time (us) x y polarity", separator=" "),
    "a micro sign in Latin-1": written(cells(), head="time (\N{MICRO SIGN}s),x,y,p", encoding="latin-1"),
    "a micro sign in UTF-8": written(cells(), head="time (\N{MICRO SIGN}s),x,y,p"),
    "an index": written([[str(n), *row] for n, row in enumerate(cells())], head=",t,x,y,p"),
    "an index in quotes": written([[str(n), *row] for n, row in enumerate(cells())], head='"","t","x","y","p"'),
    "empty cells": written([[*row[:1], "", *row[1:]] for row in cells()], head="t,note,x,y,p"),
    "names by commas, numbers by blanks": written(cells(), head="# t,x,y,p", separator=" "),
    "decimal commas": written(
        [[f"{int(t) / 1e6:.6f}".replace(".", ","), *rest] for t, *rest in cells()], separator=";"
    ),
    "a fifth column that is always 0": written([[x, y, p, t, "0"] for t, x, y, p in cells()], head=""),
}


@pytest.mark.parametrize("how", TEXTS)
@pytest.mark.parametrize("block", [1 << 20, 300])
def test_how_a_text_is_written_makes_no_difference(tmp_path, monkeypatch, how, block):
    monkeypatch.setattr(text, "BLOCK_BYTES", block)
    (tmp_path / "a.csv").write_bytes(TEXTS[how])
    (path,) = recording_files(tmp_path)
    with open_recording(path, size_hw=(48, 64)) as recording:
        found = Events.concatenate(list(recording.chunks()))
        assert np.stack([found.t, found.x, found.y, found.p], axis=1).tolist() == [
            list(map(int, row)) for row in cells()
        ]
        assert not recording.dropped
        left_out = ("a column without a name is left out",) if "index" in how else ()
        order = ("columns are taken in the order x y p t",) if "fifth" in how else ()
        assert recording.notes == (*left_out, *order)


def test_a_recording_of_names_alone_has_no_events(tmp_path):
    (tmp_path / "a.csv").write_text("t,x,y,p\n")
    with open_recording(tmp_path / "a.csv", size_hw=(48, 64)) as recording:
        assert (list(recording.chunks()), recording.span_us(), recording.account.is_too_little) == ([], None, False)


@pytest.mark.parametrize(
    "rows",
    [
        [[str(n // 4), "1", "30", str(20 + n), "12", "12", "1", "-1", "-1", "-1"] for n in range(100)],  # boxes of MOT
        [[str(n), "5", "3", str(n % 2), str(n * 3)] for n in range(100)],
    ],
)
def test_texts_of_more_columns_that_nothing_names_are_no_recordings_of_a_folder(tmp_path, rows):
    (tmp_path / "a.txt").write_bytes(written(rows, head=""))
    assert recording_files(tmp_path) == []


def test_words_that_are_no_polarities_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(written(with_words("dark", "light")))
    with pytest.raises(InputError, match=r"must hold numbers t x y p.* such as .*dark"):
        open_recording(tmp_path / "a.csv")


def test_parts_of_pixels_are_refused_by_what_the_rows_hold(tmp_path):
    (tmp_path / "a.csv").write_text("t,x,y,p\n3,47.25,19,1\n221,0.25,46,0\n")
    with pytest.raises(InputError, match=r"whole pixels x and y.* such as '3,47\.25,19,1'\."):
        open_recording(tmp_path / "a.csv")
