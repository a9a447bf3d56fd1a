"""Write files so that a reader never meets half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .checks import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lend a temporary name beside ``path``; what is written there takes its place when the block ends well.

    Otherwise it vanishes, and what stood at ``path`` before stays.

    Raises:
        InputError: if the folder is missing or cannot be written, the disk is full, or ``path`` is a folder.
    """
    temporary = path.parent / f".{os.getpid()}.{path.name}"
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise  # about another file, which the block reads
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # not there, or in a folder that is none
            temporary.unlink()


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace ``path`` by ``content`` and wait until it is on the disk. Raises as ``replacing`` does."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, content: str) -> None:
    """Replace ``path`` by ``content`` in UTF-8. Raises as ``replacing`` does."""
    write_bytes(path, content.encode())
