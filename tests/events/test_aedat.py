import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events import aedat, reading
from seqdet.events.array import Events
from seqdet.events.files import open_recording

CAMERA = b"# AEChip: eu.seebetter.ini.chips.davis.%s\r\n"
V3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Source 2: DAVIS346B\r\n#!END-HEADER\r\n"


def version2(*records, lines=b""):
    """The bytes of a file of addresses and times."""
    return b"#!AER-DAT2.0\r\n" + lines + b"".join(struct.pack(">II", a, t & 0xFFFFFFFF) for a, t in records)


def dvs128(x, y, p, *, external=0):
    return external << 15 | y << 8 | x << 1 | p


def davis(x, y, p, *, external=0, sample=0):
    return sample << 31 | y << 22 | x << 12 | p << 11 | external << 10


def packet(*events, kind=1, source=1, overflow=0, size=8, count=None):
    """The bytes of a packet of x, y, p, t and whether it is valid."""
    count = len(events) if count is None else count
    rows = b"".join(struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t) for x, y, p, t, valid in events)
    return struct.pack("<hhiiiiii", kind, source, size, 4, overflow, count, count, count) + rows


def read(path, content, *, strict=False, size_hw=None):
    path.write_bytes(content)
    with open_recording(path, strict=strict, size_hw=size_hw) as recording:
        events = Events.concatenate(list(recording.chunks()))
        rows = list(zip(events.t.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True))
        return rows, recording


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.aedat"


@pytest.mark.parametrize(
    "lines", [b"", b"# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n# created by # somebody\r\n"]
)
def test_a_dvs128_counts_rows_from_the_bottom(path, lines):
    content = version2((dvs128(3, 7, 1), 10), (dvs128(127, 0, 0), 20), (dvs128(0, 127, 1), 20), lines=lines)
    rows, recording = read(path, content, strict=True)
    assert rows == [(10, 3, 120, 1), (20, 127, 127, 0), (20, 0, 0, 1)]
    assert (recording.format, recording.size_hw) == ("AEDAT 2.0", (128, 128))


@pytest.mark.parametrize(("camera", "size_hw"), [(b"DAVIS240C", (180, 240)), (b"Davis346BMono", (260, 346))])
def test_a_davis_has_samples_of_pictures_between_its_events(path, camera, size_hw):
    records = (davis(5, 0, 1), 10), (davis(9, 9, 1, sample=1), 11), (davis(200, 170, 0), 12), (davis(1, 1, 1), 13)
    rows, recording = read(path, version2(*records, lines=CAMERA % camera), strict=True)
    height = size_hw[0]
    assert rows == [(10, 5, height - 1, 1), (12, 200, height - 171, 0), (13, 1, height - 2, 1)]
    assert recording.size_hw == size_hw


def test_a_davis_that_is_not_named_needs_its_size(path):
    content = version2((davis(5, 7, 1), 10))
    with pytest.raises(InputError, match=r"must name its camera.*give size_hw 260, 346 for a DAVIS346"):
        read(path, content)
    rows, recording = read(path, content, size_hw=(260, 346), strict=True)
    assert rows == [(10, 5, 252, 1)]
    assert recording.size_hw == (260, 346)


def test_a_camera_that_is_not_known_is_refused_by_name(path):
    with pytest.raises(InputError, match=r"got the camera cochlea\.CochleaAMS1c\. Convert it to AEDAT4"):
        read(path, version2((1, 2), lines=b"# AEChip: cochlea.CochleaAMS1c\r\n"))


def test_external_events_and_what_cannot_be_are_left_out_and_counted(path):
    records = (dvs128(1, 2, 1), 10), (dvs128(1, 2, 1, external=1), 11), (1 << 20, 12)
    rows, recording = read(path, version2(*records, lines=b"# AEChip: DVS128\r\n") + b"123")
    assert [row[0] for row in rows] == [10]
    assert recording.dropped == {
        "external events": 1,
        "addresses that a DVS128 does not have": 1,
        "bytes of a last record cut off": 3,
    }
    records = (davis(5, 0, 1), 10), (davis(5, 0, 1, external=1), 11), (davis(239, 511, 1), 12), (davis(240, 0, 1), 12)
    rows, recording = read(path, version2(*records, lines=CAMERA % b"DAVIS240C"))
    assert [row[0] for row in rows] == [10]
    assert recording.dropped == {"external events": 1, "events outside the sensor": 2}


