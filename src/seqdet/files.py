"""Write files so that a reader never meets half of one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .checks import InputError

try:
    import fcntl
except ImportError:
    fcntl = None


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Lend a temporary name beside ``path``; what is written there takes its place when the block ends well.

    Otherwise it vanishes, and what stood at ``path`` before stays. The content is on the disk before the name is, and
    the name before this returns: after a power cut there is the old file or the new one, and what is written next
    never without this one.

    Raises:
        InputError: if the folder is missing or cannot be written, the disk is full, or ``path`` is a folder.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path  # a link stays one
    temporary = path.parent / f".{os.getpid()}.{path.name}"
    try:
        yield temporary
        _sync(temporary, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # it may be a link to a file of others
        temporary.replace(path)
        with suppress(OSError):  # some systems cannot do this with a folder
            _sync(path.parent, os.O_RDONLY)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise  # about another file, which the block reads
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # not there, or in a folder that is none
            temporary.unlink()


def _sync(path: Path, mode: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Patient(io.RawIOBase):
    """A file for libraries that do not survive a full disk: it goes on, and keeps the error in ``error``.

    Args:
        path: of the file, opened for reading and writing.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__()
        self._file, self.error = io.FileIO(path, mode), None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        return self._try(self._file.truncate, size) or 0

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, with zeros where nothing could be written."""
        view = memoryview(buffer).cast("B")
        size = self._file.readinto(view)
        view[size:] = bytes(len(view) - size)
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            done += self._try(self._file.write, view[done:]) or 0
        return len(view)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _try(self, work: Callable[..., int], *args: Any) -> int | None:
        try:
            return work(*args)
        except OSError as error:
            self.error = error
            return None


@contextmanager
def patient(path: Path, mode: str = "w+b") -> Iterator[Patient]:
    """Lend a ``Patient`` file, and raise what was wrong with it when the block ends."""
    with Patient(path, mode) as file:
        yield file
    if file.error is not None:
        raise file.error


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace ``path`` by ``content``. Raises as ``replacing`` does."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder, where the system can (not on Windows).

    Raises:
        InputError: if another process is in it.
    """
    if fcntl is None:
        yield
        return
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{folder} must be left to one command at a time; another one is writing there."
            ) from error
        try:
            yield
        finally:
            Path(lock.name).unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises ``InputError`` if that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} must be a folder that can be made: {error.strerror}.") from error


def write_text(path: Path, content: str) -> None:
    """Replace ``path`` by ``content`` in UTF-8. Raises as ``replacing`` does."""
    write_bytes(path, content.encode())
