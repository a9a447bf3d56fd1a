import struct
from contextlib import suppress
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events import hdf5_files
from seqdet.events.array import Events, columns

MODES = {"y, x and p packed": 2, "x and p packed": 1, "runs": 0}


def times(t):
    content, now = struct.pack("<q", t[0] if t else 0), t[0] if t else 0
    for value, run in groupby(t):
        step, now, count = value - now, value, len(list(run))
        while step >= 15:
            content += bytes([0xF0 | step & 15])
            step >>= 4
            if step < 15:
                content += bytes([0xF0 | step]) if step else b""
                step = 0
        content += bytes([step << 4 | min(count, 15)]) + (struct.pack("<H", count) if count >= 15 else b"")
    return content


def runs(column, form, bits):
    content, most = b"", (1 << bits) - 1
    for value, run in groupby(column):
        count = len(list(run))
        content += struct.pack(form, value << bits | min(count, most)) + (
            struct.pack("<H", count) if count >= most else b""
        )
    return content


def groups(x):
    content, index = b"", 0
    while index < len(x):
        base, mask = x[index], 0
        index += 1
        for ahead in range(1, 6):
            if index < len(x) and x[index] == base + ahead:
                mask, index = mask | 1 << (5 - ahead), index + 1
        content += struct.pack("<H", base << 5 | mask)
    return content


def packed(values, form, bits):
    values = [*values, *[(1 << 3 * bits) - 1] * (-len(values) % 4)]  # what fills the last group means nothing
    low, content = (1 << bits) - 1, b""
    for a, b, c, d in zip(*(values[slot::4] for slot in range(4)), strict=True):
        first, second = a << bits | b & low, b >> bits << 2 * bits | c & (low << bits | low)
        third = c >> 2 * bits << 3 * bits | d & (1 << 3 * bits) - 1
        content += struct.pack(form, first, second, third)
    return content


def encode(events, mode):
    """A chunk as the format's description has it, event by event."""
    t, x, y, p = (column.tolist() for column in (events.t, events.x, events.y, events.p))
    content = struct.pack("<I", len(t) << 2 | mode) + times(t)
    if mode == 2:
        return content + packed([b << 12 | a << 1 | c for a, b, c in zip(x, y, p, strict=True)], "<3I", 8)
    content += runs(y, "<H", 5)
    if mode == 1:
        return content + packed([a << 1 | c for a, c in zip(x, p, strict=True)], "<3H", 4)
    return content + groups(x) + runs(p, "<B", 7)


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in "txyp")


@st.composite
def recordings(draw):
    count, seed = draw(st.integers(0, 300)), draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    step = random.choice(draw(st.sampled_from([[0], [0, 1], [0, 14, 15, 16, 255, 256, 10**6, 2**40]])), count)
    start = draw(st.sampled_from([0, 1, 14, 15, 1_589_163_147_368_868]))
    return columns(
        t=start + np.cumsum(step) if count else step,
        x=np.cumsum(random.integers(0, draw(st.sampled_from([2, 7, 1280])), count)) % 2048,
        y=np.repeat(random.integers(0, 2048, count), draw(st.sampled_from([1, 31, 200])))[:count],
        p=np.repeat(random.integers(0, 2, count), draw(st.sampled_from([1, 127, 200])))[:count],
    )


@settings(max_examples=60)
@given(recordings(), st.sampled_from(sorted(MODES.values())))
def test_what_was_encoded_comes_out(events, mode):
    assert equal(hdf5_files.decode_ecf(encode(events, mode)), events)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_the_longest_chunk_of_one_time_comes_out(mode):
    count = hdf5_files.MOST_ECF_EVENTS
    events = columns(t=np.full(count, 7), x=np.arange(count) % 1280, y=np.full(count, 9), p=np.ones(count))
    assert equal(hdf5_files.decode_ecf(encode(events, mode)), events)


def test_bits_of_a_group_beyond_the_last_event_mean_nothing():
    chunk = encode(columns(t=[5], x=[3], y=[4], p=[1]), 0)
    chunk = chunk[:-3] + struct.pack("<H", 3 << 5 | 0b11111) + chunk[-1:]
    assert hdf5_files.decode_ecf(chunk).x.tolist() == [3]


@settings(max_examples=100)
@given(recordings(), st.sampled_from(sorted(MODES.values())), st.data())
def test_a_chunk_cut_short_is_refused(events, mode, data):
    chunk = encode(events, mode)
    with pytest.raises(InputError, match="damaged"):
        hdf5_files.decode_ecf(chunk[: data.draw(st.integers(0, len(chunk) - 1))])


@settings(max_examples=300)
@given(recordings(), st.sampled_from(sorted(MODES.values())), st.data())
def test_a_chunk_with_changed_bytes_is_refused_or_gives_as_many_events_as_its_header_says(events, mode, data):
    chunk = bytearray(encode(events, mode))
    for _ in range(data.draw(st.integers(1, 4))):
        chunk[data.draw(st.integers(0, len(chunk) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = hdf5_files.decode_ecf(bytes(chunk))
    except InputError:
        return
    assert len(decoded) == int.from_bytes(chunk[:4], "little") >> 2


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_noise_is_refused_or_decoded(content):
    with suppress(InputError):
        assert isinstance(hdf5_files.decode_ecf(content), Events)


@pytest.mark.parametrize("count", [hdf5_files.MOST_ECF_EVENTS + 1, (1 << 30) - 1])
def test_a_header_that_claims_more_events_than_the_format_allows_is_refused(count):
    with pytest.raises(InputError, match=f"at most 65535 events, got {count}"):
        hdf5_files.decode_ecf(struct.pack("<Iq", count << 2, 0) + bytes(50))
