"""Signals are heard, whatever was doing when they came."""

import signal
import threading
from contextlib import suppress

import pytest

from seqdet import stopping


def test_a_signal_that_a_library_caught_is_heard_when_work_begins(monkeypatch):
    monkeypatch.setattr(stopping, "_is_interrupted", threading.Event())
    with stopping.stop_on_signals("this step") as is_asked:
        assert not is_asked()
    with suppress(KeyboardInterrupt):  # as a library does that is being loaded
        stopping.interrupt(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt), stopping.stop_on_signals("this step"):
        raise AssertionError("work began")
