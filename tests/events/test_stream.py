from __future__ import annotations

import tracemalloc
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.events.array import Events, columns
from seqdet.events.files import open_recording
from seqdet.events.sieve import JITTER_US
from seqdet.events.slicing import Window, WindowStream, windows
from seqdet.events.tensors import histogram


def at(times) -> Events:
    """Events with these times, told apart by x."""
    return columns(t=np.array(times, np.int64), x=np.arange(len(times)), y=[0] * len(times), p=[1] * len(times))


def plain(found) -> list[tuple[int, int, list[int], list[int]]]:
    return [(window.start_us, window.end_us, window.events.t.tolist(), window.events.x.tolist()) for window in found]


def pieces(events: Events, cuts: list[int]) -> list[Events]:
    return [events[start:end] for start, end in pairwise([0, *sorted(min(cut, len(events)) for cut in cuts), None])]


def played(parts: list[Events], **arguments) -> tuple[list[Window], WindowStream]:
    """All windows of a stream that comes in these parts, the partial ones too."""
    stream = WindowStream(**arguments)
    found = [window for part in parts for window in stream.push(part)]
    return found + list(stream.close()), stream


@st.composite
def walks(draw, *, back: int) -> Events:
    """Times that go on, rest, leap and run back by at most ``back`` from the greatest before."""
    start = draw(st.integers(-(10**3), 10**3))
    steps = draw(st.lists(st.tuples(st.sampled_from([0, 1, 7, 300, 1500]), st.integers(0, back)), max_size=25))
    newest = start + np.cumsum(np.array([step for step, _ in steps], np.int64))
    return at(newest - np.array([late for _, late in steps], np.int64))


cuts = st.lists(st.integers(0, 40), max_size=6)
by_time = st.fixed_dictionaries(
    {"window_us": st.sampled_from([90, 900, 2000])}, optional={"start_us": st.integers(-2000, 2000)}
)
by_number = st.fixed_dictionaries({"count": st.sampled_from([1, 3, 50])}, optional={"start_us": st.just(100)})


@given(events=walks(back=JITTER_US), cuts=cuts, arguments=by_time | by_number)
def test_the_windows_are_those_of_a_stored_recording_wherever_it_is_cut(events, cuts, arguments):
    start = arguments.get("start_us", int(events.t.min()) if len(events) else 0)
    found, stream = played(pieces(events, cuts), **arguments)
    assert plain(found) == plain(windows([events], **arguments))
    assert stream.dropped.total() == (events.t < start).sum()
    assert set(stream.dropped) <= {"events before the first window"}


@given(
    events=walks(back=3000),
    cuts=cuts,
    arguments=by_time | by_number,
    step=st.integers(1, 800),
    lateness_us=st.sampled_from([0, 5, 1000]),
    saved=st.booleans(),
)
def test_where_a_disorderly_stream_is_cut_or_saved_makes_no_difference(
    events, cuts, arguments, step, lateness_us, saved
):
    if arguments.get("window_us", 0) >= 900:
        arguments = {**arguments, "step_us": step + 100}
    arguments = {**arguments, "lateness_us": lateness_us}
    whole, stream = played([events], **arguments)
    parts, again = [], WindowStream(**arguments)
    for piece in pieces(events, cuts):
        parts += again.push(piece)
        if saved:
            state, again = again.state_dict(), WindowStream(**arguments)
            again.load_state_dict(state)
    assert plain(parts + list(again.close())) == plain(whole)
    assert again.dropped == stream.dropped
    if "step_us" not in arguments:
        assert sum(len(window.events) for window in whole) + stream.dropped.total() == len(events)


