"""EVT3 as readers of others take it: a word changes one part of the state, and nothing else."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqdet.events.array import columns
from seqdet.events.evt import write_evt3

SIZE_HW = (480, 640)
KEEPS, RESETS, SENSORS_ONLY = "low kept after high", "low reset by high", "time known after high and low alone"


def decoded(content, manner):
    """Rows t, x, y, p of the words after the header, as a reader of a manner has them."""
    words = np.frombuffer(content.partition(b"% end\n")[2], "<u2").tolist()
    loops, high, low, row, column, polarity, is_timed = 0, None, 0, 0, 0, 0, False
    found = []
    for word in words:
        kind, value = word >> 12, word & 0xFFF
        now = (loops << 24) + ((high or 0) << 12) + low
        if kind == 8:
            loops += high is not None and high - value >= 2048
            high, low = value, 0 if manner == RESETS else low
            is_timed = False
        elif kind == 6:
            low, is_timed = value, True
        elif kind == 0:
            row = value & 0x7FF
        elif kind == 2:
            assert is_timed or manner != SENSORS_ONLY
            found.append((now, value & 0x7FF, row, value >> 11))
        elif kind == 3:
            column, polarity = value & 0x7FF, value >> 11
        elif kind in (4, 5):
            assert is_timed or manner != SENSORS_ONLY
            size = 12 if kind == 4 else 8
            found += [(now, column + place, row, polarity) for place in range(size) if value >> place & 1]
            column += size
    return found


def rows_of(events):
    return list(zip(*(getattr(events, name).tolist() for name in "txyp"), strict=True))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.sampled_from([0, 0, 1, 7, 4096, 8192, 4095, 70_000, 1 << 20]), min_size=1, max_size=60),
    start=st.sampled_from([0, 1, 4095, 4096, (1 << 24) - 4096]),
    manner=st.sampled_from([KEEPS, RESETS, SENSORS_ONLY]),
    seed=st.integers(0, 5),
)
def test_readers_of_any_manner_get_the_times_that_were_written(tmp_path, steps, start, manner, seed):
    random = np.random.default_rng(seed)
    count = len(steps)
    events = columns(
        t=start + np.cumsum(steps),
        x=random.integers(0, 640, count),
        y=random.integers(0, 480, count),
        p=random.integers(0, 2, count),
    )
    write_evt3(tmp_path / "a.raw", [events[: count // 2], events[count // 2 :]], size_hw=SIZE_HW)
    events.t[:] -= events.t[0] >> 24 << 24  # the loops before the first event, which no reader can know
    assert decoded((tmp_path / "a.raw").read_bytes(), manner) == rows_of(events)


@pytest.mark.parametrize("manner", [KEEPS, RESETS, SENSORS_ONLY])
def test_rows_of_many_events_at_once_are_as_exact(tmp_path, manner):
    t = np.repeat(np.arange(0, 100 * 1024, 1024), 30)  # every fourth time has no low part
    events = columns(t=t, x=np.tile(np.arange(30), 100), y=np.repeat(np.arange(100), 30), p=np.repeat([0, 1] * 50, 30))
    write_evt3(tmp_path / "a.raw", [events], size_hw=SIZE_HW)
    assert decoded((tmp_path / "a.raw").read_bytes(), manner) == rows_of(events)


def test_a_low_part_follows_every_high_one(tmp_path):
    t = np.array([0, 4096, 4097, 8192, 1_000_000, 1 << 30], np.int64)
    events = columns(t=t, x=np.arange(6), y=np.arange(6), p=np.ones(6))
    write_evt3(tmp_path / "a.raw", [events], size_hw=SIZE_HW)
    kinds = np.frombuffer((tmp_path / "a.raw").read_bytes().partition(b"% end\n")[2], "<u2") >> 12
    assert (kinds[np.flatnonzero(kinds == 8) + 1] == 6).all()
