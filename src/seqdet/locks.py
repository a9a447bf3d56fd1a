"""Keep processes out of each other's way in a folder."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .checks import InputError

try:
    import fcntl
except ImportError:
    fcntl = None

log = logging.getLogger(__name__)
LOCK = ".lock"
LOOK_S = 0.2
"""Between two looks at whether a folder is free."""
ATTEMPTS = 100
_kept: set[int] = set()


@contextmanager
def alone_in(folder: Path, *, waits: bool = False) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder, where the system can (not on Windows).

    Args:
        folder: made if it does not exist; gone again if nothing was written there.
        waits: for the other process, instead of refusing to work beside it.

    Raises:
        InputError: if another process is in the folder and this one does not wait, or the folder cannot be written.
    """
    is_new = not folder.exists()
    has_waited = False
    _make(folder)
    if fcntl is None:
        yield
        return
    while (lock := _taken(folder)) is None:
        if not waits:
            raise InputError(f"{folder} must not be in use by another command; one is writing there.")
        if not has_waited:
            log.info("Waiting for another command that is writing in %s.", folder)
        has_waited = True
        time.sleep(LOOK_S)
    try:
        with kept_from_forks(lock):
            yield
    finally:
        with suppress(OSError):  # the folder may be gone, or closed for writing
            (folder / LOCK).unlink()
        os.close(lock)
        if is_new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def open_own(path: Path) -> int:
    """A descriptor of a file that seqdet alone writes, made if it is not there, for reading and writing.

    Raises:
        InputError: if it cannot be opened, or is no file but a link, a device or a pipe, which somebody else's folder
            may have there.
        FileNotFoundError: if there is no such folder.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} must be a file that can be written, and no link: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} must be a file, and is a device or a pipe.")
    return descriptor


def hold(descriptor: int, *, waits: bool) -> bool:
    """Hold an open file alone; returns whether it is free. What cannot be held, on some systems, is."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


@contextmanager
def kept_from_forks(descriptor: int) -> Iterator[None]:
    """Within the block, forked processes close the descriptor: a lock or a pipe of this process ends with it."""
    _kept.add(descriptor)
    try:
        yield
    finally:
        _kept.discard(descriptor)


def _let_go() -> None:
    for descriptor in _kept:
        os.close(descriptor)
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _make(folder: Path) -> None:
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except OSError as error:
            # The process before may take the folder away just when it was found to be there.
            if not (isinstance(error, FileExistsError) and attempts_left):
                raise InputError(f"{folder} must be a folder that can be made: {error.strerror}.") from error


def _taken(folder: Path) -> int | None:
    """The lock of a folder, held by this process; None if another process has it."""
    path = folder / LOCK
    while True:
        try:
            lock = open_own(path)
        except FileNotFoundError:  # the process before took the empty folder away
            _make(folder)
            continue
        if not hold(lock, waits=False):
            os.close(lock)
            return None
        with suppress(OSError):
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        os.close(lock)  # the process before took the file away between the two
