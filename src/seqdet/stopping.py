"""Ctrl-C and SIGTERM, which mean the same: stop, and lose nothing.

Work that is made of steps asks for the wish and ends in a good moment; all other work ends where it is, by a
``KeyboardInterrupt``. A second signal ends either at once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN_S = 0.02
"""Until a signal that was lost comes again."""
_heard = signal.SIGINT
_is_interrupted = threading.Event()


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler of signals: ends what runs as Ctrl-C does."""
    _hear(number)
    _is_interrupted.set()
    raise KeyboardInterrupt


def is_interrupted() -> bool:
    """Whether a signal ended what ran, by ``interrupt``: libraries make other errors of it, and of what it cut."""
    return _is_interrupted.is_set()


def hear_again(lost: sys.UnraisableHookArgs) -> None:
    """A ``sys.unraisablehook``: what cannot be raised is said, but for a signal, which comes again in a moment.

    Python raises nothing out of callbacks, of weak references or of C; a signal that is heard in one would be lost.
    After one, nothing is said of what it cut.
    """
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        if not is_interrupted():
            sys.__unraisablehook__(lost)
        return
    with suppress(RuntimeError):  # Python ends already
        again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), _heard))
        again.daemon = True
        again.start()


def exit_status() -> int:
    """Of a process that stopped for the signal that was heard last, as shells and schedulers know it: 130 or 143."""
    return 128 + _heard


@contextmanager
def stop_on_signals(after: str) -> Iterator[Callable[[], bool]]:
    """Lend a function that says whether the user or the cluster asked to stop; a second signal interrupts at once.

    Outside of the main thread, which alone hears of signals, the function says no.

    Args:
        after: what work stops after, for the log.

    Raises:
        KeyboardInterrupt: if ``interrupt`` heard a signal before, which then was lost.
    """
    if is_interrupted():  # and a library that was being loaded caught it
        raise KeyboardInterrupt
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        _hear(number)
        again = "Ctrl-C again" if number == signal.SIGINT else "a second signal"
        log.info("Stopping after %s; %s stops at once.", after, again)
        give_back()

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield asked.is_set
    finally:
        give_back()


def _hear(number: int) -> None:
    global _heard
    _heard = signal.Signals(number)
