import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.events import text
from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording

VENDORS = "%geometry:64,48"


def make_events(count=200):
    random = np.random.default_rng(5)
    return columns(
        t=np.cumsum(random.integers(1, 5000, count)),
        x=random.integers(0, 64, count),
        y=random.integers(0, 48, count),
        p=random.integers(0, 2, count),
    )


def lines(events, order, *, separator=",", seconds=False):
    rows = zip(*(getattr(events, name).tolist() for name in "txyp"), strict=True)
    fields = [dict(zip("txyp", (t / 1e6 if seconds else t, *rest), strict=True)) for t, *rest in rows]
    return [separator.join(str(row[name]) for name in order) for row in fields]


def check(path, events, *, size_hw, given_hw=None):
    with open_recording(path, size_hw=given_hw, strict=True) as recording:
        found = Events.concatenate(list(recording.chunks()))
        assert recording.stated_size_hw == size_hw
    for name in "txyp":
        np.testing.assert_array_equal(getattr(found, name), getattr(events, name))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("head", [[], [VENDORS], ["% a word", "% geometry 64x48"]])
def test_events_as_the_vendors_tools_write_them(tmp_path, monkeypatch, head, end):
    monkeypatch.setattr(text, "BLOCK_BYTES", 300)
    events = make_events()
    (tmp_path / "cd.csv").write_bytes(end.join([*head, *lines(events, "xypt"), ""]).encode())
    check(tmp_path / "cd.csv", events, size_hw=(48, 64) if head else None)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_size_of_the_sensor_may_stand_in_the_first_line(tmp_path, monkeypatch, end):
    monkeypatch.setattr(text, "BLOCK_BYTES", 300)
    events = make_events()
    content = end.join(["64 48", *lines(events, "txyp", separator=" ", seconds=True), ""])
    (tmp_path / "events.txt").write_bytes(content.encode())
    check(tmp_path / "events.txt", events, size_hw=(48, 64))


@pytest.mark.parametrize("head", ["%geometry:0,48", "%geometry:64,999999", "0 48"])
def test_a_size_that_cannot_be_is_counted_and_not_believed(tmp_path, head):
    (tmp_path / "a.csv").write_text("\n".join([head, *lines(make_events(), "txyp")]))
    with open_recording(tmp_path / "a.csv") as recording:
        assert sum(map(len, recording.chunks())) == 200
        assert recording.stated_size_hw is None
        assert recording.dropped == {"sensor sizes that are not plausible, in the header": 1}


def test_two_numbers_are_no_size_where_no_events_follow(tmp_path):
    (tmp_path / "a.txt").write_text("640 480\n0.1 0.2\n")
    with pytest.raises(InputError, match="must hold lines of numbers"):
        open_recording(tmp_path / "a.txt")


def test_a_size_that_text_states_goes_before_one_that_is_given(tmp_path):
    events = make_events()
    (tmp_path / "a.csv").write_text("\n".join([VENDORS, *lines(events, "xypt")]))
    check(tmp_path / "a.csv", events, size_hw=(48, 64), given_hw=(60, 80))
