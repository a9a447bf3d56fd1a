"""Events as columns, by attribute and by name."""

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.events.array import COLUMNS, Events, columns


def some(count=5):
    n = np.arange(count)
    return columns(t=n * 10, x=n + 1, y=n + 2, p=n % 2)


def test_a_column_by_its_name_is_the_column():
    events = some()
    for name in COLUMNS:
        assert events[name] is getattr(events, name)


def test_a_function_that_goes_by_names_takes_events_and_arrays_with_fields():
    def last_us(events):
        return events["t"][events["p"] > 0].max()

    events = some()
    rows = np.zeros(len(events), [(name, dtype) for name, dtype in COLUMNS.items()])
    for name in COLUMNS:
        rows[name] = events[name]
    assert last_us(events) == last_us(rows) == 30


def test_slices_and_masks_choose_events_as_before():
    events = some()
    assert isinstance(events[1:3], Events)
    assert events[1:3]["t"].tolist() == [10, 20]
    assert events[events["p"] == 1]["x"].tolist() == [2, 4]


def test_an_unknown_column_is_named_with_those_that_there_are():
    with pytest.raises(InputError, match=r"^column must be one of p, t, x, y; got 'ts'\.$"):
        some()["ts"]
