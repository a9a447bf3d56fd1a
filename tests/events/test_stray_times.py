"""One damaged time far from the others costs the events below it, not those after it."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events import words
from seqdet.events.array import Events, columns
from seqdet.events.dat import write_dat
from seqdet.events.evt import write_evt2, write_evt3
from seqdet.events.files import open_recording
from seqdet.events.hdf5 import write_hdf5
from seqdet.events.sieve import JITTER_US, LEAP_US, Sieve

SIZE_HW = (480, 640)
COUNT = 20_000
ASTRAY = "events at implausible times"
WORDS = {"a.evt2.raw": ("<u4", 28), "a.evt3.raw": ("<u2", 12)}


def steady() -> Events:
    """One event every 100 us for two seconds, from a time in the upper half of EVT3's loop on."""
    number = np.arange(COUNT)
    return columns(t=10_000_000 + number * 100, x=number % 640, y=number % 480, p=number % 2)


def read(path: Path, **options) -> tuple[Events, dict[str, int]]:
    with open_recording(path, **options) as opened:
        return Events.concatenate(list(opened.chunks())), dict(opened.dropped)


@pytest.mark.parametrize("name", WORDS)
@given(which=st.floats(0.05, 0.95), bit=st.integers(0, 27))
@settings(max_examples=60)
def test_a_flipped_bit_in_a_word_of_time_costs_the_events_below_it(tmp_path_factory, name, which, bit):
    path, events = tmp_path_factory.mktemp("stray") / name, steady()
    dtype, bits = WORDS[name]
    unit = 64 if bits == 28 else 4096
    (write_evt2 if bits == 28 else write_evt3)(path, [events], size_hw=SIZE_HW)
    content = path.read_bytes()
    start = content.index(b"% end\n") + 6
    stream = np.frombuffer(content[start:], dtype).copy()
    times = np.flatnonzero(stream >> bits == 8)
    place = times[int(which * len(times))]
    value = np.int64(stream[place])
    stream[place] ^= 1 << bit % bits
    path.write_bytes(content[:start] + stream.tobytes())
    found, dropped = read(path)
    step_us = abs(int(stream[place]) - int(value)) * unit
    below = int(COUNT * 1.5 / len(times)) + 1
    if step_us > 2 * LEAP_US:
        assert COUNT - below <= len(found) < COUNT
        assert dropped == {ASTRAY: COUNT - len(found)}
        assert np.isin(found.t, events.t).all()
        with pytest.raises(InputError, match=ASTRAY):
            read(path, strict=True)
    assert (np.diff(found.t) >= -JITTER_US - 64).all()


@pytest.mark.parametrize("name", ["a.dat", "a.hdf5", "a.npy"])
@given(which=st.integers(1, COUNT - 9), time=st.integers(0, (1 << 32) - 1), count=st.integers(1, 3))
@settings(max_examples=60)
def test_damaged_times_of_a_few_events_cost_these(tmp_path_factory, name, which, time, count):
    path, events = tmp_path_factory.mktemp("stray") / name, steady()
    if name == "a.dat":
        write_dat(path, [events], size_hw=SIZE_HW)
        content = bytearray(path.read_bytes())
        start = len(content) - 8 * COUNT + 8 * which
        for place in range(start, start + 8 * count, 8):
            content[place : place + 4] = time.to_bytes(4, "little")
        path.write_bytes(content)
    else:
        t = events.t.copy()
        t[which : which + count] = time
        if name == "a.npy":
            np.save(path, np.stack([t, events.x, events.y, events.p], axis=1))
        else:
            write_hdf5(path, [Events(t, events.x, events.y, events.p)], size_hw=SIZE_HW)
    found, dropped = read(path)
    is_sound = np.isin(found.t, events.t) | (found.t == time)
    assert len(found) >= COUNT - count - (LEAP_US + JITTER_US) // 100
    if abs(time - int(events.t[which])) > LEAP_US + 10_000:
        assert len(found) == COUNT - count
        assert sum(dropped.values()) == count
    assert is_sound.all()


@pytest.mark.parametrize("write", [write_evt2, write_evt3, write_dat])
def test_a_real_pause_is_no_damage(tmp_path, write):
    events = steady()
    later = Events(events.t + 30_000_000, events.x, events.y, events.p)
    write(tmp_path / "a.raw", [events, later[:1]], size_hw=SIZE_HW)
    assert len(read(tmp_path / "a.raw", strict=True)[0]) == COUNT + 1
    write(tmp_path / "a.raw", [events[:1], later], size_hw=SIZE_HW)
    assert len(read(tmp_path / "a.raw", strict=True)[0]) == COUNT + 1


def test_blocks_do_not_change_what_is_damage(recordings, tmp_path, monkeypatch):
    content = bytearray((recordings / "lens_640x480.evt3.raw").read_bytes()[:200_000])
    random = np.random.default_rng(3)
    for place in random.integers(1000, len(content), 60):
        content[place] ^= 1 << int(random.integers(8))
    (tmp_path / "a.raw").write_bytes(content)
    monkeypatch.setattr(words, "AHEAD", 200)
    whole, dropped = read(tmp_path / "a.raw")
    assert dropped[ASTRAY]
    monkeypatch.setattr(words, "BLOCK_BYTES", 100)
    monkeypatch.setattr(words, "CHUNK_EVENTS", 7)
    parts, dropped_too = read(tmp_path / "a.raw")
    assert dropped == dropped_too
    assert parts.t.tolist() == whole.t.tolist()
    assert parts.x.tolist() == whole.x.tolist()


@given(seed=st.integers(0, 1 << 32), cuts=st.lists(st.integers(0, 400), max_size=12))
@settings(max_examples=60)
def test_pieces_of_any_size_keep_what_the_rule_says(seed, cuts):
    random = np.random.default_rng(seed)
    t = np.arange(400) * 50 + random.integers(0, JITTER_US + random.integers(1, 400), 400)
    events = columns(t=t, x=random.integers(0, 641, 400), y=random.integers(0, 481, 400), p=t % 2)
    wanted, latest = [], int(t[0]) - JITTER_US
    for index in range(400):
        if events.x[index] < 640 and events.y[index] < 480 and t[index] >= latest - JITTER_US:
            wanted.append(index)
            latest = max(latest, int(t[index]))
    sieve = Sieve(Path("a.npz"), SIZE_HW, strict=False)
    edges = [0, *sorted(cuts), 400]
    pieces = [events[start:stop] for start, stop in pairwise(edges)]
    kept = Events.concatenate(list(sieve.passed(pieces)))
    for name in "txyp":
        assert (getattr(kept, name) == getattr(events, name)[wanted]).all()
    assert sieve.dropped.total() == 400 - len(wanted)
