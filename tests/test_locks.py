"""One process at a time in a folder, and no file of the user touched by a link that somebody put there."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from seqdet import locks
from seqdet.checks import InputError
from seqdet.locks import LOCK, alone_in


def test_a_second_one_is_refused_until_the_first_is_done(tmp_path):
    with alone_in(tmp_path), pytest.raises(InputError, match="in use by another command"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []


def test_one_that_waits_goes_on_when_the_first_is_done(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(locks, "LOOK_S", 0.01)
    order = []

    def second():
        with alone_in(tmp_path, waits=True):
            order.append("second")

    with alone_in(tmp_path, waits=True):
        waiting = threading.Thread(target=second)
        waiting.start()
        while not caplog.messages:
            assert waiting.is_alive()
            time.sleep(0.01)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    assert caplog.messages == [f"Waiting for another command that is writing in {tmp_path}."]


def test_many_that_wait_are_never_two_at_a_time(tmp_path, monkeypatch):
    """Each takes the file of the lock, and the empty folder, away when it is done, while others have it open."""
    monkeypatch.setattr(locks, "LOOK_S", 0)
    inside, most = [], []

    def enter():
        for _ in range(20):
            with alone_in(tmp_path / "new", waits=True):
                inside.append(1)
                time.sleep(0.001)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most)) == (80, 1)


def test_a_process_that_was_forked_does_not_hold_the_lock_of_the_one_that_was_killed(tmp_path):
    """As loaders of a training, which notice its end some seconds later."""
    script = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
from seqdet.locks import alone_in
with alone_in(Path(sys.argv[1])):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        child = int(first.stdout.readline())
        first.wait()
        try:
            with alone_in(tmp_path, waits=True):  # until it has begun to run
                os.kill(child, 0)  # it is there
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_pipe_that_tells_of_the_end_of_a_process_is_not_held_open_by_those_that_it_forked():
    script = """
import multiprocessing, os, select, time
from seqdet.locks import kept_from_forks
ours, theirs = os.pipe()
with kept_from_forks(theirs):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
os.close(theirs)
print(bool(select.select([ours], [], [], 60)[0]), child.is_alive())
child.kill()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_a_folder_is_made_and_goes_again_if_nothing_was_written(tmp_path):
    with alone_in(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a" / "b").exists()
    with alone_in(tmp_path / "c"):
        (tmp_path / "c" / "result").touch()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["result"]


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="no link"), alone_in(tmp_path / "foreign"):
        pass
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / LOCK)
    with pytest.raises(InputError, match="device or a pipe"), alone_in(tmp_path / "pipes"):
        pass
    assert (tmp_path / "mine").read_text() == "precious"
