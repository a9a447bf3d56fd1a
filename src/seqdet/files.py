"""Files: written so that a reader never meets half of one, and read as JSON and npy that somebody else wrote."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import shutil
import time
import tokenize
import unicodedata
import warnings
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from .checks import InputError

if TYPE_CHECKING:  # a command line that only checks its files does not wait for it
    import numpy as np

TEMPORARY = re.compile(r"\.([0-9a-f]{8})-(\d+)\..+")
"""Name of a file that is being written: by which machine and process, and what it will be called."""
PROCESSES = Path("/proc/self/ns/pid")
"""On Linux, which numbers of processes there are: containers of one name have their own."""
MACHINE = f"{zlib.crc32(f'{platform.node()} {PROCESSES.stat().st_ino if PROCESSES.exists() else 0}'.encode()):08x}"
ABANDONED_S = 86_400
"""Nobody writes for so long without a change that is seen from outside."""
LONGEST_HEADER = 1 << 16
"""Bytes of the header of an npy file."""
_swept: set[Path] = set()


def as_on_disk(path: Path) -> Path:
    """The path as its folders spell it, where they have a name composed another way: macOS takes an accent apart.

    A path that is there as it is written, or that is not there in any way, stays.
    """
    if path.name in ("", ".", "..") or os.path.lexists(path):
        return path
    parent = as_on_disk(path.parent)
    wanted = unicodedata.normalize("NFC", path.name)
    if wanted.isascii():
        return parent / path.name
    with suppress(OSError):
        for each in sorted(parent.iterdir()):
            if unicodedata.normalize("NFC", each.name) == wanted:
                return each
    return parent / path.name if parent.is_dir() else path


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Lend a temporary name beside ``path``; what is written there takes its place when the block ends well.

    Otherwise it vanishes, and what stood at ``path`` before stays; so does the file that a link there points to. The
    content is on the disk before the name is, and the name before this returns: after a power cut there is the old file
    or the new one, and what is written next never without this one. What processes left in the folder that were killed
    while they wrote is deleted.

    Raises:
        InputError: if the folder is missing or cannot be written, the disk is full, or ``path`` is a folder or device.
    """
    path = Path(path)
    check_place(path)
    temporary = path.parent / f".{MACHINE}-{os.getpid()}.{path.name}"
    sweep(path.parent)
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()
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


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Lend a new folder beside ``path``, which becomes it when the block ends well and else vanishes.

    The files in it, which lie in no folder below, are on the disk before the name is.

    Raises:
        InputError: if there is something at ``path``, its folder is missing or cannot be written, or the disk is full.
    """
    temporary = path.parent / f".{MACHINE}-{os.getpid()}.{path.name}"
    sweep(path.parent)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        for each in temporary.iterdir():
            _sync(each, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        with suppress(OSError):
            _sync(temporary, os.O_RDONLY)
        temporary.rename(path)
        with suppress(OSError):
            _sync(path.parent, os.O_RDONLY)
    except OSError as error:
        where = f", {error.filename}" if error.filename not in (None, str(temporary)) else ""
        raise InputError(f"{path} cannot be written: {error.strerror or error}{where}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_place(path: Path) -> None:
    """Raise ``InputError`` if a folder, a device or a pipe is in the place of a file to write, also by a link."""
    if path.is_dir():
        raise InputError(f"{path} cannot be written: Is a directory.")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} must be a file, and is a device or a pipe.")


def check_output(
    path: Path,
    *,
    inputs: Iterable[Path | None] = (),
    folders: Iterable[Path | None] = (),
    suffix: str = "",
    overwrite: bool = False,
) -> None:
    """Raise unless a new file may be written at ``path``: nothing that a user has goes without a word.

    Args:
        path: of the file to write.
        inputs: what the work reads; None is nothing. A file to write is never one of them, by whatever name or link.
        folders: whose content is read: no file that is there in one of them makes way.
        suffix: how its name has to end.
        overwrite: let it take the place of another file.

    Raises:
        InputError: if its name ends otherwise, it is an input, or there is something already; also as ``check_place``.
    """
    if path.suffix.lower() != suffix and suffix:
        raise InputError(f"{path} must end in {suffix}, as what is written there does.")
    for each in filter(None, folders):
        if path.exists() and each.is_dir() and path.resolve().is_relative_to(each.resolve()):
            raise InputError(f"{path} must not be a file of {each}, which is read. Name a new one.")
    for each in inputs:
        with suppress(OSError):  # one of them is not there
            if each is not None and path.samefile(each):
                raise InputError(f"{path} must be another file than {each}, which is read. Name a new one.")
    check_place(path)
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path} must be a new file, and is there already. --overwrite (overwrite=True) replaces it.")


def check_output_folder(path: Path, *, inputs: Iterable[Path | None] = (), overwrite: bool = False) -> None:
    """Raise unless files may be written to the folder ``path``, as ``check_output``.

    Args:
        path: of the folder.
        inputs: folders that the work reads; nothing that is there in one of them makes way.
        overwrite: let files take the place of others.

    Raises:
        InputError: if it holds something already, and is or lies in an input, or ``overwrite`` is not given.
    """
    for each in filter(None, inputs):
        if not is_free(path) and path.resolve().is_relative_to(each.resolve()):
            raise InputError(f"{path} must be a new folder, or apart from {each}, which is read. Name another one.")
    if not (overwrite or is_free(path)):
        raise InputError(f"{path} must be a new or an empty folder. Give --overwrite to replace what is there.")


def make_way(path: Path) -> Path:
    """The path, where now nothing is: for a file that grows under its own name. A link goes, its file stays.

    Raises:
        InputError: as ``check_place``, or if what is there cannot be deleted.
    """
    check_place(path)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def _sync(path: Path, mode: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_free(folder: Path, *, besides: Collection[str] = ()) -> bool:
    """Whether a folder can be taken for new work: there is none, or nothing in it.

    Args:
        folder: perhaps.
        besides: names in it that do not count, as those of files that are only begun do not.
    """
    if not folder.is_dir():
        return not folder.exists()
    return all(TEMPORARY.fullmatch(each.name) or each.name in besides for each in folder.iterdir())


def below(folder: Path) -> list[Path]:
    """Everything in a folder and in those below it, sorted. Links to folders are folders, but for those that lead back
    to one that they are in.
    """
    found: list[Path] = []

    def look(place: Path, above: frozenset[Path]) -> None:
        whole = place.resolve()
        if whole in above:
            return
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                found.append(place / entry.name)
                if entry.is_dir():
                    look(found[-1], above | {whole})

    look(folder, frozenset())
    return sorted(found)


def sweep(folder: Path) -> None:
    """Delete what killed processes were writing in a folder; it is looked at once by a process."""
    if folder in _swept:
        return
    _swept.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = TEMPORARY.fullmatch(entry.name)
            if not found or entry.is_symlink() or not _is_abandoned(entry, found[1], int(found[2])):
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                Path(entry).unlink()


def _is_abandoned(entry: os.DirEntry[str], machine: str, process: int) -> bool:
    """Whether the process that was writing a file is gone, as far as can be told."""
    if time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED_S:
        return True
    if machine != MACHINE or os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        return False
    return False


class Patient(io.RawIOBase):
    """A file for libraries that do not survive a full disk: it goes on, and keeps the error in ``error``.

    Args:
        path: of the file, opened for reading and writing.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__()
        self._file = io.FileIO(path, mode)
        self.error: OSError | None = None

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


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises ``InputError`` if that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} must be a folder that can be made: {error.strerror}.") from error


