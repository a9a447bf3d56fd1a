"""A folder of bounded size for what can be made again."""

from __future__ import annotations

import logging
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..checks import InputError
from ..files import replacing
from ..locks import hold, open_own

log = logging.getLogger(__name__)
SUFFIX = ".kept"
TOTAL = ".total"
CHECK_BYTES = 4
FREED_SHARE = 0.05
"""Of the limit, at least, becomes free at a time, as it takes a look at every file."""


class DiskCache:
    """Contents by name, at most ``limit`` bytes in all; whatever is damaged or was deleted counts as not there.

    Where there is no room, the files that were used least recently go. Those used since this object was made stay, and
    what finds no room is not kept: who goes through everything again and again, in epochs, and has room for half of it,
    would otherwise find a sixth of it and not half. Where the disk is full or cannot be written, nothing more is kept.
    Writers wait for each other where the system can make them (not on Windows, where the limit may be passed for a
    while); readers do not.

    Args:
        folder: made if it does not exist. Other files in it do not count.
        limit: bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._since_ns = time.time_ns()
        self._is_full = False
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._alone() as file:
                _write_total(file, self._make_room(0))

    def get(self, name: str) -> memoryview | None:
        """The content, and None if it is not there."""
        path = self.folder / f"{name}{SUFFIX}"
        try:
            found = memoryview(path.read_bytes())
        except OSError:
            return None
        content = found[:-CHECK_BYTES]
        check = found[-CHECK_BYTES:]
        if not content or _check(content) != check:
            return None
        with suppress(OSError):  # files of others can be read all the same
            os.utime(path, ns=(now_ns := time.time_ns(), now_ns))
        return content

    def put(self, name: str, content: bytes | memoryview) -> None:
        """Keep the content, if there is room or can be made."""
        if self._is_full:
            return
        path = self.folder / f"{name}{SUFFIX}"
        size = len(content) + CHECK_BYTES
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._alone() as file:
                total = _read_total(file)
                if total is None or total + size > self.limit:
                    total = self._make_room(size)
                self._is_full = total + size > self.limit  # and stays so, as what is in use only grows
                _write_total(file, total if self._is_full else total + size)
                if not self._is_full:
                    with replacing(path) as temporary, temporary.open("wb") as target:
                        target.write(content)
                        target.write(_check(content))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Go on without keeping anything where the folder cannot be written."""
        try:
            yield
        except (OSError, InputError) as error:
            self._is_full = True
            log.warning("%s cannot keep more tensors, which are made each time instead: %s", self.folder, error)

    @contextmanager
    def _alone(self) -> Iterator[BinaryIO]:
        """Lend the file that says how large all are, which one process has at a time."""
        with os.fdopen(open_own(self.folder / TOTAL), "r+b") as file:
            hold(file.fileno(), waits=True)
            yield file

    def _make_room(self, size: int) -> int:
        """Delete what may go if ``size`` bytes do not fit; returns how large all others are.

        Also of what a process left that was killed while it wrote.
        """
        found = []
        for path in self.folder.glob(f"*/*{SUFFIX}"):
            with suppress(OSError):
                facts = path.stat()
                found.append((facts.st_mtime_ns, facts.st_size, path))
        total = sum(size for _, size, _ in found)
        if total + size > self.limit:
            room = min(self.limit - size, self.limit * (1 - FREED_SHARE))
            for used_ns, file_size, path in sorted(found):
                if total <= room or used_ns >= self._since_ns:
                    break
                with suppress(OSError):  # open in another process, on Windows
                    path.unlink(missing_ok=True)
                    total -= file_size
        return total


def _check(content: bytes | memoryview) -> bytes:
    return zlib.crc32(content).to_bytes(CHECK_BYTES, "little")


def _read_total(file: BinaryIO) -> int | None:
    """None if the file is new or damaged."""
    digits = file.read()
    return int(digits) if digits.isdigit() else None


def _write_total(file: BinaryIO, total: int) -> None:
    file.seek(0)
    file.write(b"%020d" % total)
    file.truncate()
    file.flush()
