"""Ctrl-C and SIGTERM, which mean the same: stop, and lose nothing.

Work that is made of steps asks for the wish and ends in a good moment; all other work ends where it is, by a
``KeyboardInterrupt``. A second signal ends either at once.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_heard = signal.SIGINT


def interrupt(number: int, frame: FrameType | None) -> None:
    """A handler of signals: ends what runs as Ctrl-C does."""
    _hear(number)
    raise KeyboardInterrupt


def exit_status() -> int:
    """Of a process that stopped for the signal that was heard last, as shells and schedulers know it: 130 or 143."""
    return 128 + _heard


class Wish:
    """Whether the user or the cluster asked to stop. Outside of the main thread, which alone hears of signals, never.

    Args:
        after: what work stops after, for the log.
    """

    def __init__(self, after: str) -> None:
        self.after, self._asked = after, False
        self._before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()

    def __call__(self) -> bool:
        return self._asked

    def listen(self) -> None:
        """Take the signals, again where a library has taken them in the meantime."""
        if self._asked:
            self.close()
        else:
            for number in self._before:
                signal.signal(number, self._ask)

    def close(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        _hear(number)
        again = "Ctrl-C again" if number == signal.SIGINT else "a second signal"
        log.info("Stopping after %s; %s stops at once.", self.after, again)
        self.close()


@contextmanager
def stop_on_signals(after: str) -> Iterator[Wish]:
    """Lend a ``Wish``, for work that stops ``after`` what is being done."""
    wish = Wish(after)
    try:
        yield wish
    finally:
        wish.close()


def _hear(number: int) -> None:
    global _heard
    _heard = signal.Signals(number)
