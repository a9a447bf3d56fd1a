import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events import words
from seqdet.events.array import Events, Triggers, columns
from seqdet.events.dat import open_dat, write_dat
from seqdet.events.evt import open_evt, write_evt2, write_evt3
from seqdet.events.reading import ReadOptions

FORMATS = {
    "EVT2": (write_evt2, open_evt, 1 << 34),
    "EVT3": (write_evt3, open_evt, 1 << 24),
    "DAT": (write_dat, open_dat, 1 << 32),
}
SIZE_HW = (720, 1280)


@st.composite
def recordings(draw) -> Events:
    """Events that jitter, pause for long and fill stretches of rows."""
    latest = time = draw(st.integers(0, 1 << 36))
    t, x, y, p = [], [], [], []
    step = st.one_of(st.just(0), st.integers(-900, 5000), st.integers(0, words.LONGEST_PAUSE_US - 1))
    for _ in range(draw(st.integers(0, 12))):
        time = max(latest + draw(step), 0) if t else latest
        latest = max(latest, time)
        row, polarity = draw(st.integers(0, 719)), draw(st.integers(0, 1))
        begin, mask = draw(st.integers(0, 1279)), draw(st.integers(1, (1 << 48) - 1))
        for place in range(min(48, 1280 - begin)):
            if mask >> place & 1 or place == 0:
                t, x, y, p = [*t, time], [*x, begin + place], [*y, row], [*p, polarity]
    return columns(t=np.array(t, np.int64), x=x, y=y, p=p)


@pytest.mark.parametrize("name", FORMATS)
@given(events=recordings(), piece=st.integers(1, 300))
def test_what_is_written_reads_back_the_same_whatever_the_pieces(tmp_path_factory, name, events, piece):
    write, open_file, loop_us = FORMATS[name]
    path = tmp_path_factory.mktemp("written") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "PIECE_EVENTS", piece)
        write(path, iter([events[:7], events[7:7], events[7:]]), size_hw=SIZE_HW)
    source = open_file(path, ReadOptions(strict=True))
    again = Events.concatenate(list(source.chunks()))
    before = int(events.t[0]) // loop_us * loop_us if len(events) else 0
    assert again.t.tolist() == (events.t - before).tolist()
    for name in ("x", "y", "p"):
        assert getattr(again, name).tolist() == getattr(events, name).tolist()
    assert source.size_hw == SIZE_HW


def test_dense_rows_take_less_room_in_evt3(tmp_path):
    events = columns(t=np.full(640, 5), x=np.arange(640), y=np.full(640, 3), p=np.ones(640, int))
    write_evt3(tmp_path / "a.raw", [events], size_hw=SIZE_HW)
    assert (tmp_path / "a.raw").stat().st_size < 300


@pytest.mark.parametrize("write", [write_evt2, write_evt3, write_dat])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [1, 1280]}, "x up to 1280"),
        ({"y": [720, 1]}, "y up to 720"),
        ({"t": [-5, 1]}, "negative"),
        ({"t": [5000, 3999]}, "Sort the events"),
        ({"t": [0, words.LONGEST_PAUSE_US]}, "Split the recording"),
    ],
)
def test_events_that_would_not_read_back_are_refused_and_the_old_file_stays(tmp_path, write, change, message):
    path = tmp_path / "a"
    path.write_text("old")
    good = columns(t=[0, 1], x=[1, 2], y=[1, 2], p=[0, 1])
    bad = columns(**{"t": [0, 1], "x": [1, 2], "y": [1, 2], "p": [0, 1], **change})
    with pytest.raises(InputError, match=message):
        write(path, [good[:0], bad], size_hw=SIZE_HW)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


def test_order_is_kept_across_pieces_and_polarity_is_checked(tmp_path):
    early, late = (columns(t=[t], x=[1], y=[1], p=[1]) for t in (0, 5000))
    with pytest.raises(InputError, match="Sort the events"):
        write_evt2(tmp_path / "a.raw", [late, early], size_hw=SIZE_HW)
    with pytest.raises(InputError, match="p must be 0 or 1"):
        write_dat(tmp_path / "a.dat", [Events(late.t, late.x, late.y, late.p + np.uint8(1))], size_hw=SIZE_HW)


@pytest.mark.parametrize("write", [write_evt2, write_evt3, write_dat])
@pytest.mark.parametrize("size_hw", [(0, 5), (5, 1 << 15)])
def test_a_size_that_the_format_cannot_address_is_refused(tmp_path, write, size_hw):
    with pytest.raises(InputError, match="size_hw must be from 1"):
        write(tmp_path / "a", [], size_hw=size_hw)


@pytest.mark.parametrize("name", ["EVT2", "EVT3"])
@given(parts=st.lists(recordings(), max_size=2), seed=st.integers(0, 1 << 32), count=st.integers(0, 40))
@settings(max_examples=60)
def test_edges_among_events_read_back_sorted_and_leave_the_events_as_they_are(
    tmp_path_factory, name, parts, seed, count
):
    write, open_file, loop_us = FORMATS[name]
    path, events = tmp_path_factory.mktemp("written") / "a", Events.concatenate(parts[:1])
    random = np.random.default_rng(seed)
    first, last = (int(events.t.min()), int(events.t.max())) if len(events) else (70, 5000)
    near = (
        events.t[random.integers(len(events), size=count // 2)] if len(events) else random.integers(9, 99, count // 2)
    )
    t = np.concatenate([near, random.integers(max(first - 3000, 0), last + 3000, count - count // 2)])
    triggers = Triggers(
        t, random.integers(16, size=count).astype(np.uint8), random.integers(2, size=count).astype("u1")
    )
    write(path, [events], size_hw=SIZE_HW, triggers=triggers)
    source = open_file(path, ReadOptions(strict=True))
    again, found = Events.concatenate(list(source.chunks())), source.triggers()
    order = np.argsort(t, kind="stable")
    begin = min([*events.t[:1].tolist(), *t.tolist()], default=0) // loop_us * loop_us
    if len(events) and not len(t):
        begin = int(events.t[0]) // loop_us * loop_us
    assert again.t.tolist() == (events.t - begin).tolist()
    assert again.x.tolist() == events.x.tolist()
    assert found.t.tolist() == (t[order] - begin).tolist()
    assert found.channel.tolist() == triggers.channel[order].tolist()
    assert found.p.tolist() == triggers.p[order].tolist()


@pytest.mark.parametrize(("write", "channels"), [(write_evt2, 32), (write_evt3, 16)])
def test_edges_that_the_format_cannot_hold_are_refused(tmp_path, write, channels):
    for t, channel, p in ((-1, 0, 0), (5, channels, 0), (5, 0, 2)):
        triggers = Triggers(np.array([t]), np.array([channel], np.uint8), np.array([p], np.uint8))
        with pytest.raises(InputError, match="triggers must have times from 0"):
            write(tmp_path / "a.raw", [], size_hw=SIZE_HW, triggers=triggers)
    triggers = Triggers(np.array([5]), np.array([channels - 1], np.uint8), np.array([1], np.uint8))
    write(tmp_path / "a.raw", [], size_hw=SIZE_HW, triggers=triggers)
    assert open_evt(tmp_path / "a.raw").triggers().channel.tolist() == [channels - 1]
