"""Ctrl-C and SIGTERM as a wish: work that asks for it ends in a good moment, and not in the middle of a step."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


@contextmanager
def stop_on_signals(after: str) -> Iterator[Callable[[], bool]]:
    """Lend a function that says whether the user or the cluster asked to stop; a second Ctrl-C interrupts at once.

    Outside of the main thread, which alone hears of signals, the function says no.

    Args:
        after: what work stops after, for the log.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        log.info("Stopping after %s; Ctrl-C again stops at once.", after)
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
