"""Open any recording, packed or not, and read it by time or by number of events.

Recordings packed by gzip, or alone in a zip, are unpacked to the disk, in bounded memory, while they are open. A packed
file can be made to claim any size, so what comes out is limited to ``MOST_TIMES`` times what went in, and to the disk
that is free.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, NamedTuple

from ..checks import InputError, check_at_least
from ..files import as_on_disk
from .accounts import Account, account
from .array import LARGEST, Events, Triggers
from .dataset_facts import facts_about
from .formats import RECORDINGS, TEXTS, check_foreign, find_format
from .hdf5 import is_hdf5
from .reading import ReadOptions, Source, wider
from .slicing import Window, windows
from .tables import ZIP_DAMAGE
from .text import LONGEST_LINE, LOOKED_AT, Kind, text_kind
from .time_units import Unit

GZIP, ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")
ENDINGS = (".gz", ".zip")
MOST_TIMES, ALWAYS_BYTES = 200, 1 << 26
"""So many times as large as it is packed, or so large, a recording may be."""
SPARE_BYTES = 1 << 28  # of the disk, which stay free
PIECE_BYTES = 1 << 20
MOST_TEXTS = 100  # in a zip, that are looked at


class Unpacked(NamedTuple):
    """A recording that was packed. path: of its file. folder: deleted when it is closed."""

    path: Path
    folder: tempfile.TemporaryDirectory[str]


class Recording:
    """A recording, open for reading. Everything streams: memory does not grow with the length of the file.

    stated_size_hw: ``size_hw``, or None if neither the file says it nor the user.

    Args:
        path: of the file, for messages.
        source: its reader.
        unpacked: what the source reads, where the file is packed; deleted when the recording is closed.
    """

    def __init__(self, path: Path, source: Source, unpacked: Unpacked | None = None) -> None:
        self.path = path
        self.stated_size_hw = source.size_hw
        self._source = source
        self._unpacked = unpacked
        self._passed = 0
        self._span_us: tuple[int, int] | None = None

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @property
    def format(self) -> str:
        """Name of the file's format."""
        return self._source.format

    @property
    def dropped(self) -> Counter[str]:
        """How much of what was read so far was left out, by reason."""
        return self._source.dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """What its numbers are taken for where they could mean something else, and what was noticed so far."""
        return self._source.notes

    @property
    def account(self) -> Account:
        """What became of the events that the latest pass over ``chunks``, or ``windows``, came by."""
        return account(self._passed, self.dropped, self.notes, self._source.time_unit, self._span_us)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the sensor in pixels.

        Raises:
            InputError: if the file does not say.
        """
        if self.stated_size_hw is None:
            raise InputError(
                f"{self.path} must state the size of its sensor, and does not. Give size_hw; for a training, "
                "data.dataset.size_hw."
            )
        return self.stated_size_hw

    @property
    def is_indexed(self) -> bool:
        """Whether reading from a time on is cheap: it skips what comes before.

        DAT, HDF5 and npy are as they are, RAW after a whole pass; in text, AEDAT4 and the others all before it is read.
        """
        with _readable(self.path, self._unpacked):
            return self._source.is_indexed

    def chunks(self, start_us: int | None = None) -> Iterator[Events]:
        """The events in pieces of bounded size, in the order of the file; see ``Source.chunks``.

        Raises:
            InputError: if the file vanished; if strict, where something would be dropped.
        """
        self._passed, self._span_us = 0, None
        with _readable(self.path, self._unpacked):
            for events in self._source.chunks(start_us):
                self._span_us = wider(self._span_us, events)
                self._passed += len(events)
                yield events

    def span_us(self) -> tuple[int, int] | None:
        """The time of the first and of the last event; None without events.

        Cheap where ``is_indexed``; otherwise a whole pass, which leaves an index where the format can have one.
        """
        with _readable(self.path, self._unpacked):
            return self._source.span_us()

    def triggers(self) -> Triggers:
        """All trigger events; none where the format has none."""
        with _readable(self.path, self._unpacked):
            return self._source.triggers()

    def read(self, start_us: int, end_us: int) -> Events:
        """The events with times in ``[start_us, end_us)``, in the order of the file.

        Memory is little more than theirs, 13 bytes each; of HDF5, AEDAT4 and tables 1.6 times that while they are read.

        Raises:
            InputError: as ``chunks``.
        """
        check_at_least(end_us, start_us, "end_us")
        with _readable(self.path, self._unpacked):
            return self._source.read(start_us, end_us)

    def windows(
        self,
        *,
        duration_us: int | None = None,
        count: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
    ) -> Iterator[Window]:
        """Consecutive windows that share no event and lose none.

        With ``duration_us`` alone they lie on a grid from ``start_us``, empty ones included. With ``count`` a window
        begins at its first event and ends with its ``count``-th; with both, after ``duration_us`` if that comes first.

        Args:
            duration_us: length of a window.
            count: most events of a window.
            start_us: no event before this; the time of the first event if None.
            end_us: no event from this on; the last event is the last if None.

        Raises:
            InputError: if neither length is given, or one is below 1.
        """
        return windows(self.chunks(start_us), duration_us=duration_us, count=count, start_us=start_us, end_us=end_us)

    def close(self) -> None:
        """Close the file."""
        self._source.close()
        if self._unpacked:
            self._unpacked.folder.cleanup()


def open_recording(
    path: Path | str,
    *,
    size_hw: tuple[int, int] | None = None,
    strict: bool = False,
    time_shift: bool = False,
    place: str | None = None,
    time_unit: Unit | None = None,
    joins_clocks: bool = False,
) -> Recording:
    """Any recording that seqdet reads, told by its content first and its name second.

    RAW (EVT2, EVT2.1, EVT3), DAT, HDF5 of events (the vendor's, also ECF-compressed; DSEC, RVT and others), AEDAT 2.0,
    3.1 and, with the extra of that name, 4, npy, npz, text, and the .bin of N-MNIST; each also packed by gzip or alone
    in a zip.

    Args:
        path: the file.
        size_hw: height and width of the sensor, where the file does not say; what its dataset says if not given, see
            ``dataset_facts``.
        strict: raise where something would be dropped, while reading.
        time_shift: subtract from the times of EVT3 what the vendor's tools subtract.
        place: the group, table or array of an HDF5 file that has the events, where there are several.
        time_unit: of the times, for tables and HDF5 columns that do not say.
        joins_clocks: where the clock of the camera begins anew, go on from the time before; it is an error otherwise.

    Raises:
        InputError: if there is no such file, or it is no recording.
    """
    path = as_on_disk(Path(path))
    if not path.is_file():
        raise InputError(f"{path} must be a recording, and there is no such file.")
    if size_hw is not None and not 1 <= min(size_hw) <= max(size_hw) <= LARGEST:
        raise InputError(f"size_hw must be from 1 to {LARGEST} each, got {size_hw}.")
    size_hw, time_unit = facts_about(path).or_given(size_hw, time_unit)
    options = ReadOptions(size_hw, strict, time_shift, place, time_unit, joins_clocks)
    with _readable(path):
        if not path.stat().st_size:
            raise InputError(f"{path} must be a recording, and it is empty.")
        if not is_packed(path):
            return Recording(path, _open_source(path, options))
        unpacked = unpack(path)
    with _readable(path, unpacked):
        try:
            return Recording(path, _open_source(unpacked.path, replace(options, keeps_index=False)), unpacked)
        except BaseException:
            unpacked.folder.cleanup()
            raise


def _open_source(path: Path, options: ReadOptions) -> Source:
    """The reader of a file that is there and not empty."""
    check_foreign(path)
    if options.place is not None and not is_hdf5(path):
        raise InputError(f"a place in {path}, {options.place}, must be of an HDF5 file, and it is none.")
    return find_format(path).open(path, options)


@contextmanager
def _readable(path: Path, unpacked: Unpacked | None = None) -> Iterator[None]:
    """Raise InputError where the block cannot read the file; messages name a packed one as the user does."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Was it moved or deleted?") from error
    except InputError as error:
        if unpacked is None:
            raise
        raise InputError(str(error).replace(str(unpacked.path), str(path))) from error


