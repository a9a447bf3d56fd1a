"""RAW recordings that come through a pipe: the events of the file, however its bytes come."""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events.array import Events, columns
from seqdet.events.evt import EvtPipe, write_evt2, write_evt3
from seqdet.events.files import open_recording


class Pieces(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._content, self._sizes = content, sizes

    def read1(self, size: int) -> bytes:
        self._sizes = self._sizes[1:] + self._sizes[:1]
        piece, self._content = self._content[: self._sizes[0]], self._content[self._sizes[0] :]
        return piece


def all_of(source) -> Events:
    return Events.concatenate(list(source.chunks()))


def assert_equal(found: Events, wanted: Events) -> None:
    for column in "txyp":
        assert np.array_equal(getattr(found, column), getattr(wanted, column))


@pytest.mark.parametrize("name", ["lens_640x480.evt3.raw", "lens_640x480.evt2.raw", "lens_640x480.evt21_legacy.raw"])
def test_a_pipe_gives_the_events_of_the_file(recordings, name):
    path = recordings / name
    with open_recording(path) as opened:
        wanted, dropped = all_of(opened), opened.dropped
    read, write = os.pipe()
    content = path.read_bytes()

    def send() -> None:
        with os.fdopen(write, "wb", buffering=0) as pipe:
            for n in range(0, len(content), 30_011):
                pipe.write(content[n : n + 30_011])

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(read, "rb") as pipe:
        source = EvtPipe(pipe)
        found = all_of(source)
    sender.join()
    assert source.dropped == dropped
    assert_equal(found, wanted)


def test_a_silent_pipe_can_be_left(recording):
    read, write = os.pipe()
    os.write(write, recording.read_bytes())
    asked = []
    with os.fdopen(read, "rb") as pipe:
        source = EvtPipe(pipe, is_stopped=lambda: bool(asked.append(1)) or len(asked) > 1)
        found = all_of(source)
    os.close(write)
    assert found.t.tolist() == some_events().t.tolist()


def some_events() -> Events:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(5000, 90_000, 200))
    return columns(t=t, x=rng.integers(0, 32, 200), y=rng.integers(0, 24, 200), p=rng.integers(0, 2, 200))


@pytest.fixture(scope="module", params=[write_evt2, write_evt3])
def recording(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("pipe") / "a.raw"
    request.param(path, [some_events()], size_hw=(24, 32))
    return path


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.data())
def test_it_makes_no_difference_how_the_bytes_come(recording, sizes, data):
    content = recording.read_bytes()
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    cut = recording.with_name("cut.raw")
    cut.write_bytes(content)
    with open_recording(cut) as opened:
        wanted, size_hw, dropped = all_of(opened), opened.size_hw, opened.dropped
    source = EvtPipe(Pieces(content, sizes))
    assert_equal(all_of(source), wanted)
    assert (source.size_hw, source.dropped) == (size_hw, dropped)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_damaged_times_are_left_out_as_in_a_file(recording, sizes, random):
    content = bytearray(recording.read_bytes())
    for _ in range(6):
        content[random.randrange(len(content) - 600, len(content))] ^= 1 << random.randrange(8)
    damaged = recording.with_name("damaged.raw")
    damaged.write_bytes(content)
    with open_recording(damaged) as opened:
        wanted, dropped = all_of(opened), opened.dropped
    source = EvtPipe(Pieces(bytes(content), sizes))
    assert_equal(all_of(source), wanted)
    assert source.dropped == dropped


class Once(Pieces):
    """A pipe that is asked for more only when a test fails."""

    def read1(self, size: int) -> bytes:
        piece = super().read1(size)
        assert piece, "events wait for the next bytes"
        return piece


def test_events_come_before_the_next_bytes_do(recording):
    content, wanted = recording.read_bytes(), some_events()
    source = EvtPipe(Once(content[:-2], [len(content)]))
    chunk = next(source.chunks())
    assert len(chunk) == len(wanted) - 1  # the last word is cut off
    assert_equal(chunk, wanted[: len(chunk)])


def test_events_after_a_leap_come_once_it_is_known_to_be_one(tmp_path):
    t = np.concatenate([np.arange(0, 1000, 50), np.arange(500_000, 900_000, 50)])
    events = columns(t=t, x=t % 32, y=t % 24, p=t // 50 % 2)
    write_evt2(tmp_path / "a.raw", [events], size_hw=(24, 32))
    content = (tmp_path / "a.raw").read_bytes()
    found = []
    with pytest.raises(AssertionError, match="wait for the next bytes"):
        found.extend(EvtPipe(Once(content, [len(content)])).chunks())
    assert_equal(Events.concatenate(found), events)


@pytest.mark.parametrize("name", ["lens_640x480.evt21_legacy.raw", "lens_640x480.evt21_little.raw"])
def test_words_of_two_halves_are_told_apart_and_damage_is_found_in_them(recordings, tmp_path, name):
    content = bytearray((recordings / name).read_bytes()[:400_000])
    draw = np.random.default_rng(0)
    for at in draw.integers(len(content) // 8, len(content) // 2, 200):
        content[at] ^= 1 << draw.integers(8)
    (tmp_path / "a.raw").write_bytes(content)
    with open_recording(tmp_path / "a.raw") as opened:
        wanted, dropped = all_of(opened), opened.dropped
    source = EvtPipe(Pieces(bytes(content), [4000, 300, 77]))
    assert_equal(all_of(source), wanted)
    assert source.dropped == dropped
    assert dropped["events at implausible times"]
    swapped = bytes(content).replace(b"endianness=little", b"endianness=legacy") if b"little" in content else None
    if swapped:
        with pytest.raises(InputError, match="must hold 64-bit words in the order that its header says, legacy"):
            all_of(EvtPipe(Pieces(swapped, [256])))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_recording_are_refused_or_passed_over(content):
    for head in (b"", b"% evt 2.1\n", b"% evt 3.0\n% end\n"):
        with suppress(InputError):
            list(EvtPipe(Pieces(head + content, [50])).chunks())
