import hashlib
import json
import sys
from pathlib import Path

import pytest

from seqdet.checks import InputError
from seqdet.events.aedat import open_aedat4
from seqdet.events.array import Events
from seqdet.events.reading import ReadOptions

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "data" / "recordings"
DAVIS = RECORDINGS / "davis_346x260.aedat4"
needs_recording = pytest.mark.skipif(not DAVIS.is_file(), reason=f"the recording is not at {DAVIS}")


@pytest.fixture
def aedat():
    pytest.importorskip("aedat", reason="the package aedat is not installed")


@needs_recording
def test_the_columns_of_a_real_recording_have_the_known_digests(aedat):
    known = json.loads((RECORDINGS / "digests.json").read_text())[DAVIS.name]
    source = open_aedat4(DAVIS, ReadOptions(strict=True))
    events = Events.concatenate(list(source.chunks()))
    digests = {name: hashlib.sha1(getattr(events, name[0]).tobytes()).hexdigest() for name in known["sha1"]}
    assert digests == known["sha1"]
    assert source.size_hw == (260, 346)
    assert not source.dropped


@needs_recording
def test_a_pass_that_starts_later_misses_no_event(aedat):
    source = open_aedat4(DAVIS)
    whole = Events.concatenate(list(source.chunks()))
    start_us = int(whole.t[50_000])
    part = Events.concatenate(list(source.chunks(start_us)))
    assert (part.t == whole.t[len(whole) - len(part) :]).all()
    assert (whole.t >= start_us).sum() <= len(part) < 35_000


@needs_recording
def test_frames_of_the_camera_are_no_external_triggers(aedat):
    assert len(open_aedat4(DAVIS).triggers()) == 0


@needs_recording
def test_a_recording_cut_short_is_read_up_to_there_or_refused(aedat, tmp_path):
    path = tmp_path / "a.aedat4"
    path.write_bytes(DAVIS.read_bytes()[:1_000_000])
    source = open_aedat4(path)
    events = Events.concatenate(list(source.chunks()))
    assert 0 < len(events) < 78_830
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