@given(events=walks(back=0), cuts=cuts, duration=st.integers(100, 3000), steps=st.integers(1, 9))
def test_windows_that_overlap_hold_all_events_between_their_ends(events, cuts, duration, steps):
    step = -(-duration // steps)
    found, _ = played(pieces(events, cuts), window_us=duration, step_us=step, start_us=-1500)
    for number, window in enumerate(found):
        assert window.start_us == -1500 + number * step
        assert window.end_us == window.start_us + duration
        among = (events.t >= window.start_us) & (events.t < window.end_us)
        assert window.events.x.tolist() == events.x[among].tolist()
    if len(events):
        assert found[-1].start_us <= events.t.max() < found[-1].start_us + step


def test_frames_of_a_stream_are_the_frames_of_the_whole():
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 40_000, 3000)) - rng.integers(0, 900, 3000)
    x, y, p = (rng.integers(0, size, 3000) for size in (9, 7, 2))
    events, lie = columns(t=t, x=x, y=y, p=p), {"size_hw": (7, 9), "window_us": 5000}
    stream = WindowStream(window_us=5000, start_us=0)
    found = [window for piece in pieces(events, [1, 700, 720]) for window in stream.push(piece)] + list(stream.close())
    frames = [histogram(window.events, start_us=window.start_us, **lie) for window in found]
    np.testing.assert_array_equal(np.concatenate(frames), histogram(events, start_us=0, windows=len(found), **lie))


def test_a_window_closes_with_the_first_event_that_is_late_enough():
    stream = WindowStream(window_us=100, start_us=0, lateness_us=10)
    assert plain(stream.push(at([20, 50, 99, 109]))) == []
    assert plain(stream.push(at([90, 110]))) == [(0, 100, [20, 50, 90, 99], [0, 1, 0, 2])]
    assert plain(stream.close()) == [(100, 200, [109, 110], [3, 1])]


def test_without_lateness_a_window_by_number_closes_with_its_last_event():
    assert plain(WindowStream(count=2, lateness_us=0).push(at([4, 4, 4]))) == [(4, 5, [4, 4], [0, 1])]


def test_events_of_a_closed_window_are_dropped_and_those_of_the_open_one_are_taken():
    stream = WindowStream(window_us=100, start_us=0, lateness_us=0)
    assert plain(stream.push(at([10, 190, 99, 100, 150]))) == [(0, 100, [10], [0])]
    assert plain(stream.push(at([5, -3, 200, 1 << 60]))) == [(100, 200, [100, 150, 190], [3, 4, 1])]
    assert stream.dropped == {"events that came too late": 3, "events at impossible times": 1}


def test_events_before_the_start_are_counted_as_such():
    stream = WindowStream(window_us=100, start_us=50)
    assert plain(stream.push(at([10, 49, 50, 2000])))[0] == (50, 150, [50], [2])
    assert stream.dropped == {"events before the first window": 2}


@pytest.mark.parametrize("lateness_us", [0, 1000])
def test_the_first_window_starts_at_the_earliest_event_that_was_waited_for(lateness_us):
    stream = WindowStream(window_us=100, lateness_us=lateness_us)
    found = list(stream.push(at([5000, 4500, 9000])))
    assert found[0].start_us == (5000 if lateness_us == 0 else 4500)
    assert stream.dropped.total() == (lateness_us == 0)


def test_the_clock_closes_windows_without_an_event():
    stream = WindowStream(window_us=100, start_us=0)
    assert plain(stream.push(at([10, 120]))) == []
    assert plain(stream.advance(250)) == [(0, 100, [10], [0]), (100, 200, [120], [1])]
    assert plain(stream.advance(100)) == []  # time does not run back
    assert plain(stream.push(at([199, 230]))) == []
    assert stream.dropped == {"events that came too late": 1}
    assert plain(stream.close()) == [(200, 300, [230], [1])]


def test_the_clock_settles_events_by_number_and_the_start():
    by_number = WindowStream(count=2)
    assert plain(by_number.push(at([10, 12, 14]))) == []
    assert plain(by_number.advance(13)) == [(10, 13, [10, 12], [0, 1])]
    by_time = WindowStream(window_us=5)
    list(by_time.push(at([10, 12])))
    assert plain(by_time.advance(11)) == []
    assert plain(by_time.advance(15)) == [(10, 15, [10, 12], [0, 1])]


def test_a_stream_that_ends_inside_a_window_gives_it():
    stream = WindowStream(window_us=100, start_us=0)
    list(stream.push(at([10, 150, 210])))
    assert [window.end_us for window in stream.close()] == [100, 200, 300]
    assert stream.dropped.total() == 0
    stream = WindowStream(count=2)
    list(stream.push(at([1, 2, 3])))
    assert [len(window.events) for window in stream.close()] == [2, 1]


