"""Work in several processes, with progress, that stops when asked to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from ..checks import InputError, Stopped
from ..progress import Progress
from ..stopping import SIGNALS

Item = TypeVar("Item")
Result = TypeVar("Result")
Report = Callable[[int], None]
POLL_S = 0.2
STOPPED = "Stopped. Started again, this goes on where it was."
_shared: dict[str, Any] = {}


def each(
    work: Callable[[Item, Report], Result], items: Sequence[Item], *, workers: int, shown: Progress
) -> Iterator[tuple[int, Result | InputError]]:
    """The number of each item and its result, or the ``InputError`` that it ended in, as they are finished.

    Processes are started afresh, and do not run the user's script again: ``work`` is a function of a module of ours.

    Args:
        work: called with an item and a function that it tells its progress.
        items: what can be sent to a process.
        workers: processes; with 1 the work is done in this one.
        shown: the progress.

    Raises:
        Stopped: if Ctrl-C was pressed; every process has then ended what must not be cut.
        InputError: if a process was killed.
    """
    if workers == 1:
        for n, item in enumerate(items):
            try:
                result = _attempted(work, item, shown.update)
            except KeyboardInterrupt as error:
                raise Stopped(STOPPED) from error
            yield n, result
        return
    context = multiprocessing.get_context("spawn")
    done = context.Value("q", 0)
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(done, stop)) as pool:
        try:
            with _without_script():
                numbers = {pool.submit(_work, work, item): n for n, item in enumerate(items)}
            waiting = set(numbers)
            told = 0
            while waiting:
                finished, waiting = wait(waiting, timeout=POLL_S, return_when="FIRST_COMPLETED")
                if (count := done.value - told) > 0:
                    shown.update(count)
                    told += count
                for future in finished:
                    yield numbers[future], future.result()
        except KeyboardInterrupt as error:
            raise Stopped(STOPPED) from error
        except BrokenProcessPool as error:
            raise InputError(
                "the processes must be left alone and have memory enough; one of them was killed."
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def _without_script() -> Iterator[None]:
    """Processes that are started within the block know no script of the user.

    They would import it, and it may do at its top level what it should do once.
    """
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)


def _start(done: Any, stop: Any) -> None:
    """What a new process remembers. Signals, which terminals and schedulers send to all processes, are for the one that
    started it; without that one it ends.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _shared.update(done=done, stop=stop)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(work: Callable[[Item, Report], Result], item: Item) -> Result | InputError:
    def report(count: int) -> None:
        if _shared["stop"].is_set():
            raise Stopped
        with _shared["done"].get_lock():
            _shared["done"].value += count

    return _attempted(work, item, report)


def _attempted(work: Callable[[Item, Report], Result], item: Item, report: Callable[[int], Any]) -> Result | InputError:
    try:
        return work(item, report)
    except InputError as error:
        return error
