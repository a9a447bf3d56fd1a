"""Stop between two steps when the user or the cluster asks, and not in the middle of one."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


class StopRequest:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """A request that Ctrl-C and SIGTERM make, within the block; a second Ctrl-C interrupts at once."""
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        request.requested = True
        log.info("Stopping after this step, or this validation; Ctrl-C again stops at once.")
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
