import hashlib
import sys

import pytest

from seqdet.checks import InputError
from seqdet.events.aedat import open_aedat4
from seqdet.events.array import Events
from seqdet.events.reading import ReadOptions

DAVIS = "davis_346x260.aedat4"


@pytest.fixture
def aedat():
    pytest.importorskip("aedat", reason="the package aedat is not installed")


def test_the_columns_of_a_real_recording_have_the_known_digests(aedat, recordings, digests):
    known = digests[DAVIS]
    source = open_aedat4(recordings / DAVIS, ReadOptions(strict=True))
    events = Events.concatenate(list(source.chunks()))
    found = {name: hashlib.sha1(getattr(events, name[0]).tobytes()).hexdigest() for name in known["sha1"]}
    assert found == known["sha1"]
    assert source.size_hw == (260, 346)
    assert not source.dropped


def test_a_pass_that_starts_later_misses_no_event(aedat, recordings):
    source = open_aedat4(recordings / DAVIS)
    whole = Events.concatenate(list(source.chunks()))
    start_us = int(whole.t[len(whole) * 5 // 8])
    part = Events.concatenate(list(source.chunks(start_us)))
    assert (part.t == whole.t[len(whole) - len(part) :]).all()
    assert (whole.t >= start_us).sum() <= len(part) < len(whole) * 7 // 16


def test_frames_of_the_camera_are_no_external_triggers(aedat, recordings):
    assert len(open_aedat4(recordings / DAVIS).triggers()) == 0


def test_a_recording_cut_short_is_read_up_to_there_or_refused(aedat, recordings, digests, tmp_path):
    path = tmp_path / "a.aedat4"
    path.write_bytes((recordings / DAVIS).read_bytes()[: 16 * 9001])
    source = open_aedat4(path)
    events = Events.concatenate(list(source.chunks()))
    assert 0 < len(events) < digests[DAVIS]["events"]
    assert source.dropped == {"packets from a damaged one on": 1}
    with pytest.raises(InputError, match="1 packets from a damaged one on"):
        list(open_aedat4(path, ReadOptions(strict=True)).chunks())


@pytest.mark.parametrize("content", [b"", b"#", b"%PDF", bytes(1000)])
def test_another_file_is_refused(aedat, tmp_path, content):
    (tmp_path / "a.aedat4").write_bytes(content)
    with pytest.raises(InputError, match="no AEDAT4 file"):
        open_aedat4(tmp_path / "a.aedat4")
    with pytest.raises(InputError, match="must be a readable AEDAT4 file"):
        open_aedat4(tmp_path / "b.aedat4")


def test_without_the_package_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "aedat", None)
    with pytest.raises(InputError, match=r"pip install 'seqdet\[aedat\]'"):
        open_aedat4(tmp_path / "a.aedat4")