def is_packed(path: Path) -> bool:
    """Whether a file is packed by gzip, or a zip of something else than arrays alone, which npz is. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(4)
    if not start.startswith(ZIP):
        return start.startswith(GZIP)
    if path.suffix.lower() == ".npz":
        return False
    try:
        names = _members(path)
        return not names or any(not name.endswith(".npy") for name in names)
    except ZIP_DAMAGE:
        return path.suffix.lower() in ENDINGS


def bare_name(name: str) -> str:
    """The name of a file without the ending of what it was packed by, if it has one."""
    lower = name.lower()
    return next((name[: -len(ending)] for ending in ENDINGS if lower.endswith(ending)), name)


def unpack(path: Path) -> Unpacked:
    """The recording in a packed file, in a folder for temporary files.

    Raises:
        InputError: if it is damaged or locked, a zip has not just one recording in it, or what comes out is too large
            for the limits or the disk.
        OSError: if ``path`` cannot be read.
    """
    folder = tempfile.TemporaryDirectory(prefix="seqdet-")
    try:
        with ExitStack() as stack:
            source, name = _open_packed(path, stack)
            target = Path(folder.name) / (name if name not in ("", ".", "..") else "recording")
            _copy(source, stack.enter_context(target.open("wb")), path)
    except ZIP_DAMAGE as error:
        folder.cleanup()
        reason = "it is locked by a password" if "password" in str(error) else str(error)
        raise InputError(
            f"{path} must be a whole file of its packing, and is damaged or of another: {reason}."
        ) from error
    except BaseException:
        folder.cleanup()
        raise
    return Unpacked(target, folder)


def _open_packed(path: Path, stack: ExitStack) -> tuple[IO[bytes] | gzip.GzipFile, str]:
    """What is in a packed file, and its name."""
    with path.open("rb") as file:
        is_gzip = file.read(len(GZIP)) == GZIP
    if is_gzip:
        return stack.enter_context(gzip.open(path)), bare_name(path.name)
    member = _only_recording(path)
    archive = stack.enter_context(zipfile.ZipFile(path))
    return stack.enter_context(archive.open(member)), PurePosixPath(member).name


def _only_recording(path: Path) -> str:
    """The name of the one recording in a zip."""
    names = _members(path)
    found = [name for name in names if name.lower().endswith(RECORDINGS)]
    binary = [name for name in found if not name.lower().endswith(TEXTS)]
    choices = [found, binary] if binary or len(found) < 2 else _texts_of_events(path, found)
    for fitting in choices:
        if len(fitting) == 1:
            return fitting[0]
    held = f"{', '.join((found or names)[:5])}{', ...' if len(found or names) > 5 else ''}" or "nothing"
    if any(name.endswith("data.pkl") for name in names):
        held += ": it is a file of PyTorch, which may run any code and is never opened"
    raise InputError(f"{path} must have one recording in it ({' '.join(RECORDINGS)}), and has {held}. Unpack it.")


def _texts_of_events(path: Path, names: list[str]) -> list[list[str]]:
    """Those texts in a zip that say that they are events, and those that can be."""
    found: dict[Kind, list[str]] = {kind: [] for kind in Kind}
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="seqdet-") as folder:
        start = Path(folder) / "start"
        for name in names[:MOST_TEXTS]:
            with archive.open(name) as file:
                start.write_bytes(file.read(LOOKED_AT + LONGEST_LINE))
            found[text_kind(start)].append(name)
    return [found[Kind.EVENTS], found[Kind.LIKELY]]


def _members(path: Path) -> list[str]:
    """The files in a zip, without what is hidden or added by macOS."""
    with zipfile.ZipFile(path) as archive:
        names = [each.filename for each in archive.infolist() if not each.filename.endswith("/")]
    return [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))]


def _copy(source: IO[bytes] | gzip.GzipFile, target: IO[bytes], path: Path) -> None:
    """Raises InputError where the limits are passed."""
    most = max(MOST_TIMES * path.stat().st_size, ALWAYS_BYTES)
    size = 0
    while piece := source.read(PIECE_BYTES):
        size += len(piece)
        if size > most:
            raise InputError(
                f"{path} must unpack to at most {MOST_TIMES} times its size, and goes on after {most:,} bytes. Unpack "
                "it yourself if it is sound."
            )
        if shutil.disk_usage(tempfile.gettempdir()).free < SPARE_BYTES:
            raise InputError(f"{tempfile.gettempdir()} must have room to unpack {path}, and is full. Set TMPDIR.")
        target.write(piece)