@given(events=walks(back=0), arguments=by_time | by_number, step=st.integers(1, 80), is_started=st.booleans())
def test_what_was_in_no_window_is_counted(events, arguments, step, is_started):
    arguments = {"start_us": -1500, **arguments} if is_started else arguments
    if "window_us" in arguments:
        arguments = {**arguments, "step_us": step + 10}
    stream = WindowStream(**arguments)
    found = [*stream.push(events), *stream.close()]
    seen = {x for window in found for x in window.events.x.tolist()}
    assert len(seen) + stream.dropped.total() == len(events)


def test_a_closed_stream_is_as_new():
    stream = WindowStream(window_us=100, lateness_us=0)
    list(stream.push(at([5000, 5050])))
    left = stream.close()
    assert plain(stream.push(at([3, 110]))) == [(3, 103, [3], [0])]
    assert plain(left) == [(5000, 5100, [5000, 5050], [0, 1])]


def test_a_silence_of_years_is_given_window_by_window_in_no_memory():
    stream = WindowStream(window_us=50_000, start_us=0)
    tracemalloc.start()
    ahead = stream.push(at([10, 10**15]))
    found = list(islice(ahead, 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(window.events) for window in found] == [1] + [0] * 999
    assert peak < 1 << 21
    assert next(stream.push(at([]))).start_us == 1000 * 50_000  # those not asked for come next


def test_memory_of_a_long_stream_is_that_of_a_window():
    stream, most = WindowStream(window_us=10_000), 0
    tracemalloc.start()
    for number in range(300):
        piece = columns(t=np.arange(1000) * 10 + number * 10_000, x=[1] * 1000, y=[1] * 1000, p=[1] * 1000)
        most = max([most, *(len(window.events) for window in stream.push(piece))])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most == 1000
    assert peak < 20 * 13 * 1000  # all events are 15 times that


def test_the_pieces_may_be_used_again_by_who_sent_them():
    stream, events = WindowStream(window_us=100, start_us=0, lateness_us=0), at([10, 20])
    list(stream.push(events))
    events.t[:] = 77
    assert plain(stream.push(at([100]))) == [(0, 100, [10, 20], [0, 1])]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "a stream must have either window_us or count, got None and None"),
        ({"window_us": 5, "count": 5}, "a stream must have either window_us or count, got 5 and 5"),
        ({"window_us": 0}, "window_us must be at least 1, got 0"),
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"count": 2, "step_us": 1}, "step_us must be from 1 to window_us, got 1 and None"),
        ({"window_us": 5, "step_us": 6}, "step_us must be from 1 to window_us, got 6 and 5"),
        ({"window_us": 5, "step_us": 0}, "step_us must be from 1 to window_us, got 0 and 5"),
        ({"window_us": 5, "lateness_us": -1}, "lateness_us must be at least 0, got -1"),
        ({"window_us": 5, "start_us": -(1 << 60)}, "times must be from"),
        ({"window_us": 1 << 60}, "times must be from"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        WindowStream(**arguments)


def test_the_state_of_another_stream_and_an_impossible_clock_are_refused():
    with pytest.raises(InputError, match="state must be of a stream with"):
        WindowStream(window_us=5).load_state_dict(WindowStream(window_us=6).state_dict())
    with pytest.raises(InputError, match="times must be from"):
        WindowStream(window_us=5).advance(1 << 60)


@pytest.mark.parametrize("arguments", [{"window_us": 50_000}, {"count": 10_000}])
@pytest.mark.parametrize("size", [997, 100_000])
def test_the_windows_of_a_recording_do_not_depend_on_its_pieces(recordings, arguments, size):
    with open_recording(recordings / "lens_640x480.evt3.raw") as recording:
        wanted = list(recording.windows(**arguments))
        events = Events.concatenate(list(recording.chunks()))
    found, stream = played([events[start : start + size] for start in range(0, len(events), size)], **arguments)
    assert not stream.dropped
    assert plain(found) == plain(wanted)
