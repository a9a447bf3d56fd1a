import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events import words
from seqdet.events.array import Events, columns
from seqdet.events.dat import is_dat, open_dat
from seqdet.events.evt import is_evt, open_evt, write_evt2, write_evt3
from seqdet.events.reading import ReadOptions
from seqdet.events.sieve import JITTER_US

WORDS = {"EVT2": "<u4", "EVT21": "<u8", "EVT21;endianness=little": "<u8", "EVT3": "<u2"}
HIGH, LOW, ROW, EVENT, BASE, MASK_12, MASK_8, TRIGGER = (kind << 12 for kind in (8, 6, 0, 2, 3, 4, 5, 10))  # of EVT3


def write(path: Path, encoding: str, content, options: str = ";height=480;width=640") -> Path:
    body = content if isinstance(content, bytes) else np.asarray(content, WORDS[encoding]).tobytes()
    path.write_bytes(f"% format {encoding}{options}\n% end\n".encode() + body)
    return path


def read(source, start_us: int | None = None) -> Events:
    return Events.concatenate(list(source.chunks(start_us)))


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(*(column.tolist() for column in (events.t, events.x, events.y, events.p)), strict=True))


@pytest.mark.parametrize("suffix", ["evt2.raw", "evt21_legacy.raw", "evt21_little.raw", "evt3.raw", "dat"])
def test_every_real_recording_gives_the_digests_that_two_decoders_agree_on(recordings, digests, suffix):
    names = [name for name in digests if name.endswith(suffix)]
    assert names
    for name in names:
        path = recordings / name
        assert (is_evt(path), is_dat(path)) == (suffix != "dat", suffix == "dat")
        source = (open_dat if suffix == "dat" else open_evt)(path, ReadOptions(strict=True))
        events, expected = read(source), digests[name]
        found = {key: hashlib.sha1(getattr(events, key[0]).tobytes()).hexdigest() for key in expected["sha1"]}
        assert found == expected["sha1"]
        assert source.size_hw == (expected["height"], expected["width"])
        assert len(source.triggers()) == expected.get("triggers", 0)
        assert not source.dropped


@st.composite
def bodies(draw) -> tuple[str, bytes]:
    """Words of random types that mean something, or plain noise."""
    encoding = draw(st.sampled_from(sorted(WORDS)))
    if draw(st.booleans()):
        return encoding, draw(st.binary(max_size=400))
    size = int(WORDS[encoding][-1])
    kinds = (0, 2, 3, 4, 5, 6, 8, 10) if encoding == "EVT3" else (0, 1, 8, 10)
    below = draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, (1 << 28) - 1)), max_size=80))
    values = [
        kind << (size * 8 - 4) | (value & (0x1FF if kind == 8 else -1)) << max(size * 8 - 32, 0)
        for kind, value in below
    ]
    if encoding == "EVT3":
        values = [kind << 12 | value & 0xFFF for kind, value in below]
    if size == 8:
        values = [value | (value * 2654435761 & 0xFFFFFFFF) for value in values]
    array = np.array([value & ((1 << size * 8) - 1) for value in values], f"<u{size}")
    return encoding, (array.view("<u4").reshape(-1, 2)[:, ::-1].tobytes() if encoding == "EVT21" else array.tobytes())


@given(bodies(), st.integers(1, 60), st.integers(1, 80), st.integers(-10, 1 << 15))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_words_and_the_chunks_the_same_events_come_out_in_range_and_order(
    tmp_path_factory, monkeypatch, body, room, block, start
):
    encoding, content = body
    path = write(tmp_path_factory.mktemp("evt") / "a.raw", encoding, content)
    try:
        source = open_evt(path)
    except InputError:
        assert encoding.startswith("EVT21")  # in the other order by chance
        return
    monkeypatch.setattr(words, "AHEAD", 5)
    events, dropped = read(source), source.dropped
    assert (events.x < 640).all()
    assert (events.y < 480).all()
    assert (events.p <= 1).all()
    assert (np.maximum.accumulate(events.t) - events.t <= JITTER_US + 64).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "CHUNK_EVENTS", room)
        patch.setattr(words, "CHUNK_TRIGGERS", room)
        patch.setattr(words, "BLOCK_BYTES", block)
        patch.setattr(words, "MARK_BYTES", 16)
        parts = open_evt(path)
        assert rows(read(parts)) == rows(events)
        assert parts.dropped == dropped
        assert [c.tolist() for c in vars(parts.triggers()).values()] == [
            c.tolist() for c in vars(source.triggers()).values()
        ]
        later = read(parts, start)
    assert rows(later[later.t >= start]) == rows(events[events.t >= start])
    if dropped:
        with pytest.raises(InputError, match="read strictly"):
            read(open_evt(path, ReadOptions(strict=True)))