def write_text(path: Path, content: str) -> None:
    """Replace ``path`` by ``content`` in UTF-8. Raises as ``replacing`` does."""
    write_bytes(path, content.encode())


def read_json(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError if it is none, or nested more deeply than anyone writes it."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


class NpyHeader(NamedTuple):
    """What an npy file says of its array; ``bytes`` of it come before the numbers."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    bytes: int


def read_npy_header(file: IO[bytes]) -> NpyHeader:
    """The header of an npy file, from its begin on; more than the header may be read. Raises ValueError if damaged.

    numpy's own reader raises errors of a dozen classes for damaged headers, and takes the memory that they claim.
    """
    import numpy as np

    file = io.BytesIO(file.read(LONGEST_HEADER))
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings(action="ignore"):  # about files of Python 2
            shape, is_fortran, dtype = read(file)
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"its header is damaged: {(str(error) or repr(error)).splitlines()[0]}") from error
    if min(shape, default=0) < 0:
        raise ValueError(f"its header is damaged: it says the shape {shape}")
    return NpyHeader(shape, is_fortran, dtype, file.tell())


def read_npy(file: IO[bytes]) -> np.ndarray:
    """The array in an npy file that can be sought in. Raises ValueError if it is damaged or holds Python objects."""
    import numpy as np

    header = read_npy_header(file)
    if header.dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    count = 1
    for size in header.shape:
        count *= size  # in Python's numbers, which do not wrap
    file.seek(0, io.SEEK_END)
    if file.tell() - header.bytes < count * header.dtype.itemsize:
        raise ValueError(f"it ends before the {count} entries that its header tells of")
    file.seek(header.bytes)
    numbers = np.frombuffer(file.read(count * header.dtype.itemsize), header.dtype, count)
    return numbers.reshape(header.shape, order="F" if header.is_fortran else "C")
