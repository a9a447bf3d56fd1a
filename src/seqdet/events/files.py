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
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ..checks import InputError, check_size
from ..files import as_on_disk
from .dataset_facts import facts_about
from .formats import RECORDINGS, TEXTS, check_foreign, find_format
from .hdf5 import is_hdf5
from .reading import ReadOptions, Recording, readable
from .tables import ZIP_DAMAGE
from .text import LONGEST_LINE, LOOKED_AT, Kind, text_kind
from .time_units import Unit

GZIP = b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
ENDINGS = (".gz", ".zip")
MOST_TIMES = 200
ALWAYS_BYTES = 1 << 26
"""So many times as large as it is packed, or so large, a recording may be."""
SPARE_BYTES = 1 << 28  # of the disk, which stay free
PIECE_BYTES = 1 << 20
MOST_TEXTS = 100  # in a zip, that are looked at


class Unpacked(NamedTuple):
    """A recording that was packed. path: of its file. folder: deleted when it is closed."""

    path: Path
    folder: tempfile.TemporaryDirectory[str]


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
    check_size(size_hw, "size_hw")
    size_hw, time_unit = facts_about(path).or_given(size_hw, time_unit)
    options = ReadOptions(size_hw, strict, time_shift, place, time_unit, joins_clocks)
    with readable(path):
        if not path.stat().st_size:
            raise InputError(f"{path} must be a recording, and it is empty.")
        if not is_packed(path):
            return _open(path, options)
        unpacked = unpack(path)
    with readable(path, unpacked.path):
        try:
            return _open(unpacked.path, replace(options, keeps_index=False)).unpacked_from(path, unpacked.folder)
        except BaseException:
            unpacked.folder.cleanup()
            raise


def _open(path: Path, options: ReadOptions) -> Recording:
    """The reader of a file that is there and not empty."""
    check_foreign(path)
    if options.place is not None and not is_hdf5(path):
        raise InputError(f"a place in {path}, {options.place}, must be of an HDF5 file, and it is none.")
    return find_format(path).open(path, options)


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
