import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.events import words
from seqdet.events.array import Events, columns
from seqdet.events.evt import open_evt, write_evt2, write_evt3
from seqdet.events.files import open_recording
from seqdet.events.words import WordRecording

SIZE_HW = (480, 640)


def make_events(count: int, seed: int = 0) -> Events:
    random = np.random.default_rng(seed)
    x, y, p = random.integers(640, size=count), random.integers(480, size=count), random.integers(2, size=count)
    return columns(t=5000 + np.cumsum(random.integers(0, 40, count)), x=x, y=y, p=p)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Small files are indexed too, in a folder of the test's own."""
    monkeypatch.setenv("SEQDET_CACHE", str(tmp_path / "cache"))
    for name, value in {"SAVED_BYTES": 0, "BLOCK_BYTES": 2048, "MARK_BYTES": 2048, "AHEAD": 64}.items():
        monkeypatch.setattr(words, name, value)
    return tmp_path / "cache" / "indexes"


@pytest.fixture
def path(tmp_path) -> Path:
    write_evt3(tmp_path / "a.raw", [make_events(20_000)], size_hw=SIZE_HW)
    return tmp_path / "a.raw"


def read(path: Path, start_us: int | None = None, **options) -> Events:
    with open_recording(path, **options) as opened:
        return Events.concatenate(list(opened.chunks(start_us)))


def test_an_index_lasts_from_one_opening_to_the_next(cache, path, monkeypatch):
    events = make_events(20_000)
    middle = int(events.t[15_000])
    with open_recording(path) as opened:
        assert not opened.is_indexed
        assert len(Events.concatenate(list(opened.chunks()))) == 20_000
        assert opened.is_indexed
    decoded = []
    pieces = WordRecording._pieces
    monkeypatch.setattr(
        WordRecording, "_pieces", lambda self, mark, *rest: decoded.append(mark) or pieces(self, mark, *rest)
    )
    with open_recording(path) as again:
        assert again.is_indexed
        assert again.span_us() == (events.t[0], events.t[-1])
        assert not decoded
        late = Events.concatenate(list(again.chunks(middle)))
    assert decoded[0].position > path.stat().st_size // 2
    assert late.t[late.t >= middle].tolist() == events.t[events.t >= middle].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_an_index_of_another_state_of_the_file_is_not_used(cache, path, seed):
    read(path)
    write_evt3(path, [make_events(19_000, seed)], size_hw=SIZE_HW)
    os.utime(path, ns=(0, seed))
    with open_recording(path) as opened:
        assert not opened.is_indexed
        assert opened.span_us() == tuple(make_events(19_000, seed).t[[0, -1]])
    with open_recording(path, time_shift=True) as shifted:  # an option that changes times
        assert not shifted.is_indexed


def test_a_file_that_changes_while_it_is_open_is_read_anew(cache, path):
    with open_recording(path) as opened:
        list(opened.chunks())
        write_evt3(path, [make_events(9000, 4)], size_hw=SIZE_HW)
        assert not opened.is_indexed
        assert len(Events.concatenate(list(opened.chunks(1)))) == 9000


def test_a_damaged_index_is_not_used_and_written_anew(cache, path):
    expected = read(path)
    [kept] = cache.iterdir()
    content = kept.read_bytes()
    random = np.random.default_rng(1)
    for case in range(200):
        damaged = bytearray(content)
        for place in random.integers(len(damaged), size=1 + case % 5):
            damaged[place] ^= 1 << int(random.integers(8))
        kept.write_bytes(damaged if case % 7 else damaged[: random.integers(len(damaged))])
        start = int(expected.t[random.integers(len(expected))])
        late = read(path, start)
        assert late.t[late.t >= start].tolist() == expected.t[expected.t >= start].tolist()
    kept.write_bytes(b"")
    read(path)
    with open_recording(path) as opened:
        assert opened.is_indexed


@pytest.mark.parametrize("change", ["positions", "states", "facts", "huge"])
def test_an_index_that_lies_about_the_file_is_not_used(cache, path, change):
    read(path)
    [kept] = cache.iterdir()
    with np.load(kept) as arrays:
        changed = dict(arrays)
    if change == "huge":
        changed["more"] = np.zeros(1 << 20)
        index_bytes = kept.stat().st_size
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(words, "MOST_INDEX_BYTES", index_bytes)
            np.savez(kept, **changed)
            with open_recording(path) as opened:
                assert not opened.is_indexed
        return
    changed[change][-1] += 1 << 40 if change == "positions" else 0
    if change == "states":
        changed[change] = changed[change][:, :-1]
    if change == "facts":
        changed[change][0] += 1
    np.savez(kept, **changed)
    with open_recording(path) as opened:
        assert not opened.is_indexed


def test_where_nothing_can_be_kept_reading_goes_on(cache, path, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQDET_CACHE", str(tmp_path / "file"))
    assert len(read(path)) == 20_000
    monkeypatch.delenv("SEQDET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert len(read(path)) == 20_000
    assert len(list((tmp_path / "caches" / "seqdet" / "indexes").iterdir())) == 1


def test_small_files_are_not_indexed_on_disk(cache, path, monkeypatch):
    monkeypatch.setattr(words, "SAVED_BYTES", 1 << 24)
    read(path)
    assert not cache.exists()


def test_passes_that_meet_leave_the_index_of_one_alone(cache, tmp_path):
    path = tmp_path / "b.raw"
    write_evt2(path, [make_events(20_000)], size_hw=SIZE_HW)
    with open_recording(path) as alone:
        span = alone.span_us()
    [kept] = cache.iterdir()
    content = kept.read_bytes()
    kept.unlink()
    source = open_evt(path)
    passes = [source.chunks(), source.chunks(300_000), source.chunks()]
    random = np.random.default_rng(0)
    while passes:
        number = random.integers(len(passes))
        if next(passes[number], None) is None:
            del passes[number]
    assert source.span_us() == span
    assert kept.read_bytes() == content


def test_processes_that_index_one_file_at_a_time_do_not_harm_each_other(cache, path):
    script = (
        "import sys; from pathlib import Path; from seqdet.events import words; words.SAVED_BYTES = 0\n"
        "from seqdet.events.evt import open_evt\n"
        "for _ in range(40): assert sum(map(len, open_evt(Path(sys.argv[1])).chunks())) == 20_000"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert len(list(cache.iterdir())) == 1
    with open_recording(path) as opened:
        assert opened.is_indexed


def test_a_file_that_vanished_is_one_sentence(path):
    with open_recording(path) as opened:
        path.unlink()
        for use in (lambda: list(opened.chunks()), opened.span_us, opened.triggers, lambda: opened.is_indexed):
            with pytest.raises(InputError, match=r"No such file or directory\. Was it moved or deleted"):
                use()