def test_times_go_on_where_32_bits_end(path, monkeypatch):
    monkeypatch.setattr(reading, "RECORDS", 3)
    times = [(1 << 32) - 60 + 10 * number for number in range(20)]
    content = version2(*((dvs128(1, 1, 1), t) for t in times))
    rows, _ = read(path, content, strict=True)
    first = rows[0][0]
    assert first in (times[0], times[0] - (1 << 32))
    assert [row[0] - first for row in rows] == [10 * number for number in range(20)]


def test_a_record_that_begins_like_a_line_is_no_line(path):
    content = version2((int.from_bytes(b"#\x03\x00\n"), 10), (davis(3, 4, 0), 20), lines=CAMERA % b"DAVIS240C")
    assert [row[0] for row in read(path, content)[0]] == [10, 20]
    content = version2((davis(1, 4, 0), 20), lines=b"#" + b"x" * 5000 + b"\r\n#End Of ASCII Header\r\n" + b"#a\n")
    with pytest.raises(InputError, match="must name its camera"):
        read(path, content)


def test_packets_of_3_1_give_their_polarity_events(path, monkeypatch):
    monkeypatch.setattr(aedat, "AEDAT3_ROWS", 2)
    content = (
        V3
        + packet((9, 9, 9, 0, 1), kind=2, size=8)
        + packet((2, 3, 1, 100, 1), (4, 7, 0, 200, 1), (5, 5, 1, 201, 0), (6, 6, 1, 202, 1))
        + packet((2, 127, 1, 300, 1), source=2)
        + packet((7, 8, 1, 5, 1), overflow=1)
    )
    rows, recording = read(path, content)
    assert rows == [(100, 2, 3, 1), (200, 4, 7, 0), (202, 6, 6, 1), ((1 << 31) + 5, 7, 8, 1)]
    assert (recording.format, recording.size_hw) == ("AEDAT 3.1", (128, 128))
    assert recording.dropped == {"events that are marked as invalid": 1, "events of other cameras": 1}


def test_a_camera_of_3_1_that_is_not_known_needs_its_size_only(path):
    content = V3.replace(b"#Source 1: DVS128", b"#Source 1: Other") + packet((2, 3, 1, 100, 1))
    rows, recording = read(path, content, strict=True)
    assert rows == [(100, 2, 3, 1)]
    assert recording.stated_size_hw is None
    assert read(path, content, size_hw=(4, 5))[1].size_hw == (4, 5)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"#!AER-DAT3.0\r\n", r"AEDAT 2.0, 3.1 or 4, got 3\.0\. Convert it"),
        (b"#!AER-DAT\r\n", "got no version"),
        (b"#!AER-DAT3.1\r\n#Format: SerializedTS\r\n", "got SerializedTS"),
        (b"#!AER-DAT3.1\r\n#Format: RAW\r\n", "cut short"),
        (V3, "must have packets of polarity events"),
        (V3 + packet((0, 0, 0, 0, 1), kind=3), "must have packets of polarity events"),
    ],
)
def test_other_versions_and_files_without_events_are_refused(path, content, told):
    with pytest.raises(InputError, match=told):
        read(path, content)


def test_packets_that_claim_more_than_there_is_take_no_memory(path):
    content = V3 + packet((2, 3, 1, 100, 1), count=(1 << 31) - 1)
    rows, recording = read(path, content + b"123")
    assert len(rows) == 1
    assert recording.dropped == {"events missing at the end of the file": (1 << 31) - 2}
    rows, recording = read(path, V3 + packet((2, 3, 1, 100, 1)) + packet((1, 1, 1, 200, 1), size=9))
    assert len(rows) == 1
    assert recording.dropped == {"packets from a damaged one on": 1}
    with pytest.raises(InputError, match="1 packets from a damaged one on"):
        read(path, path.read_bytes(), strict=True)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.booleans(), st.data())
def test_changed_bytes_give_events_or_one_sentence(path, is_old, data):
    old = version2(*((davis(n, n, n & 1), n) for n in range(20)), lines=CAMERA % b"DAVIS240C")
    new = V3 + packet(*((n, n, n & 1, n, 1) for n in range(20))) + packet((1, 1, 1, 30, 1))
    content = bytearray(old if is_old else new)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InputError):
        rows, _ = read(path, bytes(content[: data.draw(st.integers(1, len(content)))]))
        assert len(rows) <= 60


def test_events_between_two_times_are_read(path):
    path.write_bytes(version2(*((dvs128(n % 128, 1, 1), 100 * n) for n in range(1000))))
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.read(5000, 5400).t, [5000, 5100, 5200, 5300])
        assert recording.span_us() == (0, 99_900)
        assert len(recording.triggers()) == 0