def test_a_start_after_a_full_pass_skips_what_comes_before(tmp_path, monkeypatch):
    monkeypatch.setattr(words, "BLOCK_BYTES", 64)
    monkeypatch.setattr(words, "MARK_BYTES", 64)
    monkeypatch.setattr(words, "AHEAD", 8)
    ticks = [word for k in range(1000) for word in (HIGH | k, ROW | 1, EVENT | 2)]
    source = open_evt(write(tmp_path / "a.raw", "EVT3", ticks))
    assert len(read(source)) == 1000
    later = read(source, 900 << 12)
    assert len(later) < 200
    assert later.t[0] <= 900 << 12
    assert source.size_hw == (480, 640)


def test_evt3_rows_columns_masks_times_and_triggers_are_what_the_words_say(tmp_path):
    content = [ROW | 9, EVENT | 7, HIGH | 2, EVENT | 8, LOW | 5, ROW | 10, EVENT | 1 << 11 | 639, BASE | 1 << 11 | 100]
    content += [
        MASK_12 | 0b100000000001,
        MASK_12 | 1,
        MASK_8 | 0b10000000,
        0x9999,
        TRIGGER | 3 << 8 | 1,
        HIGH | 3,
        EVENT | 1,
    ]
    source = open_evt(write(tmp_path / "a.raw", "EVT3", content))
    time = 2 * 4096 + 5
    masked = [(time, x, 10, 1) for x in (639, 100, 111, 112, 131)]
    assert rows(read(source)) == [*masked, (3 * 4096, 1, 10, 0)]
    assert source.dropped == {"words before the first time": 3}  # two words, and an event in no row
    triggers = source.triggers()
    assert (triggers.t.tolist(), triggers.channel.tolist(), triggers.p.tolist()) == ([time], [3], [1])


def test_evt3_time_goes_on_when_the_counter_begins_anew_and_may_go_back_a_little(tmp_path):
    content = [
        ROW,
        HIGH | 4095,
        LOW | 9,
        EVENT,
        LOW | 4,
        EVENT,
        HIGH,
        EVENT,
        HIGH | 4095,
        LOW | 4095,
        EVENT,
        HIGH,
        EVENT,
    ]
    events = read(open_evt(write(tmp_path / "a.raw", "EVT3", [HIGH | 4095, *content]), ReadOptions(strict=True)))
    loop, begin = 1 << 24, 4095 << 12
    assert events.t.tolist() == [begin + 9, begin + 4, loop, loop - 1, loop]


def test_evt3_time_shift_subtracts_all_but_one_of_the_first_high_part(tmp_path):
    path = write(tmp_path / "a.raw", "EVT3", [HIGH | 1000, ROW, LOW | 7, EVENT, HIGH | 1001, EVENT])
    assert read(open_evt(path, ReadOptions(time_shift=True))).t.tolist() == [4096 + 7, 2 * 4096]
    assert read(open_evt(path)).t.tolist() == [(1000 << 12) + 7, 1001 << 12]
    with pytest.raises(InputError, match="habit of EVT3"):
        open_evt(write(tmp_path / "b.raw", "EVT2", []), ReadOptions(time_shift=True))


@pytest.mark.parametrize("encoding", ["EVT2", "EVT21", "EVT21;endianness=little"])
def test_evt2_and_evt21_words_and_triggers_are_what_they_say(tmp_path, encoding):
    def word(kind: int, below: int, mask: int = 1) -> int:
        upper = kind << 28 | below
        return {"EVT2": upper, "EVT21": mask << 32 | upper}.get(encoding, upper << 32 | mask)

    last, event = (1 << 28) - 1, 5 << 22 | 600 << 11 | 479
    content = [
        word(0, event),
        word(8, last),
        word(1, event),
        word(10, 6 << 22 | 3 << 8 | 1),
        word(8, 0),
        word(0, event),
    ]
    content += [word(15, 1), word(1, 639 << 11, 3)]  # one beyond the right edge in EVT2.1
    source = open_evt(write(tmp_path / "a.raw", encoding, content))
    loop = 1 << 34
    assert rows(read(source)) == [(loop - 59, 600, 479, 1), (loop + 5, 600, 479, 0), (loop, 639, 0, 1)]
    assert source.dropped["events outside the sensor"] == (encoding != "EVT2")
    assert [column.tolist() for column in vars(source.triggers()).values()] == [[loop - 58], [3], [1]]


