"""A bar on a terminal; in a pipe a line a minute, and never a carriage return."""

import logging
import math
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from seqdet import progress as module
from seqdet.checks import visible
from seqdet.progress import AboveBars, Progress, duration, progress

WORK = """
import logging, sys, time
from seqdet import progress as module
from seqdet.progress import AboveBars, progress
module.LINE_S = float(sys.argv[1])
logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[AboveBars(sys.stdout)])
for n in progress(range(4), "counting", unit="number", total=4):
    time.sleep(0.02)
    if n == 2:
        logging.info("a word in between")
logging.info("counted")
"""


@pytest.fixture
def clock(monkeypatch, caplog):
    """A clock that stands still until a test moves it, and a log that is heard."""

    class Clock:
        now_s = 100.0

    monkeypatch.setattr(module, "monotonic", lambda: Clock.now_s)
    caplog.set_level(logging.INFO, "seqdet")
    return Clock


def test_a_log_has_a_line_a_minute_with_what_is_done_and_how_long_the_rest_takes(clock, caplog):
    with Progress("scoring", unit="clip", total=1200) as shown:
        for _ in range(600):
            clock.now_s += 0.5
            shown.update(facts="9 boxes")
    assert caplog.messages == [
        f"scoring: {done} of 1,200 clips, 9 boxes, about {left} to go"
        for done, left in [(120, "9 min"), (240, "8 min"), (360, "7 min"), (480, "6 min"), (600, "5 min")]
    ]


def test_work_that_ends_within_a_minute_has_no_line(clock, caplog):
    for _ in progress(range(59), "scoring", unit="clip"):
        clock.now_s += 1
    assert caplog.messages == []


def test_pieces_that_take_longer_than_a_minute_have_a_line_each(clock, caplog):
    for _ in progress([1, 2, 3], "reading", unit="recording"):
        clock.now_s += 100
    assert caplog.messages == [
        "reading: 1 of 3 recordings, about 3 min to go",
        "reading: 2 of 3 recordings, about 2 min to go",
        "reading: 3 of 3 recordings, about 0 s to go",
    ]


def test_what_was_done_before_does_not_make_the_rest_look_faster(clock, caplog):
    with Progress("tensors", unit="window", total=1000, done=900) as shown:
        clock.now_s += 60
        shown.update(50)
    assert caplog.messages == ["tensors: 950 of 1,000 windows, about 60 s to go"]


def test_a_time_that_is_known_better_is_said(clock, caplog):
    with Progress("training", unit="step", total=10) as shown:
        clock.now_s += 60
        shown.update(left_s=1000)
    assert caplog.messages == ["training: 1 of 10 steps, about 17 min to go"]


def test_work_of_unknown_size_says_what_is_done_and_since_when(clock, caplog):
    for _ in progress(iter(range(61)), "simulating", unit="frame"):
        clock.now_s += 2
    assert caplog.messages == [
        "simulating: 30 frames, 60 s so far",
        "simulating: 60 frames, 2 min so far",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 s"), (0.34, "0.3 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")],
)
def test_a_duration_is_as_exact_as_anyone_wants_to_know_it(seconds, words):
    assert duration(seconds) == words


def test_an_item_can_be_many_pieces(clock, caplog):
    for _ in progress(iter(["ab", "cde"]), "reading", unit="letter", size=len):
        clock.now_s += 60
    assert caplog.messages == ["reading: 2 letters, 60 s so far", "reading: 5 letters, 2 min so far"]


def test_items_come_in_their_order_and_none_is_lost():
    assert list(progress(iter("abc"), "reading", unit="letter", total=3)) == ["a", "b", "c"]


def run_in_pipe() -> str:
    return subprocess.run(
        [sys.executable, "-c", WORK, "60"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout


def run_in_terminal(*, is_log_a_file: Path | None = None, line_s: float = 60) -> str:
    """What appears on a terminal, where the log may go elsewhere."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with (is_log_a_file or Path(os.ttyname(theirs))).open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", WORK, str(line_s)], stdout=log, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # how Linux says that nobody holds the other end any more
        pass
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_a_pipe_gets_lines_and_no_carriage_return():
    assert run_in_pipe() == "a word in between\ncounted\n"


def test_a_terminal_gets_a_bar_and_lines_of_the_log_stand_on_lines_of_their_own():
    shown = run_in_terminal()
    assert "counting:   0%|" in shown
    assert "| 0/4 [" in shown
    for words in ("a word in between", "counted"):
        (line,) = (line for line in shown.split("\n") if words in line)
        assert line.rstrip("\r").rpartition("\r")[2] == words
        assert "counting" not in line.rpartition("\r" + words)[0].rpartition("\r")[2]


def test_a_terminal_keeps_its_bar_while_the_log_goes_to_a_file(tmp_path):
    assert "counting:   0%|" in run_in_terminal(is_log_a_file=tmp_path / "log", line_s=0)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition(" numbers")[0] for line in lines] == [
        *(f"counting: {done} of 4" for done in (1, 2)),
        "a word in between",
        *(f"counting: {done} of 4" for done in (3, 4)),
        "counted",
    ]


def test_a_terminal_alone_gets_no_lines():
    assert "numbers, about" not in run_in_terminal(line_s=0)


def test_what_cannot_be_printed_is_shown_escaped():
    assert visible("a\x1b[2J\r\x9b\u202e\udc80") == r"a\x1b[2J\r\x9b\u202e\udc80"
    assert visible("a line\n\tand µs") == r"a line\n\tand µs"
    assert visible("a line\n\tand µs, 100\u2009%", but="\n\t") == "a line\n\tand µs, 100\\u2009%"


def test_a_message_is_one_line_whatever_names_it_holds(capsys):
    """Else the name of a file says what was never said. What other libraries say keeps its lines, as a traceback."""
    handler = AboveBars(sys.stdout)
    for logger in ("seqdet.data", "other"):
        log = logging.getLogger(logger)
        log.addHandler(handler)
        log.propagate = False
        try:
            log.warning("%s cannot be read", "a.raw\nall is well")
            try:
                math.sqrt(-1)
            except ValueError:
                log.exception("failed")
        finally:
            log.removeHandler(handler)
            log.propagate = True
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == r"a.raw\nall is well cannot be read"
    assert lines[1:3] == ["failed", "Traceback (most recent call last):"]
    assert "all is well cannot be read" in lines