@pytest.mark.parametrize("stated", ["little", "legacy"])
def test_evt21_in_another_order_than_its_header_says_is_refused_with_what_to_do(recordings, tmp_path, stated):
    truth = "legacy" if stated == "little" else "little"
    content = (recordings / f"lens_640x480.evt21_{truth}.raw").read_bytes().partition(b"% end\n")[2]
    path = write(tmp_path / "a.raw", f"EVT21;endianness={stated}", content)
    with pytest.raises(InputError, match=f"{stated}, but time advances only when they are read as {truth}"):
        open_evt(path)


def test_events_that_run_back_are_dropped_until_time_has_caught_up(tmp_path):
    content = [HIGH | 100, ROW, EVENT, HIGH | 90, EVENT, EVENT, HIGH | 101, EVENT]
    source = open_evt(write(tmp_path / "a.raw", "EVT3", content))
    assert read(source).t.tolist() == [100 << 12, 101 << 12]
    assert source.dropped == {"events running back in time": 2}
    with pytest.raises(InputError, match="2 events running back"):
        read(open_evt(tmp_path / "a.raw", ReadOptions(strict=True)))


def test_a_last_word_cut_off_is_counted(tmp_path):
    source = open_evt(write(tmp_path / "a.raw", "EVT2", np.array([8 << 28, 1 << 28], "<u4").tobytes() + b"abc"))
    assert len(read(source)) == 1
    assert source.dropped == {"bytes of a last word cut off": 3}


@pytest.mark.parametrize("options", [";height=0;width=640", ";height=x;width=9", ";height=9;width=" + "9" * 5000])
def test_a_size_that_cannot_be_is_not_believed_and_strictly_refused(tmp_path, options):
    path = write(tmp_path / "a.raw", "EVT3", [HIGH, ROW | 2047, EVENT | 2047], options)
    source = open_evt(path)
    assert source.stated_size_hw is None
    assert len(read(source)) == 1
    assert source.dropped.total() == 1
    with pytest.raises(InputError, match="sensor sizes"):
        open_evt(path, ReadOptions(strict=True))


@pytest.mark.parametrize(
    "head", [b"% evt 3.0\n", b"% Date 2020\r\n% evt 3.0\r\n% geometry 9x7\r\n", b"% evt 3.0\n% end\n"]
)
def test_a_header_ends_by_its_last_line_or_by_what_is_no_text(tmp_path, head):
    path = tmp_path / "a.raw"
    path.write_bytes(head + np.array([HIGH | 1, ROW, EVENT], "<u2").tobytes())
    assert len(read(open_evt(path, ReadOptions(strict=True)))) == 1
    assert open_evt(path).stated_size_hw == ((7, 9) if b"geometry" in head else None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(5000),
        b"%",
        b"% ",
        b"% evt",
        b"\x89HDF\r\n\x1a\n",
        b"x,y\n1,2\n",
        b"% evt 4.0\n% end\n",
        b"% " * 99999,
    ],
)
def test_a_file_that_is_no_raw_recording_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "a.raw"
    path.write_bytes(content)
    assert is_evt(path) == (b"evt 4" in content)
    with pytest.raises(InputError, match="must"):
        open_evt(path)
    with pytest.raises(InputError, match="cannot be read"):
        is_evt(tmp_path / "missing.raw")
    with pytest.raises(InputError, match="cannot be read"):
        open_evt(tmp_path)


@pytest.mark.parametrize("write_words", [write_evt2, write_evt3])
def test_a_clock_that_begins_anew_is_refused_or_goes_on(tmp_path, monkeypatch, write_words):
    monkeypatch.setattr(words, "BLOCK_BYTES", 800)
    monkeypatch.setattr(words, "AHEAD", 16)
    t = np.arange(5000) * 1000 + 1_000_000
    events = columns(t=t, x=t % 640, y=t % 480, p=t % 2)
    for name in ("a.raw", "b.raw"):
        write_words(tmp_path / name, [events], size_hw=(480, 640))
    content = (tmp_path / "b.raw").read_bytes()
    (tmp_path / "a.raw").write_bytes(content + content.partition(b"% end\n")[2])
    with pytest.raises(InputError, match="one clock, and it begins anew before byte"):
        read(open_evt(tmp_path / "a.raw"))
    source = open_evt(tmp_path / "a.raw", ReadOptions(joins_clocks=True))
    found = read(source)
    assert 1024 <= source.dropped["events running back in time"] == 10_000 - len(found) < 1600
    assert found.t[:5000].tolist() == t.tolist()
    assert (np.diff(found.t) >= 0).all()
    assert "the clock begins anew" in source.notes[0]
